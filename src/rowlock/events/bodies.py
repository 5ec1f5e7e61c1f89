"""The bodies that the events service takes, and how it shows an event.

Almost all events come from a relay, a thousand at a time, and almost all are valid. Plain checks
take those, in a tenth of marshmallow's time. What they do not take, marshmallow loads: it finds all
that is wrong with an event.
"""

import uuid
from datetime import UTC, datetime
from typing import Any

import marshmallow
import orjson
from marshmallow import fields

from rowlock import texts
from rowlock.events.rules import NewEvent, StoredEvent
from rowlock.http.fields import CheckedText, Instant, JsonArray, JsonObject, Strict, Text
from rowlock.http.openapi.shapes import instant, integer, mapping, nullable, record, text
from rowlock.http.request_ids import REQUEST_ID_LENGTH
from rowlock.http.traces import is_traceparent
from rowlock.origin import ACTOR_LENGTH

NAME_LENGTH = 200
NAME = {"examples": ["deployment.created"]}
SUBJECT = {"examples": ["project:3"]}
BATCH_EVENTS = 1000
TRACEPARENT_LENGTH = 55
PAYLOAD_BYTES = 65_536

CREATED_AT = {
    "description": "When it happened; not before the oldest month that is kept, nor more than a "
    "day ahead. By default now."
}
EXAMPLE_TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACEPARENT = {
    "description": "The place of the request in a trace (W3C Trace Context, version 00).",
    "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
    "examples": [EXAMPLE_TRACEPARENT],
}
PAYLOAD_SHAPE = mapping("Payload", {"deployment_id": 6})
PAYLOAD = JsonObject(longest=PAYLOAD_BYTES, metadata=PAYLOAD_SHAPE)
INSTANT = Instant()


def _check_traceparent(text: str) -> str | None:
    return None if is_traceparent(text) else "Must be a traceparent of version 00."


class EventBody(Strict):
    """`{"name": "deployment.created", "payload": {…}}`, and what the sender knows besides."""

    event_id = fields.UUID(load_default=uuid.uuid4)
    name = Text(longest=NAME_LENGTH, required=True)
    subject = Text(longest=NAME_LENGTH, load_default=None, allow_none=True)
    payload = JsonObject(longest=PAYLOAD_BYTES, required=True, metadata=PAYLOAD_SHAPE)
    request_id = Text(longest=REQUEST_ID_LENGTH, load_default=None, allow_none=True)
    actor = Text(longest=ACTOR_LENGTH, load_default=None, allow_none=True)
    traceparent = CheckedText(
        _check_traceparent,
        longest=TRACEPARENT_LENGTH,
        load_default=None,
        allow_none=True,
        metadata=TRACEPARENT,
    )
    created_at = Instant(metadata=CREATED_AT)

    @marshmallow.post_load
    def _make(self, data: dict[str, Any], **_: Any) -> NewEvent:
        if "created_at" in data:
            return NewEvent(**data)
        return NewEvent(**data, created_at=datetime.now(UTC), is_dated=False)


class _Events(JsonArray):
    """A JSON array of events."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> list[Any]:
        if type(value) is list and len(value) <= BATCH_EVENTS:
            try:
                return [_take(event) for event in value]
            except (marshmallow.ValidationError, ValueError, KeyError, TypeError):
                pass
        return super()._deserialize(value, attr, data, **kwargs)


class BatchBody(Strict):
    """`{"events": […]}`."""

    events = _Events(fields.Nested(EventBody), shortest=0, longest=BATCH_EVENTS, required=True)


def _take(event: dict[str, Any]) -> NewEvent:
    """Return an event that has all that a relay sends, as EventBody loads it.

    Raises ValidationError, ValueError, KeyError or TypeError for any other event: marshmallow may
    still take it.
    """
    subject, request_id = event["subject"], event["request_id"]
    actor, traceparent = event.get("actor"), event.get("traceparent")
    if (
        len(event) != 6 + ("actor" in event) + ("traceparent" in event)
        or type(event["event_id"]) is not str
        or not _shows(event["name"], NAME_LENGTH)
        or not (subject is None or _shows(subject, NAME_LENGTH))
        or not (request_id is None or _shows(request_id, REQUEST_ID_LENGTH))
        or not (actor is None or _shows(actor, ACTOR_LENGTH))
        or not (traceparent is None or is_traceparent(traceparent))
    ):
        raise ValueError
    return NewEvent(
        uuid.UUID(event["event_id"]),
        event["name"],
        subject,
        PAYLOAD.deserialize(event["payload"]),
        INSTANT.deserialize(event["created_at"]),
        request_id,
        actor,
        traceparent,
    )


def _shows(text: str, longest: int) -> bool:
    """Tell whether `text` is what the field Text takes."""
    if type(text) is not str or not 0 < len(text) <= longest:
        return False
    if text.isascii() and text.isprintable() and not text.isspace():
        return True
    return texts.problem(text) is None


STORED = record(
    "Event",
    id=integer(12),
    event_id=text("6f1c2a34-5b0e-4c8e-9a53-2d9f0e6b7c18", format="uuid"),
    name=text("deployment.created"),
    subject=nullable(text("project:3")),
    payload=dict(PAYLOAD.metadata),
    request_id=text("3f1c9a0b7d2e4f68"),
    actor=text("token"),
    traceparent=text(EXAMPLE_TRACEPARENT),
    created_at=instant(),
    optional=("request_id", "actor", "traceparent"),
)


def show(event: StoredEvent) -> dict[str, Any]:
    """Return an event as answers have it."""
    shown = {
        "id": event.id,
        "event_id": str(event.event_id),
        "name": event.name,
        "subject": event.subject,
        "payload": orjson.Fragment(event.payload),
        "created_at": event.created_at,
    }
    if event.request_id is not None:
        shown["request_id"] = event.request_id
    if event.actor is not None:
        shown["actor"] = event.actor
    if event.traceparent is not None:
        shown["traceparent"] = event.traceparent
    return shown
