"""Real `rowlock` processes on free ports."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil

from tests.polling import until

ROWLOCK = str(Path(sys.executable).with_name("rowlock"))

# Each pytest of several has ports of its own: one may be free for a moment only.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
PORTS = range(10_000 + WORKER, 32_768, WORKERS)


def free_port() -> int:
    """A port below the ephemeral ones.

    A client that tries an ephemeral port, while nobody listens, may get it as its own.
    """
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def environment(**settings: object) -> dict[str, str]:
    """This process's environment with these settings: `commerce_port=4001`, and no others."""
    own = {name: text for name, text in os.environ.items() if not name.startswith("ROWLOCK_")}
    return own | {f"ROWLOCK_{name.upper()}": str(value) for name, value in settings.items()}


async def rowlock(*arguments: str, **settings: object) -> tuple[int, str]:
    """Run a command to its end; return its exit status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        ROWLOCK,
        *arguments,
        env=environment(**settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


class Service:
    """`rowlock serve` as a process; as a context it is ready when entered and gone when left.

    It can be entered again, and then has the same ports. `url` is the commerce service's,
    `events_url` the events service's.
    """

    command = ROWLOCK
    folder: Path | None = None  # to run in

    def __init__(self, *arguments: str, **settings: object) -> None:
        self._arguments = arguments
        self.settings = {
            "commerce_port": free_port(),
            "events_port": free_port(),
            "projects_port": free_port(),
            "log_requests": 0,
        } | settings
        self.url = f"http://127.0.0.1:{self.settings['commerce_port']}"
        self.events_url = f"http://127.0.0.1:{self.settings['events_port']}"
        self.projects_url = f"http://127.0.0.1:{self.settings['projects_port']}"
        self.output = ""

    async def __aenter__(self) -> "Service":
        self._process = await asyncio.create_subprocess_exec(
            self.command,
            "serve",
            *self._arguments,
            env=environment(**self.settings),
            cwd=self.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self._reader = asyncio.create_task(self._read())
        async with aiohttp.ClientSession() as session:
            await until(lambda: self._is_ready(session), timeout_s=60)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            if "data_dir" in self.settings:
                self._process.terminate()  # it has a PostgreSQL to stop
            else:
                self._process.kill()
        await self._process.wait()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.output += line.decode()

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        assert self._process.returncode is None, self.output
        return await self.readiness(session) == 200

    async def readiness(self, session: aiohttp.ClientSession) -> int:
        """Return the status of /readyz; 0 if nothing listens."""
        base = self.events_url if self._arguments[:1] == ("events",) else self.url
        try:
            async with session.get(f"{base}/readyz") as response:
                return response.status
        except aiohttp.ClientConnectionError:
            return 0

    def close_output(self) -> None:
        """Let whatever it writes from now on fail."""
        self._reader.cancel()
        self._process._transport.get_pipe_transport(1).close()

    async def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        await self._process.wait()
        await self._reader

    def workers(self) -> list[psutil.Process]:
        """The processes that serve for this one."""
        return psutil.Process(self._process.pid).children()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def wait(self, timeout_s: float = 60.0) -> int:
        """Return the exit status, once it has ended."""
        return await asyncio.wait_for(self._process.wait(), timeout_s)


@contextlib.asynccontextmanager
async def connected(
    service: Service,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection of one's own to the commerce service."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.url.rpartition(":")[2])
    try:
        yield reader, writer
    finally:
        writer.close()
