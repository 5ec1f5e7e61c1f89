"""Several processes on one port: nobody notices when they are drained, replaced or killed."""

import asyncio
import contextlib
import errno
import itertools
import re
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil
import pytest

from rowlock.process import listeners
from rowlock.services import EVENTS
from rowlock.settings import Settings
from tests.support.polling import until
from tests.support.processes import Service, connected, free_port, rowlock
from tests.support.scraping import scrape
from tests.support.types import Connection

KEEPING = 12  # clients that keep their connection as long as they may
HURRIED = 4  # clients that connect anew for every request
TCP_LISTEN = "0A"  # as /proc/net/tcp has it


@pytest.fixture
async def user(connection: Connection) -> None:
    await connection.execute("INSERT INTO users (username) VALUES ('ada')")


@dataclass
class Load:
    """Clients that issue invoices. What is refused before it was sent, they try again."""

    created: list[int] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    refused: int = 0

    @contextlib.asynccontextmanager
    async def running(self, url: str) -> AsyncIterator["Load"]:
        numbers = itertools.count()
        async with (
            aiohttp.ClientSession() as keeping,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as hurried,
        ):
            sessions = [keeping] * KEEPING + [hurried] * HURRIED
            clients = [
                asyncio.create_task(self._client(session, f"{url}/invoices", numbers))
                for session in sessions
            ]
            try:
                yield self
            finally:
                for client in clients:
                    client.cancel()
                await asyncio.gather(*clients, return_exceptions=True)

    async def more(self, count: int) -> None:
        """Return once `count` more invoices are acknowledged."""
        wanted = len(self.created) + count
        await until(lambda: len(self.created) >= wanted)

    async def _client(
        self, session: aiohttp.ClientSession, url: str, numbers: Iterator[int]
    ) -> None:
        while True:
            body = {"user_id": 1, "amount": 1, "label": str(next(numbers))}
            try:
                async with session.post(url, json=body) as response:
                    answer = await response.json()
            except aiohttp.ClientError as error:
                if getattr(error, "errno", None) == errno.ECONNREFUSED:
                    self.refused += 1
                    await asyncio.sleep(0.01)
                else:
                    self.failures[repr(error)] += 1
            else:
                if response.status == 201:
                    self.created.append(answer["id"])
                else:
                    self.failures[f"{response.status} {answer}"] += 1


async def stored(connection: Connection) -> set[int]:
    return {row["id"] for row in await connection.fetch("SELECT id FROM invoices")}


@pytest.mark.parametrize("workers", [1, 2])
async def test_sigterm__under_load__no_request_fails_and_ends_in_time(
    database_url: str, connection: Connection, user: None, workers: int
) -> None:
    load = Load()
    async with (
        Service("commerce", database_url=database_url, workers=workers) as service,
        load.running(service.url),
    ):
        await load.more(200)
        service.signal(signal.SIGTERM)
        assert await service.wait(10) == 0
        await until(lambda: load.refused > KEEPING + HURRIED)
    assert load.failures == {}, service.printed
    assert set(load.created) == await stored(connection)


async def test_sigterm__requests_on_their_way__answered_and_idle_connections_closed(
    database_url: str, user: None
) -> None:
    body = b'{"user_id": 1, "amount": 1, "label": "x"}'
    headers = b"Host: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    post = b"POST /invoices HTTP/1.1\r\n" + headers % len(body)
    async with (
        Service("commerce", database_url=database_url, drain_idle_s=3.0) as service,
        contextlib.AsyncExitStack() as stack,
    ):
        idle, prompt, slow = [await stack.enter_async_context(connected(service)) for _ in "123"]
        for reader, writer in (idle, prompt):
            writer.write(post + body)
            assert (await reader.readline()).split()[1] == b"201"
            await reader.readuntil(b"}")
        slow[1].write(post + body[:9])
        service.signal(signal.SIGTERM)
        await until(lambda: "draining" in service.printed)
        prompt[1].write(post + body)
        answer = await prompt[0].read()
        assert (answer.split()[1], answer.count(b"Connection: close")) == (b"201", 1)
        assert await idle[0].read() == b""
        slow[1].write(body[9:])
        answer = await slow[0].read()
        assert (answer.split()[1], answer.count(b"Connection: close")) == (b"201", 1)
        assert await service.wait(10) == 0


async def test_sighup__under_load__other_processes_and_no_request_fails(
    database_url: str, connection: Connection, user: None
) -> None:
    load = Load()
    async with Service("commerce", "--workers", "2", database_url=database_url) as service:
        await until(lambda: service.printed.count("worker_listens") == 2)
        before = service.workers()
        async with load.running(service.url):
            await load.more(200)
            service.signal(signal.SIGHUP)
            await until(lambda: "workers_replaced" in service.printed)
            await load.more(200)
        after = service.workers()
    assert (load.failures, load.refused) == ({}, 0), service.printed
    assert len(after) == len(before) == 2
    assert not set(after) & set(before)
    assert set(load.created) <= await stored(connection)


async def test_kill_9__a_worker__replaced_and_nothing_acknowledged_is_lost__the_parent__all_end(
    database_url: str, connection: Connection, user: None
) -> None:
    load = Load()
    async with Service("commerce", "--workers", "2", database_url=database_url) as service:
        await until(lambda: service.printed.count("worker_listens") == 2)
        victim, other = service.workers()
        async with load.running(service.url):
            await load.more(200)
            victim.kill()
            await until(lambda: service.printed.count("worker_listens") == 3)
            await load.more(200)
        assert load.refused == 0, service.printed
        assert set(load.created) <= await stored(connection)
        workers = service.workers()
        assert len(workers) == 2
        assert other in workers
        await service.kill()
        await until(lambda: not any(map(psutil.Process.is_running, workers)))


async def test_kill_9__no_other_can_start__new_connections_go_to_the_worker_that_lives(
    database_url: str,
) -> None:
    async with (
        Service(
            *("commerce", "--workers", "2"), database_url=database_url, worker_retry_limit_s=0.5
        ) as service,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
    ):
        await until(lambda: service.printed.count("worker_listens") == 2)
        assert len(queues(service)) == 2
        victim, _ = service.workers()
        parent = parent_of(victim)
        limits = parent.rlimit(psutil.RLIMIT_NOFILE)
        parent.rlimit(psutil.RLIMIT_NOFILE, (0, limits[1]))  # so that it can't start a process
        victim.kill()
        await until(lambda: "worker_not_started" in service.printed)
        assert len(queues(service)) == 1
        async with asyncio.timeout(60):
            assert [await service.readiness(session) for _ in range(24)] == [200] * 24
        await until(lambda: service.printed.count("worker_not_started") > 2)
        assert len(queues(service)) == 1
        parent.rlimit(psutil.RLIMIT_NOFILE, limits)
        await until(lambda: service.printed.count("worker_listens") == 3)
        async with contextlib.AsyncExitStack() as stack:

            async def go_to_both() -> bool:
                await stack.enter_async_context(connected(service))
                return all(is_connected(worker) for worker in service.workers())

            await until(go_to_both)


async def test_kill_9__connections_wait_for_the_worker__served_by_the_one_that_replaces_it(
    database_url: str,
) -> None:
    async with (
        Service("commerce", "--workers", "2", database_url=database_url) as service,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
    ):
        await until(lambda: service.printed.count("worker_listens") == 2)
        victim, other = service.workers()
        victim.suspend()

        async def ask() -> int:
            async with session.get(f"{service.url}/healthz") as response:
                return response.status

        requests = [asyncio.create_task(ask()) for _ in range(24)]

        def waiting() -> int:
            return sum(queues(service))

        await until(lambda: sum(map(asyncio.Task.done, requests)) + waiting() == len(requests))
        assert waiting() > 0
        victim.kill()
        async with asyncio.timeout(60):
            assert await asyncio.gather(*requests) == [200] * len(requests)
        assert victim not in service.workers()
        assert other in service.workers()
    assert "worker_stuck" not in service.printed


def parent_of(worker: psutil.Process) -> psutil.Process:
    parent = worker.parent()
    assert parent is not None
    return parent


def queues(service: Service) -> list[int]:
    """How many connections wait in each socket that listens for the commerce service."""
    port = f"{service.settings['commerce_port']:04X}"
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [
        int(queued.partition(":")[2], 16)
        for _, address, _, state, queued, *_ in sockets
        if (address.partition(":")[2], state) == (port, TCP_LISTEN)
    ]


def is_connected(worker: psutil.Process) -> bool:
    """Whether `worker` has accepted a connection; its others are those of its pools."""
    connections = worker.net_connections("tcp4")
    listened = {each.laddr for each in connections if each.status == psutil.CONN_LISTEN}
    return any(
        each.status == psutil.CONN_ESTABLISHED and each.laddr in listened for each in connections
    )


async def test_metrics__workers_died_or_replaced__restarts_are_of_those_that_died(
    database_url: str,
) -> None:
    async with (
        Service("commerce", "--workers", "2", database_url=database_url) as service,
        aiohttp.ClientSession() as session,
    ):

        async def restarts() -> float:
            page = await scrape(session, f"{service.url}/metrics")
            assert "rowlock_worker_restarts_total" in page.names
            return page.value("rowlock_worker_restarts_total", service="commerce")

        await until(lambda: service.printed.count("worker_listens") == 2)
        assert await restarts() == 0
        service.workers()[0].kill()
        await until(lambda: service.printed.count("worker_listens") == 3)
        assert await restarts() == 1
        service.signal(signal.SIGHUP)
        await until(lambda: "workers_replaced" in service.printed)
        assert await restarts() == 1


async def test_sigstop__a_worker__replaced_and_what_waited_for_it_is_answered(
    database_url: str,
) -> None:
    settings = {"database_url": database_url, "worker_silence_s": 5}
    async with (
        Service("commerce", "--workers", "2", **settings) as service,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
    ):
        await until(lambda: service.printed.count("worker_listens") == 2)
        victim, other = service.workers()

        async def is_alive() -> bool:
            async with session.get(f"{service.url}/healthz") as response:
                return response.status == 200

        with suspended(victim):
            async with asyncio.timeout(60):
                assert all(await asyncio.gather(*(is_alive() for _ in range(24))))
        assert re.search(rf"worker_stuck +pid={victim.pid}\b", service.printed)
        assert victim not in service.workers()
        assert other in service.workers()


async def test_sigstop__the_parent__the_workers_that_went_on_are_not_taken_for_stuck(
    database_url: str,
) -> None:
    settings = {"database_url": database_url, "worker_silence_s": 5}
    async with Service("commerce", "--workers", "2", **settings) as service:
        await until(lambda: service.printed.count("worker_listens") == 2)
        parent = parent_of(service.workers()[0])
        over = time.monotonic() + 6
        with suspended(parent):
            await until(lambda: time.monotonic() > over)
        service.signal(signal.SIGHUP)
        await until(lambda: "workers_replaced" in service.printed)
    assert "worker_stuck" not in service.printed


@contextlib.contextmanager
def suspended(process: psutil.Process) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


@pytest.mark.parametrize("closed", [0, 2])
def test_listeners__a_place_closed__others_get_all_until_it_listens_again(closed: int) -> None:
    places = listeners.listen([EVENTS], Settings().changed(events_port=free_port(), workers=4))
    numbers = range(4)
    others = [number for number in numbers if number != closed]
    [(_, address)] = listeners.addresses_of(places[0])[EVENTS.name]

    def connect() -> None:
        for _ in range(64):
            socket.create_connection(address, timeout=60).close()

    def take_from(numbers: Iterable[int]) -> list[int]:
        return [sum(map(take, listeners.all_of(places[number]))) for number in numbers]

    try:
        connect()
        closed_addresses = listeners.addresses_of(places[closed])
        listeners.close(places[closed])
        assert 0 not in take_from(others)  # what waits in other places stays
        connect()
        assert sum(take_from(others)) == 64
        places[closed] = listeners.bind_again(closed_addresses)
        connect()
        assert sum(take_from(others)) == 64
        for listener in listeners.all_of(places[closed]):
            listener.listen()
        connect()
        counts = take_from(numbers)
        assert (sum(counts), 0 in counts) == (64, False)
    finally:
        for place in places:
            listeners.close(place)


def take(listener: socket.socket) -> int:
    """Accept all that wait; return how many."""
    count = 0
    listener.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


async def test_serve__port_taken__one_line(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        settings = {"database_url": database_url, "commerce_port": port, "workers": 2}
        status, output = await rowlock("serve", "commerce", **settings)
    assert status == 1
    assert output == f"rowlock: Port {port} is taken: set ROWLOCK_COMMERCE_PORT to another one.\n"


async def test_serve__worker_does_not_start__says_so(database_url: str) -> None:
    status, output = await rowlock(
        *("serve", "commerce", "--workers", "2"),
        database_url=database_url,
        commerce_port=free_port(),
        worker_start_timeout_s=0.01,
    )
    assert status == 1
    assert "rowlock: A worker took too long to start." in output
    assert "Traceback" not in output


async def test_sighup__one_process_alone__drains_and_ends(database_url: str) -> None:
    async with Service("commerce", database_url=database_url) as service:
        service.signal(signal.SIGHUP)
        assert await service.wait() == 0
    assert "stopped" in service.printed
