"""What can be ordered, and which orders are approved."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rowlock.accounts.references import References
from rowlock.accounts.rules import Account
from rowlock.orders.rules import (
    Cancellation,
    CancelOrder,
    CreateOrder,
    Filter,
    Item,
    Order,
    PendingOrder,
    Retry,
    RetryOrder,
    Settlement,
    decide_cancellation,
    decide_creation,
    decide_hurry,
    decide_retry,
    decide_settlement,
)
from rowlock.origin import SYSTEM, Origin
from rowlock.rejections import (
    OrderNotFound,
    OrderNotPending,
    OrderTotalTooLarge,
    ProductsNotFound,
    ReferenceTaken,
    Rejection,
    UnknownUser,
)

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
    assert decide_creation(order(user_id, items), PRICES, USERS, References()) == total


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
    outcome = decide_creation(order(user_id, items), PRICES, USERS, References())
    assert type(outcome) is refusal
    assert isinstance(outcome, Rejection)
    assert outcome.details == details


def test_creation__references__each_named_once_and_only_by_orders_that_are_made() -> None:
    references = References(["old"])
    commands = [
        order(7, [(1, 1)])._replace(reference=reference)
        for reference in ("old", "new", "new", None, None)
    ]
    refused = order(5, [(1, 1)])._replace(reference="other")
    made = order(7, [(1, 1)])._replace(reference="other")
    outcomes = [
        decide_creation(command, PRICES, USERS, references)
        for command in (*commands, refused, made)
    ]
    assert [type(outcome) for outcome in outcomes] == [
        *(ReferenceTaken, int, ReferenceTaken, int, int),
        *(UnknownUser, int),
    ]


def stored(status: str = "pending", **more: Any) -> Order:
    return Order(3, status, 250, [], 7, NOW, **more)


def test_cancellation__pending__cancelled_once() -> None:
    orders = {3: stored()}
    origin = Origin("r-1", "token")
    cancelled = decide_cancellation(CancelOrder(3, origin), orders)
    assert cancelled == Cancellation(orders[3], origin)
    assert orders[3].status == "cancelled"
    again = decide_cancellation(CancelOrder(3, origin), orders)
    assert isinstance(again, OrderNotPending)
    assert again.details == {"order_id": 3, "status": "cancelled"}


@pytest.mark.parametrize("status", ["approved", "refused", "cancelled"])
def test_cancellation__settled__refused_and_nothing_changed(status: str) -> None:
    orders = {3: stored(status)}
    outcome = decide_cancellation(CancelOrder(3), orders)
    assert isinstance(outcome, OrderNotPending)
    assert outcome.details == {"order_id": 3, "status": status}
    assert orders == {3: stored(status)}


def test_hurry__pending__allowed_again_and_again() -> None:
    orders = {3: stored()}
    for origin in (Origin("r-1", "token"), Origin("r-2", "token")):
        assert decide_hurry(RetryOrder(3, origin), orders) == Retry(stored(), origin)


@pytest.mark.parametrize("status", ["approved", "refused", "cancelled"])
def test_hurry__settled_or_unknown__refused(status: str) -> None:
    outcome = decide_hurry(RetryOrder(3), {3: stored(status)})
    assert isinstance(outcome, OrderNotPending)
    assert outcome.details == {"order_id": 3, "status": status}
    assert isinstance(decide_hurry(RetryOrder(4), {3: stored()}), OrderNotFound)


def test_cancellation__unknown__not_found() -> None:
    assert isinstance(decide_cancellation(CancelOrder(4), {3: stored()}), OrderNotFound)


ALL = Filter(user_id=None, status=None, reference=None, since=NOW, until=NOW + timedelta(1))


@pytest.mark.parametrize(
    ("wanted", "takes"),
    [
        (ALL, True),
        (replace(ALL, user_id=7, status="pending", reference="mine"), True),
        (replace(ALL, user_id=8), False),
        (replace(ALL, status="cancelled"), False),
        (replace(ALL, reference="Mine"), False),
        (replace(ALL, since=NOW + timedelta.resolution), False),
        (replace(ALL, until=NOW), False),
        (replace(ALL, until=NOW + timedelta.resolution), True),
    ],
)
def test_filter__each_condition__counts(wanted: Filter, takes: bool) -> None:
    assert wanted.takes(stored(reference="mine")) == takes


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
