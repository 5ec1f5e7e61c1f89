"""How answers become records, and arguments JSON: by the types that are declared."""

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import (
    Annotated,
    Any,
    ClassVar,
    NamedTuple,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)
from uuid import UUID

Read = Callable[[Any], Any]


class Keep(Enum):
    """KEEP leaves a field as it is, where None would remove it."""

    KEEP = "keep"


KEEP = Keep.KEEP


class Record:
    """What an answer tells: a frozen dataclass. Fields that a later release adds are passed over.

    With `camel`, the API calls the fields `amountCents` and not `amount_cents`.
    """

    __slots__ = ()
    camel: ClassVar[bool] = False

    def __init_subclass__(cls, *, camel: bool | None = None) -> None:
        # A dataclass with slots is made twice, the second time without what its class line says.
        if camel is not None:
            cls.camel = camel


@dataclass(frozen=True, slots=True)
class Named:
    """The name that the API has for a parameter or a field which Python can't call so: `from`."""

    name: str


@dataclass(frozen=True, slots=True)
class Header:
    """The header that a parameter is sent as."""

    name: str


class Field(NamedTuple):
    """A field of a record."""

    name: str
    wire: str  # what the API calls it
    kind: Any
    may_be_missing: bool


@cache
def fields_of(kind: Any) -> tuple[Field, ...]:
    """Return the fields of a record's class."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple(
        Field(
            field.name,
            _wire_name(kind, field.name, hints[field.name]),
            hints[field.name],
            field.default is not MISSING,
        )
        for field in fields(kind)
    )


def name_in(hint: Any, otherwise: str) -> str:
    """Return the name that a type is annotated with."""
    notes = getattr(hint, "__metadata__", ())
    return next((note.name for note in notes if isinstance(note, Named)), otherwise)


def _wire_name(kind: type[Record], name: str, hint: Any) -> str:
    first, *others = name.split("_")
    camel = first + "".join(word.title() for word in others)
    return name_in(hint, camel if kind.camel else name)


def reader_of(kind: Any) -> Read:
    """Return the function that makes values of the type `kind` from JSON."""
    origin = get_origin(kind)
    if origin is Annotated:
        return reader_of(get_args(kind)[0])
    if origin in {Union, types.UnionType}:
        [one] = [each for each in get_args(kind) if each is not type(None)]
        read = reader_of(one)
        return lambda value: None if value is None else read(value)
    if origin is tuple:
        read_one = reader_of(get_args(kind)[0])
        return lambda values: tuple(read_one(value) for value in values)
    is_record = isinstance(kind, type) and issubclass(kind, Record)
    if is_record:
        return _record_reader(kind)
    return READERS.get(origin or kind, _as_it_is)


def _as_it_is(value: Any) -> Any:
    return value


READERS: Mapping[Any, Read] = {
    datetime: datetime.fromisoformat,
    UUID: UUID,
    Decimal: lambda value: Decimal(str(value)),
}


@cache
def _record_reader(kind: Any) -> Read:
    parts = [(*field, reader_of(field.kind)) for field in fields_of(kind)]

    def read(value: Mapping[str, Any]) -> Any:
        found = {
            name: read_one(value[wire])
            for name, wire, _kind, may_be_missing, read_one in parts
            if not may_be_missing or wire in value
        }
        return kind(**found)

    return read


def write(value: Any) -> Any:
    """Return an argument as the API takes it, ready for JSON. Raises ValueError."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value} needs a time zone, such as UTC.")
        return value.isoformat()
    if isinstance(value, Record):
        kind: Any = type(value)
        found = {field.wire: getattr(value, field.name) for field in fields_of(kind)}
        return {wire: write(each) for wire, each in found.items() if each is not None}
    if isinstance(value, Mapping):
        return {name: write(each) for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [write(each) for each in value]
    return str(value) if isinstance(value, UUID) else value


def write_query(value: Any) -> str:
    """Return an argument as it is in a query or a header. Raises ValueError."""
    written = write(value)
    return str(written).lower() if isinstance(written, bool) else str(written)
