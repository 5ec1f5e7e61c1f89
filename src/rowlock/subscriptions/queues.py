"""What the dispatcher has in memory: the queue of each subscription, and its place in the log."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import orjson
from yarl import URL

from rowlock.settings.features import SubscriptionSettings
from rowlock.subscriptions.rules import TEST, Matcher, Outcome

if TYPE_CHECKING:
    from rowlock.engine.typed.subscriptions import ListActiveRow

FAILING = 3  # failures in a row after which a receiver gets one request at a time, with pauses
FIRST_PAUSE_S = 1.0
QUEUED = 500  # deliveries of a subscription at which the log is not read on
BATCH_DUE = 64  # deliveries of a subscription that are read from the database at once


@dataclass(slots=True, eq=False)
class Letter:
    """What is posted of an event, to every subscription that matches it."""

    event_id: int | None  # None: a test
    name: str
    body: bytes
    read_at: float  # the loop's clock
    traceparent: str | None = None  # that the event carries on
    open: int = 0  # deliveries that are neither done nor in the database


@dataclass(slots=True, eq=False)
class Delivery:
    """A letter to one subscription."""

    endpoint: "Endpoint"
    letter: Letter
    row_id: int | None = None  # in the database
    attempts: int = 0  # before the next one
    is_counted: bool = False  # among those of its letter that are open
    outcome: Outcome | None = None


def write_body(name: str, payload: str, created_at: datetime) -> bytes:
    """Return what is posted of an event."""
    return orjson.dumps(
        {"type": name, "timestamp": created_at, "data": orjson.Fragment(payload)},
        option=orjson.OPT_UTC_Z,
    )


def write_test(subscription_id: int, now: datetime, read_at: float) -> Letter:
    """Return the letter of a test."""
    body = orjson.dumps(
        {"type": TEST, "timestamp": now, "data": {"subscription_id": subscription_id}},
        option=orjson.OPT_UTC_Z,
    )
    return Letter(None, TEST, body, read_at)


@dataclass(slots=True, eq=False)
class Endpoint:
    """An active subscription, as the dispatcher knows it."""

    id: int
    url: URL
    matcher: Matcher
    starts_after: int
    secret: str
    old_secret: str | None
    old_secret_until: datetime | None
    recover_after: int | None = None
    recover_until: int | None = None
    recover_since: datetime | None = None
    queue: deque[Delivery] = field(default_factory=deque)
    under_way: set[Delivery] = field(default_factory=set)
    held: set[int] = field(default_factory=set)  # rows that are in memory
    failures: int = 0  # in a row
    paused_until: float = 0.0  # the loop's clock
    has_due: bool = True  # there may be rows that are due
    next_due: datetime | None = None  # of the others; None: there are none
    pending: int = 0  # rows that wait, about
    is_behind: bool = False  # its queue was too slow: new deliveries follow the rows that are due
    is_gone: bool = False  # it is not active any more

    @classmethod
    def of(cls, row: "ListActiveRow") -> "Endpoint":
        """Return the endpoint of a subscription."""
        endpoint = cls(
            row["id"], URL(row["url"], encoded=True), Matcher((), None), 0, "", None, None
        )
        endpoint.renew(row)
        return endpoint

    def renew(self, row: "ListActiveRow") -> None:
        """Be as the subscription is now. There may be rows that were added by other processes."""
        url = URL(row["url"], encoded=True)
        if url != self.url:
            self.url, self.failures, self.paused_until = url, 0, 0.0
            self.is_behind = False
        self.matcher = Matcher(row["names"], row["subject"])
        self.starts_after = row["starts_after"]
        self.secret, self.old_secret = row["secret"], row["old_secret"]
        self.old_secret_until = row["old_secret_until"]
        self.recover_after, self.recover_until = row["recover_after"], row["recover_until"]
        self.recover_since = row["recover_since"]
        self.has_due = True

    def secrets(self, now: datetime) -> list[str]:
        """Return the secrets to sign with: the present one first."""
        if self.old_secret is None or self.old_secret_until is None or self.old_secret_until <= now:
            return [self.secret]
        return [self.secret, self.old_secret]

    def room(self, now: float, most: int) -> int:
        """Return how many more requests may be under way, of `most` at the most."""
        if now < self.paused_until or self.is_gone:
            return 0
        return max(0, (1 if self.failures >= FAILING else most) - len(self.under_way))

    def takes(self, now: float) -> bool:
        """Tell whether a new delivery may wait in memory."""
        return not self.is_behind and self.failures < FAILING and now >= self.paused_until

    def is_full(self, now: float) -> bool:
        """Tell whether to read on in the log only when it has worked off some of its queue.

        It does so within a moment, or is behind then: a slow receiver delays no other for longer.
        """
        return len(self.queue) >= QUEUED and self.takes(now)

    def wants_due(self, now: float, wall: datetime) -> bool:
        """Tell whether to look for rows that are due."""
        if self.next_due is not None and self.next_due <= wall:
            self.has_due = True
        return self.has_due and not self.queue and self.room(now, 1) > 0

    def take_overdue(self, before: float) -> Iterator[Delivery]:
        """Yield the deliveries of letters read before a time that are in no row, nor done.

        Those that wait leave the queue: they come again from their rows. Until these are worked
        off, new ones follow them.
        """
        yield from (each for each in self.under_way if _is_overdue(each, before))
        if any(_is_overdue(each, before) for each in self.queue):
            self.is_behind = True
            queue, self.queue = self.queue, deque()
            for each in queue:
                if _is_overdue(each, before):
                    yield each
                else:
                    self.queue.append(each)

    def note(
        self, outcome: Outcome, now: float, random: float, settings: SubscriptionSettings
    ) -> None:
        """Note what came of an attempt: a receiver that keeps failing gets pauses."""
        if outcome.is_success:
            self.failures, self.paused_until = 0, 0.0
            return
        self.failures += 1
        pause_s = 0.0
        if self.failures >= FAILING:
            doubled = FIRST_PAUSE_S * 2 ** min(self.failures - FAILING, 30)
            pause_s = min(doubled, settings.dispatch_pause_limit_s) * (0.5 + random / 2)
        if outcome.retry_after is not None and outcome.status in {429, 503}:
            pause_s = max(pause_s, outcome.retry_after / timedelta(seconds=1))
        self.paused_until = max(self.paused_until, now + pause_s)


def _is_overdue(delivery: Delivery, before: float) -> bool:
    return delivery.row_id is None and delivery.letter.read_at < before


class Window:
    """The letters between the place that is written and the last one that was read."""

    def __init__(self, position: int) -> None:
        self.read = position
        self.done = position  # everything up to there is done, or in the database
        self.bytes = 0
        self._letters: deque[Letter] = deque()

    def __len__(self) -> int:
        """Return how many letters it has."""
        return len(self._letters)

    def add(self, letter: Letter) -> None:
        """Add the next letter of the log."""
        self._letters.append(letter)
        self.bytes += len(letter.body)

    def overdue(self, read_before: float) -> bool:
        """Tell whether a letter is open that was read before a time."""
        self.advance()
        return bool(self._letters) and self._letters[0].read_at < read_before

    def advance(self) -> int:
        """Forget the letters that are done, from the oldest on; return up to where that is."""
        while self._letters and not self._letters[0].open:
            letter = self._letters.popleft()
            self.bytes -= len(letter.body)
            self.done = letter.event_id or self.done
        if not self._letters:
            self.done = self.read
        return self.done
