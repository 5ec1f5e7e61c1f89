"""Paying invoices."""

from datetime import UTC, datetime

import pytest

from rowlock.accounts.rules import BALANCE_LIMIT, Account
from rowlock.errors import Rejection
from rowlock.invoices.rules import Invoice, PayInvoice, Payment, decide_payment

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def invoice(number: int, amount: int, status: str = "pending") -> Invoice:
    return Invoice(number, 7, amount, "Work", status, NOW, NOW if status == "paid" else None)


@pytest.mark.parametrize(
    ("balance", "amount"),
    [(0, 1), (500_00, 113_50), (0, BALANCE_LIMIT), (BALANCE_LIMIT - 1, 1)],
)
def test_decide_payment__pending__paid_and_credited(balance: int, amount: int) -> None:
    pending, account = invoice(1, amount), Account(7, "ada", balance)
    outcome = decide_payment(PayInvoice(1), {1: pending}, {7: account})
    assert outcome == Payment(pending, balance + amount)
    assert (pending.status, account.balance) == ("paid", balance + amount)


@pytest.mark.parametrize(
    ("number", "status", "balance", "code"),
    [
        (2, "pending", 0, "invoice_not_found"),
        (1, "paid", 0, "invoice_already_paid"),
        (1, "pending", BALANCE_LIMIT, "balance_limit_exceeded"),
        (1, "pending", BALANCE_LIMIT - 99, "balance_limit_exceeded"),
        (1, "paid", BALANCE_LIMIT, "invoice_already_paid"),
    ],
)
def test_decide_payment__against_the_rules__says_which_and_changes_nothing(
    number: int, status: str, balance: int, code: str
) -> None:
    known, account = invoice(1, 100, status), Account(7, "ada", balance)
    outcome = decide_payment(PayInvoice(number), {1: known}, {7: account})
    assert isinstance(outcome, Rejection)
    assert outcome.code == code
    assert (known, account.balance) == (invoice(1, 100, status), balance)


def test_decide_payment__one_after_the_other__each_sees_what_the_others_left() -> None:
    invoices = {1: invoice(1, 60), 2: invoice(2, 60), 3: invoice(3, 40)}
    accounts = {7: Account(7, "ada", BALANCE_LIMIT - 100)}
    outcomes = [decide_payment(PayInvoice(number), invoices, accounts) for number in (1, 1, 2, 3)]
    assert [getattr(outcome, "code", "paid") for outcome in outcomes] == [
        "paid",
        "invoice_already_paid",
        "balance_limit_exceeded",
        "paid",
    ]
    assert accounts[7].balance == BALANCE_LIMIT
