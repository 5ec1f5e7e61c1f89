"""Background tasks: a supervisor restarts those that fail."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

import structlog

from rowlock.engine.metrics import Meter, gauge
from rowlock.engine.outage import Outage
from rowlock.errors import RowlockError, Unavailable
from rowlock.settings.groups import TaskSettings

FAILING = gauge("rowlock_tasks_failing", "Processes in which the background task fails.", "task")

logger = structlog.get_logger(__name__)


class Task(NamedTuple):
    """A coroutine function that runs in the background until it is cancelled."""

    name: str
    run: Callable[[], Awaitable[None]]


class Supervisor:
    """Runs tasks from `start` to `stop`; a task that fails starts again after a pause.

    The pause doubles with each failure in a row. `problems()` names the tasks that fail now; the
    log says why. While the database is away, which `outage` tells, tasks that fail for it wait
    until it is back, and the log has no line for each.
    """

    def __init__(
        self, tasks: Iterable[Task], settings: TaskSettings, meter: Meter, outage: Outage
    ) -> None:
        self._tasks = tuple(tasks)
        self._outage = outage
        self._settings = settings
        self._problems: dict[str, str] = {}
        self._failing = {
            task.name: FAILING.labels(meter.service, task.name) for task in self._tasks
        }
        self._stalled: dict[str, asyncio.Event] = {}  # pausing, as the database can't do their work
        self._running: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start every task."""
        self._running = [
            asyncio.create_task(self._keep_running(task), name=task.name) for task in self._tasks
        ]

    async def stop(self) -> None:
        """Cancel every task; return once all have ended."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def problems(self) -> Mapping[str, str]:
        """Return the problem of each task that fails now, by the name of the task."""
        return self._problems

    @property
    def is_stalled(self) -> bool:
        """Whether a task pauses because the database answers, but could not do its work."""
        return bool(self._stalled)

    def hurry(self) -> None:
        """Start the tasks again at once that pause because the database could not do their work."""
        for hurried in self._stalled.values():
            hurried.set()

    def _note(self, task: Task, problem: str | None) -> None:
        if problem is None:
            self._problems.pop(task.name, None)
        else:
            self._problems[task.name] = problem
        self._failing[task.name].set(problem is not None)

    async def _keep_running(self, task: Task) -> None:
        structlog.contextvars.bind_contextvars(task=task.name)
        loop = asyncio.get_running_loop()
        settings = self._settings
        pause_s = settings.task_retry_s
        while True:
            started, stalled = loop.time(), False
            healthy = loop.call_later(settings.task_healthy_s, self._note, task, None)
            try:
                await task.run()
                problem = "the task has ended"
            except Exception as error:
                # /readyz shows this to anyone; other errors may quote data.
                problem = str(error) if isinstance(error, RowlockError) else type(error).__name__
                stalled = isinstance(error, Unavailable)
                described = f"{type(error).__name__}: {error}"
                # It may have lost its connection; whether the database is away will show.
                is_first = stalled and pause_s == settings.task_retry_s
                if not (is_first or (stalled and self._outage.is_suspected)):
                    logger.warning("task_failed", error=described, exc_info=not str(error))
            finally:
                healthy.cancel()
            self._note(task, problem)
            if stalled and self._outage.is_suspected:
                await self._outage.wait()
                pause_s = settings.task_retry_s
                continue
            if loop.time() - started > settings.task_retry_limit_s:
                pause_s = settings.task_retry_s
            hurried = asyncio.Event()
            if stalled:
                self._stalled[task.name] = hurried
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s * random.uniform(0.5, 1)):  # noqa: S311
                    await hurried.wait()
            self._stalled.pop(task.name, None)
            pause_s = min(pause_s * 2, settings.task_retry_limit_s)
