"""The rail: the places of the console, and what waits in them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import asyncpg
from aiohttp import web

from rowlock.console import reads
from rowlock.engine.database import Connection, Database
from rowlock.errors import Unavailable
from rowlock.pages.declaring import Pages, page
from rowlock.pages.frames import Frame

WAIT_S = 1.0  # for the counts of a database


class Place(NamedTuple):
    """A place in the rail."""

    name: str  # as its pages call it; also that of its count
    path: str
    title: str
    key: str  # after g, leads there
    is_trouble: bool = False  # what is counted there needs attention


GROUPS: Sequence[Sequence[Place]] = (
    (
        Place("overview", "/", "Overview", "h"),
        Place("orders", "/orders", "Orders", "o"),
        Place("users", "/users", "Users", "u"),
        Place("invoices", "/invoices", "Invoices", "i"),
        Place("bookings", "/bookings", "Bookings", "b"),
        Place("deployments", "/deployments", "Deployments", "d"),
    ),
    (
        Place("events", "/events", "Events", "e"),
        Place("dead_letters", "/dead-letters", "Dead letters", "l", is_trouble=True),
        Place("deliveries", "/deliveries", "Deliveries", "y", is_trouble=True),
    ),
    (
        Place("statements", "/statements", "Statements", "s"),
        Place("health", "/health", "Health", "t"),
    ),
)


class Rail:
    """What stands beside every page of the console."""

    def __init__(self, main: Database, log: Database, every_s: float) -> None:
        """Count at most once in `every_s`, however many consoles are open."""
        self._main = main
        self._log = log
        self._every_s = every_s
        self._next = 0.0  # by the loop's clock
        self._counts: Mapping[str, int] = {}

    async def renew(self) -> None:
        """Count again, if the counts are too old. What can't be counted has no count."""
        now = asyncio.get_running_loop().time()
        if now < self._next:
            return
        self._next = now + self._every_s  # before the answer is there: others show what is known
        waiting, failing = await asyncio.gather(
            _count(self._main, reads.count_waiting), _count(self._log, reads.count_failing)
        )
        self._counts = {**waiting, **failing}

    def values(self) -> Mapping[str, Any]:
        """Return what the templates need to show it."""
        return {"places": GROUPS, "counts": self._counts, "counted": reads.COUNTED}


async def _count(
    database: Database, count: Callable[[Connection], Awaitable[Mapping[str, int]]]
) -> Mapping[str, int]:
    """Return the counts of a database; none if it does not tell them soon: a page waits."""
    try:
        async with asyncio.timeout(WAIT_S):
            return await database.read(count)
    except (TimeoutError, Unavailable, asyncpg.PostgresError):
        return {}


class RailPages(Pages):
    """The rail alone, as it renews itself."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    @page("GET", "/rail")
    async def show_rail(self, request: web.Request) -> web.StreamResponse:
        """Show the rail alone."""
        place = request.rel_url.query.get("place", "")
        return await self._frame.show(request, "console/rail.html", place=place)
