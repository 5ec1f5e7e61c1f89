"""Lock, decide, write: orders."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from rowlock.accounts import transactions as accounts
from rowlock.accounts.rules import Entry
from rowlock.engine import outbox
from rowlock.engine.database import Connection
from rowlock.engine.outbox import Event
from rowlock.engine.statements import queries
from rowlock.errors import Rejection
from rowlock.orders.rules import (
    CreateOrder,
    PendingOrder,
    Settlement,
    SettleOrder,
    decide_creation,
    decide_settlement,
)


class CatalogueProduct(NamedTuple):
    """A product as the catalogue shows it."""

    id: int
    name: str
    price: int  # minor units


class OrderItem(NamedTuple):
    """A line of an order."""

    id: int
    product_id: int
    quantity: int


class Order(NamedTuple):
    """An order, as it stood at some moment."""

    id: int
    status: str
    amount: int  # minor units
    reason: str | None  # why refused
    items: list[OrderItem]


class CreatedOrder(NamedTuple):
    """An order that waits to be settled."""

    id: int
    amount: int  # minor units
    command: CreateOrder
    item_ids: tuple[int, ...]


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
        request_ids=[command.request_id for command, _ in orders],
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
    await queries.orders.notify_created(connection)
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
        order.command.request_id,
    )


async def settle_orders(
    connection: Connection, commands: Sequence[SettleOrder], approval_rate: float
) -> list[Settlement | PendingOrder | None]:
    """Return each order's settlement; None for one that is not due, or that somebody has claimed.

    An order whose user somebody has locked is left, and returned, as it is: waiting for the user
    would hold up the orders of everybody else.
    """
    draws = {command.order_id: command.draw for command in commands}
    orders = await lock_pending(connection, list(draws))
    locked = await accounts.lock_free_users(
        connection, {order.user_id for order in orders if order.user_id is not None}
    )
    settlements = {
        order.id: decide_settlement(order, draws[order.id], locked, approval_rate)
        for order in orders
        if order.user_id is None or order.user_id in locked
    }
    if settlements:
        await _settle(connection, list(settlements.values()))
    outcomes = {order.id: order for order in orders} | settlements
    return [outcomes.get(command.order_id) for command in commands]


async def lock_pending(connection: Connection, order_ids: Sequence[int]) -> list[PendingOrder]:
    """Claim those of the orders that are still due and that nobody else has claimed."""
    rows = await queries.orders.lock_pending(connection, order_ids=order_ids)
    return [
        PendingOrder(
            row["id"],
            row["user_id"],
            row["amount"],
            row["attempts"],
            row["request_id"],
            row["created_at"],
        )
        for row in rows
    ]


async def give_up_or_postpone(
    connection: Connection,
    order: PendingOrder,
    *,
    failures: int,
    attempts_limit: int | None,
    retry_s: float,
    retry_limit_s: float,
) -> Settlement | None:
    """After a failure: put the order off, longer each time, or at the limit refuse it for good.

    `failures` is 0 for one that does not count, else 1. The order is locked by the caller.
    """
    if attempts_limit is not None and order.attempts + 1 >= attempts_limit:
        settlement = Settlement(order, "refused", "processing_failed")
        await _settle(connection, [settlement])
        return settlement
    delay = timedelta(seconds=min(retry_s * 2 ** min(order.attempts, 32), retry_limit_s))
    await queries.orders.postpone_order(
        connection, order_id=order.id, delay=delay, failures=failures
    )
    return None


async def _settle(connection: Connection, settlements: Sequence[Settlement]) -> None:
    await queries.orders.settle_orders(
        connection,
        order_ids=[settlement.order.id for settlement in settlements],
        statuses=[settlement.status for settlement in settlements],
        reasons=[settlement.reason for settlement in settlements],
    )
    await accounts.post(
        connection,
        [
            Entry(order.user_id, -order.amount, balance_after, "order", f"order:{order.id}")
            for order, _, _, balance_after in settlements
            if order.user_id is not None and balance_after is not None
        ],
    )
    await outbox.append(connection, [_settled_event(settlement) for settlement in settlements])


def _settled_event(settlement: Settlement) -> Event:
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
    return Event(f"order.{status}", f"order:{order.id}", payload, order.request_id)
