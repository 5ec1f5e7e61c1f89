"""Lock, decide, write: orders."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rowlock.accounts import transactions as accounts
from rowlock.accounts.rules import Document, Entry
from rowlock.engine import outbox
from rowlock.engine.database import Connection
from rowlock.engine.locks import Locks
from rowlock.engine.outbox import Event
from rowlock.engine.statements import queries
from rowlock.errors import DocumentPosted, Rejection
from rowlock.orders.rules import (
    CreatedOrder,
    CreateOrder,
    PendingOrder,
    Settlement,
    SettleOrder,
    decide_creation,
    decide_retry,
    decide_settlement,
)
from rowlock.origin import SYSTEM


async def create_orders(
    connection: Connection, commands: Sequence[CreateOrder]
) -> list[CreatedOrder | Rejection]:
    """Return the order that each command created, or why it created none."""
    product_ids = {item.product_id for command in commands for item in command.items}
    user_ids = {command.user_id for command in commands if command.user_id is not None}
    priced = await queries.orders.find_prices(connection, product_ids=list(product_ids))
    prices = {row["id"]: row["price"] for row in priced}
    # Not locked: users are never deleted, and a new order changes none of them.
    found = await queries.accounts.find_users(connection, user_ids=list(user_ids))
    users = {row["id"] for row in found}
    outcomes = [decide_creation(command, prices, users) for command in commands]
    allowed = [
        (command, outcome)
        for command, outcome in zip(commands, outcomes, strict=True)
        if isinstance(outcome, int)
    ]
    created = iter(await _create(connection, allowed, prices) if allowed else ())
    return [next(created) if isinstance(outcome, int) else outcome for outcome in outcomes]


async def _create(
    connection: Connection, orders: Sequence[tuple[CreateOrder, int]], prices: dict[int, int]
) -> list[CreatedOrder]:
    rows = await queries.orders.create_orders(
        connection,
        user_ids=[command.user_id for command, _ in orders],
        amounts=[amount for _, amount in orders],
        request_ids=[command.origin.request_id for command, _ in orders],
    )
    order_ids = [row["id"] for row in rows]
    items = [
        (order_id, item)
        for order_id, (command, _) in zip(order_ids, orders, strict=True)
        for item in command.items
    ]
    rows = await queries.orders.create_items(
        connection,
        order_ids=[order_id for order_id, _ in items],
        product_ids=[item.product_id for _, item in items],
        quantities=[item.quantity for _, item in items],
        prices=[prices[item.product_id] for _, item in items],
    )
    item_ids = iter([row["id"] for row in rows])
    created = [
        CreatedOrder(order_id, amount, command, tuple(next(item_ids) for _ in command.items))
        for order_id, (command, amount) in zip(order_ids, orders, strict=True)
    ]
    await outbox.append(connection, [_created_event(order, prices) for order in created])
    return created


def _created_event(order: CreatedOrder, prices: dict[int, int]) -> Event:
    return Event(
        "order.created",
        f"order:{order.id}",
        {
            "order_id": order.id,
            "user_id": order.command.user_id,
            "amount": order.amount,
            "items": [
                {
                    "product_id": item.product_id,
                    "quantity": item.quantity,
                    "price": prices[item.product_id],
                }
                for item in order.command.items
            ],
        },
        order.command.origin,
    )


async def settle_orders(
    connection: Connection, commands: Sequence[SettleOrder], approval_rate: float
) -> list[Settlement | PendingOrder | None]:
    """Return each order's settlement; None for one that is not due, or claimed elsewhere.

    An order whose user is locked by another transaction stays pending, and is returned as it is:
    waiting for that user would hold up the orders of all others.
    """
    draws = {command.order_id: command.draw for command in commands}
    orders = await _lock_pending(connection, list(draws))
    user_ids = {order.user_id for order in orders if order.user_id is not None}
    locked = await accounts.lock_users(connection, user_ids, Locks(waits=False))
    settlements = {
        order.id: decide_settlement(order, draws[order.id], locked, approval_rate)
        for order in orders
        if order.user_id is None or order.user_id in locked
    }
    if settlements:
        await _settle(connection, list(settlements.values()))
    outcomes = {order.id: order for order in orders} | settlements
    return [outcomes.get(command.order_id) for command in commands]


async def settle_user_orders(
    connection: Connection, user_id: int, commands: Sequence[SettleOrder], approval_rate: float
) -> list[Settlement | PendingOrder | None]:
    """Settle orders of one user as `settle_orders` does, but wait for the user's row first."""
    await accounts.lock_users(connection, [user_id])
    return await settle_orders(connection, commands, approval_rate)


async def postpone_order(
    connection: Connection,
    order_id: int,
    *,
    failures: int,
    attempts_limit: int | None,
    retry_s: float,
    retry_limit_s: float,
) -> Settlement | PendingOrder | None:
    """After a failure: postpone the order, or at the limit of attempts refuse it for good.

    `failures` is 1, or 0 for a failure that does not count; with a limit of None, the order is
    never refused. Returns the refusal, or the order if it is postponed; None for one that is not
    due, or claimed elsewhere.
    """
    orders = await _lock_pending(connection, [order_id])
    if not orders:
        return None
    [order] = orders
    outcome = decide_retry(
        order, attempts_limit=attempts_limit, retry_s=retry_s, retry_limit_s=retry_limit_s
    )
    if isinstance(outcome, Settlement):
        await _settle(connection, [outcome])
        return outcome
    await queries.orders.postpone_order(
        connection, order_id=order_id, delay=outcome, failures=failures
    )
    return order


async def _lock_pending(connection: Connection, order_ids: Sequence[int]) -> list[PendingOrder]:
    """Claim those of the orders that are still due and that no other transaction has claimed."""
    rows = await queries.orders.lock_pending(connection, order_ids=order_ids)
    return [
        PendingOrder(
            row["id"],
            row["user_id"],
            row["amount"],
            row["attempts"],
            SYSTEM._replace(request_id=row["request_id"]),
            row["created_at"],
        )
        for row in rows
    ]


async def _settle(connection: Connection, settlements: Sequence[Settlement]) -> None:
    """Write the settlements. Raises DocumentPosted for an order that is paid for already."""
    rows = await queries.orders.settle_orders(
        connection,
        order_ids=[settlement.order.id for settlement in settlements],
        statuses=[settlement.status for settlement in settlements],
        reasons=[settlement.reason for settlement in settlements],
    )
    settled_at = {row["id"]: row["settled_at"] for row in rows}
    if len(settled_at) < len(settlements):
        raise DocumentPosted
    await accounts.post(
        connection,
        [
            Entry(
                order.user_id,
                -order.amount,
                balance_after,
                "order",
                Document("order", order.id),
                order.origin.actor,
                settled_at[order.id],
            )
            for order, _, _, balance_after in settlements
            if order.user_id is not None and balance_after is not None
        ],
    )
    await outbox.append(
        connection,
        [_settled_event(settlement, settled_at[settlement.order.id]) for settlement in settlements],
    )


def _settled_event(settlement: Settlement, settled_at: datetime) -> Event:
    order, status, reason, balance_after = settlement
    payload: dict[str, Any] = {
        "order_id": order.id,
        "user_id": order.user_id,
        "amount": order.amount,
        "order_created_at": order.created_at,
    }
    if reason is not None:
        payload["reason"] = reason
    if balance_after is not None:
        payload["balance_after"] = balance_after
    return Event(f"order.{status}", f"order:{order.id}", payload, order.origin, settled_at)
