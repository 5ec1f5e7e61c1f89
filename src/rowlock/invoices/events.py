"""The events of invoices: what each one says."""

from datetime import UTC, datetime
from typing import Annotated, NotRequired, TypedDict

from rowlock.engine.event_types import EventType, an_id, fact, money


class _Named(TypedDict):
    """What each event says of its invoice."""

    invoice_id: Annotated[int, an_id("The invoice's id.")]
    user_id: Annotated[int, an_id("The user who has issued the invoice.")]
    amount: Annotated[int, money("What the invoice is over.", minimum=1)]
    label: Annotated[str, fact("What the invoice is for, as its user has put it.")]


class InvoiceCreated(_Named):
    """What `invoice.created` says. invoices/create_invoices writes it."""

    invoice_created_at: NotRequired[
        Annotated[datetime, fact("When the invoice was created, if it was imported.")]
    ]


class KnownInvoice(_Named):
    """What is said of an invoice that something has happened to."""

    invoice_created_at: Annotated[datetime, fact("When the invoice was created.")]


class PostedInvoice(KnownInvoice):
    """What is said of an invoice that has moved money. A statement adds the time."""

    balance_after: Annotated[int, money("The user's balance after it.")]


class InvoicePaid(PostedInvoice):
    """What `invoice.paid` says."""

    paid_at: Annotated[datetime, fact("When the invoice was paid.")]


class InvoiceReversed(PostedInvoice):
    """What `invoice.reversed` says."""

    reversed_at: Annotated[datetime, fact("When the payment was reversed.")]


class InvoiceVoided(KnownInvoice):
    """What `invoice.voided` says."""

    voided_at: Annotated[datetime, fact("When the invoice was made void.")]


AT = datetime(2026, 11, 21, 9, 30, 0, 250_000, tzinfo=UTC)
LATER = datetime(2026, 11, 23, 16, 5, 41, 125_000, tzinfo=UTC)
INVOICE_CREATED = EventType(
    "invoice.created",
    InvoiceCreated,
    "A user has issued an invoice.",
    subject="invoice:{invoice_id}",
    example={"invoice_id": 7, "user_id": 1, "amount": 11350, "label": "Work for April"},
)
INVOICE_PAID = EventType(
    "invoice.paid",
    InvoicePaid,
    "An invoice was paid, and its user was credited.",
    subject="invoice:{invoice_id}",
    example={
        "invoice_id": 7,
        "user_id": 1,
        "amount": 11350,
        "label": "Work for April",
        "invoice_created_at": AT,
        "paid_at": LATER,
        "balance_after": 61350,
    },
)
INVOICE_VOIDED = EventType(
    "invoice.voided",
    InvoiceVoided,
    "A pending invoice was made void: it is never paid.",
    subject="invoice:{invoice_id}",
    example={
        "invoice_id": 7,
        "user_id": 1,
        "amount": 11350,
        "label": "Work for April",
        "invoice_created_at": AT,
        "voided_at": LATER,
    },
)
INVOICE_REVERSED = EventType(
    "invoice.reversed",
    InvoiceReversed,
    "The payment of an invoice was reversed, and its user was debited.",
    subject="invoice:{invoice_id}",
    example={
        "invoice_id": 7,
        "user_id": 1,
        "amount": 11350,
        "label": "Work for April",
        "invoice_created_at": AT,
        "reversed_at": LATER,
        "balance_after": 50000,
    },
)
EVENTS = (INVOICE_CREATED, INVOICE_PAID, INVOICE_VOIDED, INVOICE_REVERSED)
