"""docs/events.md: what each event says, as their types say."""

from collections.abc import Iterator
from typing import Any

import orjson

from rowlock.engine.event_types import EventType
from rowlock.services import EVENT_TYPES

PREFACE = """\
# Events

Each change leaves an event, in the transaction of the change. The relay delivers it to the log of
the events service, where it is once, and in order with the others of its subject
([architecture](architecture.md)). It has a `name`, a `subject`, and a `payload`, which this page
describes. `created_at` is when it happened, `actor` who caused it, and `request_id` by which
request ([api.md](api.md)). If that request belongs to a trace, `traceparent` carries it on.

Payloads carry ids and amounts, never users' names or addresses. Amounts are whole numbers of minor
units, such as cents. Times are RFC 3339, in UTC.

`GET /events/schemas` lists these names. `GET /events/schemas/invoice.paid` answers with the JSON
Schema (2020-12) of the payload, and `rowlock events schema invoice.paid` prints it without a
server. Other senders may post events of other names to the log, with payloads of their own.

**What may change.** A name never gets another meaning. Within a version of an event:

- fields may be added, at any time, so ignore those that you do not know;
- no field is removed or renamed, gets another type or unit, or becomes optional;
- a text that is one of several, such as `status`, may get another value, and its schema with it;
- a limit, such as a longest text, may be raised.

Anything else makes a new version, whose payloads have `schema_version`. A payload without it is of
version 1. Schemas of older versions stay: `?version=1`. So do the events in the log. Those of
releases up to 0.2.0 may have a `username` in `user.created` and `benefit_order.placed`, until the
user is anonymised.

This page is what `rowlock events describe` prints.
"""


def describe() -> str:
    """Return the page."""
    kinds = EVENT_TYPES.latest()
    contents = ["| event | happens when |", "|---|---|"]
    contents += [
        f"| [`{kind.name}`](#{kind.name.replace('.', '')}) | {kind.description} |" for kind in kinds
    ]
    return "\n".join([PREFACE, *contents, "", *(line for kind in kinds for line in section(kind))])


def section(kind: EventType[Any]) -> Iterator[str]:
    """Yield the lines about an event."""
    schema = kind.schema()
    [example] = schema["examples"]
    yield f"## {kind.name}\n"
    yield f"{kind.description} Version {kind.version}. Subject: `{kind.subject}`.\n"
    yield "| field | type | meaning |"
    yield "|---|---|---|"
    for path, type_, meaning in rows(schema, ""):
        yield f"| `{path}` | {type_} | {meaning} |"
    text = orjson.dumps(example, option=orjson.OPT_INDENT_2).decode()
    yield f"\n```json\n{text}\n```\n"


def rows(schema: dict[str, Any], at: str) -> Iterator[tuple[str, str, str]]:
    """Yield the path, type and meaning of each field of an object, and of those within."""
    for name, part in schema["properties"].items():
        path = f"{at}{name}"
        optional = "" if name in schema["required"] else "optional "
        yield path, optional + type_of(part), part["description"]
        for inner, step in (
            (part, ""),
            (part.get("items", {}), "[]"),
            (part.get("additionalProperties", {}), ".*"),
        ):
            if "properties" in inner:
                yield from rows(inner, f"{path}{step}.")


def type_of(part: dict[str, Any]) -> str:
    """Return the type of a field in a few words."""
    kinds = part["type"] if isinstance(part["type"], list) else [part["type"]]
    words = " or ".join("time" if "format" in part and one == "string" else one for one in kinds)
    if "items" in part:
        return f"array of {type_of(part['items'])}"
    if "enum" in part:
        return " / ".join(f"`{value}`" for value in part["enum"])
    return words
