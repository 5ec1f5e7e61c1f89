"""When a request is sent again: after which pause, for how long, and how much of that there is."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# What a repeated attempt has before the deadline. One with less would rather lose its answer than
# get it, and a write that was refused until then would end with its outcome unknown.
LEAST_ATTEMPT_S = 0.1
MOST_DOUBLINGS = 16  # of a pause: beyond it, every limit is reached


@dataclass(frozen=True, slots=True)
class Policy:
    """How long a call may take, and how it is repeated. Seconds.

    The pauses are drawn between 0 and a limit that doubles with each attempt. So clients that were
    refused together do not come back together.
    """

    deadline_s: float = 30.0  # of a call with all its attempts
    attempt_timeout_s: float = 10.0
    connect_timeout_s: float = 3.0
    attempts: int | None = None  # None: as many as the deadline allows
    first_pause_s: float = 0.1
    longest_pause_s: float = 5.0
    heeds_retry_after: bool = True  # waits for at least as long as the service asks

    def __post_init__(self) -> None:
        """Raise ValueError for limits that are none: aiohttp would take 0 as no limit at all."""
        limits = (self.deadline_s, self.attempt_timeout_s, self.connect_timeout_s)
        if min(limits) <= 0 or (self.attempts is not None and self.attempts < 1):
            raise ValueError(f"Deadline, time-outs and attempts must be above 0: {self}.")

    def pause_s(self, attempt: int, retry_after_s: float | None, rng: random.Random) -> float:
        """Return the pause after an attempt, the first of which is 1."""
        doubled_s = self.first_pause_s * 2.0 ** min(attempt - 1, MOST_DOUBLINGS)
        drawn_s = rng.uniform(0, min(self.longest_pause_s, doubled_s))
        asked_s = retry_after_s if self.heeds_retry_after and retry_after_s else 0.0
        return asked_s + drawn_s


def until_known(deadline_s: float, pause_s: float) -> Policy:
    """Return the policy of a tester, who repeats a call in short pauses until it is answered.

    Use it with a client that has no budget. It is hard on a service that is overloaded.
    """
    return Policy(
        deadline_s=deadline_s,
        first_pause_s=pause_s,
        longest_pause_s=pause_s,
        heeds_retry_after=False,
    )


class Budget:
    """A bucket of tokens, one for each retry: retries add a part of the load and no more.

    Each call adds `ratio` of a token, and each second `per_second`, for clients that call seldom.
    The bucket starts full, with `reserve`. Once it is empty, calls fail at their first failure. So
    a service that is overloaded gets about 1 + `ratio` times the requests that it always gets.
    """

    def __init__(
        self,
        ratio: float = 0.2,
        per_second: float = 1.0,
        reserve: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ratio = ratio
        self._per_second = per_second
        self._reserve = reserve
        self._clock = clock
        self._tokens = reserve
        self._filled = clock()

    def call(self) -> None:
        """Note a call that is made for the first time."""
        self._fill(self._ratio)

    def retry(self) -> bool:
        """Take the token for a retry; tell whether there was one."""
        self._fill(0)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _fill(self, tokens: float) -> None:
        now = self._clock()
        tokens += (now - self._filled) * self._per_second
        self._tokens = min(self._reserve, self._tokens + tokens)
        self._filled = now


def read_retry_after(text: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a Retry-After asks for, as a number or a date; None without one."""
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - (now or datetime.now(UTC))).total_seconds())
