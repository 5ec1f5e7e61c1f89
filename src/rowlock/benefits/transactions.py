"""Lock, decide, write: orders of the benefits shop."""

from collections.abc import Sequence
from typing import NamedTuple

from rowlock.accounts import transactions as accounts
from rowlock.accounts.rules import Entry
from rowlock.benefits.rules import (
    CatalogueProduct,
    PlaceOrder,
    Product,
    Purchase,
    Shop,
    Shopper,
    decide,
)
from rowlock.engine import outbox
from rowlock.engine.database import Connection
from rowlock.engine.outbox import Event
from rowlock.engine.statements import queries
from rowlock.errors import Rejection


class PlacedOrder(NamedTuple):
    """An order that is paid for."""

    id: int
    purchase: Purchase


async def find_shoppers(connection: Connection, usernames: Sequence[str]) -> dict[str, Shopper]:
    """Return those of the users that exist, by username."""
    rows = await queries.benefits.find_shoppers(connection, usernames=usernames)
    return {
        row["username"]: Shopper(row["username"], row["balance"], row["product_ids"])
        for row in rows
    }


async def list_products(
    connection: Connection, _: Sequence[None]
) -> dict[None, Sequence[CatalogueProduct]]:
    """Return the whole catalogue, under None."""
    rows = await queries.benefits.list_products(connection)
    products = [CatalogueProduct(row["id"], row["slug"], row["name"], row["price"]) for row in rows]
    return {None: products}


async def place_orders(
    connection: Connection, orders: Sequence[PlaceOrder]
) -> list[PlacedOrder | Rejection]:
    """Return the outcome of each order, in order."""
    shop = await _lock(connection, orders)
    outcomes = [decide(order, shop) for order in orders]
    purchases = [outcome for outcome in outcomes if isinstance(outcome, Purchase)]
    placed = iter(await _write(connection, purchases) if purchases else ())
    return [next(placed) if isinstance(outcome, Purchase) else outcome for outcome in outcomes]


async def _lock(connection: Connection, orders: Sequence[PlaceOrder]) -> Shop:
    locked = await accounts.lock_users_by_name(connection, {order.username for order in orders})
    wanted = {
        (locked[order.username].id, slug)
        for order in orders
        if order.username in locked
        for slug in order.items
    }
    shop = Shop(locked)
    for row in await queries.benefits.find_wanted(
        connection,
        user_ids=[user_id for user_id, _ in wanted],
        slugs=[slug for _, slug in wanted],
    ):
        shop.catalogue[row["slug"]] = Product(row["id"], row["slug"], row["price"])
        if row["owned"]:
            shop.owned.add((row["user_id"], row["id"]))
    return shop


async def _write(connection: Connection, purchases: Sequence[Purchase]) -> list[PlacedOrder]:
    items = [
        (ordinal, product)
        for ordinal, purchase in enumerate(purchases, start=1)
        for product in purchase.products
    ]
    rows = await queries.benefits.place_orders(
        connection,
        user_ids=[purchase.account.id for purchase in purchases],
        amounts=[purchase.total for purchase in purchases],
        request_ids=[purchase.request_id for purchase in purchases],
        item_orders=[ordinal for ordinal, _ in items],
        item_products=[product.id for _, product in items],
        item_prices=[product.price for _, product in items],
    )
    placed = [
        PlacedOrder(row["id"], purchase) for row, purchase in zip(rows, purchases, strict=True)
    ]
    await accounts.post(connection, [_entry(order) for order in placed])
    await outbox.append(connection, [_event(order) for order in placed])
    return placed


def _entry(order: PlacedOrder) -> Entry:
    purchase = order.purchase
    reference = f"order:{order.id}"
    return Entry(
        purchase.account.id, -purchase.total, purchase.balance_after, "benefit_order", reference
    )


def _event(order: PlacedOrder) -> Event:
    account, products, total, balance_after, request_id = order.purchase
    return Event(
        "benefit_order.placed",
        f"order:{order.id}",
        {
            "order_id": order.id,
            "user_id": account.id,
            "username": account.username,
            "items": [
                {"product_id": product.id, "slug": product.slug, "price": product.price}
                for product in products
            ],
            "total": total,
            "balance_after": balance_after,
        },
        request_id,
    )
