"""Keeping background tasks alive."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from rowlock.exceptions import RowlockError
from rowlock.settings import Settings

logger = structlog.get_logger("rowlock.tasks")


class Wake:
    """Lets a task sleep until there may be something to do."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Wake the task, or keep it from falling asleep once."""
        self._event.set()

    async def wait(self, timeout_s: float) -> None:
        """Return once woken, or after `timeout_s` at the latest."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()


class Supervisor:
    """Runs tasks from `start` to `stop`; one that fails starts again, after a pause.

    A task that keeps failing waits longer each time. `problems()` tells what is failing now; the
    log, why.
    """

    def __init__(
        self, tasks: Mapping[str, Callable[[Any, Wake], Awaitable[None]]], settings: Settings
    ) -> None:
        self._tasks = tasks
        self._settings = settings
        self._wakes = {name: Wake() for name in tasks}
        self._problems: dict[str, str] = {}
        self._running: list[asyncio.Task[None]] = []

    def start(self, app: Any) -> None:
        """Start every task with `app` and its wake."""
        self._running = [
            asyncio.create_task(self._keep_running(name, run, app), name=name)
            for name, run in self._tasks.items()
        ]

    async def stop(self) -> None:
        """Cancel every task, and return once they are gone."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def wake(self, name: str) -> None:
        """Tell the task `name`, if it runs here, that there is something to do."""
        if name in self._wakes:
            self._wakes[name].set()

    def problems(self) -> Mapping[str, str]:
        """Return what is wrong with each task that is failing, by name."""
        return self._problems

    async def _keep_running(
        self, name: str, run: Callable[[Any, Wake], Awaitable[None]], app: Any
    ) -> None:
        structlog.contextvars.bind_contextvars(task=name)
        loop = asyncio.get_running_loop()
        pause_s = self._settings.task_retry_s
        while True:
            started = loop.time()
            healthy = loop.call_later(self._settings.task_healthy_s, self._problems.pop, name, None)
            try:
                await run(app, self._wakes[name])
                problem = "it has ended"
            except Exception as error:
                # Anybody may see it, and of other errors, who knows what they quote.
                problem = str(error) if isinstance(error, RowlockError) else type(error).__name__
                described = f"{type(error).__name__}: {error}"
                logger.warning("task_failed", error=described, exc_info=not str(error))
            finally:
                healthy.cancel()
            self._problems[name] = problem
            if loop.time() - started > self._settings.task_retry_limit_s:
                pause_s = self._settings.task_retry_s
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311
            pause_s = min(pause_s * 2, self._settings.task_retry_limit_s)
