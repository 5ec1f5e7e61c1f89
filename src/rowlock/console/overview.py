"""The overview: whether all is well, and what goes on, live.

However many overviews are open, each sample is taken once, and each live part rendered once.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from math import inf
from typing import Any

import asyncpg
import marshmallow
import orjson
from aiohttp import web
from marshmallow import fields

from rowlock.console import Features, reads
from rowlock.console.samples import Point, columns
from rowlock.console.sampling import Sampler
from rowlock.console.standing import OLD_EVENT_S, OLD_ORDER_S, Standing, read_dispatch, read_waiting
from rowlock.engine.tasks import Task
from rowlock.errors import Unavailable
from rowlock.events.rules import BEYOND_ALL, StoredEvent, Wanted
from rowlock.pages.declaring import Pages, page
from rowlock.pages.forms import load
from rowlock.pages.frames import Frame, base_of
from rowlock.pages.live import Message, send_live
from rowlock.settings import Settings

TEMPLATE = "console/overview.html"
EVENTS = 20
EVENTS_S = 0.5  # least time between two readings of the last events
RESTING = 6  # so many times as long are the pauses between samples while no overview is open
SPANS: Mapping[str, int] = {"15 min": 900, "1 h": 3600}  # how far charts go back
MOST_MS = 253_402_300_799_000  # the end of the year 9999


class LiveQuery(marshmallow.Schema):
    """Up to which time the client has points, in milliseconds since 1970."""

    after = fields.Integer(
        strict=False, load_default=0, validate=marshmallow.validate.Range(0, MOST_MS)
    )


class SpanQuery(marshmallow.Schema):
    """How far the charts go back."""

    last = fields.String(load_default="15 min", validate=marshmallow.validate.OneOf([*SPANS]))


LIVE_QUERY, SPAN_QUERY = LiveQuery(), SpanQuery()


class Board:
    """What all open overviews show. It is kept up to date by two tasks."""

    def __init__(self, features: Features, settings: Settings, sampler: Sampler) -> None:
        self.draining = features.draining
        self.sampler = sampler
        self.events: Sequence[StoredEvent] | None = ()  # the last ones; None: they can't be read
        self.standing: Standing | None = None
        self._features = features
        self._every_s = settings.console.console_sample_s
        self._watchers = 0
        self._watched = asyncio.Event()  # set while there are watchers
        self._looking = asyncio.Lock()
        self._looked = self._sampled = -inf  # by the loop's clock
        self._changed = asyncio.Event()
        self.tasks = (Task("overview", self._keep), Task("overview_events", self._follow_events))

    async def look(self) -> Standing:
        """Return how things stand, as of now or the last look."""
        async with self._looking:
            if self.standing is None or self._is_due(self._looked):
                await self._sample()
                self.standing = await self._look()
                self._looked = asyncio.get_running_loop().time()
                self._announce()
            return self.standing

    async def _sample(self) -> None:
        if self._is_due(self._sampled):
            await self.sampler.take()
            self._sampled = asyncio.get_running_loop().time()

    def _is_due(self, last: float) -> bool:
        return asyncio.get_running_loop().time() >= last + self._every_s

    async def _look(self) -> Standing:
        sampler = self.sampler
        waiting, dispatch, checks = await asyncio.gather(
            read_waiting(self._features.main), read_dispatch(self._features.log), sampler.ask()
        )
        return Standing(
            datetime.now(UTC),
            waiting,
            dispatch,
            sampler.recent,
            checks,
            sampler.targets,
            sampler.services,
        )

    async def _keep(self) -> None:
        """Sample for the charts; ask how things stand only while there are watchers."""
        while True:
            if self._watchers:
                await self.look()
                pause_s = self._every_s
            else:
                async with self._looking:
                    await self._sample()
                pause_s = self._every_s * RESTING
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._watched.wait()
                    await asyncio.sleep(self._every_s)

    async def read_events(self) -> Sequence[StoredEvent] | None:
        """Return the last events, newest first; None if they can't be read."""
        try:
            return await self._features.events.list_newest(
                Wanted(), before=BEYOND_ALL, page_size=EVENTS
            )
        except (Unavailable, asyncpg.PostgresError):
            return None

    async def _follow_events(self) -> None:
        """Read the last events as new ones are stored, while there are watchers."""
        stream = self._features.events.stream
        while True:
            await self._watched.wait()
            with stream.listening():
                while self._watchers:
                    more = stream.tail.changed
                    events = await self.read_events()
                    if events != self.events:
                        self.events = events
                        self._announce()
                    try:
                        async with asyncio.timeout(self._every_s):
                            await more.wait()
                    except TimeoutError:
                        continue
                    await asyncio.sleep(EVENTS_S)

    async def changes(self) -> AsyncIterator[None]:
        """Yield at once, and then whenever something has changed."""
        self._watchers += 1
        self._watched.set()
        try:
            while True:
                changed = self._changed
                yield
                await changed.wait()
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._watched.clear()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Shared:
    """What has been made of something, for all who need the same, until that is replaced."""

    def __init__(self) -> None:
        self._of: Any = self
        self._made: dict[Any, str] = {}

    def find(self, of: Any, key: Any) -> str | None:
        """Return what was made of `of` for `key`, if it was."""
        if of is not self._of:
            self._of, self._made = of, {}
        return self._made.get(key)

    def keep(self, key: Any, made: str) -> str:
        """Keep what was made for a key."""
        self._made[key] = made
        return made


class OverviewPages(Pages):
    """The overview, which is the front page."""

    def __init__(self, frame: Frame, board: Board, settings: Settings) -> None:
        self._frame = frame
        self._board = board
        self._settings = settings
        self._shared = {name: Shared() for name in ("state", "lanes", "events", "points")}

    async def show_overview(self, request: web.Request) -> web.StreamResponse:
        """Show whether all is well."""
        given, errors = load(SPAN_QUERY, request.rel_url.query)
        span = given.get("last", "15 min")
        standing, events = await asyncio.gather(self._board.look(), self._board.read_events())
        return await self._frame.show(
            request,
            TEMPLATE,
            status=400 if errors else 200,
            place="overview",
            problem=next(iter(errors.values()), None),
            span=span,
            spans=SPANS,
            since_ms=int((standing.at.timestamp() - SPANS[span]) * 1000),
            **_show_state(standing, self._board.sampler),
            events=events,
        )

    @page("GET", "/overview/live")
    async def follow(self, request: web.Request) -> web.StreamResponse:
        """Follow the overview: its parts as they change, and the points of its charts."""
        given, _ = load(LIVE_QUERY, request.rel_url.query)
        last = request.headers.get("Last-Event-ID", "")
        after = int(last) if last.isascii() and last.isdigit() else given.get("after", 0)
        return await send_live(
            request,
            self._messages(request, min(after, MOST_MS)),
            self._board.draining,
            self._settings.events,
        )

    async def _messages(self, request: web.Request, after: int) -> AsyncIterator[Message]:
        """Yield the points after a time, and then all that changes."""
        board, base = self._board, base_of(request)
        shown: Any = None
        told: Any = None
        async for _ in board.changes():
            standing, events = board.standing, board.events
            if standing is not None and standing is not shown:
                shown = standing
                points = board.sampler.after(after / 1000)
                if points:
                    yield self._points(points, after)
                    after = _milli(points[-1])
                for name in ("state", "lanes"):
                    values = _show_state(standing, board.sampler)
                    html = self._part(request, name, base, standing, values)
                    yield Message(after, html, "part")
            if events is not told:
                told = events
                html = self._part(request, "events", base, events, {"events": events})
                yield Message(after, html, "part")

    def _points(self, points: Sequence[Point], after: int) -> Message:
        shared = self._shared["points"]
        made = shared.find(points[-1], after) or shared.keep(
            after, orjson.dumps(columns(points)).decode()
        )
        return Message(_milli(points[-1]), made, "points")

    def _part(
        self, request: web.Request, name: str, base: str, of: Any, values: Mapping[str, Any]
    ) -> str:
        shared = self._shared[name]
        return shared.find(of, base) or shared.keep(
            base, self._frame.part(request, TEMPLATE, name, **values)
        )


def _milli(point: Point) -> int:
    return int(point.at * 1000) + 1  # so that the point itself is not after it


def _show_state(standing: Standing, sampler: Sampler) -> Mapping[str, Any]:
    """Return what the live part `state` needs."""
    busy = sorted({name for point in sampler.points for name in point.lanes})
    return {
        "standing": standing,
        "counted": reads.COUNTED,
        "old_event_s": OLD_EVENT_S,
        "old_order_s": OLD_ORDER_S,
        "troubles": standing.troubles,
        "lanes": [(name, standing.point and standing.point.lanes.get(name)) for name in busy],
    }
