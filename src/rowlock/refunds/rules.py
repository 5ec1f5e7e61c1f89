"""How much of an order can be refunded. All amounts are minor units."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from rowlock.accounts.references import References
from rowlock.accounts.rules import Account
from rowlock.origin import SYSTEM, Origin
from rowlock.rejections import OrderNotFound, OrderNotRefundable, RefundExceedsOrder, Rejection


class RefundOrder(NamedTuple):
    """Pay an order back."""

    order_id: int
    amount: int | None  # at least 1; None: all that is left
    origin: Origin = SYSTEM
    reference: str | None = None  # what the client calls the refund
    metadata: str | None = None  # JSON: short texts by name


class Refund(NamedTuple):
    """A refund."""

    id: int
    order_id: int
    amount: int  # 0 if the order had cost nothing
    created_at: datetime
    reference: str | None
    metadata: Mapping[str, str] | None


@dataclass(slots=True)
class RefundableOrder:
    """A locked order, as it stands after the commands decided so far."""

    id: int
    user_id: int | None  # who has paid
    status: str
    amount: int
    refunded: int
    is_benefit: bool  # of the benefits shop: a product belongs to its buyer, or does not
    is_given_back: bool = False  # of a benefit order that had cost nothing: there is a refund

    @property
    def left(self) -> int:
        """What can still be refunded."""
        return self.amount - self.refunded

    @property
    def problem(self) -> str | None:
        """Why nothing of the order can be refunded, as a sentence; None if something can."""
        if self.status != "approved":
            return f"Order {self.id} is {self.status}: only approved orders are refunded."
        if self.user_id is None:
            return f"Order {self.id} has no user, so nothing was paid for it."
        if self.amount == 0 and not self.is_benefit:
            return f"Order {self.id} has cost nothing."
        if self.is_given_back or (self.amount > 0 and self.left == 0):
            return f"Order {self.id} has been refunded already."
        return None


class Payback(NamedTuple):
    """A refund that the rules allow."""

    command: RefundOrder
    order: RefundableOrder
    user_id: int
    amount: int
    refunded: int  # of the order, with this refund
    balance_after: int


def decide(
    command: RefundOrder,
    orders: Mapping[int, RefundableOrder],
    accounts: Mapping[int, Account],
    references: References,
) -> Payback | Rejection:
    """Return the refund and apply it to the state, or return why there is none.

    `accounts` has the users of those orders that can be refunded.
    """
    order = orders.get(command.order_id)
    if order is None:
        return OrderNotFound.of(command.order_id)
    problem = order.problem
    if problem is not None:
        return _not_refundable(order, problem)
    amount = order.left if command.amount is None else command.amount
    if amount > order.left:
        return RefundExceedsOrder(
            f"Of order {order.id}, {order.left} minor units are left to refund.",
            order_id=order.id,
            amount=amount,
            left=order.left,
        )
    if order.is_benefit and amount < order.left:
        whole = f"Order {order.id} is a benefit order, which is refunded whole."
        return _not_refundable(order, whole)
    assert order.user_id is not None  # else there is a problem
    account = accounts[order.user_id]
    refusal = references.refusal(command.reference) or account.credit(amount)
    if refusal is not None:
        return refusal
    references.take(command.reference)
    order.refunded += amount
    order.is_given_back = order.is_benefit
    return Payback(command, order, account.id, amount, order.refunded, account.balance)


def _not_refundable(order: RefundableOrder, problem: str) -> OrderNotRefundable:
    return OrderNotRefundable(problem, order_id=order.id, status=order.status)
