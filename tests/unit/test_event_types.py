"""The types of events: complete, valid as JSON Schemas, and the only way to an event."""

import ast
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import jsonschema_rs
import orjson
import pytest

import rowlock
from rowlock.engine.event_types import EventType, EventTypes, an_id, fact, money
from rowlock.engine.statements import queries
from rowlock.ops import events_page
from rowlock.origin import SYSTEM
from rowlock.services import EVENT_TYPES
from tests.support.documents import ROOT
from tests.support.event_types import closed, problems

SOURCES = Path(rowlock.__file__).parent
TYPES = {kind.name: kind for kind in EVENT_TYPES.latest()}
each_type = pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES)


class Paid(TypedDict):
    id: Annotated[int, an_id("The id.")]
    amount: Annotated[int | None, money("What was paid.")]
    at: Annotated[datetime, fact("When.")]
    notes: NotRequired[Annotated[list[Annotated[str, fact("A note.")]], fact("Notes.", maxItems=2)]]


class PaidAgain(Paid):
    schema_version: Annotated[int, fact("The version.", const=2)]


AT = datetime.fromisoformat("2026-11-21T09:30:00+00:00")
PAID = EventType(
    "thing.paid", Paid, "It was.", subject="thing:{id}", example={"id": 1, "amount": 5, "at": AT}
)
PAID_AGAIN = EventType(
    "thing.paid",
    PaidAgain,
    "It was.",
    subject="thing:{id}",
    example={"id": 1, "amount": 5, "at": AT, "schema_version": 2},
    version=2,
)


def test_schema__all_kinds_of_fields__as_json_has_them() -> None:
    schema = PAID.schema()
    assert schema["required"] == ["id", "amount", "at"]
    assert schema["properties"] == {
        "id": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1, "description": "The id."},
        "amount": {
            "type": ["integer", "null"],
            "minimum": 0,
            "maximum": 2**63 - 1,
            "description": "What was paid. In minor units of the installation's currency.",
        },
        "at": {"type": "string", "format": "date-time", "description": "When."},
        "notes": {
            "type": "array",
            "items": {"type": "string", "description": "A note."},
            "description": "Notes.",
            "maxItems": 2,
        },
    }
    assert schema["examples"] == [{"id": 1, "amount": 5, "at": "2026-11-21T09:30:00Z"}]


def test_event__payload__names_its_subject() -> None:
    event = PAID.event({"id": 7, "amount": None, "at": AT}, SYSTEM)
    assert (event.name, event.subject, event.origin) == ("thing.paid", "thing:7", SYSTEM)


def test_find__several_versions__the_latest_unless_one_is_named() -> None:
    types = EventTypes([PAID_AGAIN, PAID])
    assert types.find("thing.paid") is PAID_AGAIN
    assert types.find("thing.paid", 1) is PAID
    assert types.find("thing.paid", 3) is None
    assert types.find("thing.lost") is None
    assert [*types.latest()] == [PAID_AGAIN]
    assert {*types.all()} == {PAID, PAID_AGAIN}


def test_event_types__one_twice__refused() -> None:
    with pytest.raises(ValueError, match="two definitions"):
        EventTypes([PAID, PAID])


@pytest.mark.parametrize("name", ["thing", "Thing.paid", "thing.paid ", "thing.paid.v2", ".paid"])
def test_event_type__no_name__refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        EventType(name, Paid, "", subject="thing:{id}", example={"id": 1, "amount": 5, "at": AT})


def test_event_type__second_version_that_payloads_do_not_tell__refused() -> None:
    with pytest.raises(ValueError, match="schema_version"):
        EventType("thing.paid", Paid, "", subject="", example=PAID.example, version=2)
    with pytest.raises(ValueError, match="schema_version"):
        EventType("thing.paid", PaidAgain, "", subject="", example=PAID_AGAIN.example)


@each_type
def test_type__any__a_valid_schema_that_takes_its_example(kind: EventType[Any]) -> None:
    schema = orjson.loads(orjson.dumps(kind.schema()))
    jsonschema_rs.meta.validate(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:rowlock:event:{kind.name}:{kind.version}"
    [example] = schema["examples"]
    text = orjson.dumps(example).decode()
    assert [*problems([(kind.name, kind.subject.format_map(example), text)])] == []


@each_type
def test_type__any__says_what_each_field_means(kind: EventType[Any]) -> None:
    assert re.fullmatch(r"[A-Z][^\n]+\.", kind.description)
    described = [*fields(kind.schema())]
    assert described
    for field in described:
        assert re.fullmatch(r"[A-Z][^\n]+\.", field["description"]), field


def fields(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each field of a schema, and of the objects within."""
    for field in schema.get("properties", {}).values():
        yield field
        yield from fields(field)
        yield from fields(field.get("items", {}))
        yield from fields(field.get("additionalProperties", {}))


def test_problems__payload_that_does_not_fit__told() -> None:
    right = {"user_id": 1, "balance": 5}
    for wrong in (
        {"user_id": 1},
        right | {"user_id": "1"},
        right | {"balance": -1},
        right | {"username": "ada"},
        right | {"user_created_at": "yesterday"},
    ):
        assert [*problems([("user.created", "user:1", orjson.dumps(wrong).decode())])], wrong
    text = orjson.dumps(right).decode()
    assert [*problems([("user.created", "user:1", text)])] == []
    assert [*problems([("user.created", "user:2", text)])]
    assert [*problems([("user.deleted", "user:1", text)])]


def test_closed__objects_within__take_no_other_field() -> None:
    schema = closed(TYPES["service_order.updated"].schema())
    assert schema["additionalProperties"] is False
    assert schema["properties"]["before"]["additionalProperties"] is False
    assert schema["properties"]["services"]["items"]["additionalProperties"] is False


def test_page__all_events__as_they_are() -> None:
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    assert page == events_page.describe(), "run: rowlock events describe > docs/events.md"


def test_event__made_in_the_sources__only_by_its_type() -> None:
    makers = [
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Event"
    ]
    assert makers == ["engine/event_types.py"]


def test_name__written_by_a_statement__is_a_type() -> None:
    statements = [query.sql for query in queries]
    statements += [path.read_text(encoding="utf-8") for path in SOURCES.rglob("*.sql")]
    named = {
        name
        for sql in statements
        if "INTO outbox " in sql
        for name in re.findall(r"'([a-z_]+\.[a-z_]+)' AS name", sql)
    }
    assert len(named) > 10
    assert named <= TYPES.keys()
