"""Reading orders and the catalogue: one function per lane, and the list."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rowlock.accounts import metadata
from rowlock.engine.database import Connection
from rowlock.engine.statements import queries
from rowlock.orders.rules import STATUSES, CatalogueProduct, Filter, Order, OrderItem

if TYPE_CHECKING:
    from rowlock.engine.typed.orders import FindOrdersRow


async def list_products(
    connection: Connection, _: Sequence[None]
) -> dict[None, Sequence[CatalogueProduct]]:
    """Return the whole catalogue, under None."""
    rows = await queries.orders.list_products(connection)
    return {None: [CatalogueProduct(row["id"], row["name"], row["price"]) for row in rows]}


async def find_orders(connection: Connection, order_ids: Sequence[int]) -> dict[int, Order]:
    """Return those of the orders that exist, by id."""
    rows = await queries.orders.find_orders(connection, order_ids=order_ids)
    return {row["id"]: _read_order(row) for row in rows}


def _read_order(row: "FindOrdersRow") -> Order:
    columns = (row["item_ids"], row["product_ids"], row["quantities"], row["prices"])
    return Order(
        row["id"],
        row["status"],
        row["amount"],
        [OrderItem(*item) for item in zip(*columns, strict=True)],
        row["user_id"],
        row["created_at"],
        row["settled_at"],
        row["reason"],
        row["refunded"],
        row["reference"],
        metadata.read(row["metadata"]),
    )


async def list_orders(
    connection: Connection, wanted: Filter, *, before: int, page_size: int
) -> list[Order]:
    """Return a page of orders, newest first: those after the order `before` in the list.

    The highest bigint is before all.
    """
    statuses = STATUSES if wanted.status is None else [wanted.status]
    if wanted.reference is not None:
        known = await queries.orders.find_by_reference(connection, reference=wanted.reference)
        ids = [row["id"] for row in known if row["id"] < before]
    elif wanted.user_id is None:
        newest = await queries.orders.list_orders(
            connection,
            statuses=statuses,
            since=wanted.since,
            until=wanted.until,
            before=before,
            page_size=page_size,
        )
        ids = [row["id"] for row in newest]
    else:
        own = await queries.orders.list_user_orders(
            connection,
            user_id=wanted.user_id,
            statuses=statuses,
            since=wanted.since,
            until=wanted.until,
            before=before,
            page_size=page_size,
        )
        ids = [row["id"] for row in own]
    return await _in_order(connection, ids)


async def list_oldest_orders(
    connection: Connection, wanted: Filter, *, after: int, page_size: int
) -> list[Order]:
    """Return a page of orders, oldest first: those after the order `after` in the list.

    0 is before all.
    """
    statuses = STATUSES if wanted.status is None else [wanted.status]
    if wanted.reference is not None:
        known = await queries.orders.find_by_reference(connection, reference=wanted.reference)
        ids = [row["id"] for row in known if row["id"] > after]
    elif wanted.user_id is None:
        oldest = await queries.orders.list_oldest_orders(
            connection,
            statuses=statuses,
            since=wanted.since,
            until=wanted.until,
            after=after,
            page_size=page_size,
        )
        ids = [row["id"] for row in oldest]
    else:
        own = await queries.orders.list_oldest_user_orders(
            connection,
            user_id=wanted.user_id,
            statuses=statuses,
            since=wanted.since,
            until=wanted.until,
            after=after,
            page_size=page_size,
        )
        ids = [row["id"] for row in own]
    return await _in_order(connection, ids)


async def _in_order(connection: Connection, ids: Sequence[int]) -> list[Order]:
    found = await find_orders(connection, ids)
    # An operator may have deleted a pending one since then.
    return [found[order_id] for order_id in ids if order_id in found]
