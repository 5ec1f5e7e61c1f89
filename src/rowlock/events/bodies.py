"""The bodies that the events service takes.

Almost all events come from a relay, a thousand at a time, and almost all are valid. Such are taken
by plain checks, in a tenth of marshmallow's time. Whatever these do not take, marshmallow judges:
it finds everything that is wrong with it.
"""

import uuid
from datetime import UTC, datetime
from typing import Any

import marshmallow
from marshmallow import fields

from rowlock import texts
from rowlock.events.rules import NewEvent
from rowlock.http.fields import Instant, JsonArray, JsonObject, Strict, Text
from rowlock.http.request_ids import REQUEST_ID_LENGTH
from rowlock.origin import ACTOR_LENGTH

NAME_LENGTH = 200
BATCH_EVENTS = 1000
PAYLOAD_BYTES = 65_536

CREATED_AT = {
    "description": "When it happened; not before the oldest month that is kept, nor more than a "
    "day ahead. By default now."
}
PAYLOAD = JsonObject(longest=PAYLOAD_BYTES)
INSTANT = Instant()


class EventSchema(Strict):
    """`{"name": "deployment.created", "payload": {…}}`, and what the sender knows besides."""

    event_id = fields.UUID(load_default=uuid.uuid4)
    name = Text(longest=NAME_LENGTH, required=True)
    subject = Text(longest=NAME_LENGTH, load_default=None, allow_none=True)
    payload = JsonObject(longest=PAYLOAD_BYTES, required=True)
    request_id = Text(longest=REQUEST_ID_LENGTH, load_default=None, allow_none=True)
    actor = Text(longest=ACTOR_LENGTH, load_default=None, allow_none=True)
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


class BatchSchema(Strict):
    """`{"events": […]}`."""

    events = _Events(fields.Nested(EventSchema), shortest=0, longest=BATCH_EVENTS, required=True)


def _take(event: dict[str, Any]) -> NewEvent:
    """Return an event that has all that a relay sends, as EventSchema loads it.

    Raises ValidationError, ValueError, KeyError or TypeError for any other: marshmallow may take it
    all the same.
    """
    subject, request_id, actor = event["subject"], event["request_id"], event.get("actor")
    if (
        len(event) != 6 + ("actor" in event)
        or type(event["event_id"]) is not str
        or not _shows(event["name"], NAME_LENGTH)
        or not (subject is None or _shows(subject, NAME_LENGTH))
        or not (request_id is None or _shows(request_id, REQUEST_ID_LENGTH))
        or not (actor is None or _shows(actor, ACTOR_LENGTH))
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
    )


def _shows(text: str, longest: int) -> bool:
    """Tell whether `text` is what the field Text takes."""
    if type(text) is not str or not 0 < len(text) <= longest:
        return False
    if text.isascii() and text.isprintable() and not text.isspace():
        return True
    return texts.problem(text) is None
