"""Subscriptions: which events they match, how they change, and what becomes of deliveries."""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from rowlock.origin import SYSTEM, Origin
from rowlock.rejections import (
    Rejection,
    SubscriptionEnded,
    SubscriptionNotActive,
    SubscriptionNotFound,
)

LEASE = "dispatcher"
MOST_SUBSCRIPTIONS = 1000
MOST_NAMES = 50
NAME_LENGTH = 200
URL_LENGTH = 2000
DESCRIPTION_LENGTH = 500
PROBLEM_LENGTH = 200
TEST = "subscription.test"  # the type of a delivery that has no event

SECRET_PREFIX = "whsec_"  # noqa: S105
SECRET_BYTES = 32

# Statuses of subscriptions, and of deliveries.
ACTIVE, DISABLED, ENDED = "active", "disabled", "ended"
PENDING, DELIVERED, FAILED = "pending", "delivered", "failed"
DELIVERY_STATUSES = (PENDING, DELIVERED, FAILED)
# Why a subscription is not active.
BY_HAND, FAILING, BACKLOG, GONE = "by_hand", "failing", "backlog", "gone"

# The pauses after each failure, in units of the first one: with 5 s, about three days in all.
PAUSES = (1, 12, 60, 360, 1440, 3600, 7200, 10_080, 12_960, 15_840)
JITTER = 0.2  # of a pause, more or less
LONGEST_RETRY_AFTER = timedelta(days=1)
HTTP_GONE = 410
PATTERN = re.compile(r"\*|[^*]*[^*.]\.\*|[^*]+")


class Subscription(NamedTuple):
    """A subscription, as it is stored."""

    id: int
    url: str
    names: Sequence[str]
    subject: str | None
    description: str | None
    status: str
    reason: str | None
    secret: str
    old_secret: str | None
    old_secret_until: datetime | None
    starts_after: int
    recover_after: int | None
    recover_until: int | None
    recover_since: datetime | None
    delivered: int
    failed: int
    failing_since: datetime | None
    last_problem: str | None
    created_at: datetime
    created_by: str


class DeliveryRow(NamedTuple):
    """A delivery, as it is stored."""

    id: int
    subscription_id: int
    event_id: int | None  # None: a test
    name: str
    status: str
    attempts: int
    problem: str | None
    created_at: datetime
    due_at: datetime | None
    finished_at: datetime | None


class CreateSubscription(NamedTuple):
    """Post the events of these names to an address."""

    url: str
    names: Sequence[str]
    secret: str
    subject: str | None = None
    description: str | None = None
    origin: Origin = SYSTEM


class ChangeSubscription(NamedTuple):
    """Change some of `url`, `names`, `subject` and `description`."""

    id: int
    changes: dict[str, Any]
    origin: Origin = SYSTEM


class RotateSecret(NamedTuple):
    """Sign with another secret, and for `overlap` more with the present one, too."""

    id: int
    secret: str
    overlap: timedelta
    origin: Origin = SYSTEM


class Enable(NamedTuple):
    """Post events again, from now on."""

    id: int
    origin: Origin = SYSTEM


class Disable(NamedTuple):
    """Post nothing until the subscription is enabled."""

    id: int
    origin: Origin = SYSTEM


class Recover(NamedTuple):
    """Post the events since a time once more."""

    id: int
    since: datetime
    origin: Origin = SYSTEM


class DeleteSubscription(NamedTuple):
    """Remove a subscription with its deliveries."""

    id: int
    origin: Origin = SYSTEM


class SendTest(NamedTuple):
    """Post a test."""

    id: int
    origin: Origin = SYSTEM


class Resend(NamedTuple):
    """Post a delivery again."""

    id: int  # of the delivery
    origin: Origin = SYSTEM


Change: TypeAlias = ChangeSubscription | RotateSecret | Enable | Disable | Recover


class Log(NamedTuple):
    """What a change has to know of the log."""

    now: datetime
    end: int = 0  # its last place
    dispatched: int = 0  # up to there
    start: int | None = None  # of a recovery; None: there is nothing that late


class Changed(NamedTuple):
    """A subscription as a change leaves it, and the event that reports it."""

    subscription: Subscription
    event: str
    facts: dict[str, Any]


def new_secret() -> str:
    """Return a random secret: 256 bits, as Standard Webhooks writes them."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def sign(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature of a delivery by one secret."""
    digest = _keyed(secret).copy()
    digest.update(f"{webhook_id}.{timestamp}.".encode() + body)
    return "v1," + base64.b64encode(digest.digest()).decode()


@lru_cache(2 * MOST_SUBSCRIPTIONS)  # two secrets of each subscription, while they overlap
def _keyed(secret: str) -> hmac.HMAC:
    """Return the digest that a secret starts with: a copy takes half the time of a new one."""
    return hmac.new(base64.b64decode(secret.removeprefix(SECRET_PREFIX)), digestmod=hashlib.sha256)


def is_pattern(text: str) -> bool:
    """Tell whether a text is a name of events, `kind.*`, or `*`."""
    return PATTERN.fullmatch(text) is not None


def like(pattern: str) -> str:
    """Return a pattern of names as LIKE takes it."""
    escaped = re.sub(r"([\\%_])", r"\\\1", pattern)
    return escaped.removesuffix("*") + "%" if pattern.endswith("*") else escaped


class Matcher:
    """Tells which events a subscription matches."""

    __slots__ = ("_exact", "_prefixes", "_subject")

    def __init__(self, names: Collection[str], subject: str | None) -> None:
        self._exact = frozenset(name for name in names if not name.endswith("*"))
        self._prefixes = tuple(name.removesuffix("*") for name in names if name.endswith("*"))
        self._subject = subject

    def matches(self, name: str, subject: str | None) -> bool:
        """Tell whether it matches an event of this name and subject."""
        if self._subject is not None and self._subject != subject:
            return False
        return name in self._exact or name.startswith(self._prefixes)


def decide(command: Change, held: Subscription | None, log: Log) -> Changed | Rejection:
    """Return what a change makes of a subscription, or why it can't be."""
    if held is None:
        return SubscriptionNotFound.of(command.id)
    match command:
        case ChangeSubscription(changes=changes):
            return Changed(
                held._replace(**changes), "subscription.changed", {"changed": sorted(changes)}
            )
        case RotateSecret(secret=secret, overlap=overlap):
            rotated = held._replace(
                secret=secret, old_secret=held.secret, old_secret_until=log.now + overlap
            )
            facts = {"overlap_s": int(overlap.total_seconds())}
            return Changed(rotated, "subscription.secret_rotated", facts)
        case Disable():
            return _disable(held)
        case Enable():
            return _enable(held, log)
        case Recover(since=since):
            return _recover(held, since, log)


def _disable(held: Subscription) -> Changed | Rejection:
    if held.status == ENDED:
        return SubscriptionEnded(subscription_id=held.id)
    return Changed(stop(held, DISABLED, BY_HAND), "subscription.disabled", {"reason": BY_HAND})


def stop(held: Subscription, status: str, reason: str) -> Subscription:
    """Return a subscription to which nothing is posted any more."""
    return held._replace(
        status=status, reason=reason, recover_after=None, recover_until=None, recover_since=None
    )


def _enable(held: Subscription, log: Log) -> Changed | Rejection:
    if held.status == ENDED:
        return SubscriptionEnded(subscription_id=held.id)
    if held.status == DISABLED:
        held = held._replace(
            status=ACTIVE, reason=None, failing_since=None, last_problem=None, starts_after=log.end
        )
    return Changed(held, "subscription.enabled", {})


def _recover(held: Subscription, since: datetime, log: Log) -> Changed | Rejection:
    if held.status != ACTIVE:
        return SubscriptionNotActive(subscription_id=held.id, status=held.status)
    # What is dispatched from there on is posted anyway, unless the subscription begins later.
    until = max(log.dispatched, held.starts_after)
    if log.start is not None and log.start <= until:
        held = held._replace(recover_after=log.start - 1, recover_until=until, recover_since=since)
    return Changed(held, "subscription.recovery_asked", {"since": since})


class Outcome(NamedTuple):
    """What became of an attempt."""

    status: int | None  # of the answer; None: there was none
    problem: str | None = None  # None: it was answered with 2xx
    retry_after: timedelta | None = None
    duration_s: float = 0.0

    @property
    def is_success(self) -> bool:
        """Whether the receiver has taken the event."""
        return self.problem is None


def judge(status: int, retry_after: str | None, now: datetime) -> Outcome:
    """Return what an answer means. Any 2xx is a success, and nothing else is."""
    if 200 <= status < 300:  # noqa: PLR2004
        return Outcome(status)
    return Outcome(status, f"http_{status}", parse_retry_after(retry_after, now))


def parse_retry_after(text: str | None, now: datetime) -> timedelta | None:
    """Return the pause that a header asks for, a day at most; None if it asks for none."""
    if text is None:
        return None
    if re.fullmatch("[0-9]+", text.strip()):
        # As a float, which is infinite if it is too large.
        return timedelta(seconds=min(float(text), LONGEST_RETRY_AFTER / timedelta(seconds=1)))
    try:
        pause = parsedate_to_datetime(text) - now
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(pause, timedelta()), LONGEST_RETRY_AFTER)


def pause_after(attempts: int, outcome: Outcome, first_s: float, random: float) -> timedelta | None:
    """Return how long to wait after so many attempts; None: the delivery is given up.

    `random` is from 0 to 1. A pause that the receiver asks for is kept if it is longer.
    """
    if attempts > len(PAUSES):
        return None
    jitter = 1 + JITTER * (2 * random - 1)
    pause = timedelta(seconds=first_s * PAUSES[attempts - 1] * jitter)
    return max(pause, outcome.retry_after or timedelta())


def stop_reason(
    outcome: Outcome, failing_since: datetime, now: datetime, give_up: timedelta
) -> tuple[str, str] | None:
    """Return the status and the reason of a subscription that ends with a failure, if it does."""
    if outcome.status == HTTP_GONE:
        return ENDED, GONE
    return (DISABLED, FAILING) if now - failing_since >= give_up else None
