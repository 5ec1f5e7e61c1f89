"""Amounts of money as JSON numbers, and what every answer looks like."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowlock.http.answers import major_units, reply


def shown(amount: int, decimals: int = 2) -> str:
    return orjson.dumps(major_units(decimals)(amount)).decode()


@pytest.mark.parametrize(
    ("cents", "text"),
    [
        (0, "0"),
        (1, "0.01"),
        (9, "0.09"),
        (10, "0.1"),
        (99, "0.99"),
        (100, "1"),
        (101, "1.01"),
        (110, "1.1"),
        (1000, "10"),
        (7599, "75.99"),
        (50000, "500"),
        (10**12, "10000000000"),
        (2**53 + 1, "90071992547409.93"),
        (2**63 - 1, "92233720368547758.07"),
        (10**30 + 1, "1" + "0" * 28 + ".01"),
    ],
)
def test_major_units__any_size__exact(cents: int, text: str) -> None:
    assert shown(cents) == text


@pytest.mark.parametrize(
    ("amount", "decimals", "text"),
    [
        (0, 0, "0"),
        (7599, 0, "7599"),
        (50000, 0, "50000"),
        (2**53 - 1, 0, "9007199254740991"),
        (0, 3, "0"),
        (1, 3, "0.001"),
        (10, 3, "0.01"),
        (100, 3, "0.1"),
        (999, 3, "0.999"),
        (7500, 3, "7.5"),
        (50000, 3, "50"),
        (2**53 - 1, 3, "9007199254740.991"),
    ],
)
def test_major_units__other_currencies__by_their_decimals(
    amount: int, decimals: int, text: str
) -> None:
    assert shown(amount, decimals) == text


@given(st.integers(min_value=0, max_value=2**63 - 1), st.sampled_from([0, 2, 3]))
def test_major_units__any_balance__exact_and_shortest(amount: int, decimals: int) -> None:
    text = shown(amount, decimals)
    assert Decimal(text).scaleb(decimals) == amount
    whole, point, rest = text.partition(".")
    assert whole == str(int(whole))
    assert bool(point) == bool(rest)
    assert not rest.endswith("0")


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (datetime(2026, 11, 21, 9, 30, tzinfo=UTC), "2026-11-21T09:30:00Z"),
        (datetime(2026, 11, 21, 9, 30, 0, 250_000, UTC), "2026-11-21T09:30:00.250000Z"),
        (
            datetime(2026, 11, 21, 9, 30, tzinfo=timezone(timedelta(hours=1))),
            "2026-11-21T09:30:00+01:00",
        ),
    ],
)
def test_reply__times__utc_is_z(instant: datetime, text: str) -> None:
    body = reply({"at": instant}).body
    assert isinstance(body, bytes)
    assert orjson.loads(body) == {"at": text}


def test_reply__status_and_headers__kept_beside_the_type() -> None:
    response = reply([], status=201, headers={"Location": "/x/1"})
    assert (response.status, response.body) == (201, b"[]")
    assert response.headers["Location"] == "/x/1"
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
