"""HTTP ↔ command: orders. All amounts are minor units."""

from typing import Any

from aiohttp import web
from marshmallow import fields, validate

from rowlock.errors import OrderNotFound, OrderTotalTooLarge, ProductsNotFound, UnknownUser
from rowlock.http.access import origin_of
from rowlock.http.answers import reply
from rowlock.http.bodies import Body
from rowlock.http.fields import Integer, JsonArray
from rowlock.http.openapi.shapes import array, choice, created, integer, record, text
from rowlock.http.paging import PageQuery, paginate
from rowlock.http.request import read_body, read_query
from rowlock.http.routes import Routes, route
from rowlock.http.submit import find_by_path, submit
from rowlock.orders import Orders
from rowlock.orders.rules import STATUSES, CreatedOrder, CreateOrder, Item, Order

# What is summed up before the limit on totals is looked at stays small.
ITEMS_LIMIT = 100
QUANTITY_LIMIT = 10_000


class ItemSchema(Body):
    """A line of an order."""

    product_id = Integer(data_key="productId", required=True)
    quantity = Integer(maximum=QUANTITY_LIMIT, required=True)


class OrderBody(Body):
    """`{"items": [{"productId": 1, "quantity": 2}], "userId": 7}`."""

    items = JsonArray(fields.Nested(ItemSchema), longest=ITEMS_LIMIT, required=True)
    user_id = Integer(data_key="userId", load_default=None)


class OrdersQuery(PageQuery):
    """The filter of the list."""

    status = fields.String(validate=validate.OneOf(STATUSES), load_default=None)


ORDER_BODY = OrderBody()
ORDERS_QUERY = OrdersQuery()

PRODUCT = record(
    "Product", id=integer(1), name=text("Netflix"), priceCents=integer(7599, minimum=0)
)
ITEM = record(
    "Item", id=integer(1), productId=integer(1), quantity=integer(2, maximum=QUANTITY_LIMIT)
)
ORDER = record(
    "Order",
    id=integer(1),
    status=choice(*STATUSES),
    amountCents=integer(15_198, minimum=0),
    items=array(ITEM, minItems=1),
    reason=text("insufficient_balance"),
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
        body=ORDER_BODY,
        example={"items": [{"productId": 1, "quantity": 2}], "userId": 1},
    )
    async def create_order(self, request: web.Request) -> web.Response:
        """Create an order, which is settled in the background."""
        body = await read_body(request, ORDER_BODY)
        items = tuple(Item(item["product_id"], item["quantity"]) for item in body["items"])
        command = CreateOrder(body["user_id"], items, origin_of(request))
        return await submit(request, self._orders.create, command, _created)

    @route("GET", "/orders/{id}", {200: ORDER}, OrderNotFound)
    async def get_order(self, request: web.Request) -> web.Response:
        """Get an order, with the reason if it was refused."""
        order = await find_by_path(request, self._orders.find, OrderNotFound)
        return reply(_show(order))

    @route("GET", "/orders", {200: array(ORDER)}, query=ORDERS_QUERY)
    async def list_orders(self, request: web.Request) -> web.Response:
        """List orders, newest first."""
        query = read_query(request, ORDERS_QUERY)
        limit, status = query["limit"], query["status"]
        orders = await self._orders.list_page(
            status=status, before=query["before"], page_size=limit + 1
        )
        page, headers = paginate(request, orders, limit, lambda order: str(order.id))
        # One that was settled while the page was read is not in that status any more.
        shown = [_show(order) for order in page if status in {None, order.status}]
        return reply(shown, headers=headers)


def _created(order: CreatedOrder) -> web.Response:
    shown = {
        "id": order.id,
        "status": "pending",
        "amountCents": order.amount,
        "items": [
            {"id": item_id, "productId": item.product_id, "quantity": item.quantity}
            for item_id, item in zip(order.item_ids, order.command.items, strict=True)
        ],
    }
    return reply(shown, status=201, headers={"Location": f"/orders/{order.id}"})


def _show(order: Order) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": order.id,
        "status": order.status,
        "amountCents": order.amount,
        "items": [
            {"id": item.id, "productId": item.product_id, "quantity": item.quantity}
            for item in order.items
        ],
    }
    if order.reason is not None:
        shown["reason"] = order.reason
    return shown
