"""Reading subscriptions and their deliveries."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rowlock.engine.database import Connection
from rowlock.engine.statements import queries
from rowlock.subscriptions.rules import DeliveryRow, Subscription

if TYPE_CHECKING:
    from rowlock.engine.typed.subscriptions import FindDeliveriesRow, FindRow


async def find_subscriptions(connection: Connection, ids: Sequence[int]) -> dict[int, Subscription]:
    """Return those of the subscriptions that exist, by id."""
    rows = await queries.subscriptions.find(connection, ids=ids)
    return {row["id"]: read_subscription(row) for row in rows}


async def lock_subscriptions(connection: Connection, ids: Sequence[int]) -> dict[int, Subscription]:
    """Lock those of the subscriptions that exist, in the order of id; return them by id."""
    rows = await queries.subscriptions.lock(connection, ids=ids)
    return {row["id"]: read_subscription(row) for row in rows}


async def find_deliveries(connection: Connection, ids: Sequence[int]) -> dict[int, DeliveryRow]:
    """Return those of the deliveries that exist, by id."""
    rows = await queries.subscriptions.find_deliveries(connection, ids=ids)
    return {row["id"]: read_delivery(row) for row in rows}


def read_subscription(row: "FindRow") -> Subscription:
    """Return a row of a subscription as one."""
    return Subscription(
        row["id"],
        row["url"],
        row["names"],
        row["subject"],
        row["description"],
        row["status"],
        row["reason"],
        row["secret"],
        row["old_secret"],
        row["old_secret_until"],
        row["starts_after"],
        row["recover_after"],
        row["recover_until"],
        row["recover_since"],
        row["delivered"],
        row["failed"],
        row["failing_since"],
        row["last_problem"],
        row["created_at"],
        row["created_by"],
    )


def read_delivery(row: "FindDeliveriesRow") -> DeliveryRow:
    """Return a row of a delivery as one."""
    return DeliveryRow(
        row["id"],
        row["subscription_id"],
        row["event_id"],
        row["name"],
        row["status"],
        row["attempts"],
        row["problem"],
        row["created_at"],
        row["due_at"],
        row["finished_at"],
    )
