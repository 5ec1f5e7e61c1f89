"""Who may buy what: an order names products, each bought once, paid from the balance."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from rowlock.accounts.rules import Account
from rowlock.origin import SYSTEM, Origin
from rowlock.rejections import (
    PriceChanged,
    ProductsAlreadyPurchased,
    ProductsNotFound,
    Rejection,
    UserNotFound,
)


class PlaceOrder(NamedTuple):
    """Buy `items` for the user."""

    username: str
    items: tuple[str, ...]  # product slugs
    origin: Origin = SYSTEM
    agreed: int | None = None  # minor units; the only total at which to buy, if there is one


class Product(NamedTuple):
    """A product of the catalogue."""

    id: int
    slug: str
    price: int  # minor units


class CatalogueProduct(NamedTuple):
    """A product as the catalogue shows it."""

    id: int
    slug: str
    name: str
    price: int  # minor units


class Shopper(NamedTuple):
    """A user of the shop, with what they own."""

    username: str
    balance: int  # minor units
    product_ids: list[str]  # slugs
    id: int  # of the user


class Purchase(NamedTuple):
    """An order that the rules allow."""

    account: Account
    products: tuple[Product, ...]
    total: int  # minor units
    balance_after: int
    origin: Origin = SYSTEM


class PlacedOrder(NamedTuple):
    """An order that is paid for."""

    id: int
    placed_at: datetime
    purchase: Purchase


@dataclass(slots=True)
class Shop:
    """The locked state that a batch of orders is decided on, as it stands after each one."""

    accounts: Mapping[str, Account]  # by username
    catalogue: dict[str, Product] = field(default_factory=dict)  # by slug; those wanted
    owned: set[tuple[int, int]] = field(default_factory=set)  # (user id, product id)


def decide(command: PlaceOrder, shop: Shop) -> Purchase | Rejection:
    """Return the purchase and apply it to `shop`, or return why there is none."""
    account = shop.accounts.get(command.username)
    if account is None:
        return UserNotFound.of(command.username)
    unknown = [slug for slug in command.items if slug not in shop.catalogue]
    if unknown:
        return ProductsNotFound(items=unknown)
    products = tuple(shop.catalogue[slug] for slug in command.items)
    bought = {(account.id, product.id) for product in products}
    if len(bought) < len(products) or not bought.isdisjoint(shop.owned):
        return ProductsAlreadyPurchased()
    total = sum(product.price for product in products)
    if command.agreed is not None and command.agreed != total:
        return PriceChanged(amount=total)
    refusal = account.debit(total)
    if refusal is not None:
        return refusal
    shop.owned |= bought
    return Purchase(account, products, total, account.balance, command.origin)
