"""JSON answers."""

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

CONTENT_TYPE = "application/json; charset=utf-8"

# On every answer: a browser takes it for what it says it is, and the server names no versions.
SAFETY: Mapping[str, str] = {"X-Content-Type-Options": "nosniff", "Server": "rowlock"}


def secure(response: web.StreamResponse) -> None:
    """Add what every answer carries: SAFETY, and that no cache keeps what it may not show again.

    What has an ETag may be kept by the client, which asks each time whether it is still so.
    """
    headers = response.headers
    headers.update(SAFETY)
    headers.setdefault("Cache-Control", "private, no-cache" if "ETag" in headers else "no-store")


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
