"""Reading requests: bodies, path parameters and query strings."""

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import marshmallow
from aiohttp import web

from rowlock import texts
from rowlock.errors import InvalidRequest, UnsupportedMediaType
from rowlock.http.expectations import ask_for_body
from rowlock.http.fields import parse_integer
from rowlock.http.openapi.shapes import BIGINT_MAX, JSON
from rowlock.http.service import SETTINGS
from rowlock.http.strict_json import check_names, invalid_request, parse

EMPTY_BODY = marshmallow.Schema()


def path_id(request: web.Request, name: str = "id") -> int:
    """Return the id in the path. Raises InvalidRequest if it can't be one."""
    number = parse_integer(request.match_info[name])
    if number is None:
        raise InvalidRequest(
            f"The {name} in the path must be a whole number from 1 to {BIGINT_MAX}.",
            **{name: request.match_info[name]},
        )
    return number


def path_text(request: web.Request, name: str, *, longest: int) -> str:
    """Return the text in the path. Raises InvalidRequest if it is too long or has controls."""
    text = request.match_info[name]
    try:
        unquote(request.raw_path, errors="strict")  # aiohttp leaves malformed UTF-8 as it is
    except UnicodeDecodeError:
        raise InvalidRequest(f"The {name} in the path is not UTF-8.") from None
    if len(text) > longest or texts.CONTROL.search(text):
        raise InvalidRequest(
            f"The {name} in the path must have 1 to {longest} characters, none a control."
        )
    return text


async def read_body(request: web.Request, schema: marshmallow.Schema) -> Any:
    """Return the JSON body as `schema` loads it.

    Raises UnsupportedMediaType, InvalidJson, InvalidRequest, or aiohttp's 413.
    """
    if request.content_type != JSON:
        raise UnsupportedMediaType
    body = await read_bytes(request)
    data = parse(body)
    loaded = _load(schema, data)
    check_names(body, data)
    return loaded


async def read_optional_body(request: web.Request, schema: marshmallow.Schema) -> Any:
    """Return the JSON body as `schema` loads it, or loads an empty one if there is none.

    Raises as `read_body` does.
    """
    if request.can_read_body and await read_bytes(request):
        return await read_body(request, schema)
    return schema.load({})


async def read_empty_body(request: web.Request) -> None:
    """Check that the body is absent or an empty object. Raises as `read_body` does."""
    await read_optional_body(request, EMPTY_BODY)


async def read_bytes(request: web.Request) -> bytes:
    """Return the bytes of the body. Raises InvalidRequest, or aiohttp's 413."""
    try:
        if request.content.is_eof():  # it arrived with the headers, as short bodies do
            return await request.read()
        await ask_for_body(request)
        async with asyncio.timeout(request.app[SETTINGS].http.body_timeout_s):
            return await request.read()
    except TimeoutError:
        raise InvalidRequest("The body did not arrive in time.") from None
    except (web.RequestPayloadError, ConnectionError):
        raise InvalidRequest("The body can't be read.") from None


def read_query(request: web.Request, schema: marshmallow.Schema) -> dict[str, Any]:
    """Return the query string as `schema` loads it. Raises InvalidRequest."""
    query = request.query
    if len(set(query)) != len(query):
        raise InvalidRequest("A parameter is given twice.")
    loaded: dict[str, Any] = _load(schema, dict(query))
    return loaded


def _load(schema: marshmallow.Schema, data: Any) -> Any:
    try:
        return schema.load(data)
    except marshmallow.ValidationError as error:
        raise invalid_request(_flatten(error.messages)) from None


def _flatten(messages: Any, path: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield each problem of a nested error by its dotted path, as in order.items.0."""
    if isinstance(messages, dict):
        for key, nested in messages.items():
            yield from _flatten(nested, f"{path}.{key}" if path else str(key))
    else:
        yield path.removesuffix("._schema"), [str(message) for message in messages]
