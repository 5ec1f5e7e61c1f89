"""Requests to other services."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp


class Outbound:
    """The client session of one service, made when it is first used."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._running: dict[str, asyncio.Task[None]] = {}

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session. It keeps no cookies."""
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    def later(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do `work` beside the caller, unless what has that name is still running."""
        if name not in self._running:
            task = self._running[name] = asyncio.create_task(work())
            task.add_done_callback(lambda _: self._running.pop(name))

    async def close(self) -> None:
        """End what is running, and close the session, if there is one."""
        for task in list(self._running.values()):
            task.cancel()
            await asyncio.wait([task])
        if self._session is not None:
            await self._session.close()
