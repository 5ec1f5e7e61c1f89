"""HTTP ↔ command: service orders. Ids are texts here; numbers are taken, too.

The fee is in minor units.
"""

import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import marshmallow
from aiohttp import web
from marshmallow import fields

from rowlock.accounts.rules import BALANCE_LIMIT
from rowlock.errors import InvalidRequest
from rowlock.http.access import origin_of
from rowlock.http.answers import head, no_content, reply
from rowlock.http.bodies import Body
from rowlock.http.etags import ETAG, IF_MATCH, IF_NONE_MATCH, Preconditions, etag
from rowlock.http.fields import (
    TIMESTAMP,
    Cents,
    JsonArray,
    QueryInteger,
    parse_integer,
    whole,
    with_schema,
)
from rowlock.http.openapi.shapes import (
    BIGINT_MAX,
    AnswerShape,
    JsonSchema,
    array,
    created,
    instant,
    integer,
    record,
    text,
)
from rowlock.http.paging import PAGE_SIZE_LIMIT, TimeCursor, paginate, time_position
from rowlock.http.request import EMPTY_BODY, path_id, read_body, read_empty_body, read_query
from rowlock.http.routes import Routes, route
from rowlock.http.streaming import stream_array
from rowlock.http.submit import find_by_path, submit
from rowlock.rejections import (
    IdTaken,
    ServiceOrderChanged,
    ServiceOrderNotFound,
    ServicesNotFound,
    TooCloseToExistingOrder,
)
from rowlock.service_orders import ServiceOrders
from rowlock.service_orders.rules import (
    EARLIEST,
    LAST_ID,
    LATEST,
    Change,
    CreateOrder,
    DeleteOrder,
    ReplaceOrder,
    Service,
    ServiceOrder,
    Time,
    format_time,
    precondition_failed,
)

SERVICES_LIMIT = 100
PAGE_OF_ALL = 200  # orders read at a time for the whole list

# RFC 3339, but for the seconds, which may be left out.
TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})"
)


ID = {"type": "string", "pattern": "^[1-9][0-9]{0,18}$", "examples": ["123"]}


class OrderTime(fields.Field[datetime]):
    """A time with an offset, such as 2022-11-01T12:11:11.111+01:00, in UTC.

    Fractions of a millisecond are cut off: an order keeps none.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**with_schema(kwargs, **TIMESTAMP))

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> datetime:
        text = value.upper() if isinstance(value, str) else ""
        if not TIME.fullmatch(text):
            raise marshmallow.ValidationError(
                "Must be a time with an offset, such as 2022-11-01T11:11:11.111Z."
            )
        try:
            at = datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError):
            raise marshmallow.ValidationError("There is no such time.") from None
        if not EARLIEST <= at <= LATEST:
            raise marshmallow.ValidationError(
                f"Must be from {format_time(EARLIEST)} to {format_time(LATEST)}."
            )
        return at.replace(microsecond=at.microsecond // 1000 * 1000)


class QueryTime(OrderTime):
    """An OrderTime in a query string, where a plus that is not escaped reads as a space."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        return super()._deserialize(value.replace(" ", "+"), *args, **kwargs)


def _ids_up_to(maximum: int) -> list[JsonSchema]:
    """Return what an id may be, as a text or as a number."""
    digits = len(str(maximum)) - 1
    return [ID | {"pattern": f"^[1-9][0-9]{{0,{digits - 1}}}$"}, integer(123, maximum=maximum)]


def _read_id(value: Any, maximum: int) -> int | None:
    if isinstance(value, str):  # each id has one spelling, as in a path
        return None if value.startswith("0") else parse_integer(value, maximum=maximum)
    number = whole(value)
    return number if number is not None and 1 <= number <= maximum else None


class OrderId(fields.Field[int]):
    """The id of an order, as a text or as a number."""

    def __init__(self, *, maximum: int = BIGINT_MAX, **kwargs: Any) -> None:
        super().__init__(**with_schema(kwargs, anyOf=_ids_up_to(maximum)))
        self._maximum = maximum

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        order_id = _read_id(value, self._maximum)
        if order_id is None:
            raise marshmallow.ValidationError(
                f"Must be a whole number from 1 to {self._maximum}, or a text with its digits."
            )
        return order_id


class ServiceId(fields.Field[int]):
    """A service: its id, as a text or a number, or as an answer shows it; its name is ignored."""

    def __init__(self, **kwargs: Any) -> None:
        ids = _ids_up_to(BIGINT_MAX)
        shown = {
            "title": "ServiceReference",
            "type": "object",
            "properties": {"id": {"anyOf": ids}, "name": {}},
            "required": ["id"],
            "additionalProperties": False,
        }
        super().__init__(**with_schema(kwargs, anyOf=[*ids, shown]))

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if isinstance(value, dict) and value.keys() <= {"id", "name"}:
            value = value.get("id")
        service_id = _read_id(value, BIGINT_MAX)
        if service_id is None:
            raise marshmallow.ValidationError('Must be the id of a service, such as "123".')
        return service_id


def _check_unique(service_ids: Sequence[int]) -> None:
    if len(set(service_ids)) < len(service_ids):
        raise marshmallow.ValidationError("Must not name a service twice.")


class OrderBody(Body):
    """`{"datetime": "2022-11-01T11:11:11.111Z", "totalfee": 100, "services": ["123"]}`."""

    starts_at = OrderTime(data_key="datetime", required=True)
    fee = Cents(data_key="totalfee", required=True, minimum=0, maximum=BALANCE_LIMIT)
    service_ids = JsonArray(
        ServiceId(),
        data_key="services",
        longest=SERVICES_LIMIT,
        required=True,
        validate=_check_unique,
        metadata={"uniqueItems": True},
    )


class ServiceOrderBody(OrderBody):
    """As in OrderBody, with an unused `id` if the client chooses one."""

    order_id = OrderId(data_key="id", maximum=LAST_ID, load_default=None)


class ServiceOrderReplacementBody(OrderBody):
    """As in OrderBody, or as an answer shows it: the id must be that of the path."""

    id = OrderId()


class OrdersQuery(marshmallow.Schema):
    """The filters of the list."""

    start = QueryTime(data_key="from", load_default=EARLIEST)
    end = QueryTime(data_key="to", load_default=LATEST + timedelta.resolution)
    service = QueryInteger(load_default=None)
    limit = QueryInteger(
        maximum=PAGE_SIZE_LIMIT,
        load_default=None,
        metadata={"description": "Orders to a page; without it, the answer has all of them."},
    )
    after = TimeCursor(data_key="cursor", load_default=None)


ORDER_BODY = ServiceOrderBody()
REPLACEMENT_BODY = ServiceOrderReplacementBody()
ORDERS_QUERY = OrdersQuery()

SERVICE = record("Service", id=ID, name=text("Inspection"))
ORDER = record(
    "ServiceOrder",
    id=ID,
    datetime=instant("2026-11-21T09:30:00.000Z"),
    totalfee=integer(100, minimum=0),
    services=array(SERVICE, minItems=1),
)
ORDER_EXAMPLE = {
    "datetime": "2026-11-21T09:30:00.000Z",
    "totalfee": 100,
    "services": ["123", "456"],
}
TAG = {ETAG: text('"1"', pattern='^"[1-9][0-9]*(-[1-9][0-9]*)?"$')}
TAGGED = AnswerShape(ORDER, headers=TAG)
PATH = {"id": integer(223)}
PRECONDITIONS = {IF_MATCH: text('"1"'), IF_NONE_MATCH: text('"7"')}


class ServiceOrderRoutes(Routes):
    """Service orders: appointments."""

    tag = "service orders"

    def __init__(self, service_orders: ServiceOrders) -> None:
        self._orders = service_orders

    @route("GET", "/services", {200: array(SERVICE)})
    async def list_services(self, _: web.Request) -> web.Response:
        """List the services."""
        services = await self._orders.list_services.submit(None) or ()
        return reply([_show_service(service) for service in services])

    @route("GET", "/service-orders", {200: array(ORDER)}, query=ORDERS_QUERY)
    async def list_orders(self, request: web.Request) -> web.StreamResponse:
        """List service orders by time: all of them, or a page.

        `from` is included, `to` is not. All of them are read page by page: an order that is moved
        meanwhile may appear twice, or not at all.
        """
        query = read_query(request, ORDERS_QUERY)
        limit = query["limit"]
        start = max(query["after"] or (EARLIEST, 0), (query["start"], 0))

        async def read(after: Time, page_size: int) -> Sequence[ServiceOrder]:
            return await self._orders.list_page(
                after=after[0],
                after_id=after[1],
                before=query["end"],
                service_id=query["service"],
                page_size=page_size,
            )

        if limit is not None:
            page, headers = paginate(request, await read(start, limit + 1), limit, _position)
            return reply([_show(order) for order in page], headers=headers)

        async def read_all() -> AsyncIterator[list[dict[str, Any]]]:
            after = start
            while orders := await read(after, PAGE_OF_ALL):
                yield [_show(order) for order in orders]
                after = orders[-1].starts_at, orders[-1].id

        return await stream_array(request, read_all())

    @route(
        "GET",
        "/service-orders/{id}",
        {200: TAGGED, 304: AnswerShape(headers=TAG)},
        ServiceOrderNotFound,
        ServiceOrderChanged,
        parameters=PATH,
        headers=PRECONDITIONS,
    )
    async def get_order(self, request: web.Request) -> web.Response:
        """Get a service order, or 304 if the client has it."""
        order = await find_by_path(request, self._orders.find, ServiceOrderNotFound)
        preconditions = Preconditions.of(request)
        if not preconditions.wants(order.revision):
            raise precondition_failed(order)
        tag = etag(order.revision)
        if preconditions.knows(order.revision):
            return web.Response(status=304, headers=head({ETAG: tag}))
        return reply(_show(order), headers={ETAG: tag})

    @route(
        "POST",
        "/service-orders",
        {201: created(ORDER, at="/service-orders/123", **TAG)},
        ServicesNotFound,
        TooCloseToExistingOrder,
        IdTaken,
        body=ORDER_BODY,
        example=ORDER_EXAMPLE,
    )
    async def create_order(self, request: web.Request) -> web.Response:
        """Book a service order.

        The client may choose an `id` that no order ever had. Orders without one get ids beyond it.
        """
        body = await read_body(request, ORDER_BODY)
        command = CreateOrder(**body, origin=origin_of(request))
        return await submit(request, self._orders.change, command, _created)

    @route(
        "PUT",
        "/service-orders/{id}",
        {200: TAGGED},
        ServiceOrderNotFound,
        ServiceOrderChanged,
        ServicesNotFound,
        TooCloseToExistingOrder,
        parameters=PATH,
        headers=PRECONDITIONS,
        body=REPLACEMENT_BODY,
        example=ORDER_EXAMPLE,
    )
    async def replace_order(self, request: web.Request) -> web.Response:
        """Replace a service order."""
        order_id = path_id(request, ServiceOrderNotFound)
        body = await read_body(request, REPLACEMENT_BODY)
        if body.pop("id", order_id) != order_id:
            raise InvalidRequest("The id in the body must be the one in the path.")
        command = ReplaceOrder(
            order_id,
            **body,
            versions=Preconditions.of(request),
            origin=origin_of(request),
        )
        return await submit(request, self._orders.change, command, _replaced)

    @route(
        "DELETE",
        "/service-orders/{id}",
        {204: AnswerShape()},
        ServiceOrderNotFound,
        ServiceOrderChanged,
        parameters=PATH,
        headers=PRECONDITIONS,
        body=EMPTY_BODY,
        example={},
    )
    async def delete_order(self, request: web.Request) -> web.Response:
        """Delete a service order."""
        order_id = path_id(request, ServiceOrderNotFound)
        command = DeleteOrder(order_id, Preconditions.of(request), origin_of(request))
        await read_empty_body(request)
        return await submit(request, self._orders.change, command, no_content)


def _position(order: ServiceOrder) -> str:
    return time_position(order.starts_at, order.id)


def _created(change: Change) -> web.Response:
    order = change.after
    assert order is not None
    headers = {"Location": f"/service-orders/{order.id}", ETAG: etag(order.revision)}
    return reply(_show(order), status=201, headers=headers)


def _replaced(change: Change) -> web.Response:
    order = change.after
    assert order is not None
    return reply(_show(order), headers={ETAG: etag(order.revision)})


def _show(order: ServiceOrder) -> dict[str, Any]:
    return {
        "id": str(order.id),
        "datetime": format_time(order.starts_at),
        "totalfee": order.fee,
        "services": [_show_service(service) for service in order.services],
    }


def _show_service(service: Service) -> dict[str, Any]:
    return {"id": str(service.id), "name": service.name}
