"""Lock, decide, write: orders of the benefits shop."""

from collections.abc import Mapping, Sequence

from rowlock.accounts import transactions as accounts
from rowlock.accounts.rules import Account
from rowlock.benefits.events import NewBenefitOrder
from rowlock.benefits.rules import PlacedOrder, PlaceOrder, Product, Purchase, Shop, decide
from rowlock.engine import outbox
from rowlock.engine.database import Connection
from rowlock.engine.locks import Aside, Locks
from rowlock.engine.statements import queries
from rowlock.rejections import Rejection


async def place_orders(
    connection: Connection, commands: Sequence[PlaceOrder], locks: Locks | None = None
) -> list[PlacedOrder | Rejection | Aside]:
    """Return the order that each command placed, or why it placed none."""
    locked, left = await accounts.take_users_by_name(
        connection, {command.username for command in commands}, locks or Locks()
    )
    shop = await _open(connection, commands, locked)
    outcomes = [left.get(command.username) or decide(command, shop) for command in commands]
    purchases = [outcome for outcome in outcomes if isinstance(outcome, Purchase)]
    placed = iter(await _write(connection, purchases) if purchases else ())
    return [next(placed) if isinstance(outcome, Purchase) else outcome for outcome in outcomes]


async def _open(
    connection: Connection, commands: Sequence[PlaceOrder], locked: Mapping[str, Account]
) -> Shop:
    wanted = {
        (locked[command.username].id, slug)
        for command in commands
        if command.username in locked
        for slug in command.items
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
        balances_after=[purchase.balance_after for purchase in purchases],
        payloads=[outbox.dump(_describe(purchase)) for purchase in purchases],
        request_ids=[purchase.origin.request_id for purchase in purchases],
        actors=[purchase.origin.actor for purchase in purchases],
        traceparents=[purchase.origin.traceparent for purchase in purchases],
        item_orders=[ordinal for ordinal, _ in items],
        item_products=[product.id for _, product in items],
        item_prices=[product.price for _, product in items],
    )
    return [
        PlacedOrder(row["id"], row["settled_at"], purchase)
        for row, purchase in zip(rows, purchases, strict=True)
    ]


def _describe(purchase: Purchase) -> NewBenefitOrder:
    """Return what the event says; the statement adds the id of the order."""
    account, products, total, balance_after, _ = purchase
    return {
        "user_id": account.id,
        "items": [
            {"product_id": product.id, "slug": product.slug, "price": product.price}
            for product in products
        ],
        "total": total,
        "balance_after": balance_after,
    }
