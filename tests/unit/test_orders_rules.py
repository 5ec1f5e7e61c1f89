"""What can be ordered, and which orders are approved."""

from datetime import UTC, datetime, timedelta

import pytest

from rowlock.accounts.rules import Account
from rowlock.errors import OrderTotalTooLarge, ProductsNotFound, Rejection, UnknownUser
from rowlock.orders.rules import (
    CreateOrder,
    Item,
    PendingOrder,
    Settlement,
    decide_creation,
    decide_retry,
    decide_settlement,
)
from rowlock.origin import SYSTEM

NOW = datetime(2026, 11, 21, tzinfo=UTC)
PRICES = {1: 250, 2: 1000, 3: 0, 4: 2**53 - 1}
USERS = {7}


@pytest.mark.parametrize(
    ("user_id", "items", "total"),
    [
        (None, [(1, 1)], 250),
        (7, [(1, 1)], 250),
        (7, [(1, 3), (2, 2)], 2750),
        (7, [(1, 1), (1, 2)], 750),
        (None, [(3, 10_000)], 0),
        (None, [(4, 1)], 2**53 - 1),
    ],
)
def test_creation__known_products_and_user__total(
    user_id: int | None, items: list[tuple[int, int]], total: int
) -> None:
    assert decide_creation(order(user_id, items), PRICES, USERS) == total


@pytest.mark.parametrize(
    ("user_id", "items", "refusal", "details"),
    [
        (None, [(9, 1)], ProductsNotFound, {"products": [9]}),
        (7, [(9, 1), (1, 1), (8, 1), (9, 2)], ProductsNotFound, {"products": [8, 9]}),
        (5, [(1, 1)], UnknownUser, {"user_id": 5}),
        (5, [(9, 1)], ProductsNotFound, {"products": [9]}),
        (None, [(4, 1), (1, 1)], OrderTotalTooLarge, {"limit": 2**53 - 1}),
    ],
)
def test_creation__something_unknown_or_too_much__refused(
    user_id: int | None,
    items: list[tuple[int, int]],
    refusal: type[Rejection],
    details: dict[str, object],
) -> None:
    outcome = decide_creation(order(user_id, items), PRICES, USERS)
    assert type(outcome) is refusal
    assert isinstance(outcome, Rejection)
    assert outcome.details == details


@pytest.mark.parametrize(
    ("balance", "amount", "status", "reason", "balance_after"),
    [
        (1000, 999, "approved", None, 1),
        (1000, 1000, "approved", None, 0),
        (1000, 1001, "refused", "insufficient_balance", None),
        (0, 1, "refused", "insufficient_balance", None),
        (0, 0, "approved", None, 0),
    ],
)
@pytest.mark.parametrize("draw", [0.0, 0.999])
@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_settlement__with_user__balance_decides(
    *,
    balance: int,
    amount: int,
    status: str,
    reason: str | None,
    balance_after: int | None,
    draw: float,
    rate: float,
) -> None:
    pending = PendingOrder(1, 7, amount, 0, SYSTEM, NOW)
    accounts = {7: Account(7, "ada", balance)}
    outcome = decide_settlement(pending, draw, accounts, rate)
    assert outcome == Settlement(pending, status, reason, balance_after)
    assert accounts[7].balance == (balance if balance_after is None else balance_after)


def test_settlement__many_of_one_user__each_leaves_less_for_the_next() -> None:
    accounts = {7: Account(7, "ada", 100)}
    outcomes = [
        decide_settlement(PendingOrder(number, 7, amount, 0, SYSTEM, NOW), 0.0, accounts, 0.0)
        for number, amount in enumerate((60, 50, 40, 1))
    ]
    assert [(outcome.status, outcome.balance_after) for outcome in outcomes] == [
        ("approved", 40),
        ("refused", None),
        ("approved", 0),
        ("refused", None),
    ]


@pytest.mark.parametrize(
    ("rate", "draw", "status"),
    [
        (0.0, 0.0, "refused"),
        (0.0, 0.999, "refused"),
        (1.0, 0.0, "approved"),
        (1.0, 0.999, "approved"),
        (0.5, 0.499, "approved"),
        (0.5, 0.5, "refused"),
    ],
)
def test_settlement__without_user__draw_decides(rate: float, draw: float, status: str) -> None:
    pending = PendingOrder(1, None, 5000, 0, SYSTEM, NOW)
    reason = None if status == "approved" else "not_approved"
    assert decide_settlement(pending, draw, {}, rate) == Settlement(pending, status, reason)


def order(user_id: int | None, items: list[tuple[int, int]]) -> CreateOrder:
    return CreateOrder(user_id, tuple(Item(*item) for item in items))


@pytest.mark.parametrize(
    ("attempts", "limit", "delay_s"),
    [(0, None, 1.0), (1, None, 2.0), (3, 5, 8.0), (4, None, 10.0), (2**31, None, 10.0)],
)
def test_retry__below_the_limit__pause_doubles(
    attempts: int, limit: int | None, delay_s: float
) -> None:
    order = PendingOrder(1, None, 100, attempts, SYSTEM, NOW)
    outcome = decide_retry(order, attempts_limit=limit, retry_s=1.0, retry_limit_s=10.0)
    assert outcome == timedelta(seconds=delay_s)


@pytest.mark.parametrize("attempts", [4, 5])
def test_retry__at_the_limit__refused(attempts: int) -> None:
    order = PendingOrder(1, None, 100, attempts, SYSTEM, NOW)
    outcome = decide_retry(order, attempts_limit=5, retry_s=1.0, retry_limit_s=10.0)
    assert outcome == Settlement(order, "refused", "processing_failed")
