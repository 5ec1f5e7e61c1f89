"""Which keys are known without asking the database, and for how long."""

import sys
from types import FrameType

import pytest
from aiohttp.test_utils import make_mocked_request

from rowlock.errors import DatabaseUnavailable
from rowlock.http.access import Access
from rowlock.http.addresses import Addresses
from rowlock.http.exchange import Exchange
from rowlock.keys import keyring
from rowlock.keys.credentials import hash_of, new_secret
from rowlock.keys.keyring import CHECKED_S, Keyring
from rowlock.keys.rules import Holder
from rowlock.settings import Settings

HASH = b"h" * 32


class Clock:
    """The time, which stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def move(self, seconds: float) -> None:
        self.now_s += seconds


class Lookups:
    """Stands in for the lane: the keys that are valid, and how often it was asked."""

    def __init__(self, clock: Clock) -> None:
        self.valid: dict[bytes, Holder] = {}
        self.asked = 0
        self.takes_s = 0.0
        self.is_away = False
        self._clock = clock

    async def submit(self, digest: bytes) -> Holder | None:
        self.asked += 1
        if self.is_away:
            raise DatabaseUnavailable
        found = self.valid.get(digest)
        self._clock.move(self.takes_s)
        return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(keyring, "monotonic", lambda: clock.now_s)
    return clock


@pytest.fixture
def lookups(clock: Clock) -> Lookups:
    return Lookups(clock)


@pytest.fixture
def ring(lookups: Lookups) -> Keyring:
    return Keyring(lookups, most=3)  # type: ignore[arg-type]


def holder(hash_: bytes = HASH, left_s: float | None = None) -> Holder:
    return Holder(1, "partner", frozenset({"a:read"}), None, hash_, left_s)


async def test_known__looked_up_just_now__without_asking(
    ring: Keyring, lookups: Lookups, clock: Clock
) -> None:
    lookups.valid[HASH] = holder()
    assert ring.known(HASH) is None
    assert await ring.find(HASH) is lookups.valid[HASH]
    for _ in range(1000):
        assert ring.known(HASH) is lookups.valid[HASH]
    clock.move(CHECKED_S)
    assert ring.known(HASH) is None
    assert lookups.asked == 1


async def test_known__revoked__forgotten_at_the_next_look_up(
    ring: Keyring, lookups: Lookups, clock: Clock
) -> None:
    lookups.valid[HASH] = holder()
    await ring.find(HASH)
    del lookups.valid[HASH]
    clock.move(CHECKED_S)
    assert await ring.find(HASH) is None
    assert len(ring) == 0


async def test_known__ends_before_the_next_look_up__until_then(
    ring: Keyring, lookups: Lookups, clock: Clock
) -> None:
    lookups.valid[HASH] = holder(left_s=0.5)
    await ring.find(HASH)
    clock.move(0.4)
    assert ring.known(HASH) is not None
    clock.move(0.1)
    assert ring.known(HASH) is None


async def test_known__slow_look_up__from_its_beginning_on(
    ring: Keyring, lookups: Lookups, clock: Clock
) -> None:
    lookups.valid[HASH] = holder()
    lookups.takes_s = CHECKED_S - 0.5
    await ring.find(HASH)
    clock.move(0.5)
    assert ring.known(HASH) is None


async def test_find__unknown_secrets__not_remembered(ring: Keyring, lookups: Lookups) -> None:
    for number in range(100):
        assert await ring.find(bytes([number])) is None
    assert len(ring) == 0
    assert lookups.asked == 100


async def test_find__more_keys_than_are_remembered__the_oldest_is_forgotten(
    ring: Keyring, lookups: Lookups
) -> None:
    hashes = [bytes([number]) for number in range(4)]
    for hash_ in hashes:
        lookups.valid[hash_] = holder(hash_)
        await ring.find(hash_)
    assert [hash_ for hash_ in hashes if ring.known(hash_) is not None] == hashes[1:]


async def test_find__database_away__fails_as_other_requests_do(
    ring: Keyring, lookups: Lookups, clock: Clock
) -> None:
    lookups.valid[HASH] = holder()
    await ring.find(HASH)
    lookups.is_away = True
    assert ring.known(HASH) is not None
    clock.move(CHECKED_S)
    with pytest.raises(DatabaseUnavailable):
        await ring.find(HASH)


MOST_CALLS = 20  # of Python's and C's functions, by Python 3.11


async def test_access__warm_key__few_calls_and_no_look_up(lookups: Lookups) -> None:
    secret = new_secret()
    digest = hash_of(secret)
    lookups.valid[digest] = holder(digest)
    access = Access("token", Keyring(lookups), Addresses(None))  # type: ignore[arg-type]
    exchange = Exchange("commerce", "1", Settings().http)
    request = make_mocked_request("GET", "/", {"Authorization": f"Bearer {secret}"})
    await access.check(request, exchange, "a:read")
    calls = 0

    def note(_frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(note)
    try:
        await access.check(request, exchange, "a:read")
    finally:
        sys.setprofile(None)
    assert (lookups.asked, exchange.actor) == (1, "key:partner")
    assert calls <= MOST_CALLS
