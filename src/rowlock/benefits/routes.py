"""HTTP ↔ command: the benefits shop. It alone shows major units: 75.99."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web
from marshmallow import fields

from rowlock.accounts.routes import CREATE_USER
from rowlock.accounts.rules import USERNAME_LENGTH, CreateUser
from rowlock.batching import Lane, group_commit, group_read
from rowlock.benefits.commands import PlacedOrder, place_orders
from rowlock.benefits.rules import PlaceOrder
from rowlock.database import Connection, Database
from rowlock.exceptions import (
    InsufficientBalance,
    ProductsAlreadyPurchased,
    ProductsNotFound,
    Rejection,
    UserNotFound,
)
from rowlock.queries import queries
from rowlock.settings import Settings
from rowlock.web.bodies import TEXT, Array, Body, Text, path_text, read_body
from rowlock.web.boundary import REQUEST_ID_KEY
from rowlock.web.commit import commit
from rowlock.web.docs import array, describe, number, record, text
from rowlock.web.replies import major_units, reply
from rowlock.web.service import SETTINGS, State

ROUTES = web.RouteTableDef()

FIND_SHOPPER: web.AppKey[Lane[str, Any]] = web.AppKey("find_shopper")
LIST_PRODUCTS: web.AppKey[Lane[None, Any]] = web.AppKey("list_products")
PLACE_ORDER: web.AppKey[Lane[PlaceOrder, PlacedOrder | Rejection]] = web.AppKey("place_order")

SLUG_LENGTH = 100
ORDER_ITEMS = 100


def state(database: Database, settings: Settings) -> State:
    """Return what this feature keeps."""
    return {
        FIND_SHOPPER: group_read("find_shopper", database, _find_shoppers, settings),
        LIST_PRODUCTS: group_read("list_products", database, _list_products, settings),
        PLACE_ORDER: group_commit("place_order", database, place_orders, settings),
    }


async def _find_shoppers(connection: Connection, usernames: Sequence[str]) -> dict[str, Any]:
    rows = await queries.benefits.find_shoppers(connection, usernames=usernames)
    return {row["username"]: row for row in rows}


async def _list_products(connection: Connection, _: Sequence[None]) -> dict[None, Any]:
    return {None: await queries.benefits.list_products(connection)}


class OrderSchema(Body):
    """What is bought, by whom."""

    items = Array(Text(longest=SLUG_LENGTH), longest=ORDER_ITEMS, required=True)
    user_id = Text(longest=USERNAME_LENGTH, required=True)


class OrderBody(Body):
    """`{"order": {"items": ["netflix"], "user_id": "johndoe"}}`."""

    order = fields.Nested(OrderSchema, required=True)


ORDER_BODY = OrderBody()

USERNAME = text("johndoe", pattern=TEXT["pattern"], minLength=1, maxLength=USERNAME_LENGTH)
SHOPPER_DATA = record("ShopperData", balance=number(424.01), product_ids=array(text("netflix")))
SHOPPER = record("Shopper", user_id=USERNAME, data=SHOPPER_DATA)
BENEFIT = record("Benefit", id=text("netflix"), name=text("Netflix"), price=number(75.99))
PURCHASE_DATA = record("PurchaseData", items=array(text("netflix")), total=number(75.99))
PURCHASE = record(
    "Purchase", order_id=text("123", pattern="^[1-9][0-9]{0,18}$"), data=PURCHASE_DATA
)


@ROUTES.get("/api/users/{user_id:[^/]+}")  # names may have braces
@describe({200: record("ShopperAnswer", user=SHOPPER)}, path={"user_id": USERNAME})
async def get_user(request: web.Request) -> web.Response:
    """Answer with the user of that name; an unknown one is given an account first."""
    username = path_text(request, "user_id", longest=USERNAME_LENGTH)
    shopper = await request.app[FIND_SHOPPER].submit(username)
    if shopper is None:
        opening_balance = request.app[SETTINGS].opening_balance
        command = CreateUser(username, opening_balance, request[REQUEST_ID_KEY])
        await request.app[CREATE_USER].submit(command)
        shopper = await request.app[FIND_SHOPPER].submit(username)
    data = {"balance": major_units(shopper["balance"]), "product_ids": shopper["product_ids"]}
    return reply({"user": {"user_id": username, "data": data}})


@ROUTES.get("/api/products")
@describe({200: record("BenefitsAnswer", products=array(BENEFIT))})
async def list_products(request: web.Request) -> web.Response:
    """Answer with the whole catalogue."""
    products = await request.app[LIST_PRODUCTS].submit(None)
    return reply(
        {
            "products": [
                {"id": row["slug"], "name": row["name"], "price": major_units(row["price"])}
                for row in products
            ]
        }
    )


@ROUTES.post("/api/orders")
@describe(
    {200: record("PurchaseAnswer", order=PURCHASE)},
    ProductsNotFound,
    ProductsAlreadyPurchased,
    InsufficientBalance,
    UserNotFound,
    body=ORDER_BODY,
    example={"order": {"items": ["netflix"], "user_id": "johndoe"}},
)
async def place_order(request: web.Request) -> web.Response:
    """Buy products for a user, paid from the balance."""
    order = (await read_body(request, ORDER_BODY))["order"]
    command = PlaceOrder(order["user_id"], tuple(order["items"]), request[REQUEST_ID_KEY])

    def placed(order: PlacedOrder) -> web.Response:
        data = {"items": command.items, "total": major_units(order.purchase.total)}
        return reply({"order": {"order_id": str(order.id), "data": data}})

    return await commit(request, PLACE_ORDER, command, placed)
