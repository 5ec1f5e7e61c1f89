"""How much of an order can be refunded."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowlock.accounts.references import References
from rowlock.accounts.rules import BALANCE_LIMIT, Account
from rowlock.refunds.rules import Payback, RefundableOrder, RefundOrder, decide
from rowlock.rejections import (
    BalanceLimitExceeded,
    OrderNotFound,
    OrderNotRefundable,
    ReferenceTaken,
    RefundExceedsOrder,
    Rejection,
)

ADA = 7


def order(**changes: Any) -> RefundableOrder:
    given: dict[str, Any] = {
        "user_id": ADA,
        "status": "approved",
        "amount": 1000,
        "refunded": 0,
        "is_benefit": False,
    }
    return RefundableOrder(3, **given | changes)


def refund(
    state: RefundableOrder, *amounts: int | None, balance: int = 0
) -> list[Payback | Rejection]:
    accounts = {ADA: Account(ADA, "ada", balance)}
    references = References()
    commands = [RefundOrder(3, amount) for amount in amounts]
    return [decide(command, {3: state}, accounts, references) for command in commands]


@pytest.mark.parametrize(
    ("changes", "amounts", "refunded"),
    [
        ({}, [None], [1000]),
        ({}, [1], [1]),
        ({}, [1000], [1000]),
        ({}, [400, None], [400, 600]),
        ({}, [100] * 10, [100] * 10),
        ({"refunded": 999}, [None], [1]),
        ({"is_benefit": True}, [None], [1000]),
        ({"is_benefit": True}, [1000], [1000]),
        ({"is_benefit": True, "amount": 0}, [None], [0]),
    ],
)
def test_refund__up_to_what_is_left__made(
    changes: dict[str, Any], amounts: list[int | None], refunded: list[int]
) -> None:
    state = order(**changes)
    before, balance = state.refunded, 50
    for outcome, amount in zip(refund(state, *amounts, balance=50), refunded, strict=True):
        before, balance = before + amount, balance + amount
        assert isinstance(outcome, Payback)
        assert (outcome.amount, outcome.refunded) == (amount, before)
        assert (outcome.user_id, outcome.balance_after) == (ADA, balance)


@pytest.mark.parametrize("amount", [None, 1, 1000])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "pending"}, "Order 3 is pending: only approved orders are refunded."),
        ({"status": "refused"}, "Order 3 is refused: only approved orders are refunded."),
        ({"status": "cancelled"}, "Order 3 is cancelled: only approved orders are refunded."),
        ({"user_id": None}, "Order 3 has no user, so nothing was paid for it."),
        ({"amount": 0}, "Order 3 has cost nothing."),
        ({"refunded": 1000}, "Order 3 has been refunded already."),
        ({"refunded": 1000, "is_benefit": True}, "Order 3 has been refunded already."),
        (
            {"amount": 0, "is_benefit": True, "is_given_back": True},
            "Order 3 has been refunded already.",
        ),
    ],
)
def test_refund__nothing_to_refund__refused_with_the_reason(
    changes: dict[str, Any], said: str, amount: int | None
) -> None:
    state = order(**changes)
    [outcome] = refund(state, amount)
    assert isinstance(outcome, OrderNotRefundable)
    assert outcome.message == said
    assert outcome.details == {"order_id": 3, "status": state.status}
    assert state == order(**changes)


@pytest.mark.parametrize(
    ("changes", "amount", "left"),
    [
        ({}, 1001, 1000),
        ({"refunded": 600}, 401, 400),
        ({"is_benefit": True}, 1001, 1000),
        ({"is_benefit": True, "amount": 0}, 1, 0),
    ],
)
def test_refund__more_than_is_left__refused_with_what_is_left(
    changes: dict[str, Any], amount: int, left: int
) -> None:
    state = order(**changes)
    [outcome] = refund(state, amount)
    assert isinstance(outcome, RefundExceedsOrder)
    assert outcome.details == {"order_id": 3, "amount": amount, "left": left}
    assert state == order(**changes)


def test_refund__part_of_a_benefit_order__refused() -> None:
    state = order(is_benefit=True)
    [outcome] = refund(state, 999)
    assert isinstance(outcome, OrderNotRefundable)
    assert outcome.message == "Order 3 is a benefit order, which is refunded whole."
    assert state == order(is_benefit=True)


@pytest.mark.parametrize("amount", [0, 500])
def test_refund__benefit_order_twice__once(amount: int) -> None:
    first, second = refund(order(is_benefit=True, amount=amount), None, None)
    assert isinstance(first, Payback)
    assert isinstance(second, OrderNotRefundable)


def test_refund__balance_over_the_limit__refused_and_nothing_changed() -> None:
    state = order()
    too_much, just_right = refund(state, 1000, 999, balance=BALANCE_LIMIT - 999)
    assert isinstance(too_much, BalanceLimitExceeded)
    assert isinstance(just_right, Payback)
    assert just_right.balance_after == BALANCE_LIMIT
    assert state.left == 1


def test_refund__unknown_order__not_found() -> None:
    outcome = decide(RefundOrder(4, None), {3: order()}, {}, References())
    assert isinstance(outcome, OrderNotFound)


def test_refund__references__each_names_a_refund_that_is_made() -> None:
    state, accounts, references = order(), {ADA: Account(ADA, "ada", 0)}, References(["old"])
    outcomes = [
        decide(RefundOrder(3, amount, reference=reference), {3: state}, accounts, references)
        for amount, reference in [(1, "old"), (2000, "a"), (1, "a"), (1, "a"), (1, None), (1, None)]
    ]
    assert [type(outcome) for outcome in outcomes] == [
        *(ReferenceTaken, RefundExceedsOrder, Payback, ReferenceTaken, Payback, Payback)
    ]
    assert state.refunded == accounts[ADA].balance == 3


@given(
    amount=st.integers(0, 1000),
    is_benefit=st.booleans(),
    wanted=st.lists(st.none() | st.integers(1, 1200), max_size=12),
)
def test_refund__any_amounts_in_turn__never_more_than_was_paid(
    amount: int, is_benefit: bool, wanted: list[int | None]
) -> None:
    state = order(amount=amount, is_benefit=is_benefit)
    outcomes = refund(state, *wanted)
    paid = [outcome.amount for outcome in outcomes if isinstance(outcome, Payback)]
    assert sum(paid) == state.refunded <= amount
    assert not is_benefit or paid in ([], [amount])
    for asked, outcome in zip(wanted, outcomes, strict=True):
        assert not isinstance(outcome, Payback) or outcome.amount == asked or asked is None
