"""Two processes' worth of engines on the same rows."""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from rowlock.accounts.rules import CreateUser
from rowlock.accounts.transactions import create_users
from rowlock.benefits.rules import PlacedOrder, PlaceOrder
from rowlock.benefits.transactions import place_orders
from rowlock.engine.database import Database
from rowlock.engine.lanes import Execute, Lane, WriteLane
from rowlock.invoices.rules import CreateInvoice, Invoice, PayInvoice
from rowlock.invoices.transactions import create_invoices, pay_invoices
from rowlock.rejections import InvoiceAlreadyPaid
from rowlock.settings import Settings
from tests.support.money import assert_money_conserved
from tests.support.types import Connection

EXECUTORS: Mapping[type, Execute[Any, Any]] = {
    CreateUser: create_users,
    PlaceOrder: place_orders,
    CreateInvoice: create_invoices,
    PayInvoice: pay_invoices,
}
USERS = [f"user-{number}" for number in range(6)]


async def test_two_engines__same_rows__nothing_lost_or_doubled(
    database_url: str, connection: Connection, catalogue: dict[str, int], settings: Settings
) -> None:
    rng = random.Random(1)
    async with (
        Database(database_url, settings.database) as one,
        Database(database_url, settings.database) as two,
    ):
        engines: list[dict[type, Lane[Any, Any]]] = [
            {
                kind: WriteLane("test", database, execute, settings.batches)
                for kind, execute in EXECUTORS.items()
            }
            for database in (one, two)
        ]

        async def submit(command: Any) -> Any:
            return await rng.choice(engines)[type(command)].submit(command)

        created = await asyncio.gather(
            *(submit(CreateUser(name, 100_000)) for name in USERS for _ in range(4))
        )
        assert sum(created) == len(USERS)
        ids = [row["id"] for row in await connection.fetch("SELECT id FROM users")]
        issued = await asyncio.gather(
            *(submit(CreateInvoice(rng.choice(ids), 100, "Work")) for _ in range(40))
        )
        # Orders lock users by name, payments lock invoices, then users by id: the same rows
        # in orders of their own, in both engines at once.
        payments = [PayInvoice(invoice.id) for invoice in issued] * 3
        orders = [PlaceOrder(name, (slug,)) for name in USERS for slug in catalogue] * 3
        commands: list[PayInvoice | PlaceOrder] = [*payments, *orders]
        rng.shuffle(commands)
        outcomes = await asyncio.gather(*map(submit, commands))
    paid = [outcome for outcome in outcomes if isinstance(outcome, Invoice)]
    assert sorted(invoice.id for invoice in paid) == sorted(invoice.id for invoice in issued)
    assert sum(isinstance(outcome, InvoiceAlreadyPaid) for outcome in outcomes) == 80
    placed = [outcome for outcome in outcomes if isinstance(outcome, PlacedOrder)]
    bought = [(order.purchase.account.id, order.purchase.products[0].id) for order in placed]
    assert len(set(bought)) == len(bought)
    assert await connection.fetchval("SELECT count(*) FROM owned_products") == len(bought)
    assert await connection.fetchval("SELECT count(*) FROM outbox") == (
        len(USERS) + len(issued) * 2 + len(placed)
    )
    await assert_money_conserved(connection)
