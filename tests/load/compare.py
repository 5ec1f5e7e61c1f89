"""Compare two versions of Rowlock by CPU time per request: `compare.py OLD NEW`, on Linux.

OLD and NEW are the executables `rowlock` of two installations. Each serves its own users from its
own embedded PostgreSQL, and gets the same requests as the other, at a rate that is no limit for it.
They come in groups, as the cost of a request depends on how many commit together, and in turns: a
group for the old side, two for the new one, two for the old one. A machine that gets slower gets
slower for both. What counts is the CPU time of services and PostgreSQL until all is settled and
delivered. What an idle side uses is in it; how much of it that is, is shown.

PostgreSQL has its default settings but for autovacuum, which would come in the middle of a round of
one side: tables are vacuumed before each row. The exit status is 1 only if something has failed, or
an answer was not 2xx.
"""

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from socket import create_server
from typing import Any, NamedTuple, NoReturn

import psutil
import psycopg
import uvloop
from machine import used_s
from open_loop import Load

OURS = ("ROWLOCK_", "PG")  # settings of the shell, which are not those of the comparison
PROCESSORS = sorted(os.sched_getaffinity(0))
TOLERANCE = 1.03
GROUP = 32  # requests at once
CONNECTIONS = 64
WARM_UP_S = 1.5
IDLE_S = 10.0  # in which nearly all that is done by the clock is done
LOOK_S = 0.25
REST = 0.08  # of a processor: a side that uses less for LOOK_S is at rest
PATIENCE_S = 60.0

PARTS = ("services", "PostgreSQL", "both")
SERVICES = ("commerce", "projects", "events")
DATABASES = ("rowlock", "rowlock_events")
PRODUCTS = ("netflix", "spotify", "amazon-prime", "disney-plus", "audible", "gym", "lunch", "bike")
LEAST_USERS = 20_000
STRIDE = 7919  # a prime: what follows in time does not lie side by side in the tables
PAGES = 3  # of the demo projects
TIMES = 15_000_000  # for bookings: every four hours
FIRST_TIME = 4_102_444_800  # the year 2100


class Row(NamedTuple):
    """A kind of request: texts that `Side.requests` fills in."""

    name: str  # for --rows
    line: str
    body: str = ""
    header: str = ""
    service: str = "commerce"
    pace: int = 1  # times --rate: where idling would be a large part of the little that it costs
    hot: bool = False  # one user has all the invoices


PURCHASE = '{"order":{"items":["%(product)s"],"user_id":"load-%(number)s"}}'
ITEMS = ",".join(f'{{"productId":%(product{each})s,"quantity":2}}' for each in (1, 2, 3))
INVOICE = '{"user_id":%(user)s,"amount":11350,"label":"Work for April"}'
BOOKING = '{"datetime":"%(time)s","totalfee":100,"services":["123"]}'
EVENT = '{"name":"order.approved","subject":"order:%(user)s","payload":{"order_id":%(user)s}}'

ROWS = (
    Row("users", "GET /user/%(user)s", pace=3),
    Row("shoppers", "GET /api/users/load-%(number)s", pace=3),
    Row("orders", "POST /api/orders", PURCHASE),
    Row("keys", "POST /api/orders", PURCHASE, "Idempotency-Key: %(key)s\r\n"),
    Row("create", "POST /orders", f'{{"items":[{ITEMS}],"userId":%(user)s}}'),
    Row("invoices", "POST /invoices", INVOICE),
    Row("list", "GET /invoices?limit=20"),
    Row("pay", "POST /invoices/%(invoice)s/pay"),
    Row("hot", "POST /invoices/%(invoice)s/pay", hot=True),
    Row("bookings", "POST /service-orders", BOOKING),
    Row("projects", "GET /projects?page=%(page)s", service="projects", pace=3),
    Row("events", "POST /events", EVENT, service="events"),
)


class Side(NamedTuple):
    """A version with all that belongs to it, which is running."""

    ports: Mapping[str, int]  # by service
    processes: Sequence[psutil.Process]  # the services', and the postmaster
    connection: psycopg.Connection[Any]  # to the main database
    users: int  # load-1, load-2, ...
    first_user: int  # the id of load-1; those of the others follow
    made: Counter[str]  # requests, by their line

    def requests(self, row: Row, count: int) -> list[bytes]:
        """Return the next requests of a row as they are sent: the same for both sides."""
        numbers = range(self.made[row.line], self.made[row.line] + count)
        self.made[row.line] += count
        users = [self.first_user + number * STRIDE % self.users for number in numbers]
        invoices = users
        if "%(invoice)" in row.line:
            issued = self.connection.execute(
                "INSERT INTO invoices (user_id, amount, label) "
                "SELECT unnest(%s::bigint[]), 11350, 'Work for April' RETURNING id",
                ([self.first_user] * count if row.hot else users,),
            )
            invoices = [invoice for (invoice,) in issued]
        return [self._fill(row, *each) for each in zip(numbers, users, invoices, strict=True)]

    def _fill(self, row: Row, number: int, user: int, invoice: int) -> bytes:
        at = time.gmtime(FIRST_TIME + number * STRIDE % TIMES * 4 * 3600)
        values = {
            "user": user,
            "number": user - self.first_user + 1,
            "key": f"compare-{number}",
            "invoice": invoice,
            "page": number % PAGES + 1,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", at),
            # Everybody buys a product, and then everybody the next one.
            "product": PRODUCTS[number // self.users % len(PRODUCTS)],
            **{f"product{each}": (number + 3 * each) % len(PRODUCTS) + 1 for each in (1, 2, 3)},
        }
        body = (row.body % values).encode()
        return (
            f"{row.line % values} HTTP/1.1\r\nHost: 127.0.0.1\r\n{row.header % values}"
            f"Authorization: Bearer development-{row.service}-token\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def tidy(self) -> None:
        """Do what autovacuum would have done by now."""
        for name in DATABASES:
            dsn = psycopg.conninfo.make_conninfo(self.connection.info.dsn, dbname=name)
            with psycopg.connect(dsn, autocommit=True) as connection:
                tables = connection.execute("SELECT relid::regclass FROM pg_stat_user_tables")
                for (table,) in tables.fetchall():
                    # Only if it has rows: what is known to be empty is planned for as such.
                    if connection.execute(f"SELECT FROM {table} LIMIT 1".encode()).rowcount:
                        connection.execute(f"VACUUM ANALYZE {table}".encode())

    def used_s(self) -> list[float]:
        """Return the CPU time used until now, by PARTS."""
        if not all(each.is_running() for each in self.processes):
            sys.exit("compare: a service or PostgreSQL has ended")
        *services, postgres = map(used_s, self.processes)
        return [sum(services), postgres, sum(services) + postgres]


@contextmanager
def running(rowlock: Path, folder: Path, users: int) -> Iterator[Side]:
    """Lend a side that serves its users, with its data in `folder`."""
    ports = {}
    for service in SERVICES:
        with create_server(("127.0.0.1", 0)) as listener:
            ports[service] = listener.getsockname()[1]
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith(OURS)},
        **{f"ROWLOCK_{service.upper()}_PORT": str(port) for service, port in ports.items()},
        "ROWLOCK_DATA_DIR": str(folder),
        "ROWLOCK_LOG_LEVEL": "error",
        "ROWLOCK_LOG_REQUESTS": "0",
        "PYTHONHASHSEED": "0",  # none is to be luckier than the other
    }
    with ExitStack() as stack:
        with _started([rowlock, "seed", "--users", str(users)], environment) as seeding:
            if seeding.wait():
                sys.exit(f"compare: {rowlock} seed has failed")
        processes = []
        for service, port in ports.items():
            command: list[Path | str] = [rowlock, "serve", service]
            pid = stack.enter_context(_started(command, environment)).pid
            _wait_for(port)
            processes.append(psutil.Process(pid))
        [pid_file] = folder.glob("**/postmaster.pid")
        text, _, _, _, sockets, *_ = pid_file.read_text().splitlines()
        postmaster = psutil.Process(int(text))
        # Processors are not equally fast, if others use them, too: all are to use the same.
        for process in processes:
            process.cpu_affinity(PROCESSORS[:1])
        for process in (postmaster, *postmaster.children()):  # and what it starts from now on
            process.cpu_affinity(PROCESSORS[-1:])
        processes.append(postmaster)
        url = f"postgresql://postgres@/{DATABASES[0]}?host={sockets}"
        connection = stack.enter_context(psycopg.connect(url, autocommit=True))
        connection.execute("ALTER SYSTEM SET autovacuum = off")
        connection.execute("ALTER SYSTEM SET plan_cache_mode = force_generic_plan")
        connection.execute("SELECT pg_reload_conf()")
        [(first,)] = connection.execute("SELECT id FROM users WHERE username = 'load-1'")
        yield Side(ports, processes, connection, users, first, Counter())


@contextmanager
def _started(
    command: Sequence[Path | str], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Lend the process of `command`, and stop it. What it complains about is seen."""
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S)
        process.kill()


def _wait_for(port: int) -> None:
    """Return once a service answers at the port."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz"):
            return
        time.sleep(0.1)
    sys.exit("compare: a service does not start")


class Round(NamedTuple):
    """What both sides spent in a round, by PARTS, per request or second; and how long it took."""

    spent: list[list[float]]
    duration_s: float = 1.0
    loads: Sequence[Load] = ()


def _spent(before: list[list[float]], after: list[list[float]], count: float) -> list[list[float]]:
    return [
        [(later - earlier) / count for earlier, later in zip(*side, strict=True)]
        for side in zip(before, after, strict=True)
    ]


async def rest(sides: Sequence[Side]) -> list[list[float]]:
    """Wait until orders are settled and events delivered; return what was used by then."""
    deadline = time.monotonic() + PATIENCE_S
    used = [side.used_s() for side in sides]
    while time.monotonic() < deadline:
        await asyncio.sleep(LOOK_S)
        earlier, used = used, [side.used_s() for side in sides]
        if max(map(max, _spent(earlier, used, LOOK_S))) < REST:
            return used
    sys.exit("compare: the services do not come to rest")


async def measure(
    row: Row, sides: Sequence[Side], rate: float, seconds: float, first: int = 0
) -> Round:
    """Send both sides the same requests; the turn of side `first` is the first one."""
    turn_s = GROUP / (row.pace * rate) / 2
    groups = max(1, round(seconds / turn_s / 2))
    loads = []
    for place, side in enumerate(sides):
        turns = [2 * number + (number + place + first) % 2 for number in range(groups)]
        due = [turn * turn_s for turn in turns for _ in range(GROUP)]
        loads.append(Load(side.requests(row, len(due)), due, CONNECTIONS))
        side.connection.execute("CHECKPOINT")
        await loads[-1].connect(side.ports[row.service])
    before = await rest(sides)
    start = time.perf_counter()
    async with asyncio.timeout(seconds + PATIENCE_S):
        await asyncio.gather(*(load.run(start) for load in loads))
    after = await rest(sides)
    count = groups * GROUP
    return Round(_spent(before, after, count), (time.perf_counter() - start) / count, loads)


async def measure_idle(sides: Sequence[Side]) -> Round:
    before = [side.used_s() for side in sides]
    await asyncio.sleep(IDLE_S)
    return Round(_spent(before, [side.used_s() for side in sides], IDLE_S))


async def warm_up(row: Row, sides: Sequence[Side], rate: float) -> None:
    """Let every part be in use, and its statements planned for tables that are not empty."""
    await measure(row, sides, rate, WARM_UP_S)
    for side in sides:
        side.tidy()
    await measure(row, sides, rate, WARM_UP_S)


async def compare(options: argparse.Namespace, sides: Sequence[Side]) -> int:
    """Show each row; return how many answers were not 2xx."""
    await warm_up(ROWS[2], sides, options.rate)
    await asyncio.sleep(IDLE_S)  # they do some things once
    idle = [await measure_idle(sides) for _ in range(options.rounds)]
    print(f"{'CPU time':26}old     new  new/old   min..max  idle")
    show("idle, ms/s", 1e3, idle, idle)
    refused = 0
    for row in ROWS:
        if row.name in options.rows:
            await warm_up(row, sides, options.rate)
            rounds = [
                await measure(row, sides, options.rate, options.seconds, number)
                for number in range(options.rounds)
            ]
            show(f"{row.name}, µs", 1e6, rounds, idle)
            refused += show_answers(rounds)
    return refused


def show(title: str, unit: float, rounds: Sequence[Round], idle: Sequence[Round]) -> None:
    """Print the medians of both sides, of the rounds' ratios, and the share of idling."""
    slower = []
    for part, name in enumerate(PARTS):
        old, new = (statistics.median(each.spent[side][part] for each in rounds) for side in (0, 1))
        ratios = [each.spent[1][part] / each.spent[0][part] for each in rounds]
        ratio, spread = statistics.median(ratios), f"{min(ratios):.2f}..{max(ratios):.2f}"
        resting = statistics.median(each.spent[0][part] for each in idle)
        share = resting * statistics.median(each.duration_s for each in rounds) / old
        print(f"{title:13}{name:10}{old * unit:7.1f}{new * unit:8.1f}{ratio:9.3f}", end="")
        print(f"{spread:>12}{share:6.0%}")
        title = ""
        slower += [name] if ratio > TOLERANCE else []
    print(f"{'':13}{', '.join(slower) + ': not ' * bool(slower)}within 3 %", flush=True)


def show_answers(rounds: Sequence[Round]) -> int:
    """Print latencies and refusals; return how many of these there are."""
    refused = 0
    for side, name in enumerate(("old", "new")):
        loads = [each.loads[side] for each in rounds]
        cuts = statistics.quantiles((each for load in loads for each in load.latencies_ms), n=100)
        refusals = sum((load.refusals for load in loads), Counter[str]())
        print(f"{'':13}{name}: p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms", end="")
        print(f", not 2xx: {refusals.total()} {dict(refusals.most_common(2)) or ''}")
        refused += refusals.total()
    return refused


def parse_options() -> argparse.Namespace:
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(description="Compare two versions of Rowlock.")
    parser.add_argument("old", type=Path, help="the executable rowlock of a version")
    parser.add_argument("new", type=Path, help="that of another one")
    parser.add_argument("--rows", default=",".join(names), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=6, help="of a row (%(default)s)")
    parser.add_argument("--seconds", type=float, default=6, help="of a round (%(default)s)")
    parser.add_argument("--rate", type=float, default=400, help="requests a second (%(default)s)")
    options = parser.parse_args()
    options.rows = options.rows.split(",")
    if unknown := set(options.rows) - set(names):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    return options


def interrupt(*_: object) -> NoReturn:
    """Stop everything once; another Ctrl-C must not leave a server behind."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
    sys.exit("compare: interrupted, everything is stopped")


def main() -> None:
    options = parse_options()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, interrupt)
    # In three rows, everybody can buy every product once.
    seconds = 3 * (options.rounds * options.seconds + 3 * WARM_UP_S)
    users = max(LEAST_USERS, int(options.rate * seconds / len(PRODUCTS)))
    users += users % STRIDE == 0
    # Not in /tmp, which is memory on many systems: a commit must reach a disk.
    parent = os.environ.get("TMPDIR", "/var/tmp")
    with (
        tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as folder,
        running(options.old, Path(folder) / "old", users) as old,
        running(options.new, Path(folder) / "new", users) as new,
    ):
        refused = uvloop.run(compare(options, (old, new)))
    sys.exit(refused > 0)


if __name__ == "__main__":
    main()
