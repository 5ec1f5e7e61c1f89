"""The events of orders: what each one says."""

from datetime import UTC, datetime
from typing import Annotated, NotRequired, TypedDict

from rowlock.engine.event_types import EventType, an_id, fact, money

OrderId = Annotated[int, an_id("The order's id.")]
Payer = Annotated[int | None, an_id("The user who pays; null if the order has no user.")]
Amount = Annotated[int, money("What the order costs.")]
OrderedAt = Annotated[datetime, fact("When the order was created.")]


class Item(TypedDict):
    """A line of an order."""

    product_id: Annotated[int, an_id("The product's id.")]
    quantity: Annotated[int, fact("How many were ordered.", minimum=1)]
    price: Annotated[int, money("The price of one.")]


class NewOrder(TypedDict):
    """What `order.created` says but for the order's id, which orders/create_orders adds."""

    user_id: Payer
    amount: Amount
    items: Annotated[list[Item], fact("What was ordered.", minItems=1)]


class OrderCreated(NewOrder):
    """What `order.created` says."""

    order_id: OrderId


class KnownOrder(TypedDict):
    """What is said of an order that something has happened to."""

    order_id: OrderId
    user_id: Payer
    amount: Amount
    order_created_at: OrderedAt


class OrderCancelled(KnownOrder):
    """What `order.cancelled` says."""


class OrderRetried(KnownOrder):
    """What `order.retried` says."""


class OrderApproved(KnownOrder):
    """What `order.approved` says."""

    balance_after: NotRequired[
        Annotated[int, money("The user's balance after the payment; missing without a user.")]
    ]


class OrderRefused(KnownOrder):
    """What `order.refused` says."""

    reason: Annotated[str, fact("Why: insufficient_balance, not_approved or processing_failed.")]


class OrderSettled(KnownOrder):
    """What is said of an order that is settled: a `reason` if it is refused."""

    reason: NotRequired[str]
    balance_after: NotRequired[int]


AT = datetime(2026, 11, 21, 9, 30, 0, 250_000, tzinfo=UTC)
ORDER_CREATED = EventType(
    "order.created",
    OrderCreated,
    "An order was created. It is settled in the background.",
    subject="order:{order_id}",
    example={
        "order_id": 7,
        "user_id": 1,
        "amount": 15198,
        "items": [{"product_id": 1, "quantity": 2, "price": 7599}],
    },
)
ORDER_APPROVED = EventType(
    "order.approved",
    OrderApproved,
    "An order was approved, and its user has paid for it.",
    subject="order:{order_id}",
    example={
        "order_id": 7,
        "user_id": 1,
        "amount": 15198,
        "order_created_at": AT,
        "balance_after": 34802,
    },
)
ORDER_REFUSED = EventType(
    "order.refused",
    OrderRefused,
    "An order was refused, and costs nothing.",
    subject="order:{order_id}",
    example={
        "order_id": 7,
        "user_id": 1,
        "amount": 15198,
        "order_created_at": AT,
        "reason": "insufficient_balance",
    },
)
ORDER_CANCELLED = EventType(
    "order.cancelled",
    OrderCancelled,
    "A client has cancelled a pending order.",
    subject="order:{order_id}",
    example={"order_id": 7, "user_id": 1, "amount": 15198, "order_created_at": AT},
)
ORDER_RETRIED = EventType(
    "order.retried",
    OrderRetried,
    "An operator has asked to settle an order at once that was postponed after a failure.",
    subject="order:{order_id}",
    example={"order_id": 7, "user_id": 1, "amount": 15198, "order_created_at": AT},
)
EVENTS = (ORDER_CREATED, ORDER_APPROVED, ORDER_REFUSED, ORDER_CANCELLED, ORDER_RETRIED)
