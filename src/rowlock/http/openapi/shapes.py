"""Shapes: JSON Schemas of what answers hold, each with an example."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

BIGINT_MAX = 2**63 - 1
JSON = "application/json"
PROBLEM = "application/problem+json"  # errors as RFC 9457 has them
HTML = "text/html"
EVENT_STREAM = "text/event-stream"
EXAMPLE_URL = "https://rowlock.example"
REQUEST = "01JDB2M4X8"  # an example of a request's id

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


def choice(*values: str, **keywords: Any) -> JsonSchema:
    """Return the shape of one of some texts, known in the document by its title, if it has one."""
    return {"type": "string", "enum": [*values], **keywords, "examples": [values[0]]}


def flag(example: bool) -> JsonSchema:
    """Return the shape of a boolean."""
    return {"type": "boolean", "examples": [example]}


def nullable(shape: JsonSchema) -> JsonSchema:
    """Return the shape of something that may be null."""
    if "title" in shape:  # it is referred to as it is
        return {"anyOf": [shape, {"type": "null"}], "examples": [example_of(shape)]}
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


def mapping(
    title: str, /, example: Mapping[str, Any], values: JsonSchema | None = None, **keywords: Any
) -> JsonSchema:
    """Return the shape of an object with any names, and with `values` of one shape or of any."""
    # Said, as some generators take an object without it for an empty one.
    others: JsonSchema | bool = True if values is None else values
    return {
        "title": title,
        "type": "object",
        **keywords,
        "additionalProperties": others,
        "examples": [{**example}],
    }


def example_of(shape: JsonSchema) -> Any:
    """Return the example that a shape makes up of its parts'."""
    if "examples" in shape:
        return shape["examples"][0]
    if shape["type"] == "array":
        return [example_of(shape["items"])]
    return {name: example_of(shape["properties"][name]) for name in shape["required"]}


DETAILS = mapping(
    "Details", {"reference": "2026-0042"}, description="What the error is about, by its code."
)
CODE = text("reference_taken", description="What happened: go by this, it does not change.")
NAME = text("ReferenceTaken", description="The code in another spelling.")
# An error, as most routes answer it, and within the answer to a batch.
ERROR = record(
    "Error",
    status=text("CONFLICT", description="The name of the answer's status."),
    error=CODE,
    name=NAME,
    message=text(
        "Another document of this kind has this reference.",
        description="One sentence for a person; it may change.",
    ),
    details=DETAILS,
)
# What the benefits shop answers.
BENEFITS_ERROR = record("BenefitsError", error=CODE)
PROBLEM_DETAILS = record(
    "Problem",
    type=text("about:blank", description="Always this: the code tells problems apart."),
    title=text("Conflict", description="What the status means."),
    status=integer(409, minimum=400, maximum=599),
    detail=text(
        "Another document of this kind has this reference.",
        description="One sentence for a person; it may change.",
    ),
    error=CODE,
    name=NAME,
    details=DETAILS,
    request_id=text(REQUEST, description="As in `X-Request-ID`."),
)
