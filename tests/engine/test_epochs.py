"""Epochs: a database that was moved lets its ids jump, once, before anything is written."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import orjson
import pytest
from structlog.testing import capture_logs

from rowlock.engine.database import Database
from rowlock.engine.epochs import Epoch, Epochs, Jump, find_epochs
from rowlock.engine.lanes import WriteLane
from rowlock.engine.statements import queries
from rowlock.errors import DatabaseBusy, DatabaseUnavailable
from rowlock.events.places import Places
from rowlock.events.rules import Unknown
from rowlock.settings import Settings
from tests.support.leases import Contender
from tests.support.polling import until
from tests.support.poolers import needs_pgbouncer, pgbouncer
from tests.support.types import Connection

STEP = 1_000_000
NEW_INVOICE = "INSERT INTO invoices (user_id, amount, label) VALUES ($1, 1, 'x') RETURNING id"
# As if the database had come from there: a standby that was promoted, or a backup.
MOVES = {
    "timeline": "UPDATE cluster_epochs SET timeline = timeline + 1",
    "cluster": "UPDATE cluster_epochs SET system_identifier = system_identifier + 1",
}


async def write(database: Database, user_id: int) -> int:
    """Make an invoice; return its id."""
    async with database.transaction() as connection:
        return int(await connection.fetchval(NEW_INVOICE, user_id))


@pytest.fixture
async def user_id(connection: Connection) -> int:
    return int(
        await connection.fetchval("INSERT INTO users (username) VALUES ('ada') RETURNING id")
    )


@pytest.fixture
async def many(database_url: str, settings: Settings) -> AsyncIterator[list[Database]]:
    """Databases as of several processes, which have no session yet."""
    async with AsyncExitStack() as stack:
        # One of these tests is about a wait for a lock that ends in vain.
        limits = settings.changed(lock_timeout_s=1.0).database
        yield [await stack.enter_async_context(Database(database_url, limits)) for _ in range(4)]


async def epochs(connection: Connection) -> list[Epoch]:
    return await find_epochs(connection)


async def test_epoch__database_not_moved__nothing_jumps(
    database: Database, connection: Connection, user_id: int
) -> None:
    assert [await write(database, user_id) for _ in range(2)] == [1, 2]
    [only] = await epochs(connection)
    assert (only.number, only.declared, only.jumps) == (1, "noticed", {})


@pytest.mark.parametrize("moved", MOVES.values(), ids=MOVES)
async def test_first_write__database_moved__every_sequence_jumps_once_for_all_processes(
    many: list[Database], connection: Connection, user_id: int, moved: str
) -> None:
    await connection.execute(moved)
    ids = await asyncio.gather(*(write(each, user_id) for each in many for _ in range(5)))
    [first, second] = await epochs(connection)
    jump = second.jumps["invoices"].first - 1
    assert STEP <= jump <= 1000 * STEP
    assert jump % STEP == 0
    assert sorted(ids) == list(range(jump + 1, jump + 1 + len(ids)))
    assert (second.number, second.declared) == (2, "noticed")
    assert first.identity != second.identity
    sequences = await connection.fetch(
        "SELECT seqrelid::regclass::text AS name, seqtypid::regtype::text AS type FROM pg_sequence"
    )
    assert {row["type"] for row in sequences} == {"bigint"}
    assert second.jumps["users"] == (user_id, user_id + jump + 1)
    assert {first - last for last, first in second.jumps.values()} == {jump + 1}
    for row in sequences:  # those that are unused begin there
        assert await connection.fetchval("SELECT nextval($1)", row["name"]) > jump
    # These have no index by which the last id could be found.
    assert len(sequences) - len(second.jumps) == 2
    assert not second.jumps.keys() & {"ledger_entries", "order_items"}
    assert "outbox" in second.jumps  # the relay needs it


async def test_first_write__database_moved__leaders_take_epochs_that_none_has_had(
    database: Database, connection: Connection, user_id: int
) -> None:
    await connection.execute(
        "INSERT INTO leases (name, holder, epoch, since, expires) "
        "VALUES ('relay', 'another', 7, now(), now() + interval '1 hour')"
    )
    await connection.execute(MOVES["timeline"])
    await write(database, user_id)
    at = "SELECT epoch, expires <= clock_timestamp() AS is_over FROM leases"
    first = await connection.fetchrow(at)
    assert first is not None
    assert first["epoch"] > STEP + 7
    assert first["is_over"]
    # Another standby has nothing of that, and is promoted later.
    await connection.execute("DELETE FROM cluster_epochs WHERE number = 2")
    await connection.execute("UPDATE leases SET epoch = 7")
    async with database.transaction() as own:
        await queries.epochs.begin(own)
    second = await connection.fetchrow(at)
    assert second is not None
    assert second["epoch"] > first["epoch"]


async def test_events__first_write__database_moved__leaders_take_epochs_that_none_has_had(
    events_database_url: str, settings: Settings
) -> None:
    connection = await asyncpg.connect(events_database_url)
    await connection.execute(
        "INSERT INTO leases (name, holder, epoch, since, expires) "
        "VALUES ('dispatcher', 'another', 7, now(), now() + interval '1 hour')"
    )

    async def lease() -> tuple[int, bool]:
        """The epoch, and whether its term is over."""
        row = await connection.fetchrow("SELECT epoch, expires <= clock_timestamp() FROM leases")
        assert row is not None
        return row[0], row[1]

    async with Database(events_database_url, settings.database) as one, one.transaction():
        assert await lease() == (7, False)
    await connection.execute(MOVES["timeline"])
    async with Database(events_database_url, settings.database) as database:
        async with database.transaction():
            noticed, is_over = await lease()
        assert noticed > STEP + 7
        assert is_over
        async with database.transaction() as own:
            await queries.epochs.declare(own)
        assert (await lease())[0] > noticed
    await connection.close()


async def test_events__epoch_new__dispatcher_writes__waits_for_it_without_a_deadlock(
    events_database_url: str, settings: Settings
) -> None:
    connection = await asyncpg.connect(events_database_url)
    await connection.execute(
        "INSERT INTO leases (name, holder, epoch, since, expires) "
        "VALUES ('dispatcher', 'another', 7, now(), now() + interval '1 hour')"
    )
    impatient = settings.changed(lock_timeout_s=0.5).database
    async with Database(events_database_url, impatient) as database:

        async def declare_new() -> None:
            async with database.transaction() as own:
                await queries.epochs.declare(own)

        async with connection.transaction():
            await queries.subscriptions.hold_lease(connection, lease="dispatcher", epoch=7)
            with pytest.raises(DatabaseBusy):
                await declare_new()
            # The log is free meanwhile: the dispatcher's own event comes after its lease.
            await connection.execute("SELECT pg_advisory_xact_lock(1383036780, 2)")
        await declare_new()
    assert [each.number for each in await epochs(connection)] == [1, 2]
    await connection.close()


async def test_first_write__database_moved__one_event_names_the_cut(
    database: Database, connection: Connection, user_id: int
) -> None:
    await connection.execute(MOVES["timeline"])
    await write(database, user_id)
    [event] = await connection.fetch("SELECT name, subject, actor, payload FROM outbox")
    assert event["name"] == "cluster.epoch_begun"
    assert (event["subject"], event["actor"]) == ("epoch:2", "system")
    payload = orjson.loads(event["payload"])
    assert (payload["epoch"], payload["declared"]) == (2, "noticed")
    assert payload["previous_timeline"] == payload["timeline"] + 1
    assert payload["ids"]["users"]["last"] == user_id
    assert payload["ids"]["users"]["first"] > STEP


async def test_write__fails_after_the_jump__the_epoch_stays(
    database: Database, connection: Connection, user_id: int
) -> None:
    await connection.execute(MOVES["timeline"])
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await write(database, user_id + 7)
    [_, second] = await epochs(connection)
    first_id = second.jumps["invoices"].first
    assert await write(database, user_id) == first_id + 1  # the failed one has drawn one


async def test_direct_session__is_checked_when_it_is_opened_and_never_again(
    database: Database, connection: Connection, user_id: int
) -> None:
    await write(database, user_id)
    await connection.execute(MOVES["timeline"])  # which no server does under its sessions
    assert await write(database, user_id) == 2


@needs_pgbouncer
async def test_pooled_session__moved_to_another_server__checked_by_each_transaction(
    database_url: str, connection: Connection, settings: Settings, user_id: int
) -> None:
    changed = settings.changed(prepared_statements=False)
    async with (
        pgbouncer(database_url) as url,
        Database(url, changed.database) as database,
    ):
        assert await write(database, user_id) == 1
        await connection.execute(MOVES["timeline"])
        # The pooler opens another one; its client's session stays.
        await connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE application_name = 'rowlock' AND datname = current_database()"
        )
        async with database.connection() as own:
            session = own.get_server_pid()
        ids = [await write(database, user_id) for _ in range(3)]
        async with database.connection() as own:
            assert own.get_server_pid() == session
    [_, second] = await epochs(connection)
    assert second.jumps["invoices"].last == 1
    assert ids == [second.jumps["invoices"].first + each for each in range(3)]


@pytest.mark.parametrize("last", [2**63 - STEP - 2, 2**63 - 9])
async def test_sequence__close_to_its_end__jumps_up_to_it_at_most(
    database: Database, connection: Connection, user_id: int, last: int
) -> None:
    first = 2**63 - 1
    await connection.execute("SELECT setval('invoices_id_seq', $1)", last)
    await connection.execute(MOVES["timeline"])
    assert await write(database, user_id) == first
    assert (await epochs(connection))[-1].jumps["invoices"] == (last, first)


async def test_sequence__at_its_end__gives_no_id_twice(
    database: Database, connection: Connection, user_id: int
) -> None:
    await connection.execute("SELECT setval('invoices_id_seq', $1)", 2**63 - 1)
    await connection.execute(MOVES["timeline"])
    with pytest.raises(asyncpg.SequenceGeneratorLimitExceededError):
        await write(database, user_id)
    assert "invoices" not in (await epochs(connection))[-1].jumps


async def test_declared__by_two_at_once_while_others_write__each_is_an_epoch(
    many: list[Database], connection: Connection, user_id: int
) -> None:
    async def declare(database: Database) -> int:
        async with database.transaction() as own:
            [row] = await queries.epochs.declare(own)
        return row["number"]

    *numbers, _, _ = await asyncio.gather(
        declare(many[0]), declare(many[1]), write(many[2], user_id), write(many[3], user_id)
    )
    assert sorted(numbers) == [2, 3]
    _, second, third = await epochs(connection)
    assert {second.declared, third.declared} == {"by hand"}
    assert third.jumps["invoices"].first > second.jumps["invoices"].first + STEP
    assert await write(many[0], user_id) >= third.jumps["invoices"].first


async def test_events__sequence_is_ahead_of_what_is_stored__readers_go_by_what_is_stored(
    events_database_url: str, settings: Settings
) -> None:
    connection = await asyncpg.connect(events_database_url)
    await connection.execute(
        "INSERT INTO events (event_id, name, payload, created_at) "
        "SELECT gen_random_uuid(), 'it.happened', '{}', now() FROM generate_series(1, 3)"
    )
    await connection.execute("SELECT setval('events_id_seq', 35)")  # as after a crash
    await connection.execute(MOVES["timeline"])
    async with Database(events_database_url, settings.database) as log, log.transaction():
        pass
    [*_, cut] = await epochs(connection)
    assert cut.jumps["events"].last == 3
    assert cut.jumps["events"].first > 35 + STEP
    await connection.close()


async def test_description__each_kind_of_cut__in_words(
    connection: Connection,
) -> None:
    [first] = await epochs(connection)
    first = first._replace(timeline=1)
    jumps = {"orders": Jump(0, 1_000_001), "users": Jump(7, 1_000_008)}
    second = first._replace(number=2, timeline=2, jumps=jumps)
    third = second._replace(number=3, declared="by hand", jumps={"users": Jump(0, 9_000_001)})
    fourth = third._replace(number=4, system_identifier=0, timeline=1, declared="noticed")
    since = f"{first.since:%Y-%m-%d %H:%M:%S}"
    assert [*Epochs([first, second, third, fourth]).describe()] == [
        f"epoch 1, timeline 1 since {since}",
        f"epoch 2, timeline 1 → 2 at {since}, ids jumped from 7 to 1000008 (users)",
        f"epoch 3, timeline 2 again at {since} by hand, all ids jumped",
        f"epoch 4, another cluster, timeline 2 → 1 at {since}, all ids jumped",
    ]
    assert Epochs().describe_last() is None
    week = timedelta(days=7)
    old = second._replace(since=datetime.now(UTC) - week)
    recent = [Epochs(each).is_cut_since(week) for each in ([first], [first, second], [first, old])]
    assert recent == [False, True, False]


async def declare(connection: Connection) -> Epoch:
    await connection.fetchval("SELECT declare_epoch()")
    return (await epochs(connection))[-1]


async def test_cut__sequence_is_ahead_of_the_table__its_last_row_is_named(
    database: Database, connection: Connection, user_id: int
) -> None:
    for expected in range(1, 6):
        assert await write(database, user_id) == expected
    await connection.execute("SELECT setval('invoices_id_seq', 37)")  # as on a promoted standby
    assert (await declare(connection)).jumps["invoices"].last == 5
    # Nothing was stored since, or ever.
    again = await declare(connection)
    assert again.jumps["invoices"].last == 5
    assert again.jumps["transfers"].last == 0
    assert "transfers" not in [*Epochs(await epochs(connection)).describe()][-1]


async def test_cut__rows_are_ahead_of_the_sequence__ids_jump_from_there(
    database: Database, connection: Connection, user_id: int
) -> None:
    await connection.execute(
        "INSERT INTO invoices (id, user_id, amount, label) VALUES (5000000000, $1, 1, 'x')", user_id
    )
    cut = (await declare(connection)).jumps["invoices"]
    assert cut.last == 5_000_000_000
    assert await write(database, user_id) == cut.first > cut.last + STEP


async def test_cut__retention_has_emptied_the_log__from_where_the_sequence_is(
    events_database_url: str,
) -> None:
    connection = await asyncpg.connect(events_database_url)
    await connection.execute("SELECT setval('events_id_seq', 70)")
    for _ in range(2):
        assert (await declare(connection)).jumps["events"].last == 70
    await connection.close()


async def test_jump__two_standbys_promoted_one_after_the_other__not_equally_far(
    database: Database, connection: Connection, user_id: int
) -> None:
    firsts = set()
    for _ in range(5):  # that all five are equal happens once in 10^12 times
        firsts.add((await declare(connection)).jumps["users"].first)
        # The next one has nothing of what this one has written.
        await connection.execute("DELETE FROM cluster_epochs WHERE number > 1")
        await connection.execute("SELECT setval('users_id_seq', $1)", user_id)
    assert len(firsts) > 1
    assert {(first - user_id - 1) % STEP for first in firsts} == {0}


async def test_epoch_new__lease_is_locked__fails_and_no_id_has_moved(
    database_url: str, connection: Connection, user_id: int, settings: Settings
) -> None:
    await connection.execute(
        "INSERT INTO leases (name, holder, epoch, since, expires) "
        "VALUES ('relay', 'another', 7, now(), now())"
    )
    impatient = settings.changed(lock_timeout_s=0.5).database
    async with Database(database_url, impatient) as database:
        for locking in ("SELECT FROM leases FOR UPDATE", "LOCK TABLE outbox IN EXCLUSIVE MODE"):
            async with connection.transaction():
                await connection.execute(locking)
                with pytest.raises(DatabaseBusy):
                    async with database.transaction() as own:
                        await queries.epochs.declare(own)
            assert len(await epochs(connection)) == 1
        assert await write(database, user_id) == 1


async def test_first_writes__another_process_records_the_epoch_for_long__unavailable(
    many: list[Database], connection: Connection, user_id: int, settings: Settings
) -> None:
    async def write_all(_connection: object, items: Sequence[int]) -> list[int]:
        return [*items]

    await connection.execute(MOVES["timeline"])
    lane = WriteLane("write", many[0], write_all, settings.batches)
    async with connection.transaction():  # its COMMIT waits for a standby
        await connection.fetchval("SELECT number FROM begin_epoch()")
        with pytest.raises(DatabaseUnavailable):
            await write(many[1], user_id)
        with capture_logs() as logs:
            outcomes = await asyncio.gather(
                *(lane.submit(each) for each in range(20)), return_exceptions=True
            )
    assert {type(each) for each in outcomes} == {DatabaseUnavailable}, logs
    assert await write(many[1], user_id) > STEP
    await lane.close()


async def test_lead__epoch_begins__taken_again_at_once(
    database: Database, connection: Connection, settings: Settings
) -> None:
    changed = settings.changed(lease_s=3600.0, lease_renew_s=0.2, relay_lead_poll_s=0.02)
    leader = Contender(database, changed)
    await until(lambda: leader.epochs)
    await declare(connection)
    await until(lambda: len(leader.epochs) == 2)
    assert leader.epochs[0] == 1
    assert leader.epochs[1] > STEP
    await leader.stop()


async def test_places__page_of_a_standby_behind_the_epoch__readers_do_not_ask_again(
    events_database_url: str, settings: Settings
) -> None:
    connection = await asyncpg.connect(events_database_url)
    [first] = await epochs(connection)
    second = await declare(connection)
    async with Database(events_database_url, settings.database) as log:
        places = Places(log)
        assert await places.learn(second.identity)
        era = places.era
        for identity in (first.identity, uuid4(), second.identity):  # the other one is of a copy
            assert not await places.learn(identity)
        assert places.era == era
    await connection.close()


async def test_places__two_failovers_in_a_row_with_one_number__the_cut_is_read_again(
    events_database_url: str, settings: Settings
) -> None:
    connection = await asyncpg.connect(events_database_url)
    await connection.execute("SELECT setval('events_id_seq', 9)")
    async with Database(events_database_url, settings.database) as log:
        places = Places(log)
        for last_id in (9, 5):
            await connection.execute("DELETE FROM cluster_epochs WHERE number > 1")
            await connection.execute("SELECT setval('events_id_seq', $1)", last_id)
            cut = await declare(connection)
            assert cut.number == 2
            unknown = await places.find_unknown(last_id + 1, cut.identity)
            assert unknown == Unknown(last_id, cut.jumps["events"].first)
    await connection.close()
