"""HTTP ↔ command: service orders. Ids are strings here; the fee is in minor units."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import marshmallow
from aiohttp import web
from marshmallow import fields

from rowlock.batching import Lane, group_commit, group_read
from rowlock.database import Connection, Database
from rowlock.exceptions import (
    InvalidRequest,
    Rejection,
    ServiceOrderChanged,
    ServiceOrderNotFound,
    ServicesNotFound,
    TooCloseToExistingOrder,
)
from rowlock.queries import queries
from rowlock.service_orders import commands
from rowlock.service_orders.rules import (
    EARLIEST,
    LATEST,
    Change,
    Command,
    CreateOrder,
    DeleteOrder,
    ReplaceOrder,
    Service,
    ServiceOrder,
    as_text,
    changed,
)
from rowlock.settings import Settings
from rowlock.web.bodies import (
    NOTHING,
    TIMESTAMP,
    Array,
    Body,
    Integer,
    QueryInteger,
    parse_integer,
    path_id,
    read_body,
    read_nothing,
    read_query,
    takes,
)
from rowlock.web.boundary import REQUEST_ID_KEY
from rowlock.web.commit import commit
from rowlock.web.docs import Answer, array, created, describe, instant, integer, record, text
from rowlock.web.etags import ETAG, IF_MATCH, IF_NONE_MATCH, Preconditions, etag
from rowlock.web.pages import PAGE_SIZE, PAGE_SIZE_LIMIT, TimeCursor, by_time, cut
from rowlock.web.replies import reply
from rowlock.web.service import DATABASE, State

ROUTES = web.RouteTableDef()

FIND_ORDER: web.AppKey[Lane[int, ServiceOrder | None]] = web.AppKey("find_service_order")
LIST_SERVICES: web.AppKey[Lane[None, Any]] = web.AppKey("list_services")
# One lane for all three: they would only wait for each other's lock, a connection each.
CHANGE_ORDER: web.AppKey[Lane[Command, Change | Rejection]] = web.AppKey("change_service_order")

SERVICES_LIMIT = 100

# RFC 3339, but for the seconds, which may be left out.
TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})"
)


ID = {"type": "string", "pattern": "^[1-9][0-9]{0,17}$", "examples": ["123"]}


def state(database: Database, settings: Settings) -> State:
    """Return what this feature keeps."""
    return {
        FIND_ORDER: group_read("find_service_order", database, _find_orders, settings),
        LIST_SERVICES: group_read("list_services", database, _list_services, settings),
        CHANGE_ORDER: group_commit(
            "change_service_order", database, commands.change_orders, settings
        ),
    }


async def _find_orders(connection: Connection, ids: Sequence[int]) -> dict[int, ServiceOrder]:
    rows = await queries.service_orders.find_orders(connection, order_ids=ids)
    return {row["id"]: commands.read_order(row) for row in rows}


async def _list_services(connection: Connection, _: Sequence[None]) -> dict[None, Any]:
    return {None: await queries.service_orders.list_services(connection)}


class OrderTime(fields.Field[datetime]):
    """A time with an offset, such as 2022-11-01T12:11:11.111+01:00, in UTC.

    Fractions of a millisecond are cut off: an order keeps none.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**takes(kwargs, **TIMESTAMP))

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
                f"Must be from {as_text(EARLIEST)} to {as_text(LATEST)}."
            )
        return at.replace(microsecond=at.microsecond // 1000 * 1000)


class QueryTime(OrderTime):
    """An OrderTime in a query string, where a plus that is not escaped reads as a space."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        return super()._deserialize(value.replace(" ", "+"), *args, **kwargs)


class ServiceId(fields.Field[int]):
    """A service: its id, such as "123", or as an answer shows it, with a name that is ignored."""

    def __init__(self, **kwargs: Any) -> None:
        shown = {"type": "object", "properties": {"id": ID, "name": {}}, "required": ["id"]}
        super().__init__(**takes(kwargs, anyOf=[ID, shown | {"additionalProperties": False}]))

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if isinstance(value, dict) and value.keys() <= {"id", "name"}:
            value = value.get("id")
        service_id = parse_integer(value) if isinstance(value, str) else None
        if service_id is None:
            raise marshmallow.ValidationError('Must be the id of a service, such as "123".')
        return service_id


def _check_unique(service_ids: Sequence[int]) -> None:
    if len(set(service_ids)) < len(service_ids):
        raise marshmallow.ValidationError("Must not name a service twice.")


class OrderBody(Body):
    """`{"datetime": "2022-11-01T11:11:11.111Z", "totalfee": 100, "services": ["123"]}`."""

    starts_at = OrderTime(data_key="datetime", required=True)
    fee = Integer(data_key="totalfee", required=True, minimum=0)
    service_ids = Array(
        ServiceId(),
        data_key="services",
        longest=SERVICES_LIMIT,
        required=True,
        validate=_check_unique,
        metadata={"uniqueItems": True},
    )


class ReplacementBody(OrderBody):
    """As in OrderBody, or as an answer shows it: the id must be that of the path."""

    id = fields.String()


class OrdersQuery(marshmallow.Schema):
    """The filters of the list."""

    start = QueryTime(data_key="from", load_default=EARLIEST)
    end = QueryTime(data_key="to", load_default=LATEST + timedelta.resolution)
    service = QueryInteger(load_default=None)
    limit = QueryInteger(maximum=PAGE_SIZE_LIMIT, load_default=PAGE_SIZE)
    after = TimeCursor(data_key="cursor", load_default=None)


ORDER_BODY = OrderBody()
REPLACEMENT_BODY = ReplacementBody()
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
TAG = {ETAG: text('"1"', pattern='^"[1-9][0-9]*"$')}
TAGGED = Answer(ORDER, headers=TAG)
PATH = {"id": integer(223)}
PRECONDITIONS = {IF_MATCH: text('"1"'), IF_NONE_MATCH: text('"7"')}


@ROUTES.get("/services")
@describe({200: array(SERVICE)})
async def list_services(request: web.Request) -> web.Response:
    """Answer with all services."""
    rows = await request.app[LIST_SERVICES].submit(None)
    return reply([_show_service(Service(*row)) for row in rows])


@ROUTES.get("/service-orders")
@describe({200: array(ORDER)}, query=ORDERS_QUERY)
async def list_orders(request: web.Request) -> web.Response:
    """Answer with a page of orders by time: `from` is included, `to` is not."""
    query = read_query(request, ORDERS_QUERY)
    after, after_id = max(query["after"] or (EARLIEST, 0), (query["start"], 0))
    span = {
        "after": after,
        "after_id": after_id,
        "before": query["end"],
        "page_size": query["limit"] + 1,
    }
    async with request.app[DATABASE].reader() as connection:
        if query["service"] is not None:
            rows = await queries.service_orders.list_orders_of_service(
                connection, **span, service_id=query["service"]
            )
        else:
            rows = await queries.service_orders.list_orders(connection, **span)
    page, headers = cut(request, rows, query["limit"], by_time("starts_at"))
    return reply([_show(commands.read_order(row)) for row in page], headers=headers)


@ROUTES.get("/service-orders/{id}")
@describe(
    {200: TAGGED, 304: Answer(headers=TAG)},
    ServiceOrderNotFound,
    ServiceOrderChanged,
    path=PATH,
    headers=PRECONDITIONS,
)
async def get_order(request: web.Request) -> web.Response:
    """Answer with one order, or 304 if the client has it."""
    order_id = path_id(request)
    order = await request.app[FIND_ORDER].submit(order_id)
    if order is None:
        raise ServiceOrderNotFound(
            f"There is no service order {order_id}.", service_order_id=str(order_id)
        )
    preconditions = Preconditions.of(request)
    if not preconditions.wants(order.version):
        raise changed(order)
    tag = etag(order.version)
    if preconditions.knows(order.version):
        return web.Response(status=304, headers={ETAG: tag})
    return reply(_show(order), headers={ETAG: tag})


@ROUTES.post("/service-orders")
@describe(
    {201: created(ORDER, at="/service-orders/226", **TAG)},
    ServicesNotFound,
    TooCloseToExistingOrder,
    body=ORDER_BODY,
    example=ORDER_EXAMPLE,
)
async def create_order(request: web.Request) -> web.Response:
    """Book an order."""
    body = await read_body(request, ORDER_BODY)
    command = CreateOrder(**body, request_id=request[REQUEST_ID_KEY])
    return await commit(request, CHANGE_ORDER, command, _created)


@ROUTES.put("/service-orders/{id}")
@describe(
    {200: TAGGED},
    ServiceOrderNotFound,
    ServiceOrderChanged,
    ServicesNotFound,
    TooCloseToExistingOrder,
    path=PATH,
    headers=PRECONDITIONS,
    body=REPLACEMENT_BODY,
    example=ORDER_EXAMPLE,
)
async def replace_order(request: web.Request) -> web.Response:
    """Move an order, or change what it is, and answer with it."""
    order_id = path_id(request)
    body = await read_body(request, REPLACEMENT_BODY)
    if body.pop("id", str(order_id)) != str(order_id):
        raise InvalidRequest("The id in the body is not the one in the path.")
    command = ReplaceOrder(
        order_id,
        **body,
        versions=Preconditions.of(request),
        request_id=request[REQUEST_ID_KEY],
    )
    return await commit(request, CHANGE_ORDER, command, _replaced)


@ROUTES.delete("/service-orders/{id}")
@describe(
    {204: Answer()},
    ServiceOrderNotFound,
    ServiceOrderChanged,
    path=PATH,
    headers=PRECONDITIONS,
    body=NOTHING,
    example={},
)
async def delete_order(request: web.Request) -> web.Response:
    """Cancel an order."""
    command = DeleteOrder(path_id(request), Preconditions.of(request), request[REQUEST_ID_KEY])
    await read_nothing(request)
    return await commit(request, CHANGE_ORDER, command, _deleted)


def _created(change: Change) -> web.Response:
    order = change.after
    assert order is not None
    headers = {"Location": f"/service-orders/{order.id}", ETAG: etag(order.version)}
    return reply(_show(order), status=201, headers=headers)


def _replaced(change: Change) -> web.Response:
    order = change.after
    assert order is not None
    return reply(_show(order), headers={ETAG: etag(order.version)})


def _deleted(_: Change) -> web.Response:
    return web.Response(status=204)


def _show(order: ServiceOrder) -> dict[str, Any]:
    return {
        "id": str(order.id),
        "datetime": as_text(order.starts_at),
        "totalfee": order.fee,
        "services": [_show_service(service) for service in order.services],
    }


def _show_service(service: Service) -> dict[str, Any]:
    return {"id": str(service.id), "name": service.name}
