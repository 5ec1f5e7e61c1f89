"""wrk and pgbench: how they are run, and what they print. Rates are per second, latencies in ms."""

import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from harness import (
    CONNECTIONS,
    HERE,
    PGBENCH_CLIENTS,
    PGBENCH_THREADS,
    POSTGRES_BINARIES,
    WRK_THREADS,
    BenchFailed,
    Server,
    Stage,
    last_line,
    missing_program,
    stop,
)
from machine import used_s

WRK_TIMEOUT_S = 20  # a peer may need seconds for an answer, which is no error
MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


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
    server_us: float | None = None  # CPU time per answer; None: there is no server
    postgres_us: float | None = None  # the same of PostgreSQL
    p999_ms: float | None = None

    @property
    def cpu_us(self) -> float:
        """The CPU time per answer of the server and PostgreSQL."""
        return (self.server_us or 0.0) + (self.postgres_us or 0.0)

    @property
    def answers(self) -> int:
        return self.succeeded + self.refused

    def counting_refusals(self) -> "Measurement":
        """Return the same with every answer in the rate."""
        return replace(self, per_s=self.answers / self.elapsed_s)


def accounted(stage: Stage, server: Server | None, run: Callable[[], Measurement]) -> Measurement:
    """Return what `run` measures, with the CPU time that the server and PostgreSQL used."""
    postgres = psutil.Process(stage.postgres.pid)
    process = server and psutil.Process(server.process.pid)
    before_s = (used_s(postgres), used_s(process) if process else 0.0)
    measured = run()
    postgres_s, server_s = (
        used_s(postgres) - before_s[0],
        (used_s(process) if process else 0.0) - before_s[1],
    )
    answers = max(1, measured.answers)
    return replace(
        measured,
        postgres_us=postgres_s / answers * 1e6,
        server_us=server_s / answers * 1e6 if process else None,
    )


def missing_wrk() -> str | None:
    return missing_program("wrk", "apt install wrk, brew install wrk")


def wrk(
    stage: Stage,
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

    def run() -> Measurement:
        output = _run(stage, command, server.sample_rss)
        if server.process.poll() is not None:
            raise BenchFailed(
                f"The server {server.name} has stopped under load, with status "
                f"{server.process.returncode}: {last_line(server.log)}"
            )
        return parse_wrk(output)

    return accounted(stage, server, run)


def pgbench(stage: Stage, script: str, variables: Mapping[str, int], seconds: float) -> Measurement:
    """Return what pgbench measures for the transaction `script`."""
    folder = Path(tempfile.mkdtemp(dir=stage.folder, prefix="pgbench-"))
    (folder / "transaction.sql").write_text(script)
    command = [
        str(POSTGRES_BINARIES / "pgbench"),
        "--no-vacuum",
        f"--client={PGBENCH_CLIENTS}",
        f"--jobs={PGBENCH_THREADS}",
        "--protocol=prepared",
        f"--time={seconds:.0f}",
        f"--file={folder / 'transaction.sql'}",
        "--log",
        f"--log-prefix={folder / 'log'}",
        *(f"--define={name}={value}" for name, value in variables.items()),
        *stage.postgres.pgbench_options,
    ]

    def run() -> Measurement:
        return parse_pgbench(_run(stage, command, lambda: None), folder.glob("log.*"))

    measured = accounted(stage, None, run)
    shutil.rmtree(folder)
    return measured


def _run(stage: Stage, command: Sequence[str], watch: Callable[[], None]) -> str:
    """Return what `command` prints. Calls `watch` now and then."""
    with (
        tempfile.TemporaryFile("w+", dir=stage.folder) as output,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            stage.wait(process, watch)
        finally:
            stop(process)
        output.seek(0)
        text = output.read()
    if process.returncode != 0:
        raise BenchFailed(f"{Path(command[0]).name} failed: {' '.join(text.split()[-40:])}")
    return text


# --- reading what they print --------------------------------------------------------------------


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
