"""The audit after a drill: what was acknowledged against what the databases hold."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise
from typing import TypeVar

from rowlock.engine.database import Database
from rowlock.ops import doctor
from rowlock.ops.doctor import Finding
from rowlock.ops.drill import expected, history
from rowlock.ops.drill.journal import Journal
from rowlock.ops.drill.snapshot import Snapshot
from rowlock.ops.drill.versions import Stored
from rowlock.service_orders.rules import DISTANCE
from rowlock.settings import Settings

Thing = TypeVar("Thing")
DIFFERENCES_SHOWN = 5


def compare(before: Snapshot, after: Snapshot, journal: Journal) -> list[Finding]:
    """Compare what was there before, plus what was acknowledged, with what is there now."""
    return [
        _finding("answers", journal.problems, "each write got one final answer, none was 5xx"),
        *_documents(before, after, journal),
        *_others(before, after, journal),
        _counted(
            "ledger entries", before.entries + expected.entries(after, journal), after.entries
        ),
        _finding(
            "balances",
            expected.balance_problems(before, after, journal),
            f"{len(after.balances)}, each the sum of what was acknowledged",
        ),
        _finding(
            "negative balances",
            (user_id for user_id, balance in after.balances.items() if balance < 0),
            "none",
        ),
        _counted("events", before.events + expected.events(after, journal), after.events),
        _equal(
            "request ids",
            journal.request_ids,
            after.request_ids - before.request_ids - journal.repetitions,
        ),
        _counted(
            "projects given a URL",
            before.assigned | expected.assigned(after, journal),  # once for each project
            after.assigned,
        ),
        _finding(
            "history",
            history.check(journal.operations, _stored(before, after)),
            f"{len(journal.operations)} operations fit one order of commits in real time",
        ),
    ]


async def examine(main: Database, urls: dict[str, str]) -> list[Finding]:
    """Return the findings of `rowlock doctor`: above all, whether the ledgers add up."""
    return [finding async for finding in doctor.examine(main, urls, Settings())]


def _documents(before: Snapshot, after: Snapshot, journal: Journal) -> Iterator[Finding]:
    """Yield whether each document is there, in its status, and moves no more than it may."""
    new_orders = after.orders.keys() - before.orders.keys()
    new_users = after.usernames.keys() - before.usernames.keys()
    yield _equal(
        "users", journal.usernames | {each[0] for each in journal.people.values()}, new_users
    )
    called = {(id_, after.people.get(id_)) for id_ in journal.people}
    yield _equal("names", journal.people.items(), called)
    yield _equal("orders", journal.orders | journal.benefit_orders, new_orders)
    yield _finding("stuck orders", _orders(after, "pending"), "none")
    yield _equal(
        "cancellations",
        journal.cancelled,
        _orders(after, "cancelled") - _orders(before, "cancelled"),
    )
    yield _equal("refunds", journal.refunds, after.refunds.keys() - before.refunds.keys())
    yield _finding("refunded too much", _over_refunded(after), "none")
    yield _equal("invoices", journal.invoices, after.invoices.keys() - before.invoices.keys())
    for check, acknowledged, statuses in (
        ("payments", journal.paid, {"paid", "reversed"}),
        ("void invoices", journal.voided, {"void"}),
        ("reversals", journal.reversed, {"reversed"}),
    ):
        found = _invoices(after, statuses) - _invoices(before, statuses)
        yield _equal(check, acknowledged, found)
    yield _equal("transfers", journal.transfers, after.transfers.keys() - before.transfers.keys())
    yield _finding("transfers' entries", _unbalanced(after), "each adds up to zero")
    yield _finding("entries without a cause", _causeless(after), "none")
    yield _equal("references", journal.references, after.references - before.references)


def _others(before: Snapshot, after: Snapshot, journal: Journal) -> Iterator[Finding]:
    """Yield whether all is there that moves no money."""
    yield _equal(
        "catalogue",
        (before.catalogue | journal.catalogue).items(),
        after.catalogue.items(),
    )
    bookings = {id_ for id_, _, _ in after.bookings} - {id_ for id_, _, _ in before.bookings}
    yield _equal("bookings", journal.bookings - journal.deleted, bookings)
    yield _finding("bookings too close", _too_close(after), "none")
    new = after.deployments.keys() - before.deployments.keys()
    yield _equal("deployments", journal.deployments, new)
    states = {
        (id_, after.deployments[id_][1]) for id_ in journal.deployments & after.deployments.keys()
    }
    yield _equal("deployment states", expected.deployment_states(journal), states)


def _stored(before: Snapshot, after: Snapshot) -> Stored:
    """Return what the clients' history is checked against."""
    return Stored(
        ledgers=after.ledgers,
        entries_before={user_id: len(ledger) for user_id, ledger in before.ledgers.items()},
        statuses=dict(
            chain(
                ((f"order:{id_}", order.status) for id_, order in after.orders.items()),
                ((f"invoice:{id_}", invoice.status) for id_, invoice in after.invoices.items()),
                ((f"transfer:{id_}", "made") for id_ in after.transfers),
            )
        ),
        usernames=after.usernames,
        refunds=after.refunds,
    )


def _orders(snapshot: Snapshot, status: str) -> set[int]:
    return {id_ for id_, order in snapshot.orders.items() if order.status == status}


def _invoices(snapshot: Snapshot, statuses: set[str]) -> set[int]:
    return {id_ for id_, invoice in snapshot.invoices.items() if invoice.status in statuses}


def _over_refunded(after: Snapshot) -> Iterator[str]:
    """Yield the orders of which more is refunded than was paid, or not what they say."""
    refunded: Counter[int] = Counter()
    for refund in after.refunds.values():
        refunded[refund.order_id] += refund.amount
    for id_, order in after.orders.items():
        paid = order.amount if order.status == "approved" else 0
        if refunded[id_] > paid:
            yield f"order {id_}: {refunded[id_]} of {paid}"
        elif refunded[id_] != order.refunded:
            yield f"order {id_}: {refunded[id_]}, but it says {order.refunded}"


def _unbalanced(after: Snapshot) -> Iterator[str]:
    """Yield the transfers that do not move their amount from one user to the other."""
    legs: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for user_id, ledger in after.ledgers.items():
        for posted in ledger:
            if posted.entry.reference.startswith("transfer:"):
                legs[posted.entry.reference].append((user_id, posted.entry.amount))
    for id_, transfer in after.transfers.items():
        found = sorted(legs.pop(f"transfer:{id_}", []))
        amount = transfer.amount
        if found != sorted([(transfer.from_user_id, -amount), (transfer.to_user_id, amount)]):
            yield f"transfer {id_}: {found}"
    for reference, found in legs.items():
        yield f"{reference}, which there is not: {found}"


def _causeless(after: Snapshot) -> Iterator[str]:
    """Yield the entries of documents that have moved no money: cancelled orders, for example."""
    caused = {
        "order": _orders(after, "approved"),
        "invoice": _invoices(after, {"paid", "reversed"}),
        "reversal": _invoices(after, {"reversed"}),
        "refund": after.refunds.keys(),
    }
    for user_id, ledger in after.ledgers.items():
        for posted in ledger:
            kind, _, number = posted.entry.reference.partition(":")
            if kind in caused and int(number) not in caused[kind]:
                yield f"user {user_id}: {posted.entry.reference}"


def _too_close(after: Snapshot) -> Iterator[str]:
    for (one, at, imported), (other, next_at, next_imported) in pairwise(after.bookings):
        if next_at - at < DISTANCE and not (imported and next_imported):
            yield f"{one} and {other}"


def _equal(check: str, acknowledged: Iterable[object], stored: Iterable[object]) -> Finding:
    return _counted(check, Counter(acknowledged), Counter(stored))


def _counted(check: str, due: Counter[Thing], found: Counter[Thing]) -> Finding:
    differences = [
        f"{thing}: {found[thing]} instead of {due[thing]}"
        for thing in sorted(due.keys() | found.keys(), key=str)
        if found[thing] != due[thing]
    ]
    return _finding(check, differences, f"{found.total()}, each as acknowledged, once")


def _finding(check: str, problems: Iterable[object], note: str) -> Finding:
    listed = list(problems)
    if not listed:
        return Finding(check, None, note)
    shown = ", ".join(str(problem) for problem in listed[:DIFFERENCES_SHOWN])
    more = len(listed) - DIFFERENCES_SHOWN
    return Finding(check, f"{shown} and {more} more" if more > 0 else shown)
