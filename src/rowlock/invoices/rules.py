"""Issuing and paying invoices. All amounts are minor units."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from rowlock.accounts.rules import Account
from rowlock.errors import InvoiceAlreadyPaid, InvoiceNotFound, Rejection
from rowlock.origin import SYSTEM, Origin

LABEL_LENGTH = 500
STATUSES = ("pending", "paid")


class CreateInvoice(NamedTuple):
    """Issue an invoice for the user."""

    user_id: int
    amount: int
    label: str
    origin: Origin = SYSTEM


class PayInvoice(NamedTuple):
    """Pay an invoice, once."""

    invoice_id: int
    origin: Origin = SYSTEM


@dataclass  # without slots, orjson writes it in half the time
class Invoice:
    """An invoice; in a batch, a locked one as it stands after the commands decided so far."""

    id: int
    user_id: int
    amount: int
    label: str
    status: str  # pending | paid
    created_at: datetime
    paid_at: datetime | None


class Payment(NamedTuple):
    """A payment that the rules allow."""

    invoice: Invoice
    balance_after: int
    origin: Origin = SYSTEM


def decide_payment(
    command: PayInvoice, invoices: Mapping[int, Invoice], accounts: Mapping[int, Account]
) -> Payment | Rejection:
    """Return the payment and apply it to the state, or return why there is none."""
    invoice = invoices.get(command.invoice_id)
    if invoice is None:
        return InvoiceNotFound.of(command.invoice_id)
    if invoice.status == "paid":
        return already_paid(invoice.id)
    account = accounts[invoice.user_id]
    refusal = account.credit(invoice.amount)
    if refusal is not None:
        return refusal
    invoice.status = "paid"
    return Payment(invoice, account.balance, command.origin)


def already_paid(invoice_id: int) -> InvoiceAlreadyPaid:
    """Return the refusal to pay an invoice twice."""
    return InvoiceAlreadyPaid(f"Invoice {invoice_id} has been paid already.", invoice_id=invoice_id)
