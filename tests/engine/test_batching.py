"""Group commit and group read: gathering, bounds, faults and retries, on a real database."""

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from rowlock.accounts.transactions import create_users
from rowlock.accounts.rules import CreateUser
from rowlock.engine.lanes import Lane, group_commit, group_read
from rowlock.benefits.transactions import PlacedOrder, place_orders
from rowlock.benefits.rules import PlaceOrder
from rowlock.engine.database import Database
from rowlock.errors import DatabaseBusy, DatabaseUnavailable, Draining, OutcomeUnknown, Overloaded
from rowlock.settings import Settings
from tests.polling import until


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


async def test_lane__idle__batch_of_one_at_once(gate, settings):
    gate.opened.set()
    lane = Lane("test", gate.run, settings)
    assert await lane.submit(1) == 10
    assert gate.batches == [[1]]


async def test_lane__busy__next_batch_gathers_in_arrival_order(gate, settings):
    lane = Lane("test", gate.run, settings)
    first = asyncio.create_task(lane.submit(1))
    await until(lambda: gate.batches == [[1]])
    others = [asyncio.create_task(lane.submit(item)) for item in (4, 2, 3)]
    await asyncio.sleep(0)
    gate.opened.set()
    assert await asyncio.gather(first, *others) == [10, 40, 20, 30]
    assert gate.batches == [[1], [4, 2, 3]]


async def test_lane__more_than_a_batch_holds__split(gate, settings):
    gate.opened.set()
    lane = Lane("test", gate.run, replace(settings, batch_items=2))
    assert await asyncio.gather(*map(lane.submit, range(5))) == [0, 10, 20, 30, 40]
    assert gate.batches == [[0, 1], [2, 3], [4]]


async def test_lane__queue_full__overloaded_at_once(gate, settings):
    lane = Lane("test", gate.run, replace(settings, batch_queue=2))
    first = asyncio.create_task(lane.submit(0))
    await until(lambda: gate.batches)
    waiting = [asyncio.create_task(lane.submit(item)) for item in (1, 2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await lane.submit(3)
    gate.opened.set()
    assert await asyncio.gather(first, *waiting) == [0, 10, 20]


async def test_lane__waited_too_long__overloaded_instead_of_run(gate, settings):
    loop = asyncio.get_running_loop()
    lane = Lane("test", gate.run, replace(settings, batch_wait_s=0.05))
    first = asyncio.create_task(lane.submit(0))
    await until(lambda: gate.batches)
    late = asyncio.create_task(lane.submit(1))
    submitted = loop.time()
    await until(lambda: loop.time() > submitted + 0.1)
    gate.opened.set()
    assert await first == 0
    with pytest.raises(Overloaded):
        await late
    assert gate.batches == [[0]]


async def test_lane__caller_cancelled__item_runs_and_others_are_answered(gate, settings):
    lane = Lane("test", gate.run, settings)
    cancelled, other = (asyncio.create_task(lane.submit(item)) for item in (1, 2))
    await until(lambda: gate.batches)
    cancelled.cancel()
    gate.opened.set()
    assert await other == 20
    assert gate.batches == [[1, 2]]


@pytest.mark.parametrize("guilty", [0, 1, 300, 511])
async def test_lane__one_guilty_of_many__alone_to_fail_after_few_runs(settings, guilty):
    batches: list[list[int]] = []

    async def run(items: list[int]) -> list[int]:
        batches.append(items)
        if guilty in items:
            raise ValueError
        return items

    lane = Lane("test", run, settings)
    results = await asyncio.gather(*map(lane.submit, range(512)), return_exceptions=True)
    assert isinstance(results[guilty], ValueError)
    expected = [number for number in range(512) if number != guilty]
    assert results[:guilty] + results[guilty + 1 :] == expected
    assert [item for items in batches if guilty not in items for item in items] == expected
    assert len(batches) < 20


async def test_lane__closed__settles_what_it_has_and_takes_no_more(gate, settings):
    lane = Lane("test", gate.run, settings)
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


async def test_group_commit__too_few_outcomes__rolled_back_and_run_one_by_one(
    database, connection, settings
):
    async def forgetful(batch, commands):
        return (await create_users(batch, commands))[:1]

    lane = group_commit("test", database, forgetful, settings)
    outcomes = await asyncio.gather(*(lane.submit(CreateUser(name, 1)) for name in ("ada", "bob")))
    assert outcomes == [True, True]
    assert await connection.fetchval("SELECT count(*) FROM outbox") == 2


async def test_group_commit__poison_command__fails_alone(database, connection, settings):
    # Validation keeps NUL out; behind it, PostgreSQL refuses the whole statement.
    lane = group_commit("test", database, create_users, settings)
    names = ["ada", "po\0ison", "grace"]
    results = await asyncio.gather(
        *(lane.submit(CreateUser(name, 100)) for name in names), return_exceptions=True
    )
    assert results[0] is True
    assert isinstance(results[1], asyncpg.CharacterNotInRepertoireError)
    assert results[2] is True
    rows = await connection.fetch("SELECT username FROM users ORDER BY username")
    assert [row["username"] for row in rows] == ["ada", "grace"]


async def test_group_commit__deadlock__whole_batch_is_retried(
    database, connection, catalogue, settings
):
    await create(database, settings, "ada", "grace")
    lane = group_commit("test", database, place_orders, settings)
    other = connection.transaction()
    await other.start()
    await lock(connection, "grace")
    orders = asyncio.gather(
        *(lane.submit(PlaceOrder(name, ("netflix",))) for name in ("ada", "grace"))
    )
    # The batch holds ada and waits for grace; now we hold grace and wait for ada.
    await until(lambda: waits_for_lock(database))
    await lock(connection, "ada")
    await other.rollback()
    outcomes = await orders
    assert all(isinstance(outcome, PlacedOrder) for outcome in outcomes)
    assert await connection.fetchval("SELECT count(*) FROM orders") == 2


async def test_group_commit__row_locked_by_somebody__others_go_on(
    database_url, connection, catalogue
):
    limits = Settings(lock_timeout_s=0.1)
    async with Database(database_url, limits) as database:
        await create(database, limits, "ada", "grace")
        lane = group_commit("test", database, place_orders, limits)
        async with connection.transaction():
            await lock(connection, "ada")
            blocked, free = await asyncio.gather(
                *(lane.submit(PlaceOrder(name, ("netflix",))) for name in ("ada", "grace")),
                return_exceptions=True,
            )
    assert isinstance(blocked, DatabaseBusy)
    assert isinstance(free, PlacedOrder)


async def test_group_commit__connection_killed_before_commit__unavailable_and_nothing_changed(
    database, connection, settings
):
    async def killed(batch, commands):
        created = await create_users(batch, commands)
        await kill_others(connection)
        await create_users(batch, [CreateUser("never", 1)])
        return created

    lane = group_commit("test", database, killed, settings)
    with pytest.raises(DatabaseUnavailable):
        await lane.submit(CreateUser("ada", 100))
    assert await connection.fetchval("SELECT count(*) FROM users") == 0
    lane = group_commit("test", database, create_users, settings)
    assert await lane.submit(CreateUser("ada", 100)) is True


async def test_group_commit__connection_killed_at_commit__outcome_unknown(
    database, connection, settings
):
    async def killed(batch, commands):
        created = await create_users(batch, commands)
        await kill_others(connection)
        return created

    lane = group_commit("test", database, killed, settings)
    with pytest.raises(OutcomeUnknown):
        await lane.submit(CreateUser("ada", 100))


async def test_group_commit__server_does_not_answer__busy_within_the_timeout(
    database_url, connection
):
    limits = Settings(statement_timeout_s=0.1)
    async with Database(database_url, limits) as database:
        lane = group_commit("test", database, create_users, limits)
        async with connection.transaction():
            await connection.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(DatabaseBusy):
                await lane.submit(CreateUser("ada", 100))
        assert await connection.fetchval("SELECT count(*) FROM users") == 0


async def test_transaction__another_isolation_by_default__read_committed(
    empty_database_url, settings
):
    connection = await asyncpg.connect(empty_database_url)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(
        f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"
    )
    await connection.close()
    async with (
        Database(empty_database_url, settings) as database,
        database.transaction() as connection,
    ):
        assert await connection.fetchval("SHOW transaction_isolation") == "read committed"


async def test_group_read__many_keys__one_statement_with_unique_keys(database, settings):
    seen: list[list[int]] = []

    async def fetch(_connection, keys: list[int]) -> dict[int, str]:
        seen.append(keys)
        return {key: f"row {key}" for key in keys if key != 404}

    lane = group_read("test", database, fetch, settings)
    results = await asyncio.gather(*map(lane.submit, (1, 2, 1, 404)))
    assert results == ["row 1", "row 2", "row 1", None]
    assert seen == [[1, 2, 404]]


async def create(database: Database, limits: Settings, *usernames: str) -> None:
    lane = group_commit("create", database, create_users, limits)
    await asyncio.gather(*(lane.submit(CreateUser(name, 1_000_00)) for name in usernames))


async def lock(connection: asyncpg.Connection, username: str) -> None:
    await connection.fetch("SELECT 1 FROM users WHERE username = $1 FOR UPDATE", username)


async def waits_for_lock(database: Database) -> bool:
    async with database.connection() as watcher:
        return await watcher.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event_type = 'Lock'"
        )


async def kill_others(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


async def test_lane__cancelled_within__outcome_unknown_and_the_next_item_runs(settings):
    """As a driver might do that mistakes whose task it cancels."""
    calls = []

    async def run(items):
        calls.append(items)
        if len(calls) == 1:
            raise asyncio.CancelledError
        return items

    lane = Lane("test", run, settings)
    async with asyncio.timeout(5):
        with pytest.raises(OutcomeUnknown):
            await lane.submit(1)
        assert await lane.submit(2) == 2


async def test_group_commit__connection_retired_but_no_goodbye__committed_once(
    database_url, connection, settings, monkeypatch
):
    """asyncpg retires a connection after so many queries, and waits for the server to close it."""
    create_pool = asyncpg.create_pool
    monkeypatch.setattr(
        asyncpg,
        "create_pool",
        lambda *args, **options: create_pool(*args, max_queries=1, **options),
    )

    async def forward(reader, writer) -> None:
        while data := await reader.read(65_536):
            if data[:1] != b"X":  # what asyncpg sends to say goodbye does not arrive
                writer.write(data)
        writer.close()

    async def proxy(reader, writer) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(connection._addr)
        await asyncio.gather(forward(reader, server_writer), forward(server_reader, writer))

    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        user, name = await connection.fetchrow("SELECT current_user, current_database()")
        url = f"postgresql://{user}@127.0.0.1:{port}/{name}"
        async with Database(url, replace(settings, batch_wait_s=30)) as database:
            lane = group_commit("test", database, create_users, settings)
            answers = await asyncio.gather(*(lane.submit(CreateUser(n, 1)) for n in ("ada", "bob")))
    assert answers == [True, True]
