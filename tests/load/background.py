"""The background's part of the benchmark: settling orders, relaying and storing events.

Each figure is one run on databases of its own, beside those of the requests.
"""

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import settling
from harness import BenchFailed, Server, Stage, free_port, serving
from tools import missing_wrk, wrk

from rowlock.engine import outbox

EMPTY = Path(__file__).parent / "empty.py"
ROWLOCK = Path(sys.executable).parent / "rowlock"

USERS = 1_000
SETTLE_ROUNDS = 3
PEERS_SHARE = 5  # they get a fifth of the backlog: some need minutes for that
INGEST_ROUNDS = 3
INGEST_S = 5.0
STEADY_PER_S = 500  # events, for the delay
STEADY_S = 10
TIMEOUT_S = 300.0
POLL_S = 0.2  # counting events is not free
PENDING_POLL_S = 0.02

# From the lowest one of the poll before: with vacuum held back, the index still has those settled.
LOWEST_PENDING = """
    SELECT id FROM orders
    WHERE status = 'pending' AND next_attempt_at IS NULL AND id >= %s
    ORDER BY id LIMIT 1"""
SETTLED_AT = """
    SELECT extract(epoch FROM settled_at)::float8 FROM orders
    WHERE id >= %s AND settled_at IS NOT NULL
    ORDER BY settled_at"""


@dataclass(frozen=True, slots=True)
class Figure:
    """A line of the table."""

    name: str
    title: str
    value: float
    unit: str
    ratio: float | None = None  # to the peer, or to another figure
    target: str = ""
    reached: bool | None = None


@dataclass(frozen=True, slots=True)
class Background:
    """Databases, and a way to start the services on them."""

    main_url: str
    events_url: str
    events_port: int
    folder: Path

    @contextmanager
    def serving(self, name: str) -> Iterator[Server]:
        """Run the service commerce or events."""
        commerce_port = free_port()
        environment = {
            "ROWLOCK_DATABASE_URL": self.main_url,
            "ROWLOCK_EVENTS_DATABASE_URL": self.events_url,
            "ROWLOCK_COMMERCE_PORT": str(commerce_port),
            "ROWLOCK_EVENTS_PORT": str(self.events_port),
            "ROWLOCK_EVENTS_URL": f"http://127.0.0.1:{self.events_port}",
            "ROWLOCK_LOG_REQUESTS": "0",
            # A relay that has given up for a while would not start when the clock does.
            "ROWLOCK_RELAY_RETRY_LIMIT_S": "0.2",
        }
        port = commerce_port if name == "commerce" else self.events_port
        log = self.folder / f"background-{name}.log"
        command: list[str | Path] = [ROWLOCK, "serve", name]
        with serving(name, command, port=port, environment=environment, log=log) as server:
            yield server


def measure(ready: Stage, backlog: int) -> list[Figure]:
    """Return all figures, measured on new databases of the stage's server."""
    main_url = ready.postgres.create_database("settling")
    events_url = ready.postgres.create_database("relayed", "events")
    background = Background(main_url, events_url, free_port(), ready.folder)
    with ExitStack() as stack:
        main = stack.enter_context(psycopg.connect(main_url, autocommit=True))
        events = stack.enter_context(psycopg.connect(events_url, autocommit=True))
        return [
            *_settling(background, main, backlog),
            _relaying(background, main, events, backlog),
            _delay(background, main, events),
            *_ingesting(background, ready),
        ]


def _settling(background: Background, main: psycopg.Connection, backlog: int) -> Iterator[Figure]:
    main.execute(
        "INSERT INTO users (username, balance) "
        "SELECT 'load-' || number, 1000000000 FROM generate_series(1, %s) AS number",
        (USERS,),
    )
    main.execute(
        "INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference) "
        "SELECT id, balance, balance, 'opening_balance', 'user:' || id FROM users"
    )
    rates, held_at_end, held = [], [], []
    with background.serving("commerce"):
        for _ in range(SETTLE_ROUNDS):
            rate, at_end = _settle(main, backlog)
            rates.append(rate)
            with psycopg.connect(background.main_url) as holder:
                # A transaction with an id and a snapshot: what dies from now on is not vacuumed.
                holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                holder.execute("SELECT pg_current_xact_id(), count(*) FROM products")
                _, rate = _settle(main, backlog)
            held_at_end.append(rate)
            held.append(rate / at_end)
            main.execute("VACUUM")
    rate = statistics.median(rates)
    peers = {
        worker.name: worker.rate(background.main_url, backlog // PEERS_SHARE)
        for worker in settling.workers()
        if worker.lacks is None
    }
    best = max(peers.values(), default=0.0)
    ratio = rate / best if best else None
    yield Figure(
        "settle",
        "settling pending orders",
        rate,
        "orders/s",
        ratio,
        "≥ 3.0 of the fastest peer's",
        None if ratio is None else ratio >= 3,
    )
    for name, jobs_per_s in peers.items():
        yield Figure(name, f"the same by {name}", jobs_per_s, "jobs/s")
    ratio = statistics.median(held)
    yield Figure(
        "held",
        "its last quarter, vacuum held back",
        statistics.median(held_at_end),
        "orders/s",
        ratio,
        "≥ 0.70 of without",
        ratio >= 0.7,
    )


def _settle(main: psycopg.Connection, backlog: int) -> tuple[float, float]:
    """Return the orders settled per second: over all, and in the last quarter."""
    lowest = first = _number(main, "SELECT coalesce(max(id), 0) + 1 FROM orders")
    with main.transaction():  # a poll must not find them before the clock starts
        main.execute(
            "INSERT INTO orders (user_id, status, amount) "
            "SELECT 1 + number %% %s, 'pending', 100 FROM generate_series(1, %s) AS number",
            (USERS, backlog),
        )
        main.execute("ANALYZE orders")
        main.execute("NOTIFY order_created")
    started = time.perf_counter()
    while row := main.execute(LOWEST_PENDING, (lowest,)).fetchone():
        (lowest,) = row
        if time.perf_counter() - started > TIMEOUT_S:
            raise BenchFailed(f"Order {lowest} is pending after {TIMEOUT_S:.0f} s.")
        time.sleep(PENDING_POLL_S)
    ended = time.perf_counter()
    # settled_at is when its transaction began: the quarter ends as the last one begins.
    settled_at = [at for (at,) in main.execute(SETTLED_AT, (first,))]
    quarter = settled_at[-(backlog // 4) :]
    settled = sum(at < quarter[-1] for at in quarter)
    return backlog / (ended - started), settled / (quarter[-1] - quarter[0])


def _relaying(
    background: Background, main: psycopg.Connection, events: psycopg.Connection, backlog: int
) -> Figure:
    """Measure from the start of the events service until a backlog of events is stored."""
    main.execute("UPDATE outbox_cursor SET xid = pg_snapshot_xmin(pg_current_snapshot())")
    main.execute("TRUNCATE outbox")
    _append(main, backlog)
    with background.serving("commerce"), background.serving("events"):
        _until(events, 1)
        started, first = time.perf_counter(), _number(events, "SELECT count(*) FROM events")
        _until(events, backlog)
        rate = (backlog - first) / (time.perf_counter() - started)
    target = 30_000
    return Figure(
        "relay", "outbox to events table", rate, "events/s", None, f"≥ {target:,}", rate >= target
    )


def _delay(background: Background, main: psycopg.Connection, events: psycopg.Connection) -> Figure:
    """Measure the 99th percentile of the time from an event to its storage, at a steady rate."""
    with background.serving("commerce"), background.serving("events"):
        stored = _number(events, "SELECT count(*) FROM events") + 1
        _append(main, 1)
        _until(events, stored)  # the relay has taken its lease
        before = _number(events, "SELECT max(id) FROM events")
        step = 0.01
        count = int(STEADY_PER_S * step)
        due = time.perf_counter()
        # Stored-at is not kept: the sampler notes when it first sees each id.
        seen: list[tuple[int, float]] = []
        for _ in range(int(STEADY_S / step)):
            _append(main, count)
            main.execute(f"NOTIFY {outbox.CHANNEL}".encode())  # as services do that write events
            seen.append((_number(events, "SELECT coalesce(max(id), 0) FROM events"), time.time()))
            due += step
            time.sleep(max(0.0, due - time.perf_counter()))
        _until(events, stored + count * int(STEADY_S / step))
        seen.append((_number(events, "SELECT max(id) FROM events"), time.time()))
        rows = events.execute(
            "SELECT id, extract(epoch FROM created_at)::float8 FROM events WHERE id > %s", (before,)
        ).fetchall()
    delays = sorted(
        next(at for highest, at in seen if highest >= event_id) - created
        for event_id, created in rows
    )
    p99_ms = delays[int(len(delays) * 0.99)] * 1000
    target = 250
    return Figure(
        "delay",
        f"event to events table, p99 at {STEADY_PER_S}/s",
        p99_ms,
        "ms",
        None,
        f"< {target}",
        p99_ms < target,
    )


def _ingesting(background: Background, ready: Stage) -> Iterator[Figure]:
    """Measure POST /events, one event a request, against the empty handler."""
    if missing_wrk():
        return
    port = free_port()
    command: list[str | Path] = [sys.executable, EMPTY, "events"]
    environment = {"ROWLOCK_EVENTS_PORT": str(port), "ROWLOCK_LOG_REQUESTS": "0"}
    log = background.folder / "background-empty.log"
    rates: dict[str, list[float]] = {"events": [], "empty": []}
    with (
        background.serving("events") as full,
        serving("empty", command, port=port, environment=environment, log=log) as empty,
    ):
        for _ in range(INGEST_ROUNDS):
            for name, server in (("events", full), ("empty", empty)):
                rates[name].append(wrk(ready, server, "events.lua", (), INGEST_S).per_s)
    ratios = [own / its for own, its in zip(rates["events"], rates["empty"], strict=True)]
    ratio = statistics.median(ratios)
    yield Figure(
        "ingest",
        "POST /events, of the empty handler",
        statistics.median(rates["events"]),
        "events/s",
        ratio,
        "≥ 0.50",
        ratio >= 0.5,
    )


def _append(main: psycopg.Connection, count: int) -> None:
    main.execute(
        "INSERT INTO outbox (name, subject, payload) "
        "SELECT 'order.approved', 'order:' || number, "
        "jsonb_build_object('order_id', number, 'user_id', 7, 'amount', 100, 'balance_after', 9) "
        "FROM generate_series(1, %s) AS number",
        (count,),
    )


def _until(events: psycopg.Connection, count: int) -> None:
    deadline = time.perf_counter() + TIMEOUT_S
    while _number(events, "SELECT count(*) FROM events") < count:
        if time.perf_counter() > deadline:
            raise BenchFailed(f"Fewer than {count} events are stored after {TIMEOUT_S:.0f} s.")
        time.sleep(POLL_S)


def _number(connection: psycopg.Connection, statement: str) -> int:
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return int(row[0])
