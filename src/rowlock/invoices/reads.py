"""Reading invoices: one function per lane."""

from collections.abc import Sequence

from rowlock.engine.database import Connection
from rowlock.engine.statements import queries
from rowlock.invoices.rules import Invoice


async def find_invoices(connection: Connection, ids: Sequence[int]) -> dict[int, Invoice]:
    """Return those of the invoices that exist, by id."""
    rows = await queries.invoices.find_invoices(connection, invoice_ids=ids)
    return {row["id"]: Invoice(**row) for row in rows}
