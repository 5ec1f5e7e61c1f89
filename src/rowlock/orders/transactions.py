"""Lock, decide, write: orders."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rowlock.accounts import metadata
from rowlock.accounts import transactions as accounts
from rowlock.accounts.references import each_reference_once, find_references
from rowlock.engine import outbox
from rowlock.engine.database import Connection
from rowlock.engine.locks import Aside, Lockable, Locks
from rowlock.engine.statements import queries
from rowlock.errors import DocumentPosted
from rowlock.orders.events import KnownOrder, NewOrder, OrderSettled
from rowlock.orders.reads import find_orders
from rowlock.orders.rules import (
    Cancellation,
    CancelOrder,
    CreateOrder,
    Order,
    OrderItem,
    PendingOrder,
    Retry,
    RetryOrder,
    Settlement,
    SettleOrder,
    decide_cancellation,
    decide_creation,
    decide_hurry,
    decide_retry,
    decide_settlement,
)
from rowlock.origin import SYSTEM
from rowlock.rejections import Rejection

if TYPE_CHECKING:
    from rowlock.engine.typed.orders import LockOrdersRow


async def _find_orders(connection: Connection, order_ids: list[int]) -> list[int]:
    return list(await find_orders(connection, order_ids))


ORDERS: "Lockable[LockOrdersRow]" = Lockable(
    wait=lambda connection, ids: queries.orders.lock_orders(connection, order_ids=ids),
    take_free=lambda connection, ids: queries.orders.lock_free_orders(connection, order_ids=ids),
    find=_find_orders,
    id_of=lambda row: row["id"],
)
REFERENCE_KEY = "orders_reference_key"  # lets each reference name one order


async def create_orders(
    connection: Connection, commands: Sequence[CreateOrder]
) -> list[Order | Rejection]:
    """Return the order that each command created, or why it created none."""
    # Users are not locked: they are never deleted, and a new order changes none of them.
    [named] = await queries.orders.find_named(
        connection,
        product_ids=list({item.product_id for command in commands for item in command.items}),
        user_ids=list({one.user_id for one in commands if one.user_id is not None}),
    )
    prices = dict(zip(named["product_ids"], named["prices"], strict=True))
    users = set(named["user_ids"])
    references = await find_references(connection, queries.orders.find_references, commands)
    outcomes = [decide_creation(command, prices, users, references) for command in commands]
    allowed = [
        (command, outcome)
        for command, outcome in zip(commands, outcomes, strict=True)
        if isinstance(outcome, int)
    ]
    created = iter(await _create(connection, allowed, prices) if allowed else ())
    return [next(created) if isinstance(outcome, int) else outcome for outcome in outcomes]


async def _create(
    connection: Connection, orders: Sequence[tuple[CreateOrder, int]], prices: Mapping[int, int]
) -> list[Order]:
    commands = [command for command, _ in orders]
    items = [
        (ordinal, item)
        for ordinal, command in enumerate(commands, start=1)
        for item in command.items
    ]
    with each_reference_once(REFERENCE_KEY):
        rows = await queries.orders.create_orders(
            connection,
            user_ids=[command.user_id for command in commands],
            amounts=[amount for _, amount in orders],
            payloads=[outbox.dump(_describe(*order, prices)) for order in orders],
            request_ids=[command.origin.request_id for command in commands],
            actors=[command.origin.actor for command in commands],
            traceparents=[command.origin.traceparent for command in commands],
            refs=[command.reference for command in commands],
            metadata=[command.metadata for command in commands],
            item_orders=[ordinal for ordinal, _ in items],
            item_products=[item.product_id for _, item in items],
            item_quantities=[item.quantity for _, item in items],
            item_prices=[prices[item.product_id] for _, item in items],
        )
    remaining = iter(rows)
    created = []
    for command, amount in orders:
        own = [(next(remaining), item) for item in command.items]
        first = own[0][0]
        lines = [
            OrderItem(row["id"], item.product_id, item.quantity, prices[item.product_id])
            for row, item in own
        ]
        created.append(
            Order(
                first["order_id"],
                "pending",
                amount,
                lines,
                command.user_id,
                first["created_at"],
                reference=command.reference,
                metadata=metadata.read(command.metadata),
            )
        )
    return created


def _describe(command: CreateOrder, amount: int, prices: Mapping[int, int]) -> NewOrder:
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


async def cancel_orders(
    connection: Connection, commands: Sequence[CancelOrder], locks: Locks | None = None
) -> list[Order | Rejection | Aside]:
    """Return the order that each command cancelled, or why it cancelled none."""
    locks = locks or Locks()
    rows = await locks.take(connection, ORDERS, {command.order_id for command in commands})
    # Read once they are locked: no processor settles them any more.
    orders = await find_orders(connection, [row["id"] for row in rows])
    outcomes = [
        locks.left(ORDERS, command.order_id) or decide_cancellation(command, orders)
        for command in commands
    ]
    cancellations = [outcome for outcome in outcomes if isinstance(outcome, Cancellation)]
    if cancellations:
        await _cancel(connection, cancellations)
    return [outcome.order if isinstance(outcome, Cancellation) else outcome for outcome in outcomes]


async def _cancel(connection: Connection, cancellations: Sequence[Cancellation]) -> None:
    rows = await queries.orders.cancel_orders(
        connection,
        order_ids=[order.id for order, _ in cancellations],
        payloads=[outbox.dump(_describe_pending(order)) for order, _ in cancellations],
        request_ids=[origin.request_id for _, origin in cancellations],
        actors=[origin.actor for _, origin in cancellations],
        traceparents=[origin.traceparent for _, origin in cancellations],
    )
    settled_at = {row["id"]: row["settled_at"] for row in rows}
    for order, _ in cancellations:
        order.settled_at = settled_at[order.id]


async def retry_orders(
    connection: Connection, commands: Sequence[RetryOrder], locks: Locks | None = None
) -> list[Order | Rejection | Aside]:
    """Return the order that each command lets be settled at once, or why there is none.

    It is settled as any other pending order is; one that is due already stays as it is.
    """
    locks = locks or Locks()
    rows = await locks.take(connection, ORDERS, {command.order_id for command in commands})
    orders = await find_orders(connection, [row["id"] for row in rows])
    outcomes = [
        locks.left(ORDERS, command.order_id) or decide_hurry(command, orders)
        for command in commands
    ]
    # By id: the first one of an order makes it due.
    retries = {each.order.id: each for each in reversed(outcomes) if isinstance(each, Retry)}
    if retries:
        await queries.orders.hurry_orders(
            connection,
            order_ids=list(retries),
            payloads=[outbox.dump(_describe_pending(order)) for order, _ in retries.values()],
            request_ids=[origin.request_id for _, origin in retries.values()],
            actors=[origin.actor for _, origin in retries.values()],
            traceparents=[origin.traceparent for _, origin in retries.values()],
        )
    return [outcome.order if isinstance(outcome, Retry) else outcome for outcome in outcomes]


def _describe_pending(order: Order) -> KnownOrder:
    return {
        "order_id": order.id,
        "user_id": order.user_id,
        "amount": order.amount,
        "order_created_at": order.created_at,
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
    settlements = [
        decide_settlement(order, draws[order.id], locked, approval_rate)
        for order in orders
        if order.user_id is None or order.user_id in locked
    ]
    settled = await _settle(connection, settlements) if settlements else ()
    outcomes: dict[int, Settlement | PendingOrder] = {order.id: order for order in orders}
    outcomes.update((settlement.order.id, settlement) for settlement in settled)
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
        [settled] = await _settle(connection, [outcome])
        return settled
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
            SYSTEM._replace(request_id=row["request_id"], traceparent=row["traceparent"]),
            row["created_at"],
        )
        for row in rows
    ]


async def _settle(
    connection: Connection, settlements: Sequence[Settlement]
) -> Sequence[Settlement]:
    """Write the settlements, and return them with their times.

    Raises DocumentPosted for an order that is paid for already.
    """
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
    times = {row["id"]: row["settled_at"] for row in rows}
    return [each._replace(settled_at=times[each.order.id]) for each in settlements]


def _describe_settlement(settlement: Settlement) -> OrderSettled:
    order, _, reason, balance_after, _ = settlement
    payload: OrderSettled = {
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
