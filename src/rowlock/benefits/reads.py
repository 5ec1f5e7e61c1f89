"""Reading the benefits shop: one function per lane."""

from collections.abc import Sequence

from rowlock.accounts import names
from rowlock.benefits.rules import CatalogueProduct, Shopper
from rowlock.engine.database import Connection
from rowlock.engine.statements import queries


async def find_shoppers(connection: Connection, usernames: Sequence[str]) -> dict[str, Shopper]:
    """Return those of the users that exist, by the name given."""
    spellings, name_keys = names.search_terms(usernames)
    rows = await queries.benefits.find_shoppers(
        connection, usernames=spellings, name_keys=name_keys
    )
    users = [
        (
            row["username"],
            row["name_key"],
            Shopper(row["username"], row["balance"], row["product_ids"], row["id"]),
        )
        for row in rows
    ]
    return names.match(usernames, users)


async def list_products(
    connection: Connection, _: Sequence[None]
) -> dict[None, Sequence[CatalogueProduct]]:
    """Return the whole catalogue, under None."""
    rows = await queries.benefits.list_products(connection)
    products = [CatalogueProduct(row["id"], row["slug"], row["name"], row["price"]) for row in rows]
    return {None: products}
