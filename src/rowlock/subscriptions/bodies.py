"""The bodies of requests about subscriptions, and how these and deliveries are shown."""

from typing import Any

import marshmallow
from marshmallow import fields, validate

from rowlock.http.bodies import Body, ChangeBody
from rowlock.http.fields import CheckedText, Instant, JsonArray, Text
from rowlock.http.openapi.shapes import (
    array,
    choice,
    instant,
    integer,
    nullable,
    record,
    text,
)
from rowlock.http.paging import PageQuery
from rowlock.subscriptions.rules import (
    ACTIVE,
    BACKLOG,
    BY_HAND,
    DELIVERY_STATUSES,
    DESCRIPTION_LENGTH,
    DISABLED,
    ENDED,
    FAILING,
    GONE,
    MOST_NAMES,
    NAME_LENGTH,
    URL_LENGTH,
    Subscription,
    is_pattern,
)

EXAMPLE_URL = "https://example.com/hooks/rowlock"


def name_problem(name: str) -> str | None:
    """Return what is wrong with a pattern of names, or None."""
    if is_pattern(name):
        return None
    return "Must be the name of an event, such as invoice.paid, or invoice.*, or *."


def check_unique(names: list[str]) -> None:
    """Raise ValidationError if a name is repeated."""
    if len(set(names)) < len(names):
        raise marshmallow.ValidationError("Must not have a name twice.")


def names_field(**options: Any) -> JsonArray:
    """Return the field of the names of events."""
    name = CheckedText(name_problem, longest=NAME_LENGTH, metadata={"examples": ["invoice.*"]})
    return JsonArray(
        name,
        longest=MOST_NAMES,
        validate=check_unique,
        metadata={"uniqueItems": True, "examples": [["invoice.*"]]},
        **options,
    )


URL_EXAMPLE = {"examples": [EXAMPLE_URL], "format": "uri"}
SUBJECT = {"examples": ["invoice:7"]}


class SubscriptionBody(Body):
    """`{"url": "https://example.com/hooks/rowlock", "names": ["invoice.*"]}`."""

    url = Text(longest=URL_LENGTH, required=True, metadata=URL_EXAMPLE)
    names = names_field(required=True)
    subject = Text(longest=NAME_LENGTH, load_default=None, metadata=SUBJECT)
    description = Text(longest=DESCRIPTION_LENGTH, load_default=None)


class SubscriptionChangeBody(ChangeBody):
    """Some of what a subscription has; null removes a subject or a description."""

    url = Text(longest=URL_LENGTH, metadata=URL_EXAMPLE)
    names = names_field()
    subject = Text(longest=NAME_LENGTH, allow_none=True, metadata=SUBJECT)
    description = Text(longest=DESCRIPTION_LENGTH, allow_none=True)


class RecoveryBody(Body):
    """`{"since": "2026-11-21T09:30:00Z"}`."""

    since = Instant(required=True)


class DeliveriesQuery(PageQuery):
    """The filter of the list."""

    status = fields.String(
        validate=validate.OneOf(DELIVERY_STATUSES),
        load_default=None,
        metadata={"title": "DeliveryStatus"},
    )


SUBSCRIPTION_BODY = SubscriptionBody()
CHANGES_BODY = SubscriptionChangeBody()
RECOVERY_BODY = RecoveryBody()
PAGE_QUERY = PageQuery()
DELIVERIES_QUERY = DeliveriesQuery()

SUBSCRIPTION = record(
    "Subscription",
    id=integer(1),
    url=text(EXAMPLE_URL),
    names=array(text("invoice.*")),
    subject=nullable(text("invoice:7")),
    description=nullable(text("Accounting")),
    status=choice(ACTIVE, DISABLED, ENDED, title="SubscriptionStatus"),
    reason={
        **nullable(choice(BY_HAND, FAILING, BACKLOG, GONE, title="SubscriptionReason")),
        "examples": [None],
    },
    delivered=integer(12, minimum=0),
    failed=integer(0, minimum=0),
    failing_since=nullable(instant()),
    last_problem=nullable(text("http_500")),
    recovers_since=nullable(instant()),
    old_secret_until=nullable(instant()),
    created_at=instant(),
    created_by=text("token"),
)
SECRET = text(
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwQkE2Fv1kz1o=",
    pattern="^whsec_[A-Za-z0-9+/]{43}=$",
)
NEW_SUBSCRIPTION = record("NewSubscription", **SUBSCRIPTION["properties"], secret=SECRET)
DELIVERY = record(
    "Delivery",
    id=integer(7),
    subscription_id=integer(1),
    event_id=nullable(integer(12)),
    name=text("invoice.paid"),
    status=choice(*DELIVERY_STATUSES, title="DeliveryStatus"),
    attempts=integer(1, minimum=0),
    problem=nullable(text("http_500")),
    created_at=instant(),
    due_at=nullable(instant()),
    finished_at=nullable(instant()),
)


def show(each: Subscription) -> dict[str, Any]:
    """Return a subscription as JSON shows it."""
    return {
        "id": each.id,
        "url": each.url,
        "names": each.names,
        "subject": each.subject,
        "description": each.description,
        "status": each.status,
        "reason": each.reason,
        "delivered": each.delivered,
        "failed": each.failed,
        "failing_since": each.failing_since,
        "last_problem": each.last_problem,
        "recovers_since": each.recover_since,
        "old_secret_until": each.old_secret_until,
        "created_at": each.created_at,
        "created_by": each.created_by,
    }
