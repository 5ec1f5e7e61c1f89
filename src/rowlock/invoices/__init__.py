"""Invoices: paying one credits the user who issued it; reversing it takes that back.

An invoice is pending until it is paid, once, or void. A paid one may be reversed. Concurrent
payments of one user's invoices commit together.
"""

from functools import partial

from rowlock.engine.aside import LockingLane
from rowlock.engine.database import Database
from rowlock.engine.lanes import Feature, Lane, WriteLane
from rowlock.invoices.reads import find_invoices, list_invoices, list_oldest_invoices
from rowlock.invoices.rules import (
    CreateInvoice,
    CreateInvoices,
    Filter,
    Invoice,
    PayInvoice,
    ReverseInvoice,
    VoidInvoice,
)
from rowlock.invoices.transactions import (
    create_invoices,
    create_many,
    pay_invoices,
    reverse_invoices,
    void_invoices,
)
from rowlock.rejections import Rejection
from rowlock.settings.groups import BatchSettings

MOST_AT_ONCE = 8  # commands of `create_many` in a transaction, of up to 1,000 invoices each


class Invoices(Feature):
    """Invoices."""

    def __init__(self, database: Database, batches: BatchSettings) -> None:
        super().__init__(database, batches)
        self.find: Lane[int, Invoice | None] = self._reads("find_invoice", find_invoices)
        self.create: WriteLane[CreateInvoice, Invoice | Rejection] = self._commits(
            "create_invoice", create_invoices
        )
        self.create_many: WriteLane[CreateInvoices, list[Invoice | Rejection] | Rejection] = (
            self._commits("create_invoices", create_many, most_items=MOST_AT_ONCE)
        )
        self.pay: WriteLane[PayInvoice, Invoice | Rejection] = self._add(
            LockingLane("pay_invoice", database, pay_invoices, batches)
        )
        self.void: WriteLane[VoidInvoice, Invoice | Rejection] = self._add(
            LockingLane("void_invoice", database, void_invoices, batches)
        )
        self.reverse: WriteLane[ReverseInvoice, Invoice | Rejection] = self._add(
            LockingLane("reverse_invoice", database, reverse_invoices, batches)
        )

    async def list_page(self, wanted: Filter, *, before: int, page_size: int) -> list[Invoice]:
        """Return a page of invoices, newest first: those after the invoice `before` in the list.

        The highest bigint is before all.
        """
        page = partial(list_invoices, wanted=wanted, before=before, page_size=page_size)
        return await self.database.read(page, is_fresh=wanted.reference is not None)

    async def list_oldest(self, wanted: Filter, *, after: int, page_size: int) -> list[Invoice]:
        """Return a page of invoices, oldest first: those after the invoice `after` in the list.

        0 is before all.
        """
        page = partial(list_oldest_invoices, wanted=wanted, after=after, page_size=page_size)
        return await self.database.read(page, is_fresh=wanted.reference is not None)
