"""HTTP ↔ command: events."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import aiohttp_sse
import marshmallow
import orjson
import structlog
from aiohttp import web
from marshmallow import fields, validate

from rowlock.engine.metrics import Meter, gauge
from rowlock.errors import (
    EpochOutdated,
    EventIdConflict,
    EventNotFound,
    EventRefused,
    InvalidRequest,
    PartitionBeingMade,
    ScopeMissing,
    Unavailable,
)
from rowlock.events import Events
from rowlock.events.bodies import NAME_LENGTH, BatchSchema, EventSchema
from rowlock.events.rules import (
    Delivered,
    Delivery,
    NewEvent,
    Sender,
    StoredEvent,
    latest_time,
    retention_start,
)
from rowlock.http.access import until_refused
from rowlock.http.answers import EMPTY_HEAD, reply
from rowlock.http.errors import respond
from rowlock.http.exchange import EXCHANGE
from rowlock.http.fields import QueryInteger, Text, parse_integer
from rowlock.http.openapi.shapes import (
    BIGINT_MAX,
    EVENT_STREAM,
    AnswerShape,
    array,
    created,
    instant,
    integer,
    nullable,
    record,
    text,
)
from rowlock.http.paging import PageQuery, link_next, paginate
from rowlock.http.request import read_body, read_query
from rowlock.http.request_ids import REQUEST_ID
from rowlock.http.routes import Routes, route
from rowlock.http.senders import EPOCH, SOURCE, read_sender
from rowlock.http.strict_json import invalid_request
from rowlock.http.submit import find, find_by_path

NAME = {"examples": ["deployment.created"]}
SUBJECT = {"examples": ["project:3"]}

STREAMS = gauge("rowlock_event_streams", "Streams of events that are open.")

logger = structlog.get_logger(__name__)


class EventsQuery(PageQuery):
    """The filters of the list, and which way it goes."""

    name = Text(longest=NAME_LENGTH, load_default=None, metadata=NAME)
    subject = Text(longest=NAME_LENGTH, load_default=None, metadata=SUBJECT)
    order = fields.String(validate=validate.OneOf(("oldest", "newest")), load_default="oldest")
    after = QueryInteger(minimum=0, load_default=None)

    @marshmallow.validates_schema
    def _one_way(self, data: dict[str, Any], **_: Any) -> None:
        if data["order"] == "newest" and data["after"] is not None:
            raise marshmallow.ValidationError("goes with order=oldest; use cursor.", "after")
        if data["order"] == "oldest" and data["before"] != BIGINT_MAX:
            raise marshmallow.ValidationError("goes with order=newest; use after.", "cursor")


class StreamQuery(marshmallow.Schema):
    """Which events to stream, and from where on."""

    name = Text(longest=NAME_LENGTH, load_default=None, metadata=NAME)
    subject = Text(longest=NAME_LENGTH, load_default=None, metadata=SUBJECT)
    after = QueryInteger(minimum=0, load_default=None)


EVENT = EventSchema()
BATCH = BatchSchema()
EVENTS_QUERY = EventsQuery()
STREAM_QUERY = StreamQuery()

EXAMPLE = {
    "event_id": "6f1c2a34-5b0e-4c8e-9a53-2d9f0e6b7c18",
    "name": "deployment.created",
    "subject": "project:3",
    "payload": {"deployment_id": 6},
    "request_id": "3f1c9a0b7d2e4f68",
    "actor": "token",
}
STORED = record(
    "Event",
    id=integer(12),
    event_id=text("6f1c2a34-5b0e-4c8e-9a53-2d9f0e6b7c18", format="uuid"),
    name=text("deployment.created"),
    subject=nullable(text("project:3")),
    payload={"type": "object", "examples": [{"deployment_id": 6}]},
    request_id=text("3f1c9a0b7d2e4f68"),
    actor=text("token"),
    created_at=instant(),
    optional=("request_id", "actor"),
)
COUNTS = record(
    "Counts",
    accepted=integer(1, minimum=0),
    duplicates=integer(0, minimum=0),
    conflicts=array(text("6f1c2a34-5b0e-4c8e-9a53-2d9f0e6b7c18", format="uuid")),
    optional=("conflicts",),
)
SENDER = {
    SOURCE: text("0b6a6a0e-7d9f-4a55-8f0e-2f6f9a1c3b57", format="uuid"),
    EPOCH: integer(7),
}
STREAM = AnswerShape(
    text("id: 12\r\nevent: deployment.created\r\ndata: {...}\r\n\r\n"), media=EVENT_STREAM
)


class EventRoutes(Routes):
    """The log of events: intake, lists and the live stream."""

    tag = "events"

    def __init__(
        self, events: Events, meter: Meter, draining: asyncio.Event, *, log_each: bool
    ) -> None:
        self._events = events
        self._settings = events.settings
        self._streams = STREAMS.labels(meter.service)
        self._draining = draining
        self._log_each = log_each

    @route(
        "POST",
        "/events",
        {200: STORED, 201: created(STORED, at="/events/12")},
        EventIdConflict,
        EventRefused,
        PartitionBeingMade,
        body=EVENT,
        example=EXAMPLE,
    )
    async def store_event(self, request: web.Request) -> web.Response:
        """Store an event: 201, or 200 if it is sent again.

        A known `event_id` with another content is refused. Its `actor` is the caller by default.
        """
        event: NewEvent = await read_body(request, EVENT)
        if event.actor is None:
            event = event._replace(actor=request[EXCHANGE].actor)
        self._check_times((event,), "created_at")
        delivered = await self._events.store_one.submit(Delivery((event,)))
        assert isinstance(delivered, Delivered)  # it names no epoch
        self._note(request, (event,))
        if delivered.conflicts:
            raise EventIdConflict(event_id=str(event.event_id))
        event_id = delivered.ids[event.event_id]
        if not delivered.counts.accepted:
            return reply(_show(await find(self._events.find, event_id, EventNotFound)))
        stored = event.at(event_id)
        return reply(_show(stored), status=201, headers={"Location": f"/events/{event_id}"})

    @route(
        "POST",
        "/events/batch",
        {200: COUNTS},
        EpochOutdated,
        EventRefused,
        PartitionBeingMade,
        body=BATCH,
        example={"events": [EXAMPLE]},
        headers=SENDER,
    )
    async def store_batch(self, request: web.Request) -> web.Response:
        """Store up to 1,000 events in one transaction.

        `duplicates` counts the events that are stored already; `conflicts`, if any, are the ids of
        those stored with other content. The `actor` of an event from an API key is that key by
        default. A relay names its log in `Rowlock-Source`, and the epoch of its lease in
        `Rowlock-Epoch`. An epoch older than the latest is refused.
        """
        named = read_sender(request)
        exchange = request[EXCHANGE]
        if named is not None and exchange.key is not None:
            raise ScopeMissing("An API key can't send as a relay: leave out Rowlock-Source.")
        events: list[NewEvent] = (await read_body(request, BATCH))["events"]
        if exchange.key is not None:  # a relay of 0.1.0, which has the token, knows no actors
            events = [event._replace(actor=event.actor or exchange.actor) for event in events]
        self._check_times(events, "events.{}.created_at")
        delivered = await self._events.store_many.submit(
            Delivery(events, Sender(*named) if named is not None else None)
        )
        if isinstance(delivered, EpochOutdated):
            return respond(delivered, request)
        self._note(request, events)
        # Conflicts count as duplicates: a relay of release 0.1.0 waits until all are counted.
        conflicts = {"conflicts": list(map(str, delivered.conflicts))}
        return reply(delivered.counts._asdict() | (conflicts if delivered.conflicts else {}))

    def _check_times(self, events: Iterable[NewEvent], path: str) -> None:
        """Raise InvalidRequest if some of `events` are past the retention, or too far ahead.

        Those past it would be purged at once, with their keys. Those far ahead would stay for ever.
        """
        now = datetime.now(UTC)
        start = retention_start(now, self._settings.events_retention_months)
        end = latest_time(now, self._settings.events_ahead_s)
        wrong = {}
        for at, event in enumerate(events):
            if event.created_at < start:
                problem = f"Must not be before {start.isoformat()}: older events are not kept."
            elif event.created_at > end:
                problem = f"Must not be after {end.isoformat()}: that is too far ahead."
            else:
                continue
            wrong[path.format(at)] = [problem]
        if wrong:
            raise invalid_request(wrong.items())

    def _note(self, request: web.Request, events: Iterable[NewEvent]) -> None:
        """Log, for each event, the request that caused it and the delivery that brought it."""
        if self._log_each:
            for event in events:
                logger.debug(
                    "event_received",
                    event_id=str(event.event_id),
                    name=event.name,
                    request_id=event.request_id,
                    delivery_id=request[EXCHANGE].request_id,
                )

    @route("GET", "/events", {200: array(STORED)}, query=EVENTS_QUERY)
    async def list_events(self, request: web.Request) -> web.Response:
        """List events, oldest first after an id, or newest first."""
        query = read_query(request, EVENTS_QUERY)
        limit, name, subject = query["limit"], query["name"], query["subject"]
        if query["order"] == "newest":
            events = await self._events.list_newest(
                name=name, subject=subject, before=query["before"], page_size=limit + 1
            )
        else:
            events = await self._events.list_oldest(
                name=name, subject=subject, after=query["after"] or 0, page_size=limit + 1
            )
        page, headers = paginate(request, events, limit, lambda event: str(event.id))
        if headers and query["order"] == "oldest":
            headers = link_next(request, after=page[-1].id)
        return reply([_show(event) for event in page], headers=headers)

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

        The stream starts after `Last-Event-ID`, or after `?after=`, or now. A client that does not
        read is cut off once its buffer has been full for a while.
        """
        settings = self._settings
        query = read_query(request, STREAM_QUERY)
        last_id = _last_event_id(request)
        if last_id is None:
            last_id = query["after"]
        if last_id is None:
            last_id = await self._events.stream.find_last_id()
        response = aiohttp_sse.EventSourceResponse(
            send_timeout=settings.stream_stall_s,
            ping_interval=settings.stream_heartbeat_s,
        )
        response.headers.update({**EMPTY_HEAD, REQUEST_ID: request[EXCHANGE].request_id})
        await response.prepare(request)
        if request.transport is not None:
            request.transport.set_write_buffer_limits(settings.stream_buffer_bytes)
        draining = asyncio.create_task(self._draining.wait())
        gone = asyncio.create_task(response.wait())  # until a heartbeat can't be sent
        refused = asyncio.create_task(until_refused(request))
        endings = draining, gone, refused
        try:
            with self._streams.track_inprogress(), self._events.stream.listening():
                async with response:
                    while not any(ending.done() for ending in endings):
                        last_id = await self._send_next(response, query, last_id, endings)
        except (ConnectionError, TimeoutError):
            pass  # the client is gone, or does not read
        except Unavailable as error:
            # It is too late for a 503; the client comes back with its Last-Event-ID.
            logger.warning("stream_ended", error=repr(error))
        except Exception as error:  # too late for a status
            logger.exception("stream_broken_off", error=repr(error))
            if request.transport is not None:
                request.transport.abort()
        finally:
            for ending in endings:
                ending.cancel()
        return response

    async def _send_next(
        self,
        response: aiohttp_sse.EventSourceResponse,
        query: dict[str, Any],
        last_id: int,
        endings: Sequence[asyncio.Task[Any]],
    ) -> int:
        """Send the events after `last_id`, or wait for some; return the last id that was seen."""
        more = self._events.stream.tail.changed
        events = await self._events.stream.read_after(last_id)
        if not events:
            changed = asyncio.create_task(more.wait())
            try:
                await asyncio.wait((changed, *endings), return_when=asyncio.FIRST_COMPLETED)
            finally:
                changed.cancel()
            return last_id
        name, subject = query["name"], query["subject"]
        for event in events:
            if name in {None, event.name} and subject in {None, event.subject}:
                data = orjson.dumps(_show(event), option=orjson.OPT_UTC_Z).decode()
                await response.send(data, id=str(event.id), event=event.name)
        return events[-1].id

    # Not batch and stream, which have routes of their own: GET /events/batch answers 405.
    @route("GET", "/events/{id:(?!(?:batch|stream)$)[^/]+}", {200: STORED}, EventNotFound)
    async def get_event(self, request: web.Request) -> web.Response:
        """Get an event."""
        return reply(_show(await find_by_path(request, self._events.find, EventNotFound)))


def _show(event: StoredEvent) -> dict[str, Any]:
    shown = {
        "id": event.id,
        "event_id": str(event.event_id),
        "name": event.name,
        "subject": event.subject,
        "payload": orjson.Fragment(event.payload),
        "created_at": event.created_at,
    }
    if event.request_id is not None:
        shown["request_id"] = event.request_id
    if event.actor is not None:
        shown["actor"] = event.actor
    return shown


def _last_event_id(request: web.Request) -> int | None:
    given = request.headers.get("Last-Event-ID")
    if not given:
        return None
    number = parse_integer(given, minimum=0)
    if number is None:
        raise InvalidRequest("The header Last-Event-ID must be the id of an event.")
    return number
