"""What an account may do."""

import pytest

from rowlock.accounts.rules import BALANCE_LIMIT, Account

REFUSED = {"debit": "insufficient_balance", "credit": "balance_limit_exceeded"}


def test_limit__largest_number_that_every_json_client_reads_exactly() -> None:
    assert BALANCE_LIMIT == 9_007_199_254_740_991


@pytest.mark.parametrize(
    ("change", "balance", "amount", "after"),
    [
        ("debit", 100, 0, 100),
        ("debit", 100, 1, 99),
        ("debit", 100, 100, 0),
        ("debit", 0, 0, 0),
        ("debit", BALANCE_LIMIT, BALANCE_LIMIT, 0),
        ("credit", 0, 1, 1),
        ("credit", 100, 0, 100),
        ("credit", BALANCE_LIMIT - 1, 1, BALANCE_LIMIT),
        ("credit", 0, BALANCE_LIMIT, BALANCE_LIMIT),
        ("credit", BALANCE_LIMIT, 0, BALANCE_LIMIT),
    ],
)
def test_account__possible_change__made(change: str, balance: int, amount: int, after: int) -> None:
    account = Account(1, "ada", balance)
    assert getattr(account, change)(amount) is None
    assert account.balance == after


@pytest.mark.parametrize(
    ("change", "balance", "amount"),
    [
        ("debit", 0, 1),
        ("debit", 100, 101),
        ("debit", BALANCE_LIMIT - 1, BALANCE_LIMIT),
        ("credit", BALANCE_LIMIT, 1),
        ("credit", 1, BALANCE_LIMIT),
        ("credit", BALANCE_LIMIT, BALANCE_LIMIT),
    ],
)
def test_account__impossible_change__returned_as_refusal_and_not_made(
    change: str, balance: int, amount: int
) -> None:
    account = Account(1, "ada", balance)
    refusal = getattr(account, change)(amount)
    assert refusal.code == REFUSED[change]
    assert refusal.details == {"balance": balance, "amount": amount}
    assert account.balance == balance
