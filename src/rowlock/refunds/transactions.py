"""Lock, decide, write: refunds."""

from collections.abc import Mapping, Sequence

from rowlock.accounts import metadata
from rowlock.accounts import transactions as accounts
from rowlock.accounts.references import each_reference_once, find_references
from rowlock.engine import outbox
from rowlock.engine.database import Connection
from rowlock.engine.locks import Aside, Locks
from rowlock.engine.statements import queries
from rowlock.orders.transactions import ORDERS
from rowlock.refunds.events import NewRefund
from rowlock.refunds.rules import Payback, Refund, RefundableOrder, RefundOrder, decide
from rowlock.rejections import Rejection

REFERENCE_KEY = "refunds_reference_key"  # lets each reference name one refund


async def refund_orders(
    connection: Connection, commands: Sequence[RefundOrder], locks: Locks | None = None
) -> list[Refund | Rejection | Aside]:
    """Return the refund that each command made, or why it made none."""
    locks = locks or Locks()
    orders = await _lock_orders(connection, commands, locks)
    user_ids = {
        order.user_id
        for order in orders.values()
        if order.user_id is not None and order.problem is None
    }
    locked = await accounts.lock_users(connection, user_ids, locks)
    references = await find_references(connection, queries.refunds.find_references, commands)
    outcomes = [
        _left(command, orders, locks) or decide(command, orders, locked, references)
        for command in commands
    ]
    paybacks = [outcome for outcome in outcomes if isinstance(outcome, Payback)]
    made = iter(await _make(connection, paybacks) if paybacks else ())
    return [next(made) if isinstance(outcome, Payback) else outcome for outcome in outcomes]


def _left(
    command: RefundOrder, orders: Mapping[int, RefundableOrder], locks: Locks
) -> Aside | None:
    """Return the row that keeps the command waiting, if there is one."""
    order = orders.get(command.order_id)
    if order is None:
        return locks.left(ORDERS, command.order_id)
    if order.user_id is None or order.problem is not None:
        return None
    return locks.left(accounts.USERS, order.user_id)


async def _lock_orders(
    connection: Connection, commands: Sequence[RefundOrder], locks: Locks
) -> dict[int, RefundableOrder]:
    rows = await locks.take(connection, ORDERS, {command.order_id for command in commands})
    orders = {
        row["id"]: RefundableOrder(
            row["id"],
            row["user_id"],
            row["status"],
            row["amount"],
            row["refunded"],
            row["is_benefit"],
        )
        for row in rows
    }
    free = [order.id for order in orders.values() if order.is_benefit and order.amount == 0]
    if free:
        # These alone need another look: what they have `refunded` stays 0, and the statement that
        # waited for the lock saw the refunds from before.
        for given_back in await queries.refunds.find_given_back(connection, order_ids=free):
            orders[given_back["order_id"]].is_given_back = True
    return orders


async def _make(connection: Connection, paybacks: Sequence[Payback]) -> list[Refund]:
    """Write the refunds.

    Raises Conflict if another transaction has taken a reference meanwhile, and DocumentPosted if
    the ledger has an entry of a refund that the table has not: its ids were set back.
    """
    commands = [payback.command for payback in paybacks]
    with (
        accounts.each_document_once(),
        each_reference_once(REFERENCE_KEY),
    ):
        rows = await queries.refunds.refund_orders(
            connection,
            order_ids=[payback.order.id for payback in paybacks],
            user_ids=[payback.user_id for payback in paybacks],
            amounts=[payback.amount for payback in paybacks],
            balances_after=[payback.balance_after for payback in paybacks],
            refs=[command.reference for command in commands],
            metadata=[command.metadata for command in commands],
            payloads=[outbox.dump(_describe(payback)) for payback in paybacks],
            request_ids=[command.origin.request_id for command in commands],
            actors=[command.origin.actor for command in commands],
            traceparents=[command.origin.traceparent for command in commands],
            are_benefits=[payback.order.is_benefit for payback in paybacks],
        )
    return [
        Refund(
            row["id"],
            payback.order.id,
            payback.amount,
            row["created_at"],
            payback.command.reference,
            metadata.read(payback.command.metadata),
        )
        for row, payback in zip(rows, paybacks, strict=True)
    ]


def _describe(payback: Payback) -> NewRefund:
    """Return what the event says; the statement adds the id of the refund."""
    return {
        "order_id": payback.order.id,
        "user_id": payback.user_id,
        "amount": payback.amount,
        "refunded": payback.refunded,
        "balance_after": payback.balance_after,
    }
