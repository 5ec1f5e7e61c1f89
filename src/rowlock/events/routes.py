"""HTTP ↔ command: events."""

import asyncio
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import aiohttp_sse
import marshmallow
import orjson
import structlog
from aiohttp import web
from marshmallow import fields, validate

from rowlock.batching import Lane, group_commit, group_read
from rowlock.database import Connection, Database
from rowlock.events.commands import store_events
from rowlock.events.feed import FEED, Feed
from rowlock.events.rules import Delivered, NewEvent, retention_start
from rowlock.exceptions import EventNotFound, InvalidRequest, Unavailable
from rowlock.queries import queries
from rowlock.settings import Settings
from rowlock.web.bodies import (
    BIGINT_MAX,
    Array,
    Instant,
    JsonObject,
    QueryInteger,
    Text,
    invalid_request,
    parse_integer,
    path_id,
    read_body,
    read_query,
)
from rowlock.web.boundary import REQUEST_ID, REQUEST_ID_KEY, REQUEST_ID_LENGTH
from rowlock.web.docs import (
    Answer,
    array,
    created,
    describe,
    instant,
    integer,
    nullable,
    record,
    text,
)
from rowlock.web.metrics import EVENT_STREAMS, METRICS
from rowlock.web.pages import PageQuery, cut, link_next
from rowlock.web.replies import reply
from rowlock.web.service import DATABASE, DRAINING, SETTINGS, TASKS, State

ROUTES = web.RouteTableDef()

FIND_EVENT: web.AppKey[Lane[int, Any]] = web.AppKey("events.find_event")
STORE_ONE: web.AppKey[Lane[Sequence[NewEvent], Delivered]] = web.AppKey("events.store_one")
STORE_MANY: web.AppKey[Lane[Sequence[NewEvent], Delivered]] = web.AppKey("events.store_many")

NAME_LENGTH = 200
BATCH_EVENTS = 1000
PAYLOAD_BYTES = 65_536

NAME = {"examples": ["deployment.created"]}
SUBJECT = {"examples": ["project:3"]}
CREATED_AT = {"description": "When it happened; not before the oldest month that is kept."}

logger = structlog.get_logger("rowlock.events")


def state(database: Database, settings: Settings) -> State:
    """Return what this feature keeps."""
    return {
        FIND_EVENT: group_read("find_event", database, _find_events, settings),
        STORE_ONE: group_commit("store_event", database, store_events, settings),
        STORE_MANY: group_commit(
            "store_events",
            database,
            store_events,
            replace(settings, batch_items=settings.events_batch_deliveries),
        ),
        FEED: Feed(settings.stream_held_events),
    }


async def _find_events(connection: Connection, ids: Sequence[int]) -> dict[int, Any]:
    rows = await queries.events.find_events(connection, ids=ids)
    return {row["id"]: row for row in rows}


class EventSchema(marshmallow.Schema):
    """`{"name": "deployment.created", "payload": {…}}`, and what the sender knows besides."""

    event_id = fields.UUID(load_default=uuid.uuid4)
    name = Text(longest=NAME_LENGTH, required=True)
    subject = Text(longest=NAME_LENGTH, load_default=None, allow_none=True)
    payload = JsonObject(longest=PAYLOAD_BYTES, required=True)
    request_id = Text(longest=REQUEST_ID_LENGTH, load_default=None, allow_none=True)
    created_at = Instant(load_default=partial(datetime.now, UTC), metadata=CREATED_AT)

    @marshmallow.post_load
    def _make(self, data: dict[str, Any], **_: Any) -> NewEvent:
        return NewEvent(**data)


class BatchSchema(marshmallow.Schema):
    """`{"events": […]}`."""

    events = Array(fields.Nested(EventSchema), shortest=0, longest=BATCH_EVENTS, required=True)


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
}
STORED = record(
    "Event",
    id=integer(12),
    event_id=text("6f1c2a34-5b0e-4c8e-9a53-2d9f0e6b7c18", format="uuid"),
    name=text("deployment.created"),
    subject=nullable(text("project:3")),
    payload={"type": "object", "examples": [{"deployment_id": 6}]},
    request_id=text("3f1c9a0b7d2e4f68"),
    created_at=instant(),
    optional=("request_id",),
)
COUNTS = record("Counts", accepted=integer(1, minimum=0), duplicates=integer(0, minimum=0))
STREAM = Answer(
    text("id: 12\r\nevent: deployment.created\r\ndata: {...}\r\n\r\n"), media="text/event-stream"
)


def _event_json(event: Any) -> dict[str, Any]:
    shown = {
        "id": event["id"],
        "event_id": str(event["event_id"]),
        "name": event["name"],
        "subject": event["subject"],
        "payload": orjson.Fragment(event["payload"]),
        "created_at": event["created_at"],
    }
    if event["request_id"] is not None:
        shown["request_id"] = event["request_id"]
    return shown


@ROUTES.post("/events")
@describe({200: STORED, 201: created(STORED, at="/events/12")}, body=EVENT, example=EXAMPLE)
async def store_event(request: web.Request) -> web.Response:
    """Store an event, and answer with it; with the first one if its id is known."""
    event: NewEvent = await read_body(request, EVENT)
    _refuse_old(request, (event,), "created_at")
    delivered = await request.app[STORE_ONE].submit((event,))
    _note(request, (event,))
    event_id = delivered.ids[event.event_id]
    if not delivered.counts.accepted:
        return reply(_event_json(await _existing_event(request, event_id)))
    request.app[TASKS].wake("event_feed")
    body = _event_json({"id": event_id, **event._asdict()})
    return reply(body, status=201, headers={"Location": f"/events/{event_id}"})


@ROUTES.post("/events/batch")
@describe({200: COUNTS}, body=BATCH, example={"events": [EXAMPLE]})
async def store_batch(request: web.Request) -> web.Response:
    """Store those events that are new, all in one transaction."""
    events: list[NewEvent] = (await read_body(request, BATCH))["events"]
    _refuse_old(request, events, "events.{}.created_at")
    delivered = await request.app[STORE_MANY].submit(events)
    _note(request, events)
    request.app[TASKS].wake("event_feed")
    return reply(delivered.counts._asdict())


def _refuse_old(request: web.Request, events: Iterable[NewEvent], path: str) -> None:
    """Raise InvalidRequest if housekeeping would remove some of `events` at once.

    And as their keys are forgotten, one that comes again after its time would be stored again.
    """
    start = retention_start(datetime.now(UTC), request.app[SETTINGS].events_retention_months)
    old = [path.format(at) for at, event in enumerate(events) if event.created_at < start]
    if old:
        problem = f"Must not be before {start.isoformat()}: older events are not kept."
        raise invalid_request((place, [problem]) for place in old)


def _note(request: web.Request, events: Iterable[NewEvent]) -> None:
    """Log which request caused each of the events that this one has brought."""
    if request.app[SETTINGS].log_level == "debug":
        for event in events:
            logger.debug(
                "event_received",
                event_id=str(event.event_id),
                name=event.name,
                request_id=event.request_id,
                delivery_id=request[REQUEST_ID_KEY],
            )


@ROUTES.get("/events")
@describe({200: array(STORED)}, query=EVENTS_QUERY)
async def list_events(request: web.Request) -> web.Response:
    """Answer with a page of events: oldest first after an id, or newest first."""
    query = read_query(request, EVENTS_QUERY)
    newest = query["order"] == "newest"
    filters = {"name": query["name"], "subject": query["subject"]}
    if query["subject"] is not None:
        oldest_first = queries.events.list_events_by_subject
        newest_first = queries.events.list_newest_events_by_subject
    elif query["name"] is not None:
        oldest_first = queries.events.list_events_by_name
        newest_first = queries.events.list_newest_events_by_name
        del filters["subject"]
    else:
        oldest_first = queries.events.list_events
        newest_first = queries.events.list_newest_events
        filters = {}
    page_size = query["limit"] + 1
    async with request.app[DATABASE].reader() as connection:
        if newest:
            rows = await newest_first(
                connection, before=query["before"], page_size=page_size, **filters
            )
        else:
            after = query["after"] or 0
            rows = await oldest_first(connection, after=after, page_size=page_size, **filters)
    page, headers = cut(request, rows, query["limit"])
    if headers and not newest:
        headers = link_next(request, after=page[-1]["id"])
    return reply([_event_json(row) for row in page], headers=headers)


@ROUTES.get("/events/stream", allow_head=False)  # what goes on for ever has no headers alone
@describe({200: STREAM}, query=STREAM_QUERY, headers={"Last-Event-ID": integer(12, minimum=0)})
async def stream_events(request: web.Request) -> web.StreamResponse:
    """Stream events as they are stored, as server-sent events.

    From `Last-Event-ID` on, or from `?after=`; else from now on. A client that does not read is
    cut off when its buffer is full for a while.
    """
    app, settings = request.app, request.app[SETTINGS]
    query = read_query(request, STREAM_QUERY)
    last_id = _last_event_id(request)
    if last_id is None:
        last_id = query["after"]
    if last_id is None:
        # Not the feed's: it may lag behind, or not have begun yet.
        async with app[DATABASE].reader() as connection:
            [row] = await queries.events.find_last_id(connection)
        last_id = row["id"]
    response = aiohttp_sse.EventSourceResponse(
        headers={REQUEST_ID: request[REQUEST_ID_KEY]},
        send_timeout=settings.stream_stall_s,
        ping_interval=settings.stream_heartbeat_s,
    )
    await response.prepare(request)
    if request.transport is not None:
        request.transport.set_write_buffer_limits(settings.stream_buffer_bytes)
    draining = asyncio.create_task(app[DRAINING].wait())
    gone = asyncio.create_task(response.wait())  # until a heartbeat can't be sent
    try:
        with EVENT_STREAMS.labels(app[METRICS].service).track_inprogress():
            async with response:
                while not (draining.done() or gone.done()):
                    last_id = await _send_next(app, response, query, last_id, (draining, gone))
    except (ConnectionError, TimeoutError):
        pass  # the client is gone, or does not read
    except Unavailable as error:
        # It is too late for a 503; the client comes back with its Last-Event-ID.
        logger.warning("stream_ended", error=repr(error))
    finally:
        draining.cancel()
        gone.cancel()
    return response


async def _send_next(
    app: web.Application,
    response: aiohttp_sse.EventSourceResponse,
    query: dict[str, Any],
    last_id: int,
    endings: Sequence[asyncio.Task[Any]],
) -> int:
    """Send the events after `last_id`, waiting for some; return the id of the last one."""
    feed = app[FEED]
    more = feed.changed
    events = feed.after(last_id)
    if events is None:
        async with app[DATABASE].reader() as connection:
            events = await queries.events.list_events(
                connection, after=last_id, page_size=app[SETTINGS].stream_page_events
            )
    if not events:
        changed = asyncio.create_task(more.wait())
        try:
            await asyncio.wait((changed, *endings), return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
        return last_id
    for event in events:
        if query["name"] in {None, event["name"]} and query["subject"] in {None, event["subject"]}:
            data = orjson.dumps(_event_json(event), option=orjson.OPT_UTC_Z).decode()
            await response.send(data, id=str(event["id"]), event=event["name"])
    return int(events[-1]["id"])


def _last_event_id(request: web.Request) -> int | None:
    text = request.headers.get("Last-Event-ID")
    if not text:
        return None
    number = parse_integer(text, minimum=0)
    if number is None:
        raise InvalidRequest("The header Last-Event-ID must be the id of an event.")
    return number


@ROUTES.get("/events/{id:(?!(?:batch|stream)$)[^/]+}")  # they have no other methods
@describe({200: STORED}, EventNotFound)
async def get_event(request: web.Request) -> web.Response:
    """Answer with one event."""
    return reply(_event_json(await _existing_event(request, path_id(request))))


async def _existing_event(request: web.Request, event_id: int) -> Any:
    event = await request.app[FIND_EVENT].submit(event_id)
    if event is None:
        raise EventNotFound(f"There is no event {event_id}.", id=event_id)
    return event
