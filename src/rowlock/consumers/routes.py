"""HTTP ↔ command: consumers."""

import asyncio
from datetime import datetime
from typing import Any

import marshmallow
from aiohttp import web

from rowlock.consumers import Consumers
from rowlock.consumers.rules import (
    NAME_PATTERN,
    Acknowledge,
    Consumer,
    DeleteConsumer,
    Placed,
    PutConsumer,
    is_name,
)
from rowlock.events.bodies import STORED, show
from rowlock.http.access import origin_of, until_refused
from rowlock.http.answers import no_content, reply
from rowlock.http.bodies import Body
from rowlock.http.fields import Instant, Integer, QueryInteger, with_schema
from rowlock.http.openapi.shapes import (
    BIGINT_MAX,
    AnswerShape,
    array,
    created,
    instant,
    integer,
    nullable,
    number,
    record,
    text,
)
from rowlock.http.paging import PageQuery, paginate
from rowlock.http.request import (
    EMPTY_BODY,
    read_body,
    read_empty_body,
    read_optional_body,
    read_query,
)
from rowlock.http.routes import Routes, route
from rowlock.http.strict_json import invalid_request
from rowlock.http.submit import find, submit
from rowlock.rejections import ConsumerNotFound, EventNotStored, PositionUnknown, TooManyConsumers

NAME = text("warehouse", pattern=NAME_PATTERN)
NAME_RULE = (
    "A consumer's name must have 1 to 64 characters of a-z 0-9 . _ - and begin and end with a "
    "letter or a digit."
)
PAGE_EVENTS = 100
MOST_EVENTS = 500
LONGEST_WAIT_S = 30
START_RULE = "Must be the id of an event, or a time such as 2026-11-21T09:30:00.250Z."


class Start(marshmallow.fields.Field[int | datetime]):
    """Where a consumer begins: at the event of an id, or at a time."""

    def __init__(self, **kwargs: Any) -> None:
        shapes = [
            {"type": "integer", "minimum": 1, "maximum": BIGINT_MAX},
            {"type": "string", "format": "date-time"},
        ]
        super().__init__(**with_schema(kwargs, anyOf=shapes, examples=[12]))
        self._id, self._time = Integer(), Instant()

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int | datetime:
        field: Any = self._time if isinstance(value, str) else self._id
        try:
            start: int | datetime = field.deserialize(value)
        except marshmallow.ValidationError:
            raise marshmallow.ValidationError(START_RULE) from None
        return start


class ConsumerBody(Body):
    """`{"from": 12}`, `{"from": "2026-11-21T09:30:00Z"}`, or nothing."""

    start = Start(data_key="from", load_default=None, allow_none=True)


class AcknowledgementBody(Body):
    """`{"id": 12}`."""

    id = Integer(required=True)


class ConsumerEventsQuery(marshmallow.Schema):
    """How many events to get, and how long to wait for the first."""

    limit = QueryInteger(maximum=MOST_EVENTS, load_default=PAGE_EVENTS)
    wait_s = QueryInteger(minimum=0, maximum=LONGEST_WAIT_S, load_default=0)


CONSUMER_BODY = ConsumerBody()
ACKNOWLEDGEMENT_BODY = AcknowledgementBody()
PAGE_QUERY = PageQuery()
EVENTS_QUERY = ConsumerEventsQuery()

CONSUMER = record(
    "Consumer",
    id=integer(1),
    name=NAME,
    position=integer(12, minimum=0),
    created_at=instant(),
    created_by=text("token"),
    acknowledged_at=nullable(instant()),
    lag_events=integer(3, minimum=0),
    lag_s=number(0.25),
)
ACKNOWLEDGED = record("Acknowledged", name=NAME, position=integer(12, minimum=0))


class ConsumerRoutes(Routes):
    """Named cursors in the log of events."""

    tag = "consumers"

    def __init__(self, consumers: Consumers, draining: asyncio.Event) -> None:
        self._consumers = consumers
        self._draining = draining

    @route(
        "PUT",
        "/consumers/{name}",
        {200: CONSUMER, 201: created(CONSUMER, at="/consumers/warehouse")},
        PositionUnknown,
        TooManyConsumers,
        parameters={"name": NAME},
        body=CONSUMER_BODY,
        example={"from": 12},
    )
    async def put_consumer(self, request: web.Request) -> web.Response:
        """Create a consumer, or reset it.

        A new one begins at the oldest event that is kept, or at the event with the id `from`, or at
        the first one of the time `from`. One that exists is put there; without `from`, it stays as
        it is. There can be 1,000.
        """
        name = _new_name_in(request)
        start = (await read_optional_body(request, CONSUMER_BODY))["start"]
        position = None if start is None else await self._consumers.find_place(start)
        command = PutConsumer(name, position, origin_of(request))
        return await submit(request, self._consumers.put, command, _placed)

    @route("GET", "/consumers", {200: array(CONSUMER)}, query=PAGE_QUERY)
    async def list_consumers(self, request: web.Request) -> web.Response:
        """List consumers, newest first."""
        query = read_query(request, PAGE_QUERY)
        limit = query["limit"]
        consumers = await self._consumers.list_page(before=query["before"], page_size=limit + 1)
        page, headers = paginate(request, consumers, limit, lambda each: str(each.id))
        return reply([each._asdict() for each in page], headers=headers)

    @route(
        "GET",
        "/consumers/{name}",
        {200: CONSUMER},
        ConsumerNotFound,
        parameters={"name": NAME},
    )
    async def get_consumer(self, request: web.Request) -> web.Response:
        """Get a consumer, and how far behind it is.

        `position` is the id of the last event that it is done with. `lag_events` is about how many
        events there are after it, and `lag_s` the age of the oldest of these.
        """
        consumer = await find(self._consumers.find, _name_in(request), ConsumerNotFound)
        return reply(consumer._asdict())

    @route(
        "DELETE",
        "/consumers/{name}",
        {204: AnswerShape()},
        ConsumerNotFound,
        parameters={"name": NAME},
        body=EMPTY_BODY,
        example={},
    )
    async def delete_consumer(self, request: web.Request) -> web.Response:
        """Delete a consumer."""
        command = DeleteConsumer(_name_in(request), origin_of(request))
        await read_empty_body(request)
        return await submit(request, self._consumers.delete, command, no_content)

    @route(
        "GET",
        "/consumers/{name}/events",
        {200: array(STORED)},
        ConsumerNotFound,
        PositionUnknown,
        parameters={"name": NAME},
        query=EVENTS_QUERY,
    )
    async def read_events(self, request: web.Request) -> web.Response:
        """Read the next events of a consumer, in the order of the log.

        They are those after the last one acknowledged, so they come again until they are
        acknowledged, too. If there are none, the answer waits for some for up to `wait_s` seconds,
        and is empty then. A position that the log does not have is refused, as its events were
        lost, or are not kept any more: reset the consumer.
        """
        name = _name_in(request)
        query = read_query(request, EVENTS_QUERY)
        ended: list[asyncio.Task[Any]] = []
        if query["wait_s"]:
            ended = [
                asyncio.create_task(self._draining.wait()),
                asyncio.create_task(until_refused(request)),
            ]
        try:
            events = await self._consumers.read(
                name, page_size=query["limit"], wait_s=query["wait_s"], ended=ended
            )
        finally:
            for end in ended:
                end.cancel()
        return reply([show(event) for event in events])

    @route(
        "POST",
        "/consumers/{name}/ack",
        {200: ACKNOWLEDGED},
        ConsumerNotFound,
        EventNotStored,
        PositionUnknown,
        parameters={"name": NAME},
        body=ACKNOWLEDGEMENT_BODY,
        example={"id": 12},
    )
    async def acknowledge(self, request: web.Request) -> web.Response:
        """Acknowledge all events of a consumer up to one.

        The answer says where the consumer stands: an older `id` than that changes nothing.
        """
        body = await read_body(request, ACKNOWLEDGEMENT_BODY)
        command = Acknowledge(_name_in(request), body["id"])
        return await submit(request, self._consumers.acknowledge, command, _acknowledged)


def _name_in(request: web.Request) -> str:
    """Return the name in the path. Raises ConsumerNotFound if no consumer can be called so."""
    name = request.match_info["name"]
    if not is_name(name):
        raise ConsumerNotFound.of(name)
    return name


def _new_name_in(request: web.Request) -> str:
    """Return the name in the path, for a consumer. Raises InvalidRequest if it can't have it."""
    name = request.match_info["name"]
    if not is_name(name):
        raise invalid_request([("name", [NAME_RULE])])
    return name


def _placed(placed: Placed) -> web.Response:
    consumer = placed.consumer
    if not placed.is_new:
        return reply(consumer._asdict())
    headers = {"Location": f"/consumers/{consumer.name}"}
    return reply(consumer._asdict(), status=201, headers=headers)


def _acknowledged(consumer: Consumer) -> web.Response:
    return reply({"name": consumer.name, "position": consumer.position})
