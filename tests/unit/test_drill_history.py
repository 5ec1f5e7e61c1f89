"""The drill's history checker: true histories pass, planted violations are found."""

import itertools
import random
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowlock.ops.drill.history import check
from rowlock.ops.drill.journal import (
    Call,
    Effect,
    Entry,
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
from rowlock.ops.drill.sweep import Step, sweep
from rowlock.ops.drill.versions import Posted, Stored, StoredRefund

OPENING = Entry(1, 500, 500, "user:1")
PAID = Entry(2, 50, 550, "invoice:1")
BOUGHT = Entry(3, -100, 450, "order:1")
BACK = Entry(4, 50, 500, "invoice:2")
TOGETHER = Entry(5, 50, 550, "invoice:3")
STORED = Stored(
    ledgers={
        1: [
            Posted(OPENING, "a"),
            Posted(PAID, "b"),
            Posted(BOUGHT, "c"),
            Posted(BACK, "d"),
            Posted(TOGETHER, "e"),
            Posted(Entry(6, 50, 600, "invoice:4"), "e"),
            Posted(Entry(7, -300, 300, "order:2"), "f"),
        ]
    },
    entries_before={},
    statuses={
        **{f"invoice:{number}": "paid" for number in (1, 2, 3, 4)},
        "invoice:5": "pending",
        "order:1": "approved",
        "order:2": "approved",
        "order:3": "refused",
    },
    usernames={"ada": 1},
)


def call(invoked: float, responded: float) -> Call:
    return Call("a request", invoked, responded)


HISTORY: list[Operation] = [
    (call(0, 1), Opened("ada")),
    (call(0, 1), Wrote("invoice:1", "pending")),
    (call(1, 2), SawBalance(1, 500)),
    (call(2, 3), SawDocument("invoice:1", "pending")),
    (call(10, 12), Wrote("invoice:1", "paid")),
    (call(11, 12), SawBalance(1, 550)),
    (call(11, 12), SawBalance(1, 500)),
    (call(20, 22), Wrote("order:1", "approved", frozenset({"gym"}))),
    (call(21, 23), SawShopper("ada", 550, frozenset())),
    (call(23, 24), SawShopper("ada", 450, frozenset({"gym"}))),
    (call(30, 32), Wrote("invoice:2", "paid")),
    (call(33, 34), SawLedger(1, (BACK, BOUGHT), 2)),
    (call(40, 42), Wrote("invoice:3", "paid")),
    (call(40, 42), Wrote("invoice:4", "paid")),
    (call(42, 43), SawBalance(1, 600)),
    (call(50, 51), Wrote("order:2", "pending")),
    (call(50, 51), Wrote("order:3", "pending")),
    (call(52, 60), SawDocument("order:2", "pending")),
    (call(53, 54), SawBalance(1, 300)),
    (call(61, 62), SawDocument("order:2", "approved")),
    (call(61, 62), SawDocument("order:3", "pending")),
    (call(63, 64), SawDocument("order:3", "refused")),
]


def test_history__true__nothing_found() -> None:
    assert check(HISTORY, STORED) == []


@pytest.mark.parametrize(
    ("moment", "effect", "kind"),
    [
        # An acknowledged write is not in the answer to a read that began afterwards.
        ((13, 14), SawBalance(1, 500), "stale"),
        ((13, 14), SawDocument("invoice:1", "pending"), "stale"),
        ((2, 3), SawDocument("invoice:1", None), "stale"),
        ((13, 14), SawLedger(1, (OPENING,), 2), "stale"),
        ((13, 14), SawLedger(1, (), 2), "stale"),
        ((24, 25), SawShopper("ada", 550, frozenset()), "stale"),
        # An order that the processor has settled was seen in the balance before.
        ((55, 56), SawDocument("order:2", "pending"), "stale"),
        ((65, 66), SawDocument("order:3", "pending"), "stale"),
        ((61, 62), SawBalance(1, 600), "stale"),
        # The answer holds what was written later.
        ((8, 9), SawBalance(1, 550), "future"),
        ((8, 9), SawDocument("invoice:1", "paid"), "future"),
        ((18, 19), SawLedger(1, (BOUGHT, PAID), 2), "future"),
        ((44, 45), SawBalance(1, 300), "future"),
        ((44, 45), SawDocument("order:2", "pending"), "future"),
        ((44, 45), SawDocument("order:3", "refused"), "future"),
        # Half of what commits together.
        ((40, 42), SawLedger(1, (TOGETHER, BACK), 2), "fractured"),
        ((33, 34), SawLedger(1, (BACK, PAID), 2), "fractured"),
        ((33, 34), SawLedger(1, (BACK,), 2), "fractured"),
        ((33, 34), SawLedger(1, (BACK._replace(balance_after=501), BOUGHT), 2), "fractured"),
        ((23, 24), SawShopper("ada", 450, frozenset()), "fractured"),
        ((21, 22), SawShopper("ada", 550, frozenset({"gym"})), "fractured"),
        # What no write could bring about.
        ((33, 34), SawBalance(1, 499), "never was"),
        ((33, 34), SawBalance(9, 1), "never was"),
        ((33, 34), SawLedger(1, (Entry(99, 1, 501, "invoice:99"),), 1), "never was"),
        ((63, 64), SawDocument("order:3", "approved"), "never was"),
        ((63, 64), SawDocument("invoice:99", "paid"), "never was"),
        # What was acknowledged and is not there.
        ((63, 64), Wrote("invoice:99", "pending"), "lost"),
        ((63, 64), Wrote("invoice:5", "paid"), "lost"),
        ((63, 64), Opened("eve"), "lost"),
    ],
)
def test_history__violation_planted__found(
    moment: tuple[float, float], effect: Effect, kind: str
) -> None:
    problems = check([*HISTORY, (call(*moment), effect)], STORED)
    assert problems
    assert any(f"{kind}: " in problem for problem in problems), problems


def test_history__balance_in_the_middle_of_a_transaction__fractured() -> None:
    stored = STORED._replace(
        ledgers={1: [Posted(OPENING, "a"), Posted(PAID, "b"), Posted(BOUGHT, "b")]}
    )
    [problem] = check([(call(1, 2), SawBalance(1, 550))], stored)
    assert problem.startswith("fractured: a request (1.000 to 2.000 s): balance 550")


def test_history__chain_of_balances_broken__found() -> None:
    broken = [Posted(OPENING, "a"), Posted(PAID._replace(balance_after=551), "b")]
    [problem] = check([], STORED._replace(ledgers={1: broken}))
    assert problem == "broken chain: user 1: entry 2 has balance_after 551 instead of 550"


@pytest.mark.parametrize(
    ("effect", "is_found"), [(SawBalance(1, 500), True), (SawBalance(1, 450), False)]
)
def test_history__state_before_the_first_operation__stale(effect: Effect, is_found: bool) -> None:
    stored = STORED._replace(ledgers={1: STORED.ledgers[1][:3]}, entries_before={1: 3})
    assert bool(check([(call(1, 2), effect)], stored)) == is_found


@pytest.mark.parametrize("write", [Wrote("invoice:1", "paid"), Wrote("invoice:99", "paid")])
def test_history__write_of_unknown_outcome__may_be_there_or_not(write: Wrote) -> None:
    operations: list[Operation] = [(call(10, inf), write), (call(50, 51), SawBalance(1, 500))]
    assert check(operations, STORED) == []
    assert check([*operations, (call(52, 53), SawBalance(1, 550))], STORED) == []


def test_history__write_of_unknown_outcome__not_seen_before_it_began() -> None:
    operations: list[Operation] = [
        (call(10, inf), Wrote("order:2", "pending")),
        (call(1, 2), SawBalance(1, 300)),
    ]
    assert any("future: " in problem for problem in check(operations, STORED))


def test_history__unknown_outcome_beside_an_acknowledged_one__the_latter_counts() -> None:
    again: Operation = (call(70, inf), Wrote("invoice:1", "paid"))
    assert check([*HISTORY, again], STORED) == []


# What comes after the sale: refunds, reversals, transfers, statements.

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def noon(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


SOLD = Entry(2, -300, 200, "order:1")
PART = Entry(3, 100, 300, "refund:1")
REST = Entry(5, 200, 500, "refund:2")
BENEFIT = Entry(6, -50, 450, "order:2")
GIVEN_BACK = Entry(7, 50, 500, "refund:3")
SENT = Entry(8, -40, 460, "transfer:1")
GOT = Entry(9, 40, 40, "transfer:1")
EARNED = Entry(10, 30, 70, "invoice:1")
TAKEN_BACK = Entry(11, -30, 40, "reversal:1")
AFTERWARDS = Stored(
    ledgers={
        1: [
            Posted(OPENING, "a", noon(0)),
            Posted(SOLD, "b", noon(10)),
            Posted(PART, "c", noon(20)),
            Posted(REST, "d", noon(30)),
            Posted(BENEFIT, "e", noon(40)),
            Posted(GIVEN_BACK, "f", noon(50)),
            Posted(SENT, "g", noon(60)),
        ],
        2: [
            Posted(GOT, "g", noon(60)),
            Posted(EARNED, "h", noon(70)),
            Posted(TAKEN_BACK, "i", noon(80)),
        ],
    },
    entries_before={},
    statuses={
        "order:1": "approved",
        "order:2": "approved",
        "order:3": "cancelled",
        "invoice:1": "reversed",
        "invoice:2": "void",
        "transfer:1": "made",
    },
    usernames={"ada": 1},
    refunds={
        1: StoredRefund(1, 100, "c"),
        2: StoredRefund(1, 200, "d"),
        3: StoredRefund(2, 50, "f"),
    },
)
AFTER_THE_SALE: list[Operation] = [
    (call(0, 1), Opened("ada")),
    (call(9, 10), Wrote("order:1", "pending")),
    (call(12, 13), SawDocument("order:1", "approved")),
    (call(15, 16), Wrote("order:3", "pending")),
    (call(17, 18), Wrote("order:3", "cancelled")),
    (call(20, 21), Refunded(1, 1)),
    (call(22, 23), SawDocument("order:1", "approved", 100)),
    (call(22, 23), SawDocument("order:1", "approved", 0, or_later=True)),
    (call(24, 25), SawStatement(1, noon(5), 500, 300, (SOLD, PART))),
    (call(26, 27), SawStatement(1, noon(25), 300, 300, ())),
    (call(26, 27), SawBalanceAt(1, noon(100), 300)),
    (call(26, 27), SawBalanceAt(1, noon(20), 200)),
    (call(30, 31), Refunded(1, 2)),
    (call(32, 33), SawDocument("order:1", "approved", 300)),
    (call(40, 41), Wrote("order:2", "approved", frozenset({"gym"}))),
    (call(42, 43), SawShopper("ada", 450, frozenset({"gym"}))),
    (call(50, 51), Refunded(2, 3)),
    (call(52, 53), SawShopper("ada", 500, frozenset())),
    (call(60, 61), Wrote("transfer:1", "made")),
    (call(62, 63), SawBalance(1, 460)),
    (call(62, 63), SawBalance(2, 40)),
    (call(64, 65), Wrote("invoice:1", "pending")),
    (call(64, 65), Wrote("invoice:2", "pending")),
    (call(66, 67), Wrote("invoice:2", "void")),
    (call(70, 71), Wrote("invoice:1", "paid")),
    (call(72, 73), SawDocument("invoice:1", "paid")),
    (call(80, 81), Wrote("invoice:1", "reversed")),
    (call(82, 83), SawStatement(2, noon(65), 40, 40, (EARNED, TAKEN_BACK))),
    (call(82, 83), SawBalanceAt(1, noon(20), 200)),
]


def test_history__after_the_sale__nothing_found() -> None:
    assert check(AFTER_THE_SALE, AFTERWARDS) == []


@pytest.mark.parametrize(
    ("moment", "effect", "kind"),
    [
        # An acknowledged refund, transfer or reversal is not in the answer.
        ((22, 23), SawDocument("order:1", "approved"), "stale"),
        ((22, 23), SawBalance(1, 200), "stale"),
        ((32, 33), SawDocument("order:1", "approved", 100), "stale"),
        ((62, 63), SawBalance(1, 500), "stale"),
        ((62, 63), SawBalance(2, 0), "stale"),
        ((62, 63), SawDocument("transfer:1", None), "stale"),
        ((82, 83), SawDocument("invoice:1", "paid"), "stale"),
        ((19, 20), SawDocument("order:3", "pending"), "stale"),
        ((68, 69), SawDocument("invoice:2", "pending"), "stale"),
        ((22, 23), SawStatement(1, noon(5), 500, 200, (SOLD,)), "stale"),
        ((22, 23), SawBalanceAt(1, noon(100), 200), "stale"),
        # The answer holds what was committed later.
        ((18, 19), SawDocument("order:1", "approved", 100), "future"),
        ((18, 19), SawBalance(1, 300), "future"),
        ((58, 59), SawDocument("transfer:1", "made"), "future"),
        ((58, 59), SawBalance(2, 40), "future"),
        ((68, 69), SawDocument("invoice:1", "reversed"), "future"),
        ((18, 19), SawStatement(1, noon(5), 500, 300, (SOLD, PART)), "future"),
        ((18, 19), SawBalanceAt(1, noon(25), 300), "future"),
        # A part of what was there.
        ((24, 25), SawStatement(1, noon(5), 500, 600, (PART,)), "fractured"),
        ((24, 25), SawStatement(1, noon(5), 500, 301, (SOLD, PART)), "fractured"),
        ((24, 25), SawStatement(1, noon(5), 499, 299, (SOLD, PART)), "fractured"),
        ((24, 25), SawStatement(1, noon(15), 500, 300, (SOLD, PART)), "fractured"),
        ((52, 53), SawShopper("ada", 500, frozenset({"gym"})), "fractured"),
        # What no write could bring about.
        ((24, 25), SawDocument("order:1", "approved", 200), "never was"),
        ((19, 20), SawDocument("order:3", "approved"), "never was"),
        ((82, 83), SawDocument("invoice:2", "paid"), "never was"),
        ((82, 83), SawBalanceAt(1, noon(20), 201), "never was"),
        ((82, 83), SawStatement(2, noon(100), 41, 41, ()), "never was"),
        # What was acknowledged and is not there.
        ((82, 83), Refunded(1, 4), "lost"),
        ((82, 83), Refunded(2, 1), "lost"),
        ((82, 83), Wrote("order:2", "cancelled"), "lost"),
        ((82, 83), Wrote("transfer:2", "made"), "lost"),
    ],
)
def test_history__violation_planted_after_the_sale__found(
    moment: tuple[float, float], effect: Effect, kind: str
) -> None:
    problems = check([*AFTER_THE_SALE, (call(*moment), effect)], AFTERWARDS)
    assert any(f"{kind}: " in problem for problem in problems), problems


def test_history__time_of_an_entry_before_that_of_the_last__found() -> None:
    ledger = [Posted(OPENING, "a", noon(1)), Posted(PAID, "b", noon(0))]
    [problem] = check([], STORED._replace(ledgers={1: ledger}))
    assert problem == "broken chain: user 1: entry 2 is older than the one before it"


# The checker against the definition: every way to give versions moments, tried one by one.

VERSIONS = 3
MOMENTS = 8


def fits(steps: list[Step]) -> bool:
    """Whether the versions can be committed at some moments so that each step is true.

    A step begins and ends at whole numbers; commits happen then or between them.
    """
    halves = [moment / 2 for moment in range(-1, 2 * MOMENTS + 2)]
    return any(
        all(is_true(step, commits) for step in steps)
        for commits in itertools.combinations_with_replacement(halves, VERSIONS)
    )


def is_true(step: Step, commits: tuple[float, ...]) -> bool:
    """Commits at one moment happen one after the other; a read may be between any two of them."""
    began, ended = step.call.invoked, step.call.responded
    if step.is_write:
        return began <= commits[step.versions[0] - 1] <= ended
    seen_first = sum(commit < began for commit in commits)
    seen_last = sum(commit <= ended for commit in commits)
    if step.onwards is not None and step.onwards <= seen_last:
        return True
    return any(seen_first <= version <= seen_last for version in step.versions)


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    steps = []
    for _ in range(draw(st.integers(1, 6))):
        began = draw(st.integers(0, MOMENTS - 1))
        ended = draw(st.sampled_from([*range(began + 1, MOMENTS + 1), inf]))
        if draw(st.booleans()):
            versions = [draw(st.integers(1, VERSIONS))]
            steps.append(Step(call(began, ended), "a write", versions, is_write=True))
        else:
            seen = draw(st.sets(st.integers(0, VERSIONS), min_size=1))
            onwards = draw(st.none() | st.integers(max(seen), VERSIONS))
            steps.append(Step(call(began, ended), "a read", sorted(seen), onwards=onwards))
    return steps


@given(histories())
def test_sweep__any_steps__finds_something_if_no_order_fits(steps: list[Step]) -> None:
    assert (list(sweep(steps)) == []) == fits(steps)


# Histories that a correct service produces, and what becomes of them.


def simulated(rng: random.Random) -> tuple[list[Operation], Stored]:
    """An account and its invoices, as truthful answers tell of them."""
    ledger: list[Posted] = []
    operations: list[Operation] = []
    balance, now = 0, 0.0
    for number in range(1, rng.randint(3, 12)):
        transaction = str(now := now + 10)
        for invoice in range(rng.randint(1, 3)):
            amount = rng.randint(1, 3)
            balance += amount
            reference = f"invoice:{number * 10 + invoice}"
            entry = Entry(len(ledger) + 1, amount, balance, reference)
            ledger.append(Posted(entry, transaction))
            span = call(now - rng.uniform(1, 30), now + rng.uniform(1, 30))
            operations.append((span, Wrote(reference, "paid")))
        for _ in range(rng.randint(0, 4)):
            at = now + rng.uniform(1, 9)
            span = call(at - rng.uniform(0, 30), at + rng.uniform(0, 30))
            entries = tuple(posted.entry for posted in reversed(ledger[-3:]))
            document = rng.choice(ledger).entry.reference
            effects: list[Effect] = [
                SawBalance(1, balance),
                SawLedger(1, entries, 3),
                SawDocument(document, "paid"),
            ]
            operations.append((span, rng.choice(effects)))
    rng.shuffle(operations)
    statuses = {posted.entry.reference: "paid" for posted in ledger}
    return operations, Stored({1: ledger}, {}, statuses, {})


@given(st.randoms(use_true_random=False))
def test_history__truthful_answers__nothing_found(rng: random.Random) -> None:
    assert check(*simulated(rng)) == []


def earlier(rng: random.Random, ledger: Any, last: Call) -> Operation:
    count = rng.randrange(len(ledger))
    page = tuple(posted.entry for posted in reversed(ledger[:count]))
    return call(last.responded + 1, last.responded + 2), SawLedger(1, page, len(ledger))


def later(rng: random.Random, ledger: Any, last: Call) -> Operation:
    count = rng.randint(1, len(ledger))
    page = tuple(posted.entry for posted in reversed(ledger[:count]))
    return call(-100, -99), SawLedger(1, page, len(ledger))


def gap(rng: random.Random, ledger: Any, last: Call) -> Operation:
    entries = [posted.entry for posted in reversed(ledger)]
    del entries[rng.randrange(1, len(entries))]
    return call(0, last.responded), SawLedger(1, tuple(entries), len(ledger))


@pytest.mark.parametrize("plant", [earlier, later, gap])
@given(rng=st.randoms(use_true_random=False))
def test_history__one_false_answer_among_truthful_ones__found(
    plant: Any, rng: random.Random
) -> None:
    operations, stored = simulated(rng)
    last = max((each for each, _ in operations), key=lambda each: each.responded)
    operations.append(plant(rng, stored.ledgers[1], last))
    assert check(operations, stored)
