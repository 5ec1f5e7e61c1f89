"""The processes of a drill: those that serve, and the embedded PostgreSQL."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from rowlock.errors import StartRefused
from rowlock.ops import embedded
from rowlock.ops.doctor import Finding
from rowlock.ops.drill.processes import HOST, ServeProcess, environment, free_port
from rowlock.settings.names import ServiceName

COMMERCE_WORKERS = 2
POSTGRES = "postgres"
# The services that are run and killed: the console only uses the lanes of the others.
KILLED = (ServiceName.COMMERCE, ServiceName.PROJECTS, ServiceName.EVENTS)
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0


class Place:
    """Where the services of one machine are: free ports, and the environment that names them."""

    def __init__(self, data_dir: Path, database_urls: dict[str, str], **settings: object) -> None:
        ports = {name: free_port() for name in ServiceName}
        self.urls: dict[str, str] = {name: f"http://{HOST}:{port}" for name, port in ports.items()}
        self.environment = environment(
            database_url=database_urls["main"],
            events_database_url=database_urls["events"],
            events_url=self.urls["events"],
            log_requests=0,
            **{f"{name}_port": port for name, port in ports.items()},
            **settings,
        )
        # What killed ones leave there goes with the drill's.
        self.environment["TMPDIR"] = str(data_dir)


class Processes:
    """Processes that serve, each with the URL that tells whether it is ready."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._services: dict[str, ServeProcess] = {}
        self._probed: dict[str, str] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run all services; stop them by SIGTERM in the end."""
        try:
            for name in self._services:
                await self.start(name)
            yield
            for name, service in self._services.items():
                if service.is_running:
                    service.signal(signal.SIGTERM)
                else:
                    self.problems.append(f"{name} has ended unexpectedly, see {service.output}")
            for name, service in self._services.items():
                try:
                    status = await service.wait(STOP_TIMEOUT_S)
                except TimeoutError:
                    self.problems.append(f"{name} does not stop, see {service.output}")
                    continue
                if status:
                    self.problems.append(f"{name} ended with {status}, see {service.output}")
        finally:
            for service in self._services.values():
                if service.is_running:
                    await service.kill()

    def finding(self) -> Finding:
        """Tell whether everything started again and ended as it should."""
        problem = "; ".join(self.problems) or None
        return Finding("processes", problem, "all came back each time, and ended on SIGTERM")

    async def start(self, name: str) -> None:
        """Start what was killed, and return once it is ready. Raises StartRefused.

        If only a worker was killed, the service runs already.
        """
        await self._services[name].start(self._probed[name], READY_TIMEOUT_S)


class Stack(Processes):
    """A process for each service, on one PostgreSQL; their logs are in the data folder."""

    def __init__(self, data_dir: Path, database_urls: dict[str, str]) -> None:
        super().__init__()
        self._data_dir = data_dir
        place = Place(data_dir, database_urls)
        self.urls = self._probed = place.urls
        self._services = {
            name: ServeProcess(
                name,
                *(("--workers", str(COMMERCE_WORKERS)) if name == ServiceName.COMMERCE else ()),
                environment=place.environment,
                output=data_dir / f"{name}.log",
            )
            for name in KILLED
        }

    async def kill(self, victim: str, rng: random.Random) -> None:
        """Kill -9 a service or PostgreSQL; `rng` chooses among a service's processes."""
        try:
            if victim == POSTGRES:
                pid_file = self._data_dir / "postgres" / "postmaster.pid"
                psutil.Process(int(pid_file.read_text().split()[0])).kill()
            else:
                await self._kill_service(self._services[victim], rng)
        except (FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):
            self.problems.append(f"{victim} has ended unexpectedly")

    async def _kill_service(self, service: ServeProcess, rng: random.Random) -> None:
        """Kill -9 the service's process, or one of its workers if it has any."""
        # Unlike choice, it draws once, however many workers there are at this moment.
        [victim] = rng.choices([None, *service.workers()])
        if victim is None:
            await service.kill()
        else:
            victim.kill()

    async def start(self, name: str) -> None:
        """Start what was killed, a service or PostgreSQL, as `Processes.start` does."""
        if name != POSTGRES:
            await super().start(name)
            return
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await asyncio.to_thread(self._start_postgres)
        except TimeoutError:
            raise StartRefused("PostgreSQL does not start again.") from None

    def _start_postgres(self) -> None:
        # The drill's own use of the server keeps it running when this one is over.
        with embedded.running(self._data_dir, READY_TIMEOUT_S):
            pass
