"""Group commit and group read: gathering, bounds, faults and retries, on a real database."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import asyncpg
import pytest

from rowlock.accounts.rules import CreateUser
from rowlock.accounts.transactions import create_users
from rowlock.benefits.rules import PlacedOrder, PlaceOrder
from rowlock.benefits.transactions import place_orders
from rowlock.engine.database import Connection as AnyConnection
from rowlock.engine.database import Database
from rowlock.engine.lanes import Lane, WriteLane, group_read
from rowlock.engine.wakes import Wake
from rowlock.errors import DatabaseBusy, DatabaseUnavailable, Draining, OutcomeUnknown, Overloaded
from rowlock.settings import Settings
from tests.support.polling import until
from tests.support.proxy import Proxy
from tests.support.sessions import count_waiting, end_others
from tests.support.types import Connection


class Gate:
    """A `run` that notes its batches and lets them go on when told to."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.opened = asyncio.Event()

    async def run(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        await self.opened.wait()
        return [item * 10 for item in items]


@pytest.fixture
def gate() -> Gate:
    return Gate()


async def test_lane__idle__batch_of_one_at_once(gate: Gate, settings: Settings) -> None:
    gate.opened.set()
    lane = Lane[int, int]("test", gate.run, settings.batches)
    assert await lane.submit(1) == 10
    assert gate.batches == [[1]]


async def test_lane__busy__next_batch_gathers_in_arrival_order(
    gate: Gate, settings: Settings
) -> None:
    lane = Lane[int, int]("test", gate.run, settings.batches)
    first = asyncio.create_task(lane.submit(1))
    await until(lambda: gate.batches == [[1]])
    others = [asyncio.create_task(lane.submit(item)) for item in (4, 2, 3)]
    await asyncio.sleep(0)
    gate.opened.set()
    assert await asyncio.gather(first, *others) == [10, 40, 20, 30]
    assert gate.batches == [[1], [4, 2, 3]]


async def test_lane__more_than_a_batch_holds__split(gate: Gate, settings: Settings) -> None:
    gate.opened.set()
    lane = Lane[int, int]("test", gate.run, settings.changed(batch_items=2).batches)
    assert await asyncio.gather(*map(lane.submit, range(5))) == [0, 10, 20, 30, 40]
    assert gate.batches == [[0, 1], [2, 3], [4]]


async def test_lane__queue_full__overloaded_at_once(gate: Gate, settings: Settings) -> None:
    lane = Lane[int, int]("test", gate.run, settings.changed(batch_queue=2).batches)
    first = asyncio.create_task(lane.submit(0))
    await until(lambda: gate.batches)
    waiting = [asyncio.create_task(lane.submit(item)) for item in (1, 2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await lane.submit(3)
    gate.opened.set()
    assert await asyncio.gather(first, *waiting) == [0, 10, 20]


async def test_lane__waited_too_long__overloaded_instead_of_run(
    gate: Gate, settings: Settings
) -> None:
    loop = asyncio.get_running_loop()
    lane = Lane[int, int]("test", gate.run, settings.changed(batch_wait_s=0.6).batches)
    first = asyncio.create_task(lane.submit(0))
    await until(lambda: gate.batches)
    late = asyncio.create_task(lane.submit(1))
    await asyncio.sleep(0)
    submitted = loop.time()
    await until(lambda: loop.time() > submitted + 0.7)
    gate.opened.set()
    assert await first == 0
    with pytest.raises(Overloaded):
        await late
    assert gate.batches == [[0]]


async def test_lane__caller_cancelled__item_runs_and_others_are_answered(
    gate: Gate, settings: Settings
) -> None:
    lane = Lane[int, int]("test", gate.run, settings.batches)
    cancelled, other = (asyncio.create_task(lane.submit(item)) for item in (1, 2))
    await until(lambda: gate.batches)
    cancelled.cancel()
    gate.opened.set()
    assert await other == 20
    assert gate.batches == [[1, 2]]


@pytest.mark.parametrize("guilty", [0, 1, 300, 511])
async def test_lane__one_guilty_of_many__alone_to_fail_after_few_runs(
    settings: Settings, guilty: int
) -> None:
    batches: list[list[int]] = []

    async def run(items: list[int]) -> list[int]:
        batches.append(items)
        if guilty in items:
            raise ValueError
        return items

    lane = Lane[int, int]("test", run, settings.batches)
    results = await asyncio.gather(*map(lane.submit, range(512)), return_exceptions=True)
    assert isinstance(results[guilty], ValueError)
    expected = [number for number in range(512) if number != guilty]
    assert results[:guilty] + results[guilty + 1 :] == expected
    assert [item for items in batches if guilty not in items for item in items] == expected
    assert len(batches) < 20


async def test_lane__closed__settles_what_it_has_and_takes_no_more(
    gate: Gate, settings: Settings
) -> None:
    lane = Lane[int, int]("test", gate.run, settings.batches)
    first = asyncio.create_task(lane.submit(1))
    await until(lambda: gate.batches)
    second = asyncio.create_task(lane.submit(2))
    await asyncio.sleep(0)
    closing = asyncio.create_task(lane.close())
    await asyncio.sleep(0)
    with pytest.raises(Draining):
        await lane.submit(3)
    gate.opened.set()
    await closing
    assert [first.result(), second.result()] == [10, 20]


async def test_write_lane__too_few_outcomes__rolled_back_and_run_one_by_one(
    database: Database, connection: Connection, settings: Settings
) -> None:
    async def forgetful(batch: AnyConnection, commands: Sequence[CreateUser]) -> list[bool]:
        return (await create_users(batch, commands))[:1]

    lane = WriteLane("test", database, forgetful, settings.batches)
    outcomes = await asyncio.gather(*(lane.submit(CreateUser(name, 1)) for name in ("ada", "bob")))
    assert outcomes == [True, True]
    assert await connection.fetchval("SELECT count(*) FROM outbox") == 2


async def test_write_lane__poison_command__fails_alone(
    database: Database, connection: Connection, settings: Settings
) -> None:
    # Validation keeps NUL out; behind it, PostgreSQL refuses the whole statement.
    lane = WriteLane("test", database, create_users, settings.batches)
    names = ["ada", "po\0ison", "grace"]
    results = await asyncio.gather(
        *(lane.submit(CreateUser(name, 100)) for name in names), return_exceptions=True
    )
    assert results[0] is True
    assert isinstance(results[1], asyncpg.CharacterNotInRepertoireError)
    assert results[2] is True
    rows = await connection.fetch("SELECT username FROM users ORDER BY username")
    assert [row["username"] for row in rows] == ["ada", "grace"]


async def test_write_lane__wakes_a_task__by_commits_only(
    database: Database, settings: Settings
) -> None:
    wake = Wake()
    lane = WriteLane("test", database, create_users, settings.batches, wake)
    with pytest.raises(asyncpg.CharacterNotInRepertoireError):
        await lane.submit(CreateUser("po\0ison", 1))
    waiting = asyncio.create_task(wake.wait(3600))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    assert await lane.submit(CreateUser("ada", 1)) is True
    async with asyncio.timeout(10):
        await waiting


async def test_write_lane__deadlock__whole_batch_is_retried(
    database: Database, connection: Connection, catalogue: dict[str, int], settings: Settings
) -> None:
    await create(database, settings, "ada", "grace")

    async def place(batch: AnyConnection, commands: Sequence[PlaceOrder]) -> Sequence[Any]:
        # A session looks for a deadlock once: by then it must be there.
        await batch.execute("SET LOCAL deadlock_timeout = '2s'")
        return await place_orders(batch, commands)

    lane = WriteLane("test", database, place, settings.batches)
    other = connection.transaction()
    await other.start()
    # The batch is to be the victim: this session never looks for a deadlock.
    await connection.execute("SET LOCAL deadlock_timeout = '1h'")
    await lock(connection, "grace")
    orders = asyncio.gather(
        *(lane.submit(PlaceOrder(name, ("netflix",))) for name in ("ada", "grace"))
    )

    async def is_waiting() -> int:
        async with database.connection() as watcher:
            return await count_waiting(watcher)

    # The batch holds ada and waits for grace; now we hold grace and wait for ada.
    await until(is_waiting)
    await lock(connection, "ada")
    await other.rollback()
    outcomes = await orders
    assert all(isinstance(outcome, PlacedOrder) for outcome in outcomes)
    assert await connection.fetchval("SELECT count(*) FROM orders") == 2


async def test_write_lane__row_locked_by_somebody__others_go_on(
    database_url: str, connection: Connection, catalogue: dict[str, int]
) -> None:
    limits = Settings().changed(lock_timeout_s=0.1, batch_wait_s=60.0)
    async with Database(database_url, limits.database) as database:
        await create(database, limits, "ada", "grace")
        lane = WriteLane("test", database, place_orders, limits.batches)
        async with connection.transaction():
            await lock(connection, "ada")
            blocked, free = await asyncio.gather(
                *(lane.submit(PlaceOrder(name, ("netflix",))) for name in ("ada", "grace")),
                return_exceptions=True,
            )
    assert isinstance(blocked, DatabaseBusy)
    assert isinstance(free, PlacedOrder)


async def test_write_lane__connection_killed_before_commit__unavailable_and_nothing_changed(
    database: Database, connection: Connection, settings: Settings
) -> None:
    async def killed(batch: AnyConnection, commands: Sequence[CreateUser]) -> list[bool]:
        created = await create_users(batch, commands)
        await end_others(connection)
        await create_users(batch, [CreateUser("never", 1)])
        return created

    lane = WriteLane("test", database, killed, settings.batches)
    with pytest.raises(DatabaseUnavailable):
        await lane.submit(CreateUser("ada", 100))
    assert await connection.fetchval("SELECT count(*) FROM users") == 0
    lane = WriteLane("test", database, create_users, settings.batches)
    assert await lane.submit(CreateUser("ada", 100)) is True


async def test_write_lane__connection_killed_at_commit__outcome_unknown(
    database: Database, connection: Connection, settings: Settings
) -> None:
    async def killed(batch: AnyConnection, commands: Sequence[CreateUser]) -> list[bool]:
        created = await create_users(batch, commands)
        await end_others(connection)
        return created

    lane = WriteLane("test", database, killed, settings.batches)
    with pytest.raises(OutcomeUnknown):
        await lane.submit(CreateUser("ada", 100))


async def test_write_lane__server_does_not_answer__busy_within_the_timeout(
    database_url: str, connection: Connection
) -> None:
    limits = Settings().changed(statement_timeout_s=0.1)
    async with Database(database_url, limits.database) as database:
        lane = WriteLane("test", database, create_users, limits.batches)
        async with connection.transaction():
            await connection.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(DatabaseBusy):
                await lane.submit(CreateUser("ada", 100))
        assert await connection.fetchval("SELECT count(*) FROM users") == 0


async def test_transaction__another_isolation_by_default__read_committed(
    empty_database_url: str, settings: Settings
) -> None:
    connection = await asyncpg.connect(empty_database_url)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(
        f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"
    )
    await connection.close()
    async with (
        Database(empty_database_url, settings.database) as database,
        database.transaction() as transaction,
    ):
        assert await transaction.fetchval("SHOW transaction_isolation") == "read committed"


async def test_group_read__many_keys__one_statement_with_unique_keys(
    database: Database, settings: Settings
) -> None:
    seen: list[list[int]] = []

    async def fetch(_connection: AnyConnection, keys: list[int]) -> dict[int, str]:
        seen.append(keys)
        return {key: f"row {key}" for key in keys if key != 404}

    lane = group_read("test", database, fetch, settings.batches)
    results = await asyncio.gather(*map(lane.submit, (1, 2, 1, 404)))
    assert results == ["row 1", "row 2", "row 1", None]
    assert seen == [[1, 2, 404]]


async def create(database: Database, limits: Settings, *usernames: str) -> None:
    lane = WriteLane("create", database, create_users, limits.batches)
    await asyncio.gather(*(lane.submit(CreateUser(name, 1_000_00)) for name in usernames))


async def lock(connection: Connection, username: str) -> None:
    await connection.fetch("SELECT 1 FROM users WHERE username = $1 FOR UPDATE", username)


async def test_lane__cancelled_within__outcome_unknown_and_the_next_item_runs(
    settings: Settings,
) -> None:
    """As a driver might do that mistakes whose task it cancels."""
    calls: list[list[int]] = []

    async def run(items: list[int]) -> list[int]:
        calls.append(items)
        if len(calls) == 1:
            raise asyncio.CancelledError
        return items

    lane = Lane[int, int]("test", run, settings.batches)
    async with asyncio.timeout(60):
        with pytest.raises(OutcomeUnknown):
            await lane.submit(1)
        assert await lane.submit(2) == 2


async def test_write_lane__connection_retired_but_no_goodbye__committed_once(
    database_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncpg retires a connection after so many queries, and waits for the server to close it."""
    monkeypatch.setattr(asyncpg, "create_pool", partial(asyncpg.create_pool, max_queries=1))
    # What asyncpg sends to say goodbye does not arrive.
    async with (
        Proxy.to(database_url, loses=lambda data: data.startswith(b"X")) as proxy,
        Database(proxy.url, settings.database) as database,
    ):
        lane = WriteLane("test", database, create_users, settings.batches)
        answers = await asyncio.gather(*(lane.submit(CreateUser(n, 1)) for n in ("ada", "bob")))
    assert answers == [True, True]
