"""What a request costs without the database: `python tests/load/calls.py [--counts]`.

The service with the database taken out (empty.py) beside a plain aiohttp handler (plain.py): the
function calls of one request, which are the same on any machine, and its CPU time, measured in
turns. With --counts, only the calls, as JSON: tests/http/test_costs.py holds the service to them.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import empty
import plain
import uvloop
from aiohttp import web

from rowlock.http.app import create_app  # noqa: TID251
from rowlock.process import logs
from rowlock.process.server import accept
from rowlock.services import COMMERCE
from rowlock.settings import Settings

HERE = Path(__file__).resolve().parent
ORDER = b'{"order":{"items":["netflix"],"user_id":"load-4242"}}'
HEAD = b"Host: 127.0.0.1:4000\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
REQUESTS = {
    "GET /user/{id}": b"GET /user/4242 HTTP/1.1\r\nHost: 127.0.0.1:4000\r\n\r\n",
    "POST /api/orders": b"POST /api/orders HTTP/1.1\r\n" + HEAD % len(ORDER) + ORDER,
}
SETTINGS = Settings().changed(log_requests=False)
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("ROWLOCK_")},
    "ROWLOCK_LOG_REQUESTS": "0",
}

CALLS = frozenset({"call", "c_call"})  # as sys.setprofile names them
COUNTED = 50  # requests a round
ROUNDS = 3  # the least of them counts: now and then a timer of the service goes off
CONNECTIONS = 256
TIMED = 8  # requests of a connection in a round
TIMED_ROUNDS = 25
START_S = 15.0


async def start(side: str) -> tuple[web.AppRunner, int]:
    """Serve the side in this process; return its runner and its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    if side == "plain":
        runner = web.AppRunner(plain.create_app(), access_log=None)
        await runner.setup()
        await web.SockSite(runner, listener).start()
    else:
        app = create_app(empty.emptied(COMMERCE), SETTINGS, empty.NO_DATABASE)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await accept(runner, listener)
    return runner, port


async def count_one(port: int, request: bytes) -> float:
    """Return the calls of one request: functions entered and coroutines resumed, C's as well."""
    loop = asyncio.get_running_loop()
    entered = 0

    async def send() -> None:
        # In the same thread, so that nothing depends on which thread is ahead.
        for _ in range(COUNTED):
            client.send(request)
            assert (await loop.sock_recv(client, 65_536)).startswith(b"HTTP/1.1 200")

    def note(frame: FrameType, event: str, _: Any) -> None:
        nonlocal entered
        entered += event in CALLS and frame.f_code is not send.__code__

    rounds = []
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setblocking(False)
        await send()
        for _ in range(ROUNDS):
            entered = 0
            sys.setprofile(note)
            await send()
            sys.setprofile(None)
            rounds.append(entered / COUNTED)
    return min(rounds)


async def count(side: str) -> dict[str, float]:
    """Return the calls of each request."""
    runner, port = await start(side)
    calls = {name: await count_one(port, request) for name, request in REQUESTS.items()}
    await runner.cleanup()
    return calls


def counts() -> dict[str, dict[str, float]]:
    """Return the calls of each request, by the side."""
    logs.configure(SETTINGS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return {side: runner.run(count(side)) for side in ("plain", "empty")}


def cpu_s(process: "subprocess.Popen[bytes]") -> float:
    """Return the CPU time that the process has used, as precisely as Linux knows it."""
    return time.clock_gettime((~process.pid << 3) | 2)  # as clock_getcpuclockid(3) makes it


def connect(port: int) -> socket.socket:
    """Return a connection, once something listens."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", port))
        time.sleep(0.1)
    raise SystemExit(f"Nothing listens on port {port}.")


def time_one(process: "subprocess.Popen[bytes]", port: int, request: bytes) -> float:
    """Return the CPU time of one of many requests, in microseconds."""
    clients = [connect(port) for _ in range(CONNECTIONS)]
    before = cpu_s(process)
    for _ in range(TIMED):
        for client in clients:
            client.send(request)
        for client in clients:
            assert client.recv(65_536).startswith(b"HTTP/1.1 200")
    used = cpu_s(process) - before
    for client in clients:
        client.close()
    return used / (TIMED * CONNECTIONS) * 1e6


@contextmanager
def serving(side: str) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Serve the side in a process of its own; lend that and its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    environment = {**ENVIRONMENT, "ROWLOCK_COMMERCE_PORT": str(port)}
    command = [sys.executable, str(HERE / f"{side}.py"), *([str(port)] if side == "plain" else [])]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        connect(port).close()
        yield process, port
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", action="store_true", help="only the calls, as JSON")
    calls = counts()
    if parser.parse_args().counts:
        print(json.dumps(calls))
        return
    print(f"{'':18}{'calls':>8}{'plain':>8}{'CPU, µs':>10}{'plain':>8}{'plain ÷ empty':>16}")
    with serving("plain") as plain_side, serving("empty") as empty_side:
        for name, request in REQUESTS.items():
            rounds = [
                (time_one(*plain_side, request), time_one(*empty_side, request))
                for _ in range(TIMED_ROUNDS)
            ]
            ratio = statistics.median(one / other for one, other in rounds)
            plain_us, empty_us = (statistics.median(side) for side in zip(*rounds, strict=True))
            print(
                f"{name:18}{calls['empty'][name]:8.0f}{calls['plain'][name]:8.0f}"
                f"{empty_us:10.1f}{plain_us:8.1f}{ratio:16.2f}"
            )


if __name__ == "__main__":
    main()
