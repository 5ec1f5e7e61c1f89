"""References of documents, as two processes give them out at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from rowlock.engine.database import Connection as AnyConnection
from rowlock.engine.database import Database
from rowlock.engine.faults import Conflict
from rowlock.invoices.rules import CreateInvoice, CreateInvoices
from rowlock.invoices.transactions import create_invoices, create_many
from rowlock.orders.rules import CreateOrder, Item, SettleOrder
from rowlock.orders.transactions import create_orders, settle_orders
from rowlock.refunds.rules import RefundOrder
from rowlock.refunds.transactions import refund_orders
from rowlock.rejections import Rejection
from rowlock.settings import Settings
from rowlock.transfers.rules import MakeTransfer
from rowlock.transfers.transactions import make_transfers
from tests.support.polling import until
from tests.support.types import Connection, OpenAccount

Make = Callable[[AnyConnection, Sequence[Any]], Awaitable[Sequence[Any]]]
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'"""


# For each kind: the lane's function, and a command by its number, from 1, and its reference. Each
# process has users and orders of its own: they meet in the references alone.
KINDS: dict[str, tuple[Make, Callable[[int, str | None], Any]]] = {
    "orders": (
        create_orders,
        lambda number, reference: CreateOrder(number, (Item(1, 1),), reference=reference),
    ),
    "invoices": (
        create_invoices,
        lambda number, reference: CreateInvoice(number, 5, "Work", reference=reference),
    ),
    "invoices of one request": (
        create_many,
        lambda number, reference: CreateInvoices(
            (CreateInvoice(number, 5, "Work", reference=reference),)
        ),
    ),
    "transfers": (
        make_transfers,
        lambda number, reference: MakeTransfer(
            number, (number + 5) % 12 + 1, 1, "Lunch", reference=reference
        ),
    ),
    "refunds": (
        refund_orders,
        lambda number, reference: RefundOrder(number, 1, reference=reference),
    ),
}


@pytest.fixture
async def accounts(
    database: Database, open_account: OpenAccount, catalogue: dict[str, int]
) -> list[int]:
    """Users 1 to 12, each with an approved order of the same number."""
    users = [await open_account(f"user-{number}", 10_000_000) for number in range(1, 13)]
    async with database.transaction() as transaction:
        await create_orders(transaction, [CreateOrder(each, (Item(1, 1),)) for each in users])
    async with database.transaction() as transaction:
        await settle_orders(transaction, [SettleOrder(each, 0) for each in users], 1.0)
    return users


@pytest.mark.parametrize("kind", KINDS)
async def test_references__in_opposite_orders_at_once__no_deadlock(
    accounts: list[int], database_url: str, settings: Settings, connection: Connection, kind: str
) -> None:
    """The first process takes B and waits for M; the second one has taken A, if it has not sorted.

    Then each would wait for the other one.
    """
    make, command = KINDS[kind]

    async def commit(database: Database, commands: Sequence[Any]) -> Sequence[Any]:
        async with database.transaction() as transaction:
            return await make(transaction, commands)

    patient = settings.changed(lock_timeout_s=30.0).database
    async with (
        Database(database_url, patient) as holder,
        Database(database_url, patient) as one,
        Database(database_url, patient) as two,
    ):
        async with holder.connection() as held:
            transaction = held.transaction()
            await transaction.start()
            await make(held, [command(12, "M")])
            first = asyncio.create_task(
                commit(one, [command(1, "B"), command(2, "M"), command(3, "A")])
            )
            await until(lambda: _count(connection, 1))
            second = asyncio.create_task(commit(two, [command(4, "A"), command(5, "B")]))
            await until(lambda: _count(connection, 2))
            await transaction.rollback()
        outcomes = await asyncio.gather(first, second, return_exceptions=True)
    assert isinstance(outcomes[0], list)
    assert not any(isinstance(each, Rejection) for each in outcomes[0])
    assert isinstance(outcomes[1], Conflict)  # the lane runs it again, and finds the references


async def _count(connection: Connection, waiting: int) -> bool:
    return bool(await connection.fetchval(WAITING) == waiting)


@pytest.mark.parametrize("kind", KINDS)
async def test_references__not_in_order__each_answer_is_that_of_its_command(
    accounts: list[int], database: Database, connection: Connection, kind: str
) -> None:
    make, command = KINDS[kind]
    references = ["C", None, "A", "B", None]
    async with database.transaction() as transaction:
        made = await make(
            transaction,
            [command(number, reference) for number, reference in enumerate(references, start=1)],
        )
    table = kind.split(maxsplit=1)[0]
    of = {
        "orders": "user_id", "invoices": "user_id", "transfers": "from_user_id",
        "refunds": "order_id",
    }[table]  # fmt: skip
    documents = [each[0] if isinstance(each, list) else each for each in made]
    stored = [
        tuple(
            await connection.fetchrow(f"SELECT {of}, reference FROM {table} WHERE id = $1", each.id)
            or ()
        )
        for each in documents
    ]
    assert stored == [*enumerate(references, start=1)]
    events = await connection.fetch(
        "SELECT payload->>$1 AS number FROM outbox WHERE name = $2 ORDER BY position DESC LIMIT 5",
        of,
        {"orders": "order.created", "invoices": "invoice.created", "transfers": "transfer.made",
         "refunds": "order.refunded"}[table],
    )  # fmt: skip
    assert [event["number"] for event in events] == ["5", "4", "3", "2", "1"]
