"""Requests that want to see all that was acknowledged before them (RFC 9111, section 5.2.1).

Where lists are read from a standby, these read the primary.
"""

from aiohttp import web
from multidict import istr

CACHE_CONTROL = istr("Cache-Control")
FRESH = frozenset({"no-cache", "no-store", "max-age=0"})  # a browser's reload has one of them


def wants_fresh(request: web.Request) -> bool:
    """Tell whether the client takes no answer that may be a few seconds old."""
    directives = ",".join(request.headers.getall(CACHE_CONTROL, ())).lower().split(",")
    return not FRESH.isdisjoint(map(str.strip, directives))
