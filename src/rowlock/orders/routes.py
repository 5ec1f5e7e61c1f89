"""HTTP ↔ command: orders. All amounts are minor units."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from aiohttp import web
from marshmallow import fields, validate

from rowlock.batching import Lane, group_commit, group_read
from rowlock.database import Connection, Database
from rowlock.exceptions import OrderNotFound, ProductsNotFound, Rejection, UnknownUser
from rowlock.orders.commands import CreatedOrder, create_orders, settle_orders
from rowlock.orders.rules import (
    STATUSES,
    CreateOrder,
    Item,
    PendingOrder,
    Settlement,
    SettleOrder,
)
from rowlock.queries import queries
from rowlock.settings import Settings
from rowlock.web.bodies import Array, Body, Integer, path_id, read_body, read_query
from rowlock.web.boundary import REQUEST_ID_KEY
from rowlock.web.commit import commit
from rowlock.web.docs import array, choice, created, describe, integer, record, text
from rowlock.web.pages import PageQuery, cut
from rowlock.web.replies import reply
from rowlock.web.service import DATABASE, TASKS, State

ROUTES = web.RouteTableDef()

LIST_PRODUCTS: web.AppKey[Lane[None, Any]] = web.AppKey("orders.list_products")
FIND_ORDER: web.AppKey[Lane[int, Any]] = web.AppKey("orders.find_order")
CREATE_ORDER: web.AppKey[Lane[CreateOrder, CreatedOrder | Rejection]] = web.AppKey(
    "orders.create_order"
)
SETTLE_ORDER: web.AppKey[Lane[SettleOrder, Settlement | PendingOrder | None]] = web.AppKey(
    "orders.settle_order"
)

# With the highest price of a product, no order's total leaves the range of bigint.
ITEMS_LIMIT = 100
QUANTITY_LIMIT = 10_000


def state(database: Database, settings: Settings) -> State:
    """Return what this feature keeps."""
    settle = partial(settle_orders, approval_rate=settings.approval_rate)
    return {
        LIST_PRODUCTS: group_read("list_catalogue", database, _list_products, settings),
        FIND_ORDER: group_read("find_order", database, _find_orders, settings),
        CREATE_ORDER: group_commit("create_order", database, create_orders, settings),
        SETTLE_ORDER: group_commit("settle_order", database, settle, settings),
    }


async def _list_products(connection: Connection, _: Sequence[None]) -> dict[None, Any]:
    return {None: await queries.benefits.list_products(connection)}


async def _find_orders(connection: Connection, order_ids: Sequence[int]) -> dict[int, Any]:
    rows = await queries.orders.find_orders(connection, order_ids=order_ids)
    return {row["id"]: _order_json(row) for row in rows}


def _order_json(row: Any) -> dict[str, Any]:
    order = {
        "id": row["id"],
        "status": row["status"],
        "amountCents": row["amount"],
        "items": [
            {"id": item_id, "productId": product_id, "quantity": quantity}
            for item_id, product_id, quantity in zip(
                row["item_ids"], row["product_ids"], row["quantities"], strict=True
            )
        ],
    }
    if row["reason"] is not None:
        order["reason"] = row["reason"]
    return order


class ItemSchema(Body):
    """A line of an order."""

    product_id = Integer(data_key="productId", required=True)
    quantity = Integer(maximum=QUANTITY_LIMIT, required=True)


class OrderBody(Body):
    """`{"items": [{"productId": 1, "quantity": 2}], "userId": 7}`."""

    items = Array(fields.Nested(ItemSchema), longest=ITEMS_LIMIT, required=True)
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


@ROUTES.get("/products")
@describe({200: array(PRODUCT)})
async def list_products(request: web.Request) -> web.Response:
    """Answer with the whole catalogue."""
    products = await request.app[LIST_PRODUCTS].submit(None)
    return reply(
        [{"id": row["id"], "name": row["name"], "priceCents": row["price"]} for row in products]
    )


@ROUTES.post("/orders")
@describe(
    {201: created(ORDER, at="/orders/1")},
    ProductsNotFound,
    UnknownUser,
    body=ORDER_BODY,
    example={"items": [{"productId": 1, "quantity": 2}], "userId": 1},
)
async def create_order(request: web.Request) -> web.Response:
    """Create an order; it is settled in the background."""
    body = await read_body(request, ORDER_BODY)
    items = tuple(Item(item["product_id"], item["quantity"]) for item in body["items"])

    def created(order: CreatedOrder) -> web.Response:
        shown = {
            "id": order.id,
            "status": "pending",
            "amountCents": order.amount,
            "items": [
                {"id": item_id, "productId": item.product_id, "quantity": item.quantity}
                for item_id, item in zip(order.item_ids, items, strict=True)
            ],
        }
        return reply(shown, status=201, headers={"Location": f"/orders/{order.id}"})

    command = CreateOrder(body["user_id"], items, request[REQUEST_ID_KEY])
    response = await commit(request, CREATE_ORDER, command, created)
    request.app[TASKS].wake("order_processor")
    return response


@ROUTES.get("/orders/{id}")
@describe({200: ORDER}, OrderNotFound)
async def get_order(request: web.Request) -> web.Response:
    """Answer with one order; a refused one has a reason."""
    order_id = path_id(request)
    order = await request.app[FIND_ORDER].submit(order_id)
    if order is None:
        raise OrderNotFound(f"There is no order {order_id}.", order_id=order_id)
    return reply(order)


@ROUTES.get("/orders")
@describe({200: array(ORDER)}, query=ORDERS_QUERY)
async def list_orders(request: web.Request) -> web.Response:
    """Answer with a page of orders, newest first."""
    query = read_query(request, ORDERS_QUERY)
    listing = {
        None: queries.orders.list_orders,
        "pending": queries.orders.list_pending_orders,
        "approved": queries.orders.list_approved_orders,
        "refused": queries.orders.list_refused_orders,
    }[query["status"]]
    async with request.app[DATABASE].reader() as connection:
        rows = await listing(connection, before=query["before"], page_size=query["limit"] + 1)
        page, headers = cut(request, rows, query["limit"])
        orders = await _find_orders(connection, [row["id"] for row in page])
    # One that was settled between the two statements is not in that status any more.
    return reply(
        [
            order
            for order in (orders[row["id"]] for row in page)
            if query["status"] in {None, order["status"]}
        ],
        headers=headers,
    )
