"""HTTP ↔ command: orders. All amounts are minor units."""

from typing import Any

from aiohttp import web
from marshmallow import fields, validate

from rowlock.http.access import origin_of
from rowlock.http.answers import reply
from rowlock.http.bodies import Body, DocumentBody
from rowlock.http.fields import METADATA, Integer, JsonArray
from rowlock.http.openapi.shapes import (
    array,
    choice,
    created,
    instant,
    integer,
    nullable,
    record,
    text,
)
from rowlock.http.paging import DocumentsQuery, paginate
from rowlock.http.request import EMPTY_BODY, path_id, read_body, read_empty_body, read_query
from rowlock.http.routes import Routes, route
from rowlock.http.submit import find_by_path, submit
from rowlock.orders import Orders
from rowlock.orders.rules import STATUSES, CancelOrder, CreateOrder, Filter, Item, Order
from rowlock.rejections import (
    OrderNotFound,
    OrderNotPending,
    OrderTotalTooLarge,
    ProductsNotFound,
    ReferenceTaken,
    UnknownUser,
)

# What is summed up before the limit on totals is looked at stays small.
ITEMS_LIMIT = 100
QUANTITY_LIMIT = 10_000


class ItemBody(Body):
    """A line of an order."""

    product_id = Integer(data_key="productId", required=True)
    quantity = Integer(maximum=QUANTITY_LIMIT, required=True)


class OrderBody(DocumentBody):
    """`{"items": [{"productId": 1, "quantity": 2}], "userId": 7}`."""

    items = JsonArray(fields.Nested(ItemBody), longest=ITEMS_LIMIT, required=True)
    user_id = Integer(data_key="userId", load_default=None)


class OrdersQuery(DocumentsQuery):
    """The filters of the list."""

    status = fields.String(
        validate=validate.OneOf(STATUSES), load_default=None, metadata={"title": "OrderStatus"}
    )


ORDER_BODY = OrderBody()
ORDERS_QUERY = OrdersQuery()

PRODUCT = record(
    "Product", id=integer(1), name=text("Netflix"), priceCents=integer(7599, minimum=0)
)
ITEM = record(
    "Item",
    id=integer(1),
    productId=integer(1),
    quantity=integer(2, maximum=QUANTITY_LIMIT),
    unitPriceCents=integer(7599, minimum=0),
)
ORDER = record(
    "Order",
    id=integer(1),
    status=choice(*STATUSES, title="OrderStatus"),
    amountCents=integer(15_198, minimum=0),
    items=array(ITEM, minItems=1),
    reason=text("insufficient_balance"),
    userId=nullable(integer(1)),
    createdAt=instant(),
    settledAt=nullable(instant()),
    refundedCents=integer(0, minimum=0),
    reference=nullable(text("2026-0042")),
    metadata=nullable(METADATA),
    optional=("reason",),
)


class OrderRoutes(Routes):
    """Orders, and the catalogue that they are made from."""

    tag = "orders"

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    @route("GET", "/products", {200: array(PRODUCT)})
    async def list_products(self, _: web.Request) -> web.Response:
        """List the catalogue, in minor units."""
        products = await self._orders.list_products.submit(None) or ()
        return reply(
            [{"id": each.id, "name": each.name, "priceCents": each.price} for each in products]
        )

    @route(
        "POST",
        "/orders",
        {201: created(ORDER, at="/orders/1")},
        ProductsNotFound,
        UnknownUser,
        OrderTotalTooLarge,
        ReferenceTaken,
        body=ORDER_BODY,
        example={"items": [{"productId": 1, "quantity": 2}], "userId": 1},
    )
    async def create_order(self, request: web.Request) -> web.Response:
        """Create an order, which is settled in the background."""
        body = await read_body(request, ORDER_BODY)
        items = tuple(Item(item["product_id"], item["quantity"]) for item in body["items"])
        command = CreateOrder(
            body["user_id"], items, origin_of(request), body["reference"], body["metadata"]
        )
        return await submit(request, self._orders.create, command, _created)

    @route("GET", "/orders/{id}", {200: ORDER}, OrderNotFound)
    async def get_order(self, request: web.Request) -> web.Response:
        """Get an order, with the reason if it was refused."""
        order = await find_by_path(request, self._orders.find, OrderNotFound)
        return reply(_show(order))

    @route("GET", "/orders", {200: array(ORDER)}, query=ORDERS_QUERY)
    async def list_orders(self, request: web.Request) -> web.Response:
        """List orders, newest first.

        The filters may be combined. `from` and `to` are of `createdAt`; `to` is not included.
        """
        query = read_query(request, ORDERS_QUERY)
        limit, before = query.pop("limit"), query.pop("before")
        wanted = Filter(**query)
        orders = await self._orders.list_page(wanted, before=before, page_size=limit + 1)
        page, headers = paginate(request, orders, limit, lambda order: str(order.id))
        # One that was settled while the page was read is not in that status any more.
        shown = [_show(order) for order in page if wanted.takes(order)]
        return reply(shown, headers=headers)

    @route(
        "POST",
        "/orders/{id}/cancel",
        {200: ORDER},
        OrderNotFound,
        OrderNotPending,
        body=EMPTY_BODY,
        example={},
    )
    async def cancel_order(self, request: web.Request) -> web.Response:
        """Cancel an order that is not settled yet."""
        command = CancelOrder(path_id(request, OrderNotFound), origin_of(request))
        await read_empty_body(request)
        return await submit(
            request, self._orders.cancel, command, lambda order: reply(_show(order))
        )


def _created(order: Order) -> web.Response:
    return reply(_show(order), status=201, headers={"Location": f"/orders/{order.id}"})


def _show(order: Order) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": order.id,
        "status": order.status,
        "amountCents": order.amount,
        "items": [
            {
                "id": item.id,
                "productId": item.product_id,
                "quantity": item.quantity,
                "unitPriceCents": item.price,
            }
            for item in order.items
        ],
    }
    if order.reason is not None:
        shown["reason"] = order.reason
    shown["userId"] = order.user_id
    shown["createdAt"] = order.created_at
    shown["settledAt"] = order.settled_at
    shown["refundedCents"] = order.refunded
    shown["reference"] = order.reference
    shown["metadata"] = order.metadata
    return shown
