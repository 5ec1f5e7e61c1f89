"""JSON answers."""

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

CONTENT_TYPE = "application/json; charset=utf-8"


def secure(response: web.StreamResponse) -> None:
    """Add the headers of every answer: no sniffing, no versions, and who may keep it.

    No cache may keep an answer, but for one with an ETag: that the client may keep, if it asks each
    time whether it still holds. One by one, as `update` takes four times as long.
    """
    headers = response.headers
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Server"] = "rowlock"
    if "Cache-Control" not in headers:
        headers["Cache-Control"] = "private, no-cache" if "ETag" in headers else "no-store"


def reply(
    data: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return `data` as a JSON answer. Times are UTC, with a Z."""
    body = orjson.dumps(data, option=orjson.OPT_UTC_Z)
    return web.Response(
        body=body, status=status, headers={**(headers or {}), "Content-Type": CONTENT_TYPE}
    )


def major_units(cents: int) -> orjson.Fragment:
    """Return minor units as a JSON number of major ones, exactly: 7599 as 75.99, 50000 as 500."""
    whole, rest = divmod(cents, 100)
    return orjson.Fragment(f"{whole}.{rest:02d}".rstrip("0") if rest else str(whole))
