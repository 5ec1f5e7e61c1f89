"""What a slug may be, and what commands make of products and services, as tables."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rowlock.catalogue.rules import (
    SLUG_RULE,
    ChangeProduct,
    ChangeService,
    CreateProduct,
    Product,
    Restore,
    Retire,
    Service,
    Stock,
    decide,
    decide_creation,
    slug_problem,
)
from rowlock.origin import Origin
from rowlock.rejections import ProductNotFound, ServiceNotFound, SlugTaken

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 30, tzinfo=UTC)
NETFLIX = Product(1, "netflix", "Netflix", 7599, LONG_AGO, None)
GONE = Product(2, "gym", "Gym", 49000, None, LONG_AGO)
ORIGIN = Origin("r-1", "token")


def stock() -> Stock[Product]:
    products = {product.id: product for product in (NETFLIX, GONE)}
    return Stock(products, dict.fromkeys(products, NOW), ProductNotFound)


@pytest.mark.parametrize(
    "slug", ["a", "7", "netflix", "gift-card.10_eur", "a--b", "x" * 100, "1.0", "null"]
)
def test_slug__lower_case_ascii__allowed(slug: str) -> None:
    assert slug_problem(slug) is None


@pytest.mark.parametrize(
    "slug",
    [
        *("", "-", "-a", "a-", ".a", "a.", "_a", "x" * 101, "Netflix", "NETFLIX", "a b", "a\n"),
        *("\na", "a/b", "a%20", "caf\u00e9", "n\u0435tflix", "\u212a", "\u0661", "a\u200b", "a\0b"),
    ],
)
def test_slug__anything_else__the_rule(slug: str) -> None:
    assert slug_problem(slug) == SLUG_RULE


@pytest.mark.parametrize(
    ("command", "after"),
    [
        (ChangeProduct(1, name="Net"), replace(NETFLIX, name="Net")),
        (ChangeProduct(1, price=0), replace(NETFLIX, price=0)),
        (ChangeProduct(1, "Net", 5), replace(NETFLIX, name="Net", price=5)),
        (ChangeProduct(1, "Netflix", 7599), NETFLIX),
        (ChangeProduct(2, price=1), replace(GONE, price=1)),
        (Retire(1), replace(NETFLIX, retired_at=NOW)),
        (Retire(2), GONE),
        (Restore(1), NETFLIX),
        (Restore(2), replace(GONE, retired_at=None)),
    ],
)
def test_decide__product__as_it_stands_afterwards(
    command: ChangeProduct | Retire | Restore, after: Product
) -> None:
    state = stock()
    change = decide(command._replace(origin=ORIGIN), state)
    assert change == (stock().items[command.id], after, ORIGIN)
    assert state.items == stock().items | {command.id: after}


@pytest.mark.parametrize("command", [ChangeProduct(3, "x"), Retire(3), Restore(3)])
def test_decide__unknown_product__refused_and_nothing_changed(
    command: ChangeProduct | Retire | Restore,
) -> None:
    state = stock()
    refusal = decide(command, state)
    assert isinstance(refusal, ProductNotFound)
    assert refusal.details == {"product_id": 3}
    assert state == stock()


def test_decide__one_product_again_and_again__each_sees_the_one_before() -> None:
    state = stock()
    outcomes = [
        decide(command, state)
        for command in (Retire(1), ChangeProduct(1, "Net"), Retire(1), Restore(1), Restore(1))
    ]
    renamed = replace(NETFLIX, name="Net")
    assert [change[:2] for change in outcomes if isinstance(change, tuple)] == [
        (NETFLIX, replace(NETFLIX, retired_at=NOW)),
        (replace(NETFLIX, retired_at=NOW), replace(renamed, retired_at=NOW)),
        (replace(renamed, retired_at=NOW), replace(renamed, retired_at=NOW)),
        (replace(renamed, retired_at=NOW), renamed),
        (renamed, renamed),
    ]


def test_decide__service__renamed_and_retired() -> None:
    service = Service(7, "Inspection", LONG_AGO, None)
    state = Stock({7: service}, {7: NOW}, ServiceNotFound)
    commands = (ChangeService(7, "Check"), Retire(7), ChangeService(8, "x"))
    *changes, refusal = [decide(command, state) for command in commands]
    assert [change[1] for change in changes if isinstance(change, tuple)] == [
        replace(service, name="Check"),
        Service(7, "Check", LONG_AGO, NOW),
    ]
    assert isinstance(refusal, ServiceNotFound)
    assert refusal.details == {"service_id": 8}


def test_decide__retired_anew__since_the_second_time() -> None:
    state = Stock({2: GONE}, {2: LONG_AGO + timedelta(days=1)}, ProductNotFound)
    for command in (Restore(2), Retire(2)):
        decide(command, state)
    assert state.items[2].retired_at == LONG_AGO + timedelta(days=1)


def test_creation__one_slug_several_times__the_first_gets_it() -> None:
    new = {"netflix": NETFLIX}
    outcomes = [
        decide_creation(CreateProduct(slug, "x", 1), new) for slug in ("netflix", "netflix", "gym")
    ]
    assert outcomes[0] is NETFLIX
    for outcome, slug in zip(outcomes[1:], ("netflix", "gym"), strict=True):
        assert isinstance(outcome, SlugTaken)
        assert outcome.details == {"slug": slug}
