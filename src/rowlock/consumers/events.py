"""The events of consumers: what each one says."""

from typing import Annotated, TypedDict

from rowlock.engine.event_types import EventType, an_id, fact

SUBJECT = "consumer:{consumer_name}"


class OfConsumer(TypedDict):
    """What each event says of its consumer."""

    consumer_id: Annotated[int, an_id("The consumer's id.")]
    consumer_name: Annotated[
        str, fact("The consumer's name. After it is deleted, another may get it.")
    ]
    position: Annotated[
        int, fact("The id of the last event that it is done with; 0: none.", minimum=0)
    ]


EXAMPLE: OfConsumer = {"consumer_id": 1, "consumer_name": "warehouse", "position": 12}

CONSUMER_CREATED = EventType(
    "consumer.created",
    OfConsumer,
    "A consumer of the log was created.",
    subject=SUBJECT,
    example=EXAMPLE,
)
CONSUMER_RESET = EventType(
    "consumer.reset",
    OfConsumer,
    "A consumer of the log was put at another place.",
    subject=SUBJECT,
    example=EXAMPLE,
)
CONSUMER_DELETED = EventType(
    "consumer.deleted",
    OfConsumer,
    "A consumer of the log was deleted.",
    subject=SUBJECT,
    example=EXAMPLE,
)
EVENTS = (CONSUMER_CREATED, CONSUMER_RESET, CONSUMER_DELETED)
