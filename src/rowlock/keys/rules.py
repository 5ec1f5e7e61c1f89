"""API keys: their names and scopes, and how the secrets that prove them replace each other.

A name is of lower-case ASCII, so that no two look the same.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from rowlock.errors import ScopeMissing
from rowlock.origin import SYSTEM, Origin
from rowlock.rejections import KeyExpired, KeyNotFound, Rejection, TooManySecrets

# As in the CHECK of the table.
NAME_PATTERN = "^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$"
NAME_LENGTH = 64
NAME_RULE = (
    f"Must have 1 to {NAME_LENGTH} characters of a-z 0-9 . _ - and begin and end with a letter or "
    "a digit."
)
SCOPE_PATTERN = "^[a-z]+(_[a-z]+)*:(read|write)$"
MOST_SCOPES = 50
RATE_LIMIT = 1_000_000  # requests a second
LONGEST_OVERLAP = timedelta(days=365)
MOST_SECRETS = 10  # of a key that are valid at once


class CreateKey(NamedTuple):
    """Create a key that a secret of this hash proves."""

    name: str
    scopes: Sequence[str]
    hash: bytes
    rate: int | None = None
    expires_at: datetime | None = None
    origin: Origin = SYSTEM


class RotateKey(NamedTuple):
    """Give a key another secret. Those that it has are valid for `overlap` more at most."""

    name: str
    hash: bytes
    overlap: timedelta
    id: int | None = None  # the key must have it, too: a name may have been given away anew
    origin: Origin = SYSTEM


class RevokeKey(NamedTuple):
    """End a key at once."""

    name: str
    origin: Origin = SYSTEM


class Key(NamedTuple):
    """A key, without what proves it."""

    id: int
    name: str
    scopes: Sequence[str]
    rate: int | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    old_secret_until: datetime | None  # one that was replaced is valid until then


@dataclass(frozen=True, slots=True)
class Holder:
    """A key as a request has proved to hold it."""

    id: int
    name: str
    scopes: frozenset[str]
    rate: int | None
    hash: bytes
    left_s: float | None  # for which it is valid yet; None: without an end


@dataclass(slots=True)
class Held:
    """A key that is locked, as the next rotation finds it."""

    id: int
    has_expired: bool
    secrets: int  # that are valid


class Replacement(NamedTuple):
    """What rotations of one key, made together, do to its secrets."""

    key_id: int
    overlap: timedelta  # for which those are valid that it had before
    hashes: Sequence[bytes]  # of the new ones
    valid_fors: Sequence[timedelta | None]  # None: it is the last one


def is_name(text: str) -> bool:
    """Tell whether a key can be called so."""
    return re.fullmatch(NAME_PATTERN, text) is not None and not text.endswith("\n")


def unknown_scopes(scopes: Sequence[str], known: Collection[str]) -> dict[int, str]:
    """Return what is wrong with scopes, by place: no route needs them, or they are repeated."""
    problems = {}
    for at, scope in enumerate(scopes):
        if scope not in known:
            problems[at] = f"Must be one of {', '.join(sorted(known))}."
        elif scope in scopes[:at]:
            problems[at] = "Must not be repeated."
    return problems


def refuse_grant(scopes: Collection[str], held: Collection[str] | None) -> ScopeMissing | None:
    """Return why a caller with the scopes `held` can't give away these; None: it has all."""
    missing = sorted(set(scopes).difference(held)) if held is not None else []
    if not missing:
        return None
    return ScopeMissing(f"A key can't give what it lacks: {missing[0]}.", scope=missing[0])


def decide(rotation: RotateKey, held: Held | None) -> int | Rejection:
    """Return the id of the key that gets another secret, or why it gets none.

    No secret is ended to make room: the oldest may be the one in use.
    """
    name = rotation.name
    if held is None or rotation.id not in {None, held.id}:
        return KeyNotFound.of(name)
    if held.has_expired:
        return KeyExpired(f"The API key {name} has expired: create another one.", name=name)
    left = held.secrets if rotation.overlap else 0
    if left >= MOST_SECRETS:
        return TooManySecrets(
            f"The API key {name} has {left} secrets that are valid, and may have {MOST_SECRETS}. "
            "Wait until old ones end, or end them all: rotate with an overlap of 0.",
            name=name,
            limit=MOST_SECRETS,
        )
    held.secrets = left + 1
    return held.id


def replace(key_id: int, rotations: Sequence[RotateKey]) -> Replacement:
    """Return what `rotations` of a key, one after the other, do to its secrets."""
    ends: timedelta | None = None  # what the later ones leave to the secrets before them
    valid_fors: list[timedelta | None] = []
    for rotation in reversed(rotations):
        valid_fors.insert(0, ends)
        ends = rotation.overlap if ends is None else min(ends, rotation.overlap)
    assert ends is not None  # there is a rotation
    return Replacement(key_id, ends, [rotation.hash for rotation in rotations], valid_fors)
