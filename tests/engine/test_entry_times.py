"""Times of entries and documents: after the lock, and never backwards within an account."""

import asyncio
import random
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from rowlock.accounts import Accounts
from rowlock.benefits import Benefits
from rowlock.benefits.rules import PlaceOrder
from rowlock.engine.database import Connection as AnyConnection
from rowlock.engine.database import Database
from rowlock.engine.wakes import Wake
from rowlock.invoices import Invoices
from rowlock.invoices.rules import CreateInvoice, Invoice, PayInvoice, ReverseInvoice
from rowlock.orders import Orders
from rowlock.orders.rules import CreateOrder, Item, Order, SettleOrder
from rowlock.refunds import Refunds
from rowlock.refunds.rules import RefundOrder
from rowlock.settings import Settings
from rowlock.transfers import Transfers
from rowlock.transfers.rules import MakeTransfer, Transfer
from rowlock.transfers.transactions import make_transfers
from tests.support.polling import until
from tests.support.types import Connection, OpenAccount

# Entries that are older than the one before them.
BACKWARDS = """
    SELECT * FROM (
        SELECT *, lag(created_at) OVER (PARTITION BY user_id ORDER BY id) AS before
        FROM ledger_entries) AS entry
    WHERE created_at < before"""
# Documents whose own time, or that of their event, is not their entry's.
DIFFERING = """
    SELECT entry.reference, entry.created_at, outbox.created_at AS event_at, document_at
    FROM (
        SELECT entry.*, refunds.id AS refund_id,
            coalesce(
                settled_at,
                invoices.paid_at,
                undone.reversed_at,
                transfers.created_at,
                refunds.created_at
            ) AS document_at
        FROM ledger_entries AS entry
        LEFT JOIN orders ON document_kind = 'order' AND orders.id = document_id
        LEFT JOIN invoices ON document_kind = 'invoice' AND invoices.id = document_id
        LEFT JOIN invoices AS undone ON document_kind = 'reversal' AND undone.id = document_id
        LEFT JOIN transfers ON document_kind = 'transfer' AND transfers.id = document_id
        LEFT JOIN refunds ON document_kind = 'refund' AND refunds.id = document_id
    ) AS entry
    JOIN outbox ON (
        subject = replace(entry.reference, 'reversal', 'invoice')
        AND (name, document_kind) IN (
            ('benefit_order.placed', 'order'), ('order.approved', 'order'),
            ('invoice.paid', 'invoice'), ('invoice.reversed', 'reversal'),
            ('transfer.made', 'transfer'))
    ) OR (name = 'order.refunded' AND payload->'refund_id' = to_jsonb(refund_id))
    WHERE document_at <> entry.created_at OR outbox.created_at <> entry.created_at
    """


async def post_as_before(connection: AnyConnection, user_id: int, invoice_id: int) -> None:
    """Post an entry over 1 as release 0.1.0 does: without a document, at the time of BEGIN."""
    async with connection.transaction():
        balance = await connection.fetchval(
            "SELECT balance FROM users WHERE id = $1 FOR NO KEY UPDATE", user_id
        )
        await connection.execute(
            "INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference) "
            "VALUES ($1, 1, $2, 'invoice', 'invoice:' || $3::bigint)",
            user_id,
            balance + 1,
            invoice_id,
        )
        await connection.execute("UPDATE users SET balance = balance + 1 WHERE id = $1", user_id)


async def credit_in_future(connection: Connection, user_id: int, time: datetime) -> None:
    """Post an entry over 1 by a clock that is ahead."""
    await connection.execute(
        "INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference, created_at)"
        " SELECT id, 1, balance + 1, 'invoice', 'invoice:' || 1000 + id, $2"
        " FROM users WHERE id = $1",
        user_id,
        time,
    )
    await connection.execute("UPDATE users SET balance = balance + 1 WHERE id = $1", user_id)


class Till:
    """One process that moves money."""

    def __init__(self, database: Database, settings: Settings) -> None:
        accounts = Accounts(database, settings.batches)
        self._benefits = Benefits(
            database, settings.batches, settings.benefits, settings.money, accounts
        )
        self._invoices = Invoices(database, settings.batches)
        self._orders = Orders(database, settings.batches, settings.orders, Wake())
        self._transfers = Transfers(database, settings.batches)
        self._refunds = Refunds(database, settings.batches)

    async def buy(self, username: str, slug: str) -> None:
        """Buy a benefit."""
        await self._benefits.place_order.submit(PlaceOrder(username, (slug,)))

    async def earn(self, user_id: int) -> None:
        """Issue an invoice and pay it."""
        invoice = await self._invoices.create.submit(CreateInvoice(user_id, 100, "Work"))
        assert isinstance(invoice, Invoice)
        await self._invoices.pay.submit(PayInvoice(invoice.id))

    async def give_back(self, user_id: int) -> None:
        """Issue an invoice, pay it and reverse that."""
        invoice = await self._invoices.create.submit(CreateInvoice(user_id, 100, "Work"))
        assert isinstance(invoice, Invoice)
        await self._invoices.pay.submit(PayInvoice(invoice.id))
        await self._invoices.reverse.submit(ReverseInvoice(invoice.id))

    async def transfer(self, from_user_id: int, to_user_id: int) -> None:
        """Let a user pay another."""
        await self._transfers.make.submit(MakeTransfer(from_user_id, to_user_id, 1, "Lunch"))

    async def order(self, user_id: int) -> int:
        """Order something and settle it, unless the user is locked; return the order's id."""
        order = await self._orders.create.submit(CreateOrder(user_id, (Item(1, 1),)))
        assert isinstance(order, Order)
        await self._orders.settle.submit(SettleOrder(order.id, 0))
        return order.id

    async def return_(self, user_id: int) -> None:
        """Order something, and have it refunded, if it was settled."""
        await self._refunds.make.submit(RefundOrder(await self.order(user_id), None))


@pytest.fixture
def till(database: Database, settings: Settings, catalogue: dict[str, int]) -> Till:
    return Till(database, settings)


async def test_entry__row_held_meanwhile__time_is_after_the_lock(
    till: Till, database_url: str, connection: Connection, open_account: OpenAccount
) -> None:
    """What waits for a row since before another change of it gets the later time, too."""
    user_id = await open_account("ada", 1_000_000)
    holder = await asyncpg.connect(database_url)
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("SELECT 1 FROM users WHERE id = $1 FOR NO KEY UPDATE", user_id)
    waiting: list[asyncio.Task[Any]] = [
        asyncio.create_task(till.buy("ada", "netflix")),
        asyncio.create_task(till.earn(user_id)),
    ]
    locks = "SELECT count(*) = 2 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    await until(lambda: connection.fetchval(locks))
    released: datetime = await connection.fetchval("SELECT clock_timestamp()")
    await transaction.commit()
    await holder.close()
    await asyncio.gather(*waiting)
    rows = await connection.fetch("SELECT created_at FROM ledger_entries ORDER BY id OFFSET 1")
    assert [row["created_at"] >= released for row in rows] == [True, True]
    assert await connection.fetch(BACKWARDS) == []
    assert await connection.fetch(DIFFERING) == []


async def test_entry__clock_was_set_back__not_before_the_last_one(
    till: Till, connection: Connection, open_account: OpenAccount
) -> None:
    user_id = await open_account("ada", 1_000_000)
    ahead = datetime.now(UTC) + timedelta(hours=1)
    await credit_in_future(connection, user_id, ahead)
    await till.buy("ada", "netflix")
    await till.earn(user_id)
    await till.order(user_id)
    await till.return_(user_id)
    await post_as_before(connection, user_id, 2000)
    await till.give_back(user_id)
    other_id = await open_account("grace", 10)
    for pair in ((user_id, other_id), (other_id, user_id)):
        await till.transfer(*pair)
    rows = await connection.fetch(
        "SELECT created_at FROM ledger_entries WHERE document_kind <> 'opening' ORDER BY id"
    )
    assert [row["created_at"] for row in rows] == [ahead] * 13
    assert await connection.fetch(BACKWARDS) == []
    assert await connection.fetch(DIFFERING) == []


async def test_transfers__one_account_ahead__only_those_after_it_are_delayed(
    database: Database, connection: Connection, open_account: OpenAccount
) -> None:
    """In a batch as one after another: who shares no user with that account keeps the time."""
    ada, grace, alan, edsger, barbara = [
        await open_account(name, 1000) for name in ("ada", "grace", "alan", "edsger", "barbara")
    ]
    ahead = datetime.now(UTC) + timedelta(hours=1)
    await credit_in_future(connection, ada, ahead)
    pairs = [
        (alan, edsger),  # before the time has got to them
        (grace, ada),
        (edsger, grace),
        (alan, barbara),
        (edsger, alan),
        (barbara, alan),
    ]
    async with database.transaction() as transaction:
        made = await make_transfers(
            transaction, [MakeTransfer(source, target, 1, "Lunch") for source, target in pairs]
        )
    delayed = [isinstance(each, Transfer) and each.created_at == ahead for each in made]
    assert delayed == [False, True, True, False, True, True]
    assert await connection.fetch(BACKWARDS) == []
    assert await connection.fetch(DIFFERING) == []


@pytest.mark.parametrize("seed", range(20))
async def test_transfers__any_accounts_ahead__times_as_one_after_another(
    database: Database, connection: Connection, open_account: OpenAccount, seed: int
) -> None:
    rng = random.Random(seed)
    users = [await open_account(f"user-{number}", 1000) for number in range(6)]
    now = datetime.now(UTC)
    last = dict.fromkeys(users, now)
    for user_id in rng.sample(users, rng.randrange(1, 5)):
        last[user_id] = now + timedelta(hours=rng.randrange(1, 5))
        await credit_in_future(connection, user_id, last[user_id])
    pairs = [rng.sample(users, 2) for _ in range(rng.randrange(1, 30))]
    expected = []
    for pair in pairs:
        time = max(last[user_id] for user_id in pair)
        expected.append(time if time > now else None)
        last.update(dict.fromkeys(pair, time))
    async with database.transaction() as transaction:
        made = await make_transfers(
            transaction, [MakeTransfer(source, target, 1, "Lunch") for source, target in pairs]
        )
    times = [each.created_at for each in made if isinstance(each, Transfer)]
    assert [time if time >= now + timedelta(hours=1) else None for time in times] == expected
    assert await connection.fetch(BACKWARDS) == []
    assert await connection.fetch(DIFFERING) == []


@pytest.mark.parametrize("seed", range(5))
async def test_entries__several_processes_and_the_previous_release__never_backwards(
    database_url: str,
    connection: Connection,
    settings: Settings,
    open_account: OpenAccount,
    catalogue: dict[str, int],
    seed: int,
) -> None:
    """Any mix of changes of a few accounts, by two processes and by release 0.1.0."""
    rng = random.Random(seed)
    users = {name: await open_account(name, 10_000_000) for name in ("ada", "grace", "alan")}
    async with (
        Database(database_url, settings.database) as one,
        Database(database_url, settings.database) as two,
    ):
        tills = [Till(database, settings) for database in (one, two)]

        async def post(user_id: int, invoice_id: int) -> None:
            async with one.connection() as writer:
                await post_as_before(writer, user_id, invoice_id)

        def act(number: int) -> Awaitable[None]:
            name, till = rng.choice([*users]), rng.choice(tills)
            match rng.randrange(7):
                case 0:
                    return till.buy(name, rng.choice([*catalogue]))
                case 1:
                    return till.earn(users[name])
                case 2:
                    return till.return_(users[name])
                case 3:
                    return till.give_back(users[name])
                case 4:
                    return till.transfer(*rng.sample([*users.values()], 2))
            return post(users[name], 1000 + number)

        calls = [act(number) for number in range(120)]
        await asyncio.gather(*calls)
    assert await connection.fetchval("SELECT count(*) FROM ledger_entries") > 40
    assert await connection.fetch(BACKWARDS) == []
    assert await connection.fetch(DIFFERING) == []
