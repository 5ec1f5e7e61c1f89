"""The versions of accounts and documents, from what the database holds in the end.

Each account has one order of changes: its ledger. What commits together is one version; version 0
is an account without entries. A document goes from status to status, and an approved order on from
refund to refund.

Pure: no I/O. Amounts are minor units.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import NamedTuple

from rowlock.ops.drill.journal import Entry

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOTHING: frozenset[str] = frozenset()
BEFORE = {"reversed": ("pending", "paid"), "made": ()}  # statuses by the last one; else pending


class Posted(NamedTuple):
    """An entry as the database holds it."""

    entry: Entry
    transaction: str  # entries of one transaction are seen together or not at all
    at: datetime = EPOCH


class StoredRefund(NamedTuple):
    """A refund as the database holds it."""

    order_id: int
    amount: int
    transaction: str


class Stored(NamedTuple):
    """What the database holds in the end."""

    ledgers: Mapping[int, Sequence[Posted]]  # by user, oldest first
    entries_before: Mapping[int, int]  # by user: how many there were before the first operation
    statuses: Mapping[str, str]  # of orders, invoices and transfers, by kind:id
    usernames: Mapping[str, int]
    refunds: Mapping[int, StoredRefund] = {}  # by id


@dataclass(slots=True)
class Account:
    """The versions of an account."""

    entries: list[Entry] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)  # by entry, ascending
    ends: list[int] = field(default_factory=lambda: [0])  # by version: how many entries it has
    products: list[frozenset[str]] = field(default_factory=lambda: [NOTHING])  # by version: owned
    balances: dict[int, list[int]] = field(  # the versions that have this balance, ascending
        default_factory=lambda: defaultdict(list, {0: [0]})
    )
    version_of: dict[str, int] = field(default_factory=dict)  # by the reference of an entry
    floor: int = 0  # the version before the first operation

    def count_up_to(self, entry_id: int) -> int:
        """Return how many entries there are up to this one; 0 if it is not among them."""
        place = bisect_left(self.entries, entry_id, key=lambda entry: entry.id)
        found = self.entries[place : place + 1]
        return place + 1 if found and found[0].id == entry_id else 0

    def count_before(self, at: datetime) -> int:
        """Return how many entries are of before a time."""
        return bisect_left(self.times, at)

    def balance_after(self, count: int) -> int:
        """Return the balance after so many entries."""
        return self.entries[count - 1].balance_after if count else 0

    def version_with(self, count: int) -> int | None:
        """Return the version that has so many entries; None if no transaction ended there."""
        version = bisect_left(self.ends, count)
        return version if self.ends[version : version + 1] == [count] else None


def account_of(
    ledger: Sequence[Posted],
    bought: Mapping[str, frozenset[str]],
    given_back: Mapping[str, frozenset[str]],
    before: int,
) -> Account:
    """Return the account's versions; those before the entry number `before` are not looked for.

    `bought` and `given_back` are products by the references of entries.
    """
    account = Account()
    for version, (_, group) in enumerate(groupby(ledger, lambda posted: posted.transaction), 1):
        products = account.products[-1]
        for posted in group:
            reference = posted.entry.reference
            account.entries.append(posted.entry)
            account.times.append(posted.at)
            account.version_of[reference] = version
            products |= bought.get(reference, NOTHING)
            products -= given_back.get(reference, NOTHING)
        account.ends.append(len(account.entries))
        account.products.append(products)
        account.balances[account.entries[-1].balance_after].append(version)
    account.floor = bisect_left(account.ends, before)
    return account


def broken_chain(user_id: int, ledger: Sequence[Posted]) -> Iterator[str]:
    """Yield where the ledger does not go on from the entry before, in money or in time."""
    balance, at = 0, EPOCH
    for posted in ledger:
        entry = posted.entry
        balance += entry.amount
        if entry.balance_after != balance:
            yield (
                f"broken chain: user {user_id}: entry {entry.id} has balance_after "
                f"{entry.balance_after} instead of {balance}"
            )
            balance = entry.balance_after
        if posted.at < at:
            yield f"broken chain: user {user_id}: entry {entry.id} is older than the one before it"
        at = posted.at


@dataclass(slots=True)
class Life:
    """The versions of a document; version 0 is before there is one."""

    states: list[tuple[str | None, int]] = field(default_factory=lambda: [(None, 0)])
    references: list[list[str]] = field(default_factory=lambda: [[]])  # of the entries, by version

    def add(self, status: str, refunded: int, *references: str) -> None:
        """Add a version: its status, what is refunded, and the entries that came with it."""
        self.states.append((status, refunded))
        self.references.append([*references])

    def versions(self, status: str | None, refunded: int) -> list[int]:
        """Return those in which the document was like this."""
        return [version for version, state in enumerate(self.states) if state == (status, refunded)]

    def version_with(self, reference: str) -> int | None:
        """Return the version in which this entry came; None if there is none."""
        return next((at for at, each in enumerate(self.references) if reference in each), None)


def lives_of(stored: Stored) -> dict[str, Life]:
    """Return the versions of every document, by kind:id."""
    refunds: dict[int, list[tuple[int, StoredRefund]]] = defaultdict(list)
    for refund_id, refund in sorted(stored.refunds.items()):
        refunds[refund.order_id].append((refund_id, refund))
    lives = {}
    for document, final in stored.statuses.items():
        kind, _, number = document.partition(":")
        lives[document] = life = Life()
        for status in (*BEFORE.get(final, ("pending",) if final != "pending" else ()), final):
            life.add(status, 0, *_entry_of(document, status))
        refunded = 0
        of_order = refunds.get(int(number), []) if kind == "order" else []
        for _, group in groupby(of_order, lambda each: each[1].transaction):
            together = list(group)
            refunded += sum(refund.amount for _, refund in together)
            life.add(final, refunded, *(f"refund:{refund_id}" for refund_id, _ in together))
    return lives


def _entry_of(document: str, status: str) -> tuple[str, ...]:
    """Return the reference of the entry with which the document came into this status."""
    match status:
        case "approved" | "paid" | "made":
            return (document,)
        case "reversed":
            return (document.replace("invoice:", "reversal:"),)
    return ()
