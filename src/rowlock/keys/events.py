"""The events of API keys: what each one says."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, TypedDict

from rowlock.engine.event_types import EventType, an_id, fact

SUBJECT = "key:{service}:{key_name}"


class OfKey(TypedDict):
    """What each event says of its key, and all that `key.revoked` says."""

    key_id: Annotated[int, an_id("The key's id.")]
    key_name: Annotated[str, fact("The key's name. After it is revoked, another may get it.")]
    service: Annotated[
        str, fact("The service that the key opens.", enum=["commerce", "projects", "events"])
    ]


class KeyCreated(OfKey):
    """What `key.created` says."""

    scopes: Annotated[Sequence[str], fact("What the key may do.", minItems=1)]
    rate: Annotated[int | None, fact("Requests a second at most; null: no limit.", minimum=1)]
    expires_at: Annotated[datetime | None, fact("Until when it is valid; null: without an end.")]


class KeyRotated(OfKey):
    """What `key.rotated` says."""

    overlap_s: Annotated[int, fact("Seconds for which older secrets stay valid.", minimum=0)]


KEY_CREATED = EventType(
    "key.created",
    KeyCreated,
    "An API key was created. The event does not have its secret.",
    subject=SUBJECT,
    example={
        "key_id": 2,
        "key_name": "billing",
        "service": "commerce",
        "scopes": ["invoices:write"],
        "rate": 10,
        "expires_at": datetime(2027, 3, 1, tzinfo=UTC),
    },
)
KEY_ROTATED = EventType(
    "key.rotated",
    KeyRotated,
    "An API key has got another secret.",
    subject=SUBJECT,
    example={"key_id": 2, "key_name": "billing", "service": "commerce", "overlap_s": 86400},
)
KEY_REVOKED = EventType(
    "key.revoked",
    OfKey,
    "An API key was revoked: it opens nothing any more.",
    subject=SUBJECT,
    example={"key_id": 2, "key_name": "billing", "service": "commerce"},
)
EVENTS = (KEY_CREATED, KEY_ROTATED, KEY_REVOKED)
