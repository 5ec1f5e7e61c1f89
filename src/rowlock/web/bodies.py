"""Reading requests: JSON bodies, path parameters and query strings, strictly.

A field's `metadata` says in JSON Schema what it takes, for the OpenAPI document.
"""

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import unquote

import marshmallow
import orjson
from aiohttp import web
from marshmallow import fields, validate

from rowlock.exceptions import InvalidJson, InvalidRequest, UnsupportedMediaType
from rowlock.web.expectations import ask_for_body
from rowlock.web.replies import JSON
from rowlock.web.service import SETTINGS

BIGINT_MAX = 2**63 - 1
SMALLEST_FRACTION = 1e-20
REPEATED = object()
NOTHING = marshmallow.Schema()

# What asyncpg takes for PostgreSQL's -infinity and infinity.
INFINITIES = frozenset({datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)})

# C0 and C1 controls, and lone surrogates, which are no Unicode text.
CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
TIMESTAMP = {
    "type": "string",
    "format": "date-time",
    "examples": ["2026-11-21T09:30:00.250Z"],
}
NUMBERS = f"0, or between {SMALLEST_FRACTION} and 2^63 in absolute value"
TEXT = {"type": "string", "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$"}


def takes(options: dict[str, Any], **keywords: Any) -> dict[str, Any]:
    """Return a field's options with JSON Schema `keywords` in its metadata."""
    return {**options, "metadata": keywords | options.get("metadata", {})}


class Body(marshmallow.Schema):
    """A schema that loads what is valid field by field, in half of marshmallow's time.

    What is not valid is left to marshmallow, which looks for everything that is wrong with it.
    Unknown fields are not valid. For hooks, such as `post_load`, take marshmallow's own Schema.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._plan = [
            (field.data_key or name, name, field) for name, field in self.load_fields.items()
        ]

    def load(self, data: Any, **options: Any) -> Any:
        """Return `data` as the fields load it. Raises ValidationError."""
        try:
            return self._load_valid(data)
        except marshmallow.ValidationError:
            return super().load(data, **options)

    def _load_valid(self, data: Any) -> dict[str, Any]:
        if type(data) is not dict:
            raise marshmallow.ValidationError("")
        loaded = {}
        known = 0
        for key, name, field in self._plan:
            value = data.get(key, marshmallow.missing)
            known += value is not marshmallow.missing
            value = field.deserialize(value, key, data)
            if value is not marshmallow.missing:
                loaded[name] = value
        if known != len(data):
            raise marshmallow.ValidationError("")
        return loaded


class Integer(fields.Integer):
    """A JSON integer from `minimum` to `maximum`: no string, no fraction, not true or false."""

    def __init__(self, *, minimum: int = 1, maximum: int = BIGINT_MAX, **kwargs: Any) -> None:
        super().__init__(
            strict=True,
            validate=validate.Range(
                minimum, maximum, error=f"Must be a whole number from {minimum} to {maximum}."
            ),
            **kwargs,
        )

    def _validated(self, value: Any) -> int:
        if type(value) is not int:
            raise self.make_error("invalid")
        return value


class Text(fields.String):
    """A JSON string of 1 to `longest` characters, none a control character."""

    def __init__(self, *, longest: int, **kwargs: Any) -> None:
        super().__init__(validate=validate.Length(1, longest), **takes(kwargs, **TEXT))

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if CONTROL_CHARACTER.search(text):
            raise marshmallow.ValidationError("Must not contain control characters.")
        return text


class Array(fields.List[Any]):
    """A JSON array of `shortest` to `longest` items; of one that is too long, none is looked at.

    Else a body of 64 KiB, all of it empty items, takes most of a second and 2 MB of complaints.
    """

    def __init__(self, item: fields.Field[Any], *, longest: int, shortest: int = 1, **kwargs: Any):
        super().__init__(item, **takes(kwargs, minItems=shortest, maxItems=longest))
        self._check_length = validate.Length(shortest, longest)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> list[Any]:
        if isinstance(value, list):
            self._check_length(value)
            try:
                return [self.inner.deserialize(item) for item in value]
            except marshmallow.ValidationError:
                pass  # marshmallow says which of them are wrong
        return super()._deserialize(value, attr, data, **kwargs)


class JsonObject(fields.Field[str]):
    """Any JSON object whose compact text has `longest` bytes at most; loaded as that text.

    PostgreSQL writes a number out: 1e308 with 309 digits. In the range of those that are taken, it
    never prints more than five times the compact text.
    """

    def __init__(self, *, longest: int, **kwargs: Any) -> None:
        limits = f"At most {longest} bytes as compact JSON. Its numbers are {NUMBERS}."
        super().__init__(**takes(kwargs, type="object", description=limits))
        self._longest = longest

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if not isinstance(value, dict):
            raise marshmallow.ValidationError("Must be an object.")
        if _has_far_number(value):
            where = _find(value, _is_far_number)
            raise marshmallow.ValidationError({where: [f"Must be {NUMBERS}."]})
        try:
            text = orjson.dumps(value)
        except orjson.JSONEncodeError:  # it writes less deep than it reads
            raise marshmallow.ValidationError("Must not be nested so deeply.") from None
        if len(text) > self._longest:
            raise marshmallow.ValidationError(f"Must not have more than {self._longest} bytes.")
        return text.decode()


class Instant(fields.Field[datetime]):
    """A time in ISO 8601 with its offset from UTC, such as 2026-11-21T09:30:00.250Z."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**takes(kwargs, **TIMESTAMP))

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> datetime:
        if not isinstance(value, str):
            raise marshmallow.ValidationError("Must be a text in ISO 8601.")
        try:
            instant = datetime.fromisoformat(value)
            if instant.utcoffset() is None:
                raise marshmallow.ValidationError("Must have an offset from UTC, or a Z.")
            instant = instant.astimezone(UTC)
            if instant in INFINITIES:
                raise ValueError
        except (ValueError, OverflowError):
            raise marshmallow.ValidationError(
                "Must be a time in ISO 8601 between the years 1 and 9999."
            ) from None
        return instant


class QueryInteger(fields.Field[int]):
    """A whole number in a query string, from `minimum` to `maximum`."""

    def __init__(self, *, minimum: int = 1, maximum: int = BIGINT_MAX, **kwargs: Any) -> None:
        super().__init__(**takes(kwargs, type="integer", minimum=minimum, maximum=maximum))
        self._range = minimum, maximum

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        number = parse_integer(value, *self._range)
        if number is None:
            raise marshmallow.ValidationError(
                "Must be a whole number from {} to {}.".format(*self._range)
            )
        return number


def parse_integer(text: str, minimum: int = 1, maximum: int = BIGINT_MAX) -> int | None:
    """Return the decimal number `text`, or None if it is none or out of range."""
    if not re.fullmatch(r"-?[0-9]{1,19}", text) or not minimum <= int(text) <= maximum:
        return None
    return int(text)


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
        unquote(request.raw_path, errors="strict")  # aiohttp leaves what is no UTF-8 as it is
    except UnicodeDecodeError:
        raise InvalidRequest(f"The {name} in the path is not UTF-8.") from None
    if len(text) > longest or CONTROL_CHARACTER.search(text):
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
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidJson(f"The body is not valid JSON: {error}.") from None
    # PostgreSQL has no NUL in text. Raw ones are no JSON; only an escape can carry one.
    has_escapes = b"\\" in body  # far quicker to tell than which
    if has_escapes and b"\\u0000" in body:
        nul = _find(data, lambda value: isinstance(value, str) and "\0" in value)
        _refuse(nul, "Must not contain a NUL character.")
    loaded = _load(schema, data)
    _check_names(body, data, has_escapes=has_escapes)
    return loaded


def _check_names(body: bytes, data: Any, *, has_escapes: bool) -> None:
    """Raise InvalidRequest if an object in `body` has a name twice: `data` has the last one only.

    Each member has a colon. So a body has as many as what was read of it, those in texts included,
    unless members were lost. An escaped one could hide that.
    """
    try:
        kept = orjson.dumps(data).count(b":")
    except orjson.JSONEncodeError:  # it writes less deep than it reads
        raise InvalidRequest("The body is nested too deeply.") from None
    if body.count(b":") != kept or (has_escapes and b"\\u003a" in body.lower()):
        found: list[str] = []
        try:
            again = json.loads(body, object_pairs_hook=partial(_mark_repeated, found))
        except RecursionError:  # so deep can only be what was lost
            raise InvalidRequest("The body is nested too deeply.") from None
        if found:
            _refuse(_find(again, lambda value: value is REPEATED), "Must not be given twice.")


async def read_nothing(request: web.Request) -> None:
    """See to it that the request has no body, or an empty object. Raises as `read_body` does."""
    if request.can_read_body and await read_bytes(request):
        await read_body(request, NOTHING)


async def read_bytes(request: web.Request) -> bytes:
    """Return the body as it came. Raises InvalidRequest, or aiohttp's 413."""
    try:
        if request.content.is_eof():  # it came along with the headers, as short ones do
            return await request.read()
        await ask_for_body(request)
        async with asyncio.timeout(request.app[SETTINGS].body_timeout_s):
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


def invalid_request(problems: Iterable[tuple[str, list[str]]]) -> InvalidRequest:
    """Return the error that says what is wrong where, by dotted paths."""
    details = dict(problems)
    field, complaints = next(iter(details.items()))
    at = "" if field == "_schema" else f"{field}: "
    invalid = InvalidRequest(f"The request is not valid: {at}{complaints[0]}")
    invalid.details = details  # not as keywords: the client has chosen the names
    return invalid


def _refuse(path: str | None, problem: str) -> None:
    if path is not None:
        raise invalid_request([(path, [problem])])


def _flatten(messages: Any, path: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield each problem of a nested error by its dotted path, as in order.items.0."""
    if isinstance(messages, dict):
        for key, nested in messages.items():
            yield from _flatten(nested, f"{path}.{key}" if path else str(key))
    else:
        yield path.removesuffix("._schema"), [str(message) for message in messages]


def _find(data: Any, is_wrong: Callable[[Any], bool]) -> str | None:
    """Return the dotted path of the first name or value in parsed JSON that is wrong.

    Not by recursion, as orjson nests deeper; and a path is made only for what is found.
    """
    path: list[Any] = []
    open_ = [_members(data)]
    while open_:
        for name, value in open_[-1]:
            if is_wrong(name) or is_wrong(value):
                return ".".join(map(str, [*path, name]))
            if isinstance(value, dict | list):
                path.append(name)
                open_.append(_members(value))
                break
        else:
            open_.pop()
            del path[-1:]
    return None


def _members(data: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(data, dict):
        return iter(data.items())
    return iter(enumerate(data if isinstance(data, list) else ()))


def _has_far_number(data: dict[str, Any] | list[Any]) -> bool:
    """Tell whether `data` has a number that is not taken: `_find` would need ten times as long."""
    waiting: list[Any] = [data]
    for container in waiting:
        for value in container.values() if type(container) is dict else container:
            kind = type(value)
            if kind is str:
                continue
            if kind is int:
                if not -BIGINT_MAX - 1 <= value <= BIGINT_MAX:
                    return True
            elif kind is float:  # as are whole numbers beyond 64 bits
                if value != 0 and not SMALLEST_FRACTION <= abs(value) < BIGINT_MAX:
                    return True
            elif kind is dict or kind is list:
                waiting.append(value)
    return False


def _is_far_number(value: Any) -> bool:
    return not isinstance(value, dict | list) and _has_far_number([value])


def _mark_repeated(found: list[str], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object's members; of one that has a name twice, only that name, marked."""
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            found.append(name)
            return {name: REPEATED}
        members[name] = value
    return members
