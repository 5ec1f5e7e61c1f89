"""The events of service orders: what each one says."""

from datetime import UTC, datetime
from typing import Annotated, TypedDict

from rowlock.engine.event_types import EventType, an_id, fact, money

# Characters of a service's name, which is cut. With a hundred names of any characters, an event is
# within the service's limit.
NAME_LENGTH = 80

OrderId = Annotated[int, an_id("The service order's id.")]
StartsAt = Annotated[datetime, fact("When the appointment is.")]
Fee = Annotated[int, money("The fee.")]
Imported = Annotated[bool, fact("Whether it was imported: such may be close to each other.")]
Version = Annotated[int, fact("How often it was written, as in its ETag.", minimum=1)]


class Included(TypedDict):
    """A service of a service order."""

    id: Annotated[int, an_id("The service's id.")]
    name: Annotated[str, fact("What the service was called then.", maxLength=NAME_LENGTH)]


class Booked(TypedDict):
    """What `service_order.created` and `service_order.deleted` say."""

    service_order_id: OrderId
    starts_at: StartsAt
    fee: Fee
    services: Annotated[list[Included], fact("What is done then.", minItems=1)]
    imported: Imported
    version: Version


class Before(TypedDict):
    """A service order before a change."""

    service_order_id: OrderId
    starts_at: StartsAt
    fee: Fee
    services: Annotated[list[Annotated[int, an_id("A service's id.")]], fact("What was done then.")]
    imported: Imported
    version: Version


class Changed(Booked):
    """What `service_order.updated` says."""

    before: Annotated[Before, fact("What it was before.")]


EXAMPLE: Booked = {
    "service_order_id": 223,
    "starts_at": datetime(2026, 12, 1, 13, 0, tzinfo=UTC),
    "fee": 25000,
    "services": [{"id": 1, "name": "Moving in"}],
    "imported": False,
    "version": 1,
}
SERVICE_ORDER_CREATED = EventType(
    "service_order.created",
    Booked,
    "A service order was booked.",
    subject="service_order:{service_order_id}",
    example=EXAMPLE,
)
SERVICE_ORDER_UPDATED = EventType(
    "service_order.updated",
    Changed,
    "A service order has got another time, fee or services.",
    subject="service_order:{service_order_id}",
    example={
        "service_order_id": 223,
        "starts_at": datetime(2026, 12, 2, 9, 0, tzinfo=UTC),
        "fee": 25000,
        "services": [{"id": 1, "name": "Moving in"}],
        "imported": False,
        "version": 2,
        "before": {
            "service_order_id": 223,
            "starts_at": datetime(2026, 12, 1, 13, 0, tzinfo=UTC),
            "fee": 25000,
            "services": [1],
            "imported": False,
            "version": 1,
        },
    },
)
SERVICE_ORDER_DELETED = EventType(
    "service_order.deleted",
    Booked,
    "A service order was cancelled.",
    subject="service_order:{service_order_id}",
    example=EXAMPLE,
)
EVENTS = (SERVICE_ORDER_CREATED, SERVICE_ORDER_UPDATED, SERVICE_ORDER_DELETED)
