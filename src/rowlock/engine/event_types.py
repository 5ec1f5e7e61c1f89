"""Types of events: what each event says, in one place for writers, readers and documents.

A feature names its events in its `events.py`. A payload is a TypedDict, so mypy holds those who
write it to its fields, at no cost when they run; each field says what it means by an annotation. A
JSON Schema is made of the same.
"""

import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

import orjson

from rowlock.engine.outbox import Event, dump
from rowlock.origin import Origin

P = TypeVar("P", bound=Mapping[str, object])
JsonSchema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Without an installation's address: each one has the same schemas.
ID = "urn:rowlock:event:{}:{}"
NAME = re.compile(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*")
VERSION_FIELD = "schema_version"  # in payloads of a version above 1
HIGHEST = 2**63 - 1  # bigint's
SCALARS: Mapping[object, JsonSchema] = {
    int: {"type": "integer"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
    types.NoneType: {"type": "null"},
}
# What JSON Schema calls them, and what they hold.
CONTAINERS: Mapping[object, tuple[str, str]] = {
    list: ("array", "items"),
    Sequence: ("array", "items"),
    dict: ("object", "additionalProperties"),
}


@dataclass(frozen=True, slots=True)
class Fact:
    """What a field of a payload means, and what its JSON Schema says besides its type."""

    meaning: str  # a sentence
    keywords: Mapping[str, object] = field(default_factory=dict)


def fact(meaning: str, **keywords: object) -> Fact:
    """Return what a field means, with these keywords of JSON Schema."""
    return Fact(meaning, keywords)


def an_id(meaning: str) -> Fact:
    """Return the meaning of an id."""
    return Fact(meaning, {"minimum": 1, "maximum": HIGHEST})


def money(meaning: str, *, minimum: int = 0) -> Fact:
    """Return the meaning of an amount in minor units, such as cents."""
    return Fact(
        f"{meaning} In minor units of the installation's currency.",
        {"minimum": minimum, "maximum": HIGHEST},
    )


@dataclass(frozen=True, slots=True, eq=False)
class EventType(Generic[P]):
    """A kind of event, such as `invoice.paid`, with the type of its payload.

    A change that a reader might notice, other than a new field, makes another version. Payloads of
    a version above 1 tell it in a field `schema_version`.
    """

    name: str  # what has happened to what, in the past tense
    payload: type[P]
    description: str  # when it happens, as a sentence
    subject: str  # what it has happened to, by fields of the payload: invoice:{invoice_id}
    example: P  # a payload
    version: int = 1

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"{self.name} is no name of an event.")
        if (self.version > 1) != (VERSION_FIELD in required_keys(self.payload)):
            raise ValueError(f"{self.name}: a version above 1 tells it as {VERSION_FIELD}.")

    def event(self, payload: P, origin: Origin) -> Event:
        """Return an event of this type, which happens when it is appended."""
        return Event(self.name, self.subject.format_map(payload), payload, origin)

    def schema(self) -> JsonSchema:
        """Return the JSON Schema of its payloads, in the dialect 2020-12."""
        return {
            "$schema": DIALECT,
            "$id": ID.format(self.name, self.version),
            "title": self.name,
            "description": f"{self.description} The subject is {self.subject}.",
            **_schema_of(self.payload),
            "examples": [orjson.loads(dump(self.example))],
        }


class EventTypes:
    """The types of all events, by name and version."""

    def __init__(self, kinds: Iterable[EventType[Any]]) -> None:
        """Take one of each name and version. Raises ValueError for two of the same."""
        self._all: dict[tuple[str, int], EventType[Any]] = {}
        for each in kinds:
            key = each.name, each.version
            if key in self._all:
                raise ValueError(f"There are two definitions of {each.name}, version {key[1]}.")
            self._all[key] = each
        self._latest = dict(sorted(self._all))

    def all(self) -> Iterable[EventType[Any]]:
        """Return each version of each."""
        return self._all.values()

    def latest(self) -> Sequence[EventType[Any]]:
        """Return the latest version of each, in the order of their names."""
        return [self._all[key] for key in self._latest.items()]

    def find(self, name: str, version: int | None = None) -> EventType[Any] | None:
        """Return a version of an event, by default the latest; None if there is none."""
        if version is None:
            version = self._latest.get(name, 0)
        return self._all.get((name, version))


def required_keys(payload: type) -> frozenset[str]:
    """Return the fields that no payload of a TypedDict is without."""
    keys: frozenset[str] = payload.__required_keys__  # type: ignore[attr-defined]
    return keys


def _schema_of(kind: Any) -> JsonSchema:
    """Return the JSON Schema of a type that payloads are made of."""
    if typing.is_typeddict(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        return {
            "type": "object",
            "properties": {name: _schema_of(hint) for name, hint in hints.items()},
            # In the order of the definition, which a set has not.
            "required": [name for name in hints if name in required_keys(kind)],
        }
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        inner, said = arguments
        return {**_schema_of(inner), "description": said.meaning, **said.keywords}
    if origin is typing.NotRequired:
        return _schema_of(arguments[0])
    if origin in CONTAINERS:
        kind, key = CONTAINERS[origin]
        return {"type": kind, key: _schema_of(arguments[-1])}
    if origin in {types.UnionType, typing.Union}:
        parts = [SCALARS[one] for one in arguments]  # a scalar or null
        return {**parts[0], "type": [part["type"] for part in parts]}
    return dict(SCALARS[kind])
