"""Commerce: the shop, the benefits shop, users and their money."""

# The bodies are what @call and @pages make of the signatures.
# mypy: disable-error-code="empty-body"

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Annotated, Unpack

import aiohttp

from rowlock.client.calls import Caller, Options
from rowlock.client.catalogue import Bookings, Products, Services
from rowlock.client.declared import Group, Pages, call, pages
from rowlock.client.failures import Unavailable
from rowlock.client.keys import Keys
from rowlock.client.records import (
    Balance,
    Benefit,
    Entry,
    Invoice,
    InvoiceOutcome,
    Line,
    Metadata,
    NewInvoice,
    Order,
    Person,
    Product,
    Purchase,
    Refund,
    Shopper,
    Statement,
    Transfer,
    User,
)
from rowlock.client.shapes import KEEP, Keep, Named, write_query

Since = Annotated[datetime | None, Named("from")]  # included
Until = Annotated[datetime | None, Named("to")]  # not included
CSV = "text/csv"
SILENCE_S = 30.0  # of a statement that is being sent


class Orders(Group):
    """Orders of the shop. They are settled in the background."""

    @call("GET /products")
    async def products(self, **options: Unpack[Options]) -> tuple[Product, ...]:
        """List what can be ordered."""

    @call("POST /orders")
    async def place(
        self,
        items: Sequence[Line],
        *,
        user_id: Annotated[int | None, Named("userId")] = None,
        reference: str | None = None,
        metadata: Metadata | None = None,
        **options: Unpack[Options],
    ) -> Order:
        """Place an order, which is pending until it is settled."""

    @call("GET /orders/{order_id}")
    async def get(self, order_id: int, **options: Unpack[Options]) -> Order:
        """Get an order."""

    @pages("GET /orders")
    def list(
        self,
        *,
        user_id: int | None = None,
        since: Since = None,
        until: Until = None,
        reference: str | None = None,
        status: str | None = None,
        limit: int | None = None,
        **options: Unpack[Options],
    ) -> Pages[Order]:
        """List orders, newest first."""

    @call("POST /orders/{order_id}/cancel")
    async def cancel(self, order_id: int, **options: Unpack[Options]) -> Order:
        """Cancel an order that is not settled yet."""

    @call("POST /orders/{order_id}/refunds")
    async def refund(
        self,
        order_id: int,
        *,
        amount_cents: Annotated[int | None, Named("amountCents")] = None,
        reference: str | None = None,
        metadata: Metadata | None = None,
        **options: Unpack[Options],
    ) -> Refund:
        """Refund an order: all that is left, or a part."""

    @call("GET /orders/{order_id}/refunds/{refund_id}")
    async def get_refund(self, order_id: int, refund_id: int, **options: Unpack[Options]) -> Refund:
        """Get a refund of an order."""

    @pages("GET /orders/{order_id}/refunds")
    def refunds(
        self, order_id: int, *, limit: int | None = None, **options: Unpack[Options]
    ) -> Pages[Refund]:
        """List an order's refunds, newest first."""


class Benefits(Group):
    """The benefits shop, where each product is bought once. Its amounts are major units."""

    @call("GET /api/users/{user_id}", within="user")
    async def user(self, user_id: str, **options: Unpack[Options]) -> Shopper:
        """Get a user of the shop. An unknown one gets an account, where these are opened."""

    @call("GET /api/products", within="products")
    async def products(self, **options: Unpack[Options]) -> tuple[Benefit, ...]:
        """List what can be bought."""

    @call("POST /api/orders", wraps="order", within="order")
    async def buy(
        self, *, user_id: str, items: Sequence[str], **options: Unpack[Options]
    ) -> Purchase:
        """Buy products from a user's balance."""


class Users(Group):
    """Users, their balances and their ledgers."""

    @call("POST /users")
    async def create(
        self,
        *,
        username: str,
        email: str | None = None,
        first_name: str | None = None,
        last_name: str | None = None,
        opening_balance: int | None = None,
        **options: Unpack[Options],
    ) -> Person:
        """Create a user."""

    @pages("GET /users")
    def list(
        self,
        *,
        username: str | None = None,
        email: str | None = None,
        limit: int | None = None,
        **options: Unpack[Options],
    ) -> Pages[Person]:
        """List users, newest first, or find them by how their names begin."""

    @call("PATCH /users/{user_id}")
    async def change(
        self,
        user_id: int,
        *,
        email: str | Keep | None = KEEP,
        first_name: str | Keep | None = KEEP,
        last_name: str | Keep | None = KEEP,
        **options: Unpack[Options],
    ) -> Person:
        """Change a user's address and names. None removes what KEEP leaves as it is."""

    @call("POST /users/{user_id}/anonymise")
    async def anonymise(self, user_id: int, **options: Unpack[Options]) -> Person:
        """Remove a user's names and address for good."""

    @call("GET /user/{user_id}")
    async def get(self, user_id: int, **options: Unpack[Options]) -> User:
        """Get a user and the balance."""

    @call("GET /user/{user_id}/balance")
    async def balance(
        self, user_id: int, *, at: datetime | None = None, **options: Unpack[Options]
    ) -> Balance:
        """Get a user's balance: now, or as it was at a time."""

    @pages("GET /user/{user_id}/ledger")
    def ledger(
        self, user_id: int, *, limit: int | None = None, **options: Unpack[Options]
    ) -> Pages[Entry]:
        """List a user's ledger, newest first."""

    @pages("GET /user/{user_id}/statement", of_one=True)
    def statement_pages(
        self,
        user_id: int,
        *,
        since: Since = None,
        until: Until = None,
        limit: int | None = None,
        **options: Unpack[Options],
    ) -> Pages[Statement]:
        """List a user's statement in parts, which have the balances of the whole."""

    async def statement(
        self,
        user_id: int,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        **options: Unpack[Options],
    ) -> Statement:
        """Get a user's statement: the balances of a period, and all that moved in it."""
        listed = self.statement_pages(user_id, since=since, until=until, limit=100, **options)
        parts = [part async for part in listed]
        return replace(parts[0], entries=tuple(entry for part in parts for entry in part.entries))

    async def statement_csv(
        self,
        user_id: int,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        **options: Unpack[Options],
    ) -> AsyncIterator[bytes]:
        """Yield a user's statement as CSV, with a header line, in pieces of any length.

        Raises CallFailed; Unavailable also if the connection breaks in the middle. Then the pieces
        are worth nothing: ask again.
        """
        caller = self._caller
        period = {"from": since, "to": until}
        query = {name: write_query(at) for name, at in period.items() if at is not None}
        path = f"/user/{user_id}/statement"
        request = caller.prepare("GET", path, options, query=query, headers={"Accept": CSV})
        policy = options.get("policy") or caller.policy
        async with caller.opened(request, policy, SILENCE_S) as response:
            try:
                async for piece in response.content.iter_any():
                    yield piece
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                problem = f"the statement broke off: {type(error).__name__}: {error}"
                raise Unavailable(request.sent, problem=problem) from error


class Invoices(Group):
    """Invoices, whose payment credits their user."""

    @call("POST /invoices")
    async def create(
        self,
        *,
        user_id: int,
        amount: int,
        label: str,
        reference: str | None = None,
        metadata: Metadata | None = None,
        **options: Unpack[Options],
    ) -> Invoice:
        """Issue an invoice."""

    @call("POST /invoices/batch", within="outcomes")
    async def create_batch(
        self, invoices: Sequence[NewInvoice], **options: Unpack[Options]
    ) -> tuple[InvoiceOutcome, ...]:
        """Issue up to 1,000 invoices in one transaction; return the outcome of each."""

    @call("GET /invoices/{invoice_id}")
    async def get(self, invoice_id: int, **options: Unpack[Options]) -> Invoice:
        """Get an invoice."""

    @pages("GET /invoices")
    def list(
        self,
        *,
        user_id: int | None = None,
        since: Since = None,
        until: Until = None,
        reference: str | None = None,
        status: str | None = None,
        limit: int | None = None,
        **options: Unpack[Options],
    ) -> Pages[Invoice]:
        """List invoices, newest first."""

    @call("POST /invoices/{invoice_id}/pay")
    async def pay(self, invoice_id: int, **options: Unpack[Options]) -> Invoice:
        """Pay an invoice into its user's balance."""

    @call("POST /invoices/{invoice_id}/void")
    async def void(self, invoice_id: int, **options: Unpack[Options]) -> Invoice:
        """Make a pending invoice void."""

    @call("POST /invoices/{invoice_id}/reverse")
    async def reverse(self, invoice_id: int, **options: Unpack[Options]) -> Invoice:
        """Take a paid invoice back from its user's balance."""


class Transfers(Group):
    """Transfers from one user to another."""

    @call("POST /transfers")
    async def make(
        self,
        *,
        from_user_id: int,
        to_user_id: int,
        amount: int,
        label: str,
        reference: str | None = None,
        metadata: Metadata | None = None,
        **options: Unpack[Options],
    ) -> Transfer:
        """Transfer money from one user to another."""

    @call("GET /transfers/{transfer_id}")
    async def get(self, transfer_id: int, **options: Unpack[Options]) -> Transfer:
        """Get a transfer."""

    @pages("GET /transfers")
    def list(
        self,
        *,
        user_id: int | None = None,
        since: Since = None,
        until: Until = None,
        reference: str | None = None,
        limit: int | None = None,
        **options: Unpack[Options],
    ) -> Pages[Transfer]:
        """List transfers, newest first."""


class Commerce(Caller):
    """The service of commerce, on port 4000 unless said otherwise."""

    @cached_property
    def orders(self) -> Orders:
        """Orders and refunds."""
        return Orders(self)

    @cached_property
    def benefits(self) -> Benefits:
        """The benefits shop."""
        return Benefits(self)

    @cached_property
    def users(self) -> Users:
        """Users, balances, ledgers and statements."""
        return Users(self)

    @cached_property
    def invoices(self) -> Invoices:
        """Invoices."""
        return Invoices(self)

    @cached_property
    def transfers(self) -> Transfers:
        """Transfers."""
        return Transfers(self)

    @cached_property
    def bookings(self) -> Bookings:
        """Bookings."""
        return Bookings(self)

    @cached_property
    def products(self) -> Products:
        """The products of the catalogue."""
        return Products(self)

    @cached_property
    def services(self) -> Services:
        """The services of the catalogue."""
        return Services(self)

    @cached_property
    def keys(self) -> Keys:
        """API keys."""
        return Keys(self)
