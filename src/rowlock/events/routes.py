"""HTTP ↔ command: events."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import marshmallow
import structlog
from aiohttp import web
from marshmallow import fields, validate

from rowlock.errors import EventRefused, PartitionBeingMade, ScopeMissing
from rowlock.events import Events
from rowlock.events.bodies import NAME, NAME_LENGTH, STORED, SUBJECT, BatchBody, EventBody, show
from rowlock.events.deliveries import COUNTS, SENDER, read_sender, show_delivered
from rowlock.events.rules import (
    Delivered,
    Delivery,
    NewEvent,
    Wanted,
    latest_time,
    retention_start,
)
from rowlock.http.answers import reply
from rowlock.http.errors import respond
from rowlock.http.exchange import EXCHANGE
from rowlock.http.fields import (
    LONG_AGO,
    NEVER,
    QueryInstant,
    QueryInteger,
    Text,
)
from rowlock.http.openapi.shapes import (
    BIGINT_MAX,
    array,
    created,
)
from rowlock.http.paging import PageQuery, link_next, paginate
from rowlock.http.request import read_body, read_query
from rowlock.http.routes import Routes, route
from rowlock.http.strict_json import invalid_request
from rowlock.http.submit import find, find_by_path
from rowlock.origin import name_trace
from rowlock.rejections import (
    EpochOutdated,
    EventIdConflict,
    EventNotFound,
    LogMoved,
    PositionUnknown,
)

logger = structlog.get_logger(__name__)


class EventsQuery(PageQuery):
    """The filters of the list, and which way it goes. `from` is included, `to` is not."""

    name = Text(longest=NAME_LENGTH, load_default=None, metadata=NAME)
    subject = Text(longest=NAME_LENGTH, load_default=None, metadata=SUBJECT)
    since = QueryInstant(data_key="from", load_default=LONG_AGO)
    until = QueryInstant(data_key="to", load_default=NEVER)
    order = fields.String(validate=validate.OneOf(("oldest", "newest")), load_default="oldest")
    after = QueryInteger(minimum=0, load_default=None)

    @marshmallow.validates_schema
    def _one_way(self, data: dict[str, Any], **_: Any) -> None:
        if data["order"] == "newest" and data["after"] is not None:
            raise marshmallow.ValidationError("goes with order=oldest; use cursor.", "after")
        if data["order"] == "oldest" and data["before"] != BIGINT_MAX:
            raise marshmallow.ValidationError("goes with order=newest; use after.", "cursor")


EVENT = EventBody()
BATCH = BatchBody()
EVENTS_QUERY = EventsQuery()

EXAMPLE = {
    "event_id": "6f1c2a34-5b0e-4c8e-9a53-2d9f0e6b7c18",
    "name": "deployment.created",
    "subject": "project:3",
    "payload": {"deployment_id": 6},
    "request_id": "3f1c9a0b7d2e4f68",
    "actor": "token",
}


class EventRoutes(Routes):
    """The log of events: intake and lists."""

    tag = "events"

    def __init__(self, events: Events, *, log_each: bool) -> None:
        self._events = events
        self._settings = events.settings
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
        takes_key=False,  # an event's own id makes sure that it is stored once
    )
    async def store_event(self, request: web.Request) -> web.Response:
        """Store an event: 201, or 200 if it is sent again.

        A known `event_id` with another content is refused. Its `actor` is the caller by default,
        and its `traceparent` that of the request.
        """
        event: NewEvent = await read_body(request, EVENT)
        exchange = request[EXCHANGE]
        if event.actor is None:
            event = event._replace(actor=exchange.actor)
        if event.traceparent is None and exchange.trace is not None:
            event = event._replace(traceparent=exchange.trace.traceparent)
        self._check_times((event,), "created_at")
        delivered = await self._events.store_one.submit(Delivery((event,)))
        assert isinstance(delivered, Delivered)  # it names no epoch
        self._note(request, (event,))
        if delivered.conflicts:
            raise EventIdConflict(event_id=str(event.event_id))
        event_id = delivered.ids[event.event_id]
        if not delivered.counts.accepted:
            return reply(show(await find(self._events.find, event_id, EventNotFound)))
        stored = event.at(event_id)
        return reply(show(stored), status=201, headers={"Location": f"/events/{event_id}"})

    @route(
        "POST",
        "/events/batch",
        {200: COUNTS},
        EpochOutdated,
        EventRefused,
        LogMoved,
        PartitionBeingMade,
        body=BATCH,
        example={"events": [EXAMPLE]},
        takes_key=False,  # as above
        headers=SENDER,
    )
    async def store_batch(self, request: web.Request) -> web.Response:
        """Store up to 1,000 events in one transaction.

        `duplicates` counts the events that are stored already; `conflicts`, if any, are the ids of
        those stored with other content. The `actor` of an event from an API key is that key by
        default. A relay names its log in `Rowlock-Source`, and the epoch of its lease in
        `Rowlock-Epoch`. An epoch older than the latest is refused.

        A relay may also name the place of its last event in `Rowlock-Mark`. The answer then has
        `log`, which names this log, and `mark`, the place. The relay sends both with its next
        batch, in `Rowlock-Log` and `Rowlock-Log-Mark`. If they are no longer true, as after a
        restore, nothing is stored: 409 `log_moved` says what is true now.
        """
        sender = read_sender(request)
        exchange = request[EXCHANGE]
        if sender is not None and exchange.key is not None:
            raise ScopeMissing("An API key can't send as a relay: leave out Rowlock-Source.")
        events: list[NewEvent] = (await read_body(request, BATCH))["events"]
        if exchange.key is not None:  # a relay of 0.1.0, which has the token, knows no actors
            events = [event._replace(actor=event.actor or exchange.actor) for event in events]
        if exchange.trace is not None:  # a relay's own request belongs to none
            own = exchange.trace.traceparent
            events = [event._replace(traceparent=event.traceparent or own) for event in events]
        self._check_times(events, "events.{}.created_at")
        delivered = await self._events.store_many.submit(Delivery(events, sender))
        if not isinstance(delivered, Delivered):
            return respond(delivered, request)
        self._note(request, events)
        return reply(show_delivered(delivered))

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
                    **name_trace(event.traceparent),
                    delivery_id=request[EXCHANGE].request_id,
                )

    @route("GET", "/events", {200: array(STORED)}, PositionUnknown, query=EVENTS_QUERY)
    async def list_events(self, request: web.Request) -> web.Response:
        """List events, oldest first after an id, or newest first.

        `from` and `to` are times of `created_at`. The order is that of the ids also then.
        A position that the log does not have is refused, as its events were lost or it is beyond
        the end. `after=0` always works.
        """
        query = read_query(request, EVENTS_QUERY)
        limit = query["limit"]
        wanted = Wanted(query["name"], query["subject"], query["since"], query["until"])
        if query["order"] == "newest":
            events = await self._events.list_newest(
                wanted, before=query["before"], page_size=limit + 1
            )
        else:
            events = await self._events.list_oldest(
                wanted, after=query["after"] or 0, page_size=limit + 1
            )
        page, headers = paginate(request, events, limit, lambda event: str(event.id))
        if headers and query["order"] == "oldest":
            headers = link_next(request, after=page[-1].id)
        return reply([show(event) for event in page], headers=headers)

    # Not those that have routes of their own: GET /events/batch answers 405.
    @route("GET", "/events/{id:(?!(?:batch|stream|schemas)$)[^/]+}", {200: STORED}, EventNotFound)
    async def get_event(self, request: web.Request) -> web.Response:
        """Get an event."""
        return reply(show(await find_by_path(request, self._events.find, EventNotFound)))
