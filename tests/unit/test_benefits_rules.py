"""Who may buy what."""

import pytest

from rowlock.accounts.rules import Account
from rowlock.benefits.rules import PlaceOrder, Product, Purchase, Shop, decide
from rowlock.rejections import Rejection

NETFLIX, SPOTIFY, GYM = (
    Product(1, "netflix", 75_99),
    Product(2, "spotify", 45_99),
    Product(3, "gym", 490_00),
)
FREE = Product(4, "free", 0)


@pytest.fixture
def shop() -> Shop:
    """Ada has 200.00 and owns spotify; grace has nothing."""
    return Shop(
        accounts={"ada": Account(7, "ada", 200_00), "grace": Account(8, "grace", 0)},
        catalogue={product.slug: product for product in (NETFLIX, SPOTIFY, GYM, FREE)},
        owned={(7, SPOTIFY.id)},
    )


@pytest.mark.parametrize(
    ("username", "products", "total", "balance_after"),
    [
        ("ada", (NETFLIX,), 75_99, 124_01),
        ("ada", (FREE, NETFLIX), 75_99, 124_01),
        ("ada", (NETFLIX, FREE), 75_99, 124_01),
        ("grace", (FREE,), 0, 0),
    ],
)
def test_decide__allowed__bought_and_paid(
    shop: Shop, username: str, products: tuple[Product, ...], total: int, balance_after: int
) -> None:
    account = shop.accounts[username]
    owned = set(shop.owned)
    purchase = decide(PlaceOrder(username, tuple(product.slug for product in products)), shop)
    assert purchase == Purchase(account, products, total, balance_after)
    assert account.balance == balance_after
    assert shop.owned == owned | {(account.id, product.id) for product in products}


@pytest.mark.parametrize(
    ("username", "items", "code"),
    [
        ("nobody", ["netflix"], "user_not_found"),
        ("nobody", ["unknown"], "user_not_found"),
        ("nobody", ["netflix", "netflix"], "user_not_found"),
        ("ada", ["unknown"], "products_not_found"),
        ("ada", ["netflix", "unknown"], "products_not_found"),
        ("ada", ["spotify", "unknown"], "products_not_found"),  # before what is owned
        ("ada", ["gym", "unknown"], "products_not_found"),  # before what is too dear
        ("ada", ["unknown", "unknown"], "products_not_found"),
        ("ada", ["spotify"], "products_already_purchased"),
        ("ada", ["netflix", "spotify"], "products_already_purchased"),
        ("ada", ["netflix", "netflix"], "products_already_purchased"),
        ("ada", ["free", "free"], "products_already_purchased"),
        ("ada", ["spotify", "gym"], "products_already_purchased"),  # before what is too dear
        ("ada", ["gym"], "insufficient_balance"),
        ("ada", ["netflix", "free", "gym"], "insufficient_balance"),
        ("grace", ["netflix"], "insufficient_balance"),
        ("grace", ["spotify"], "insufficient_balance"),  # ada's is not grace's
    ],
)
def test_decide__against_the_rules__says_which_and_changes_nothing(
    shop: Shop, username: str, items: list[str], code: str
) -> None:
    refusal = decide(PlaceOrder(username, tuple(items)), shop)
    assert isinstance(refusal, Rejection)
    assert refusal.code == code
    assert [account.balance for account in shop.accounts.values()] == [200_00, 0]
    assert shop.owned == {(7, SPOTIFY.id)}


def test_decide__unknown_products__all_are_named(shop: Shop) -> None:
    refusal = decide(PlaceOrder("ada", ("x", "netflix", "y")), shop)
    assert isinstance(refusal, Rejection)
    assert refusal.details == {"items": ["x", "y"]}


def test_decide__one_after_the_other__each_sees_what_the_others_left(shop: Shop) -> None:
    orders = [("netflix",), ("netflix",), ("free",), ("gym",)]
    outcomes = [decide(PlaceOrder("ada", items), shop) for items in orders]
    assert [getattr(outcome, "code", "bought") for outcome in outcomes] == [
        "bought",
        "products_already_purchased",
        "bought",
        "insufficient_balance",
    ]
    assert shop.accounts["ada"].balance == 124_01


@pytest.mark.parametrize(
    ("agreed", "code"),
    [(75_99, None), (None, None), (75_98, "price_changed"), (0, "price_changed")],
)
def test_decide__a_total_was_agreed_on__bought_at_no_other(
    shop: Shop, agreed: int | None, code: str | None
) -> None:
    outcome = decide(PlaceOrder("ada", ("netflix",), agreed=agreed), shop)
    assert (outcome.code if isinstance(outcome, Rejection) else None) == code
    assert shop.accounts["ada"].balance == (124_01 if code is None else 200_00)
