"""Lists on pages: filters in the URL, pages by key, and all of it as CSV.

A list is read in the order of an index, from a key on: `cursor` in the URL. Nothing is counted, and
no page is slower than the first.
"""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import marshmallow
from aiohttp import web

from rowlock.http.csv_lines import CONTENT_TYPE, write_lines
from rowlock.http.fields import LONG_AGO, NEVER
from rowlock.http.openapi.shapes import BIGINT_MAX
from rowlock.http.paging import Cursor
from rowlock.http.streaming import stream
from rowlock.pages import forms
from rowlock.pages.fields import Day

PAGE_SIZE = 50
CSV_PAGE_SIZE = 1000
CURSOR, FORMAT, PART = "cursor", "format", "part"
OLDEST_FIRST = "oldest first"  # else newest first

Item = TypeVar("Item")
Key = TypeVar("Key")


class FormatQuery(marshmallow.Schema):
    """What the URL of a list may say, besides its filters and its cursor, which is `before`."""

    format = marshmallow.fields.String(
        load_default=None, validate=marshmallow.validate.OneOf(["csv"])
    )


class ListQuery(FormatQuery):
    """And of a list in the order of ids."""

    before = Cursor(data_key=CURSOR, load_default=BIGINT_MAX)


class PeriodQuery(ListQuery):
    """And of a list that is filtered by time. Both days are included."""

    since = Day(data_key="from", load_default=LONG_AGO)
    until = Day(data_key="to", is_end=True, load_default=NEVER)


class SortedQuery(PeriodQuery):
    """And of a list that can be read from either end."""

    sort = marshmallow.fields.String(
        load_default=None, validate=marshmallow.validate.OneOf([OLDEST_FIRST])
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """What the URL of a list says."""

    path: str
    given: Mapping[str, str]  # the filters that are set, as they were entered
    values: Mapping[str, Any]  # as the schema has loaded them, those with errors missing
    errors: Mapping[str, str]  # by filter, in words
    stray: Mapping[str, str]  # those of parameters that have no field on the page

    @property
    def wants_csv(self) -> bool:
        """Whether the list is to be sent as CSV."""
        return not self.errors and self.values["format"] == "csv"

    @property
    def is_filtered(self) -> bool:
        """Whether any filter is set."""
        return any(name not in {CURSOR, FORMAT, "sort"} for name in self.given)

    @property
    def is_oldest_first(self) -> bool:
        """Whether the list is read from its other end."""
        return self.values.get("sort") is not None

    @property
    def first(self) -> int:
        """The id after which the list starts, in its order."""
        return 0 if self.is_oldest_first else BIGINT_MAX

    @property
    def start(self) -> int:
        """The id after which the page starts, in the order of the list."""
        before: int = self.values["before"]
        return self.first if before == BIGINT_MAX else before

    def filters(self, *left_out: str) -> dict[str, Any]:
        """Return the values of the filters, but for these."""
        own = {"before", "format", "sort", *left_out}
        return {name: value for name, value in self.values.items() if name not in own}

    def url(self, **changes: str | None) -> str:
        """Return the address of this list with some parameters changed, or left out for None."""
        parameters = {name: text for name, text in self.given.items() if name != FORMAT} | changes
        query = urlencode({name: text for name, text in parameters.items() if text is not None})
        return f"{self.path}?{query}" if query else self.path


@dataclass(frozen=True, slots=True)
class Listing(Generic[Item]):
    """A page of a list."""

    asked: Asked
    items: Sequence[Item]
    older: str | None  # the address of the next page
    newest: str | None  # that of the first page, unless this is it
    csv: str  # that of the whole list as CSV


def read_filters(request: web.Request, schema: marshmallow.Schema) -> Asked:
    """Return what the URL of a list says, as `schema` loads it. Empty fields are no filters."""
    given = {
        name: text.strip()
        for name, text in request.rel_url.query.items()
        if text.strip() and name != PART
    }
    values, errors = forms.load(schema, given)
    known = {field.data_key or name for name, field in schema.fields.items()}
    stray = {name: text for name, text in errors.items() if name not in known - {FORMAT}}
    return Asked(request.path, given, values, errors, stray)


def none_of(asked: Asked) -> Listing[Any]:
    """Return an empty page, of a list whose filters are wrong."""
    return Listing(asked, [], None, None, asked.url(format="csv", cursor=None))


def listing(
    asked: Asked, items: Sequence[Item], position: Callable[[Item], str], page_size: int = PAGE_SIZE
) -> Listing[Item]:
    """Return a page of a list: of `items`, which are `page_size`, and one more if others follow.

    `position` returns where a cursor after an item points to, as the schema's cursor reads it.
    """
    shown = items[:page_size]
    return page_of(asked, shown, position(shown[-1]) if len(items) > page_size else None)


def page_of(asked: Asked, items: Sequence[Item], end: str | None) -> Listing[Item]:
    """Return a page of a list: these items, and where the list goes on, if it does."""
    older = None
    if end is not None:
        older = asked.url(cursor=base64.b64encode(end.encode(), b"-_").decode())
    newest = asked.url(cursor=None) if CURSOR in asked.given else None
    return Listing(asked, items, older, newest, asked.url(format="csv", cursor=None))


async def send_csv(
    request: web.Request,
    name: str,
    columns: Sequence[str],
    read: Callable[[Key, int], Awaitable[Sequence[Item]]],
    line: Callable[[Item], Sequence[str | int]],
    *,
    first: Key,
    key: Callable[[Item], Key],
) -> web.StreamResponse:
    """Send a whole list as CSV, page by page; `read` returns so many items after a key.

    `name` is that of the file. Raises what reading the first page raises.
    """

    async def pages() -> AsyncIterator[Sequence[Item]]:
        items = await read(first, CSV_PAGE_SIZE)
        yield items
        while len(items) == CSV_PAGE_SIZE:
            items = await read(key(items[-1]), CSV_PAGE_SIZE)
            yield items

    return await send_pages(request, name, columns, pages(), line)


async def send_pages(
    request: web.Request,
    name: str,
    columns: Sequence[str],
    pages: AsyncIterator[Sequence[Item]],
    line: Callable[[Item], Sequence[str | int]],
) -> web.StreamResponse:
    """Send the pages of a list as CSV, as `send_csv` does."""

    async def lines() -> AsyncIterator[bytes]:
        head: Sequence[Sequence[str | int]] = [columns]
        async for items in pages:
            yield write_lines([*head, *map(line, items)])
            head = ()
        if head:
            yield write_lines(head)

    headers = {
        "Content-Type": CONTENT_TYPE,
        "Content-Disposition": f'attachment; filename="{name}.csv"',
    }
    return await stream(request, lines(), headers)
