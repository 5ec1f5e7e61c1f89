"""What one client can do to the others: `python tests/load/attacks.py [--seconds N] [NAME …]`.

Each attack runs for some seconds, from a process of its own. Meanwhile another client asks the same
service for something small, up to 50 times a second, on a connection that it keeps. It is OK if 99
of 100 of these requests are answered within 250 ms, all with a 200, and the process that serves has
at most 200 MB. The exit status is 1 if one attack is not.

Without `--url`, a service with an embedded PostgreSQL is started for this.
"""

import argparse
import asyncio
import collections
import gzip
import http.client
import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil
from harness import BenchFailed, free_port, serving

ROWLOCK = Path(sys.executable).parent / "rowlock"
MEMORY_LIMIT_MB = 200.0
P99_LIMIT_MS = 250.0
PROBE_S = 0.02
PROBE_TIMEOUT_S = 30
REST_S = 2.0  # between two attacks: what the last one has left behind goes
PORTS = {"commerce": 4000, "projects": 3000, "events": 3001}
TOKENS = {
    "commerce": os.environ.get("ROWLOCK_COMMERCE_TOKEN", ""),
    "projects": os.environ.get("ROWLOCK_PROJECTS_TOKEN", "development-projects-token"),
    "events": os.environ.get("ROWLOCK_EVENTS_TOKEN", "development-events-token"),
}
PROBES = {"commerce": "/products", "projects": "/projects", "events": "/events?limit=1"}
JSON = "Content-Type: application/json"
MIB = 1 << 20

Ports = dict[str, int]


# --- what is sent -----------------------------------------------------------------------------


def head(request: str, service: str, *headers: str) -> bytes:
    lines = [f"{request} HTTP/1.1", "Host: x", f"Authorization: Bearer {TOKENS[service]}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def whole(path: str, service: str, body: bytes, *headers: str) -> bytes:
    return head(f"POST {path}", service, JSON, f"Content-Length: {len(body)}", *headers) + body


def unknown_names() -> bytes:
    names = (f'"{number:x}":1' for number in range(8 * MIB // 10))
    return b"{" + ",".join(names).encode() + b"}"


def batch() -> bytes:
    event = {"name": "attack", "subject": "attack:1", "payload": {"text": "x" * 8200}}
    return json.dumps({"events": [event] * 1000}).encode()


def many_values() -> bytes:
    """As many values as a body may have."""
    event = {"name": "attack", "payload": {f"n{number}": number for number in range(2400)}}
    return json.dumps({"events": [event] * 50}).encode()


# --- clients that do it -----------------------------------------------------------------------


class Attacker:
    """Connections to one service, until the time is over; what they are answered is counted."""

    def __init__(self, port: int, until: float) -> None:
        self._port = port
        self._until = until
        self.answers: collections.Counter[str] = collections.Counter()

    async def again_and_again(self, *parts: bytes, pause_s: float = 0) -> None:
        """Send the parts, read what comes until the service closes, and connect again."""
        while time.monotonic() < self._until:
            try:
                async with asyncio.timeout(max(self._until - time.monotonic(), 0.1)):
                    await self._once(parts, pause_s)
            except TimeoutError:
                self.answers["stalled"] += 1
            except OSError:
                self.answers["reset"] += 1

    async def _once(self, parts: tuple[bytes, ...], pause_s: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        reading = asyncio.create_task(self._read(reader))
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause_s)
            await reading
        finally:
            reading.cancel()
            writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            if line.startswith(b"HTTP/1."):
                self.answers[line.split()[1].decode()] += 1


Attack = Callable[[Attacker, float], Awaitable[object]]
ATTACKS: dict[str, tuple[str, Attack]] = {}


def attack(service: str) -> Callable[[Attack], Attack]:
    """Name an attack on a service after its function."""

    def keep(function: Attack) -> Attack:
        ATTACKS[function.__name__] = service, function
        return function

    return keep


def times(count: int, scale: float) -> range:
    return range(max(1, round(count * scale)))


@attack("commerce")
async def heads(attacker: Attacker, scale: float) -> None:
    """300 clients send a megabyte of headers each; half of them behind 40 requests."""
    line = b"X: " + b"x" * 8100 + b"\r\n"
    start = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n"
    before = (start + b"\r\n") * 40
    await asyncio.gather(
        *(
            attacker.again_and_again(before * (number % 2) + start + line * 60, line * 60)
            for number in times(300, scale)
        )
    )


@attack("commerce")
async def packed(attacker: Attacker, scale: float) -> None:
    """8 clients send gzip of 200 MB, to any path."""
    body = gzip.compress(bytes(200 * MIB))
    paths = ("/nowhere", "/invoices", "/api/orders", "/orders")
    await asyncio.gather(
        *(
            attacker.again_and_again(
                whole(paths[number % 4], "commerce", body, "Content-Encoding: gzip")
            )
            for number in times(8, scale)
        )
    )


@attack("events")
async def names(attacker: Attacker, scale: float) -> None:
    """4 clients send 8 MB of unknown names, or as many values as a body may have."""
    bodies = (unknown_names(), many_values())
    await asyncio.gather(
        *(
            attacker.again_and_again(
                whole("/events/batch", "events", bodies[number % 2], "Connection: close")
            )
            for number in times(4, scale)
        )
    )


@attack("events")
async def batches(attacker: Attacker, scale: float) -> None:
    """16 clients send valid batches of 8 MB."""
    request = whole("/events/batch", "events", batch(), "Connection: close")
    await asyncio.gather(*(attacker.again_and_again(request) for _ in times(16, scale)))


@attack("projects")
async def webhooks(attacker: Attacker, scale: float) -> None:
    """1,000 clients send most of a webhook's body, and no more."""
    requests = [
        whole("/deployment/webhook", "projects", b"x" * size)[: -size // 100]
        for size in (65_536, 16_384)
    ]
    await asyncio.gather(
        *(attacker.again_and_again(requests[number % 2]) for number in times(1000, scale))
    )


@attack("commerce")
async def slow(attacker: Attacker, scale: float) -> None:
    """1,000 clients send a byte now and then, of a head or a body, or do not read their answers."""
    start = b"POST /invoices HTTP/1.1\r\nHost: x\r\nX: "
    body = head("POST /invoices", "commerce", JSON, "Content-Length: 60000") + b"x" * 50_000
    requests = head("GET /openapi.json", "commerce") * 100
    kinds = [(start + b"x" * 8000, b"x"), (body, b"x"), (requests, b"")]
    await asyncio.gather(
        *(
            attacker.again_and_again(
                kinds[number % 3][0], *[kinds[number % 3][1]] * 1000, pause_s=1
            )
            for number in times(1000, scale)
        )
    )


@attack("commerce")
async def crowd(attacker: Attacker, scale: float) -> None:
    """8,000 clients connect, ask once, and stay."""
    request = head("GET /nowhere", "commerce")
    await asyncio.gather(*(attacker.again_and_again(request) for _ in times(8000, scale)))


# --- the other client -------------------------------------------------------------------------


class Outcome(NamedTuple):
    """What an attack came to."""

    memory_mb: float
    p99_ms: float
    failures: int  # of the other client's requests
    answers: dict[str, int]  # to the attacker, by status

    @property
    def is_fine(self) -> bool:
        return (
            self.memory_mb <= MEMORY_LIMIT_MB and self.p99_ms <= P99_LIMIT_MS and not self.failures
        )


def suffer(name: str, ports: Ports, seconds: float, scale: float) -> Outcome:
    """Run an attack, and be the other client meanwhile."""
    service, _ = ATTACKS[name]
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=run, args=(name, ports, seconds, scale, sender), daemon=True)
    servers = listeners(ports[service])
    took: list[float] = []
    failures = 0
    memory = 0
    with Probe(ports[service], service) as probe:
        probe.ask()
        process.start()
        while process.is_alive():
            started = time.monotonic()
            failures += not probe.ask()
            took.append(time.monotonic() - started)
            memory = max(memory, *(server.memory_info().rss for server in servers))
            time.sleep(PROBE_S)
    if not receiver.poll():
        raise BenchFailed(f"The attack {name} broke off.")
    p99_s = statistics.quantiles(took, n=100)[-1]
    return Outcome(memory / 1e6, p99_s * 1000, failures, receiver.recv())


def run(name: str, ports: Ports, seconds: float, scale: float, sender: Any) -> None:
    """Run an attack, in a process of its own; send what it was answered."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    service, function = ATTACKS[name]
    attacker = Attacker(ports[service], time.monotonic() + seconds)

    async def attack() -> None:
        await function(attacker, scale)

    asyncio.run(attack())
    sender.send(dict(attacker.answers))


class Probe:
    """A client that asks a service for something small, on a connection that it keeps."""

    def __init__(self, port: int, service: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, PROBE_TIMEOUT_S)
        self._path = PROBES[service]
        self._headers = {"Authorization": f"Bearer {TOKENS[service]}"}

    def __enter__(self) -> "Probe":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self) -> bool:
        """Tell whether the answer is a 200."""
        try:
            self._connection.request("GET", self._path, headers=self._headers)
            response = self._connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return False
        return response.status == http.HTTPStatus.OK


def listeners(port: int) -> list[psutil.Process]:
    """Return the processes that listen on `port`."""
    pids = {
        each.pid
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port and each.pid
    }
    if not pids:
        raise BenchFailed(f"Nothing that can be looked at listens on port {port}.")
    return [psutil.Process(pid) for pid in pids]


@contextmanager
def served() -> Iterator[Ports]:
    """Lend all services in one process, on an embedded PostgreSQL of their own."""
    with tempfile.TemporaryDirectory() as folder:
        ports = {service: free_port() for service in PORTS}
        environment = {f"ROWLOCK_{name.upper()}_PORT": str(port) for name, port in ports.items()}
        environment |= {"ROWLOCK_DATA_DIR": f"{folder}/data", "ROWLOCK_LOG_REQUESTS": "0"}
        with serving(
            "rowlock",
            (ROWLOCK, "serve"),
            port=ports["commerce"],
            environment=environment,
            log=Path(folder) / "log",
        ):
            yield ports


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ATTACKS)}")
    parser.add_argument("--url", help="of a commerce service on this machine")
    parser.add_argument("--projects-url", default=f"http://127.0.0.1:{PORTS['projects']}")
    parser.add_argument("--events-url", default=f"http://127.0.0.1:{PORTS['events']}")
    parser.add_argument("--seconds", type=float, default=10, help="for each attack")
    parser.add_argument("--scale", type=float, default=1, help="part of the clients")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(ATTACKS):
        parser.error(f"There is no attack {', '.join(unknown)}.")
    with ExitStack() as stack:
        if arguments.url is None:
            ports = stack.enter_context(served())
        else:
            urls = (arguments.url, arguments.projects_url, arguments.events_url)
            ports = {name: urlsplit(url).port or 80 for name, url in zip(PORTS, urls, strict=True)}
        print(
            f"{'attack':<10}{'memory':>10}{'p99':>12}{'failed':>8}        answers to the attacker"
        )
        all_fine = True
        for name in arguments.names or ATTACKS:
            outcome = suffer(name, ports, arguments.seconds, arguments.scale)
            all_fine &= outcome.is_fine
            verdict = "OK" if outcome.is_fine else "FAIL"
            print(
                f"{name:<10}{outcome.memory_mb:>7.0f} MB{outcome.p99_ms:>9.0f} ms"
                f"{outcome.failures:>8}  {verdict:<5} {outcome.answers}",
                flush=True,
            )
            time.sleep(min(REST_S, arguments.seconds))
    sys.exit(not all_fine)


if __name__ == "__main__":
    try:
        main()
    except BenchFailed as error:
        sys.exit(str(error))
