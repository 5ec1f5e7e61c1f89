"""Baskets: what a visitor is about to buy. An encrypted cookie has it, and no row."""

from collections.abc import Sequence

from aiohttp import web

from rowlock.pages.cookies import Cookies

COOKIE = "__Host-rowlock-basket"
MOST_BYTES = 2000  # of all its slugs: a cookie holds no more
MOST_ITEMS = 100  # as in an order


class Baskets:
    """The baskets of all visitors."""

    def __init__(self, cookies: Cookies, lifetime_s: float) -> None:
        self._cookies = cookies
        self._lifetime_s = lifetime_s

    def read(self, request: web.Request) -> list[str]:
        """Return the slugs of the products in the visitor's basket."""
        data = self._cookies.read(request, COOKIE, self._lifetime_s) or {}
        slugs = data.get("slugs", [])
        return [*dict.fromkeys(slug for slug in slugs if isinstance(slug, str))]

    def write(self, response: web.StreamResponse, slugs: Sequence[str]) -> bool:
        """Let the visitor's browser keep a basket. Return False if it is too large, and do not."""
        if len(slugs) > MOST_ITEMS or sum(len(slug.encode()) + 3 for slug in slugs) > MOST_BYTES:
            return False
        self._cookies.write(response, COOKIE, {"slugs": [*slugs]}, self._lifetime_s)
        return True

    def empty(self, response: web.StreamResponse) -> None:
        """Let the visitor's browser forget the basket."""
        self._cookies.remove(response, COOKIE)
