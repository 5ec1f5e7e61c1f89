"""The events of subscriptions: what each one says. None has a URL or a secret."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypedDict

from rowlock.engine.event_types import EventType, an_id, fact
from rowlock.engine.outbox import Event
from rowlock.origin import Origin

SUBJECT = "subscription:{subscription_id}"


class OfSubscription(TypedDict):
    """What each event says of its subscription."""

    subscription_id: Annotated[int, an_id("The subscription's id.")]


class SubscriptionCreated(OfSubscription):
    """What `subscription.created` says."""

    names: Annotated[Sequence[str], fact("Which events are posted.", minItems=1)]


class SubscriptionChanged(OfSubscription):
    """What `subscription.changed` says."""

    changed: Annotated[Sequence[str], fact("The fields that have changed.", minItems=1)]


class SecretRotated(OfSubscription):
    """What `subscription.secret_rotated` says."""

    overlap_s: Annotated[int, fact("Seconds for which the old secret signs, too.", minimum=0)]


class SubscriptionDisabled(OfSubscription):
    """What `subscription.disabled` says."""

    reason: Annotated[
        str, fact("Why nothing is posted.", enum=["by_hand", "failing", "backlog", "gone"])
    ]


class RecoveryAsked(OfSubscription):
    """What `subscription.recovery_asked` says."""

    since: Annotated[datetime, fact("Events of this time and later are posted once more.")]


class DeliveryAsked(OfSubscription):
    """What `subscription.tested` and `subscription.resent` say."""

    delivery_id: Annotated[int, an_id("The delivery's id.")]


EVENTS: tuple[EventType[Any], ...] = (
    EventType(
        "subscription.created",
        SubscriptionCreated,
        "A subscription was created.",
        subject=SUBJECT,
        example={"subscription_id": 1, "names": ["invoice.*"]},
    ),
    EventType(
        "subscription.changed",
        SubscriptionChanged,
        "A subscription was changed.",
        subject=SUBJECT,
        example={"subscription_id": 1, "changed": ["names", "url"]},
    ),
    EventType(
        "subscription.secret_rotated",
        SecretRotated,
        "A subscription has got another secret.",
        subject=SUBJECT,
        example={"subscription_id": 1, "overlap_s": 86400},
    ),
    EventType(
        "subscription.enabled",
        OfSubscription,
        "A subscription was enabled: events from then on are posted.",
        subject=SUBJECT,
        example={"subscription_id": 1},
    ),
    EventType(
        "subscription.disabled",
        SubscriptionDisabled,
        "A subscription was disabled, or has ended: nothing is posted any more.",
        subject=SUBJECT,
        example={"subscription_id": 1, "reason": "failing"},
    ),
    EventType(
        "subscription.recovery_asked",
        RecoveryAsked,
        "A client has asked for past events of a subscription.",
        subject=SUBJECT,
        example={"subscription_id": 1, "since": datetime(2026, 11, 21, 9, 30, tzinfo=UTC)},
    ),
    EventType(
        "subscription.tested",
        DeliveryAsked,
        "A client has asked for a test of a subscription.",
        subject=SUBJECT,
        example={"subscription_id": 1, "delivery_id": 7},
    ),
    EventType(
        "subscription.resent",
        DeliveryAsked,
        "A client has asked for a delivery to be posted again.",
        subject=SUBJECT,
        example={"subscription_id": 1, "delivery_id": 7},
    ),
    EventType(
        "subscription.deleted",
        OfSubscription,
        "A subscription was deleted.",
        subject=SUBJECT,
        example={"subscription_id": 1},
    ),
)
BY_NAME = {kind.name: kind for kind in EVENTS}


def event_of(name: str, id_: int, origin: Origin, facts: Mapping[str, object]) -> Event:
    """Return an event of a subscription."""
    return BY_NAME[name].event({"subscription_id": id_, **facts}, origin)
