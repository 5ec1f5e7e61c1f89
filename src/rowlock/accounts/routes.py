"""HTTP ↔ command: users and their ledger."""

from aiohttp import web

from rowlock.accounts import Accounts
from rowlock.accounts.rules import BALANCE_LIMIT
from rowlock.errors import UserNotFound
from rowlock.http.answers import reply
from rowlock.http.openapi.shapes import array, choice, instant, integer, record, text
from rowlock.http.paging import PageQuery, paginate
from rowlock.http.request import read_query
from rowlock.http.routes import Routes, route
from rowlock.http.submit import find_by_path

PAGE_QUERY = PageQuery()

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
    reason=choice("invoice", "benefit_order", "order", "opening_balance"),
    reference=text("invoice:1"),
    created_at=instant(),
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
