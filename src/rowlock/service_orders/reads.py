"""Reading service orders: one function per lane."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rowlock.engine.database import Connection
from rowlock.engine.statements import queries
from rowlock.service_orders.rules import Service, ServiceOrder

if TYPE_CHECKING:
    from rowlock.engine.typed.service_orders import FindOrdersRow


async def find_orders(connection: Connection, ids: Sequence[int]) -> dict[int, ServiceOrder]:
    """Return those of the orders that exist, by id."""
    rows = await queries.service_orders.find_orders(connection, order_ids=ids)
    return {row["id"]: _read_order(row) for row in rows}


async def list_services(connection: Connection, _: Sequence[None]) -> dict[None, Sequence[Service]]:
    """Return all services, under None."""
    rows = await queries.service_orders.list_services(connection)
    return {None: [Service(row["id"], row["name"]) for row in rows]}


async def list_orders(
    connection: Connection,
    *,
    after: datetime,
    after_id: int,
    before: datetime,
    service_id: int | None,
    page_size: int,
) -> list[ServiceOrder]:
    """Return a page of orders, by time and then by id; with `service_id` of this service alone."""
    if service_id is None:
        rows = await queries.service_orders.list_orders(
            connection, after=after, after_id=after_id, before=before, page_size=page_size
        )
        return [_read_order(row) for row in rows]
    found = await queries.service_orders.list_orders_of_service(
        connection,
        after=after,
        after_id=after_id,
        before=before,
        service_id=service_id,
        page_size=page_size,
    )
    return [_read_order(row) for row in found]


def _read_order(row: "FindOrdersRow") -> ServiceOrder:
    """Return a row of an order as one."""
    services = zip(row["service_ids"], row["service_names"], row["service_renames"], strict=True)
    return ServiceOrder(
        row["id"],
        row["starts_at"],
        row["fee"],
        tuple(Service(*service) for service in services),
        row["imported"],
        row["version"],
    )
