"""A visitor's own account: receipts, the ledger, and the statement of a period."""

from collections.abc import Sequence
from datetime import datetime

from aiohttp import web

from rowlock.accounts import Accounts
from rowlock.accounts.rules import PostedEntry
from rowlock.catalogue import Catalogue
from rowlock.http.openapi.shapes import BIGINT_MAX
from rowlock.http.request import path_id
from rowlock.http.submit import find_by_path
from rowlock.orders import Orders
from rowlock.orders.rules import Filter, Order
from rowlock.pages.declaring import Pages, page
from rowlock.pages.frames import Frame
from rowlock.pages.lists import (
    PAGE_SIZE,
    PeriodQuery,
    listing,
    none_of,
    read_filters,
    send_csv,
)
from rowlock.rejections import OrderNotFound
from rowlock.shop import PATH
from rowlock.shop.visitors import Visitors

COLUMNS = ("entry_id", "at", "amount", "balance_after", "reason", "reference")
PERIOD_QUERY = PeriodQuery()


class AccountPages(Pages):
    """What a visitor has bought, and where the balance went."""

    def __init__(
        self,
        frame: Frame,
        visitors: Visitors,
        accounts: Accounts,
        orders: Orders,
        catalogue: Catalogue,
    ) -> None:
        self._frame = frame
        self._visitors = visitors
        self._accounts = accounts
        self._orders = orders
        self._catalogue = catalogue

    @page("GET", f"{PATH}/receipts")
    async def list_receipts(self, request: web.Request) -> web.StreamResponse:
        """List what the visitor has bought, newest first."""
        shopper = await self._visitors.find(request)
        if shopper is None:
            return self._visitors.sign_out()
        asked = read_filters(request, PERIOD_QUERY)
        found: Sequence[Order] = []
        if not asked.errors:
            wanted = Filter(user_id=shopper.id, status=None, reference=None, **asked.filters())
            found = await self._orders.list_page(
                wanted, before=asked.values["before"], page_size=PAGE_SIZE + 1
            )
        shown = none_of(asked) if asked.errors else listing(asked, found, lambda one: str(one.id))
        return await self._frame.show(
            request,
            "shop/receipts.html",
            status=400 if asked.errors else 200,
            listing=shown,
            names=await self._names(shown.items),
        )

    @page("GET", f"{PATH}/receipts/{{id}}")
    async def show_receipt(self, request: web.Request) -> web.StreamResponse:
        """Show what was bought at once."""
        shopper = await self._visitors.find(request)
        if shopper is None:
            return self._visitors.sign_out()
        order = await find_by_path(request, self._orders.find, OrderNotFound)
        if order.user_id != shopper.id:
            raise OrderNotFound.of(path_id(request, OrderNotFound))
        return await self._frame.show(
            request, "shop/receipt.html", order=order, names=await self._names([order])
        )

    async def _names(self, orders: Sequence[Order]) -> dict[int, str]:
        """Return the names of what the orders have bought, by product."""
        return await self._catalogue.name_products(
            item.product_id for order in orders for item in order.items
        )

    @page("GET", f"{PATH}/statement")
    async def show_statement(self, request: web.Request) -> web.StreamResponse:
        """Show the balances of a period and what moved in it, oldest first; or all of it as CSV."""
        shopper = await self._visitors.find(request)
        if shopper is None:
            return self._visitors.sign_out()
        asked = read_filters(request, PERIOD_QUERY)
        if asked.errors:
            return await self._frame.show(
                request,
                "shop/statement.html",
                status=400,
                listing=none_of(asked),
                statement=None,
            )
        statement = await self._accounts.open_statement(
            shopper.id, asked.values["since"], asked.values["until"]
        )
        if statement is None:
            return self._visitors.sign_out()

        async def read(after: int, size: int) -> Sequence[PostedEntry]:
            return await self._accounts.list_statement(statement, after=after, page_size=size)

        if asked.wants_csv:
            return await send_csv(
                request,
                "statement",
                COLUMNS,
                read,
                _line,
                first=statement.opening.entry_id,
                key=lambda entry: entry.id,
            )
        after = asked.values["before"]  # the list goes forward: a cursor is what it is after
        start = statement.opening.entry_id if after == BIGINT_MAX else after
        found = await read(start, PAGE_SIZE + 1)
        return await self._frame.show(
            request,
            "shop/statement.html",
            listing=listing(asked, found, lambda entry: str(entry.id)),
            statement=statement,
        )


def _line(entry: PostedEntry) -> Sequence[str | int]:
    return (
        entry.id,
        _show(entry.created_at),
        entry.amount,
        entry.balance_after,
        entry.reason,
        entry.reference,
    )


def _show(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
