"""Reading invoices: one function per lane, and the list."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rowlock.accounts import metadata
from rowlock.engine.database import Connection
from rowlock.engine.statements import queries
from rowlock.invoices.rules import STATUSES, Filter, Invoice

HIGHEST = 2**63 - 1

if TYPE_CHECKING:
    from rowlock.engine.typed.invoices import FindInvoicesRow


async def find_invoices(connection: Connection, ids: Sequence[int]) -> dict[int, Invoice]:
    """Return those of the invoices that exist, by id."""
    rows = await queries.invoices.find_invoices(connection, invoice_ids=ids)
    return {row["id"]: read_invoice(row) for row in rows}


async def list_invoices(
    connection: Connection, wanted: Filter, *, before: int, page_size: int
) -> list[Invoice]:
    """Return a page of invoices, newest first: those after the invoice `before` in the list.

    The highest bigint is before all.
    """
    if wanted.reference is not None:
        found = await queries.invoices.find_by_reference(connection, reference=wanted.reference)
        invoices = [read_invoice(row) for row in found if row["id"] < before]
        return [invoice for invoice in invoices if wanted.takes(invoice)]
    statuses = STATUSES if wanted.status is None else [wanted.status]
    if wanted.user_id is None:
        rows: Sequence[FindInvoicesRow] = await queries.invoices.list_invoices(
            connection,
            statuses=statuses,
            since=wanted.since,
            until=wanted.until,
            before=before,
            page_size=page_size,
        )
    else:
        rows = await queries.invoices.list_user_invoices(
            connection,
            user_id=wanted.user_id,
            statuses=statuses,
            since=wanted.since,
            until=wanted.until,
            before=before,
            page_size=page_size,
        )
    return [read_invoice(row) for row in rows]


async def list_oldest_invoices(
    connection: Connection, wanted: Filter, *, after: int, page_size: int
) -> list[Invoice]:
    """Return a page of invoices, oldest first: those after the invoice `after` in the list.

    0 is before all.
    """
    if wanted.reference is not None:  # there is one at most
        found = await list_invoices(connection, wanted, before=HIGHEST, page_size=page_size)
        return [invoice for invoice in found if invoice.id > after]
    statuses = STATUSES if wanted.status is None else [wanted.status]
    if wanted.user_id is None:
        rows: Sequence[FindInvoicesRow] = await queries.invoices.list_oldest_invoices(
            connection,
            statuses=statuses,
            since=wanted.since,
            until=wanted.until,
            after=after,
            page_size=page_size,
        )
    else:
        rows = await queries.invoices.list_oldest_user_invoices(
            connection,
            user_id=wanted.user_id,
            statuses=statuses,
            since=wanted.since,
            until=wanted.until,
            after=after,
            page_size=page_size,
        )
    return [read_invoice(row) for row in rows]


def read_invoice(row: "FindInvoicesRow") -> Invoice:
    """Return a row of an invoice as one."""
    return Invoice(
        row["id"],
        row["user_id"],
        row["amount"],
        row["label"],
        row["status"],
        row["created_at"],
        row["paid_at"],
        row["voided_at"],
        row["reversed_at"],
        row["reference"],
        metadata.read(row["metadata"]),
    )
