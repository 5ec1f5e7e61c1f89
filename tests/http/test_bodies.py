"""Bodies are loaded by checks as marshmallow loads them, or refused as it refuses them."""

from collections.abc import Callable
from typing import Any

import marshmallow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowlock.http.bodies import Body, check_of
from rowlock.http.fields import Integer, JsonArray, Strict, Text
from rowlock.http.routes import endpoint_of
from rowlock.services import SERVICES
from rowlock.settings import Settings
from tests.support.contract import path_of
from tests.support.roles import create_app

REFUSED = object()

# Each body that is loaded by checks, with an example.
BODIES: dict[str, tuple[Body, Any]] = {}
OTHERS = set()
for service in SERVICES.values():
    for route in create_app(service, Settings(), "postgresql://").router.routes():
        endpoint = endpoint_of(route.handler)
        if endpoint is None or endpoint.body is None:
            continue
        if isinstance(endpoint.body, Body):
            BODIES[f"{route.method} {path_of(route)}"] = endpoint.body, endpoint.example
        elif endpoint.body.fields:  # else it must be empty
            OTHERS.add(f"{route.method} {path_of(route)}")

TEXTS = ["", " ", "a", "a\n", "\tb", "\u200b", "\u3164", "\ud800", "é", "a b", "\x00", "x" * 101]
TEXTS += ["x" * 1000, "1", "01", "9223372036854775808", "2022-11-01T11:11:11.111Z"]
NUMBERS = [0, 1, -1, 1.0, 1.5, -0.0, 2**53, 2.0**53, 2**63 - 1, 2**63, 1e308, True, False]
SCALARS = st.sampled_from([None, *TEXTS, *NUMBERS]) | st.integers() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "name"]), inner)
    ),
    max_leaves=5,
)


@st.composite
def near(draw: st.DrawFn, example: Any) -> Any:
    """Draw what is like the example: most of it as it is there, and some of it anything."""
    if draw(st.integers(0, 7)) == 0:
        return draw(VALUES)
    if isinstance(example, dict):
        often = st.integers(0, 7)
        kept = {name: draw(near(value)) for name, value in example.items() if draw(often)}
        return kept if draw(often) else kept | {draw(st.text(max_size=3)): 1}
    if isinstance(example, list):
        return [draw(near(item)) for item in example * draw(st.sampled_from([0, 1, 1, 1, 2, 150]))]
    return example


def outcome(load: Callable[[Any], Any], data: Any) -> Any:
    try:
        return load(data)
    except marshmallow.ValidationError:
        return REFUSED


def by_marshmallow(body: Body, data: Any) -> Any:
    """What marshmallow makes of it, without any check."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Body, "load", Strict.load)  # of nested ones, too
        return outcome(body.load, data)


def same(one: Any, other: Any) -> bool:
    """Tell whether two are equal, and of the same types: 1 is not True, nor 1.0."""
    return bool(one == other) and repr(one) == repr(other)


@pytest.mark.parametrize("name", BODIES)
@given(data=st.data())
def test_check__anything_like_the_example__as_marshmallow(name: str, data: st.DataObject) -> None:
    body, example = BODIES[name]
    given_ = data.draw(near(example))
    checked = outcome(body.check, given_)
    assert same(checked, by_marshmallow(body, given_))
    assert same(checked, outcome(body.load, given_))


@pytest.mark.parametrize("name", BODIES)
def test_check__the_example__is_loaded(name: str) -> None:
    body, example = BODIES[name]
    assert same(body.check(example), by_marshmallow(body, example))


def test_bodies__all_but_events_and_the_webhook__are_loaded_by_checks() -> None:
    assert sorted(OTHERS) == ["POST /deployment/webhook", "POST /events", "POST /events/batch"]


def test_check__of_a_subclass_or_with_functions_of_its_own__is_marshmallows() -> None:
    class Shout(Text):
        def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
            return super()._deserialize(value, *args, **kwargs).upper()

    assert check_of(Shout(longest=3))("abc") == "ABC"
    assert check_of(Text(longest=3, pre_load=[str.strip]))(" abc ") == "abc"
    assert check_of(Integer(post_load=[float]))(1) == 1.0


@pytest.mark.parametrize("allow_none", [True, False])
def test_check__null__as_the_field_has_it(allow_none: bool) -> None:
    check = check_of(JsonArray(Integer(allow_none=allow_none), longest=2))
    assert outcome(check, [None]) == ([None] if allow_none else REFUSED)
