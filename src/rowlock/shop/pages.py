"""All pages of the shop, as one site."""

from aiohttp import web

from rowlock.accounts import Accounts
from rowlock.benefits import Benefits
from rowlock.catalogue import Catalogue
from rowlock.http.exchange import EXCHANGE
from rowlock.orders import Orders
from rowlock.pages.cookies import Cookies
from rowlock.pages.declaring import Pages
from rowlock.pages.frames import Frame
from rowlock.pages.sessions import Sessions
from rowlock.pages.sites import Site
from rowlock.settings import Settings
from rowlock.settings.names import ServiceName
from rowlock.shop import PATH
from rowlock.shop.accounts import AccountPages
from rowlock.shop.baskets import Baskets
from rowlock.shop.selling import SellingPages
from rowlock.shop.sign_in import SIGN_IN, SignInPages
from rowlock.shop.visitors import Visitors

COOKIE = "__Host-rowlock-shop"


class ShopFrame(Frame):
    """The frame of the shop."""

    def name_space(self, request: web.Request) -> str:
        """Return the name space of the keys of a visitor's forms, which is one of commerce."""
        return f"{ServiceName.COMMERCE} {request[EXCHANGE].actor}"


def open_shop(
    settings: Settings,
    benefits: Benefits,
    accounts: Accounts,
    orders: Orders,
    catalogue: Catalogue,
    *others: Pages,
) -> Site:
    """Return the shop's pages, and `others` beside them."""
    cookies = Cookies(settings.pages, "shop")
    sessions = Sessions(cookies, COOKIE, settings.pages.session_s)
    baskets = Baskets(cookies, settings.pages.session_s)
    frame = ShopFrame(settings, cookies, "shop", None)
    visitors = Visitors(frame, sessions, benefits)
    groups = (
        SellingPages(frame, visitors, baskets, benefits),
        SignInPages(frame, sessions, baskets, benefits),
        AccountPages(frame, visitors, accounts, orders, catalogue),
        *others,
    )
    return Site(frame, sessions, groups, sign_in=SIGN_IN, prefix=PATH)
