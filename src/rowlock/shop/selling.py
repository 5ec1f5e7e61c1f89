"""The shop window: benefits, the basket, and buying what is in it."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aiohttp import web

from rowlock.benefits import Benefits
from rowlock.benefits.rules import CatalogueProduct, PlacedOrder, PlaceOrder, Shopper
from rowlock.errors import InvalidRequest
from rowlock.http.access import origin_of
from rowlock.pages.declaring import Pages, page
from rowlock.pages.forms import Form, Outcome, read_form
from rowlock.pages.frames import Frame
from rowlock.pages.templates import show_money
from rowlock.rejections import (
    InsufficientBalance,
    PriceChanged,
    ProductsAlreadyPurchased,
    ProductsNotFound,
    Rejection,
)
from rowlock.shop import PATH
from rowlock.shop.baskets import MOST_ITEMS, Baskets
from rowlock.shop.visitors import Visitors

RECEIPTS = f"{PATH}/receipts"
TOTAL = re.compile("[0-9]{1,20}")  # minor units


class Basket(NamedTuple):
    """What a visitor is about to buy."""

    products: Sequence[CatalogueProduct]
    total: int  # minor units
    remains: int  # of the balance; below 0 if it does not suffice


class SellingPages(Pages):
    """The catalogue and the basket."""

    def __init__(
        self, frame: Frame, visitors: Visitors, baskets: Baskets, benefits: Benefits
    ) -> None:
        self._frame = frame
        self._visitors = visitors
        self._baskets = baskets
        self._benefits = benefits

    @page("GET", PATH)
    async def show_shelf(self, request: web.Request) -> web.StreamResponse:
        """Show all benefits, and the basket."""
        shopper = await self._visitors.find(request)
        if shopper is None:
            return self._visitors.sign_out()
        products = await self._benefits.list_products.submit(None) or ()
        basket = self._fill(self._baskets.read(request), products, shopper)
        return await self._frame.show(
            request, "shop/shelf.html", shopper=shopper, products=products, basket=basket
        )

    @staticmethod
    def _fill(
        slugs: Sequence[str], products: Sequence[CatalogueProduct], shopper: Shopper
    ) -> Basket:
        """Return the basket without what is owned meanwhile, or not sold any more."""
        known = {product.slug: product for product in products}
        chosen = [
            known[slug] for slug in slugs if slug in known and slug not in shopper.product_ids
        ]
        total = sum(product.price for product in chosen)
        return Basket(chosen, total, shopper.balance - total)

    @page("POST", f"{PATH}/basket")
    async def change_basket(self, request: web.Request) -> web.StreamResponse:
        """Put a product into the basket, or take it out."""
        form = await read_form(request)
        slugs = self._baskets.read(request)
        slugs = [slug for slug in slugs if slug not in {form.given.get("remove"), None}]
        added = form.given.get("add")
        if added and added not in slugs:
            slugs.append(added)
        response = self._frame.redirect(PATH)
        if not self._baskets.write(response, slugs):
            full = "The basket is full. Buy what is in it first."
            return self._frame.redirect(PATH, Outcome(PATH, full, is_good=False))
        return response

    @page("POST", f"{PATH}/buy")
    async def buy(self, request: web.Request) -> web.StreamResponse:
        """Buy what the basket showed."""
        form = await read_form(request)
        items = form.lists.get("item", [])
        if not items or len(items) > MOST_ITEMS:
            raise InvalidRequest("There is nothing in the basket: open the shop again.")
        shopper = await self._visitors.find(request)
        if shopper is None:
            return self._visitors.sign_out()
        products = await self._benefits.list_products.submit(None) or ()
        names = {product.slug: product.name for product in products}
        response = await self._frame.act(
            request,
            form,
            self._benefits.place_order,
            PlaceOrder(shopper.username, tuple(items), origin_of(request), _agreed(form)),
            to=RECEIPTS,
            tells=self._tell,
            back=PATH,
            refuses=lambda rejection: self._refuse(rejection, names),
        )
        if response.headers["Location"] == RECEIPTS:
            self._baskets.empty(response)
        return response

    def _tell(self, order: PlacedOrder) -> str:
        return f"Bought for {self._show(order.purchase.total)}: receipt {order.id}."

    def _refuse(self, rejection: Rejection, names: Mapping[str, str]) -> str:
        """Return in words why nothing was bought."""
        match rejection:
            case InsufficientBalance():
                costs, has = rejection.details["amount"], rejection.details["balance"]
                return (
                    f"Nothing was bought: it costs {self._show(costs)}, and your balance is "
                    f"{self._show(has)}. Take something out of the basket."
                )
            case PriceChanged():
                costs = self._show(rejection.details["amount"])
                return f"Nothing was bought: the price has changed, it costs {costs} now."
            case ProductsAlreadyPurchased():
                return "Nothing was bought: you own some of it already, perhaps from another tab."
            case ProductsNotFound():
                gone = ", ".join(names.get(slug, slug) for slug in rejection.details["items"])
                return f"Nothing was bought: {gone} is not sold any more."
        return f"Nothing was bought. {rejection.message}"

    def _show(self, amount: int) -> str:
        money = self._frame.settings.money
        return f"{show_money(amount, money.decimals)} {money.currency}"


def _agreed(form: Form) -> int:
    """Return the total that the page showed, in minor units. Raises InvalidRequest."""
    total = form.given.get("total", "")
    if not TOTAL.fullmatch(total):
        raise InvalidRequest("The form has no total: open the shop again.")
    return int(total)
