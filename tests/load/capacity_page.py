"""The capacity model of docs/scaling.md: its tables, and the formulas of their derived columns.

A table follows a line `<!-- capacity: NAME -->`. Some are measured, one has the assumptions, and
the others follow from these: from the figures as they are printed, so that a reader gets the same.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from rowlock.settings import Settings

MARK = "<!-- capacity: {} -->\n"
SECONDS_A_DAY = 86_400
DAYS_A_YEAR = 365
FOR_GOOD = "for good"

# All of these take turns, in whichever process they are: one batch at a time holds the calendar.
ONE_LANE_FOR_ALL = frozenset({"POST /service-orders"})

Cells = Sequence[str]
Page = Mapping[str, "Table"]


class PageFaulty(Exception):
    """A table is missing, or a cell is not what the formulas need: one line for a person."""


class Table(NamedTuple):
    """A table in Markdown, all cells as text."""

    heading: Cells
    rows: Sequence[Cells]

    @property
    def markdown(self) -> str:
        """The table as the page has it: the first column to the left, figures to the right."""
        rule = ["---", *("---:" for _ in self.heading[1:])]
        lines = ["| " + " | ".join(cells) + " |" for cells in (self.heading, *self.rows)]
        return "\n".join([lines[0], "|" + "|".join(rule) + "|", *lines[1:]]) + "\n"

    def column(self, name: str) -> dict[str, str]:
        """Return the cells of a column, by those of the first one."""
        try:
            place = list(self.heading).index(name)
            return {cells[0]: cells[place] for cells in self.rows}
        except (IndexError, ValueError):
            raise PageFaulty(f"the column {name} is not there, or not in each row") from None


# --- text and figures ---------------------------------------------------------------------------


def pattern(name: str) -> re.Pattern[str]:
    """Return what finds a table in a page, its mark as the first group."""
    return re.compile(f"({re.escape(MARK.format(name))}\n?)" + r"((?:\|.*\|\n)+)")


def read(text: str, name: str) -> Table:
    """Return the table of that name. Raises PageFaulty if the page has none."""
    found = pattern(name).search(text)
    if found is None:
        raise PageFaulty(f"the page has no table behind {MARK.format(name).strip()}")
    heading, _, *rows = [
        tuple(cell.strip() for cell in line.strip("| \n").split("|"))
        for line in found[2].splitlines()
    ]
    return Table(heading, rows)


def replaced(text: str, name: str, table: Table) -> str:
    """Return the page with another table of that name."""
    return pattern(name).sub(lambda found: found[1] + table.markdown, text)


def number(cell: str) -> float:
    """Return the figure of a cell, such as 1,234.5. Raises PageFaulty."""
    try:
        return float(cell.replace(",", ""))
    except ValueError:
        raise PageFaulty(f"{cell!r} is no figure") from None


def numbers(cell: str) -> list[float]:
    """Return the figures of a cell such as `520; 82` or `900 + 66`."""
    return [number(part) for part in re.split(r"[;+]", cell)]


def shown(value: float) -> str:
    """Return a figure as the page shows it: two digits that count, or all before the point."""
    if value == round(value):
        return f"{value:,.0f}"
    for limit, decimals in ((1, 2), (10, 1)):
        if abs(value) < limit:
            return f"{value:.{decimals}f}"
    return f"{value:,.0f}"


def rounded(value: float) -> str:
    """Return a figure that is no better known than to two digits."""
    if value < 10:
        return f"{value:.2g}"
    step = 10 ** (len(str(int(value))) - 2)
    return f"{round(value / step) * step:,}"


# --- formulas -----------------------------------------------------------------------------------


class Line(NamedTuple):
    """What something costs: so much for each batch, and so much for each command."""

    batch: float
    command: float

    def at(self, commands: float) -> float:
        """Return the cost of a command, of so many in a batch."""
        return self.command + self.batch / commands

    def __str__(self) -> str:
        return f"{shown(self.batch)} + {shown(self.command)}"


def fitted(alone: float, together: float, commands: float) -> Line:
    """Return the line through a command alone, and one of so many in a batch."""
    batch = (alone - together) / (1 - 1 / commands) if commands > 1 else 0.0
    # Where both are about the same, or about nothing, neither part is negative.
    batch = min(max(batch, 0.0), together * commands)
    return Line(batch, together - batch / commands)


def lines(page: Page) -> dict[str, dict[str, Line]]:
    """Return the lines of each request, by the resource, from what was measured."""
    cost = page["cost"]
    batches = cost.column("commands a batch")
    found: dict[str, dict[str, Line]] = {}
    for resource in ("server µs", "PostgreSQL µs", "WAL bytes"):
        for request, cell in cost.column(resource).items():
            alone, together, *_ = numbers(cell)
            line = fitted(alone, together, number(batches[request]))
            found.setdefault(request, {})[resource] = line
    return found


def fit(page: Page) -> Table:
    """Return what each batch and each command costs."""
    heading = ("request", "server µs", "PostgreSQL µs", "WAL bytes")
    rows = [(request, *map(str, of.values())) for request, of in lines(page).items()]
    return Table(heading, rows)


def assumptions(page: Page) -> dict[str, float]:
    """Return the assumptions' figures, by their names."""
    return {name: number(cell) for name, cell in page["assumptions"].column("value").items()}


class Limits(NamedTuple):
    """How many requests a second each resource carries."""

    process: float
    lane: float
    primary: float  # its cores
    wal: float
    delivery: float  # of the events, by the one relay

    @property
    def first(self) -> tuple[str, float]:
        """What is full first, of what there is one of, and at which rate."""
        one_each = {
            "the calendar's lane": self.lane,
            "the primary's cores": self.primary,
            "the WAL's disk": self.wal,
            "delivery of events": self.delivery,
        }
        name = min(one_each, key=lambda each: one_each[each])
        return name, one_each[name]


def limit(page: Page, request: str) -> Limits:
    """Return the limits of a request, if nothing else is sent."""
    given = assumptions(page)
    commands = given["commands in a batch"]
    of = lines(page)[request]
    server_us, postgres_us = of["server µs"].at(commands), of["PostgreSQL µs"].at(commands)
    waits_us = given["one flush of the WAL, ms"] * 1e3
    waits_us += given["round trips of a batch"] * given["one round trip, ms"] * 1e3
    wal_bytes = numbers(page["cost"].column("WAL bytes")[request])[2]
    events = number(page["cost"].column("events")[request])
    cores = given["cores of the primary"] * given["of these busy, %"] / 100
    return Limits(
        process=1e6 / server_us,
        lane=1e6 / (postgres_us + waits_us / commands),
        primary=cores * 1e6 / postgres_us,
        wal=given["WAL's disk, MB/s"] * 1e6 / wal_bytes if wal_bytes else float("inf"),
        delivery=delivered_per_s(page) / events if events else float("inf"),
    )


def delivered_per_s(page: Page) -> float:
    """Return how many events a second one relay delivers: each page is stored, then the next."""
    cpu_us = page["delivery"].column("µs an event")
    return 1e6 / (number(cpu_us["events service"]) + number(cpu_us["events database"]))


def limits(page: Page) -> Table:
    """Return what carries how much, and what is full first."""
    heading = (
        "request",
        "a process",
        "its lane",
        "primary's cores",
        "WAL's disk",
        "delivery",
        "full first",
        "at",
        "processes",
        "connections",
    )
    per_process = assumptions(page)["connections of a process"]
    rows = []
    for request in page["cost"].column("commands a batch"):
        found = limit(page, request)
        if request not in ONE_LANE_FOR_ALL:
            found_one = found._replace(lane=float("inf"))
            name, rate = found_one.first
        else:
            name, rate = found.first
        processes = -(-rate // min(found.process, found.lane))
        figures = (found.process, found.lane, found.primary, found.wal, found.delivery)
        cells = ["-" if each == float("inf") else rounded(each) for each in figures]
        connections = rounded(processes * per_process)
        rows.append((request, *cells, name, rounded(rate), f"{processes:,.0f}", connections))
    return Table(heading, rows)


def sizes(page: Page) -> Table:
    """Return how tables grow, with what a row a thousand times a second comes to."""
    stored = page["tables"]
    heading = ("table", "heap bytes a row", "index bytes a row", "kept, days", "GB")
    per_s = assumptions(page)["rows a second"]
    rows = []
    for cells in stored.rows:
        table, heap, index, kept, *_ = cells
        days = DAYS_A_YEAR if kept == FOR_GOOD else number(kept)
        count = per_s * SECONDS_A_DAY * days
        if table == "outbox":
            count = min(count, Settings().delivery.outbox_keep_events)
        total = (number(heap) + number(index)) * count / 1e9
        rows.append((table, heap, index, kept, rounded(total) + " a year" * (kept == FOR_GOOD)))
    return Table(heading, rows)


def growth(page: Page) -> Table:
    """Return the rows that each request leaves for good, and what they take."""
    stored = page["tables"]
    heap, index = stored.column("heap bytes a row"), stored.column("index bytes a row")
    for_good = {name for name, kept in stored.column("kept, days").items() if kept == FOR_GOOD}
    per_s = assumptions(page)["rows a second"]
    heading = ("request", "rows that stay", "bytes that stay", "GB a day")
    rows = []
    for request, written in page["growth"].column("rows that stay").items():
        total = 0.0
        for part in filter(None, written.split(", ")):
            count, table = part.split(" ", 1)
            if table in for_good:
                total += number(count) * (number(heap[table]) + number(index[table]))
        a_day = total * per_s * SECONDS_A_DAY / 1e9
        rows.append((request, written, shown(total), rounded(a_day)))
    return Table(heading, rows)


def workers(page: Page) -> Table:
    """Return what several workers came to in `make bench BENCH=--scaling`, beside the model."""
    heading = (
        "workers",
        "per second",
        "commands a batch",
        "server µs",
        "PostgreSQL µs",
        "per added worker",
        "CPU, measured ÷ model",
    )
    of = lines(page)["POST /api/orders"]
    rows: list[Cells] = []
    first_per_s = 0.0
    for cells in page["workers"].rows:
        count, per_s, batch, server_us, postgres_us, *_ = cells
        first_per_s = first_per_s or number(per_s)
        added = number(count) - 1
        ratio = (number(per_s) / first_per_s - 1) / added if added else None
        model_us = sum(of[each].at(number(batch)) for each in ("server µs", "PostgreSQL µs"))
        measured_us = number(server_us) + number(postgres_us)
        shares = "-" if ratio is None else f"{ratio:+.2f}", f"{measured_us / model_us:.2f}"
        rows.append((*cells[:5], *shares))
    return Table(heading, rows)


# Those with derived columns, in an order in which each finds what it needs.
DERIVED: Mapping[str, Callable[[Page], Table]] = {
    "fit": fit,
    "limits": limits,
    "tables": sizes,
    "growth": growth,
    "workers": workers,
}
MEASURED = ("cost", "delivery", "assumptions")


def parsed(text: str) -> dict[str, Table]:
    """Return all tables of a page. Raises PageFaulty if one is missing."""
    return {name: read(text, name) for name in (*MEASURED, *DERIVED)}


def recalculated(text: str) -> str:
    """Return the page with its derived columns as the formulas have them."""
    page = parsed(text)
    for name, derive in DERIVED.items():
        text = replaced(text, name, derive(page))
    return text


def differences(text: str) -> list[str]:
    """Return the lines of a page that the formulas have otherwise, each with what it should be."""
    page = parsed(text)
    found = []
    for name, derive in DERIVED.items():
        stated, right = page[name].markdown.splitlines(), derive(page).markdown.splitlines()
        for line, instead in zip_longest(stated, right, fillvalue="no line"):
            if line != instead:
                found.append(f"{name}: {line}\n{'instead:':>{len(name) + 9}} {instead}")
    return found
