"""Lock, decide, write: invoices."""

from collections.abc import Sequence

from rowlock.accounts import transactions as accounts
from rowlock.accounts.rules import Document, Entry
from rowlock.engine import outbox
from rowlock.engine.database import Connection
from rowlock.engine.outbox import Event
from rowlock.engine.statements import queries
from rowlock.errors import Rejection, UserNotFound
from rowlock.invoices.reads import read_invoice
from rowlock.invoices.rules import CreateInvoice, Invoice, PayInvoice, Payment, decide_payment


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
    )
    issued = [
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
    await outbox.append(
        connection,
        [
            Event(
                "invoice.created",
                f"invoice:{invoice.id}",
                {
                    "invoice_id": invoice.id,
                    "user_id": invoice.user_id,
                    "amount": invoice.amount,
                    "label": invoice.label,
                },
                command.request_id,
            )
            for invoice, command in zip(issued, commands, strict=True)
        ],
    )
    return issued


async def pay_invoices(
    connection: Connection, commands: Sequence[PayInvoice], *, ask_ledger: bool = False
) -> list[Invoice | Rejection]:
    """Return the invoice that each command paid, or why it paid none.

    An invoice that is in the ledger can't be pending, unless it was set back with the triggers
    disabled. Then this raises DocumentPosted, or if it is to `ask_ledger` first, takes the invoice
    as paid.
    """
    rows = await queries.invoices.lock_invoices(
        connection, invoice_ids=list({command.invoice_id for command in commands})
    )
    invoices = {row["id"]: read_invoice(row) for row in rows}
    if ask_ledger:
        for invoice_id in await accounts.find_posted(connection, "invoice", invoices):
            invoices[invoice_id].status = "paid"
    locked = await accounts.lock_users(
        connection, {invoice.user_id for invoice in invoices.values()}
    )
    outcomes = [decide_payment(command, invoices, locked) for command in commands]
    payments = [outcome for outcome in outcomes if isinstance(outcome, Payment)]
    if payments:
        await _pay(connection, payments)
    return [outcome.invoice if isinstance(outcome, Payment) else outcome for outcome in outcomes]


async def _pay(connection: Connection, payments: Sequence[Payment]) -> None:
    rows = await queries.invoices.pay_invoices(
        connection, invoice_ids=[payment.invoice.id for payment in payments]
    )
    paid_at = {row["id"]: row["paid_at"] for row in rows}
    entries, events = [], []
    for invoice, balance_after, request_id in payments:
        invoice.paid_at = paid_at[invoice.id]
        subject = f"invoice:{invoice.id}"
        document = Document("invoice", invoice.id)
        entries.append(
            Entry(
                invoice.user_id,
                invoice.amount,
                balance_after,
                "invoice",
                document,
                invoice.paid_at,
            )
        )
        events.append(
            Event(
                "invoice.paid",
                subject,
                {
                    "invoice_id": invoice.id,
                    "user_id": invoice.user_id,
                    "amount": invoice.amount,
                    "label": invoice.label,
                    "invoice_created_at": invoice.created_at,
                    "paid_at": invoice.paid_at,
                    "balance_after": balance_after,
                },
                request_id,
                invoice.paid_at,
            )
        )
    await accounts.post(connection, entries)
    await outbox.append(connection, events)
