"""Issuing, paying, voiding and reversing invoices. All amounts are minor units."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from rowlock.accounts.references import References
from rowlock.accounts.rules import Account
from rowlock.origin import SYSTEM, Origin
from rowlock.rejections import (
    InvoiceAlreadyPaid,
    InvoiceNotFound,
    InvoiceNotPaid,
    InvoiceNotPending,
    Rejection,
    UserNotFound,
)

LABEL_LENGTH = 500
AMOUNT_LIMIT = 1_000_000_000_000
STATUSES = ("pending", "paid", "void", "reversed")


class CreateInvoice(NamedTuple):
    """Issue an invoice for the user."""

    user_id: int
    amount: int
    label: str
    origin: Origin = SYSTEM
    reference: str | None = None
    metadata: str | None = None  # JSON: texts by name


class CreateInvoices(NamedTuple):
    """Issue several invoices in one transaction; each may be refused by itself."""

    parts: tuple[CreateInvoice, ...]


class PayInvoice(NamedTuple):
    """Pay an invoice, once."""

    invoice_id: int
    origin: Origin = SYSTEM


class VoidInvoice(NamedTuple):
    """Make a pending invoice void: it is never paid."""

    invoice_id: int
    origin: Origin = SYSTEM


class ReverseInvoice(NamedTuple):
    """Take the payment of an invoice back, once."""

    invoice_id: int
    origin: Origin = SYSTEM


@dataclass  # without slots, orjson writes it in half the time
class Invoice:
    """An invoice; in a batch, a locked one as it stands after the commands decided so far."""

    id: int
    user_id: int
    amount: int
    label: str
    status: str  # of STATUSES
    created_at: datetime
    paid_at: datetime | None
    voided_at: datetime | None = None
    reversed_at: datetime | None = None
    reference: str | None = None
    metadata: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which invoices a list has: those to which all applies that is not None."""

    user_id: int | None
    status: str | None
    reference: str | None
    since: datetime  # of created_at: included
    until: datetime  # not included

    def takes(self, invoice: Invoice) -> bool:
        """Tell whether the list has this invoice."""
        return (
            self.user_id in {None, invoice.user_id}
            and self.status in {None, invoice.status}
            and self.reference in {None, invoice.reference}
            and self.since <= invoice.created_at < self.until
        )


class Payment(NamedTuple):
    """A payment that the rules allow."""

    invoice: Invoice
    balance_after: int
    origin: Origin = SYSTEM


class Voiding(NamedTuple):
    """An end of a pending invoice that the rules allow."""

    invoice: Invoice
    origin: Origin = SYSTEM


class Reversal(NamedTuple):
    """A reversal of a payment that the rules allow."""

    invoice: Invoice
    balance_after: int
    origin: Origin = SYSTEM


def decide_issue(
    command: CreateInvoice, users: Collection[int], references: References
) -> CreateInvoice | Rejection:
    """Return the command and give its reference to it, or return why there is no invoice."""
    if command.user_id not in users:
        return UserNotFound.of(command.user_id)
    refusal = references.refusal(command.reference)
    if refusal is not None:
        return refusal
    references.take(command.reference)
    return command


def decide_payment(
    command: PayInvoice, invoices: Mapping[int, Invoice], accounts: Mapping[int, Account]
) -> Payment | Rejection:
    """Return the payment and apply it to the state, or return why there is none."""
    invoice = invoices.get(command.invoice_id)
    if invoice is None:
        return InvoiceNotFound.of(command.invoice_id)
    if invoice.status == "void":
        return not_pending(invoice)
    if invoice.status != "pending":
        return already_paid(invoice.id)
    account = accounts[invoice.user_id]
    refusal = account.credit(invoice.amount)
    if refusal is not None:
        return refusal
    invoice.status = "paid"
    return Payment(invoice, account.balance, command.origin)


def decide_voiding(command: VoidInvoice, invoices: Mapping[int, Invoice]) -> Voiding | Rejection:
    """Return the end of the invoice and apply it to the state, or return why there is none."""
    invoice = invoices.get(command.invoice_id)
    if invoice is None:
        return InvoiceNotFound.of(command.invoice_id)
    if invoice.status != "pending":
        return not_pending(invoice)
    invoice.status = "void"
    return Voiding(invoice, command.origin)


def decide_reversal(
    command: ReverseInvoice, invoices: Mapping[int, Invoice], accounts: Mapping[int, Account]
) -> Reversal | Rejection:
    """Return the reversal and apply it to the state, or return why there is none."""
    invoice = invoices.get(command.invoice_id)
    if invoice is None:
        return InvoiceNotFound.of(command.invoice_id)
    if invoice.status != "paid":
        return not_paid(invoice.id, invoice.status)
    account = accounts[invoice.user_id]
    refusal = account.debit(invoice.amount)
    if refusal is not None:
        return refusal
    invoice.status = "reversed"
    return Reversal(invoice, account.balance, command.origin)


def already_paid(invoice_id: int) -> InvoiceAlreadyPaid:
    """Return the refusal to pay an invoice twice."""
    return InvoiceAlreadyPaid(f"Invoice {invoice_id} has been paid already.", invoice_id=invoice_id)


def not_pending(invoice: Invoice) -> InvoiceNotPending:
    """Return the refusal to pay or void an invoice that is not pending any more."""
    return InvoiceNotPending(
        f"Invoice {invoice.id} is {invoice.status}, not pending.",
        invoice_id=invoice.id,
        status=invoice.status,
    )


def not_paid(invoice_id: int, status: str) -> InvoiceNotPaid:
    """Return the refusal to reverse an invoice that is not paid."""
    return InvoiceNotPaid(
        f"Invoice {invoice_id} is {status}, not paid.", invoice_id=invoice_id, status=status
    )
