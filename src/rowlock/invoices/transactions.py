"""Lock, decide, write: invoices."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rowlock.accounts import transactions as accounts
from rowlock.engine import outbox
from rowlock.engine.database import Connection
from rowlock.engine.locks import Aside, Lockable, Locks
from rowlock.engine.statements import queries
from rowlock.errors import DocumentPosted, Rejection, UserNotFound
from rowlock.invoices.reads import read_invoice
from rowlock.invoices.rules import (
    CreateInvoice,
    Invoice,
    PayInvoice,
    Payment,
    already_paid,
    decide_payment,
)

if TYPE_CHECKING:
    from rowlock.engine.typed.invoices import LockInvoicesRow


async def create_invoices(
    connection: Connection, commands: Sequence[CreateInvoice]
) -> list[Invoice | Rejection]:
    """Return the invoice that each command issued, or why it issued none."""
    user_ids = {command.user_id for command in commands}
    # Not locked: users are never deleted, and a new invoice changes none of them.
    users = await queries.accounts.find_users(connection, user_ids=list(user_ids))
    known = {row["id"] for row in users}
    allowed = [command for command in commands if command.user_id in known]
    issued = iter(await _issue(connection, allowed) if allowed else ())
    return [
        next(issued) if command.user_id in known else UserNotFound.of(command.user_id)
        for command in commands
    ]


async def _issue(connection: Connection, commands: Sequence[CreateInvoice]) -> list[Invoice]:
    rows = await queries.invoices.create_invoices(
        connection,
        user_ids=[command.user_id for command in commands],
        amounts=[command.amount for command in commands],
        labels=[command.label for command in commands],
        request_ids=[command.origin.request_id for command in commands],
        actors=[command.origin.actor for command in commands],
    )
    return [
        Invoice(
            row["id"],
            command.user_id,
            command.amount,
            command.label,
            status="pending",
            created_at=row["created_at"],
            paid_at=None,
        )
        for row, command in zip(rows, commands, strict=True)
    ]


async def _find_invoices(connection: Connection, invoice_ids: list[int]) -> list[int]:
    rows = await queries.invoices.find_invoices(connection, invoice_ids=invoice_ids)
    return [row["id"] for row in rows]


INVOICES: "Lockable[LockInvoicesRow]" = Lockable(
    wait=lambda connection, ids: queries.invoices.lock_invoices(connection, invoice_ids=ids),
    take_free=lambda connection, ids: queries.invoices.lock_free_invoices(
        connection, invoice_ids=ids
    ),
    find=_find_invoices,
    id_of=lambda row: row["id"],
)


async def pay_invoices(
    connection: Connection, commands: Sequence[PayInvoice], locks: Locks | None = None
) -> list[Invoice | Rejection | Aside]:
    """Return the invoice that each command paid, or why it paid none."""
    locks = locks or Locks()
    rows = await locks.take(connection, INVOICES, {command.invoice_id for command in commands})
    invoices = {row["id"]: read_invoice(row) for row in rows}
    locked = await accounts.lock_users(
        connection, {invoice.user_id for invoice in invoices.values()}, locks
    )

    def decide(command: PayInvoice) -> Payment | Rejection | Aside:
        invoice = invoices.get(command.invoice_id)
        if invoice is None:
            left = locks.left(INVOICES, command.invoice_id)
        else:
            left = locks.left(accounts.USERS, invoice.user_id)
        return left or decide_payment(command, invoices, locked)

    outcomes = [decide(command) for command in commands]
    payments = [outcome for outcome in outcomes if isinstance(outcome, Payment)]
    if payments:
        try:
            await _pay(connection, payments)
        except DocumentPosted as error:
            # An invoice was set back while the triggers were disabled. The lane runs the batch
            # again in parts, so only the payment of that invoice fails.
            raise already_paid(payments[0].invoice.id) from error
    return [outcome.invoice if isinstance(outcome, Payment) else outcome for outcome in outcomes]


async def _pay(connection: Connection, payments: Sequence[Payment]) -> None:
    """Write the payments. Raises DocumentPosted for an invoice that is in the ledger already."""
    with accounts.each_document_once():
        rows = await queries.invoices.pay_invoices(
            connection,
            invoice_ids=[payment.invoice.id for payment in payments],
            balances_after=[payment.balance_after for payment in payments],
            payloads=[outbox.dump(_describe(payment)) for payment in payments],
            request_ids=[payment.origin.request_id for payment in payments],
            actors=[payment.origin.actor for payment in payments],
        )
    paid_at = {row["id"]: row["paid_at"] for row in rows}
    for payment in payments:
        payment.invoice.paid_at = paid_at[payment.invoice.id]


def _describe(payment: Payment) -> dict[str, Any]:
    """Return what the event says; the statement adds the time of the payment."""
    invoice, balance_after, _ = payment
    return {
        "invoice_id": invoice.id,
        "user_id": invoice.user_id,
        "amount": invoice.amount,
        "label": invoice.label,
        "invoice_created_at": invoice.created_at,
        "balance_after": balance_after,
    }
