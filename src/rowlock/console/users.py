"""Users: the list, one user with the ledger, and the statement of a period."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import marshmallow
from aiohttp import web

from rowlock.accounts.names import EMAIL_LENGTH, USERNAME_LENGTH
from rowlock.accounts.rules import ListPosition, Person, PostedEntry
from rowlock.accounts.statements import LAST_ID
from rowlock.console import Features, reads
from rowlock.console.documents import path_of
from rowlock.errors import Unavailable
from rowlock.events.rules import BEYOND_ALL, StoredEvent, Wanted
from rowlock.http.fields import LONG_AGO, NEVER, Text
from rowlock.http.openapi.shapes import BIGINT_MAX
from rowlock.http.paging import SpanCursor, TextCursor
from rowlock.http.request import path_id
from rowlock.pages.declaring import Pages, page
from rowlock.pages.fields import Day
from rowlock.pages.frames import Frame
from rowlock.pages.lists import (
    CSV_PAGE_SIZE,
    CURSOR,
    PAGE_SIZE,
    FormatQuery,
    ListQuery,
    listing,
    none_of,
    page_of,
    read_filters,
    send_csv,
    send_pages,
)
from rowlock.rejections import UserNotFound

MOST_EVENTS = 8
COLUMNS = (
    "id", "username", "email", "first_name", "last_name", "balance", "created_at", "anonymised_at"
)  # fmt: skip
ENTRY_COLUMNS = ("id", "created_at", "amount", "balance_after", "reason", "reference")


class UsersQuery(FormatQuery):
    """How the names or the addresses of the users begin."""

    username = Text(longest=USERNAME_LENGTH, load_default=None)
    email = Text(longest=EMAIL_LENGTH, load_default=None)
    before = TextCursor(data_key=CURSOR, load_default=None)


class StatementQuery(FormatQuery):
    """The period of a statement, both days included, and which page of it."""

    since = Day(data_key="from", load_default=LONG_AGO)
    until = Day(data_key="to", is_end=True, load_default=NEVER)
    before = SpanCursor(data_key=CURSOR, load_default=(0, LAST_ID))

    @marshmallow.validates_schema
    def _some_time(self, data: dict[str, Any], **_: Any) -> None:
        if data["since"] >= data["until"]:
            raise marshmallow.ValidationError("Must not be before the first day.", "to")


USERS_QUERY = UsersQuery()
LEDGER_QUERY = ListQuery()
STATEMENT_QUERY = StatementQuery()


async def find_person(request: web.Request, features: Features) -> Person:
    """Return the user whose id is in the path, as the primary has it. Raises UserNotFound."""
    user_id = path_id(request, UserNotFound)
    person = await features.main.read(
        partial(reads.find_person, user_id=user_id), is_fresh=True
    )  # an action leads here
    if person is None:
        raise UserNotFound.of(user_id)
    return person


class UserPages(Pages):
    """Users and their ledgers."""

    def __init__(self, frame: Frame, features: Features) -> None:
        self._frame = frame
        self._features = features

    @page("GET", "/users")
    async def list_users(self, request: web.Request) -> web.StreamResponse:
        """List users: all of them, newest first, or those whose names or addresses begin so."""
        asked = read_filters(request, USERS_QUERY)
        if asked.errors:
            return await self._frame.show(
                request, "console/users.html", status=400, place="users", listing=none_of(asked)
            )
        if asked.wants_csv:
            pages = self._read_users(**asked.filters())
            return await send_pages(request, "users", COLUMNS, pages, _line)
        given = asked.values["before"]
        found = await self._features.accounts.list_page(
            **asked.filters(),
            after=None if given is None else ListPosition(*given),
            page_size=PAGE_SIZE,
        )
        end = None if found.end is None else f"{found.end.user_id}/{found.end.key}"
        return await self._frame.show(
            request,
            "console/users.html",
            place="users",
            listing=page_of(asked, found.people, end),
        )

    async def _read_users(
        self, username: str | None, email: str | None
    ) -> AsyncIterator[Sequence[Person]]:
        after: ListPosition | None = None
        while True:
            found = await self._features.accounts.list_page(
                username=username, email=email, after=after, page_size=CSV_PAGE_SIZE
            )
            yield found.people
            if found.end is None:
                return
            after = found.end

    @page("GET", "/users/{id}")
    async def show_user(self, request: web.Request) -> web.StreamResponse:
        """Show a user, and the ledger, newest first."""
        person = await find_person(request, self._features)
        asked = read_filters(request, LEDGER_QUERY)
        accounts = self._features.accounts

        async def read(before: int, size: int) -> Sequence[PostedEntry]:
            return await accounts.list_entries(person.id, before=before, page_size=size)

        if asked.wants_csv:
            return await send_csv(
                request, f"ledger-{person.id}", ENTRY_COLUMNS, read, _entry_line,
                first=BIGINT_MAX, key=lambda entry: entry.id,
            )  # fmt: skip
        found = [] if asked.errors else await read(asked.values["before"], PAGE_SIZE + 1)
        return await self._frame.show(
            request,
            "console/user.html",
            status=400 if asked.errors else 200,
            place="users",
            person=person,
            listing=listing(asked, found, lambda entry: str(entry.id)),
            events=await self._find_events(person.id),
            path_of=path_of,
        )

    async def _find_events(self, user_id: int) -> Sequence[StoredEvent] | None:
        """Return the newest events of a user; None if the log can't be read now."""
        try:
            return await self._features.events.list_newest(
                Wanted(subject=f"user:{user_id}"), before=BEYOND_ALL, page_size=MOST_EVENTS
            )
        except Unavailable:
            return None

    @page("GET", "/users/{id}/statement")
    async def show_statement(self, request: web.Request) -> web.StreamResponse:
        """Show what a user had at both ends of a period, and what moved in it, oldest first."""
        person = await find_person(request, self._features)
        asked = read_filters(request, STATEMENT_QUERY)
        values: dict[str, Any] = {"place": "users", "person": person, "path_of": path_of}
        if asked.errors:
            return await self._frame.show(
                request, "console/statement.html", status=400,
                listing=none_of(asked), statement=None, **values,
            )  # fmt: skip
        accounts = self._features.accounts
        after, last_id = asked.values["before"]
        statement = await accounts.open_statement(
            person.id, asked.values["since"], asked.values["until"], last_id=last_id
        )
        assert statement is not None  # users are never deleted
        if asked.wants_csv:
            pages = accounts.read_statement(statement, page_size=CSV_PAGE_SIZE)
            name = f"statement-{person.id}"
            return await send_pages(request, name, ENTRY_COLUMNS, pages, _entry_line)
        found = await accounts.list_statement(statement, after=after, page_size=PAGE_SIZE + 1)
        # The end of the period is fixed with its first page, as that of the API.
        end = statement.closing.entry_id
        return await self._frame.show(
            request,
            "console/statement.html",
            listing=listing(asked, found, lambda entry: f"{entry.id}/{end}"),
            statement=statement,
            **values,
        )


def _show(at: datetime | None) -> str:
    return "" if at is None else at.isoformat().replace("+00:00", "Z")


def _line(person: Person) -> Sequence[str | int]:
    return (
        person.id,
        person.username,
        person.email or "",
        person.first_name,
        person.last_name,
        person.balance,
        _show(person.created_at),
        _show(person.anonymised_at),
    )


def _entry_line(entry: PostedEntry) -> Sequence[str | int]:
    return (
        entry.id,
        _show(entry.created_at),
        entry.amount,
        entry.balance_after,
        entry.reason,
        entry.reference,
    )
