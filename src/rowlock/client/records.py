"""What commerce tells, as records. Amounts are whole minor units, times are aware datetimes.

Only the benefits shop, below `/api/`, tells major units: there, amounts are decimals.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from rowlock.client.shapes import Named, Record

Metadata = Mapping[str, str]


# --- orders -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line(Record, camel=True):
    """What is ordered: so many of a product."""

    product_id: int
    quantity: int


@dataclass(frozen=True, slots=True)
class Product(Record, camel=True):
    """A product of the shop."""

    id: int
    name: str
    price_cents: int


@dataclass(frozen=True, slots=True)
class Item(Record, camel=True):
    """A line of an order, at its price."""

    id: int
    product_id: int
    quantity: int
    unit_price_cents: int


@dataclass(frozen=True, slots=True)
class Order(Record, camel=True):
    """An order: pending, approved, refused (for a reason) or cancelled."""

    id: int
    status: str
    amount_cents: int
    items: tuple[Item, ...]
    user_id: int | None
    created_at: datetime
    settled_at: datetime | None
    refunded_cents: int
    reference: str | None
    metadata: Metadata | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Refund(Record, camel=True):
    """A refund of an order, or of a part of it."""

    id: int
    order_id: int
    amount_cents: int
    created_at: datetime
    reference: str | None
    metadata: Metadata | None


# --- the benefits shop ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ShopperData(Record):
    """What a user of the benefits shop has. The balance is in major units."""

    balance: Decimal
    product_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shopper(Record):
    """A user of the benefits shop."""

    user_id: str
    data: ShopperData


@dataclass(frozen=True, slots=True)
class Benefit(Record):
    """A product of the benefits shop. The price is in major units."""

    id: str
    name: str
    price: Decimal


@dataclass(frozen=True, slots=True)
class PurchaseData(Record):
    """What was bought. The total is in major units."""

    items: tuple[str, ...]
    total: Decimal


@dataclass(frozen=True, slots=True)
class Purchase(Record):
    """An order of the benefits shop, which is paid."""

    order_id: str
    data: PurchaseData


# --- users and their money --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class User(Record):
    """A user and the balance."""

    user_id: int
    first_name: str
    last_name: str
    balance: int


@dataclass(frozen=True, slots=True)
class Person(Record):
    """A user with everything that is known of the person."""

    user_id: int
    username: str
    email: str | None
    first_name: str
    last_name: str
    balance: int
    created_at: datetime
    anonymised_at: datetime | None


@dataclass(frozen=True, slots=True)
class Balance(Record):
    """A balance: now, or as it was at a time."""

    user_id: int
    balance: int
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Entry(Record):
    """An entry of a user's ledger. `reference` is the document's, such as `invoice:5`."""

    id: int
    amount: int
    balance_after: int
    reason: str
    reference: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Statement(Record):
    """What has moved in an account in a period, oldest first, between two balances."""

    user_id: int
    opening_balance: int
    closing_balance: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Invoice(Record):
    """An invoice: pending, paid, void or reversed."""

    id: int
    user_id: int
    amount: int
    label: str
    status: str
    created_at: datetime
    paid_at: datetime | None
    voided_at: datetime | None
    reversed_at: datetime | None
    reference: str | None
    metadata: Metadata | None


@dataclass(frozen=True, slots=True)
class NewInvoice(Record):
    """An invoice to be issued, in a batch."""

    user_id: int
    amount: int
    label: str
    reference: str | None = None
    metadata: Metadata | None = None


@dataclass(frozen=True, slots=True)
class Problem(Record):
    """Why one of a batch was refused, as an error of its own would have said."""

    error: str  # the code
    message: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class InvoiceOutcome(Record):
    """What became of one invoice of a batch: it was issued, or refused."""

    invoice: Invoice | None = None
    error: Problem | None = None


@dataclass(frozen=True, slots=True)
class Transfer(Record):
    """Money that has moved from one user to another."""

    id: int
    from_user_id: int
    to_user_id: int
    amount: int
    label: str
    reference: str | None
    metadata: Metadata | None
    created_at: datetime


# --- bookings and the catalogue ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Service(Record):
    """A service that can be booked."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Booking(Record):
    """A service order. Lists tell no `etag`."""

    id: str
    at: Annotated[datetime, Named("datetime")]
    totalfee: int
    services: tuple[Service, ...]
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class CatalogueProduct(Record):
    """A product, as those see it who keep the catalogue."""

    id: int
    slug: str
    name: str
    price: int
    created_at: datetime | None
    retired_at: datetime | None


@dataclass(frozen=True, slots=True)
class CatalogueService(Record):
    """A service, as those see it who keep the catalogue."""

    id: int
    name: str
    created_at: datetime | None
    retired_at: datetime | None
