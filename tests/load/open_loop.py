"""Requests at a constant rate: `python tests/load/open_loop.py PORT RATE SECONDS USERS PRODUCTS`.

A client of wrk's kind waits for an answer before it sends again, so that a slow server gets fewer
requests, and the pause is not seen. Here every request has a time when it is due; its latency
counts from then, however late it could be sent: this is corrected for coordinated omission.
It sends benefit orders as wrk/orders.lua does, and prints JSON.
"""

import asyncio
import gc
import json
import math
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import uvloop
from harness import CONNECTIONS, BenchFailed, Server, Stage
from tools import Measurement

LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class _Client(asyncio.Protocol):
    """A connection that stays open, with one request under way at a time."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._received = b""
        self._due = 0.0
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def send(self, request: bytes, due: float) -> None:
        self._due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if length and len(body) == int(length[1]):
            self._received = b""
            self._load.latencies_ms.append((time.perf_counter() - self._due) * 1000)
            if not head.startswith(b"HTTP/1.1 2"):
                self._load.refusals[f"{head[9:12].decode()} {body[:200].decode()}"] += 1
            self._load.free.put_nowait(self)


class Load:
    """Requests to a side, each sent when it is due, or as soon after that as a connection is free.

    Latencies count from when it was due: a slow answer does not hide what has waited for it.
    """

    def __init__(self, requests: Sequence[bytes], due: Sequence[float], connections: int) -> None:
        self.latencies_ms: list[float] = []
        self.refusals: Counter[str] = Counter()  # answers other than 2xx
        self.free: asyncio.Queue[_Client] = asyncio.Queue()
        self._requests = requests
        self._due = due  # seconds from the start, ascending
        self._connections = connections

    async def connect(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(self._connections):
            _, client = await loop.create_connection(lambda: _Client(self), "127.0.0.1", port)
            self.free.put_nowait(client)

    async def run(self, start: float) -> None:
        """Return once everything is sent and answered, and the connections are closed."""
        for client in await self.send(start):
            client.transport.close()

    async def send(self, start: float) -> list["_Client"]:
        """Return the connections, which are open, once everything is sent and answered."""
        for request, due in zip(self._requests, self._due, strict=True):
            wait_s = start + due - time.perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            (await self.free.get()).send(request, start + due)
        return [await self.free.get() for _ in range(self._connections)]


def run(
    stage: Stage, server: Server, rate: float, seconds: float, drawn_from: tuple[int, int]
) -> Measurement:
    """Return what benefit orders at that rate come to. The client has a process of its own."""
    arguments = (server.port, rate, seconds, *drawn_from)
    with subprocess.Popen(
        [sys.executable, __file__, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        stage.wait(process, server.sample_rss)
        printed = process.stdout.read()
    if process.returncode:
        raise BenchFailed(f"The client at a constant rate failed against {server.name}.")
    return Measurement(**json.loads(printed))


def order(users: int, products: int) -> bytes:
    """Return a request: a random product for a random load-test user."""
    user, product = random.randint(1, users), random.randint(1, products)
    body = b'{"order":{"items":["load-product-%d"],"user_id":"load-%d"}}' % (product, user)
    return (
        b"POST /api/orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )


def at(ascending: Sequence[float], share: float) -> float:
    """Return the value below which that share of the values is."""
    return ascending[min(len(ascending) - 1, math.ceil(share * len(ascending)) - 1)]


async def measure(port: int, rate: float, seconds: float, users: int, products: int) -> Measurement:
    """Return what orders at that rate come to."""
    count = max(1, round(rate * seconds))
    requests = [order(users, products) for _ in range(count)]
    load = Load(requests, [number / rate for number in range(count)], CONNECTIONS)
    await load.connect(port)
    gc.disable()  # a pause of the client's must not count for the server
    start = time.perf_counter()
    await load.run(start)
    elapsed_s = time.perf_counter() - start
    latencies_ms = sorted(load.latencies_ms)
    refused = load.refusals.total()
    return Measurement(
        per_s=(count - refused) / elapsed_s,
        p50_ms=at(latencies_ms, 0.5),
        p99_ms=at(latencies_ms, 0.99),
        succeeded=count - refused,
        elapsed_s=elapsed_s,
        refused=refused,
        p999_ms=at(latencies_ms, 0.999),
    )


def main() -> None:
    port, rate, seconds, users, products = sys.argv[1:]
    measured = uvloop.run(
        measure(int(port), float(rate), float(seconds), int(users), int(products))
    )
    print(json.dumps(asdict(measured)))


if __name__ == "__main__":
    main()
