"""Whether what clients were told fits one order of commits in real time.

Each account has one order of changes: its ledger. What commits together is one version; version 0
is an account without entries. What a client was told of an account, an order or an invoice fits
some of the versions. The history is good if each operation can be given a version that it fits, so
that an operation that began after another one had ended has that one's version or a later one, and
a write a later one. `sweep` decides that exactly, in O(n log n).

A document is settled in the transaction that moves its money, so what was seen of a document is
checked against the account as well.

Pure: no I/O. Amounts are minor units, times are seconds by one monotonic clock.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import inf
from typing import NamedTuple

from rowlock.ops.drill.journal import (
    Call,
    Effect,
    Entry,
    Opened,
    Operation,
    SawBalance,
    SawDocument,
    SawLedger,
    SawShopper,
    Wrote,
)

ABSENT, PENDING, SETTLED = range(3)  # the versions of a document


class Posted(NamedTuple):
    """An entry as the database holds it."""

    entry: Entry
    transaction: str  # entries of one transaction are seen together or not at all


class Stored(NamedTuple):
    """What the database holds in the end."""

    ledgers: Mapping[int, Sequence[Posted]]  # by user, oldest first
    entries_before: Mapping[int, int]  # by user: how many there were before the first operation
    statuses: Mapping[str, str]  # of orders and invoices, by kind:id
    usernames: Mapping[str, int]


class Step(NamedTuple):
    """An operation on one thing, by the versions of that thing."""

    call: Call
    told: str
    versions: Sequence[int]  # those that it fits, ascending; a write: the one that it made
    is_write: bool = False


@dataclass(slots=True)
class _Account:
    """The versions of an account."""

    entries: list[Entry]
    ends: list[int]  # by version: how many entries it has
    products: list[frozenset[str]]  # by version: what is owned
    balances: dict[int, list[int]]  # the versions that have this balance, ascending
    version_of: dict[str, int]  # by the reference of an entry
    floor: int  # the version before the first operation


@dataclass(slots=True)
class _Timelines:
    """The steps by what they are on, and the writes whose outcome is unknown."""

    floors: dict[str, int] = field(default_factory=dict)
    steps: dict[str, list[Step]] = field(default_factory=lambda: defaultdict(list))
    known: set[tuple[str, str]] = field(default_factory=set)
    unknown: dict[tuple[str, str], Step] = field(default_factory=dict)

    def saw(self, subject: str, call: Call, told: str, versions: Sequence[int]) -> None:
        self.steps[subject].append(Step(call, told, versions))

    def wrote(self, subject: str, call: Call, told: str, version: int) -> None:
        """Note a write. Of those without an answer, which may be another's, the first one counts.

        It counts only where no write has been acknowledged for the same thing.
        """
        step, key = Step(call, told, (version,), is_write=True), (subject, told)
        if call.responded < inf:
            self.steps[subject].append(step)
            self.known.add(key)
        elif key not in self.unknown or call.invoked < self.unknown[key].call.invoked:
            self.unknown[key] = step

    def all(self) -> Iterator[tuple[str, list[Step]]]:
        for (subject, told), step in self.unknown.items():
            if (subject, told) not in self.known:
                self.steps[subject].append(step)
        yield from self.steps.items()


def check(operations: Sequence[Operation], stored: Stored) -> list[str]:
    """Return what does not fit, as sentences; nothing if all is well."""
    bought = {
        effect.document: effect.products
        for _, effect in operations
        if isinstance(effect, Wrote) and effect.products
    }
    problems: list[str] = []
    accounts = {}
    for user_id, ledger in stored.ledgers.items():
        problems += _broken_chain(user_id, ledger)
        accounts[user_id] = _account(ledger, bought, stored.entries_before.get(user_id, 0))
    resolver = _Resolver(stored, accounts)
    for call, effect in operations:
        resolver.add(call, effect)
    problems += resolver.problems
    for subject, steps in resolver.timelines.all():
        floor = resolver.timelines.floors.get(subject, 0)
        problems += [f"{subject}: {problem}" for problem in sweep(steps, floor)]
    return problems


def sweep(steps: Sequence[Step], floor: int = 0) -> Iterator[str]:
    """Yield why the steps on one thing fit no order of its versions in real time.

    Each step takes the lowest version that it fits and that is not below what had been told when
    it began; a higher one would only leave less to those that follow. `floor` is the version
    before the first step.
    """
    told_by: Step | None = None
    chosen: dict[int, int] = {}
    moments = sorted(
        [
            *((step.call.invoked, False, number) for number, step in enumerate(steps)),
            *((step.call.responded, True, number) for number, step in enumerate(steps)),
        ]
    )
    for _, is_response, number in moments:
        step = steps[number]
        if is_response:
            if chosen.get(number, -1) > floor:
                floor, told_by = chosen[number], step
            continue
        if step.is_write:
            chosen[number] = step.versions[0]
            if step.versions[0] <= floor:
                yield _tell("future", step, "had been seen before it began", told_by)
            continue
        place = bisect_left(step.versions, floor)
        if place < len(step.versions):
            chosen[number] = step.versions[place]
        else:
            yield _tell("stale", step, "was out of date when it began", told_by)


def _tell(kind: str, step: Step, what: str, told_by: Step | None) -> str:
    by = f"by {told_by.call}: {told_by.told}" if told_by else "by what was there at the start"
    return f"{kind}: {step.call}: {step.told} {what}, {by}"


class _Resolver:
    """Finds out for each operation which versions of what it fits."""

    def __init__(self, stored: Stored, accounts: Mapping[int, _Account]) -> None:
        self._stored = stored
        self._accounts = accounts
        self._user_of = {
            reference: user_id
            for user_id, account in accounts.items()
            for reference in account.version_of
        }
        self.timelines = _Timelines(
            {_of_user(user_id): account.floor for user_id, account in accounts.items()}
        )
        self.problems: list[str] = []

    def add(self, call: Call, effect: Effect) -> None:
        match effect:
            case Opened(username):
                self._opened(call, username)
            case Wrote(document, status):
                self._wrote(call, document, status)
            case SawDocument(document, status):
                self._saw_document(call, document, status)
            case SawBalance(user_id, balance):
                self._saw_balance(call, user_id, balance, None)
            case SawShopper(username, balance, products):
                user_id = self._stored.usernames.get(username, 0)
                self._saw_balance(call, user_id, balance, products)
            case SawLedger(user_id, page, limit):
                self._saw_ledger(call, user_id, page, limit)

    def _opened(self, call: Call, username: str) -> None:
        user_id = self._stored.usernames.get(username)
        if user_id is not None:
            self._posted(call, f"user:{user_id}")
        elif call.responded < inf:
            self._add_problem("lost", call, f"the account {username}")

    def _wrote(self, call: Call, document: str, status: str) -> None:
        final = self._stored.statuses.get(document)
        versions = _document_versions(status, final)
        if not versions:
            if call.responded < inf:
                self._add_problem("lost", call, f"{document} {status}; it is {final}")
            return
        unanswered = call._replace(responded=inf)  # the order processor's work: it may come later
        # A document that is settled as it is made goes through both versions at once.
        self.timelines.wrote(document, call, f"{document} {status}", versions[0])
        if versions[0] == SETTLED:
            self._posted(call, document)
        elif final != status:
            self.timelines.wrote(document, unanswered, f"{document} {final}", SETTLED)
            self._posted(unanswered, document)

    def _posted(self, call: Call, reference: str) -> None:
        """Note a write of the entry for `reference`, if there is one."""
        user_id = self._user_of.get(reference)
        if user_id is not None:
            version = self._accounts[user_id].version_of[reference]
            self.timelines.wrote(_of_user(user_id), call, f"the entry of {reference}", version)

    def _saw_document(self, call: Call, document: str, status: str | None) -> None:
        final = self._stored.statuses.get(document)
        told = f"{document} {status or 'not found'}"
        versions = _document_versions(status, final)
        if not versions:
            self._add_problem("never was", call, f"{told}; it is {final}")
            return
        self.timelines.saw(document, call, told, versions)
        user_id = self._user_of.get(document)
        if user_id is not None:
            account = self._accounts[user_id]
            version = account.version_of[document]
            has_entry = versions[0] == SETTLED
            fits = range(version, len(account.ends)) if has_entry else range(version)
            self.timelines.saw(_of_user(user_id), call, told, fits)

    def _saw_balance(
        self, call: Call, user_id: int, balance: int, products: frozenset[str] | None
    ) -> None:
        account = self._accounts.get(user_id, UNKNOWN_ACCOUNT)
        told = f"balance {balance}"
        versions = account.balances.get(balance, [])
        if products is not None:
            told += f" with {', '.join(sorted(products)) or 'no products'}"
            fitting = [each for each in versions if account.products[each] == products]
            if versions and not fitting:
                self._add_problem("fractured", call, told)
                return
            versions = fitting
        if versions:
            self.timelines.saw(_of_user(user_id), call, told, versions)
        elif any(entry.balance_after == balance for entry in account.entries):
            self._add_problem("fractured", call, f"{told}, in the middle of a transaction")
        else:
            self._add_problem("never was", call, told)

    def _saw_ledger(self, call: Call, user_id: int, page: tuple[Entry, ...], limit: int) -> None:
        account = self._accounts.get(user_id, UNKNOWN_ACCOUNT)
        count = _count_up_to(account.entries, page[0].id) if page else 0
        told = f"the ledger up to entry {page[0].id if page else 'none'}"
        if page and not count:
            self._add_problem("never was", call, told)
        elif tuple(reversed(account.entries[max(0, count - limit) : count])) != page:
            self._add_problem("fractured", call, f"{told}, with other entries before it")
        elif (version := _version_with(account, count)) is None:
            self._add_problem("fractured", call, f"{told}, in the middle of a transaction")
        else:
            self.timelines.saw(_of_user(user_id), call, told, (version,))

    def _add_problem(self, kind: str, call: Call, told: str) -> None:
        self.problems.append(f"{kind}: {call}: {told}")


def _account(
    ledger: Sequence[Posted], bought: Mapping[str, frozenset[str]], before: int
) -> _Account:
    """Return the account's versions; those before the entry number `before` are not looked for."""
    account = _Account([], [0], [frozenset()], defaultdict(list), {}, 0)
    account.balances[0].append(0)
    for version, (_, group) in enumerate(groupby(ledger, lambda posted: posted.transaction), 1):
        products = account.products[-1]
        for posted in group:
            account.entries.append(posted.entry)
            account.version_of[posted.entry.reference] = version
            products |= bought.get(posted.entry.reference, frozenset())
        account.ends.append(len(account.entries))
        account.products.append(products)
        account.balances[account.entries[-1].balance_after].append(version)
    account.floor = bisect_left(account.ends, before)
    return account


def _broken_chain(user_id: int, ledger: Sequence[Posted]) -> Iterator[str]:
    balance = 0
    for entry, _ in ledger:
        balance += entry.amount
        if entry.balance_after != balance:
            yield (
                f"broken chain: user {user_id}: entry {entry.id} has balance_after "
                f"{entry.balance_after} instead of {balance}"
            )
            balance = entry.balance_after


def _document_versions(status: str | None, final: str | None) -> range:
    """Return the version of a document that has this status; none if it never had it."""
    if status is None:
        version = ABSENT
    elif final is None:
        return range(0)
    elif status == "pending":
        version = PENDING
    elif status == final:
        version = SETTLED
    else:
        return range(0)
    return range(version, version + 1)


def _of_user(user_id: int) -> str:
    return f"user {user_id}"


def _count_up_to(entries: Sequence[Entry], entry_id: int) -> int:
    """Return how many entries there are up to this one; 0 if it is not among them."""
    place = bisect_left(entries, entry_id, key=lambda entry: entry.id)
    return place + 1 if entries[place : place + 1] and entries[place].id == entry_id else 0


def _version_with(account: _Account, count: int) -> int | None:
    """Return the version that has so many entries; None if no transaction ended there."""
    version = bisect_left(account.ends, count)
    return version if account.ends[version : version + 1] == [count] else None


UNKNOWN_ACCOUNT = _account((), {}, 0)
