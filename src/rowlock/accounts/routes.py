"""HTTP ↔ command: users and their ledger."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

import marshmallow
from aiohttp import web

from rowlock.accounts import Accounts, names
from rowlock.accounts.bodies import CHANGE_BODY, PERSON, USER_BODY, USERS_QUERY, show
from rowlock.accounts.rules import (
    BALANCE_LIMIT,
    REASONS,
    AnonymiseUser,
    ChangeUser,
    ListPosition,
    Person,
    PostedEntry,
    RegisterUser,
)
from rowlock.accounts.statements import LAST_ID, Statement
from rowlock.http.access import origin_of
from rowlock.http.answers import BY_ACCEPT, reply
from rowlock.http.csv_lines import CONTENT_TYPE as CSV_TYPE
from rowlock.http.csv_lines import CSV, write_lines
from rowlock.http.fields import LONG_AGO, NEVER, QueryInstant, QueryInteger
from rowlock.http.negotiation import preferred
from rowlock.http.openapi.shapes import (
    JSON,
    AnswerShape,
    array,
    choice,
    created,
    instant,
    integer,
    nullable,
    record,
    text,
)
from rowlock.http.paging import (
    PAGE_SIZE,
    PAGE_SIZE_LIMIT,
    PageQuery,
    SpanCursor,
    link_after,
    paginate,
    text_position,
)
from rowlock.http.request import EMPTY_BODY, path_id, read_body, read_empty_body, read_query
from rowlock.http.routes import Routes, route
from rowlock.http.streaming import stream
from rowlock.http.submit import find_by_path, submit
from rowlock.rejections import EmailTaken, UserAnonymised, UsernameTaken, UserNotFound

CSV_PAGE = 2000  # entries of a statement that are read, and sent, at a time
COLUMNS = ("id", "created_at", "amount", "balance_after", "reason", "reference")


class StatementQuery(marshmallow.Schema):
    """The period of a statement, and which page of it."""

    start = QueryInstant(data_key="from", load_default=None)
    end = QueryInstant(data_key="to", load_default=None)
    limit = QueryInteger(maximum=PAGE_SIZE_LIMIT, load_default=PAGE_SIZE)
    span = SpanCursor(data_key="cursor", load_default=(0, LAST_ID))

    @marshmallow.validates_schema
    def _some_time(self, data: dict[str, Any], **_: Any) -> None:
        if (data["start"] or LONG_AGO) >= (data["end"] or NEVER):
            raise marshmallow.ValidationError("Must be after `from`.", "to")


class BalanceQuery(marshmallow.Schema):
    """The time of a balance."""

    at = QueryInstant(load_default=None)


PAGE_QUERY = PageQuery()
STATEMENT_QUERY = StatementQuery()
BALANCE_QUERY = BalanceQuery()

USER = record(
    "User",
    user_id=integer(1),
    first_name=text("Ada"),
    last_name=text("Lovelace"),
    balance=integer(241_817, minimum=0),
)
ENTRY = record(
    "LedgerEntry",
    id=integer(7),
    amount=integer(11_350, minimum=-BALANCE_LIMIT),
    balance_after=integer(253_167, minimum=0),
    reason=choice(*REASONS),
    reference=text("invoice:1"),
    created_at=instant(),
)
FROM: Any = {"from": nullable(instant("2026-11-01T00:00:00Z"))}  # a keyword of Python's
STATEMENT = record(
    "Statement",
    user_id=integer(1),
    **FROM,
    to=nullable(instant("2026-12-01T00:00:00Z")),
    opening_balance=integer(241_817, minimum=0),
    closing_balance=integer(253_167, minimum=0),
    entries=array(ENTRY),
)
LINES = text(
    "id,created_at,amount,balance_after,reason,reference\r\n"
    "7,2026-11-21T09:30:00.250000Z,11350,253167,invoice,invoice:1\r\n"
)
BALANCE = record(
    "Balance", user_id=integer(1), balance=integer(241_817, minimum=0), at=nullable(instant())
)


class AccountRoutes(Routes):
    """Users and their ledger. All amounts are minor units."""

    tag = "accounts"

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    @route("GET", "/user/{id}", {200: USER}, UserNotFound)
    async def get_user(self, request: web.Request) -> web.Response:
        """Get a user and the balance, in minor units."""
        user = await find_by_path(request, self._accounts.find, UserNotFound)
        return reply(
            {
                "user_id": user.id,
                "first_name": user.first_name,
                "last_name": user.last_name,
                "balance": user.balance,
            }
        )

    @route("GET", "/user/{id}/ledger", {200: array(ENTRY)}, UserNotFound, query=PAGE_QUERY)
    async def list_ledger(self, request: web.Request) -> web.Response:
        """List a user's ledger, newest first, in minor units."""
        query = read_query(request, PAGE_QUERY)
        user = await find_by_path(request, self._accounts.find, UserNotFound)
        entries = await self._accounts.list_entries(
            user.id, before=query["before"], page_size=query["limit"] + 1
        )
        page, headers = paginate(request, entries, query["limit"], lambda entry: str(entry.id))
        return reply(page, headers=headers)

    @route(
        "GET",
        "/user/{id}/statement",
        {200: AnswerShape(STATEMENT, others={CSV: LINES})},
        UserNotFound,
        query=STATEMENT_QUERY,
    )
    async def get_statement(self, request: web.Request) -> web.StreamResponse:
        """Get a user's statement: the balances of a period, and what moved in it.

        The period goes from `from` on until before `to`. Entries come oldest first, in pages; the
        end of the period is fixed with the first one. With `text/csv` in `Accept` all entries come
        as CSV.
        """
        query = read_query(request, STATEMENT_QUERY)
        after, last_id = query["span"]
        user_id = path_id(request, UserNotFound)
        statement = await self._accounts.open_statement(
            user_id,
            query["start"] or LONG_AGO,
            query["end"] or NEVER,
            last_id=last_id,
        )
        if statement is None:
            raise UserNotFound.of(user_id)
        if preferred(request, (JSON, CSV)) == CSV:
            return await self._send_lines(request, statement)
        entries = await self._accounts.list_statement(
            statement, after=after, page_size=query["limit"] + 1
        )
        last_id = statement.closing.entry_id
        page, headers = paginate(
            request, entries, query["limit"], lambda entry: f"{entry.id}/{last_id}"
        )
        return reply(
            {
                "user_id": statement.user_id,
                "from": query["start"],
                "to": query["end"],
                "opening_balance": statement.opening.balance,
                "closing_balance": statement.closing.balance,
                "entries": page,
            },
            headers=headers | BY_ACCEPT,
        )

    async def _send_lines(self, request: web.Request, statement: Statement) -> web.StreamResponse:
        pages = self._accounts.read_statement(statement, page_size=CSV_PAGE)

        async def lines() -> AsyncIterator[bytes]:
            yield write_lines([COLUMNS])
            async for page in pages:
                yield write_lines(map(_line, page))

        headers = {
            "Content-Type": CSV_TYPE,
            "Content-Disposition": f'attachment; filename="statement-{statement.user_id}.csv"',
        }
        return await stream(request, lines(), headers | BY_ACCEPT)

    @route("GET", "/user/{id}/balance", {200: BALANCE}, UserNotFound, query=BALANCE_QUERY)
    async def get_balance(self, request: web.Request) -> web.Response:
        """Get a user's balance, in minor units: now, or as it was `at` a time."""
        at: datetime | None = read_query(request, BALANCE_QUERY)["at"]
        user_id = path_id(request, UserNotFound)
        balance = await self._accounts.find_balance(user_id, at)
        if balance is None:
            raise UserNotFound.of(user_id)
        return reply({"user_id": user_id, "balance": balance, "at": at})

    @route("GET", "/users", {200: array(PERSON)}, query=USERS_QUERY)
    async def list_users(self, request: web.Request) -> web.Response:
        """List users, newest first, or find them by how their names begin.

        `username` and `email` are beginnings, compared as names are: in any case. The users found
        are in the order of what they are compared by: of the username, if one is given. With both,
        a page may be short or empty before the list ends: follow its Link.
        """
        query = read_query(request, USERS_QUERY)
        after = query["after"]
        page = await self._accounts.list_page(
            username=query["username"],
            email=query["email"],
            after=None if after is None else ListPosition(*after),
            page_size=query["limit"],
        )
        headers = {} if page.end is None else link_after(request, text_position(*page.end))
        return reply([show(person) for person in page.people], headers=headers)

    @route(
        "POST",
        "/users",
        {201: created(PERSON, at="/user/1")},
        UsernameTaken,
        EmailTaken,
        body=USER_BODY,
        example={"username": "ada", "email": "ada@example.com", "opening_balance": 50_000},
        scope="users:write",
    )
    async def create_user(self, request: web.Request) -> web.Response:
        """Create a user, with an opening balance of 0 unless said, in minor units."""
        body = await read_body(request, USER_BODY)
        command = RegisterUser(
            body["username"],
            _normalise(body["email"]),
            body["first_name"] or "",
            body["last_name"] or "",
            body["opening_balance"] or 0,
            origin_of(request),
        )
        return await submit(request, self._accounts.register, command, _created, shows=_id_of)

    @route(
        "PATCH",
        "/users/{id}",
        {200: PERSON},
        UserNotFound,
        UserAnonymised,
        EmailTaken,
        body=CHANGE_BODY,
        example={"first_name": "Ada", "email": None},
        scope="users:write",
    )
    async def change_user(self, request: web.Request) -> web.Response:
        """Change a user's address, first or last name.

        What is left out stays as it is. Null removes.
        """
        user_id = path_id(request, UserNotFound)
        changes = await read_body(request, CHANGE_BODY)
        for name, value in changes.items():
            changes[name] = _normalise(value) if name == "email" else value or ""
        command = ChangeUser(user_id, changes, origin_of(request))
        return await submit(request, self._accounts.change, command, _reply, shows=_id_of)

    @route(
        "POST",
        "/users/{id}/anonymise",
        {200: PERSON},
        UserNotFound,
        body=EMPTY_BODY,
        example={},
        scope="users:write",
    )
    async def anonymise_user(self, request: web.Request) -> web.Response:
        """Remove a user's names and address for good.

        They go from kept answers, too. The account, its documents and its ledger stay.
        """
        command = AnonymiseUser(path_id(request, UserNotFound), origin_of(request))
        await read_empty_body(request)
        return await submit(request, self._accounts.anonymise, command, _reply)


_id_of = attrgetter("id")


def _normalise(email: str | None) -> str | None:
    return None if email is None else names.normalise(email)


def _reply(person: Person) -> web.Response:
    return reply(show(person))


def _created(person: Person) -> web.Response:
    location = {"Location": f"/user/{person.id}"}
    return reply(show(person), status=201, headers=location)


def _line(entry: PostedEntry) -> Sequence[str | int]:
    at = entry.created_at.isoformat().replace("+00:00", "Z")
    return entry.id, at, entry.amount, entry.balance_after, entry.reason, entry.reference
