"""Invoices: paying one credits the user who issued it.

An invoice is pending until it is paid, once. Concurrent payments of one user's invoices commit
together.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rowlock.engine.aside import LockingLane
from rowlock.engine.database import Database
from rowlock.engine.lanes import Feature, Lane, WriteLane
from rowlock.engine.statements import queries
from rowlock.errors import Rejection
from rowlock.invoices.reads import find_invoices, read_invoice
from rowlock.invoices.rules import STATUSES, CreateInvoice, Invoice, PayInvoice
from rowlock.invoices.transactions import create_invoices, pay_invoices
from rowlock.settings.groups import BatchSettings

if TYPE_CHECKING:
    from rowlock.engine.typed.invoices import ListInvoicesRow


class Invoices(Feature):
    """Invoices."""

    def __init__(self, database: Database, batches: BatchSettings) -> None:
        super().__init__(database, batches)
        self.find: Lane[int, Invoice | None] = self._reads("find_invoice", find_invoices)
        self.create: WriteLane[CreateInvoice, Invoice | Rejection] = self._commits(
            "create_invoice", create_invoices
        )
        self.pay: WriteLane[PayInvoice, Invoice | Rejection] = self._add(
            LockingLane("pay_invoice", database, pay_invoices, batches)
        )

    async def list_page(
        self, *, user_id: int | None, status: str | None, before: int, page_size: int
    ) -> Sequence[Invoice]:
        """Return a page of invoices, newest first: those with ids below `before`.

        Only those of one user and in one status, where these are not None.
        """
        async with self.database.reader() as connection:
            if user_id is not None:
                rows: Sequence[ListInvoicesRow] = await queries.invoices.list_user_invoices(
                    connection,
                    user_id=user_id,
                    statuses=STATUSES if status is None else [status],
                    before=before,
                    page_size=page_size,
                )
            elif status is not None:
                rows = await queries.invoices.list_invoices_by_status(
                    connection, status=status, before=before, page_size=page_size
                )
            else:
                rows = await queries.invoices.list_invoices(
                    connection, before=before, page_size=page_size
                )
        return [read_invoice(row) for row in rows]
