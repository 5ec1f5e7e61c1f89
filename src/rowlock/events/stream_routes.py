"""HTTP: the live stream of events, as server-sent events."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import aiohttp_sse
import marshmallow
import orjson
import structlog
from aiohttp import web

from rowlock.engine.metrics import Meter, gauge
from rowlock.errors import InvalidRequest, Unavailable
from rowlock.events import Events
from rowlock.events.bodies import NAME, NAME_LENGTH, SUBJECT, show
from rowlock.events.rules import StoredEvent, Unknown, Wanted
from rowlock.events.stream import Reader, wait_for
from rowlock.http.access import until_refused
from rowlock.http.answers import EMPTY_HEAD
from rowlock.http.exchange import EXCHANGE
from rowlock.http.fields import QueryInteger, Text, parse_integer
from rowlock.http.openapi.shapes import EVENT_STREAM, AnswerShape, integer, text
from rowlock.http.request import read_query
from rowlock.http.request_ids import REQUEST_ID
from rowlock.http.routes import Routes, route
from rowlock.settings.features import EventSettings

RESET = "reset"  # the name of the message that tells a client to forget what it has seen

STREAMS = gauge("rowlock_event_streams", "Streams of events that are open.")

logger = structlog.get_logger(__name__)


class StreamQuery(marshmallow.Schema):
    """Which events to stream, and from where on."""

    name = Text(longest=NAME_LENGTH, load_default=None, metadata=NAME)
    subject = Text(longest=NAME_LENGTH, load_default=None, metadata=SUBJECT)
    after = QueryInteger(minimum=0, load_default=None)


STREAM_QUERY = StreamQuery()
STREAM = AnswerShape(
    text("id: 12\r\nevent: deployment.created\r\ndata: {...}\r\n\r\n"), media=EVENT_STREAM
)


class StreamRoutes(Routes):
    """The live stream."""

    tag = "events"

    def __init__(self, events: Events, meter: Meter, draining: asyncio.Event) -> None:
        self._events = events
        self._settings = events.settings
        self._streams = STREAMS.labels(meter.service)
        self._draining = draining

    @route(
        "GET",
        "/events/stream",
        {200: STREAM},
        query=STREAM_QUERY,
        headers={"Last-Event-ID": integer(12, minimum=0)},
        allow_head=False,  # what goes on for ever has no headers alone
    )
    async def stream_events(self, request: web.Request) -> web.StreamResponse:
        """Stream events as they are stored, as server-sent events.

        The stream starts after `Last-Event-ID`, or after `?after=`, or now. If the log does not
        have the client's position, an event `reset` says so, and after which id the stream goes on.
        While no event matches, a message with an id alone tells how far the stream is. A client
        that does not read is cut off once its buffer has been full for a while.
        """
        settings = self._settings
        query = read_query(request, STREAM_QUERY)
        given = _last_event_id(request)
        if given is None:
            given = query["after"]
        place = (await self._events.places.find_end()).id if given is None else given
        wanted = Wanted(query["name"], query["subject"])
        reader = Reader(self._events.stream, place, wanted)
        response = aiohttp_sse.EventSourceResponse(
            send_timeout=settings.stream_stall_s,
            ping_interval=settings.stream_heartbeat_s,
        )
        response.headers.update({**EMPTY_HEAD, REQUEST_ID: request[EXCHANGE].request_id})
        await response.prepare(request)
        if request.transport is not None:
            request.transport.set_write_buffer_limits(settings.stream_buffer_bytes)
        client = _Client(response, settings, told=given)
        draining = asyncio.create_task(self._draining.wait())
        gone = asyncio.create_task(response.wait())  # until a heartbeat can't be sent
        refused = asyncio.create_task(until_refused(request))
        endings = draining, gone, refused
        try:
            with self._streams.track_inprogress(), self._events.stream.listening():
                async with response:
                    while not any(ending.done() for ending in endings):
                        await self._send_next(client, reader, endings)
        except (ConnectionError, TimeoutError):
            pass  # the client is gone, or does not read
        except Exception as error:  # too late for a status
            logger.exception("stream_broken_off", error=repr(error))
            if request.transport is not None:
                request.transport.abort()
        finally:
            for ending in endings:
                ending.cancel()
        return response

    async def _send_next(
        self, client: "_Client", reader: Reader, endings: Sequence[asyncio.Task[Any]]
    ) -> None:
        """Send the next events or a reset, or wait for some."""
        more = self._events.stream.tail.changed
        before = reader.place
        try:
            events = await reader.read_on()
        except Unavailable:  # too late for a 503: it goes on, with heartbeats, once that is over
            await asyncio.wait(
                endings,
                timeout=self._settings.stream_poll_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            return
        if isinstance(events, Unknown):
            await client.reset(events)
            return
        for event in events:
            await client.show(event)
        due_s = client.due_s(reader.place)
        if due_s == 0:
            await client.tell(reader.place)
        elif reader.place == before:
            await wait_for(more, endings, due_s)


class _Client:
    """The other end of a stream, and what it knows of its place in the log."""

    def __init__(
        self, response: aiohttp_sse.EventSourceResponse, settings: EventSettings, told: int | None
    ) -> None:
        """Begin with a client that is `told` its place; None if it is not."""
        self._response = response
        self._settings = settings
        self._told = told
        self._told_at = 0.0  # by the loop's clock
        # Drawn, so that the clients of a process that ends do not all come back at once. The first
        # message has it.
        spread = random.uniform(0.5, 1.5)  # noqa: S311
        self._retry_ms: int | None = round(settings.stream_retry_s * spread * 1000)

    async def show(self, event: StoredEvent) -> None:
        """Send an event."""
        data = orjson.dumps(show(event), option=orjson.OPT_UTC_Z).decode()
        await self._send(data, event.id, event.name)

    async def reset(self, unknown: Unknown) -> None:
        """Send that the log does not have the client's place."""
        await self._send(orjson.dumps(unknown._asdict()).decode(), unknown.last_valid_id, RESET)

    async def _send(self, data: str, place: int, name: str) -> None:
        await self._response.send(data, id=str(place), event=name, retry=self._retry_ms)
        self._note(place)

    def due_s(self, place: int) -> float | None:
        """Return in how many seconds the client is to be told that it is at `place`.

        None if it knows.
        """
        if place == self._told:
            return None
        now = asyncio.get_running_loop().time()
        return max(0.0, self._told_at + self._settings.stream_place_s - now)

    async def tell(self, place: int) -> None:
        """Send an id without an event: a client that comes back goes on from there."""
        lines = [f"id: {place}"]
        if self._retry_ms is not None:
            lines.append(f"retry: {self._retry_ms}")
        message = "".join(f"{line}\r\n" for line in [*lines, ""])
        async with asyncio.timeout(self._settings.stream_stall_s):
            await self._response.write(message.encode())
        self._note(place)

    def _note(self, place: int) -> None:
        self._told = place
        self._told_at = asyncio.get_running_loop().time()
        self._retry_ms = None


def _last_event_id(request: web.Request) -> int | None:
    given = request.headers.get("Last-Event-ID")
    if not given:
        return None
    number = parse_integer(given, minimum=0)
    if number is None:
        raise InvalidRequest("The header Last-Event-ID must be the id of an event.")
    return number
