"""Reading orders and the catalogue: one function per lane."""

from collections.abc import Sequence

from rowlock.engine.database import Connection
from rowlock.engine.statements import queries
from rowlock.orders.rules import CatalogueProduct, Order, OrderItem


async def list_products(
    connection: Connection, _: Sequence[None]
) -> dict[None, Sequence[CatalogueProduct]]:
    """Return the whole catalogue, under None."""
    rows = await queries.orders.list_products(connection)
    return {None: [CatalogueProduct(row["id"], row["name"], row["price"]) for row in rows]}


async def find_orders(connection: Connection, order_ids: Sequence[int]) -> dict[int, Order]:
    """Return those of the orders that exist, by id."""
    rows = await queries.orders.find_orders(connection, order_ids=order_ids)
    return {
        row["id"]: Order(
            row["id"],
            row["status"],
            row["amount"],
            row["reason"],
            [
                OrderItem(*item)
                for item in zip(row["item_ids"], row["product_ids"], row["quantities"], strict=True)
            ],
        )
        for row in rows
    }
