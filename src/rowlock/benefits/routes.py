"""HTTP ↔ command: the benefits shop. It alone shows major units: 75.99."""

from functools import partial

from aiohttp import web
from aiohttp.hdrs import METH_HEAD
from marshmallow import fields

from rowlock.accounts import names
from rowlock.accounts.names import USERNAME_LENGTH
from rowlock.benefits import Benefits
from rowlock.benefits.rules import PlacedOrder, PlaceOrder
from rowlock.errors import CrossSiteRequest
from rowlock.http.access import origin_of
from rowlock.http.answers import major_units, reply
from rowlock.http.bodies import Body
from rowlock.http.fields import JsonArray, Text
from rowlock.http.openapi.shapes import array, number, record, text
from rowlock.http.origins import check_origin
from rowlock.http.request import path_text, read_body
from rowlock.http.routes import Routes, route
from rowlock.http.submit import submit
from rowlock.rejections import (
    InsufficientBalance,
    ProductsAlreadyPurchased,
    ProductsNotFound,
    UserNotFound,
)

SLUG_LENGTH = 100
ORDER_ITEMS = 100


class BenefitOrder(Body):
    """What is bought, by whom."""

    items = JsonArray(Text(longest=SLUG_LENGTH), longest=ORDER_ITEMS, required=True)
    user_id = Text(longest=USERNAME_LENGTH, required=True, metadata={"pattern": names.PATTERN})


class BenefitOrderBody(Body):
    """`{"order": {"items": ["netflix"], "user_id": "johndoe"}}`."""

    order = fields.Nested(BenefitOrder, required=True)


ORDER_BODY = BenefitOrderBody()

USERNAME = text("johndoe", pattern=names.PATTERN, minLength=1, maxLength=USERNAME_LENGTH)
SHOPPER_DATA = record("ShopperData", balance=number(424.01), product_ids=array(text("netflix")))
SHOPPER = record("Shopper", user_id=text("johndoe"), data=SHOPPER_DATA)
BENEFIT = record("Benefit", id=text("netflix"), name=text("Netflix"), price=number(75.99))
PURCHASE_DATA = record("PurchaseData", items=array(text("netflix")), total=number(75.99))
PURCHASE = record(
    "Purchase", order_id=text("123", pattern="^[1-9][0-9]{0,18}$"), data=PURCHASE_DATA
)


class BenefitRoutes(Routes):
    """The benefits shop."""

    tag = "benefits"

    def __init__(self, benefits: Benefits, decimals: int) -> None:
        """Make the routes; `decimals` is how many the currency has."""
        self._benefits = benefits
        self._major_units = major_units(decimals)

    @route(
        "GET",
        "/api/users/{user_id:[^/]+}",  # names may have braces
        {200: record("ShopperAnswer", user=SHOPPER)},
        UserNotFound,
        CrossSiteRequest,
        parameters={"user_id": USERNAME},
        is_private=True,
        scope="benefits:write",  # it may open an account
    )
    async def get_user(self, request: web.Request) -> web.Response:
        """Get a shop user.

        An unknown user gets an account first, unless `ROWLOCK_BENEFITS_OPEN_ACCOUNTS` is 0. HEAD
        never opens one, nor may another site's page. Names that differ only in case, in how
        characters are composed, or in blanks are the same.
        """
        username = path_text(request, "user_id", longest=USERNAME_LENGTH)
        if request.method == METH_HEAD:
            shopper = await self._benefits.find_shopper.submit(username)
        else:
            may_open = partial(check_origin, request)
            shopper = await self._benefits.find_or_open(username, origin_of(request), may_open)
        if shopper is None:
            raise UserNotFound.of(username)
        data = {"balance": self._major_units(shopper.balance), "product_ids": shopper.product_ids}
        return reply({"user": {"user_id": shopper.username, "data": data}})

    @route("GET", "/api/products", {200: record("BenefitsAnswer", products=array(BENEFIT))})
    async def list_products(self, _: web.Request) -> web.Response:
        """List the catalogue, in major units."""
        products = await self._benefits.list_products.submit(None) or ()
        return reply(
            {
                "products": [
                    {"id": each.slug, "name": each.name, "price": self._major_units(each.price)}
                    for each in products
                ]
            }
        )

    @route(
        "POST",
        "/api/orders",
        {200: record("PurchaseAnswer", order=PURCHASE)},
        ProductsNotFound,
        ProductsAlreadyPurchased,
        InsufficientBalance,
        UserNotFound,
        body=ORDER_BODY,
        example={"order": {"items": ["netflix"], "user_id": "johndoe"}},
    )
    async def place_order(self, request: web.Request) -> web.Response:
        """Buy products from a user's balance, each once."""
        order = (await read_body(request, ORDER_BODY))["order"]
        await self._benefits.check_name(order["user_id"])
        command = PlaceOrder(order["user_id"], tuple(order["items"]), origin_of(request))

        def placed(order: PlacedOrder) -> web.Response:
            data = {"items": command.items, "total": self._major_units(order.purchase.total)}
            return reply({"order": {"order_id": str(order.id), "data": data}})

        return await submit(request, self._benefits.place_order, command, placed)
