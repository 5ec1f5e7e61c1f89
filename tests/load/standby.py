"""CPU of the primary per write: alone, and while others read lists, with and without a standby.

    python -m tests.load.standby

Runs on a primary and a standby of its own, for two minutes. Writes and lists come at rates that
leave the processors some rest: where these are full, fewer writes come in each second and in each
batch, and each costs more, whoever else is at work.
"""

import asyncio
import statistics
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil

from tests.support.cluster import Cluster, Node, make_seed
from tests.support.polling import until
from tests.support.processes import Service
from tests.support.readers import Readers
from tests.support.scraping import scrape

ROUNDS = 3
ROUND_S = 6.0
WRITERS = 4
WRITE_EVERY_S = 0.02  # of each writer
READERS = 4
READER_PAUSE_S = 0.015
INVOICES = 2_000  # before the first round: what there is to read
MOST_RATIO = 1.1


def cpu_s(node: Node) -> float:
    """What all processes of a server have used so far, those that have ended included."""
    used = 0.0
    postmaster = psutil.Process(node.pid)
    for process in (postmaster, *postmaster.children()):
        times = process.cpu_times()
        used += times.user + times.system
        if process is postmaster:
            used += times.children_user + times.children_system
    return used


async def write(url: str, stop: asyncio.Event, every_s: float = WRITE_EVERY_S) -> int:
    """Issue invoices until told to stop; return how many."""
    body = {"user_id": 1, "amount": 100, "label": "work"}
    written = 0
    now = asyncio.get_running_loop().time
    async with aiohttp.ClientSession() as session:
        while not stop.is_set():
            due = now() + every_s
            async with session.post(f"{url}/invoices", json=body) as response:
                assert response.status == 201, await response.text()
            written += 1
            await asyncio.sleep(max(0, due - now()))
    return written


async def measure(primary: Node, service: Service, *, reads: bool) -> tuple[float, float, float]:
    """Return the CPU of the primary per write, in microseconds, and writes and lists per second."""
    paths = ("/invoices?limit=100", "/invoices?user_id=1", "/users", "/user/1/statement")
    urls = [f"{service.url}{path}" for path in paths]
    readers = Readers(urls, clients=READERS if reads else 0, pause_s=READER_PAUSE_S)
    stop = asyncio.Event()
    async with readers.running():
        writing = [asyncio.create_task(write(service.url, stop)) for _ in range(WRITERS)]
        before, read = cpu_s(primary), readers.read
        await asyncio.sleep(ROUND_S)
        used, listed = cpu_s(primary) - before, readers.read - read
        stop.set()
        written = sum(await asyncio.gather(*writing))
    assert set(readers.statuses) <= {200}, readers.statuses
    return used / written * 1e6, written / ROUND_S, listed / ROUND_S


@asynccontextmanager
async def serving(primary: Node, standby: Node | None) -> AsyncIterator[Service]:
    """Serve commerce, with lists from a standby if there is one."""
    urls = {"database_url": primary.url(), "events_url": "http://127.0.0.1:9"}
    if standby is not None:
        urls["read_database_url"] = standby.url()
    async with Service("commerce", **urls) as service, aiohttp.ClientSession() as session:

        async def is_read() -> bool:
            found = await scrape(session, f"{service.url}/metrics")
            return "rowlock_standby_lag_seconds" in found.names

        if standby is not None:
            await until(is_read)
        yield service


async def compare(cluster: Cluster) -> float:
    """Print a line for each case; return what lists on the standby add to a write's CPU."""
    primary, [standby] = cluster.primary, cluster.standbys
    async with serving(primary, standby) as service:
        stop = asyncio.Event()
        filling = [asyncio.create_task(write(service.url, stop, 0)) for _ in range(WRITERS)]
        async with aiohttp.ClientSession() as session:
            await until(lambda: has_invoices(session, service))
        stop.set()
        await asyncio.gather(*filling)
    cases: dict[str, tuple[Node | None, bool]] = {
        "writes alone": (None, False),
        "lists on the standby": (standby, True),
        "lists on the primary": (None, True),
    }
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, (read_from, reads) in cases.items():
            async with serving(primary, read_from) as service:
                found[name].append(await measure(primary, service, reads=reads))
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)]
        for name, rows in found.items()
    }
    alone = medians["writes alone"][0]
    print(f"{'':24} {'CPU/write':>10} {'ratio':>6} {'writes/s':>8} {'lists/s':>8}")
    for name, (used, written, listed) in medians.items():
        print(f"{name:24} {used:7.0f} µs {used / alone:6.2f} {written:8.0f} {listed:8.0f}")
    ratio: float = medians["lists on the standby"][0] / alone
    return ratio


async def has_invoices(session: aiohttp.ClientSession, service: Service) -> bool:
    """Tell whether there are enough of them."""
    async with session.get(f"{service.url}/invoices/{INVOICES}") as response:
        return response.status == 200


def main() -> None:
    """Compare, and say so if lists on the standby cost the primary more than a tenth per write.

    That is no failure: on a busy machine a write costs more.
    """
    with tempfile.TemporaryDirectory() as folder:
        seed = make_seed(Path(folder))
        with Cluster.running(seed, Path(folder)) as cluster:
            ratio = asyncio.run(compare(cluster))
    if ratio > MOST_RATIO:
        print(f"lists on the standby: {ratio:.2f}, not {MOST_RATIO:.2f} at most")


if __name__ == "__main__":
    main()
