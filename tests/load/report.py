"""How results are shown: tables for a person, JSON for a program."""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from background import Figure
from harness import CONNECTIONS, PGBENCH_CLIENTS, PGBENCH_THREADS, WRK_THREADS, Server
from rich.console import Console
from rich.table import Table
from sides import Row
from tools import Measurement

RESULTS = Path(__file__).resolve().parents[2] / "bench-results"

MEMORY_TARGET = 150_000_000  # bytes
GROWTH_TARGET = 1.10  # after the load, of what it was after the first third

COLUMNS = {  # heading: width
    "side": 18,
    "per second": 10,
    "p50 ms": 7,
    "p99 ms": 7,
    "p99.9 ms": 8,
    "non-2xx": 7,
    "server µs": 9,
    "PostgreSQL µs": 13,
    "ratio": 16,
    "goal": 13,
}
LIMITED = {"server_us": "server CPU, µs", "postgres_us": "PostgreSQL CPU, µs"}

console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Result:
    """The runs of a row, by side, one per round."""

    row: Row
    runs: dict[str, list[Measurement]]

    def median(self, side: str, quantity: str) -> float | None:
        """Return the median over the rounds of a quantity of Measurement, if it has been taken."""
        taken = [getattr(run, quantity) for run in self.runs[side]]
        return None if None in taken else float(statistics.median(taken))

    def ratios(self) -> dict[str, list[float]]:
        """Return the row's quantity of the first side over that of each other, by round."""
        if not self.row.compares:
            return {}
        first, *others = self.runs
        return {
            other: [
                getattr(own, self.row.quantity) / getattr(its, self.row.quantity)
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

    @property
    def is_small(self) -> bool:
        return self.peak < MEMORY_TARGET

    @property
    def is_flat(self) -> bool:
        return self.growth <= GROWTH_TARGET


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that one run of the benchmark came to."""

    machine: Mapping[str, Any]
    rounds: int
    seconds: int
    results: Sequence[Result]
    figures: Sequence[Figure]
    memory: Memory | None
    skipped: Sequence[str]
    complaints: Sequence[str]  # about the machine
    judged: bool  # whether it was long enough to tell what is reached

    def goals(self) -> "Iterator[Goal]":
        """Yield what was to be reached."""
        if not self.judged:
            return
        for result in self.results:
            yield from _goals_of(result)
        for figure in self.figures:
            if figure.reached is not None:
                value = figure.value if figure.ratio is None else figure.ratio
                yield Goal(figure.title, value, figure.target, figure.reached)
        if self.memory:
            peak, target = self.memory.peak / 1e6, f"< {MEMORY_TARGET / 1e6:.0f}"
            yield Goal("memory, peak, MB", peak, target, self.memory.is_small)
            target = f"≤ {GROWTH_TARGET:.2f}"
            yield Goal("memory, growth", self.memory.growth, target, self.memory.is_flat)


class Goal(NamedTuple):
    """Something to be reached."""

    title: str
    value: float
    goal: str
    reached: bool


def _goals_of(result: Result) -> Iterator[Goal]:
    row, (first, *_) = result.row, result.runs
    for side, ratios in result.ratios().items():
        ratio = statistics.median(ratios)
        reached = row.is_reached(side, ratio)
        if reached is not None:
            yield Goal(f"{row.name}: {first} ÷ {side}", ratio, row.describe_goal(side), reached)
    for quantity, limit in row.limits.items():
        value = result.median(first, quantity)
        if value is not None:
            yield Goal(f"{row.name}: {LIMITED[quantity]}", value, f"≤ {limit:g}", value <= limit)


# --- tables -------------------------------------------------------------------------------------


def show(outcome: Outcome) -> None:
    """Print everything."""
    show_machine(outcome.machine)
    console.print(
        f"wrk -t{WRK_THREADS} -c{CONNECTIONS}, all sides one process on the same cores, "
        "request log lines off,\n"
        "events written to the outbox and not delivered; µs are CPU time per answer\n"
        f"pgbench -c {PGBENCH_CLIENTS} -j {PGBENCH_THREADS} -M prepared\n"
        f"rounds of {outcome.seconds} s: {outcome.rounds}, the sides in turn; "
        "medians, and the range of the ratio\n"
    )
    for result in outcome.results:
        _show_result(result)
    if outcome.figures:
        _show_background(outcome.figures)
    if outcome.memory:
        _show_memory(outcome.memory)
    _show_goals(list(outcome.goals()))
    if not outcome.judged:
        console.print("A run as short as this one tells nothing of what is reached.")
    for complaint in outcome.complaints:
        console.print(f"[yellow]The machine was busy: {complaint}.[/yellow]")
    for reason in outcome.skipped:
        console.print(f"[yellow]left out: {reason}[/yellow]")


def show_machine(machine: Mapping[str, Any]) -> None:
    console.print(
        "{cpu}, {cores} cores, {memory_gib} GiB, {kernel}, Python {python}, "
        "load {load_average} before\n"
        "PostgreSQL {postgresql} on {file_system}, fsync on: {sync_ms} ms per sync".format(
            **machine
        )
    )


def _show_result(result: Result) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading, width in COLUMNS.items():
        numeric = heading not in ("side", "goal")
        table.add_column(heading, min_width=width, justify="right" if numeric else "left")
    for side in result.runs:
        table.add_row(*_cells(result, side))
    console.print(f"[bold]{result.row.title}[/bold]")
    console.print(table)
    broken = sum(run.socket_errors for runs in result.runs.values() for run in runs)
    if broken:
        console.print(f"[red]{broken} socket errors[/red]")
    console.print()


def _cells(result: Result, side: str) -> tuple[str, ...]:
    def shown(quantity: str, form: str) -> str:
        value = result.median(side, quantity)
        return "" if value is None else format(value, form)

    cells = (
        side,
        shown("per_s", ",.0f"),
        shown("p50_ms", ",.1f"),
        shown("p99_ms", ",.1f"),
        shown("p999_ms", ",.1f"),
        str(sum(run.refused for run in result.runs[side])),
        shown("server_us", ",.0f"),
        shown("postgres_us", ",.0f"),
    )
    ratios = result.ratios().get(side)
    if ratios is None:
        return cells
    ratio, row = statistics.median(ratios), result.row
    return (
        *cells,
        f"{short(ratio)} ({short(min(ratios))}…{short(max(ratios))})",
        verdict(row.is_reached(side, ratio), row.describe_goal(side)),
    )


def _show_goals(goals: Sequence[Goal]) -> None:
    if not goals:
        return
    table = Table("goals", "value", "goal", box=None, pad_edge=False)
    for each in goals:
        table.add_row(each.title, short(each.value), verdict(each.reached, each.goal))
    console.print(table)
    reached = sum(each.reached for each in goals)
    console.print(f"{reached} of {len(goals)} reached\n")


def _show_background(figures: Sequence[Figure]) -> None:
    table = Table("in the background", "value", "unit", "ratio", "goal", box=None, pad_edge=False)
    for figure in figures:
        ratio = "" if figure.ratio is None else short(figure.ratio)
        target = verdict(figure.reached, figure.target)
        table.add_row(figure.title, short(figure.value), figure.unit, ratio, target)
    console.print(table)
    console.print()


def _show_memory(memory: Memory) -> None:
    megabytes = {name: f"{size / 1e6:.0f}" for name, size in asdict(memory).items()}
    console.print(
        "[bold]Memory of rowlock, MB[/bold]\n"
        "{before} before load, {after_first_third} after its first third, "
        "{peak} at the peak, {after} after".format(**megabytes)
    )
    console.print(f"after ÷ after first third {memory.growth:.2f}\n")


def short(ratio: float) -> str:
    if ratio >= 100:
        return f"{ratio:,.0f}"
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}"


def verdict(reached: bool | None, target: str) -> str:
    if reached is None:
        return target
    return f"{target} [green]reached[/green]" if reached else f"{target} [red]missed[/red]"


# --- JSON ---------------------------------------------------------------------------------------


def write_json(outcome: Outcome) -> Path:
    memory = outcome.memory
    return write(
        "bench.json",
        {
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": outcome.machine,
            "rounds": outcome.rounds,
            "seconds": outcome.seconds,
            "connections": CONNECTIONS,
            "wrk_threads": WRK_THREADS,
            "pgbench_clients": PGBENCH_CLIENTS,
            "rows": [_as_json(result) for result in outcome.results],
            "background": [asdict(figure) for figure in outcome.figures],
            "memory": memory and asdict(memory),
            "goals": [goal._asdict() for goal in outcome.goals()],
            "left_out": outcome.skipped,
            "busy": outcome.complaints,
        },
    )


def write(name: str, document: Mapping[str, Any] | str) -> Path:
    """Write a result, and say where it is."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / name
    if not isinstance(document, str):
        document = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    path.write_text(document)
    console.print(f"Written to {RESULTS.name}/{name}.")
    return path


def _as_json(result: Result) -> dict[str, Any]:
    quantities = ("per_s", "p50_ms", "p99_ms", "p999_ms", "server_us", "postgres_us")
    return {
        "name": result.row.name,
        "title": result.row.title,
        "sides": {
            side: {quantity: result.median(side, quantity) for quantity in quantities}
            | {"runs": [asdict(run) for run in runs]}
            for side, runs in result.runs.items()
        },
        "ratio_of": result.row.quantity,
        "ratios": {
            other: _ratio_as_json(result.row, other, ratios)
            for other, ratios in result.ratios().items()
        },
    }


def _ratio_as_json(row: Row, side: str, ratios: Sequence[float]) -> dict[str, Any]:
    median = statistics.median(ratios)
    return {
        "median": median,
        "rounds": ratios,
        "goal": row.goals.get(side),
        "reached": row.is_reached(side, median),
    }
