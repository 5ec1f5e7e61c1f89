"""What each command costs: the measured part of the capacity model in docs/scaling.md.

    python tests/load/capacity.py                           # measures, and prints the tables
    python tests/load/capacity.py --write docs/scaling.md   # puts them into the page, too
    python tests/load/capacity.py --check docs/scaling.md   # derived columns against the formulas
    python tests/load/capacity.py --recalculate PAGE        # after a change of the assumptions

It runs on Linux, with two embedded PostgreSQL 18: one for the main database, one for the events.
One connection sends each request, so that it is alone in its batch, and then many do, which share
batches. CPU time, WAL and sizes hold on a busy machine, too. Rates would not, so there are none;
those of several workers are taken from bench-results/scaling.json, if `--scaling` has written them.
"""

import argparse
import asyncio
import json
import re
import signal
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import batches
import capacity_page
import data
import machine
import psutil
import psycopg
import uvloop
from capacity_page import FOR_GOOD, Page, PageFaulty, Table, shown
from capacity_requests import REQUESTS, Request, Run
from harness import START_TIMEOUT_S, BenchFailed, Postgres, Server, Spec, Stage, stage
from machine import used_s
from open_loop import Load
from report import RESULTS
from servers import ROWLOCK

from rowlock.engine import migrations
from rowlock.errors import RowlockError
from rowlock.ops import embedded
from rowlock.settings import Settings

USERS = 50_000
CONNECTIONS = 256
WARM_UP = 1_000  # requests
ALONE = 300
CHUNKS = 6  # with a VACUUM after each: so tables grow where autovacuum runs
CHUNK = 1_500
LEAST = 20  # however small the scale
PATIENCE_S = 120.0
POLL_S = 0.05
QUIET_S = 0.1  # until connections have been accepted

OF_EVENTS = re.compile(r"events_(\d{4}_\d\d|default)")  # its partitions
LEAST_BYTES = 100_000  # by which a table must grow to tell what a row takes

LEAD = """
    INSERT INTO leases (name, holder, epoch, since, expires)
    VALUES ('relay', 'capacity', 1, now(), 'infinity')"""
LEAVE = "UPDATE leases SET expires = now() WHERE name = 'relay'"
SIZES = """
    SELECT relname, pg_table_size(oid), pg_indexes_size(oid) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"""
WAL = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
# Those of clients: no command waits for what the checkpointer and the WAL writer flush.
FLUSHES = """
    SELECT coalesce(sum(fsyncs), 0) FROM pg_stat_io
    WHERE object = 'wal' AND backend_type = 'client backend'"""
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'rowlock-%'"
PENDING = "SELECT count(*) FROM orders WHERE status = 'pending'"
OUTBOX = "SELECT count(*) FROM outbox"  # of which nothing is delivered yet
IS_BEGUN = "SELECT count(*) FROM outbox_cursor WHERE last_position > 0"
# Whether there is one: it is asked often, and counting them all would cost more than delivering.
UNDELIVERED = """
    SELECT count(*) FROM (
        SELECT FROM outbox_cursor AS last
        JOIN outbox ON (outbox.xid, outbox.position) > (last.xid, last.position) LIMIT 1
    ) AS one"""


# --- what is counted ----------------------------------------------------------------------------


@dataclass(slots=True)
class Stored:
    """The rows and bytes of tables, or by how much they have grown."""

    rows: Counter[str] = field(default_factory=Counter)
    heap: Counter[str] = field(default_factory=Counter)
    index: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, connection: psycopg.Connection[Any]) -> "Stored":
        """Return what all tables of a database have; the partitions of events are one table."""
        found = cls()
        for table, heap, index in connection.execute(SIZES).fetchall():
            name = OF_EVENTS.sub("events", table)
            [(rows,)] = connection.execute(f'SELECT count(*) FROM "{table}"'.encode()).fetchall()
            found.rows[name] += rows
            found.heap[name] += heap
            found.index[name] += index
        return found

    def add(self, later: "Stored", earlier: "Stored") -> None:
        """Add what has come between the two, of tables from which nothing was removed."""
        for name in later.rows:
            if later.rows[name] < earlier.rows[name]:
                continue
            self.rows[name] += later.rows[name] - earlier.rows[name]
            self.heap[name] += later.heap[name] - earlier.heap[name]
            self.index[name] += later.index[name] - earlier.index[name]


class Spent(NamedTuple):
    """What each request, or event, has cost."""

    server_us: float
    postgres_us: float
    wal_bytes: float


class Meter:
    """Tells what a server and its PostgreSQL spend, from when it is made."""

    def __init__(self, server: Server, postgres: Postgres) -> None:
        self._processes = psutil.Process(server.process.pid), psutil.Process(postgres.pid)
        self._postgres = postgres
        self._before = self._read()

    def _read(self) -> tuple[float, ...]:
        server, postgres = self._processes
        wal = self._postgres.number(WAL)
        return used_s(server) * 1e6, used_s(postgres) * 1e6, wal

    def spent(self, count: int) -> Spent:
        """Return what has been spent for each of so many."""
        pairs = zip(self._read(), self._before, strict=True)
        return Spent(*((now - then) / count for now, then in pairs))


def vacuum(connection: psycopg.Connection[Any], *, analyze: bool = False) -> None:
    """Do what autovacuum would have done by now, to the tables that have rows."""
    options = b"ANALYZE, INDEX_CLEANUP on" if analyze else b"INDEX_CLEANUP on"
    for table, _, _ in connection.execute(SIZES).fetchall():
        # What is known to be empty is planned for as such.
        if connection.execute(f'SELECT FROM "{table}" LIMIT 1'.encode()).rowcount:
            connection.execute(b'VACUUM (%s) "%s"' % (options, table.encode()))


def wait_for(what: str, is_over: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_over():
        if time.monotonic() > deadline:
            raise BenchFailed(f"{what} takes more than {PATIENCE_S:.0f} s.")
        time.sleep(POLL_S)


# --- measuring ----------------------------------------------------------------------------------


class Cost(NamedTuple):
    """What a kind of request costs."""

    name: str
    commands: float  # in a batch, on average
    alone: Spent
    together: Spent
    after_checkpoint: float  # bytes of WAL
    flushes: float  # for each batch
    rows: Mapping[str, float]  # that each has added, by table


def send(run: Run, request: Request, server: Server, count: int, connections: int) -> Spent:
    """Send so many; return what each has cost by when all that follows from it is done."""
    postgres = run.ready.postgres
    load = Load(request.packed(run, count), [0.0] * count, connections)

    async def drive() -> Spent:
        await load.connect(server.port)
        await asyncio.sleep(QUIET_S)
        meter = Meter(server, postgres)
        clients = await load.send(time.perf_counter())
        if request.is_settled:
            wait_for("settling", lambda: postgres.number(PENDING) == 0)
        spent = meter.spent(count)
        for client in clients:
            client.transport.close()
        return spent

    spent = uvloop.run(drive())
    if load.refusals:
        raise BenchFailed(f"{request.name} was refused: {load.refusals.most_common(1)}")
    return spent


def measure(run: Run, request: Request, stored: Stored, scale: float) -> Cost:
    """Return what a kind of request costs; add to `stored` by how much the tables grow."""
    run.ready.progress.doing(request.name)
    postgres, connection = run.ready.postgres, run.ready.postgres.connection
    warm_up, alone, chunk = (max(LEAST, round(scale * each)) for each in (WARM_UP, ALONE, CHUNK))
    flushed = postgres.number(FLUSHES)
    with run.ready.serving("commerce", run.ready.specs["commerce"]) as server:
        send(run, request, server, warm_up, CONNECTIONS)
        vacuum(connection, analyze=True)
        by_itself = send(run, request, server, alone, 1)
        vacuum(connection)
        before, first = Stored.of(connection), batches.read(server)
        chunks = []
        for _ in range(CHUNKS):
            chunks.append(send(run, request, server, chunk, CONNECTIONS))
            vacuum(connection)
        after, last = Stored.of(connection), batches.read(server)
        with postgres.changed({"full_page_writes": "on"}):
            connection.execute("CHECKPOINT")
            with_images = send(run, request, server, chunk, CONNECTIONS)
        commits = batches.read(server).commits
    # A session tells what it has flushed when it ends, at the latest.
    wait_for("ending sessions", lambda: postgres.number(SESSIONS) == 0)
    stored.add(after, before)
    added = {name: after.rows[name] - before.rows[name] for name in sorted(after.rows)}
    return Cost(
        request.name,
        last.commands_since(first),
        by_itself,
        Spent(*(sum(each) / CHUNKS for each in zip(*chunks, strict=True))),
        with_images.wal_bytes,
        (postgres.number(FLUSHES) - flushed) / commits if commits else 0.0,
        {name: rows / (CHUNKS * chunk) for name, rows in added.items() if rows},
    )


class Delivery(NamedTuple):
    """What an event costs on its way."""

    relay: Spent  # with the main database
    intake: Spent  # the events service, with its own
    clock_us: float  # what passed meanwhile


def deliver(ready: Stage, events: Postgres, stored: Stored) -> Delivery:
    """Let all events be delivered that wait; return what each has cost."""
    ready.progress.doing("delivery of events")
    main, count = ready.postgres, ready.postgres.number(OUTBOX)
    if not count:
        raise BenchFailed("There are no events to deliver: measure a request that has some, too.")
    with ready.serving("events", ready.specs["events"]) as intake:
        commerce = Spec(
            ready.specs["commerce"].command, environment={"ROWLOCK_EVENTS_URL": intake.url}
        )
        with ready.serving("commerce", commerce) as relay:
            before = Stored.of(events.connection)
            meters = Meter(relay, main), Meter(intake, events)
            main.execute(LEAVE)
            wait_for("taking the lead", lambda: main.number(IS_BEGUN) == 1)
            started = time.monotonic()
            wait_for("delivery", lambda: main.number(UNDELIVERED) == 0)
            clock_us = (time.monotonic() - started) / count * 1e6
            relayed, taken = (meter.spent(count) for meter in meters)
    vacuum(events.connection)
    stored.add(Stored.of(events.connection), before)
    return Delivery(relayed, taken, clock_us)


@contextmanager
def events_database(folder: Path) -> Iterator[Postgres]:
    """Lend a server of its own with the events database."""
    with embedded.running(folder, START_TIMEOUT_S) as urls:
        url = urls["rowlock_events"]
        migrations.up(url, "events")
        with psycopg.connect(url, autocommit=True) as connection:
            yield Postgres(url, folder, connection)


class Progress:
    """Says what is being measured."""

    def doing(self, what: str) -> None:
        print(f"  {what}", file=sys.stderr, flush=True)

    def passed(self, seconds: float) -> None:
        pass


SETTINGS = {
    "autovacuum": "off",
    "full_page_writes": "off",  # what they add depends on when the last checkpoint was
    "max_wal_size": "16GB",
}


def measured(requests: Sequence[Request], users: int, scale: float) -> tuple[str, dict[str, Table]]:
    """Return what the figures depend on, and the measured tables."""
    environment: dict[str, str] = {}
    specs = {
        "commerce": Spec((ROWLOCK, "serve", "commerce")),
        "events": Spec((ROWLOCK, "serve", "events"), environment=environment),
    }
    stored = Stored()
    with stage(specs, Progress()) as ready, events_database(ready.folder / "events") as events:
        environment["ROWLOCK_EVENTS_DATABASE_URL"] = events.url
        described = ready.describe_machine()
        watch = machine.Watch([psutil.Process().pid, ready.postgres.pid, events.pid])
        with ready.postgres.changed(SETTINGS):
            # Its commits are nobody's to wait for, and no flushes of clients.
            ready.postgres.execute("SET synchronous_commit = off")
            ready.postgres.execute(LEAD)
            data.load(ready, users)
            run = Run.on(ready, users)
            costs = [measure(run, request, stored, scale) for request in requests]
            delivery = deliver(ready, events, stored)
        complaints = watch.complaints()
    about = (
        f"{datetime.now(UTC):%Y-%m-%d}, {described['cores']} cores ({described['cpu']}), "
        f"PostgreSQL {described['postgresql']}, Python {described['python']}"
    )
    return "; ".join([about, *complaints]), {
        "cost": cost_table(costs),
        "delivery": delivery_table(delivery),
        "tables": stored_table(stored),
        "growth": growth_table(costs),
    }


# --- tables -------------------------------------------------------------------------------------


def cost_table(costs: Sequence[Cost]) -> Table:
    """Return what requests cost: alone in a batch; with others."""
    heading = (
        *("request", "commands a batch", "server µs", "PostgreSQL µs", "WAL bytes"),
        *("flushes a batch", "events"),
    )
    rows = []
    for cost in costs:
        pairs = zip(cost.alone, cost.together, strict=True)
        server, postgres, wal = ("; ".join(map(shown, pair)) for pair in pairs)
        wal += f"; {shown(cost.after_checkpoint)}"
        commands, flushes = shown(cost.commands), f"{cost.flushes:.2f}"
        events = shown(round(cost.rows.get("outbox", 0), 2))
        rows.append((cost.name, commands, server, postgres, wal, flushes, events))
    return Table(heading, rows)


def delivery_table(delivery: Delivery) -> Table:
    """Return what an event costs where."""
    relay, intake = delivery.relay, delivery.intake
    rows = (
        ("relay", shown(relay.server_us), "-"),
        ("main database", shown(relay.postgres_us), shown(relay.wal_bytes)),
        ("events service", shown(intake.server_us), "-"),
        ("events database", shown(intake.postgres_us), shown(intake.wal_bytes)),
        ("all, by the clock", shown(delivery.clock_us), "-"),
    )
    return Table(("part", "µs an event", "WAL bytes an event"), rows)


def kept_days() -> dict[str, str]:
    """Return for how long rows are kept, of the tables whose rows are not kept for good."""
    settings = Settings()
    months = settings.events.events_retention_months + 0.5  # the current one is half over
    events = f"{months * capacity_page.DAYS_A_YEAR / 12:.0f}"
    answers = f"{settings.batches.idempotency_keep_s / capacity_page.SECONDS_A_DAY:.2g}"
    delivered = f"{settings.delivery.outbox_keep_s / capacity_page.SECONDS_A_DAY:.2g}"
    return {
        "outbox": delivered,
        "idempotency_keys": answers,
        "events": events,
        "event_keys": events,
    }


def stored_table(stored: Stored) -> Table:
    """Return what rows take, with their indexes."""
    kept = kept_days()
    rows = []
    for name in sorted(stored.rows):
        count, heap, index = stored.rows[name], stored.heap[name], stored.index[name]
        if count > 0 and heap > LEAST_BYTES:
            each = shown(heap / count), shown(index / count)
            rows.append((name, *each, kept.get(name, FOR_GOOD), ""))
    return Table(("table", "heap bytes a row", "index bytes a row", "kept, days", "GB"), rows)


def growth_table(costs: Sequence[Cost]) -> Table:
    """Return which rows each request leaves for good."""
    kept = kept_days()
    rows = []
    for cost in costs:
        parts = [f"{count:g} {name}" for name, count in cost.rows.items() if name not in kept]
        if parts:
            rows.append((cost.name, ", ".join(parts), "", ""))
    return Table(("request", "rows that stay", "bytes that stay", "GB a day"), rows)


def workers_table(page: Page) -> Table:
    """Return what `--scaling` has measured of several workers, or what the page has."""
    path = RESULTS / "scaling.json"
    tables = json.loads(path.read_text())["tables"] if path.exists() else []
    points = [each["points"] for each in tables if each["unit"] == "workers"]
    if not points:
        return page["workers"]
    rows = [
        (
            shown(point["size"]),
            *(shown(point[each]) for each in ("per_s", "commands", "server_us", "postgres_us")),
            *("", ""),
        )
        for point in points[0]
    ]
    return Table(page["workers"].heading, rows)


def renewed(text: str, about: str, tables: Mapping[str, Table]) -> str:
    """Return the page with other measurements."""
    for name, table in tables.items():
        text = capacity_page.replaced(text, name, table)
    text = capacity_page.replaced(text, "workers", workers_table(capacity_page.parsed(text)))
    measured = textwrap.fill(f"Measured: {about}.", 100)
    text = re.sub(r"(?m)^Measured: (?:.+\n)+", lambda _: f"{measured}\n", text)
    return capacity_page.recalculated(text)


# --- the command line ---------------------------------------------------------------------------

PAGE = Path(__file__).resolve().parents[2] / "docs/scaling.md"


def check(page: Path) -> int:
    """Say which lines of the page are not what the formulas have."""
    found = capacity_page.differences(page.read_text(encoding="utf-8"))
    print("\n".join(found) or f"{page.name}: the derived columns are those of the formulas")
    return 1 if found else 0


def interrupt(*_: object) -> NoReturn:
    """Stop everything once; another Ctrl-C must not leave a server behind."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
    sys.exit("capacity: interrupted, everything is stopped")


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what each command costs.")
    what = parser.add_mutually_exclusive_group()
    for option, about in (
        ("--write", "measure, and put the tables into this page"),
        ("--recalculate", "put the derived columns into this page"),
        ("--check", "only compare this page's derived columns with the formulas"),
    ):
        what.add_argument(option, type=Path, metavar="PAGE", help=about)
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of requests")
    parser.add_argument(
        "--only", metavar="REQUEST", action="append", help="only this one; may be repeated"
    )
    parser.add_argument("--users", type=int, default=USERS, help="(default %(default)s)")
    options = parser.parse_args()
    if unknown := set(options.only or ()) - {request.name for request in REQUESTS}:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    try:
        return run(options)
    except (BenchFailed, PageFaulty, RowlockError, OSError) as error:
        print(f"capacity: {error}", file=sys.stderr)
        return 1


def run(options: argparse.Namespace) -> int:
    """Do what the command line says. Raises PageFaulty, and what measuring raises."""
    page = options.check or options.recalculate or options.write or PAGE
    text = page.read_text(encoding="utf-8")
    capacity_page.parsed(text)  # before anything is measured
    if options.check:
        return check(page)
    if options.recalculate:
        page.write_text(capacity_page.recalculated(text), encoding="utf-8")
        return 0
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, interrupt)
    requests = [each for each in REQUESTS if not options.only or each.name in options.only]
    started = time.monotonic()
    about, tables = measured(requests, options.users, options.scale)
    text = renewed(page.read_text(encoding="utf-8"), about, tables)
    if options.write:
        page.write_text(text, encoding="utf-8")
    print(f"Measured: {about}.")
    for name, table in capacity_page.parsed(text).items():
        print(f"\n{capacity_page.MARK.format(name)}\n{table.markdown}", end="")
    print(f"\nIt took {time.monotonic() - started:.0f} s.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
