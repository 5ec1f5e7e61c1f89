"""How fast webhooks are posted, how soon, and what they cost others, on this machine.

    python tests/load/subscriptions.py [rate] [delay] [intake] [dead] [--help]

Each part has an events service of its own, with its own PostgreSQL, and local receivers:

- rate: deliveries a second while the dispatcher works off what is stored, for one subscription.
- delay: from an event's request to its arrival, at a steady rate, with 100 subscriptions of which
  two match each event and ten never answer.
- intake: the processor time for each event that is stored, with 100 subscriptions that match none
  and without any, in turns.
- dead: memory and connections of the service while 999 subscriptions that never answer match each
  event, and how soon the one that answers gets it.
"""

import argparse
import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import aiohttp
import orjson
import psutil
import uvloop
from harness import free_port
from machine import used_s

ROWLOCK = Path(sys.executable).parent / "rowlock"
TOKEN = "development-events-token"
KINDS, DEAD = 50, 10
IDLE = 100  # subscriptions that match nothing
MOST = 1000  # subscriptions
TICKS = 50  # batches of events a second
PAGE = 500  # events of a request, where many are stored
CLIENTS = 4  # that store events at once
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Receiver(asyncio.Protocol):
    """Answers 200 to each request at once, but never below /dead; notes how old events are."""

    delays: ClassVar[list[float]] = []  # since they were sent to Rowlock
    count = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        while b"\r\n\r\n" in self.data:
            head, _, rest = self.data.partition(b"\r\n\r\n")
            before, _, after = head.lower().partition(b"content-length: ")
            length = int(after.partition(b"\r\n")[0])
            if len(rest) < length:
                return
            body, self.data = rest[:length], rest[length:]
            if before.startswith(b"post /dead"):
                continue
            Receiver.count += 1
            payload = orjson.loads(body)["data"]
            if "sent" in payload:
                Receiver.delays.append(time.monotonic() - payload["sent"])
            self.transport.write(OK)


class Target(NamedTuple):
    """An events service, and where its webhooks may go."""

    session: aiohttp.ClientSession
    hook: str
    service: psutil.Process
    postgresql: psutil.Process

    def cpu_s(self) -> tuple[float, float]:
        """Return the processor time that the service and its PostgreSQL have used."""
        return used_s(self.service), used_s(self.postgresql)

    async def post(self, path: str, body: object) -> Any:
        async with self.session.post(path, json=body) as response:
            assert response.status < 300, await response.text()
            return await response.json()

    async def subscribe(self, path: str, name: str) -> int:
        made = await self.post("/subscriptions", {"url": self.hook + path, "names": [name]})
        return int(made["id"])


@asynccontextmanager
async def serving() -> AsyncIterator[Target]:
    """Run an events service and a receiver."""
    server = await asyncio.get_running_loop().create_server(
        Receiver, "127.0.0.1", 0, backlog=4 * MOST
    )
    hook = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "ROWLOCK_DATA_DIR": folder,
            "ROWLOCK_EVENTS_PORT": str(port),
            "ROWLOCK_WEBHOOKS_PRIVATE": "1",
            "ROWLOCK_LOG_LEVEL": "error",
            "ROWLOCK_LOG_REQUESTS": "0",
        }
        command = [str(ROWLOCK), "serve", "events", "--no-demo"]
        process = subprocess.Popen(  # noqa: ASYNC220
            command, env=environment, stdout=subprocess.DEVNULL
        )
        try:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            url = f"http://127.0.0.1:{port}"
            async with aiohttp.ClientSession(url, headers=headers) as session:
                await _until(lambda: _is_ready(session))
                postgresql = psutil.Process(_find_postmaster(Path(folder)))
                yield Target(session, hook, psutil.Process(process.pid), postgresql)
        finally:
            process.terminate()
            process.wait(30)
            server.close()


def _find_postmaster(folder: Path) -> int:
    [pid_file] = folder.rglob("postmaster.pid")
    return int(pid_file.read_text().partition("\n")[0])


async def _is_ready(session: aiohttp.ClientSession) -> bool:
    try:
        async with session.get("/readyz") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def _until(is_so: Callable[[], Awaitable[bool]], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not await is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def measure_rate(target: Target, events: int) -> None:
    """Print deliveries a second while the dispatcher works off what is stored."""
    await target.subscribe("/all", "bulk.*")
    Receiver.count = 0
    began, before = time.monotonic(), target.cpu_s()
    page = [{"name": "bulk.stored", "subject": None, "payload": {"n": 1}}] * PAGE
    for _ in range(events // PAGE):
        await target.post("/events/batch", {"events": page})
    while Receiver.count < events:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    seconds = time.monotonic() - began
    service, postgresql = _microseconds(before, target.cpu_s(), events)
    print(
        f"rate: {events / seconds:.0f} deliveries/s of {events} events to one subscription; for "
        f"each, {service:.0f} µs of the service and {postgresql:.0f} µs of PostgreSQL"
    )


async def measure_delay(target: Target, rate: int, seconds: int) -> None:
    """Print how long after its event was sent each delivery came."""
    for number in range(2 * KINDS):
        path = "dead" if number < DEAD else "live"
        await target.subscribe(f"/{path}{number}", f"kind{number % KINDS}.*")
    expected = await _send_steadily(
        target, rate, seconds, lambda number: f"kind{number % KINDS}.made"
    )
    expected += sum(number % KINDS >= DEAD for number in range(rate * seconds))
    delays = await _delays(expected)
    print(
        f"delay: {_describe(delays)} at {rate} events/s, {len(delays)} deliveries, {DEAD} of "
        f"{2 * KINDS} receivers never answer"
    )


async def measure_intake(target: Target, events: int, rounds: int) -> None:
    """Print the processor time of an event, with idle subscriptions and without."""
    costs: dict[bool, list[float]] = {False: [], True: []}
    rates: dict[bool, list[float]] = {False: [], True: []}
    await _store_many(target, events)
    for number in range(2 * rounds):
        has_subscriptions = bool(number % 2)
        made = [
            await target.subscribe(f"/idle{n}", f"idle{n}.*")
            for n in range(IDLE if has_subscriptions else 0)
        ]
        began, before = time.monotonic(), target.cpu_s()
        await _store_many(target, events)
        rates[has_subscriptions].append(events / (time.monotonic() - began))
        await asyncio.sleep(1)  # the dispatcher may be behind
        costs[has_subscriptions].append(sum(_microseconds(before, target.cpu_s(), events)))
        for id_ in made:
            async with target.session.delete(f"/subscriptions/{id_}") as response:
                assert response.status == 204
    without, with_idle = (statistics.median(costs[kind]) for kind in (False, True))
    slow, fast = (statistics.median(rates[kind]) for kind in (True, False))
    print(
        f"intake: {without:.1f} µs of an event without subscriptions, {with_idle:.1f} µs with "
        f"{IDLE} that match none, {with_idle / without - 1:+.1%}; {fast:.0f} and {slow:.0f} "
        f"events/s, {slow / fast - 1:+.1%}"
    )


async def measure_dead(target: Target, rate: int, seconds: int) -> None:
    """Print what receivers that never answer cost."""
    await target.subscribe("/live", "dead.*")
    for number in range(MOST - 1):
        await target.subscribe(f"/dead{number}", "dead.*")
    before = target.service.memory_info().rss
    most, sockets = before, 0
    sending = asyncio.create_task(_send_steadily(target, rate, seconds, lambda _: "dead.letter"))
    while not sending.done():
        await asyncio.sleep(0.5)
        most = max(most, target.service.memory_info().rss)
        port = int(target.hook.rpartition(":")[2])
        now = [each for each in target.service.net_connections("tcp") if each.raddr]
        sockets = max(sockets, sum(each.raddr.port == port for each in now))
    delays = await _delays(await sending)
    print(
        f"dead: {MOST - 1} receivers never answer: {before >> 20} MiB before, {most >> 20} MiB at "
        f"most, {sockets} connections at most; to another, {_describe(delays)} at {rate} events/s"
    )


async def _store_many(target: Target, events: int) -> None:
    page = [{"name": "invoice.paid", "subject": None, "payload": {"invoice_id": 1}}] * PAGE

    async def store() -> None:
        for _ in range(events // PAGE // CLIENTS):
            await target.post("/events/batch", {"events": page})

    await asyncio.gather(*(store() for _ in range(CLIENTS)))


async def _send_steadily(
    target: Target, rate: int, seconds: int, name: Callable[[int], str]
) -> int:
    """Store events at a rate; return how many."""
    Receiver.delays.clear()
    began = time.monotonic()
    for tick in range(seconds * TICKS):
        await asyncio.sleep(max(0, began + tick / TICKS - time.monotonic()))
        numbers = range(tick * rate // TICKS, (tick + 1) * rate // TICKS)
        now = time.monotonic()
        events = [{"name": name(number), "payload": {"sent": now}} for number in numbers]
        if events:
            await target.post("/events/batch", {"events": events})
    return rate * seconds


async def _delays(expected: int) -> Sequence[float]:
    """Return the delays of the deliveries, sorted, once all are there."""
    deadline = time.monotonic() + 60
    while len(Receiver.delays) < expected and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    if len(Receiver.delays) < expected:
        print(f"{expected - len(Receiver.delays)} deliveries are missing")
    return sorted(Receiver.delays)


def _describe(delays: Sequence[float]) -> str:
    p50, p99 = (delays[int(len(delays) * share)] for share in (0.5, 0.99))
    return f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms from request to arrival"


def _microseconds(
    before: tuple[float, float], after: tuple[float, float], count: int
) -> tuple[float, float]:
    service, postgresql = (
        (end - start) / count * 1e6 for start, end in zip(before, after, strict=True)
    )
    return service, postgresql


async def main(options: argparse.Namespace) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    parts: dict[str, Callable[[Target], Awaitable[None]]] = {
        "rate": lambda target: measure_rate(target, options.events),
        "delay": lambda target: measure_delay(target, options.rate, options.seconds),
        "intake": lambda target: measure_intake(target, options.events, options.rounds),
        "dead": lambda target: measure_dead(target, 5, options.seconds),
    }
    for name in options.parts or parts:
        async with serving() as target:
            await parts[name](target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help="rate, delay, intake, dead; else all"
    )
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rate", type=int, default=500, help="events a second, for delay")
    parser.add_argument("--rounds", type=int, default=5, help="of intake, each with and without")
    parser.add_argument("--seconds", type=int, default=20)
    uvloop.run(main(parser.parse_args()))
