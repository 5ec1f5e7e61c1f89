"""Holding the events in a database to their types."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, TypeAlias

import jsonschema_rs
import orjson
import psycopg

from rowlock.engine.event_types import EventType
from rowlock.services import EVENT_TYPES

# How the names of events begin that tests write themselves.
TESTS_OWN = ("it.", "thing.")

Row: TypeAlias = tuple[str, str | None, str]  # the name, the subject, and the payload as JSON


def outbox(session: psycopg.Connection[Any]) -> Sequence[Row]:
    """The events that are in a main database."""
    return session.execute("SELECT name, subject, payload::text FROM outbox").fetchall()


def own(session: psycopg.Connection[Any]) -> Sequence[Row]:
    """The events of the events service's own keys. Others are sent, and may say anything."""
    return session.execute(
        "SELECT name, subject, payload::text FROM events WHERE name LIKE 'key.%'"
    ).fetchall()


def check(rows: Iterable[Row]) -> None:
    """Fail unless each event is as its type says, and has no field that the type does not name."""
    found = list(problems(rows))
    assert not found, found


def problems(rows: Iterable[Row]) -> Iterator[str]:
    """What is wrong with events."""
    for name, subject, text in rows:
        if name.startswith(TESTS_OWN):
            continue
        kind = EVENT_TYPES.find(name)
        if kind is None:
            yield f"{name} has no type"
            continue
        payload = orjson.loads(text)
        wrong = [f"{name}: {error}" for error in validator(kind).iter_errors(payload)]
        yield from wrong
        if not wrong and subject != kind.subject.format_map(payload):
            yield f"{name}: {subject} is not {kind.subject}"


@cache
def validator(kind: EventType[Any]) -> jsonschema_rs.Draft202012Validator:
    """What takes payloads of this type, without a field that the type does not name."""
    return jsonschema_rs.Draft202012Validator(closed(kind.schema()), validate_formats=True)


def closed(schema: Any) -> Any:
    """The schema for objects without fields that it does not name."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {name: closed(part) for name, part in schema.items()}
    return parts | ({"additionalProperties": False} if "properties" in schema else {})
