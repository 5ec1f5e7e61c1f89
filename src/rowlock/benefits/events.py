"""The events of the benefits shop: what each one says."""

from typing import Annotated, TypedDict

from rowlock.engine.event_types import EventType, an_id, fact, money


class Bought(TypedDict):
    """A product that was bought."""

    product_id: Annotated[int, an_id("The product's id.")]
    slug: Annotated[str, fact("What the benefits API calls the product.")]
    price: Annotated[int, money("Its price.")]


class NewBenefitOrder(TypedDict):
    """What `benefit_order.placed` says but for the order's id, which benefits/place_orders adds."""

    user_id: Annotated[int, an_id("The user who has bought the products.")]
    items: Annotated[list[Bought], fact("What was bought.", minItems=1)]
    total: Annotated[int, money("What they cost together.")]
    balance_after: Annotated[int, money("The user's balance after the payment.")]


class BenefitOrderPlaced(NewBenefitOrder):
    """What `benefit_order.placed` says."""

    order_id: Annotated[int, an_id("The order's id.")]


BENEFIT_ORDER_PLACED = EventType(
    "benefit_order.placed",
    BenefitOrderPlaced,
    "A user has bought products in the benefits shop, and paid for them.",
    subject="order:{order_id}",
    example={
        "order_id": 8,
        "user_id": 1,
        "items": [{"product_id": 1, "slug": "netflix", "price": 7599}],
        "total": 7599,
        "balance_after": 42401,
    },
)
EVENTS = (BENEFIT_ORDER_PLACED,)
