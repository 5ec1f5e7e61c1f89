"""What can be ordered, and which orders are approved. All amounts are minor units."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from rowlock.accounts.rules import BALANCE_LIMIT, Account
from rowlock.errors import OrderTotalTooLarge, ProductsNotFound, Rejection, UnknownUser
from rowlock.origin import SYSTEM, Origin

STATUSES = ("pending", "approved", "refused")


class Item(NamedTuple):
    """A line of an order."""

    product_id: int
    quantity: int


class CreateOrder(NamedTuple):
    """Order `items`, to be paid by the user if there is one."""

    user_id: int | None
    items: tuple[Item, ...]
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


class Order(NamedTuple):
    """An order, as it stood at some moment."""

    id: int
    status: str
    amount: int  # minor units
    reason: str | None  # why refused
    items: list[OrderItem]


class CreatedOrder(NamedTuple):
    """An order that waits to be settled."""

    id: int
    amount: int  # minor units
    command: CreateOrder
    item_ids: tuple[int, ...]


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


def decide_creation(
    command: CreateOrder, prices: Mapping[int, int], users: Set[int]
) -> int | Rejection:
    """Return the total of the order, or why it can't be made."""
    unknown = sorted({item.product_id for item in command.items} - prices.keys())
    if unknown:
        return ProductsNotFound(products=unknown)
    if command.user_id is not None and command.user_id not in users:
        return UnknownUser.of(command.user_id)
    total = sum(prices[item.product_id] * item.quantity for item in command.items)
    if total > BALANCE_LIMIT:
        return OrderTotalTooLarge(limit=BALANCE_LIMIT)
    return total


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
