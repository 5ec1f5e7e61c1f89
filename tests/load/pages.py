"""What pages cost: `python tests/load/pages.py [--users N] [--orders N] [--loads N] [--watch S]`.

On an embedded PostgreSQL with so many users and orders, it prints for every page how soon Chromium
paints it first, as the median of several loads, and how many bytes the first visit takes. Then ten
overviews are open, and it prints how much of a core the services take for them. The pages are those
of tests/browser/places.py. It ends with 1 if a goal is missed.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import psycopg
from harness import BenchFailed, Postgres, free_port, postgres, serving
from selenium.webdriver import Chrome

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.browser.places import CONSOLE
from tests.support.browsers import click, launched, log_of, until

ROWLOCK = Path(sys.executable).parent / "rowlock"
TOKEN = "development-console-token"
PAINT_MS = 150.0
VISIT_KB = 120.0
OPEN = 10
SHARE = 5.0  # % of a core
RAIL_S = 5  # as ROWLOCK_PAGES_REFRESH_S has it
ANSWERED = "return performance.getEntriesByType('navigation')[0].responseEnd"
PAINTED = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"

# Orders of the last year, of which the newest are pending; each has one item.
SEED = (
    "INSERT INTO products (slug, name, price) VALUES ('load', 'Load', 7599)",
    """
    INSERT INTO users (username, name_key, balance)
    SELECT 'load-' || n, 'load-' || n, 100000 FROM generate_series(1, {users}) AS n
    """,
    """
    INSERT INTO orders (status, amount, user_id, created_at, settled_at, reason)
    SELECT
        CASE WHEN n % 50 = 0 THEN 'refused' ELSE 'approved' END,
        7599,
        1 + n % {users},
        now() - interval '1 year' * (1 - n::float8 / {orders}),
        now() - interval '1 year' * (1 - n::float8 / {orders}) + interval '1 second',
        CASE WHEN n % 50 = 0 THEN 'not_approved' END
    FROM generate_series(1, {orders}) AS n
    """,
    """
    INSERT INTO order_items (order_id, product_id, quantity, price)
    SELECT n, 1, 1, 7599 FROM generate_series(1, {orders}) AS n
    """,
    "INSERT INTO orders (status, amount, user_id) VALUES ('pending', 7599, 1)",
    "VACUUM ANALYZE users, orders, order_items, products",
)


def measure() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--orders", type=int, default=10_000_000)
    parser.add_argument("--loads", type=int, default=5, help="of each page")
    parser.add_argument("--watch", type=int, default=60, help="seconds with ten open overviews")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        main = stack.enter_context(postgres(folder / "postgres"))
        seed(main, arguments.users, arguments.orders)
        events_url = main.create_database("pages_events", "events")
        address, commerce, process = stack.enter_context(served(main, events_url, folder / "log"))
        good = [*measure_pages(address, folder, arguments.loads)]
        good.append(measure_watching(address, commerce, process, arguments.watch))
    sys.exit(not all(good))


@contextmanager
def served(main: Postgres, events_url: str, log: Path) -> Iterator[tuple[str, str, psutil.Process]]:
    """All services in one process: the address of the console, of commerce, and the process."""
    names = ("COMMERCE", "PROJECTS", "EVENTS", "CONSOLE")
    ports = {name: free_port() for name in names}
    environment = {f"ROWLOCK_{name}_PORT": str(port) for name, port in ports.items()} | {
        "ROWLOCK_DATABASE_URL": main.url,
        "ROWLOCK_EVENTS_DATABASE_URL": events_url,
        "ROWLOCK_LOG_REQUESTS": "0",
    }
    command = (ROWLOCK, "serve")
    port = ports["CONSOLE"]
    with serving("all", command, port=port, environment=environment, log=log) as server:
        commerce = f"http://localhost:{ports['COMMERCE']}"
        yield f"http://localhost:{port}", commerce, psutil.Process(server.process.pid)


def seed(main: Postgres, users: int, orders: int) -> None:
    """Add the users and the orders, in a few statements; foreign keys are not checked."""
    started = time.monotonic()
    with psycopg.connect(main.url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        for statement in SEED:
            connection.execute(statement.format(users=users, orders=orders).encode())
    print(f"{users:,} users, {orders:,} orders, seeded in {time.monotonic() - started:.0f} s")


def measure_pages(address: str, folder: Path, loads: int) -> Iterator[bool]:
    """Print how soon each page is painted, and how much its first visit loads."""
    print(f"{'page':40} {'first paint':>12} {'server':>10} {'first visit':>12}")
    with launched(folder / "profile") as browser:
        sign_in(browser, address)
        for place in CONSOLE:
            size = first_visit(browser, address + place.path)
            paints, answers = [], []
            for _ in range(loads):
                browser.get(address + place.path)
                paints.append(float(until(browser, lambda one: one.execute_script(PAINTED))))
                answers.append(float(browser.execute_script(ANSWERED)))
            paint, answer = statistics.median(paints), statistics.median(answers)
            is_good = paint <= PAINT_MS and size <= VISIT_KB
            note = "" if is_good else "  over the goal"
            print(f"{place.path:40} {paint:9.0f} ms {answer:7.0f} ms {size:9.1f} KB{note}")
            yield is_good


def sign_in(browser: Chrome, address: str) -> None:
    browser.get(f"{address}/sign-in")
    until(browser, lambda one: one.find_element("name", "name")).send_keys("ada")
    browser.find_element("name", "token").send_keys(TOKEN)
    click(browser, "button.main")
    until(browser, lambda one: one.current_url == f"{address}/")


def first_visit(browser: Chrome, url: str) -> float:
    """Return the kilobytes that came over the network, heads included, with an empty cache."""
    browser.get("about:blank")
    browser.execute_cdp_cmd("Network.clearBrowserCache", {})
    log_of(browser, "performance")
    browser.get(url)
    browser.execute_async_script("setTimeout(arguments[0], 500)")  # what scripts ask for
    total = 0.0
    for line in log_of(browser, "performance"):
        message: Any = json.loads(line["message"])["message"]
        if message["method"] == "Network.loadingFinished":
            total += message["params"]["encodedDataLength"]
    return total / 1024


def measure_watching(address: str, commerce: str, process: psutil.Process, seconds: int) -> bool:
    """Print the share of a core that the services take more while ten overviews are open.

    In both cases a few orders a second come in, so that there is something to show.
    """
    received: list[int] = []
    with running(trickle, commerce):
        rest = share_of(process, seconds)
        with running(watch, address, received):
            time.sleep(2)
            watched = share_of(process, seconds)
    if len(received) < OPEN:
        raise BenchFailed("The overviews did not receive anything.")
    more = watched - rest
    print(
        f"{OPEN} open overviews: {more:.2f} % of a core ({watched:.2f} %, {rest:.2f} % without), "
        f"goal {SHARE:g} %; each received {sum(received) / OPEN / 1024:.0f} KB in {seconds} s"
    )
    return more <= SHARE


def share_of(process: psutil.Process, seconds: int) -> float:
    def used() -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    before, started = used(), time.monotonic()
    time.sleep(seconds)
    return 100 * (used() - before) / (time.monotonic() - started)


@contextmanager
def running(work: Callable[..., Coroutine[Any, Any, None]], *arguments: object) -> Iterator[None]:
    """Do `work` in a thread of its own meanwhile. Raises what it raises."""
    loop = asyncio.new_event_loop()
    with ThreadPoolExecutor() as threads:
        threads.submit(loop.run_forever)
        doing = asyncio.run_coroutine_threadsafe(work(*arguments), loop)
        try:
            yield
            if doing.done():
                doing.result()
        finally:
            asyncio.run_coroutine_threadsafe(end_all(), loop).result()
            loop.call_soon_threadsafe(loop.stop)


async def end_all() -> None:
    """Cancel all tasks of the loop but this one."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def trickle(commerce: str) -> None:
    """Place a few orders a second."""
    order = {"items": [{"productId": 1, "quantity": 1}]}
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.post(f"{commerce}/orders", json=order) as response:
                response.raise_for_status()
            await asyncio.sleep(0.2)


async def watch(address: str, received: list[int]) -> None:
    """Have ten overviews open as browsers do: the stream of each, and its rail."""
    form = {"name": "ada", "token": TOKEN}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        entered = await session.post(
            f"{address}/sign-in",
            data=form,
            headers={"Sec-Fetch-Site": "same-origin"},
            allow_redirects=False,
        )
        headers = {"Cookie": entered.headers["Set-Cookie"].partition(";")[0]}
        async with asyncio.TaskGroup() as clients:
            for _ in range(OPEN):
                clients.create_task(follow(session, address, headers, received))
                clients.create_task(renew_rail(session, address, headers))


async def follow(
    session: aiohttp.ClientSession, address: str, headers: dict[str, str], received: list[int]
) -> None:
    url = f"{address}/overview/live?after=0"
    endless = aiohttp.ClientTimeout(total=None)
    async with session.get(url, headers=headers, timeout=endless) as response:
        response.raise_for_status()
        async for part in response.content.iter_any():
            received.append(len(part))


async def renew_rail(session: aiohttp.ClientSession, address: str, headers: dict[str, str]) -> None:
    as_htmx = {**headers, "HX-Request": "true"}
    while True:
        async with session.get(f"{address}/rail", headers=as_htmx) as response:
            response.raise_for_status()
        await asyncio.sleep(RAIL_S)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        measure()
