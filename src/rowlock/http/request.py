"""Reading requests: bodies, path parameters and query strings."""

import asyncio
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any
from urllib.parse import unquote

import marshmallow
from aiohttp import hdrs, web

from rowlock import texts
from rowlock.errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType
from rowlock.http.exchange import EXCHANGE
from rowlock.http.expectations import ask_for_body
from rowlock.http.fields import Strict, parse_integer
from rowlock.http.intake import INTAKE, LARGE_BYTES, PRESS, SMALL_BYTES, UNPROVEN
from rowlock.http.openapi.shapes import JSON
from rowlock.http.strict_json import check_count, check_names, invalid_request, parse
from rowlock.rejections import Missing


class EmptyBody(Strict):
    """`{}`, or nothing."""


EMPTY_BODY = EmptyBody()


def path_id(request: web.Request, missing: type[Missing], name: str = "id") -> int:
    """Return the id in the path, under that name. Raises `missing` if it can't be one.

    Each id has one spelling: `01` and `+1` are not the id 1.
    """
    given = request.match_info[name]
    number = parse_integer(given)
    if number is None or given.startswith("0"):
        raise missing.of(given)
    return number


def path_text(request: web.Request, name: str, *, longest: int) -> str:
    """Return the text in the path. Raises InvalidRequest if it is too long or has controls."""
    text = request.match_info[name]
    _check_encoding(request.raw_path, f"The {name} in the path")
    if len(text) > longest or texts.CONTROL.search(text):
        raise InvalidRequest(
            f"The {name} in the path must have 1 to {longest} characters, and no controls."
        )
    return text


async def read_body(
    request: web.Request,
    schema: marshmallow.Schema,
    *,
    is_proven: bool = True,
    longest: int | None = None,
) -> Any:
    """Return the JSON body as `schema` loads it.

    Until a request `is_proven` to come from a caller that may send it, its body must be short. It
    has `longest` bytes at most, where a route takes other bodies than its service does.
    Raises UnsupportedMediaType, InvalidJson, InvalidRequest, BodyTooLarge, or aiohttp's 413, and
    Overloaded if other bodies leave no room for it.
    """
    # aiohttp's own reading of the header takes a while, and most clients write it like this.
    if request.headers.get(hdrs.CONTENT_TYPE) != JSON and request.content_type != JSON:
        raise UnsupportedMediaType
    body = await read_bytes(request, is_proven=is_proven, longest=longest)
    if len(body) <= LARGE_BYTES:
        return _interpret(body, request, schema)
    async with request.app[PRESS].turn():
        return _interpret(body, request, schema)


def _interpret(body: bytes, request: web.Request, schema: marshmallow.Schema) -> Any:
    check_count(body, request[EXCHANGE].limits.body_values)
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


async def read_bytes(
    request: web.Request, *, is_proven: bool = True, longest: int | None = None
) -> bytes:
    """Return the body as it came; `is_proven` and `longest` are as in `read_body`.

    Raises UnsupportedMediaType if it is compressed, InvalidRequest, BodyTooLarge, aiohttp's 413, or
    Overloaded.
    """
    exchange = request[EXCHANGE]
    if exchange.body is not None:
        return exchange.body
    if longest is not None:
        request = request.clone(client_max_size=longest)  # of the same message, not read yet
    limits = exchange.limits
    limit = request.client_max_size if is_proven else limits.webhook_body_bytes
    content = request.content
    is_here = content.is_eof()  # it came along with the head, as short ones do
    if hdrs.CONTENT_ENCODING in request.headers and request.can_read_body:
        _refuse_coding(request.headers.getall(hdrs.CONTENT_ENCODING))
    size = content.total_bytes if is_here else request.content_length
    if size is None:  # in chunks: the size is unknown
        size = request.client_max_size
    elif size > limit:
        raise BodyTooLarge
    if size > SMALL_BYTES or not is_here:
        intake = request.app[INTAKE if is_proven else UNPROVEN]
        exchange.share = await intake.take(size)
    try:
        if is_here:
            exchange.body = content.read_nowait()  # request.read() would wait, in several steps
            return exchange.body
        await ask_for_body(request)
        async with asyncio.timeout(limits.body_timeout_s):
            body = await request.read()
    except TimeoutError:
        raise InvalidRequest("The body did not arrive in time.") from None
    except (web.RequestPayloadError, ConnectionError) as error:
        # The request keeps it: with its frames it would be a cycle, and all that was read garbage.
        error.__traceback__ = None
        raise InvalidRequest("The body can't be read.") from None
    if len(body) > limit:
        raise BodyTooLarge
    exchange.body = body
    return body


def _refuse_coding(lines: Iterable[str]) -> None:
    """Raise UnsupportedMediaType if a body is compressed: a short one may be huge."""
    codings = {coding.strip().lower() for coding in ",".join(lines).split(",")}
    if not codings <= {"", "identity"}:
        raise UnsupportedMediaType("The body must not be compressed: leave out Content-Encoding.")


def read_query(request: web.Request, schema: marshmallow.Schema) -> dict[str, Any]:
    """Return the query string as `schema` loads it. Raises InvalidRequest."""
    query = request.query
    if "%" in request.raw_path:
        _check_encoding(request.raw_path.partition("?")[2], "The query")
    if len(set(query)) != len(query):
        raise InvalidRequest("A parameter is given twice.")
    loaded: dict[str, Any] = _load(schema, dict(query))
    return loaded


def _check_encoding(quoted: str, what: str) -> None:
    """Raise InvalidRequest for malformed UTF-8, which aiohttp leaves as it is."""
    try:
        unquote(quoted, errors="strict")
    except UnicodeDecodeError:
        raise InvalidRequest(f"{what} is not UTF-8.") from None


def _load(schema: marshmallow.Schema, data: Any) -> Any:
    try:
        return schema.load(data)
    except marshmallow.ValidationError as error:
        raise invalid_request(_flatten(error.messages)) from None


def _flatten(messages: Any, path: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield each problem of a nested error by its dotted path, as in order.items.0.

    Those that Strict does not list come without texts.
    """
    if isinstance(messages, dict):
        for key, nested in messages.items():
            yield from _flatten(nested, f"{path}.{key}" if path else str(key))
    elif isinstance(messages, int):
        yield from repeat((path, []), messages)
    else:
        yield path.removesuffix("._schema"), [str(message) for message in messages]
