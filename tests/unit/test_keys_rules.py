"""What an API key can be called, give away, and be proved by."""

import hashlib
from datetime import timedelta

import pytest

from rowlock.errors import StartRefused
from rowlock.keys.credentials import hash_of, new_secret
from rowlock.keys.rules import (
    Held,
    Replacement,
    RotateKey,
    decide,
    is_name,
    refuse_grant,
    replace,
    unknown_scopes,
)
from rowlock.ops.cli.common import parse_duration
from rowlock.rejections import KeyNotFound

GOOD = ["a", "0", "partner", "a-b", "a.b_c-d", "x" * 64, "2026", "rk_x"]
BAD = ["", "-", "a-", ".a", "_a", "x" * 65, "a b", " a", "a\n", "\na", "a\0", "a/b", "a:b", "a|b"]
# What looks like another name.
BAD += ["Partner", "PARTNER", "p\u0430rtner", "\uff50artner", "partner\u200b", "pa\u0301rtner", "ß"]


@pytest.mark.parametrize("name", GOOD)
def test_name__plain__taken(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_name__anything_else__refused(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize(
    ("scopes", "wrong"),
    [
        (["a:read"], []),
        (["a:read", "a:write"], []),
        (["a:read", "a:read"], [1]),
        (["b:read", "a:read", "A:read", "a:read"], [0, 2, 3]),
        ([""], [0]),
    ],
)
def test_scopes__no_route_needs_or_repeated__found(scopes: list[str], wrong: list[int]) -> None:
    assert [*unknown_scopes(scopes, {"a:read", "a:write"})] == wrong


@pytest.mark.parametrize(
    ("scopes", "held", "missing"),
    [
        (["a:read"], None, None),  # the service's token has all
        (["a:read"], {"a:read", "keys:write"}, None),
        (["a:read", "b:write"], {"a:read", "keys:write"}, "b:write"),
        (["keys:write"], set(), "keys:write"),
        ([], set(), None),
    ],
)
def test_grant__of_what_the_caller_lacks__refused(
    scopes: list[str], held: set[str] | None, missing: str | None
) -> None:
    refusal = refuse_grant(scopes, held)
    assert (None if refusal is None else refusal.details["scope"]) == missing


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("held", "rotation", "outcome", "secrets"),
    [
        (Held(7, False, 1), RotateKey("a", b"", HOUR), 7, 2),
        (Held(7, False, 9), RotateKey("a", b"", HOUR, id=7), 7, 10),
        (Held(7, False, 10), RotateKey("a", b"", HOUR), "too_many_secrets", 10),
        (Held(7, False, 200), RotateKey("a", b"", timedelta()), 7, 1),
        (Held(7, True, 1), RotateKey("a", b"", timedelta()), "key_expired", 1),
        (Held(7, True, 1), RotateKey("a", b"", HOUR, id=8), "key_not_found", 1),
    ],
)
def test_decide__rotation__by_what_the_key_is_and_has(
    held: Held, rotation: RotateKey, outcome: int | str, secrets: int
) -> None:
    decided = decide(rotation, held)
    assert (decided if isinstance(decided, int) else decided.code) == outcome
    assert held.secrets == secrets


def test_decide__no_such_key__not_found() -> None:
    assert isinstance(decide(RotateKey("a", b"", HOUR), None), KeyNotFound)


def minutes(number: int) -> timedelta:
    return timedelta(minutes=number)


@pytest.mark.parametrize(
    ("overlaps", "old", "new"),
    [
        ([5], 5, [None]),
        ([0], 0, [None]),
        ([5, 9], 5, [9, None]),
        ([9, 5], 5, [5, None]),
        ([9, 0, 7], 0, [0, 7, None]),
    ],
)
def test_replace__rotations_one_after_the_other__each_ends_those_before_it(
    overlaps: list[int], old: int, new: list[int | None]
) -> None:
    rotations = [
        RotateKey("a", bytes([at]), minutes(overlap)) for at, overlap in enumerate(overlaps)
    ]
    assert replace(7, rotations) == Replacement(
        7,
        minutes(old),
        [bytes([at]) for at in range(len(overlaps))],
        [None if end is None else minutes(end) for end in new],
    )


def test_secret__each__another_of_which_the_hash_is_kept() -> None:
    first, second = new_secret(), new_secret()
    assert first != second
    assert first.startswith("rk_")
    assert len(bytes.fromhex(first.removeprefix("rk_"))) == 32
    assert hash_of(first) == hashlib.sha256(first.encode()).digest()


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("0", timedelta()),
        ("0s", timedelta()),
        ("45s", timedelta(seconds=45)),
        ("30m", timedelta(minutes=30)),
        ("24h", timedelta(days=1)),
        ("90d", timedelta(days=90)),
        ("36500d", timedelta(days=36_500)),
    ],
)
def test_duration__number_and_unit__is_read(text: str, length: timedelta) -> None:
    assert parse_duration(text) == length


@pytest.mark.parametrize(
    "text", ["", "1", "d", "-1d", "1.5h", "1 d", "1w", "1D", "36501d", "9" * 10 + "s", "\u0661d"]
)
def test_duration__anything_else__refused(text: str) -> None:
    with pytest.raises(StartRefused, match="no length of time"):
        parse_duration(text)
