"""Reading invoices: one function per lane."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rowlock.engine.database import Connection
from rowlock.engine.statements import queries
from rowlock.invoices.rules import Invoice

if TYPE_CHECKING:
    from rowlock.engine.typed.invoices import FindInvoicesRow


async def find_invoices(connection: Connection, ids: Sequence[int]) -> dict[int, Invoice]:
    """Return those of the invoices that exist, by id."""
    rows = await queries.invoices.find_invoices(connection, invoice_ids=ids)
    return {row["id"]: read_invoice(row) for row in rows}


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
    )
