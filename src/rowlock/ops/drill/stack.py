"""The processes of a drill: the three services and the embedded PostgreSQL."""

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import psutil

from rowlock.errors import StartRefused
from rowlock.ops import embedded
from rowlock.ops.doctor import Finding
from rowlock.settings import PREFIX

HOST = "127.0.0.1"
LOWEST_PORT, EPHEMERAL_PORT = 10_000, 32_768
COMMERCE = "commerce"
SERVICES = (COMMERCE, "projects", "events")
COMMERCE_WORKERS = 2
POSTGRES = "postgres"
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
PROBE_TIMEOUT = aiohttp.ClientTimeout(total=5)
POLL_S = 0.05


class Stack:
    """Real processes on free ports, their logs in the data folder."""

    def __init__(self, data_dir: Path, database_urls: dict[str, str]) -> None:
        self._data_dir = data_dir
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self.problems: list[str] = []
        ports = {name: _free_port() for name in SERVICES}
        self.urls = {name: f"http://{HOST}:{port}" for name, port in ports.items()}
        own = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
        self._environment = own | {
            "ROWLOCK_DATABASE_URL": database_urls["main"],
            "ROWLOCK_EVENTS_DATABASE_URL": database_urls["events"],
            "ROWLOCK_EVENTS_URL": self.urls["events"],
            "ROWLOCK_LOG_REQUESTS": "0",
            **{f"ROWLOCK_{name.upper()}_PORT": str(port) for name, port in ports.items()},
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run all services; stop them by SIGTERM in the end."""
        try:
            for name in SERVICES:
                await self.start(name)
            yield
            for name, process in self._processes.items():
                if process.returncode is None:
                    process.send_signal(signal.SIGTERM)
                else:
                    self.problems.append(f"{name} has ended by itself, see {self._log(name)}")
            for name, process in self._processes.items():
                try:
                    status = await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
                except TimeoutError:
                    self.problems.append(f"{name} does not stop, see {self._log(name)}")
                    continue
                if status:
                    self.problems.append(f"{name} ended with {status}, see {self._log(name)}")
        finally:
            for process in self._processes.values():
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    def finding(self) -> Finding:
        """Tell whether everything started again and ended as it should."""
        problem = "; ".join(self.problems) or None
        return Finding("processes", problem, "all came back each time, and ended on SIGTERM")

    async def kill(self, victim: str, rng: random.Random) -> None:
        """Kill -9 a service or PostgreSQL; `rng` chooses among a service's processes."""
        try:
            if victim == POSTGRES:
                pid_file = self._data_dir / "postgres" / "postmaster.pid"
                psutil.Process(int(pid_file.read_text().split()[0])).kill()
            else:
                await self._kill_service(victim, rng)
        except (FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):
            self.problems.append(f"{victim} has ended by itself, see {self._log(victim)}")

    async def _kill_service(self, name: str, rng: random.Random) -> None:
        """Kill -9 the service's process, or one of its workers if it has any."""
        process = self._processes[name]
        workers = psutil.Process(process.pid).children()
        # Unlike choice, it draws once, however many workers there are at this moment.
        [victim] = rng.choices([None, *workers])
        if victim is None:
            process.kill()
            await process.wait()
        else:
            victim.kill()

    async def start(self, name: str) -> None:
        """Start what was killed, and return once it is ready. Raises StartRefused."""
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                if name == POSTGRES:
                    await asyncio.to_thread(self._start_postgres)
                else:
                    await self._start_service(name)
        except TimeoutError:
            raise StartRefused(f"{name} is not ready, see {self._log(name)}") from None

    def _start_postgres(self) -> None:
        # The drill's own use of the server keeps it running when this one is over.
        with embedded.running(self._data_dir, READY_TIMEOUT_S):
            pass

    async def _start_service(self, name: str) -> None:
        """Start the service again each time it ends, as a supervisor would, until it is ready.

        It ends if PostgreSQL is down at that moment, or if the workers of one that was killed have
        not drained yet. If only a worker was killed, it runs already.
        """
        async with aiohttp.ClientSession(timeout=PROBE_TIMEOUT) as session:
            while True:
                process = self._processes.get(name)
                if process is None or process.returncode is not None:
                    process = self._processes[name] = await self._spawn(name)
                while process.returncode is None:
                    if await _is_ready(session, self.urls[name]):
                        return
                    await asyncio.sleep(POLL_S)

    async def _spawn(self, name: str) -> asyncio.subprocess.Process:
        workers = ("--workers", str(COMMERCE_WORKERS)) if name == COMMERCE else ()
        with self._log(name).open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "rowlock", "serve", name, *workers),
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def _log(self, name: str) -> Path:
        return self._data_dir / f"{name}.log"


def _free_port() -> int:
    """Return a port below the ephemeral ones.

    A client that tries an ephemeral port, while nobody listens, may get it as its own, connect to
    itself, and be in the way of the service that comes back.
    """
    while True:
        port = random.randrange(LOWEST_PORT, EPHEMERAL_PORT)  # noqa: S311
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/readyz") as response:
            return response.ok
    except (aiohttp.ClientError, TimeoutError):
        return False
