"""Fields of bodies and query strings, strict about what they take.

A field's `metadata` says in JSON Schema what it takes, for the OpenAPI document.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import marshmallow
import orjson
from marshmallow import fields, validate

from rowlock import texts
from rowlock.http.openapi.shapes import BIGINT_MAX, mapping, nullable
from rowlock.http.strict_json import (
    LISTED_PROBLEMS,
    SMALLEST_FRACTION,
    find,
    has_number_out_of_range,
    is_number_out_of_range,
)

# What asyncpg takes for PostgreSQL's -infinity and infinity.
LONG_AGO = datetime.min.replace(tzinfo=UTC)
NEVER = datetime.max.replace(tzinfo=UTC)
INFINITIES = frozenset({LONG_AGO, NEVER})

TIMESTAMP = {
    "type": "string",
    "format": "date-time",
    "examples": ["2026-11-21T09:30:00.250Z"],
}
RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
)
DECIMAL = re.compile(r"-?[0-9]{1,19}")
EXACT_FLOATS = 2**53
FLAGS = {"true": True, "false": False}
NUMBERS = f"0, or between {SMALLEST_FRACTION} and 2^63 in absolute value"
REFERENCE_LENGTH = 100
METADATA_TEXTS = 20
METADATA_NAME = 40  # characters
METADATA_TEXT = 500  # characters
METADATA = mapping(
    "Metadata",
    {"project": "17"},
    {
        "type": "string",
        "maxLength": METADATA_TEXT,
        "pattern": f"^$|{texts.pattern(lines=True)}",
    },
    maxProperties=METADATA_TEXTS,
    propertyNames={"minLength": 1, "maxLength": METADATA_NAME, "pattern": texts.pattern()},
)
# The key in a ValidationError of the number of problems that it does not list: no name in JSON.
UNLISTED: Any = object()


def with_schema(options: dict[str, Any], **keywords: Any) -> dict[str, Any]:
    """Return a field's options with JSON Schema `keywords` in its metadata."""
    return {**options, "metadata": keywords | options.get("metadata", {})}


class Strict(marshmallow.Schema):
    """A schema that refuses unknown fields, and lists only the first ten of them."""

    def load(self, data: Any, **options: Any) -> Any:
        """Return `data` as the fields load it. Raises ValidationError."""
        if type(data) is dict and len(data) > LISTED_PROBLEMS:
            names = {field.data_key or name for name, field in self.load_fields.items()}
            unlisted = len(data) - sum(name in data for name in names) - LISTED_PROBLEMS
            if unlisted > 0:
                # marshmallow would list all of them, which takes seconds for a million.
                unknown = islice((name for name in data if name not in names), LISTED_PROBLEMS)
                data = {name: data[name] for name in (*names.intersection(data), *unknown)}
                try:
                    return super().load(data, **options)
                except marshmallow.ValidationError as error:
                    listed: Any = error.messages
                    raise marshmallow.ValidationError({**listed, UNLISTED: unlisted}) from None
        return super().load(data, **options)


class Integer(fields.Integer):
    """A whole number from `minimum` to `maximum`: no string, no fraction, not true or false.

    However JSON writes it: 100, 100.0 or 1e2.
    """

    kind = "a whole number"

    def __init__(self, *, minimum: int = 1, maximum: int = BIGINT_MAX, **kwargs: Any) -> None:
        problem = f"Must be {self.kind} from {minimum} to {maximum}."
        super().__init__(
            strict=True,
            validate=validate.Range(minimum, maximum, error=problem),
            error_messages={"invalid": problem},
            **kwargs,
        )
        self.minimum, self.maximum = minimum, maximum

    def _validated(self, value: Any) -> int:
        number = whole(value)
        if number is None:
            raise self.make_error("invalid")
        return number


class Cents(Integer):
    """An amount of money: a whole number of minor units."""

    kind = "a whole number of minor units (113.45 EUR is written 11345)"


class Text(fields.String):
    """A JSON string of `shortest` to `longest` characters with a visible one unless it is empty.

    With `lines`, it may have tabs and newlines; otherwise they are refused as all controls are.
    """

    def __init__(
        self, *, longest: int, shortest: int = 1, lines: bool = False, **kwargs: Any
    ) -> None:
        pattern = texts.pattern(lines=lines)
        super().__init__(
            validate=validate.Length(shortest, longest),
            **with_schema(kwargs, type="string", pattern=pattern),
        )
        self.shortest, self.longest, self.lines = shortest, longest, lines

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        problem = texts.problem(text, lines=self.lines)
        if problem is not None:
            raise marshmallow.ValidationError(problem)
        return text


class CheckedText(Text):
    """A text of which `check` returns what is wrong with it, or None."""

    def __init__(self, check: Callable[[str], str | None], *, longest: int, **kwargs: Any) -> None:
        super().__init__(longest=longest, **kwargs)
        self._check = check

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        problem = self._check(text)
        if problem is not None:
            raise marshmallow.ValidationError(problem)
        return text


class JsonArray(fields.List[Any]):
    """A JSON array of `shortest` to `longest` items; those of a longer one are not validated.

    Otherwise 64 KiB of empty items would take most of a second and 2 MB of error messages.
    """

    def __init__(self, item: fields.Field[Any], *, longest: int, shortest: int = 1, **kwargs: Any):
        super().__init__(item, **with_schema(kwargs, minItems=shortest, maxItems=longest))
        self.shortest, self.longest = shortest, longest
        self._check_length = validate.Length(shortest, longest)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> list[Any]:
        if isinstance(value, list):
            self._check_length(value)
            try:
                return [self.inner.deserialize(item) for item in value]
            except marshmallow.ValidationError:
                pass  # marshmallow finds which of them are wrong
        return super()._deserialize(value, attr, data, **kwargs)


class JsonObject(fields.Field[str]):
    """Any JSON object whose compact text has `longest` bytes at most; loaded as that text.

    PostgreSQL writes numbers in full: 1e308 with 309 digits. In the accepted range, its text is at
    most five times as long as the compact one.
    """

    def __init__(self, *, longest: int, **kwargs: Any) -> None:
        limits = f"At most {longest} bytes as compact JSON. Its numbers are {NUMBERS}."
        super().__init__(**with_schema(kwargs, type="object", description=limits))
        self._longest = longest

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if not isinstance(value, dict):
            raise marshmallow.ValidationError("Must be an object.")
        if has_number_out_of_range(value):
            where = find(value, is_number_out_of_range)
            raise marshmallow.ValidationError({where: [f"Must be {NUMBERS}."]})
        try:
            text = orjson.dumps(value)
        except orjson.JSONEncodeError:  # orjson reads deeper nesting than it writes
            raise marshmallow.ValidationError("Must not be nested so deeply.") from None
        if len(text) > self._longest:
            raise marshmallow.ValidationError(f"Must not have more than {self._longest} bytes.")
        return text.decode()


class Metadata(fields.Field[str]):
    """An object of at most 20 short texts by name; loaded as its JSON text."""

    def __init__(self, **kwargs: Any) -> None:
        self._name = Text(longest=METADATA_NAME)
        self._text = Text(longest=METADATA_TEXT, shortest=0, lines=True)
        super().__init__(**with_schema(kwargs, **nullable(METADATA)))

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if not isinstance(value, dict):
            raise marshmallow.ValidationError("Must be an object.")
        if len(value) > METADATA_TEXTS:
            raise marshmallow.ValidationError(f"Must not have more than {METADATA_TEXTS} texts.")
        for name, text in value.items():
            for field, part in ((self._name, name), (self._text, text)):
                try:
                    field.deserialize(part)
                except marshmallow.ValidationError as error:
                    problem = f"{name[:METADATA_NAME]!r}: {error.messages[0]}"
                    raise marshmallow.ValidationError(problem) from None
        return orjson.dumps(value).decode()


class Instant(fields.Field[datetime]):
    """A time in ISO 8601 with its offset from UTC, such as 2026-11-21T09:30:00.250Z."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**with_schema(kwargs, **TIMESTAMP))

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> datetime:
        if not isinstance(value, str):
            raise marshmallow.ValidationError("Must be a text in ISO 8601.")
        try:
            instant = datetime.fromisoformat(value)
            if instant.utcoffset() is None:
                raise marshmallow.ValidationError("Must have an offset from UTC, or a Z.")
            instant = instant.astimezone(UTC)
            if instant in INFINITIES:
                raise ValueError
        except (ValueError, OverflowError):
            raise marshmallow.ValidationError(
                "Must be a time in ISO 8601 between the years 1 and 9999."
            ) from None
        return instant


class QueryInstant(Instant):
    """A time in a query string as RFC 3339 has it, where a plus that is not escaped is a space."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        text = value.replace(" ", "+").upper()
        if not RFC_3339.fullmatch(text):
            raise marshmallow.ValidationError(
                "Must be a time with an offset, such as 2026-11-21T09:30:00.250Z."
            )
        return super()._deserialize(text, *args, **kwargs)


class QueryInteger(fields.Field[int]):
    """A whole number in a query string, from `minimum` to `maximum`."""

    def __init__(self, *, minimum: int = 1, maximum: int = BIGINT_MAX, **kwargs: Any) -> None:
        super().__init__(**with_schema(kwargs, type="integer", minimum=minimum, maximum=maximum))
        self._range = minimum, maximum

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        number = parse_integer(value, *self._range)
        if number is None:
            raise marshmallow.ValidationError(
                "Must be a whole number from {} to {}.".format(*self._range)
            )
        return number


class QueryFlag(fields.Field[bool]):
    """`true` or `false` in a query string."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**with_schema(kwargs, type="boolean", examples=[False]))

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if value not in FLAGS:
            raise marshmallow.ValidationError(f"Must be one of: {', '.join(FLAGS)}.")
        return FLAGS[value]


def whole(value: Any) -> int | None:
    """Return a number of parsed JSON as a whole one, or None if it is not.

    A float beyond 2^53 may be another number than the one that was written: it is None.
    """
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer() and abs(value) < EXACT_FLOATS:
        return int(value)
    return None


def parse_integer(text: str, minimum: int = 1, maximum: int = BIGINT_MAX) -> int | None:
    """Return the decimal number `text`, or None if it is not a number or out of range."""
    if not DECIMAL.fullmatch(text):
        return None
    number = int(text)
    return number if minimum <= number <= maximum else None
