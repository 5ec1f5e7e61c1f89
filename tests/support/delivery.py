"""Events on their way: written to the outbox, taken by an intake with a will of its own."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from rowlock.engine import outbox
from rowlock.engine.outbox import Event
from rowlock.engine.statements import queries
from rowlock.origin import Origin
from tests.support.polling import until
from tests.support.types import Connection

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TEN = [f"x:{number}" for number in range(10)]


async def write(connection: Connection, *subjects: str) -> None:
    """Append an event to each subject, in a transaction of its own."""
    for subject in subjects:
        async with connection.transaction():
            origin = Origin(f"request of {subject}", "token", TRACEPARENT)
            event = Event("it.happened", subject, {"to": subject}, origin)
            await outbox.append(connection, [event])


async def delivered(connection: Connection) -> None:
    """Wait until there is nothing left to deliver."""

    async def nothing_left() -> bool:
        [row] = await queries.outbox.describe_backlog(connection)
        return row["backlog"] == 0

    await until(nothing_left)


async def dead(connection: Connection) -> dict[str, tuple[int, str]]:
    """What was answered to the events that were refused: status and text, by subject."""
    rows = await queries.outbox.list_dead(connection, page_size=100)
    return {row["subject"]: (row["status"], row["error"]) for row in rows}


@dataclass
class Intake:
    """An events service with a will of its own: a real server, over real HTTP."""

    script: list[object] = field(default_factory=list)  # what to do next, then behave
    poison: dict[str, tuple[int, bytes]] = field(default_factory=dict)  # by subject
    broken: dict[str, object] = field(default_factory=dict)  # by subject; what always happens
    most: int = 1000  # events of a delivery; more are too much for it
    token: str = "development-events-token"
    refuses_traces: bool = False  # as release 0.2.0
    url: str = ""
    requests: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def subjects(self) -> list[str]:
        return [event["subject"] for event in self.events]

    async def take(self, request: web.Request) -> web.Response:
        self.requests += 1
        if request.headers["Authorization"] != f"Bearer {self.token}":
            return web.Response(status=401)
        events = (await request.json())["events"]
        match self.script.pop(0) if self.script else self._mishap(events):
            case "hang":
                await asyncio.Event().wait()
            case "break":
                _hang_up(request)
                return web.Response()
            case "store, then break":
                self._store(events)
                _hang_up(request)
            case asyncio.Event() as awaited:
                await awaited.wait()
            case int(status):
                return web.Response(status=status, text="not now")
            case web.Response() as another_server_s:
                return another_server_s
        for event in events:
            if event["subject"] in self.poison:
                status, answer = self.poison[event["subject"]]
                return web.Response(status=status, body=answer)
        return web.json_response({"accepted": self._store(events), "duplicates": 0})

    def _mishap(self, events: list[dict[str, Any]]) -> object:
        if len(events) > self.most:
            return 503
        if self.refuses_traces and any("traceparent" in event for event in events):
            return web.json_response({"error": "invalid_request"}, status=400)
        subjects = (event["subject"] for event in events)
        return next((self.broken[each] for each in subjects if each in self.broken), None)

    def _store(self, events: list[dict[str, Any]]) -> int:
        assert all(event["request_id"] == f"request of {event['subject']}" for event in events)
        known = {event["event_id"] for event in self.events}
        self.events += [event for event in events if event["event_id"] not in known]
        return len(events)


def _hang_up(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.abort()
