"""`rowlock serve` as a process that is started, killed and started again, on ports of its own."""

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import IO

import aiohttp
import psutil

from rowlock.errors import StartRefused
from rowlock.settings.kinds import PREFIX

HOST = "127.0.0.1"
PORTS = range(10_000, 32_768)  # below the ephemeral ones
PROBE_TIMEOUT = aiohttp.ClientTimeout(total=5)
POLL_S = 0.05


def free_port(ports: Sequence[int] = PORTS) -> int:
    """Return one of `ports` that nothing listens on.

    Not an ephemeral one: a client that tries such a port, while nothing listens there, may get it
    as its own, connect to itself, and be in the way of the service that comes back.
    """
    while True:
        port = random.choice(ports)  # noqa: S311
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port


def environment(**settings: object) -> dict[str, str]:
    """Return this process's environment with these settings, by their names, and no others."""
    own = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    return own | {f"{PREFIX}{name.upper()}": str(value) for name, value in settings.items()}


class ServeProcess:
    """One `rowlock serve`, with its workers if it has any."""

    def __init__(
        self,
        *arguments: str,
        environment: Mapping[str, str],
        output: Path,  # what it prints is added there
        command: Sequence[str] = (sys.executable, "-P", "-m", "rowlock"),
        folder: Path | None = None,  # to run in
    ) -> None:
        self.output = output
        self._command = (*command, "serve", *arguments)
        self._environment = environment
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running().pid

    async def spawn(self) -> None:
        """Start it; it is not ready yet."""
        with self.output.open("ab") as output:
            await self.spawn_with(output)

    async def spawn_with(self, output: IO[bytes] | int) -> None:
        """Start it, with an `output` of the caller's."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._environment,
            cwd=self._folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )

    async def start(self, url: str, timeout_s: float) -> None:
        """Start it, and again each time it ends, until /readyz at `url` says that it is ready.

        It ends if PostgreSQL is down at that moment, or if the workers of one that was killed have
        not drained yet. One that runs already is only waited for. Raises StartRefused.
        """
        try:
            async with (
                asyncio.timeout(timeout_s),
                aiohttp.ClientSession(timeout=PROBE_TIMEOUT) as session,
            ):
                while True:
                    if not self.is_running:
                        await self.spawn()
                    while self.is_running:
                        if await readiness(session, url) == HTTPStatus.OK:
                            return
                        await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise StartRefused(f"The service is not ready, see {self.output}.") from None

    def workers(self) -> list[psutil.Process]:
        """Return the processes that serve for this one."""
        return psutil.Process(self._running().pid).children()

    def signal(self, signum: signal.Signals) -> None:
        """Send a signal."""
        self._running().send_signal(signum)

    async def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        self._running().kill()
        await self.wait()

    async def wait(self, timeout_s: float = 60.0) -> int:
        """Return its exit status, once it has ended. Raises TimeoutError."""
        return await asyncio.wait_for(self._running().wait(), timeout_s)

    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None  # it was started
        return self._process


async def readiness(session: aiohttp.ClientSession, url: str) -> int:
    """Return the status of /readyz at `url`; 0 if nothing answers."""
    try:
        async with session.get(f"{url}/readyz") as response:
            return response.status
    except (aiohttp.ClientError, TimeoutError):
        return 0
