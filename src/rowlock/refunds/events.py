"""The events of refunds: what each one says."""

from typing import Annotated, TypedDict

from rowlock.engine.event_types import EventType, an_id, money


class NewRefund(TypedDict):
    """What `order.refunded` says but for the refund's id, which refunds/refund_orders adds."""

    order_id: Annotated[int, an_id("The order's id.")]
    user_id: Annotated[int, an_id("The user who gets the money back.")]
    amount: Annotated[int, money("What this refund gives back.")]
    refunded: Annotated[int, money("What the order's refunds have given back so far.")]
    balance_after: Annotated[int, money("The user's balance after the refund.")]


class OrderRefunded(NewRefund):
    """What `order.refunded` says."""

    refund_id: Annotated[int, an_id("The refund's id.")]


ORDER_REFUNDED = EventType(
    "order.refunded",
    OrderRefunded,
    "A part of an order was refunded, or all of it. Benefit orders are refunded whole.",
    subject="order:{order_id}",
    example={
        "order_id": 7,
        "refund_id": 3,
        "user_id": 1,
        "amount": 5000,
        "refunded": 5000,
        "balance_after": 39802,
    },
)
EVENTS = (ORDER_REFUNDED,)
