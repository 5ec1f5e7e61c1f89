"""Making transfers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowlock.accounts.references import References
from rowlock.accounts.rules import BALANCE_LIMIT, Account
from rowlock.rejections import Rejection
from rowlock.transfers.rules import MakeTransfer, Movement, decide

ADA, GRACE, ALAN = 7, 8, 9


def accounts(ada: int, grace: int = 0, alan: int = 0) -> dict[int, Account]:
    balances = {ADA: ada, GRACE: grace, ALAN: alan}
    return {id_: Account(id_, f"user-{id_}", balance) for id_, balance in balances.items()}


def balances(state: dict[int, Account]) -> list[int]:
    return [account.balance for account in state.values()]


@pytest.mark.parametrize(
    ("ada", "grace", "amount"),
    [(1, 0, 1), (500, 7, 499), (BALANCE_LIMIT, 0, BALANCE_LIMIT), (1, BALANCE_LIMIT - 1, 1)],
)
def test_decide__covered__moved(ada: int, grace: int, amount: int) -> None:
    state = accounts(ada, grace)
    command = MakeTransfer(ADA, GRACE, amount, "Lunch")
    assert decide(command, state, References()) == Movement(command, ada - amount, grace + amount)
    assert balances(state) == [ada - amount, grace + amount, 0]


@pytest.mark.parametrize(
    ("source", "target", "ada", "grace", "reference", "code", "details"),
    [
        (5, GRACE, 100, 0, None, "user_not_found", {"user_id": 5}),
        (ADA, 6, 100, 0, None, "user_not_found", {"user_id": 6}),
        (5, 6, 100, 0, None, "user_not_found", {"user_id": 5}),
        (ADA, GRACE, 99, 0, None, "insufficient_balance", {"balance": 99, "amount": 100}),
        (
            ADA,
            GRACE,
            100,
            BALANCE_LIMIT - 99,
            None,
            "balance_limit_exceeded",
            {"balance": BALANCE_LIMIT - 99, "amount": 100},
        ),
        (ADA, GRACE, 100, 0, "taken", "reference_taken", {"reference": "taken"}),
        (ADA, 6, 0, 0, "taken", "user_not_found", {"user_id": 6}),
        (ADA, GRACE, 0, 0, "taken", "reference_taken", {"reference": "taken"}),
    ],
)
def test_decide__against_the_rules__says_which_and_changes_nothing(
    source: int,
    target: int,
    ada: int,
    grace: int,
    reference: str | None,
    code: str,
    details: dict[str, object],
) -> None:
    state = accounts(ada, grace)
    command = MakeTransfer(source, target, 100, "Lunch", reference=reference)
    outcome = decide(command, state, References(["taken"]))
    assert isinstance(outcome, Rejection)
    assert (outcome.code, outcome.details) == (code, details)
    assert balances(state) == [ada, grace, 0]


def test_decide__one_after_the_other__each_sees_what_the_others_left() -> None:
    state, references = accounts(100), References()

    def make(source: int, target: int, amount: int, reference: str | None = None) -> object:
        outcome = decide(
            MakeTransfer(source, target, amount, "Lunch", reference=reference), state, references
        )
        return outcome.code if isinstance(outcome, Rejection) else outcome[1:]

    assert make(GRACE, ALAN, 100) == "insufficient_balance"
    assert make(ADA, GRACE, 101, "a") == "insufficient_balance"  # and takes no reference
    assert make(ADA, GRACE, 100, "a") == (0, 100)
    assert make(GRACE, ALAN, 60, "a") == "reference_taken"
    assert make(GRACE, ALAN, 60, "b") == (40, 60)  # with the money of ada
    assert make(GRACE, ALAN, 60) == "insufficient_balance"
    assert make(ALAN, ADA, 60) == (0, 60)


@given(
    st.tuples(*[st.integers(0, BALANCE_LIMIT)] * 3),
    st.lists(
        st.tuples(st.permutations([ADA, GRACE, ALAN]), st.integers(1, BALANCE_LIMIT)), max_size=20
    ),
)
def test_decide__any_transfers__money_is_only_moved(
    start: tuple[int, int, int], wanted: list[tuple[list[int], int]]
) -> None:
    state = accounts(*start)
    for (source, target, _), amount in wanted:
        before = balances(state)
        outcome = decide(MakeTransfer(source, target, amount, "x"), state, References())
        assert all(0 <= balance <= BALANCE_LIMIT for balance in balances(state))
        assert isinstance(outcome, Rejection) == (balances(state) == before)
    assert sum(balances(state)) == sum(start)
