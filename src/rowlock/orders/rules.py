"""What can be ordered, and which orders are approved. All amounts are minor units."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from rowlock.accounts.references import References
from rowlock.accounts.rules import BALANCE_LIMIT, Account
from rowlock.origin import SYSTEM, Origin
from rowlock.rejections import (
    OrderNotFound,
    OrderNotPending,
    OrderTotalTooLarge,
    ProductsNotFound,
    Rejection,
    UnknownUser,
)

STATUSES = ("pending", "approved", "refused", "cancelled")


class Item(NamedTuple):
    """A line of an order."""

    product_id: int
    quantity: int


class CreateOrder(NamedTuple):
    """Order `items`, to be paid by the user if there is one."""

    user_id: int | None
    items: tuple[Item, ...]
    origin: Origin = SYSTEM
    reference: str | None = None  # what the client calls the order
    metadata: str | None = None  # JSON: short texts by name


class CancelOrder(NamedTuple):
    """Cancel an order that is pending."""

    order_id: int
    origin: Origin = SYSTEM


class RetryOrder(NamedTuple):
    """Settle an order at once that was postponed because settling it had failed."""

    order_id: int
    origin: Origin = SYSTEM


class SettleOrder(NamedTuple):
    """Approve or refuse an order that is pending."""

    order_id: int
    draw: float  # 0 to 1, evenly spread; decides on an order without a user


class CatalogueProduct(NamedTuple):
    """A product as the catalogue shows it."""

    id: int
    name: str
    price: int  # minor units


class OrderItem(NamedTuple):
    """A line of an order."""

    id: int
    product_id: int
    quantity: int
    price: int  # minor units for one, when it was ordered


@dataclass(slots=True)
class Order:
    """An order; in a batch, a locked one as it stands after the commands decided so far."""

    id: int
    status: str  # of STATUSES
    amount: int  # minor units
    items: Sequence[OrderItem]
    user_id: int | None  # who pays
    created_at: datetime
    settled_at: datetime | None = None  # when it was approved, refused or cancelled
    reason: str | None = None  # why refused
    refunded: int = 0  # minor units, so far
    reference: str | None = None  # what the client calls it
    metadata: Mapping[str, str] | None = None  # what the client has noted on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which orders a list has: those to which all applies that is not None."""

    user_id: int | None
    status: str | None
    reference: str | None
    since: datetime  # of created_at: included
    until: datetime  # not included

    def takes(self, order: Order) -> bool:
        """Tell whether the list has this order."""
        return (
            self.user_id in {None, order.user_id}
            and self.status in {None, order.status}
            and self.reference in {None, order.reference}
            and self.since <= order.created_at < self.until
        )


class Cancellation(NamedTuple):
    """A cancellation that the rules allow."""

    order: Order
    origin: Origin = SYSTEM


class Retry(NamedTuple):
    """A retry that the rules allow."""

    order: Order
    origin: Origin = SYSTEM


@dataclass(frozen=True, slots=True)
class PendingOrder:
    """A claimed order."""

    id: int
    user_id: int | None
    amount: int
    attempts: int
    origin: Origin  # of its settlement
    created_at: datetime


class Settlement(NamedTuple):
    """How an order is settled."""

    order: PendingOrder
    status: str  # approved | refused
    reason: str | None  # why refused
    balance_after: int | None = None  # of the user who has paid
    settled_at: datetime | None = None  # once it is written


def decide_creation(
    command: CreateOrder, prices: Mapping[int, int], users: Set[int], references: References
) -> int | Rejection:
    """Return the total of the order and take its reference, or return why it can't be made."""
    unknown = sorted({item.product_id for item in command.items} - prices.keys())
    if unknown:
        return ProductsNotFound(products=unknown)
    if command.user_id is not None and command.user_id not in users:
        return UnknownUser.of(command.user_id)
    total = sum(prices[item.product_id] * item.quantity for item in command.items)
    if total > BALANCE_LIMIT:
        return OrderTotalTooLarge(limit=BALANCE_LIMIT)
    refusal = references.refusal(command.reference)
    if refusal is not None:
        return refusal
    references.take(command.reference)
    return total


def decide_cancellation(
    command: CancelOrder, orders: Mapping[int, Order]
) -> Cancellation | Rejection:
    """Return the cancellation and apply it to the state, or return why there is none."""
    order = _find_pending(command.order_id, orders)
    if isinstance(order, Rejection):
        return order
    order.status = "cancelled"
    return Cancellation(order, command.origin)


def decide_hurry(command: RetryOrder, orders: Mapping[int, Order]) -> Retry | Rejection:
    """Return the retry, or return why there is none."""
    order = _find_pending(command.order_id, orders)
    return order if isinstance(order, Rejection) else Retry(order, command.origin)


def _find_pending(order_id: int, orders: Mapping[int, Order]) -> Order | Rejection:
    order = orders.get(order_id)
    if order is None:
        return OrderNotFound.of(order_id)
    if order.status != "pending":
        return OrderNotPending(
            f"Order {order.id} is {order.status}.", order_id=order.id, status=order.status
        )
    return order


def decide_settlement(
    order: PendingOrder, draw: float, accounts: Mapping[int, Account], approval_rate: float
) -> Settlement:
    """Return the settlement, and apply it to the account of the order's user."""
    if order.user_id is None:
        if draw < approval_rate:
            return Settlement(order, "approved", None)
        return Settlement(order, "refused", "not_approved")
    account = accounts[order.user_id]
    refusal = account.debit(order.amount)
    if refusal is not None:
        return Settlement(order, "refused", refusal.code)
    return Settlement(order, "approved", None, account.balance)


def decide_retry(
    order: PendingOrder, *, attempts_limit: int | None, retry_s: float, retry_limit_s: float
) -> Settlement | timedelta:
    """Return for how long an order that can't be settled waits, or its refusal at the limit.

    The pauses double from `retry_s` up to `retry_limit_s`.
    """
    if attempts_limit is not None and order.attempts + 1 >= attempts_limit:
        return Settlement(order, "refused", "processing_failed")
    return timedelta(seconds=min(retry_s * 2 ** min(order.attempts, 32), retry_limit_s))
