"""Whether what clients were told fits one order of commits in real time.

What a client was told of an account or of a document fits some of its versions. The history is
good if each operation can be given a version that it fits, so that an operation that began after
another one had ended has that one's version or a later one, and a write a later one. `sweep`
decides that exactly, in O(n log n).

A document is settled in the transaction that moves its money, so what was seen of a document is
checked against the accounts as well.

Pure: no I/O. Amounts are minor units, times are seconds by one monotonic clock.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import inf

from rowlock.ops.drill.journal import (
    Call,
    Effect,
    Opened,
    Operation,
    Refunded,
    SawBalance,
    SawBalanceAt,
    SawDocument,
    SawLedger,
    SawShopper,
    SawStatement,
    Wrote,
)
from rowlock.ops.drill.sweep import Timelines, sweep
from rowlock.ops.drill.versions import (
    NOTHING,
    Account,
    Life,
    Stored,
    account_of,
    broken_chain,
    lives_of,
)

UNKNOWN_ACCOUNT = Account()
UNKNOWN_DOCUMENT = Life()


def check(operations: Sequence[Operation], stored: Stored) -> list[str]:
    """Return what does not fit, as sentences; nothing if all is well."""
    bought = {
        effect.document: effect.products
        for _, effect in operations
        if isinstance(effect, Wrote) and effect.products
    }
    given_back = {
        f"refund:{refund_id}": bought.get(f"order:{refund.order_id}", NOTHING)
        for refund_id, refund in stored.refunds.items()
    }
    problems: list[str] = []
    accounts = {}
    for user_id, ledger in stored.ledgers.items():
        problems += broken_chain(user_id, ledger)
        before = stored.entries_before.get(user_id, 0)
        accounts[user_id] = account_of(ledger, bought, given_back, before)
    resolver = _Resolver(stored, accounts)
    for call, effect in operations:
        resolver.add(call, effect)
    problems += resolver.problems
    for subject, steps in resolver.timelines.all():
        floor = resolver.timelines.floors.get(subject, 0)
        problems += [f"{subject}: {problem}" for problem in sweep(steps, floor)]
    return problems


class _Resolver:
    """Finds out for each operation which versions of what it fits."""

    def __init__(self, stored: Stored, accounts: Mapping[int, Account]) -> None:
        self._stored = stored
        self._accounts = accounts
        self._lives = lives_of(stored)
        self._posted_at: dict[str, list[tuple[int, int]]] = defaultdict(list)  # user, version
        for user_id, account in accounts.items():
            for reference, version in account.version_of.items():
                self._posted_at[reference].append((user_id, version))
        self.timelines = Timelines(
            {_of_user(user_id): account.floor for user_id, account in accounts.items()}
        )
        self.problems: list[str] = []

    def add(self, call: Call, effect: Effect) -> None:
        match effect:
            case Opened():
                self._opened(call, effect)
            case Wrote(document, status):
                self._wrote(call, document, status)
            case Refunded(order_id, refund_id):
                self._refunded(call, order_id, refund_id)
            case SawDocument():
                self._saw_document(call, effect)
            case SawBalance(user_id, balance):
                self._saw_balance(call, user_id, balance, None)
            case SawBalanceAt():
                self._saw_balance_at(call, effect)
            case SawShopper(username, balance, products):
                user_id = self._stored.usernames.get(username, 0)
                self._saw_balance(call, user_id, balance, products)
            case SawLedger():
                self._saw_ledger(call, effect)
            case SawStatement():
                self._saw_statement(call, effect)

    def _opened(self, call: Call, opened: Opened) -> None:
        user_id = opened.user_id or self._stored.usernames.get(opened.username)
        if user_id is not None:
            self._posted(call, f"user:{user_id}")
        elif call.responded < inf:
            self._add_problem("lost", call, f"the account {opened.username}")

    def _wrote(self, call: Call, document: str, status: str) -> None:
        life = self._lives.get(document, UNKNOWN_DOCUMENT)
        versions = life.versions(status, 0)
        if not versions:
            if call.responded < inf:
                told = f"{document} {status}; it is {self._stored.statuses.get(document)}"
                self._add_problem("lost", call, told)
            return
        self._reached(call, document, life, versions[0])
        settled = versions[0] + 1
        if status == "pending" and document.startswith("order:") and settled < len(life.states):
            # The order processor's work: it may come later.
            self._reached(call._replace(responded=inf), document, life, settled)

    def _reached(self, call: Call, document: str, life: Life, version: int) -> None:
        """Note a write that has brought the document into a version."""
        status, _ = life.states[version]
        self.timelines.wrote(document, call, f"{document} {status}", version)
        for reference in life.references[version]:
            self._posted(call, reference)

    def _refunded(self, call: Call, order_id: int, refund_id: int) -> None:
        order, refund = f"order:{order_id}", f"refund:{refund_id}"
        version = self._lives.get(order, UNKNOWN_DOCUMENT).version_with(refund)
        if version is None:
            self._add_problem("lost", call, f"{refund} of {order}")
            return
        self.timelines.wrote(order, call, f"{order} refunded by {refund}", version)
        self._posted(call, refund)

    def _posted(self, call: Call, reference: str) -> None:
        """Note a write of the entries for `reference`, if there are any."""
        for user_id, version in self._posted_at.get(reference, ()):
            told = f"the entry of {reference}"
            self.timelines.wrote(_of_user(user_id), call, told, version)

    def _saw_document(self, call: Call, seen: SawDocument) -> None:
        document = seen.document
        life = self._lives.get(document, UNKNOWN_DOCUMENT)
        told = f"{document} {seen.status or 'not found'}"
        told += f", {seen.refunded} refunded" if seen.refunded else ""
        told += " or later" if seen.or_later else ""
        versions = life.versions(seen.status, seen.refunded)
        if not versions:
            final = self._stored.statuses.get(document)
            self._add_problem("never was", call, f"{told}; it is {final}")
            return
        lowest, highest = versions[0], versions[-1]
        if seen.or_later:
            highest = len(life.states) - 1
        self.timelines.saw(document, call, told, range(lowest, highest + 1))
        for user_id, fits in self._accounts_at(life, lowest, highest).items():
            self.timelines.saw(_of_user(user_id), call, told, fits)

    def _accounts_at(self, life: Life, lowest: int, highest: int) -> dict[int, range]:
        """Return the versions of accounts, by user, that go with some of a document."""
        fits: dict[int, range] = {}
        for at, references in enumerate(life.references):
            for reference in references:
                for user_id, version in self._posted_at.get(reference, ()):
                    all_of_them = range(len(self._accounts[user_id].ends))
                    known = fits.get(user_id, all_of_them)
                    if at <= lowest:
                        fits[user_id] = range(max(known.start, version), known.stop)
                    elif at > highest:
                        fits[user_id] = range(known.start, min(known.stop, version))
        return fits

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

    def _saw_balance_at(self, call: Call, seen: SawBalanceAt) -> None:
        """Note the balance before a time: that of a version, until there is an entry after it."""
        account = self._accounts.get(seen.user_id, UNKNOWN_ACCOUNT)
        told = f"balance {seen.balance} at {seen.at.isoformat()}"
        count = account.count_before(seen.at)
        versions = [
            version
            for version in account.balances.get(seen.balance, [])
            if account.ends[version] < count
        ]
        onwards = None
        if account.balance_after(count) == seen.balance:
            onwards = bisect_left(account.ends, count)
        if versions or onwards is not None:
            self.timelines.saw(_of_user(seen.user_id), call, told, versions, onwards)
        else:
            self._add_problem("never was", call, told)

    def _saw_ledger(self, call: Call, seen: SawLedger) -> None:
        page = seen.page
        account = self._accounts.get(seen.user_id, UNKNOWN_ACCOUNT)
        count = account.count_up_to(page[0].id) if page else 0
        told = f"the ledger up to entry {page[0].id if page else 'none'}"
        if page and not count:
            self._add_problem("never was", call, told)
        elif tuple(reversed(account.entries[max(0, count - seen.limit) : count])) != page:
            self._add_problem("fractured", call, f"{told}, with other entries before it")
        else:
            self._saw_up_to(call, seen.user_id, account, count, told)

    def _saw_statement(self, call: Call, seen: SawStatement) -> None:
        entries = seen.entries
        account = self._accounts.get(seen.user_id, UNKNOWN_ACCOUNT)
        told = (
            f"the statement from {seen.since.isoformat()} up to entry "
            f"{entries[-1].id if entries else 'none'}, {seen.opening} to {seen.closing}"
        )
        if seen.opening + sum(entry.amount for entry in entries) != seen.closing:
            self._add_problem("fractured", call, f"{told}, which does not add up")
            return
        first = account.count_before(seen.since)
        if not entries:  # none of this time had been committed
            versions = [
                version
                for version in account.balances.get(seen.opening, [])
                if account.ends[version] <= first
            ]
            if versions:
                self.timelines.saw(_of_user(seen.user_id), call, told, versions)
            else:
                self._add_problem("never was", call, told)
            return
        count = account.count_up_to(entries[-1].id)
        if not count:
            self._add_problem("never was", call, told)
        elif tuple(account.entries[first:count]) != entries:
            self._add_problem("fractured", call, f"{told}, with other entries in it")
        elif account.balance_after(first) != seen.opening:
            self._add_problem("fractured", call, f"{told}, with another balance before it")
        else:
            self._saw_up_to(call, seen.user_id, account, count, told)

    def _saw_up_to(self, call: Call, user_id: int, account: Account, count: int, told: str) -> None:
        """Note a read of the account as it was after so many entries."""
        version = account.version_with(count)
        if version is None:
            self._add_problem("fractured", call, f"{told}, in the middle of a transaction")
        else:
            self.timelines.saw(_of_user(user_id), call, told, (version,))

    def _add_problem(self, kind: str, call: Call, told: str) -> None:
        self.problems.append(f"{kind}: {call}: {told}")


def _of_user(user_id: int) -> str:
    return f"user {user_id}"
