"""Several processes on the same ports: a parent, and workers that serve.

The parent binds the ports. Each place has one listening socket per address, which the worker in
that place inherits. The parent keeps the sockets open, so waiting connections outlive a worker that
dies or is replaced: the next worker in its place accepts them. If no worker can be started, the
place's sockets are closed until one listens, and new connections go to other places.

A worker reads from its standard input what to serve, and serves until that input ends: the parent
has closed it, or the parent is gone. It reports on its standard output, again and again, that it
listens. A worker that stays silent is stuck, and is killed.
"""

import asyncio
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from tempfile import TemporaryDirectory
from typing import NamedTuple

import structlog
from prometheus_client.multiprocess import mark_process_dead

from rowlock.engine.metrics import FOLDER, SLOT
from rowlock.errors import StartRefused
from rowlock.http.service import Service
from rowlock.process import listeners
from rowlock.process.listeners import Sockets
from rowlock.settings import Settings

LISTENS = b"listens\n"  # printed by a worker once it listens, and then repeatedly
BEATS = 10  # reports in `worker_silence_s`
READ_BYTES = 4096

logger = structlog.get_logger(__name__)


class _Worker(NamedTuple):
    process: asyncio.subprocess.Process
    gone: asyncio.Task[int]  # its exit status, once it has ended and its slot is free


def run(
    services: Sequence[Service],
    settings: Settings,
    urls: Mapping[str, str],
    places: Sequence[Sockets],
    on_ready: Callable[[], None],
) -> None:
    """Keep a process serving in each of `places` until SIGTERM or SIGINT, then drain them all.

    SIGHUP replaces them one by one. `on_ready` is called once all of them listen. Raises
    StartRefused if one of them can't be started.
    """
    with TemporaryDirectory(prefix="rowlock-metrics-") as folder:
        crew = _Crew(services, settings, urls, places, folder)
        asyncio.run(_run(crew, on_ready))


async def _run(crew: "_Crew", on_ready: Callable[[], None]) -> None:
    stop, renew = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop.set)
    loop.add_signal_handler(signal.SIGHUP, renew.set)
    stopping = asyncio.create_task(stop.wait())
    working = asyncio.create_task(crew.work(renew, on_ready))
    try:
        await asyncio.wait((stopping, working), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()  # it ends only with an error
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.gather(stopping, working, return_exceptions=True)
        await crew.end()


class _Crew:
    """The workers, each in a place of its own; one that dies is replaced."""

    def __init__(
        self,
        services: Sequence[Service],
        settings: Settings,
        urls: Mapping[str, str],
        places: Sequence[Sockets],
        metrics_folder: str,
    ) -> None:
        self._services = [service.name for service in services]
        self._process = settings.process
        self._urls = dict(urls)
        self._places = list(places)
        self._metrics_folder = metrics_folder  # shared, so that any worker can report for all
        # The places whose sockets are closed, with the addresses of those.
        self._closed: dict[int, listeners.Addresses] = {}
        self._changes = [asyncio.Lock() for _ in places]
        self._workers: list[_Worker] = []  # by place
        # Includes workers that are starting or draining. A new worker reuses a free slot's metrics
        # files, so their number stays bounded.
        self._slots: dict[int, _Worker | None] = {}

    async def work(self, renew: asyncio.Event, on_ready: Callable[[], None]) -> None:
        """Start the workers and keep their places filled; replace all when `renew` is set."""
        places = range(len(self._places))
        self._workers = await asyncio.gather(*(self._start(place) for place in places))
        on_ready()
        async with asyncio.TaskGroup() as group:
            for place in places:
                group.create_task(self._keep(place))
            while True:
                await renew.wait()
                renew.clear()
                await self._replace_all()

    async def end(self) -> None:
        """Refuse new connections; return once every worker has drained."""
        for place, sockets in enumerate(self._places):
            if place not in self._closed:
                listeners.refuse(sockets)
        await asyncio.gather(*(self._end(worker) for worker in self._slots.values() if worker))

    async def _start(self, place: int, *, restart: bool = False) -> _Worker:
        """Return a new worker that listens. Raises StartRefused."""
        sockets = {
            name: [listener.fileno() for listener in group]
            for name, group in self._places[place].items()
        }
        slot = next(number for number in itertools.count() if number not in self._slots)
        self._slots[slot] = None
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "rowlock.process.worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                pass_fds=[number for group in sockets.values() for number in group],
                start_new_session=True,  # Ctrl-C is for the parent
                env=os.environ | {FOLDER: self._metrics_folder, SLOT: str(slot)},
            )
        except OSError as error:  # too many processes or files, too little memory
            del self._slots[slot]
            raise StartRefused(f"A worker can't be started: {error}.") from error
        worker = _Worker(process, asyncio.create_task(self._release(slot, process)))
        self._slots[slot] = worker
        order = {
            "services": self._services,
            "urls": self._urls,
            "sockets": sockets,
            "restart": restart,
        }
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(order).encode() + b"\n")
        try:
            async with asyncio.timeout(self._process.worker_start_timeout_s):
                listens = await process.stdout.readline() == LISTENS
        except TimeoutError:
            process.kill()
            raise StartRefused("A worker took too long to start.") from None
        if not listens:
            status = await process.wait()
            raise StartRefused(f"A worker ended with status {status} before it listened.")
        logger.info("worker_listens", pid=process.pid)
        return worker

    async def _release(self, slot: int, process: asyncio.subprocess.Process) -> int:
        """Free `slot` once `process` has ended; return its exit status."""
        status = await process.wait()
        # Keeps its counters in the sums, but drops its gauges of queues and pool.
        mark_process_dead(slot, self._metrics_folder)  # type: ignore[no-untyped-call]
        del self._slots[slot]
        return status

    async def _end(self, worker: _Worker) -> None:
        """Let `worker` drain, and return once it is gone."""
        settings = self._process
        process = worker.process
        assert process.stdin is not None
        process.stdin.close()
        try:
            # A worker keeps to these limits by itself, unless it is stuck.
            async with asyncio.timeout(settings.drain_timeout_s + 2 * settings.stop_timeout_s):
                await process.wait()
        except TimeoutError:
            logger.error("worker_killed", pid=process.pid)
            process.kill()
        await worker.gone

    async def _keep(self, place: int) -> None:
        """Put another worker in `place` whenever the one there dies."""
        loop = asyncio.get_running_loop()
        settings = self._process
        pause_s = 0.0
        while True:
            worker = self._workers[place]
            since = loop.time()
            await self._watch(worker.process)
            status = await asyncio.shield(worker.gone)
            async with self._changes[place]:
                if self._workers[place] is not worker:
                    continue  # it was replaced
                logger.error("worker_died", pid=worker.process.pid, status=status)
                if loop.time() - since > settings.worker_retry_limit_s:
                    pause_s = 0.0
                while self._workers[place] is worker:
                    await asyncio.sleep(pause_s)
                    pause_s = max(settings.worker_retry_s, 2 * pause_s)
                    pause_s = min(pause_s, settings.worker_retry_limit_s)
                    try:
                        await self._fill(place, restart=True)
                    except StartRefused as error:
                        self._close(place)
                        logger.error("worker_not_started", error=str(error))

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Return once `process` has closed its output; kill it if it is stuck.

        Counts waits, not seconds: a pause of this process counts as one wait at most. Counts only
        after a second report, since workers of an older version report once.
        """
        assert process.stdout is not None
        heard, silent = False, 0
        while silent < BEATS:
            try:
                async with asyncio.timeout(self._process.worker_silence_s / BEATS):
                    if not await process.stdout.read(READ_BYTES):
                        return
                heard, silent = True, 0
            except TimeoutError:
                silent += heard
        logger.error("worker_stuck", pid=process.pid)
        process.kill()

    async def _fill(self, place: int, *, restart: bool = False) -> None:
        """Let a new worker have `place`. Raises StartRefused."""
        self._open(place)
        self._workers[place] = await self._start(place, restart=restart)

    def _close(self, place: int) -> None:
        """Close the sockets of `place`, so that new connections go to places with a worker."""
        if place not in self._closed:
            self._closed[place] = listeners.addresses_of(self._places[place])
            listeners.close(self._places[place])

    def _open(self, place: int) -> None:
        """Bind the sockets of `place` again, if they were closed. Raises StartRefused."""
        if place in self._closed:
            try:
                self._places[place] = listeners.bind_again(self._closed[place])
            except OSError as error:
                raise StartRefused(f"Can't listen again: {error}.") from error
            del self._closed[place]

    async def _replace_all(self) -> None:
        """Replace the workers one by one; keep the remaining ones if a new one does not start."""
        for place, changing in enumerate(self._changes):
            async with changing:
                old = self._workers[place]
                try:
                    await self._fill(place)
                except StartRefused as error:
                    logger.error("workers_kept", error=str(error))
                    return
            await self._end(old)
        logger.info("workers_replaced", pids=[worker.process.pid for worker in self._workers])
