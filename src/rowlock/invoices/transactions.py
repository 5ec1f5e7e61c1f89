"""Lock, decide, write: invoices."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rowlock.accounts import metadata
from rowlock.accounts import transactions as accounts
from rowlock.accounts.references import each_reference_once, find_references
from rowlock.accounts.rules import Account
from rowlock.engine import outbox
from rowlock.engine.database import Connection
from rowlock.engine.locks import Aside, Lockable, Locks
from rowlock.engine.statements import queries
from rowlock.errors import DocumentPosted
from rowlock.invoices.events import KnownInvoice, PostedInvoice
from rowlock.invoices.reads import read_invoice
from rowlock.invoices.rules import (
    CreateInvoice,
    CreateInvoices,
    Invoice,
    PayInvoice,
    Payment,
    Reversal,
    ReverseInvoice,
    Voiding,
    VoidInvoice,
    already_paid,
    decide_issue,
    decide_payment,
    decide_reversal,
    decide_voiding,
    not_paid,
)
from rowlock.rejections import Rejection

if TYPE_CHECKING:
    from rowlock.engine.typed.invoices import LockInvoicesRow

REFERENCE_KEY = "invoices_reference_key"  # lets each reference name one invoice


async def create_invoices(
    connection: Connection, commands: Sequence[CreateInvoice]
) -> list[Invoice | Rejection]:
    """Return the invoice that each command issued, or why it issued none."""
    user_ids = {command.user_id for command in commands}
    # Not locked: users are never deleted, and a new invoice changes none of them.
    users = await queries.accounts.find_users(connection, user_ids=list(user_ids))
    known = {row["id"] for row in users}
    references = await find_references(connection, queries.invoices.find_references, commands)
    outcomes = [decide_issue(command, known, references) for command in commands]
    allowed = [outcome for outcome in outcomes if isinstance(outcome, CreateInvoice)]
    issued = iter(await _issue(connection, allowed) if allowed else ())
    return [next(issued) if isinstance(outcome, CreateInvoice) else outcome for outcome in outcomes]


async def create_many(
    connection: Connection, commands: Sequence[CreateInvoices]
) -> list[list[Invoice | Rejection]]:
    """Return what each command issued, or why it did not, for each of its parts."""
    parts = [part for command in commands for part in command.parts]
    outcomes = iter(await create_invoices(connection, parts))
    return [[next(outcomes) for _ in command.parts] for command in commands]


async def _issue(connection: Connection, commands: Sequence[CreateInvoice]) -> list[Invoice]:
    with each_reference_once(REFERENCE_KEY):
        rows = await queries.invoices.create_invoices(
            connection,
            user_ids=[command.user_id for command in commands],
            amounts=[command.amount for command in commands],
            labels=[command.label for command in commands],
            refs=[command.reference for command in commands],
            metadata=[command.metadata for command in commands],
            request_ids=[command.origin.request_id for command in commands],
            actors=[command.origin.actor for command in commands],
            traceparents=[command.origin.traceparent for command in commands],
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
            reference=command.reference,
            metadata=metadata.read(command.metadata),
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
    invoices, users = await _lock_with_users(connection, commands, locks)
    outcomes = [
        _left(command.invoice_id, invoices, locks) or decide_payment(command, invoices, users)
        for command in commands
    ]
    payments = [outcome for outcome in outcomes if isinstance(outcome, Payment)]
    if payments:
        try:
            await _pay(connection, payments)
        except DocumentPosted as error:
            # An invoice was set back while the triggers were disabled. The lane runs the batch
            # again in parts, so only the payment of that invoice fails.
            raise already_paid(payments[0].invoice.id) from error
    return [outcome.invoice if isinstance(outcome, Payment) else outcome for outcome in outcomes]


async def reverse_invoices(
    connection: Connection, commands: Sequence[ReverseInvoice], locks: Locks | None = None
) -> list[Invoice | Rejection | Aside]:
    """Return the invoice that each command reversed, or why it reversed none."""
    locks = locks or Locks()
    invoices, users = await _lock_with_users(connection, commands, locks)
    outcomes = [
        _left(command.invoice_id, invoices, locks) or decide_reversal(command, invoices, users)
        for command in commands
    ]
    reversals = [outcome for outcome in outcomes if isinstance(outcome, Reversal)]
    if reversals:
        try:
            await _reverse(connection, reversals)
        except DocumentPosted as error:  # as with payments
            raise not_paid(reversals[0].invoice.id, "reversed") from error
    return [outcome.invoice if isinstance(outcome, Reversal) else outcome for outcome in outcomes]


async def void_invoices(
    connection: Connection, commands: Sequence[VoidInvoice], locks: Locks | None = None
) -> list[Invoice | Rejection | Aside]:
    """Return the invoice that each command made void, or why it made none void."""
    locks = locks or Locks()
    invoices = await _lock(connection, commands, locks)
    outcomes = [
        locks.left(INVOICES, command.invoice_id) or decide_voiding(command, invoices)
        for command in commands
    ]
    voidings = [outcome for outcome in outcomes if isinstance(outcome, Voiding)]
    if voidings:
        await _void(connection, voidings)
    return [outcome.invoice if isinstance(outcome, Voiding) else outcome for outcome in outcomes]


async def _lock(
    connection: Connection,
    commands: Sequence[PayInvoice | ReverseInvoice | VoidInvoice],
    locks: Locks,
) -> dict[int, Invoice]:
    rows = await locks.take(connection, INVOICES, {command.invoice_id for command in commands})
    return {row["id"]: read_invoice(row) for row in rows}


async def _lock_with_users(
    connection: Connection, commands: Sequence[PayInvoice | ReverseInvoice], locks: Locks
) -> tuple[dict[int, Invoice], dict[int, Account]]:
    invoices = await _lock(connection, commands, locks)
    user_ids = {invoice.user_id for invoice in invoices.values()}
    return invoices, await accounts.lock_users(connection, user_ids, locks)


def _left(invoice_id: int, invoices: Mapping[int, Invoice], locks: Locks) -> Aside | None:
    """Return the row for which a command with this invoice has to wait, if it is left aside."""
    invoice = invoices.get(invoice_id)
    if invoice is None:
        return locks.left(INVOICES, invoice_id)
    return locks.left(accounts.USERS, invoice.user_id)


async def _pay(connection: Connection, payments: Sequence[Payment]) -> None:
    """Write the payments. Raises DocumentPosted for an invoice that is in the ledger already."""
    with accounts.each_document_once():
        rows = await queries.invoices.pay_invoices(
            connection,
            invoice_ids=[payment.invoice.id for payment in payments],
            balances_after=[payment.balance_after for payment in payments],
            payloads=[_describe_posted(payment) for payment in payments],
            request_ids=[payment.origin.request_id for payment in payments],
            actors=[payment.origin.actor for payment in payments],
            traceparents=[payment.origin.traceparent for payment in payments],
        )
    paid_at = {row["id"]: row["paid_at"] for row in rows}
    for payment in payments:
        payment.invoice.paid_at = paid_at[payment.invoice.id]


async def _reverse(connection: Connection, reversals: Sequence[Reversal]) -> None:
    """Write the reversals. Raises DocumentPosted for one that is in the ledger already."""
    with accounts.each_document_once():
        rows = await queries.invoices.reverse_invoices(
            connection,
            invoice_ids=[reversal.invoice.id for reversal in reversals],
            balances_after=[reversal.balance_after for reversal in reversals],
            payloads=[_describe_posted(reversal) for reversal in reversals],
            request_ids=[reversal.origin.request_id for reversal in reversals],
            actors=[reversal.origin.actor for reversal in reversals],
            traceparents=[reversal.origin.traceparent for reversal in reversals],
        )
    reversed_at = {row["id"]: row["reversed_at"] for row in rows}
    for reversal in reversals:
        reversal.invoice.reversed_at = reversed_at[reversal.invoice.id]


async def _void(connection: Connection, voidings: Sequence[Voiding]) -> None:
    rows = await queries.invoices.void_invoices(
        connection,
        invoice_ids=[voiding.invoice.id for voiding in voidings],
        payloads=[outbox.dump(_describe(voiding.invoice)) for voiding in voidings],
        request_ids=[voiding.origin.request_id for voiding in voidings],
        actors=[voiding.origin.actor for voiding in voidings],
        traceparents=[voiding.origin.traceparent for voiding in voidings],
    )
    voided_at = {row["id"]: row["voided_at"] for row in rows}
    for voiding in voidings:
        voiding.invoice.voided_at = voided_at[voiding.invoice.id]


def _describe(invoice: Invoice) -> KnownInvoice:
    """Return what the event says of the invoice; the statement adds the time of the change."""
    return {
        "invoice_id": invoice.id,
        "user_id": invoice.user_id,
        "amount": invoice.amount,
        "label": invoice.label,
        "invoice_created_at": invoice.created_at,
    }


def _describe_posted(outcome: Payment | Reversal) -> str:
    payload: PostedInvoice = {
        **_describe(outcome.invoice),
        "balance_after": outcome.balance_after,
    }
    return outbox.dump(payload)
