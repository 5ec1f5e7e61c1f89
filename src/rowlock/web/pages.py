"""Pages of lists: opaque cursors, page numbers, and Link headers (RFC 8288)."""

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import marshmallow
from aiohttp import web

from rowlock.exceptions import InvalidCursor
from rowlock.web.bodies import BIGINT_MAX, QueryInteger, parse_integer, takes

PAGE_SIZE = 20
PAGE_SIZE_LIMIT = 100
NUMBERED_PAGE_SIZE = 8  # of lists that are paged by number

OPAQUE = {
    "type": "string",
    "pattern": "^[A-Za-z0-9_-]+={0,2}$",
    "examples": ["MTAw"],
    "description": "From the Link header of the page before.",
}

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Cursor(marshmallow.fields.Field[int]):
    """An opaque cursor: the id before which the page starts."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**takes(kwargs, **OPAQUE))

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        position = parse_integer(_decode(value))
        if position is None:
            raise InvalidCursor
        return position


class TimeCursor(marshmallow.fields.Field[tuple[datetime, int]]):
    """An opaque cursor: the time and the id after which the page starts."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**takes(kwargs, **OPAQUE))

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[datetime, int]:
        since_epoch, _slash, last = _decode(value).partition("/")
        microseconds, row_id = parse_integer(since_epoch, -BIGINT_MAX), parse_integer(last)
        if microseconds is None or row_id is None:
            raise InvalidCursor
        try:
            return EPOCH + timedelta(microseconds=microseconds), row_id
        except OverflowError:
            raise InvalidCursor from None


def _decode(cursor: str) -> str:
    try:
        return base64.b64decode(cursor, b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise InvalidCursor from None


def by_id(row: Any) -> str:
    """Return where a Cursor after `row` points to."""
    return str(row["id"])


def by_time(column: str) -> Callable[[Any], str]:
    """Return what tells where a TimeCursor after a row points to, by the time in `column`."""

    def position(row: Any) -> str:
        microseconds = (row[column] - EPOCH) // timedelta(microseconds=1)
        return f"{microseconds}/{row['id']}"

    return position


class PageQuery(marshmallow.Schema):
    """The query parameters of a list that is paged by cursor."""

    limit = QueryInteger(maximum=PAGE_SIZE_LIMIT, load_default=PAGE_SIZE)
    before = Cursor(data_key="cursor", load_default=BIGINT_MAX)


def cut(
    request: web.Request,
    rows: Sequence[Any],
    limit: int,
    position: Callable[[Any], str] = by_id,
) -> tuple[Sequence[Any], dict[str, str]]:
    """Return the page, and its Link header if there is a next one.

    `rows` are those from the cursor on, one more than `limit` where there are more.
    """
    page = rows[:limit]
    if len(rows) <= limit:
        return page, {}
    cursor = base64.b64encode(position(page[-1]).encode(), b"-_").decode()
    return page, link_next(request, cursor=cursor)


def link_next(request: web.Request, **changes: str | int) -> dict[str, str]:
    """Return the Link header to the next page: this one's address with another query."""
    return {"Link": _link(request, "next", **changes)}


def _link(request: web.Request, relation: str, **changes: str | int) -> str:
    # Without the fragment, which is no part of a page's address and may hold anything.
    address = request.rel_url.with_fragment(None).update_query(changes)
    return f'<{address}>; rel="{relation}"'


class NumberQuery(marshmallow.Schema):
    """The query parameters of a list that is paged by number."""

    # Beyond it, places in the list would leave the range of bigint.
    page = QueryInteger(maximum=BIGINT_MAX // NUMBERED_PAGE_SIZE, load_default=1)


def places(pages: Iterable[int]) -> list[int]:
    """Return the places, from 1, of all items on the pages with these numbers."""
    return [
        place
        for page in pages
        for place in range((page - 1) * NUMBERED_PAGE_SIZE + 1, page * NUMBERED_PAGE_SIZE + 1)
    ]


def page_of(place: int) -> int:
    """Return the number of the page that the item at `place` is on."""
    return (place - 1) // NUMBERED_PAGE_SIZE + 1


def number_links(request: web.Request, page: int, total: int) -> dict[str, str]:
    """Return the Link header of page number `page` of a list of `total` items.

    It leads to pages that exist and to no others, so an empty list has none.
    """
    last = page_of(total)  # 0 for none
    pages = {
        "first": 1,
        "previous": min(page - 1, last),
        "next": page + 1,
        "last": last,
    }
    links = [
        _link(request, relation, page=number)
        for relation, number in pages.items()
        if 1 <= number <= last
    ]
    return {"Link": ", ".join(links)} if links else {}
