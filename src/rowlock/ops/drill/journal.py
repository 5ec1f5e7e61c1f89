"""What the clients of a drill note: what they did, when, and what they were told.

Amounts are minor units, times are seconds by one monotonic clock.
"""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

DONE = frozenset({200, 201, 204})  # the answers to a write that has taken effect
RECENT = 20  # clients work on the latest of each kind, so that they meet


class Call(NamedTuple):
    """A request from its first try to its answer."""

    name: str  # as in GET /user/1
    invoked: float
    responded: float  # inf: there was no answer, so the outcome is unknown

    def __str__(self) -> str:
        return f"{self.name} ({self.invoked:.3f} to {self.responded:.3f} s)"


class Entry(NamedTuple):
    """An entry of a ledger."""

    id: int
    amount: int
    balance_after: int
    reference: str  # kind:id of the document that moved the money


class Opened(NamedTuple):
    """The account was opened by this call, or was there."""

    username: str


class Wrote(NamedTuple):
    """The document was brought into this status."""

    document: str  # kind:id
    status: str
    products: frozenset[str] = frozenset()  # what the user of the shop owns from now on


class SawDocument(NamedTuple):
    """The document was in this status."""

    document: str
    status: str | None  # None: there was no such document


class SawBalance(NamedTuple):
    """The user had this balance."""

    user_id: int
    balance: int


class SawShopper(NamedTuple):
    """The user of the shop had this balance and these products, at one moment."""

    username: str
    balance: int
    products: frozenset[str]


class SawLedger(NamedTuple):
    """These were the user's last entries."""

    user_id: int
    page: tuple[Entry, ...]  # newest first
    limit: int


Effect = Opened | Wrote | SawDocument | SawBalance | SawShopper | SawLedger
Operation = tuple[Call, Effect]


@dataclass(slots=True)
class Journal:
    """What the services have acknowledged, and what no service may answer."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)  # kind of write, status
    retries: int = 0
    replays: int = 0  # answers that had been lost
    problems: list[str] = field(default_factory=list)

    usernames: set[str] = field(default_factory=set)
    benefit_orders: set[int] = field(default_factory=set)
    orders: set[int] = field(default_factory=set)
    invoices: set[int] = field(default_factory=set)
    paid: set[int] = field(default_factory=set)
    bookings: set[int] = field(default_factory=set)
    changes: Counter[int] = field(default_factory=Counter)  # of bookings
    deleted: set[int] = field(default_factory=set)
    deployments: set[int] = field(default_factory=set)
    moves: set[tuple[int, str]] = field(default_factory=set)  # deployment, status
    posted: set[str] = field(default_factory=set)  # subjects of events sent past the outbox
    request_ids: set[str] = field(default_factory=set)  # of writes, each of which left an event
    repetitions: set[str] = field(default_factory=set)  # request ids of reports; some are no news

    operations: list[Operation] = field(default_factory=list)  # what clients were told, and when

    recent: dict[str, deque[Any]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=RECENT))
    )

    @property
    def acknowledged(self) -> int:
        """Writes that took effect."""
        return sum(count for (_, status), count in self.answers.items() if status in DONE)

    def add(self, kind: str, new: int | str) -> None:
        """Note what the write with a key created. No other key may have created the same."""
        known = getattr(self, kind)
        if new in known:
            self.problems.append(f"{kind}: {new} was acknowledged twice")
        known.add(new)
        self.recent[kind].append(new)
