"""Pages of lists: opaque cursors, and Link headers (RFC 8288)."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import marshmallow
from aiohttp import web

from rowlock import texts
from rowlock.errors import InvalidCursor
from rowlock.http.addresses import absolute
from rowlock.http.fields import (
    LONG_AGO,
    NEVER,
    REFERENCE_LENGTH,
    QueryInstant,
    QueryInteger,
    Text,
    parse_integer,
    with_schema,
)
from rowlock.http.openapi.shapes import BIGINT_MAX

PAGE_SIZE = 20
PAGE_SIZE_LIMIT = 100
CURSOR_TEXT = 500  # characters

OPAQUE = {
    "type": "string",
    "pattern": "^[A-Za-z0-9_-]+={0,2}$",
    "examples": ["MTAw"],
    "description": "From the Link header of the page before.",
}

Item = TypeVar("Item")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Cursor(marshmallow.fields.Field[int]):
    """An opaque cursor: the id before which the page starts."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**with_schema(kwargs, **OPAQUE))

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        position = parse_integer(_decode(value))
        if position is None:
            raise InvalidCursor
        return position


class TimeCursor(marshmallow.fields.Field[tuple[datetime, int]]):
    """An opaque cursor: the time and the id after which the page starts."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**with_schema(kwargs, **OPAQUE))

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[datetime, int]:
        since_epoch, _slash, last = _decode(value).partition("/")
        microseconds, row_id = parse_integer(since_epoch, -BIGINT_MAX), parse_integer(last)
        if microseconds is None or row_id is None:
            raise InvalidCursor
        try:
            return EPOCH + timedelta(microseconds=microseconds), row_id
        except OverflowError:
            raise InvalidCursor from None


class UuidCursor(marshmallow.fields.Field[tuple[datetime, UUID]]):
    """An opaque cursor: the time and the UUID after which the page starts."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**with_schema(kwargs, **OPAQUE))

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[datetime, UUID]:
        at, _slash, last = _decode(value).partition("/")
        try:
            return datetime.fromisoformat(at).astimezone(UTC), UUID(last)
        except (ValueError, OverflowError):
            raise InvalidCursor from None


class SpanCursor(marshmallow.fields.Field[tuple[int, int]]):
    """An opaque cursor: the id after which the page starts, and the one that ends the list."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**with_schema(kwargs, **OPAQUE))

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[int, int]:
        first, _slash, second = _decode(value).partition("/")
        after, last = parse_integer(first), parse_integer(second)
        if after is None or last is None:
            raise InvalidCursor
        return after, last


def _decode(cursor: str) -> str:
    try:
        return base64.b64decode(cursor, b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidCursor from None


def text_position(text: str, row_id: int) -> str:
    """Return where a TextCursor after the row `row_id` with this text points to."""
    return f"{row_id}/{text}"


def time_position(at: datetime, row_id: int) -> str:
    """Return where a TimeCursor after the row `row_id` at this time points to."""
    return f"{(at - EPOCH) // timedelta(microseconds=1)}/{row_id}"


class TextCursor(marshmallow.fields.Field[tuple[str, int]]):
    """An opaque cursor: the text and the id after which the page starts."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**with_schema(kwargs, **OPAQUE))

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[str, int]:
        first, slash, text = _decode(value).partition("/")
        row_id = parse_integer(first)
        if row_id is None or not slash or len(text) > CURSOR_TEXT or texts.CONTROL.search(text):
            raise InvalidCursor
        return text, row_id


class PageQuery(marshmallow.Schema):
    """The query parameters of a list that is paged by cursor."""

    limit = QueryInteger(maximum=PAGE_SIZE_LIMIT, load_default=PAGE_SIZE)
    before = Cursor(data_key="cursor", load_default=BIGINT_MAX)


class DocumentsQuery(PageQuery):
    """The query parameters of a list of documents. `from` is included, `to` is not."""

    user_id = QueryInteger(load_default=None)
    since = QueryInstant(data_key="from", load_default=LONG_AGO)
    until = QueryInstant(data_key="to", load_default=NEVER)
    reference = Text(
        longest=REFERENCE_LENGTH, load_default=None, metadata={"examples": ["2026-0042"]}
    )


def paginate(
    request: web.Request,
    items: Sequence[Item],
    limit: int,
    position: Callable[[Item], str],
) -> tuple[Sequence[Item], dict[str, str]]:
    """Return the page, and its Link header if there is a next one.

    `items` are those from the cursor on: `limit` of them, and one more if there is a next page.
    `position` returns where a cursor after an item points to.
    """
    page = items[:limit]
    if len(items) <= limit:
        return page, {}
    return page, link_after(request, position(page[-1]))


def link_after(request: web.Request, position: str) -> dict[str, str]:
    """Return the Link header to the page that starts after a position."""
    cursor = base64.b64encode(position.encode(), b"-_").decode()
    return link_next(request, cursor=cursor)


def link_next(request: web.Request, **changes: str | int) -> dict[str, str]:
    """Return the Link header to the next page: this one's address with another query."""
    return links(request, {"next": changes})


def links(request: web.Request, relations: Mapping[str, Mapping[str, str | int]]) -> dict[str, str]:
    """Return the Link header to other pages: this one's address with other queries."""
    # Without the fragment: a client may send one, with any text.
    address = request.rel_url.with_fragment(None)
    base = absolute(request, "")
    found = [
        f'<{base}{address.without_query_params(*changes).update_query(changes)}>; rel="{relation}"'
        for relation, changes in relations.items()
    ]
    return {"Link": ", ".join(found)} if found else {}
