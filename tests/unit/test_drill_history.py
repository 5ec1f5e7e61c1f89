"""The drill's history checker: true histories pass, planted violations are found."""

import itertools
import random
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowlock.ops.drill.history import Posted, Step, Stored, check, sweep
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
            steps.append(Step(call(began, ended), "a read", sorted(seen)))
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
