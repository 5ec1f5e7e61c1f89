"""Shapes: JSON Schemas of what answers hold, each with an example."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

BIGINT_MAX = 2**63 - 1
JSON = "application/json"
HTML = "text/html"
EVENT_STREAM = "text/event-stream"
EXAMPLE_URL = "https://rowlock.example"

JsonSchema = dict[str, Any]


class AnswerShape(NamedTuple):
    """An answer that is more, or less, than JSON."""

    shape: JsonSchema | None = None
    media: str = JSON
    headers: Mapping[str, JsonSchema] = {}
    others: Mapping[str, JsonSchema] = {}  # by media type: what clients get that prefer those


def created(shape: JsonSchema, at: str, **headers: JsonSchema) -> AnswerShape:
    """Return the answer that shows what was created, and where it is."""
    return AnswerShape(shape, headers={"Location": text(EXAMPLE_URL + at), **headers})


def integer(example: int, *, minimum: int = 1, maximum: int = BIGINT_MAX) -> JsonSchema:
    """Return the shape of a whole number, such as an id."""
    return {"type": "integer", "minimum": minimum, "maximum": maximum, "examples": [example]}


def number(example: float) -> JsonSchema:
    """Return the shape of a number of at least 0."""
    return {"type": "number", "minimum": 0, "examples": [example]}


def text(example: str, **keywords: Any) -> JsonSchema:
    """Return the shape of a text."""
    return {"type": "string", **keywords, "examples": [example]}


def instant(example: str = "2026-11-21T09:30:00.250000Z") -> JsonSchema:
    """Return the shape of a time."""
    return text(example, format="date-time")


def choice(*values: str) -> JsonSchema:
    """Return the shape of one of some texts."""
    return {"type": "string", "enum": [*values], "examples": [values[0]]}


def flag(example: bool) -> JsonSchema:
    """Return the shape of a boolean."""
    return {"type": "boolean", "examples": [example]}


def nullable(shape: JsonSchema) -> JsonSchema:
    """Return the shape of something that may be null."""
    return {**shape, "type": [shape["type"], "null"]}


def array(items: JsonSchema, **keywords: Any) -> JsonSchema:
    """Return the shape of an array."""
    return {"type": "array", "items": items, **keywords}


def record(title: str, /, *, optional: Sequence[str] = (), **properties: JsonSchema) -> JsonSchema:
    """Return the shape of an object, known in the document by its title."""
    return {
        "title": title,
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def example_of(shape: JsonSchema) -> Any:
    """Return the example that a shape makes up of its parts'."""
    if "examples" in shape:
        return shape["examples"][0]
    if shape["type"] == "array":
        return [example_of(shape["items"])]
    return {name: example_of(shape["properties"][name]) for name in shape["required"]}
