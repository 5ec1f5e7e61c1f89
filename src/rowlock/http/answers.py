"""Answers: JSON, and the headers that each has."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import hdrs, web
from multidict import CIMultiDict, istr

CONTENT_TYPE = "application/json; charset=utf-8"

# What every answer says: no sniffing, no versions.
ALWAYS = CIMultiDict({istr("X-Content-Type-Options"): "nosniff", hdrs.SERVER: "rowlock"})


def head(own: Mapping[str, str]) -> CIMultiDict[str]:
    """Return the headers of an answer that has its `own` ones besides those of every answer.

    No cache may keep an answer, except one with an ETag: the client may keep that, and asks each
    time whether it is still valid.
    """
    headers = CIMultiDict(own)
    headers.update(ALWAYS)
    if hdrs.CACHE_CONTROL not in headers:
        headers[hdrs.CACHE_CONTROL] = "private, no-cache" if hdrs.ETAG in headers else "no-store"
    return headers


EMPTY_HEAD = head({})
JSON_HEAD = head({hdrs.CONTENT_TYPE: CONTENT_TYPE})  # of most answers, which copy it as a whole
BY_ACCEPT = {"Vary": "Accept"}  # of answers that are in one media type or another


def reply(
    data: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return `data` as a JSON answer. Times are UTC, with a Z."""
    return web.Response(
        body=orjson.dumps(data, option=orjson.OPT_UTC_Z),
        status=status,
        headers=head({**headers, hdrs.CONTENT_TYPE: CONTENT_TYPE}) if headers else JSON_HEAD,
    )


def no_content(_: object = None) -> web.Response:
    """Return the 204 of what was deleted, whatever its outcome is."""
    return web.Response(status=204, headers=EMPTY_HEAD)


def major_units(decimals: int) -> Callable[[int], orjson.Fragment]:
    """Return what shows minor units as a JSON number of major ones, exactly.

    With 2 decimals, 7599 is 75.99, and 50000 is 500.
    """
    one = 10**decimals
    # What follows the major units, by the number of minor ones: nothing, .01, …, .1, …, .99.
    fractions = ["", *(f".{minor:0{decimals}d}".rstrip("0") for minor in range(1, one))]

    def show(amount: int) -> orjson.Fragment:
        whole, rest = divmod(amount, one)
        return orjson.Fragment(f"{whole}{fractions[rest]}")

    return show
