"""Lock, decide, write: orders."""

from collections.abc import Sequence
from typing import Any

from rowlock.accounts import transactions as accounts
from rowlock.engine import outbox
from rowlock.engine.database import Connection
from rowlock.engine.locks import Locks
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
    # Users are not locked: they are never deleted, and a new order changes none of them.
    [named] = await queries.orders.find_named(
        connection,
        product_ids=list({item.product_id for command in commands for item in command.items}),
        user_ids=list({one.user_id for one in commands if one.user_id is not None}),
    )
    prices = dict(zip(named["product_ids"], named["prices"], strict=True))
    users = set(named["user_ids"])
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
    commands = [command for command, _ in orders]
    items = [
        (ordinal, item)
        for ordinal, command in enumerate(commands, start=1)
        for item in command.items
    ]
    rows = iter(
        await queries.orders.create_orders(
            connection,
            user_ids=[command.user_id for command in commands],
            amounts=[amount for _, amount in orders],
            payloads=[outbox.dump(_describe(*order, prices)) for order in orders],
            request_ids=[command.origin.request_id for command in commands],
            actors=[command.origin.actor for command in commands],
            item_orders=[ordinal for ordinal, _ in items],
            item_products=[item.product_id for _, item in items],
            item_quantities=[item.quantity for _, item in items],
            item_prices=[prices[item.product_id] for _, item in items],
        )
    )
    created = []
    for command, amount in orders:
        own = [next(rows) for _ in command.items]
        item_ids = tuple(row["id"] for row in own)
        created.append(CreatedOrder(own[0]["order_id"], amount, command, item_ids))
    return created


def _describe(command: CreateOrder, amount: int, prices: dict[int, int]) -> dict[str, Any]:
    """Return what the event of a new order says; the statement adds the id of the order."""
    return {
        "user_id": command.user_id,
        "amount": amount,
        "items": [
            {
                "product_id": item.product_id,
                "quantity": item.quantity,
                "price": prices[item.product_id],
            }
            for item in command.items
        ],
    }


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
    with accounts.each_document_once():
        rows = await queries.orders.settle_orders(
            connection,
            order_ids=[settlement.order.id for settlement in settlements],
            statuses=[settlement.status for settlement in settlements],
            reasons=[settlement.reason for settlement in settlements],
            balances_after=[settlement.balance_after for settlement in settlements],
            payloads=[outbox.dump(_describe_settlement(each)) for each in settlements],
            actors=[settlement.order.origin.actor for settlement in settlements],
        )
    if len(rows) < len(settlements):
        raise DocumentPosted


def _describe_settlement(settlement: Settlement) -> dict[str, Any]:
    order, _, reason, balance_after = settlement
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
    return payload
