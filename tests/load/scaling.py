"""`make bench BENCH=--scaling`: how the cost of a request grows with what is stored and asked.

Machines drift within minutes, so each figure stands beside one of the empty handler, taken at the
same moment, and a cost is in requests of that: what one request costs as much as. A cost that is
proportional to 1 + log2(size) is that of a B-tree's descent; none may grow faster.
"""

import itertools
import math
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import audit
import batches
import data
import report
import servers
from harness import CONNECTIONS, WRK_THREADS, BenchFailed, Progress, Stage, stage
from report import console
from rich.console import Console
from rich.table import Table
from sides import Arguments
from tools import Measurement, missing_wrk, wrk

MINUTES = 4.5  # of which each table has a share; no further size is begun after that
CLOSING_S = 5.0  # of a share: for comparing the books, and for stopping
GROWING = 1.2  # times as long as for the size before, at least
NOISE = 0.15  # by which two measurements of the same may differ
ROUNDS = 3
SECONDS = 1
WARM_UP_S = 1
WIDTH = 110
WORKERS = "workers"  # the unit of sizes whose rates are compared, too
CHUNK = 250_000  # orders loaded at a time
CONNECTION_COUNTS = (1, 16, 256, 2048)
BATCHES = (1, 8, 64, 512)

# So that what is bought later is new to everybody, the past owns products of its own.
ADD_PAST_PRODUCTS = """
    INSERT INTO products (slug, name, price)
    SELECT 'past-' || n, 'Past ' || n, 100
    FROM generate_series(0, %(last)s::bigint / %(users)s) AS n ON CONFLICT DO NOTHING"""

LOAD_ORDERS = """
    WITH past AS (
        INSERT INTO orders (user_id, status, amount, settled_at)
        SELECT %(first_user)s + n %% %(users)s, 'approved', 100, now()
        FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
        ORDER BY n
        RETURNING id, user_id
    ),

    item AS (
        INSERT INTO order_items (order_id, product_id, quantity, price)
        SELECT past.id, products.id, 1, 100 FROM past, products WHERE slug = 'past-0'
    )

    INSERT INTO owned_products (user_id, product_id)
    SELECT %(first_user)s + n %% %(users)s, products.id
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
    JOIN products ON slug = 'past-' || n / %(users)s"""


@dataclass(frozen=True, slots=True)
class Point:
    """What requests cost at one size."""

    size: int
    per_s: float
    p50_ms: float
    p99_ms: float
    cost: float  # in requests of the empty handler
    server_us: float  # CPU time of a request
    postgres_us: float
    commands: float  # in a batch


@dataclass(frozen=True, slots=True)
class Growth:
    """A table: the cost of one kind of request by size."""

    title: str
    unit: str  # of the size
    points: Sequence[Point]

    def grown(self, point: Point) -> float:
        return point.cost / self.points[0].cost

    def allowed(self, point: Point) -> float:
        """Return the growth that is logarithmic."""
        return _depth(point.size) / _depth(self.points[0].size)

    def per_added(self, point: Point) -> float | None:
        """Return what each worker after the first has added, as a share of what that one does."""
        added = point.size - self.points[0].size
        if self.unit != WORKERS or not added:
            return None
        return (point.per_s / self.points[0].per_s - 1) / added

    @property
    def is_faster(self) -> bool:
        """Tell whether cost grows faster than logarithmically, from the first size to the last."""
        last = self.points[-1]
        return self.grown(last) > self.allowed(last) * (1 + NOISE)


def _depth(size: int) -> float:
    return 1 + math.log2(size)


@dataclass(slots=True)
class Scale:
    """Measures at sizes, until the time is up."""

    ready: Stage
    quick: bool
    ends_at: float

    def sizes(self, first: int, last: int, step: int = 10) -> Iterator[int]:
        """Yield first and its multiples by step up to last; half-way if it is to be quick."""
        most = math.isqrt(first * last) if self.quick else last
        exponents = itertools.count()
        return self.within(
            itertools.takewhile(
                lambda size: size <= most, (first * step**each for each in exponents)
            )
        )

    def within(self, sizes: Iterable[int]) -> Iterator[int]:
        """Yield the first size, and those for which there is time: each may take longer."""
        taken_s = 0.0
        for size in sizes:
            started = time.monotonic()
            if taken_s and started + GROWING * taken_s > self.ends_at:
                console.print(f"[yellow]left out: {size:,} and more, for want of time[/yellow]")
                return
            yield size
            taken_s = time.monotonic() - started

    def point(
        self,
        size: int,
        script: str,
        arguments: Arguments,
        *,
        server: str = "rowlock",
        connections: int = CONNECTIONS,
    ) -> Point:
        """Return the medians of some runs, each beside one of the empty handler."""
        self.ready.progress.doing(f"{script} at {size:,}")
        own, empty = self.ready.server(server), self.ready.server("empty")

        def run(seconds: int) -> Measurement:
            values = arguments(self.ready, seconds)
            return wrk(self.ready, own, script, values, seconds, connections)

        run(WARM_UP_S)
        runs, costs, first = [], [], batches.read(own)
        for _ in range(ROUNDS):
            reference = wrk(self.ready, empty, "get.lua", ("/user/", 1, 1), 1)
            runs.append(run(SECONDS))
            costs.append(reference.per_s / max(runs[-1].per_s, 1))
        return Point(
            size,
            statistics.median(run.per_s for run in runs),
            statistics.median(run.p50_ms for run in runs),
            statistics.median(run.p99_ms for run in runs),
            statistics.median(costs),
            statistics.median(run.server_us or 0 for run in runs),
            statistics.median(run.postgres_us or 0 for run in runs),
            batches.read(own).commands_since(first),
        )


# --- tables -------------------------------------------------------------------------------------


def by_users(scale: Scale) -> list[Growth]:
    buying, reading = [], []
    for users in scale.sizes(1_000, 1_000_000):
        data.load(scale.ready, users)
        buying.append(scale.point(users, "orders.lua", lambda *_, n=users: (n, data.PRODUCTS)))
        reading.append(scale.point(users, "get.lua", data.users_read))
    return [
        Growth("POST /api/orders, by users", "users", buying),
        Growth("GET /user/{id}, by users", "users", reading),
    ]


def by_connections(scale: Scale) -> list[Growth]:
    data.load(scale.ready)
    points = [
        scale.point(count, "orders.lua", data.all_pairs, connections=count)
        for count in scale.within(CONNECTION_COUNTS)
    ]
    return [Growth("POST /api/orders, by connections", "connections", points)]


def by_batch(scale: Scale) -> list[Growth]:
    data.load(scale.ready)
    points = [
        scale.point(items, "orders.lua", data.all_pairs, server=_batching(items))
        for items in scale.within(BATCHES)
    ]
    return [Growth("POST /api/orders, by the largest batch allowed", "commands", points)]


def by_accounts(scale: Scale) -> list[Growth]:
    data.load(scale.ready)
    points = []
    for accounts in scale.sizes(1, data.USERS, 100):
        seconds = WARM_UP_S + ROUNDS * SECONDS
        data.load_invoices(scale.ready, seconds * data.INVOICES_PER_S, accounts)
        points.append(scale.point(accounts, "pay.lua", _payments))
    return [Growth("POST /invoices/{id}/pay, by accounts credited", "accounts", points)]


def by_orders(scale: Scale) -> list[Growth]:
    data.load(scale.ready)
    buying, reading, listing = [], [], []
    for size in scale.sizes(10_000, 10_000_000):
        stored = _load_orders(scale.ready, size, scale.ends_at)
        reading.append(scale.point(stored, "get.lua", _orders_read))
        listing.append(scale.point(stored, "get.lua", lambda *_: ("/orders?limit=", 20, 20)))
        buying.append(scale.point(stored, "orders.lua", data.all_pairs))  # last: it adds orders
    return [
        Growth("POST /api/orders, by orders stored", "orders", buying),
        Growth("GET /orders/{id}, by orders stored", "orders", reading),
        Growth("GET /orders?limit=20, by orders stored", "orders", listing),
    ]


def by_workers(scale: Scale) -> list[Growth]:
    data.load(scale.ready)
    points = []
    for workers in scale.sizes(1, most_workers(), 2):
        server = _working(workers)
        points.append(scale.point(workers, "orders.lua", data.all_pairs, server=server))
        scale.ready.stop_all_but(("empty",))
    return [Growth("POST /api/orders, by workers", WORKERS, points)]


def most_workers() -> int:
    """Return as many as there are processors, and four at least: what too many cost is shown."""
    return max(4, os.cpu_count() or 1)


TABLES: Mapping[str, Callable[[Scale], list[Growth]]] = {
    # What these leave of their time, the last two get, which load most.
    "connections": by_connections,
    "batches": by_batch,
    "accounts": by_accounts,
    "workers": by_workers,
    "users": by_users,
    "orders": by_orders,
}
# These share a server. The others have one each, as rows of others would be part of their sizes.
SHARING = frozenset({"connections", "batches", "accounts", "workers"})


def _orders_read(ready: Stage, _: float) -> tuple[object, ...]:
    ids = (ready.postgres.number(f"SELECT {which}(id) FROM orders") for which in ("min", "max"))
    return ("/orders/", *ids)


def _payments(ready: Stage, _: float) -> tuple[int, int]:
    return data.next_invoice(ready), WRK_THREADS


def _working(workers: int) -> str:
    return f"{workers} of the workers"


def _batching(items: int) -> str:
    return f"batches of {items}"


def _load_orders(ready: Stage, stored: int, ends_at: float) -> int:
    """Add orders until there are so many, or the time is up; return how many there are.

    Each has its item and its owner.
    """
    first_user, _ = data.user_ids(ready)
    values = {"first_user": first_user, "users": data.USERS, "last": stored}
    connection = ready.postgres.connection
    there = ready.postgres.number("SELECT count(*) FROM orders")
    connection.execute(ADD_PAST_PRODUCTS.encode(), values)
    # Foreign keys hold in what is loaded; to check 40 million would take as long as the rest.
    connection.execute("SET session_replication_role = replica")
    for first in range(there, stored, CHUNK):
        if time.monotonic() > ends_at:
            stored = first
            break
        ready.progress.doing(f"loading orders, {first:,} of {stored:,}")
        last = min(first + CHUNK, stored) - 1
        connection.execute(LOAD_ORDERS.encode(), {**values, "first": first, "last": last})
    connection.execute("RESET session_replication_role")
    connection.execute("VACUUM ANALYZE orders, order_items, owned_products")
    connection.execute("CHECKPOINT")
    return stored


# --- measuring and showing ----------------------------------------------------------------------


def measure(
    progress: Progress, *, quick: bool, only: Sequence[str] | None, minutes: float
) -> tuple[dict[str, Any], list[Growth]]:
    """Return the machine, and how each kind of cost grows."""
    if reason := missing_wrk():
        raise BenchFailed(f"nothing can be measured: {reason}.")
    commerce = servers.specs(0)["rowlock"]
    specs = servers.specs(0) | {
        _batching(items): replace(commerce, environment={"ROWLOCK_BATCH_ITEMS": str(items)})
        for items in BATCHES
    }
    for workers in range(1, most_workers() + 1):
        command = (*commerce.command, "--workers", str(workers))
        specs[_working(workers)] = replace(commerce, command=command)
    names = [name for name in TABLES if not only or name in only]
    ends_at = time.monotonic() + minutes * 60
    growths: list[Growth] = []
    for key, sharing in itertools.groupby(names, lambda name: name in SHARING or name):
        with stage(specs, progress) as ready:
            described = ready.describe_machine()
            if key is True:
                data.load(ready)  # for all of them, so it counts for none
            for name in sharing:
                # Each has its share of the time that is left. What one leaves, the others get.
                now = time.monotonic()
                share_s = (ends_at - now) / (len(names) - names.index(name)) - CLOSING_S
                growths += TABLES[name](Scale(ready, quick, now + share_s))
            audit.check_books(ready)
    return described, growths


def show(machine: Mapping[str, Any], growths: Sequence[Growth]) -> None:
    """Print the tables, and write them as JSON."""
    report.show_machine(machine)
    console.print(
        "Cost is in requests of the empty handler (GET /user/{id}), measured at the same moment.\n"
        "Logarithmic growth is that of 1 + log2(size).\n"
    )
    for growth in growths:
        _show(growth)
    report.write(
        "scaling.json",
        {
            "machine": machine,
            "tables": [asdict(each) | {"faster_than_log": each.is_faster} for each in growths],
        },
    )


def _show(growth: Growth) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in (
        growth.unit,
        "per second",
        "p50 ms",
        "p99 ms",
        "server µs",
        "PostgreSQL µs",
        "batch",
        "cost",
        "grown to",
        "logarithmic",
        *(("per added",) if growth.unit == WORKERS else ()),
    ):
        table.add_column(heading, justify="right")
    for point in growth.points:
        added = growth.per_added(point)
        table.add_row(
            f"{point.size:,}",
            f"{point.per_s:,.0f}",
            f"{point.p50_ms:,.1f}",
            f"{point.p99_ms:,.1f}",
            f"{point.server_us:,.0f}",
            f"{point.postgres_us:,.0f}",
            f"{point.commands:,.0f}",
            f"{point.cost:.2f}",
            f"{growth.grown(point):.2f}",
            f"{growth.allowed(point):.2f}",
            *(() if added is None else (f"{added:+.2f}",)),
        )
    console.print(f"[bold]{growth.title}[/bold]")
    Console(highlight=False, width=max(console.width, WIDTH)).print(table)
    if growth.unit == WORKERS:
        console.print("per added: what each further worker adds, of what the first one does")
    if len(growth.points) < 2:
        verdict = "[yellow]one size: nothing to compare[/yellow]"
    elif growth.is_faster:
        verdict = "[red]grows faster than logarithmically[/red]"
    else:
        verdict = "[green]does not grow faster than logarithmically[/green]"
    console.print(f"{verdict}\n")
