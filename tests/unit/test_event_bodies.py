"""What a relay sends is taken by plain checks: with the outcome that marshmallow would have."""

import uuid
from typing import Any

import marshmallow
import pytest

from rowlock.events import bodies
from rowlock.events.bodies import BATCH_EVENTS, BatchBody, EventBody

EVENT: dict[str, Any] = {
    "event_id": "6f1c2a34-5b0e-4c8e-9a53-2d9f0e6b7c18",
    "name": "order.approved",
    "subject": "order:5",
    "payload": {"order_id": 5, "text": "\u00e9", "deep": [{}], "amount": 1.5},
    "request_id": "3f1c9a0b7d2e4f68",
    "created_at": "2026-11-21T09:30:00.250123+00:00",
}
MISSING: Any = ...  # its name in the tests is the same in every process
TEXTS = [
    "x",
    "two words",
    "\u017c\u00f3\u0142\u0107",
    "x" * 128,
    "x" * 129,
    "x" * 200,
    "x" * 201,
    "x" * 300,
    "x" * 301,
    "",
    " ",
    "  \u00a0",
    "\u200b",
    "a\u200bb",
    "a\tb",
    "a\nb",
    "a\x7fb",
    "a\x85b",
    None,
    7,
    True,
    ["x"],
    {},
    MISSING,
]
VALUES: dict[str, list[Any]] = {
    "event_id": [
        "6F1C2A34-5B0E-4C8E-9A53-2D9F0E6B7C18",
        "6f1c2a345b0e4c8e9a532d9f0e6b7c18",
        "{6f1c2a34-5b0e-4c8e-9a53-2d9f0e6b7c18}",
        "6f1c2a34",
        "",
        None,
        7,
        [],
    ],
    "name": TEXTS,
    "subject": TEXTS,
    "request_id": TEXTS,
    "actor": TEXTS,
    "traceparent": [
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        *TEXTS,
    ],
    "payload": [
        {},
        {"x": 2**63 - 1},
        {"x": 2**63},
        {"x": [1e300]},
        {"x": 1e-30},
        {"x": "x" * 65_000},
        {"x": "x" * 65_536},
        [],
        "{}",
        None,
        MISSING,
    ],
    "created_at": [
        "2026-11-21T09:30:00Z",
        "2026-11-21T09:30:00+05:30",
        "2026-11-21T09:30:00",
        "2026-11-21",
        "0001-01-01T00:00:00+00:00",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59.999999Z",
        "now",
        None,
        7,
    ],
    "unknown": [1, None],
}


def outcome(load: Any, data: Any) -> Any:
    """What is loaded, or what is said to be wrong."""
    try:
        return load(data)
    except marshmallow.ValidationError as error:
        return error.messages


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in VALUES.items() for value in values],
    ids=lambda value: repr(value)[:30],
)
def test_batch__any_value__loaded_or_refused_as_marshmallow_does(field: str, value: Any) -> None:
    event = {**EVENT, field: value}
    if value is MISSING:
        del event[field]
    alone = outcome(EventBody().load, event)
    batch = outcome(BatchBody().load, {"events": [EVENT, event]})
    if isinstance(alone, dict):
        assert batch == {"events": {1: alone}}
    else:
        assert batch == {"events": [EventBody().load(EVENT), alone]}


@pytest.mark.parametrize("events", [None, {}, "x", [None], [[]], ["x"], [EVENT, 7]], ids=repr)
def test_batch__no_events__refused(events: Any) -> None:
    with pytest.raises(marshmallow.ValidationError):
        BatchBody().load({"events": events})


def test_batch__as_many_as_there_may_be__one_more_is_refused() -> None:
    events = [{**EVENT, "event_id": str(uuid.uuid4())} for _ in range(BATCH_EVENTS)]
    assert len(BatchBody().load({"events": events})["events"]) == BATCH_EVENTS
    with pytest.raises(marshmallow.ValidationError):
        BatchBody().load({"events": [*events, EVENT]})


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"actor": "token"},
        {"actor": None},
        {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
        {"actor": "token", "traceparent": None},
    ],
    ids=repr,
)
def test_batch__of_a_relay__marshmallow_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    events = [{**EVENT, **more, "subject": subject} for subject in ("order:5", "\u017c", None)]
    expected = [EventBody().load(event) for event in events]
    monkeypatch.setattr(bodies.EventBody, "load", None)
    assert BatchBody().load({"events": events})["events"] == expected
