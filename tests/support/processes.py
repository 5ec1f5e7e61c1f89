"""Real `rowlock` processes on free ports."""

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from rowlock.ops.drill import processes
from rowlock.ops.drill.processes import ServeProcess, environment, readiness
from tests.support.polling import until

ROWLOCK = str(Path(sys.executable).with_name("rowlock"))

# Each pytest of several has ports of its own: one may be free for a moment only.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
PORTS = processes.PORTS[WORKER::WORKERS]

OUTPUTS = tempfile.TemporaryDirectory(prefix="rowlock-outputs-")  # of all services, until the end
_numbers = itertools.count(1)


_lately_lent = deque[int](maxlen=1000)


def free_port() -> int:
    """A port that no other pytest takes, and that this one has not just lent to somebody else."""
    while (port := processes.free_port(PORTS)) in _lately_lent:
        pass
    _lately_lent.append(port)
    return port


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


async def doctor(**settings: object) -> tuple[int, str]:
    """Run `rowlock doctor` as `rowlock` does, but for what it must find at the tests' server.

    That has fsync and full_page_writes off.
    """
    status, output = await rowlock("doctor", **settings)
    lines = output.splitlines(keepends=True)
    others = [line for line in lines if " durability: fsync is off" not in line]
    if len(others) == len(lines):
        return status, output
    assert status == 1
    return int(any(line.startswith("FAIL") for line in others)), "".join(others)


class Service(ServeProcess):
    """`rowlock serve` as a process; as a context it is ready when entered and gone when left.

    It can be entered again, and then has the same ports. `url` is the commerce service's,
    `events_url` the events service's.
    """

    command = ROWLOCK
    folder: Path | None = None  # to run in

    def __init__(self, *arguments: str, **settings: object) -> None:
        self.settings = {
            "commerce_port": free_port(),
            "events_port": free_port(),
            "projects_port": free_port(),
            "console_port": free_port(),
            "log_requests": 0,
        } | settings
        self.url = f"http://127.0.0.1:{self.settings['commerce_port']}"
        self.events_url = f"http://127.0.0.1:{self.settings['events_port']}"
        self.projects_url = f"http://127.0.0.1:{self.settings['projects_port']}"
        self.console_url = f"http://127.0.0.1:{self.settings['console_port']}"
        self._probed = self.events_url if arguments[:1] == ("events",) else self.url
        super().__init__(
            *arguments,
            # What a killed one leaves behind in its folder for temporary files goes at the end.
            environment={"TMPDIR": OUTPUTS.name, **environment(**self.settings)},
            output=Path(OUTPUTS.name) / str(next(_numbers)),
            command=(self.command,),
            folder=self.folder,
        )

    @property
    def printed(self) -> str:
        """What it has printed so far."""
        return self.output.read_text() if self.output.exists() else ""

    async def __aenter__(self) -> "Service":
        await self.spawn()
        await self.become_ready()
        return self

    async def become_ready(self) -> None:
        """Wait until it is ready; it must not end meanwhile."""
        async with aiohttp.ClientSession() as session:
            await until(lambda: self._is_ready(session), timeout_s=180)

    async def __aexit__(self, *_: object) -> None:
        if self.is_running:
            if "data_dir" in self.settings:
                self.signal(signal.SIGTERM)  # it has a PostgreSQL to stop
            else:
                self.signal(signal.SIGKILL)
        await self.wait()

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        assert self.is_running, self.printed
        return await self.readiness(session) == 200

    async def readiness(self, session: aiohttp.ClientSession) -> int:
        """The status of /readyz; 0 if nothing listens."""
        return await readiness(session, self._probed)


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
