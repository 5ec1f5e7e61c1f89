"""JSON in one form: what means the same to a service is the same, and nothing else is."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowlock.http.strict_json import canonical

DEEP = b"[" * 600 + b"]" * 600


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"a":1,"b":[{"c":2,"d":3}]}', b' {"b" :\n[{"d": 3, "c":2}], "a": 1}\r\n'),
        (b"[1,0,100,-2]", b"[1.0,-0.0,1e2,-20E-1]"),
        (b"1", b"1e0"),
        (b'{"a":{"b":1}}', b'{"a":{"b":1.0}}'),
        (b"0.5", b"0.50e0"),
        (b"9223372036854775808", b"9223372036854775808.0"),
        (b"-9223372036854775808", b"-9223372036854775808.0"),
        (b"18446744073709549568", b"18446744073709549568.0"),
        (b"1e300", b"10e299"),
        (b"-9223372036854775808", b"-9223372036854775809"),  # which no integer of 64 bits is
        (b'{"1.0":1}', b'{"1.0":1.0}'),
        ('["é","/"]'.encode(), b'["\\u00e9","\\/"]'),
    ],
)
def test_canonical__same_json__same_form(one: bytes, other: bytes) -> None:
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"1", b'"1"'),
        (b"1", b"true"),
        (b"0", b"false"),
        (b"[1,2]", b"[2,1]"),
        (b"{}", b"[]"),
        (b"{}", b""),
        (b'{"a":null}', b"{}"),
        (b"9007199254740993", b"9007199254740992"),
        (b"0.1", b"0.2"),
        ('"\u00e9"'.encode(), '"e\u0301"'.encode()),  # whether they are one is for the fields
    ],
)
def test_canonical__other_json__another_form(one: bytes, other: bytes) -> None:
    assert canonical(one) != canonical(other)


@pytest.mark.parametrize("given_", [b"", b"{", b"\xff", b"NaN", b'"\\ud800"', DEEP, b"[" * 5000])
def test_canonical__no_json_or_too_deep__as_it_is(given_: bytes) -> None:
    assert canonical(given_) == given_


documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="ascii")), inner),
)


def shuffled(document: Any) -> Any:
    """The document with the members of its objects in the opposite order."""
    if isinstance(document, dict):
        return {name: shuffled(document[name]) for name in reversed(document)}
    return [*map(shuffled, document)] if isinstance(document, list) else document


@given(documents)
def test_canonical__any_document__the_same_json_in_one_form(document: Any) -> None:
    body = orjson.dumps(document)
    form = canonical(body)
    assert orjson.loads(form) == orjson.loads(body)
    assert canonical(form) == form
    assert canonical(json.dumps(shuffled(document), indent=1).encode()) == form


numbers = st.from_regex(
    r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?", fullmatch=True
)


@given(numbers)
def test_canonical__any_number__an_integer_wherever_it_is_one_of_64_bits(number: str) -> None:
    value = orjson.loads(number)
    is_whole = float(value).is_integer() and -(2.0**63) <= value <= 2.0**64 - 2**11
    assert canonical(number.encode()) == orjson.dumps(int(value) if is_whole else value)
