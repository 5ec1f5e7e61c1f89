"""Issuing, paying, voiding and reversing invoices."""

from datetime import UTC, datetime

import pytest

from rowlock.accounts.references import References
from rowlock.accounts.rules import BALANCE_LIMIT, Account
from rowlock.invoices.rules import (
    CreateInvoice,
    Invoice,
    PayInvoice,
    Payment,
    Reversal,
    ReverseInvoice,
    Voiding,
    VoidInvoice,
    decide_issue,
    decide_payment,
    decide_reversal,
    decide_voiding,
)
from rowlock.rejections import Rejection

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def invoice(number: int, amount: int, status: str = "pending") -> Invoice:
    return Invoice(number, 7, amount, "Work", status, NOW, NOW if status == "paid" else None)


def codes(outcomes: list[object]) -> list[str]:
    """What each outcome is, or the code of a rejection."""
    return [getattr(outcome, "code", type(outcome).__name__) for outcome in outcomes]


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
        (1, "reversed", 0, "invoice_already_paid"),
        (1, "void", 0, "invoice_not_pending"),
        (1, "void", BALANCE_LIMIT, "invoice_not_pending"),
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
    assert codes([*outcomes]) == [
        "Payment",
        "invoice_already_paid",
        "balance_limit_exceeded",
        "Payment",
    ]
    assert accounts[7].balance == BALANCE_LIMIT


def test_decide_issue__references__each_is_given_once_and_only_to_what_is_issued() -> None:
    references = References(["taken"])
    commands = [
        CreateInvoice(7, 1, "Work", reference=None),
        CreateInvoice(7, 1, "Work", reference="taken"),
        CreateInvoice(8, 1, "Work", reference="mine"),
        CreateInvoice(7, 1, "Work", reference="mine"),
        CreateInvoice(7, 1, "Work", reference="mine"),
        CreateInvoice(7, 1, "Work", reference=None),
    ]
    assert codes([decide_issue(command, {7}, references) for command in commands]) == [
        "CreateInvoice",
        "reference_taken",
        "user_not_found",
        "CreateInvoice",
        "reference_taken",
        "CreateInvoice",
    ]


def test_decide_voiding__pending__void() -> None:
    pending = invoice(1, 100)
    assert decide_voiding(VoidInvoice(1), {1: pending}) == Voiding(pending)
    assert pending.status == "void"


@pytest.mark.parametrize(
    ("number", "status", "code"),
    [
        (2, "pending", "invoice_not_found"),
        (1, "paid", "invoice_not_pending"),
        (1, "void", "invoice_not_pending"),
        (1, "reversed", "invoice_not_pending"),
    ],
)
def test_decide_voiding__against_the_rules__says_which_and_changes_nothing(
    number: int, status: str, code: str
) -> None:
    known = invoice(1, 100, status)
    outcome = decide_voiding(VoidInvoice(number), {1: known})
    assert isinstance(outcome, Rejection)
    assert outcome.code == code
    assert known == invoice(1, 100, status)
    if number == 1:
        assert outcome.details == {"invoice_id": 1, "status": status}


@pytest.mark.parametrize(("balance", "amount"), [(1, 1), (500_00, 113_50)])
def test_decide_reversal__paid__reversed_and_debited(balance: int, amount: int) -> None:
    paid, account = invoice(1, amount, "paid"), Account(7, "ada", balance)
    outcome = decide_reversal(ReverseInvoice(1), {1: paid}, {7: account})
    assert outcome == Reversal(paid, balance - amount)
    assert (paid.status, account.balance) == ("reversed", balance - amount)


@pytest.mark.parametrize(
    ("number", "status", "balance", "code"),
    [
        (2, "paid", 100, "invoice_not_found"),
        (1, "pending", 100, "invoice_not_paid"),
        (1, "void", 100, "invoice_not_paid"),
        (1, "reversed", 100, "invoice_not_paid"),
        (1, "paid", 99, "insufficient_balance"),
        (1, "paid", 0, "insufficient_balance"),
    ],
)
def test_decide_reversal__against_the_rules__says_which_and_changes_nothing(
    number: int, status: str, balance: int, code: str
) -> None:
    known, account = invoice(1, 100, status), Account(7, "ada", balance)
    outcome = decide_reversal(ReverseInvoice(number), {1: known}, {7: account})
    assert isinstance(outcome, Rejection)
    assert outcome.code == code
    assert (known, account.balance) == (invoice(1, 100, status), balance)


def test_decide_reversal__one_after_the_other__each_sees_what_the_others_left() -> None:
    invoices = {number: invoice(number, 60, "paid") for number in (1, 2, 3)}
    accounts = {7: Account(7, "ada", 130)}
    outcomes = [
        decide_reversal(ReverseInvoice(number), invoices, accounts) for number in (1, 1, 2, 3)
    ]
    assert codes([*outcomes]) == [
        "Reversal",
        "invoice_not_paid",
        "Reversal",
        "insufficient_balance",
    ]
    assert accounts[7].balance == 10
