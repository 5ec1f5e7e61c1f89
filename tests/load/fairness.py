"""What one user's backlog of orders costs the others: `python tests/load/fairness.py`.

One user has many pending orders, or `--heavy` of them have. Meanwhile others order one at a time,
and the time from each order to its settlement is looked up. Printed are these waits, how fast the
backlog is settled, and what CPU time the services and PostgreSQL use for each order. `--at-start`:
all are there when the service starts, and the others' orders are the newest ones. It needs a
machine with nothing else to do.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import psutil
import psycopg
from harness import Postgres, Server, free_port, postgres, serving

ROWLOCK = Path(sys.executable).parent / "rowlock"
OTHERS = 20
EXPECTED_S = 1.0
PAUSE_S = 0.1  # between two orders of others
TIMEOUT_S = 300.0

# The first users are the heavy ones.
USERS = """
    INSERT INTO users (username, balance)
    SELECT 'user-' || n, 1000000000 FROM generate_series(1, %s) AS n"""
LEDGER = """
    INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference)
    SELECT id, balance, balance, 'opening_balance', 'user:' || id FROM users"""
ADD = """
    INSERT INTO orders (user_id, status, amount)
    SELECT n %% %s + 1, 'pending', 100 FROM generate_series(1, %s) AS n"""
ADD_ONE = "INSERT INTO orders (user_id, status, amount) VALUES (%s, 'pending', 100)"
IS_DONE = """
    SELECT count(*) = 0 FROM (
        SELECT FROM orders WHERE status = 'pending' AND user_id <= %s LIMIT 1
    ) AS pending"""
WAITS = """
    SELECT extract(epoch FROM settled_at - greatest(created_at, %s))::float8 FROM orders
    WHERE user_id > %s AND id > %s AND settled_at IS NOT NULL"""
SPAN = """
    SELECT extract(epoch FROM max(settled_at) - min(settled_at))::float8, min(settled_at)
    FROM orders
    WHERE user_id <= %s AND id > %s"""


def main() -> None:
    """Measure and print; exit with 1 if an order of the others has waited for a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backlog", type=int, default=100_000, help="orders of the heavy users")
    parser.add_argument("--heavy", type=int, default=1, help="users who share the backlog")
    parser.add_argument("--processes", type=int, default=1, help="that settle")
    parser.add_argument("--at-start", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    late = 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(postgres(folder / "data"))
        server.execute(USERS, arguments.heavy + OTHERS)
        server.execute(LEDGER)
        for _ in range(arguments.rounds):
            waits, line = measure(server, folder / "log", arguments)
            late += sum(wait > EXPECTED_S for wait in waits)
            print(line, flush=True)
            server.execute("VACUUM ANALYZE")
    sys.exit(late > 0)


def measure(
    server: Postgres, log: Path, arguments: argparse.Namespace
) -> tuple[Sequence[float], str]:
    """Return the others' waits in seconds, and a line about all."""
    backlog, heavy, at_start = arguments.backlog, arguments.heavy, arguments.at_start
    last = server.number("SELECT coalesce(max(id), 0) FROM orders")
    with ExitStack() as stack:
        if at_start:
            add_backlog(server.connection, heavy, backlog)
            for number in range(OTHERS):
                server.execute(ADD_ONE, heavy + 1 + number)
        running = [stack.enter_context(commerce(server, log)) for _ in range(arguments.processes)]
        if not at_start:
            add_backlog(server.connection, heavy, backlog)
        before = cpu(server, running)
        order_meanwhile(server.connection, heavy, others=not at_start)
        used = [after - then for after, then in zip(cpu(server, running), before, strict=True)]
    [[span, first]] = server.connection.execute(SPAN, (heavy, last))
    # Those that were there before the service wait for it from its first settlement on.
    waits = sorted(wait for (wait,) in server.connection.execute(WAITS, (first, heavy, last)))
    services_us, postgres_us = (1e6 * seconds / backlog for seconds in used)
    return waits, (
        f"{backlog:,} of {heavy} settled at {backlog / span:,.0f}/s "
        f"(CPU per order: services {services_us:.0f} µs, PostgreSQL {postgres_us:.0f} µs); "
        f"{len(waits)} of others waited {statistics.median(waits):.3f} s in the median, "
        f"{waits[-1]:.3f} s at most"
    )


def add_backlog(connection: psycopg.Connection, heavy: int, backlog: int) -> None:
    with connection.transaction():
        connection.execute(ADD, (heavy, backlog))
        connection.execute("NOTIFY order_created")


def order_meanwhile(connection: psycopg.Connection, heavy: int, *, others: bool) -> None:
    """Let others order one by one, if they are to, until the backlog is settled."""
    started = time.perf_counter()
    number = 0
    while True:
        [[is_done]] = connection.execute(IS_DONE, (heavy,))
        if is_done:
            return
        if time.perf_counter() - started > TIMEOUT_S:
            sys.exit(f"The backlog is not settled after {TIMEOUT_S:.0f} s.")
        if others:
            connection.execute(ADD_ONE, (heavy + 1 + number % OTHERS,))
            connection.execute("NOTIFY order_created")
        number += 1
        time.sleep(PAUSE_S)


def cpu(server: Postgres, running: Sequence[Server]) -> tuple[float, float]:
    """Return the CPU seconds that the services and PostgreSQL have used."""
    return (
        sum(seconds(psutil.Process(each.process.pid)) for each in running),
        sum(seconds(each) for each in family(server.pid)),
    )


def family(pid: int) -> Iterator[psutil.Process]:
    process = psutil.Process(pid)
    yield process
    yield from process.children(recursive=True)


def seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system + times.children_user + times.children_system


def commerce(server: Postgres, log: Path) -> AbstractContextManager[Server]:
    """Return a started process of the service."""
    port = free_port()
    environment = {
        "ROWLOCK_DATABASE_URL": server.url,
        "ROWLOCK_COMMERCE_PORT": str(port),
        "ROWLOCK_LOG_REQUESTS": "0",
        # Nobody listens there: events are written, and not delivered.
        "ROWLOCK_EVENTS_URL": f"http://127.0.0.1:{free_port()}",
    }
    return serving(
        "commerce", (ROWLOCK, "serve", "commerce"), port=port, environment=environment, log=log
    )


if __name__ == "__main__":
    main()
