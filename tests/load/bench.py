"""`make bench`: how fast the service is, by ratios to what bounds it, on this machine.

Each row measures its sides in turn, round after round, so that a machine that drifts drifts for
all of them; a ratio is the median of the rounds' ratios. The result is a table, and JSON in
bench-results/bench.json. Speed is shown, not tested: the exit status is 1 only if something did
not run.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, Protocol

import background
import pgbench_scripts
from harness import (
    CONNECTIONS,
    PGBENCH_CLIENTS,
    PGBENCH_THREADS,
    SETTLE_S,
    WRK_THREADS,
    BenchFailed,
    Measurement,
    Server,
    Stage,
    describe_machine,
    require_tools,
    stage,
)
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from rowlock import seed
from rowlock.database import Database
from rowlock.exceptions import RowlockError
from rowlock.queries import queries
from rowlock.settings import Settings

RESULTS = Path(__file__).resolve().parents[2] / "bench-results" / "bench.json"

USERS = 100_000
PRODUCTS = 1_000
INVOICES = 300_000  # loaded at a time for the hot user
INVOICES_PER_S = 15_000  # at most paid by any side
HOT_USER = "load-1"
BACKLOG = 100_000  # orders to settle, events to relay
WARM_UP_S = 1

MEMORY_TARGET = 150_000_000  # bytes
GROWTH_TARGET = 1.10  # after the load, of what it was after the first third

COLUMNS = {  # heading: width
    "side": 8,
    "per second": 10,
    "p50 ms": 6,
    "p99 ms": 6,
    "non-2xx": 7,
    "ratio": 16,
    "target": 14,
}

console = Console(highlight=False, soft_wrap=True)


# --- sides: what is measured, in turn -----------------------------------------------------------


class Side(Protocol):
    """Something whose speed a row shows; it says how it is named and measures one run."""

    @property
    def name(self) -> str: ...

    def measure(self, stage: Stage, seconds: float) -> Measurement: ...


@dataclass(frozen=True, slots=True)
class Http:
    """wrk against one of the servers."""

    name: str  # the server's
    script: str
    arguments: Callable[[Stage, float], Sequence[int]]  # of the script, for a run of so long
    rows: str | None = None  # counts the rows that the requests write: one each

    def measure(self, stage: Stage, seconds: float) -> Measurement:
        server = stage.servers[self.name]
        with _counting(stage, self.rows) as written:
            measured = stage.wrk(server, self.script, self.arguments(stage, seconds), seconds)
            time.sleep(SETTLE_S)
        # What was under way when wrk stopped is written, and not counted by wrk.
        slack = measured.succeeded + CONNECTIONS
        if self.rows and not measured.succeeded <= written() <= slack:
            raise BenchFailed(
                f"{self.name} answered {measured.succeeded} requests of {self.script}, "
                f"but wrote {written()} rows."
            )
        return measured


@dataclass(frozen=True, slots=True)
class Pgbench:
    """The same statements by pgbench, one command per transaction."""

    script: Callable[[], str]
    variables: Callable[[Stage, float], Mapping[str, int]]
    rows: str  # counts the rows that the transactions write: one each
    idle_share: float = 0.0  # of the transactions, at most, that find nothing to write
    name: str = "pgbench"

    def measure(self, stage: Stage, seconds: float) -> Measurement:
        with _counting(stage, self.rows) as written:
            measured = stage.pgbench(self.script(), self.variables(stage, seconds), seconds)
        least = measured.succeeded * (1 - self.idle_share)
        if not least <= written() <= measured.succeeded:
            raise BenchFailed(
                f"pgbench ran {measured.succeeded} transactions, but wrote {written()} rows."
            )
        return measured


@contextmanager
def _counting(stage: Stage, rows: str | None) -> Iterator[Callable[[], int]]:
    """Lend a function that tells how much `rows` has grown since."""
    before = stage.postgres.number(rows) if rows else 0
    yield lambda: (stage.postgres.number(rows) if rows else 0) - before


# --- rows ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: its first side is the one whose ratios to the others are shown."""

    name: str  # for --only
    title: str
    sides: tuple[Side, ...]
    targets: Mapping[str, float] = field(default_factory=dict)  # least ratio, by the other side


def user_ids(stage: Stage, _: float) -> tuple[int, int]:
    """Return the first and the last id of the load-test users, which have all between."""
    return (
        stage.postgres.number("SELECT min(id) FROM users"),
        stage.postgres.number("SELECT max(id) FROM users"),
    )


def buyers(stage: Stage, seconds: float) -> tuple[int, int, int]:
    """Return the first and the last user id, and how many products there are."""
    return (*user_ids(stage, seconds), PRODUCTS)


def first_pending(stage: Stage, seconds: float) -> int:
    """Return the first of as many pending invoices of the hot user as any side can pay."""
    # Rows that issue invoices to others come later, so these have all ids between.
    first = "SELECT coalesce(max(id), 0) + 1 FROM invoices WHERE status = 'paid'"
    last = "SELECT coalesce(max(id), 0) FROM invoices"
    numbers = stage.postgres
    while numbers.number(last) - numbers.number(first) < seconds * INVOICES_PER_S:
        stage.postgres.execute(
            """
            INSERT INTO invoices (user_id, amount, label)
            SELECT id, 11350, 'Work for April' FROM users, generate_series(1, %s)
            WHERE username = %s
            """,
            INVOICES,
            HOT_USER,
        )
        stage.postgres.execute("VACUUM ANALYZE invoices")
        stage.postgres.execute("CHECKPOINT")
    return numbers.number(first)


def payments(stage: Stage, seconds: float) -> tuple[int, int]:
    return first_pending(stage, seconds), WRK_THREADS


ORDERS_PLACED = "SELECT count(*) FROM orders"
INVOICES_PAID = "SELECT count(*) FROM invoices WHERE status = 'paid'"
INVOICES_ISSUED = "SELECT count(*) FROM invoices"

ROWS = (
    Row(
        "orders",
        "POST /api/orders, many users",
        (
            Http("rowlock", "orders.lua", lambda *_: (USERS, PRODUCTS), ORDERS_PLACED),
            Http("empty", "orders.lua", lambda *_: (USERS, PRODUCTS)),
            Pgbench(
                pgbench_scripts.benefit_order,
                lambda *_: {"users": USERS, "products": PRODUCTS},
                ORDERS_PLACED,
                idle_share=0.02,  # users who own the product already
            ),
        ),
        {"empty": 0.45, "pgbench": 2.0},
    ),
    Row(
        "pay",
        "POST /invoices/{id}/pay, one hot user",
        (
            Http("rowlock", "pay.lua", payments, INVOICES_PAID),
            Http("empty", "pay.lua", lambda *_: (1, WRK_THREADS)),
            Pgbench(
                pgbench_scripts.invoice_payment,
                lambda stage, seconds: {
                    "first": first_pending(stage, seconds),
                    "clients": PGBENCH_CLIENTS,
                    "turn": 0,
                },
                INVOICES_PAID,
            ),
        ),
        {"pgbench": 6.0},
    ),
    Row(
        "create",
        "POST /orders, three items, settled meanwhile",
        (
            Http("rowlock", "create_orders.lua", buyers, ORDERS_PLACED),
            Http("empty", "create_orders.lua", buyers),
        ),
        {"empty": 0.45},
    ),
    Row(
        "users",
        "GET /user/{id}, many users",
        (Http("rowlock", "users.lua", user_ids), Http("empty", "users.lua", user_ids)),
        {"empty": 0.80},
    ),
    Row(
        "invoices",
        "POST /invoices, many users",
        (
            Http("rowlock", "invoices.lua", user_ids, INVOICES_ISSUED),
            Http("empty", "invoices.lua", user_ids),
        ),
    ),
)


# --- measuring ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Result:
    """The runs of a row, by side, one per round."""

    row: Row
    runs: dict[str, list[Measurement]]

    def median(self, side: str, quantity: str) -> float:
        """Return the median over the rounds of a field of Measurement."""
        return float(statistics.median(getattr(run, quantity) for run in self.runs[side]))

    def ratios(self) -> dict[str, list[float]]:
        """Return how many times as fast as each other side the first one was, by round."""
        first, *others = self.runs
        return {
            other: [
                own.per_s / its.per_s
                for own, its in zip(self.runs[first], self.runs[other], strict=True)
            ]
            for other in others
        }


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of the service, in bytes."""

    before: int
    after_first_third: int  # of its time under load
    peak: int
    after: int

    @classmethod
    def of(cls, server: Server) -> "Memory":
        return cls(
            before=server.idle_rss,
            after_first_third=server.rss[len(server.rss) // 3],
            peak=max(server.rss),
            after=server.read_rss(),
        )

    @property
    def growth(self) -> float:
        return self.after / self.after_first_third


class Bench:
    """Measures rows, and shows how far it is."""

    def __init__(self, rows: Sequence[Row], rounds: int, seconds: float) -> None:
        self._rows = rows
        self._rounds = rounds
        self._seconds = seconds
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        self._progress = Progress(
            *columns,
            console=console,
            transient=True,
            refresh_per_second=2,
            speed_estimate_period=60,
        )
        self._task = TaskID(0)
        self._done = 0.0  # seconds of all runs before the next one

    def run(self) -> tuple[dict[str, Any], list[Result], Memory, list[background.Figure]]:
        """Return what the machine is, a result per row, the service's memory, the background."""
        sides = sum(len(row.sides) for row in self._rows)
        total = sides * (WARM_UP_S + self._rounds * self._seconds)
        with self._progress, stage(self._advance) as ready:
            self._task = self._progress.add_task("loading users", total=None)
            machine = describe_machine(ready.postgres)
            load(ready)
            self._progress.update(self._task, total=total)
            results = [self._measure(row, ready) for row in self._rows]
            time.sleep(1)
            memory = Memory.of(ready.servers["rowlock"])
            self._progress.update(self._task, description="background", total=None)
            figures = [] if self._rows != ROWS else background.measure(ready, BACKLOG)
            return machine, results, memory, figures

    def _measure(self, row: Row, ready: Stage) -> Result:
        for side in row.sides:
            self._show(row, side, "warm-up", WARM_UP_S)
            side.measure(ready, WARM_UP_S)
        runs: dict[str, list[Measurement]] = {side.name: [] for side in row.sides}
        for number in range(1, self._rounds + 1):
            for side in row.sides:
                self._show(row, side, f"round {number} of {self._rounds}", self._seconds)
                runs[side.name].append(side.measure(ready, self._seconds))
        return Result(row, runs)

    def _show(self, row: Row, side: Side, what: str, seconds: float) -> None:
        description = f"{row.name} · {side.name} · {what}"
        self._progress.update(self._task, description=description, completed=self._done)
        self._done += seconds

    def _advance(self, seconds: float) -> None:
        self._progress.advance(self._task, seconds)


def load(ready: Stage) -> None:
    """Add the users and the products that every row may use."""

    async def add() -> None:
        numbers = range(1, PRODUCTS + 1)
        # A chunk of users is one long COPY.
        async with Database(ready.postgres.url, Settings(statement_timeout_s=300.0)) as database:
            await seed.load_users(database, USERS, lambda _: None)
            async with database.transaction() as connection:
                await queries.seed.add_products(
                    connection,
                    slugs=[f"load-product-{number}" for number in numbers],
                    names=[f"Product {number}" for number in numbers],
                    prices=[100 + number for number in numbers],
                )

    asyncio.run(add())
    # Only what has rows: a table known to be empty is planned for as if it stayed so.
    ready.postgres.execute("VACUUM ANALYZE users, ledger_entries, products")
    ready.postgres.execute("CHECKPOINT")


# --- showing ------------------------------------------------------------------------------------


def show_background(figures: Sequence[background.Figure]) -> None:
    table = Table("in the background", "value", "unit", "ratio", "target", box=None, pad_edge=False)
    for figure in figures:
        verdict = {None: "", True: " reached", False: " missed"}[figure.reached]
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        table.add_row(
            figure.title, f"{figure.value:,.0f}", figure.unit, ratio, figure.target + verdict
        )
    if figures:
        console.print(table)


def show_machine(machine: Mapping[str, Any], rounds: int, seconds: int) -> None:
    console.print(
        "{cpu}, {cores} cores, {memory_gib} GiB, {kernel}, Python {python}, "
        "load {load_average} before\n"
        "PostgreSQL {postgresql} on {file_system}, fsync on: {sync_ms} ms per sync".format(
            **machine
        )
    )
    console.print(
        f"wrk -t{WRK_THREADS} -c{CONNECTIONS} against one server process, "
        "request log lines off on both sides,\n"
        "events written to the outbox and not delivered\n"
        f"pgbench -c {PGBENCH_CLIENTS} -j {PGBENCH_THREADS} -M prepared\n"
        f"rounds of {seconds} s: {rounds}, the sides in turn; medians, and the range of the ratio\n"
    )


def show_results(results: Sequence[Result]) -> None:
    for number, result in enumerate(results):
        table = Table(box=None, pad_edge=False, show_header=number == 0, title_justify="left")
        for heading, width in COLUMNS.items():
            numeric = heading not in ("side", "target")
            table.add_column(heading, min_width=width, justify="right" if numeric else "left")
        for side in result.runs:
            table.add_row(*_cells(result, side))
        if number:
            console.print()
        console.print(f"[bold]{result.row.title}[/bold]")
        console.print(table)
        broken = sum(run.socket_errors for runs in result.runs.values() for run in runs)
        if broken:
            console.print(f"[red]{broken} socket errors[/red]")


def _cells(result: Result, side: str) -> tuple[str, ...]:
    ratios, target = result.ratios().get(side), result.row.targets.get(side)
    cells = (
        side,
        f"{result.median(side, 'per_s'):,.0f}",
        f"{result.median(side, 'p50_ms'):,.1f}",
        f"{result.median(side, 'p99_ms'):,.1f}",
        str(sum(run.refused for run in result.runs[side])),
    )
    if ratios is None:
        return cells
    ratio = statistics.median(ratios)
    return (
        *cells,
        f"{_short(ratio)} ({_short(min(ratios))}…{_short(max(ratios))})",
        "" if target is None else _verdict(ratio >= target, f"≥ {target:.2f}"),
    )


def _short(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}"


def show_memory(memory: Memory) -> None:
    megabytes = {name: f"{size / 1e6:.0f}" for name, size in asdict(memory).items()}
    console.print(
        "\n[bold]Memory of rowlock, MB[/bold]\n"
        "{before} before load, {after_first_third} after its first third, "
        "{peak} at the peak, {after} after".format(**megabytes)
    )
    small, flat = _verdicts(memory)
    console.print(
        f"peak {_verdict(small, f'< {MEMORY_TARGET / 1e6:.0f} MB')}; "
        f"after ÷ after first third {memory.growth:.2f} {_verdict(flat, f'≤ {GROWTH_TARGET:.2f}')}"
    )


def _verdicts(memory: Memory) -> tuple[bool, bool]:
    return memory.peak < MEMORY_TARGET, memory.growth <= GROWTH_TARGET


def _verdict(reached: bool, target: str) -> str:
    return f"{target} [green]reached[/green]" if reached else f"{target} [red]missed[/red]"


def write_json(
    machine: Mapping[str, Any],
    results: Sequence[Result],
    memory: Memory,
    figures: Sequence[background.Figure],
    options: Any,
) -> None:
    small, flat = _verdicts(memory)
    document = {
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "connections": CONNECTIONS,
        "wrk_threads": WRK_THREADS,
        "pgbench_clients": PGBENCH_CLIENTS,
        "rows": [_as_json(result) for result in results],
        "background": [asdict(figure) for figure in figures],
        "memory": {**asdict(memory), "below_target": small, "flat": flat},
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    console.print(f"Written to {RESULTS.parent.name}/{RESULTS.name}.")


def _as_json(result: Result) -> dict[str, Any]:
    quantities = ("per_s", "p50_ms", "p99_ms")
    return {
        "name": result.row.name,
        "title": result.row.title,
        "sides": {
            side: {quantity: result.median(side, quantity) for quantity in quantities}
            | {"runs": [asdict(run) for run in runs]}
            for side, runs in result.runs.items()
        },
        "ratios": {
            other: _ratio_as_json(ratios, result.row.targets.get(other))
            for other, ratios in result.ratios().items()
        },
    }


def _ratio_as_json(ratios: Sequence[float], target: float | None) -> dict[str, Any]:
    median = statistics.median(ratios)
    return {
        "median": median,
        "rounds": ratios,
        "target": target,
        "reached": None if target is None else median >= target,
    }


# --- the command line ---------------------------------------------------------------------------


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure Rowlock on this machine.")
    parser.add_argument("--rounds", type=_count, default=3, help="of each row (default 3)")
    parser.add_argument("--seconds", type=_count, default=8, help="of each run (default 8)")
    parser.add_argument("--quick", action="store_true", help="1 round of 3 seconds")
    parser.add_argument(
        "--only",
        metavar="ROW",
        action="append",
        choices=[row.name for row in ROWS],
        help="only this row, of " + ", ".join(row.name for row in ROWS),
    )
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 3
    return options


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("it must be a whole number from 1")
    return int(text)


def interrupt(*_: object) -> NoReturn:
    """Stop everything once; another Ctrl-C must not leave a server behind."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    options = parse_options()
    rows = tuple(row for row in ROWS if not options.only or row.name in options.only)
    # The settings of the shell are not those of the benchmark.
    for name in [name for name in os.environ if name.startswith(("ROWLOCK_", "PG"))]:
        del os.environ[name]
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, interrupt)
    try:
        require_tools()
        bench = Bench(rows, options.rounds, options.seconds)
        machine, results, memory, figures = bench.run()
    except (BenchFailed, RowlockError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted, everything is stopped", file=sys.stderr)
        return 130
    show_machine(machine, options.rounds, options.seconds)
    show_results(results)
    show_memory(memory)
    show_background(figures)
    write_json(machine, results, memory, figures, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
