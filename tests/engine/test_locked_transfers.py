"""Transfers whose users others hold: a command needs two rows, and either may be locked."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import pytest

from rowlock.accounts.rules import CreateUser
from rowlock.accounts.transactions import create_users
from rowlock.engine.database import Database
from rowlock.errors import DatabaseBusy
from rowlock.rejections import InsufficientBalance, Rejection, UserNotFound
from rowlock.settings import Settings
from rowlock.transfers import Transfers
from rowlock.transfers.rules import MakeTransfer, Transfer
from tests.support.money import assert_documents_posted, assert_money_conserved
from tests.support.polling import until
from tests.support.types import Connection

ADA, BOB, EVE, KAY = 1, 2, 3, 4
# Of lanes whose rows are freed while commands wait for them, however slow the machine is.
PATIENT = {"lock_timeout_s": 60.0, "statement_timeout_s": 60.0}
WAITS = "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


@pytest.fixture(autouse=True)
async def users(connection: Connection) -> None:
    """Ada has money, and the others have none."""
    for name, balance in (("ada", 1_000), ("bob", 0), ("eve", 0), ("kay", 0)):
        await create_users(connection, [CreateUser(name, balance)])


def pay(source: int, target: int, amount: int = 100) -> MakeTransfer:
    return MakeTransfer(source, target, amount, "Lunch")


@asynccontextmanager
async def holding(database_url: str, user_id: int) -> AsyncIterator[None]:
    """Hold the row of a user in a transaction of another session."""
    holder = await asyncpg.connect(database_url)
    try:
        async with holder.transaction():
            await holder.execute("SELECT 1 FROM users WHERE id = $1 FOR UPDATE", user_id)
            yield
    finally:
        await holder.close()


@asynccontextmanager
async def serving(database_url: str, **changes: object) -> AsyncIterator[Transfers]:
    quick = {"lock_timeout_s": 0.2, "batch_patience_s": 0.05, "batch_wait_s": 60.0}
    settings = Settings().changed(**(quick | changes))
    async with Database(database_url, settings.database) as database:
        transfers = Transfers(database, settings.batches)
        yield transfers
        await transfers.make.close()


async def make(transfers: Transfers, *commands: MakeTransfer) -> list[Any]:
    return await asyncio.gather(*map(transfers.make.submit, commands), return_exceptions=True)


def kinds(outcomes: Sequence[object]) -> list[type]:
    return [type(outcome) for outcome in outcomes]


@pytest.mark.parametrize("held", [ADA, BOB])
async def test_row_held__of_either_user__only_its_transfers_wait(
    database_url: str, connection: Connection, held: int
) -> None:
    await connection.execute("UPDATE users SET balance = 1000 WHERE id IN (3, 4)")
    async with serving(database_url) as transfers:
        async with holding(database_url, held):
            outcomes = await make(
                transfers, pay(ADA, BOB), pay(EVE, KAY), pay(99, held), pay(BOB, ADA), pay(KAY, EVE)
            )
        assert kinds(outcomes) == [DatabaseBusy, Transfer, DatabaseBusy, DatabaseBusy, Transfer]
        again = await make(transfers, pay(ADA, BOB), pay(99, held), pay(BOB, ADA))
        assert kinds(again) == [Transfer, UserNotFound, Transfer]
        assert transfers.make.waiting == 0


@pytest.mark.parametrize("first_freed", [ADA, BOB])
async def test_rows_held__both_users__made_once_both_are_free(
    database_url: str, connection: Connection, first_freed: int
) -> None:
    async with (
        serving(database_url, **PATIENT) as transfers,
        AsyncExitStack() as first,
        AsyncExitStack() as second,
    ):
        for user_id in (ADA, BOB):
            stack = first if user_id == first_freed else second
            await stack.enter_async_context(holding(database_url, user_id))
        waiting = asyncio.create_task(transfers.make.submit(pay(ADA, BOB)))
        await until(lambda: transfers.make.waiting == 1)
        await first.aclose()
        await until(lambda: connection.fetchval(WAITS))
        assert not waiting.done()
        await second.aclose()
        assert isinstance(await waiting, Transfer)
    await assert_money_conserved(connection)
    await assert_documents_posted(connection)


async def test_row_held__a_chain_of_transfers__in_arrival_order_once_it_is_free(
    database_url: str, connection: Connection
) -> None:
    """Each pays with what the one before it brings, through the row that was held."""
    async with serving(database_url, **PATIENT) as transfers:
        async with holding(database_url, BOB):
            chain = [
                asyncio.create_task(transfers.make.submit(pay(*each, 1_000)))
                for each in ((ADA, BOB), (BOB, EVE))
            ]
            await until(lambda: transfers.make.waiting == 2)
        outcomes = await asyncio.gather(*chain)
    assert kinds(outcomes) == [Transfer, Transfer]
    assert await connection.fetchval("SELECT id FROM users WHERE balance = 1000") == EVE
    await assert_documents_posted(connection)


async def test_batch__a_chain_of_transfers__in_arrival_order(
    database_url: str, connection: Connection
) -> None:
    async with serving(database_url) as transfers:
        chain = [pay(ADA, BOB, 1_000), pay(BOB, EVE, 1_000), pay(EVE, KAY, 1_000)]
        blocker = pay(ADA, 99)  # is a batch of its own: the others are the next one
        outcomes = await make(transfers, blocker, *chain, *chain)
    assert kinds(outcomes) == [UserNotFound] + [Transfer] * 3 + [InsufficientBalance] * 3
    assert await connection.fetchval("SELECT id FROM users WHERE balance = 1000") == KAY


async def test_lanes__two_processes_and_rows_held_at_random__money_is_only_moved(
    database_url: str, connection: Connection
) -> None:
    rng = random.Random(3)
    await connection.execute("UPDATE users SET balance = 1000")
    await connection.execute("ALTER TABLE ledger_entries DISABLE TRIGGER USER")
    await connection.execute("DELETE FROM ledger_entries")
    await connection.execute(
        "INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference, "
        "document_kind, document_id, contra) "
        "SELECT id, 1000, 1000, 'opening_balance', 'user:' || id, 'opening', id, 'opening' "
        "FROM users"
    )
    await connection.execute("ALTER TABLE ledger_entries ENABLE TRIGGER USER")
    stop = asyncio.Event()
    holder = await asyncpg.connect(database_url)

    async def hold() -> None:
        while not stop.is_set():
            async with holder.transaction():
                await holder.execute(
                    "SELECT 1 FROM users WHERE id = $1 FOR UPDATE", rng.randint(1, 4)
                )
                for _ in range(rng.randint(1, 100)):  # a while
                    await holder.fetchval("SELECT 1")

    async def submit(transfers: Transfers, command: MakeTransfer) -> Transfer | Rejection:
        while True:
            try:
                return await transfers.make.submit(command)
            except DatabaseBusy:
                await asyncio.sleep(0)

    async with (
        serving(database_url, lock_timeout_s=0.03) as one,
        serving(database_url, lock_timeout_s=0.03) as two,
    ):
        holding_rows = asyncio.create_task(hold())
        pairs = [rng.sample((ADA, BOB, EVE, KAY), 2) for _ in range(300)]
        commands = [pay(source, target, rng.randint(1, 900)) for source, target in pairs]
        outcomes = await asyncio.gather(
            *(submit(rng.choice([one, two]), command) for command in commands)
        )
        stop.set()
        await holding_rows
    await holder.close()
    made = sum(isinstance(outcome, Transfer) for outcome in outcomes)
    assert 0 < made < 300
    assert await connection.fetchval("SELECT count(*) FROM transfers") == made
    assert await connection.fetchval("SELECT sum(balance) FROM users") == 4_000
    await assert_money_conserved(connection)
    await assert_documents_posted(connection)
