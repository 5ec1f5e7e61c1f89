"""What the clients of a drill note: what they did, when, and what they were told.

Amounts are minor units, times are seconds by one monotonic clock.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
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


class Leg(NamedTuple):
    """What a document does to one balance."""

    user: int | str  # id, or the username of one whose id no answer tells
    amount: int


class Opened(NamedTuple):
    """The account was opened by this call, or was there."""

    username: str
    user_id: int | None = None  # of one that was created: it may have another name by now


class Wrote(NamedTuple):
    """The document was brought into this status."""

    document: str  # kind:id
    status: str
    products: frozenset[str] = frozenset()  # what the user of the shop owns from now on


class Refunded(NamedTuple):
    """The order was refunded, or a part of it."""

    order_id: int
    refund_id: int


class SawDocument(NamedTuple):
    """The document was in this status."""

    document: str
    status: str | None  # None: there was no such document
    refunded: int = 0  # of an order
    or_later: bool = False  # or in one that comes after it


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


class SawBalanceAt(NamedTuple):
    """The user had this balance before a time, which need not be over."""

    user_id: int
    at: datetime
    balance: int


class SawStatement(NamedTuple):
    """These were all entries of the user from a time on, between these balances."""

    user_id: int
    since: datetime
    opening: int
    closing: int
    entries: tuple[Entry, ...]  # oldest first


Effect = (
    Opened
    | Wrote
    | Refunded
    | SawDocument
    | SawBalance
    | SawBalanceAt
    | SawShopper
    | SawLedger
    | SawStatement
)
Operation = tuple[Call, Effect]
Names = tuple[str, str | None, str, str]  # username, email, first and last name


@dataclass(slots=True)
class Journal:
    """What the services have acknowledged, and what no service may answer."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)  # kind of write, status
    retries: int = 0
    replays: int = 0  # answers that had been lost
    problems: list[str] = field(default_factory=list)

    usernames: set[str] = field(default_factory=set)
    users: set[int] = field(default_factory=set)  # created, not opened by the benefits shop
    people: dict[int, Names] = field(default_factory=dict)  # what these are called by now
    benefit_orders: set[int] = field(default_factory=set)
    orders: set[int] = field(default_factory=set)
    invoices: set[int] = field(default_factory=set)
    paid: set[int] = field(default_factory=set)
    voided: set[int] = field(default_factory=set)
    reversed: set[int] = field(default_factory=set)
    cancelled: set[int] = field(default_factory=set)  # orders
    refunds: set[int] = field(default_factory=set)
    refunded: Counter[int] = field(default_factory=Counter)  # orders, by how many refunds
    transfers: set[int] = field(default_factory=set)
    references: set[tuple[str, str]] = field(default_factory=set)  # kind:id, the client's own name
    products: set[int] = field(default_factory=set)
    services: set[int] = field(default_factory=set)
    # What products and services are by now, by kind:id: the price, and whether it is retired.
    catalogue: dict[str, tuple[int | None, bool]] = field(default_factory=dict)
    happened: Counter[tuple[str, str]] = field(default_factory=Counter)  # events: name, subject
    bookings: set[int] = field(default_factory=set)
    changes: Counter[int] = field(default_factory=Counter)  # of bookings
    deleted: set[int] = field(default_factory=set)
    deployments: set[int] = field(default_factory=set)
    moves: set[tuple[int, str]] = field(default_factory=set)  # deployment, status
    posted: set[str] = field(default_factory=set)  # subjects of events sent past the outbox
    request_ids: set[str] = field(default_factory=set)  # of writes, each of which left an event
    repetitions: set[str] = field(default_factory=set)  # request ids of reports; some are no news

    # The entries that documents leave, by reference. An order leaves its own once it is approved.
    legs: dict[str, tuple[Leg, ...]] = field(default_factory=dict)
    owed: dict[int, Leg] = field(default_factory=dict)  # by invoice
    doubts: list[Leg] = field(default_factory=list)  # of writes whose outcome is unknown

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

    def move(self, reference: str, *legs: Leg) -> None:
        """Note what an acknowledged document does to balances."""
        self.legs[reference] = tuple(leg for leg in legs if leg.amount)

    def refer(self, kind: str, document_id: int, body: Mapping[str, Any]) -> None:
        """Note the reference in the body of a write, if there is one. No other may have it."""
        reference = body.get("reference")
        if reference is None:
            return
        if reference in self.recent[f"{kind} references"]:
            self.problems.append(f"{kind} {document_id} was given a taken reference: {reference}")
        self.references.add((f"{kind}:{document_id}", reference))
        self.recent[f"{kind} references"].append(reference)

    def caused_by(self, request_id: str, kind: str) -> None:
        """Note a request that has taken effect."""
        (self.repetitions if kind == "webhook" else self.request_ids).add(request_id)
