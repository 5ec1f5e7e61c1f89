"""What a row measures, in turn: its sides. A row is a line of the table."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import bare_client
import open_loop
from data import PRODUCTS, USERS
from harness import CONNECTIONS, BenchFailed, Stage
from tools import Measurement, accounted, missing_wrk, pgbench, wrk

NOTHING = "SELECT 0"
USES_BY_OTHERS = 5
MAXIMUM_S = 3.0  # for how long the maximum of a server is looked for


class Side(Protocol):
    """Something whose speed a row shows; it says how it is named and measures one run."""

    @property
    def name(self) -> str: ...

    @property
    def server(self) -> str | None:
        """The name of the server that it needs, if any."""

    def missing(self, stage: Stage) -> str | None:
        """Return why it can't be measured here, or None."""

    def measure(self, stage: Stage, seconds: float) -> Measurement: ...


Arguments = Callable[[Stage, float], Sequence[object]]  # of a script, for a run of so long


@dataclass(frozen=True, slots=True)
class Http:
    """wrk against one of the servers."""

    server: str
    script: str
    arguments: Arguments
    rows: str | None = None  # counts the rows that the requests write: one each
    connections: int = CONNECTIONS
    label: str = ""  # the server's name, unless a row has it twice
    refusals_count: bool = False  # as answers: they are what is measured
    unused: str | None = None  # counts what it must leave alone

    @property
    def name(self) -> str:
        return self.label or self.server

    def missing(self, stage: Stage) -> str | None:
        return missing_wrk() or stage.specs[self.server].missing()

    def measure(self, stage: Stage, seconds: float) -> Measurement:
        server, arguments = stage.server(self.server), self.arguments(stage, seconds)
        used = stage.postgres.number(self.unused or NOTHING)

        def run() -> Measurement:
            return wrk(stage, server, self.script, arguments, seconds, self.connections)

        if self.rows is None:
            measured = run()
        else:
            # What was under way when wrk stopped is written, and not counted by wrk.
            measured = _counted(stage, self.rows, run, self.name, surplus=self.connections)
        if stage.postgres.number(self.unused or NOTHING) > used + USES_BY_OTHERS:
            raise BenchFailed(f"{self.name} has used what {self.script} can do without.")
        if self.refusals_count:
            measured = measured.counting_refusals()
        if not measured.per_s:
            raise BenchFailed(f"{self.name} has answered no request of {self.script}.")
        return measured


@dataclass(frozen=True, slots=True)
class Paced:
    """Benefit orders at a constant rate, a share of what the server can do: its latency then."""

    server: str
    share: float  # of its maximum
    rows: str

    @property
    def name(self) -> str:
        return f"{self.server}, {self.share:.0%}"

    def missing(self, stage: Stage) -> str | None:
        return missing_wrk() or stage.specs[self.server].missing()

    def measure(self, stage: Stage, seconds: float) -> Measurement:
        server = stage.server(self.server)
        if self.server not in stage.maxima:
            most = wrk(stage, server, "orders.lua", (USERS, PRODUCTS), MAXIMUM_S)
            stage.maxima[self.server] = most.per_s
            stage.postgres.steady_number(self.rows)  # what was under way is written
        rate = stage.maxima[self.server] * self.share

        def run() -> Measurement:
            def load() -> Measurement:
                return open_loop.run(stage, server, rate, seconds, (USERS, PRODUCTS))

            return accounted(stage, server, load)

        return _counted(stage, self.rows, run, self.name)


@dataclass(frozen=True, slots=True)
class Pgbench:
    """Statements by pgbench, one command per transaction."""

    script: Callable[[], str]
    variables: Callable[[Stage, float], Mapping[str, int]]
    rows: str  # counts the rows that the transactions write: one each
    idle_share: float = 0.0  # of the transactions, at most, that find nothing to write
    name: str = "pgbench"
    server: None = None

    def missing(self, _: Stage) -> None:
        return None

    def measure(self, stage: Stage, seconds: float) -> Measurement:
        variables = self.variables(stage, seconds)

        def run() -> Measurement:
            return pgbench(stage, self.script(), variables, seconds)

        return _counted(stage, self.rows, run, self.name, idle_share=self.idle_share)


@dataclass(frozen=True, slots=True)
class BareClient:
    """One asyncpg connection with the same statements, one transaction after the other."""

    rows: str
    name: str = "asyncpg"
    server: None = None

    def missing(self, _: Stage) -> None:
        return None

    def measure(self, stage: Stage, seconds: float) -> Measurement:
        def run() -> Measurement:
            latencies_ms = bare_client.place_orders(stage.postgres.url, USERS, PRODUCTS, seconds)
            cuts = statistics.quantiles(latencies_ms, n=100)
            succeeded, elapsed_s = len(latencies_ms), sum(latencies_ms) / 1000
            return Measurement(succeeded / elapsed_s, cuts[49], cuts[98], succeeded, elapsed_s)

        return _counted(stage, self.rows, lambda: accounted(stage, None, run), self.name)


def _counted(
    stage: Stage,
    rows: str,
    run: Callable[[], Measurement],
    name: str,
    surplus: int = 0,
    idle_share: float = 0.0,
) -> Measurement:
    """Return what `run` measures, once it has been checked that it wrote what it says."""
    before = stage.postgres.number(rows)
    measured = run()
    written = stage.postgres.steady_number(rows) - before
    least = measured.succeeded * (1 - idle_share)
    if not least <= written <= measured.succeeded + surplus:
        raise BenchFailed(f"{name} succeeded {measured.succeeded} times, but wrote {written} rows.")
    return measured


# --- rows ---------------------------------------------------------------------------------------

Quantity = Literal["per_s", "p50_ms", "cpu_us"]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: its first side is the one whose ratios to the others are shown."""

    name: str  # for --only
    title: str
    sides: tuple[Side, ...]
    goals: Mapping[str, float] = field(default_factory=dict)  # ratio, by the other side
    quantity: Quantity = "per_s"  # what the ratio is of; more is better for a rate alone
    limits: Mapping[str, float] = field(default_factory=dict)  # of fields of the first side
    settings: Mapping[str, str] = field(default_factory=dict)  # of PostgreSQL, meanwhile
    compares: bool = True  # whether the sides have ratios at all

    @property
    def servers(self) -> set[str]:
        """The names of those that it needs."""
        return {side.server for side in self.sides if side.server}

    def is_reached(self, side: str, ratio: float) -> bool | None:
        """Tell whether the goal is reached; None: there is none."""
        goal = self.goals.get(side)
        if goal is None:
            return None
        return ratio >= goal if self.quantity == "per_s" else ratio <= goal

    def without_goals(self) -> "Row":
        return replace(self, goals={}, limits={})

    def with_sides(self, sides: Sequence[Side]) -> "Row":
        return replace(self, sides=tuple(sides))

    def describe_goal(self, side: str) -> str:
        goal = self.goals.get(side)
        if goal is None:
            return ""
        return f"{'≥' if self.quantity == 'per_s' else '≤'} {goal:g}"
