"""Delivered events are kept for a while, and delivered again to a log that lacks them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpServer

from rowlock.delivery.places import LOG_CHANGED, MARK_BEHIND, RESEND, START, Return
from rowlock.delivery.rewinds import go_back
from rowlock.engine import outbox
from rowlock.engine.database import Database
from rowlock.engine.outbox import Keep
from rowlock.engine.statements import queries
from rowlock.errors import NotKept
from rowlock.services import EVENTS
from rowlock.settings import Settings
from tests.support.delivery import TEN, Intake, delivered, write
from tests.support.leases import ADVANCE_OF_PREVIOUS_RELEASE, RELAY, take_over
from tests.support.plans import buffers_read
from tests.support.polling import until
from tests.support.roles import create_app
from tests.support.services import quiet
from tests.support.sessions import count_waiting
from tests.support.statements import find
from tests.support.types import Connection, Serve

HOUR = timedelta(hours=1)
ALL = Keep(HOUR, 1_000_000)
NONE = Keep(timedelta(0), 1_000_000)
# All that a copy of the events database has.
COPIED = ("event_log", "event_sources", "events", "event_keys")


@pytest.fixture
async def events_service(
    aiohttp_server: AiohttpServer, events_database_url: str, settings: Settings
) -> str:
    """The URL of the real events service, listening."""
    server = await aiohttp_server(create_app(quiet(EVENTS), settings, events_database_url))
    return str(server.make_url("/"))


@pytest.fixture
async def log(events_database_url: str) -> AsyncIterator[Connection]:
    """A connection to its database."""
    connection = await asyncpg.connect(events_database_url)
    yield connection
    await connection.close()


async def copy(log: Connection) -> None:
    """Take a copy of what the events database has."""
    for table in COPIED:
        await log.execute(f"CREATE TABLE copy_of_{table} AS TABLE {table}")


async def restore(log: Connection) -> None:
    """Make the events database what it was as it was copied."""
    async with log.transaction():
        for table in COPIED:
            await log.execute(f"DELETE FROM {table}")
            await log.execute(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE copy_of_{table}")


async def replace(log: Connection) -> None:
    """Make the events database a new one."""
    await log.execute(
        "DELETE FROM events; DELETE FROM event_keys; DELETE FROM event_sources; "
        "UPDATE event_log SET id = gen_random_uuid()"
    )


async def subjects(log: Connection) -> list[str]:
    rows = await log.fetch("SELECT subject FROM events ORDER BY id")
    return [row["subject"] for row in rows]


async def rewinds(connection: Connection) -> list[tuple[str, int, bool]]:
    """Why the relay went back, how many events it delivered again, and whether those were all."""
    rows = await connection.fetch("SELECT reason, events, complete FROM outbox_rewinds ORDER BY id")
    return [(row["reason"], row["events"], row["complete"]) for row in rows]


async def has(log: Connection, count: int) -> bool:
    return len(await subjects(log)) == count


async def cursor(connection: Connection) -> asyncpg.Record:
    row = await connection.fetchrow("SELECT * FROM outbox_cursor")
    assert row is not None
    return row


async def promote(connection: Connection) -> None:
    """Begin an epoch, as if a standby were promoted; let a leader take the lease at once."""
    async with connection.transaction():
        await connection.execute("UPDATE cluster_epochs SET timeline = timeline + 1")
        await connection.execute("SELECT begin_epoch()")
        await connection.execute("UPDATE leases SET expires = now()")


# --- A log that lacks what it had taken ---------------------------------------------------------


@pytest.mark.parametrize("copied", [0, 4, 10])
@pytest.mark.parametrize("has_news", [True, False])
@pytest.mark.parametrize("batch", [3, 1000])
async def test_relay__log_is_restored_from_a_copy__has_each_event_once_again(
    relay: Serve,
    events_service: str,
    connection: Connection,
    log: Connection,
    *,
    copied: int,
    has_news: bool,
    batch: int,
) -> None:
    await relay(events_service, relay_batch_events=batch, relay_check_s=0.01)
    await write(connection, *TEN[:copied])
    await delivered(connection)
    await copy(log)
    await write(connection, *TEN[copied:])
    await until(lambda: has(log, 10))
    await restore(log)
    expected = [*TEN, "x:news"] if has_news else TEN
    if has_news:
        await write(connection, "x:news")
    await until(lambda: has(log, len(expected)))
    await delivered(connection)
    assert await subjects(log) == expected
    back = [(MARK_BEHIND, 10 - copied, True)] if copied < 10 else []
    # A relay that had delivered nothing before the copy knew no log then.
    assert await rewinds(connection) == back


@pytest.mark.parametrize("has_news", [True, False])
async def test_relay__another_log__has_all_that_is_kept(
    relay: Serve,
    events_service: str,
    connection: Connection,
    log: Connection,
    *,
    has_news: bool,
) -> None:
    await relay(events_service, relay_check_s=0.01)
    await write(connection, *TEN)
    await until(lambda: has(log, 10))
    await delivered(connection)
    await replace(log)
    expected = [*TEN, "x:news"] if has_news else TEN
    if has_news:
        await write(connection, "x:news")
    await until(lambda: has(log, len(expected)))
    await delivered(connection)
    assert await subjects(log) == expected
    assert await rewinds(connection) == [(LOG_CHANGED, 10, True)]


async def test_relay__more_is_lost_than_kept__the_rest_is_delivered_and_the_loss_named(
    relay: Serve,
    events_service: str,
    connection: Connection,
    database: Database,
    log: Connection,
    entries: list[MutableMapping[str, Any]],
) -> None:
    client = await relay(events_service, relay_check_s=0.01)
    await write(connection, *TEN[:6])
    await delivered(connection)
    assert await outbox.purge_delivered(database, NONE, 100) == 6
    await write(connection, *TEN[6:])
    await delivered(connection)
    await until(lambda: has(log, 10))
    await replace(log)
    await until(lambda: has(log, 4))
    assert await subjects(log) == TEN[6:]
    assert await rewinds(connection) == [(LOG_CHANGED, 4, False)]
    assert [entry["event"] for entry in entries if entry["log_level"] == "error"] == ["events_lost"]
    found = await outbox.describe_kept(database)
    assert found["lost_at"] is not None
    assert "rowlock_outbox_losses" in await (await client.get("/metrics")).text()
    [measured] = await queries.metrics.measure_outbox(connection, counted=100)
    assert (measured["losses"], measured["kept_events"]) == (1, 4)
    assert [await outbox.accept_losses(database) for _ in range(2)] == [1, 0]
    assert (await outbox.describe_kept(database))["lost_at"] is None


async def test_relay__answer_of_a_delivery_was_lost__nothing_is_taken_for_lost(
    relay: Serve, events_service: str, connection: Connection, log: Connection
) -> None:
    first = await relay(events_service)
    await write(connection, *TEN[:5])
    await delivered(connection)
    before = await cursor(connection)
    await write(connection, *TEN[5:])
    await delivered(connection)
    await first.close()
    # As if its leader had died between the last delivery and this note.
    await connection.execute(
        "UPDATE outbox_cursor SET xid = $1, position = $2, mark_xid = $1, mark_position = $2",
        before["xid"],
        before["position"],
    )
    await write(connection, "x:last")
    await relay(events_service)
    await delivered(connection)
    assert await subjects(log) == [*TEN, "x:last"]
    assert await rewinds(connection) == []


async def test_relay__of_the_previous_release_in_between__nothing_is_taken_for_lost(
    relay: Serve, events_service: str, connection: Connection, log: Connection
) -> None:
    first = await relay(events_service)
    await write(connection, "x:1")
    await delivered(connection)
    await first.close()
    await write(connection, "x:2")
    row = await connection.fetchrow("SELECT xid, position FROM outbox ORDER BY position DESC")
    assert row is not None
    await connection.execute(
        ADVANCE_OF_PREVIOUS_RELEASE, row["xid"], row["position"], row["position"]
    )
    await write(connection, "x:3")
    await relay(events_service)
    await delivered(connection)
    assert await subjects(log) == ["x:1", "x:3"]  # it has delivered x:2 to no log here
    assert await rewinds(connection) == []


async def test_relay__mark_of_what_a_lost_primary_had_delivered__is_older_than_what_came_since(
    relay: Serve, events_service: str, connection: Connection, log: Connection
) -> None:
    await relay(events_service, relay_check_s=0.01)
    await write(connection, *TEN[:5])
    await delivered(connection)
    # The lost one had delivered one more event; its transaction id is given again.
    row = await cursor(connection)
    lost = f"{row['xid'] + 500}/{row['position'] + 3}"
    await log.execute("UPDATE event_sources SET mark = $1", lost)
    await copy(log)
    await promote(connection)
    await write(connection, *TEN[5:])
    await until(lambda: has(log, 11))
    await delivered(connection)
    assert await rewinds(connection) == []
    await restore(log)
    await until(lambda: has(log, 11))
    await delivered(connection)
    assert await subjects(log) == [*TEN[:5], "epoch:2", *TEN[5:]]
    assert await rewinds(connection) == [(MARK_BEHIND, 6, True)]


@pytest.mark.parametrize("has_lost", [True, False])
async def test_relay__new_epoch_of_the_events_database__goes_back_to_its_mark(
    relay: Serve, events_service: str, connection: Connection, log: Connection, *, has_lost: bool
) -> None:
    await relay(events_service, relay_check_s=0.01)
    await write(connection, *TEN[:6])
    await delivered(connection)
    await copy(log)
    await write(connection, *TEN[6:])
    await until(lambda: has(log, 10))
    await delivered(connection)
    before = (await cursor(connection))["log"]
    async with log.transaction():
        await log.execute("SELECT declare_epoch()")
        if has_lost:
            await log.execute("DELETE FROM events; DELETE FROM event_keys")
            await log.execute(
                "UPDATE event_sources SET mark = copy.mark FROM copy_of_event_sources AS copy"
            )
            for table in ("events", "event_keys"):
                await log.execute(
                    f"INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE copy_of_{table}"
                )

    async def is_noted() -> bool:
        return bool((await cursor(connection))["log"] != before)

    await until(is_noted)
    await until(lambda: has(log, 10))
    await delivered(connection)
    assert await subjects(log) == TEN
    assert await rewinds(connection) == ([(LOG_CHANGED, 4, True)] if has_lost else [])


@pytest.mark.parametrize("mark", ["007/1", f"{2**64}/1", f"1/{2**63}"])
async def test_relay__mark_that_is_no_place__is_refused_and_the_next_delivery_goes_through(
    relay: Serve, events_service: str, connection: Connection, log: Connection, mark: str
) -> None:
    await relay(events_service, relay_check_s=0.01)
    await write(connection, *TEN[:5])
    await delivered(connection)
    assert await post_mark(connection, events_service, mark) == 400
    await write(connection, *TEN[5:])
    await until(lambda: has(log, 10))
    await delivered(connection)


async def test_relay__mark_beyond_all__is_noted_and_nothing_is_skipped(
    relay: Serve, events_service: str, connection: Connection, log: Connection
) -> None:
    await relay(events_service, relay_check_s=0.01)
    await write(connection, *TEN[:5])
    await delivered(connection)
    beyond = f"{2**64 - 1}/{2**63 - 1}"
    assert await post_mark(connection, events_service, beyond) == 200
    await write(connection, *TEN[5:])
    await until(lambda: has(log, 10))
    await delivered(connection)
    assert await subjects(log) == TEN


async def post_mark(connection: Connection, events_service: str, mark: str) -> int:
    """Name a mark to the events service, as whoever has its token may; return the status."""
    row = await cursor(connection)
    epoch = await connection.fetchval("SELECT epoch FROM leases WHERE name = $1", RELAY)
    headers = {
        "Authorization": "Bearer development-events-token",
        "Rowlock-Source": str(row["source"]),
        "Rowlock-Epoch": str(epoch),
        "Rowlock-Mark": mark,
    }
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{events_service}events/batch", json={"events": []}) as answer,
    ):
        return answer.status


@pytest.mark.parametrize(
    "told", [{"log": "b"}, {"log": "b", "mark": "9/9"}, {"log": "b", "mark": "09/9"}]
)
async def test_relay__log_moved_for_ever__waits_longer_and_longer_and_says_so(
    relay: Serve,
    intake: Intake,
    connection: Connection,
    entries: list[MutableMapping[str, Any]],
    told: dict[str, str],
) -> None:
    moved = {"error": "log_moved", "details": told}
    intake.script = [web.json_response(moved, status=409) for _ in range(6)]
    await relay(intake.url, relay_check_s=0.01)
    await write(connection, *TEN)
    await delivered(connection)
    assert intake.subjects == TEN
    waits = [entry["retry_s"] for entry in entries if entry["event"] == "relay_waits"]
    assert len(waits) >= 5  # it follows what it is told once, if it can
    assert waits == sorted(waits)


async def test_relay__intake_that_tells_nothing__delivers_as_before(
    relay: Serve, intake: Intake, connection: Connection
) -> None:
    await relay(intake.url, relay_check_s=0.01)
    await write(connection, *TEN)
    await delivered(connection)
    assert intake.subjects == TEN
    row = await cursor(connection)
    assert (row["log"], row["mark_xid"], row["mark_position"]) == (None, None, None)


async def test_go_back__replaced_leader__changes_nothing(connection: Connection) -> None:
    await write(connection, *TEN)
    outdated, epoch = [await take_over(connection) for _ in range(2)]
    last = (await queries.outbox.read_events(connection, xid=0, position=0, page_size=10))[-1]
    place = {"xid": last["xid"], "position": last["position"]}
    await queries.outbox.advance_cursor(
        connection, lease=RELAY, epoch=epoch, last_position=last["position"], log="log", **place
    )
    before = await cursor(connection)
    for number in (outdated, epoch + 1):
        [row] = await queries.outbox.go_back(
            connection,
            lease=RELAY,
            epoch=number,
            xid=0,
            position=0,
            reason=RESEND,
            events=1,
            kept_since=None,
            complete=True,
        )
        assert not row["leads"]
        [row] = await queries.outbox.note_log(
            connection, lease=RELAY, epoch=number, log="b", mark_xid=None, mark_position=None
        )
        assert not row["leads"]
    assert await cursor(connection) == before
    assert await rewinds(connection) == []


# --- What is kept, and for how long -------------------------------------------------------------


async def deliver(connection: Connection, *subjects: str) -> None:
    """Write events, and let them be delivered."""
    await write(connection, *subjects)
    epoch = await take_over(connection)
    rows = await connection.fetch("SELECT xid, position FROM outbox ORDER BY xid, position")
    await queries.outbox.advance_cursor(
        connection,
        lease=RELAY,
        epoch=epoch,
        xid=rows[-1]["xid"],
        position=rows[-1]["position"],
        last_position=rows[-1]["position"],
        log=None,
    )


async def mark(connection: Connection, age: timedelta) -> None:
    """Note how far the log is delivered, as was done some time ago."""
    await queries.outbox.note_mark(connection, pause=timedelta(0))
    await connection.execute(
        "UPDATE outbox_marks SET at = at - $1::interval "
        "WHERE at = (SELECT max(at) FROM outbox_marks)",
        age,
    )


@pytest.mark.parametrize(
    ("keep", "page_size", "left"),
    [
        # Four were delivered two hours ago, three more half an hour ago, and three just now.
        (ALL, 100, TEN[3:]),  # the last of the four shows that what follows is complete
        (ALL, 2, TEN[2:]),
        (Keep(timedelta(hours=3), 100), 100, TEN),
        (Keep(timedelta(minutes=10), 100), 100, TEN[6:]),
        (NONE, 100, []),
        (Keep(timedelta(hours=3), 5), 100, TEN[5:]),
        (Keep(timedelta(hours=3), 5), 4, TEN[4:]),
        (Keep(timedelta(hours=3), 0), 100, []),
        (Keep(HOUR, 8), 100, TEN[3:]),  # whichever is less
        (Keep(HOUR, 2), 100, TEN[8:]),
        (Keep(HOUR, 10**15), 100, TEN[3:]),
    ],
)
async def test_purge__by_time_and_number__a_beginning_of_the_log_goes(
    connection: Connection, database: Database, keep: Keep, page_size: int, left: list[str]
) -> None:
    await connection.execute("UPDATE outbox_marks SET at = now() - interval '1 day'")
    await deliver(connection, *TEN[:4])
    await mark(connection, 2 * HOUR)
    await deliver(connection, *TEN[4:7])
    await mark(connection, HOUR / 2)
    await deliver(connection, *TEN[7:])
    await write(connection, "x:undelivered")
    assert await outbox.purge_delivered(database, keep, page_size) == 10 - len(left)
    rows = await connection.fetch("SELECT subject FROM outbox ORDER BY xid, position")
    assert [row["subject"] for row in rows] == [*left, "x:undelivered"]
    found = await outbox.describe_kept(database)
    assert found["kept"] == len(left)
    since = found["kept_since"]
    ages = {10: timedelta(days=1), 7: 2 * HOUR, 4: HOUR / 2}
    if len(left) in ages:
        assert since is not None
        assert abs(datetime.now(UTC) - since - ages[len(left)]) < timedelta(minutes=5)


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (ALL, 12),
        (Keep(HOUR, 12), 12),
        (Keep(HOUR, 5), 5),
        (Keep(HOUR, 2), 2),
        (Keep(HOUR, 0), 0),
    ],
)
async def test_purge__epoch_begun_in_between__its_jump_is_not_counted(
    connection: Connection, database: Database, keep: Keep, left: int
) -> None:
    await deliver(connection, *TEN)
    await promote(connection)
    assert await outbox.purge_delivered(database, ALL, 100) == 0
    await deliver(connection, "x:after")  # and the epoch's own event
    while await outbox.purge_delivered(database, keep, 4):
        pass
    assert (await outbox.describe_kept(database))["kept"] == left
    place = {"xid": 0, "position": 0}
    [measured] = await queries.metrics.measure_outbox(connection, counted=1)
    assert measured["kept_events"] == left
    assert (await queries.outbox.find_kept(connection, **place))[0]["events"] == left
    await connection.execute("UPDATE outbox_cursor SET xid = '3', position = 1, last_position = 1")
    [measured] = await queries.metrics.measure_outbox(connection, counted=1)
    assert measured["outbox_events"] in {left, 11}  # positions after that of the cursor


async def test_resend__after_a_new_epoch__all_that_was_kept_before_is_delivered_again(
    relay: Serve, events_service: str, connection: Connection, database: Database, log: Connection
) -> None:
    await relay(events_service)
    await write(connection, *TEN)
    await delivered(connection)
    await promote(connection)
    await write(connection, "x:since")
    await delivered(connection)
    assert await outbox.purge_delivered(database, ALL, 100) == 0
    asked = await outbox.ask_resend(database, datetime.now(UTC) - HOUR / 2)
    assert asked.events == 12

    async def is_done() -> bool:
        row = await outbox.measure_resend(database, asked)
        return not row["asked"] and row["remaining"] == 0

    await until(is_done)
    assert await rewinds(connection) == [(RESEND, 12, True)]


@pytest.mark.parametrize("keep", [NONE, Keep(HOUR, 0), ALL])
async def test_purge__resend_is_asked_for__leaves_all_from_its_place_on(
    connection: Connection, database: Database, keep: Keep
) -> None:
    await connection.execute("UPDATE outbox_marks SET at = at - interval '1 day'")
    await deliver(connection, *TEN[:4])
    await mark(connection, 3 * HOUR)
    await deliver(connection, *TEN[4:])
    await mark(connection, 2 * HOUR)
    assert (await outbox.ask_resend(database, datetime.now(UTC) - 2.5 * HOUR)).events == 6
    assert await outbox.purge_delivered(database, keep, 100) == 3
    rows = await connection.fetch("SELECT subject FROM outbox ORDER BY xid, position")
    assert [row["subject"] for row in rows] == TEN[3:]  # the first one shows that it is complete
    row = await cursor(connection)
    place = {"xid": row["resend_xid"], "position": row["resend_position"]}
    assert (await queries.outbox.find_kept(connection, **place))[0]["complete"]
    await connection.execute("UPDATE outbox_cursor SET resend_xid = NULL, resend_position = NULL")
    assert await outbox.purge_delivered(database, keep, 100) == (6 if keep == ALL else 7)


async def test_go_back__resend_of_what_is_no_longer_kept__is_no_loss(
    connection: Connection, database: Database
) -> None:
    await deliver(connection, *TEN)
    epoch = await take_over(connection)
    await connection.execute("DELETE FROM outbox WHERE subject < 'x:4'; DELETE FROM outbox_marks")
    await go_back(database, epoch, Return(START, RESEND))
    assert await rewinds(connection) == [(RESEND, 6, True)]
    assert (await outbox.describe_kept(database))["lost_at"] is None


async def test_purge__relay_goes_back_meanwhile__waits_and_leaves_what_is_undelivered(
    connection: Connection, database: Database
) -> None:
    await deliver(connection, *TEN)
    epoch = await take_over(connection)
    async with database.transaction() as own:
        await queries.outbox.lock_marks(own)
        purging = asyncio.create_task(outbox.purge_delivered(database, NONE, 100))

        async def is_waiting() -> bool:
            return await count_waiting(connection) == 1

        await until(is_waiting)
        await queries.outbox.go_back(
            own,
            lease=RELAY,
            epoch=epoch,
            xid=0,
            position=0,
            reason=RESEND,
            events=10,
            kept_since=None,
            complete=True,
        )
    assert await purging == 0
    assert await connection.fetchval("SELECT count(*) FROM outbox") == 10


async def test_note_mark__often__at_most_one_in_the_pause_and_none_without_a_delivery(
    connection: Connection,
) -> None:
    count = "SELECT count(*) FROM outbox_marks"
    assert await connection.fetchval(count) == 1  # that of the beginning
    await connection.execute("UPDATE outbox_marks SET at = at - interval '1 hour'")
    for _ in range(3):
        await queries.outbox.note_mark(connection, pause=timedelta(0))
    assert await connection.fetchval(count) == 1
    await deliver(connection, "x:1")
    for _ in range(3):
        await queries.outbox.note_mark(connection, pause=timedelta(minutes=1))
        await deliver(connection, "x:2")
    assert await connection.fetchval(count) == 2


LOOKS: list[tuple[str, str, str, int]] = [
    # by name: the types and the values of its parameters, and how many pages it may read
    ("outbox/read_cursor", "", "", 30),
    ("outbox/describe_backlog", "", "", 60),
    ("metrics/measure_outbox", "(bigint)", "(100)", 60),
    ("outbox/note_mark", "(interval)", "('1h')", 30),
    ("outbox/purge_delivered", "(bigint, interval, bigint)", "(100, '1h', 1000000)", 60),
    ("outbox/purge_delivered", "(bigint, interval, bigint)", "(100, '0', 1000000)", 600),
    ("outbox/find_mark", "(timestamptz)", "(now())", 30),
]


@pytest.mark.parametrize("analyzed", [False, True])
async def test_kept_events__two_hundred_thousand__looks_read_few_pages(
    connection: Connection, *, analyzed: bool
) -> None:
    # Plans are made for an empty outbox, and kept, as by the connection of a service.
    await connection.execute("SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan")
    if analyzed:
        await connection.execute("VACUUM ANALYZE outbox, outbox_marks, outbox_cursor")
    for number, (name, types, values, _) in enumerate(LOOKS):
        await connection.execute(f"PREPARE look_{number} {types} AS {find(name).sql}")
        await connection.execute(f"EXPLAIN EXECUTE look_{number} {values}")
    await connection.execute(
        "INSERT INTO outbox (name, subject, payload) "
        "SELECT 'it.happened', 'x:' || n, '{}' FROM generate_series(1, 200000) AS n"
    )
    await deliver(connection, "x:last")
    await write(connection, *TEN)
    await connection.execute("SELECT count_skipped_positions(0, 0)")  # a session plans it once
    for number, (name, _, values, most) in enumerate(LOOKS):
        assert await buffers_read(connection, f"EXECUTE look_{number} {values}") < most, name


# --- Sent again because an operator asks for it -------------------------------------------------


async def test_resend__while_a_relay_leads__all_since_then_is_delivered_again_once(
    relay: Serve,
    events_service: str,
    connection: Connection,
    database: Database,
    log: Connection,
) -> None:
    await connection.execute("UPDATE outbox_marks SET at = at - interval '1 day'")
    await relay(events_service, relay_batch_events=3)
    await write(connection, *TEN[:4])
    await delivered(connection)
    await mark(connection, HOUR)
    await write(connection, *TEN[4:])
    await delivered(connection)
    await log.execute(
        "DELETE FROM event_keys USING events WHERE events.id = event_keys.id AND subject = ANY($1)",
        TEN[5:7],
    )
    await log.execute("DELETE FROM events WHERE subject = ANY($1)", TEN[5:7])
    asked = await outbox.ask_resend(database, datetime.now(UTC) - HOUR / 2)
    assert (asked.events, asked.is_led) == (6, True)

    async def is_done() -> bool:
        row = await outbox.measure_resend(database, asked)
        return not row["asked"] and row["remaining"] == 0

    await until(is_done)
    assert Counter(await subjects(log)) == Counter(TEN)
    assert await rewinds(connection) == [(RESEND, 6, True)]


@pytest.mark.parametrize("first", [0, 1])
async def test_resend__asked_twice__the_earlier_place_counts(
    connection: Connection, database: Database, first: int
) -> None:
    await connection.execute("UPDATE outbox_marks SET at = at - interval '1 day'")
    await deliver(connection, *TEN[:4])
    await mark(connection, HOUR)
    await deliver(connection, *TEN[4:])
    ages = [2 * HOUR, HOUR / 2]
    found = [
        await outbox.ask_resend(database, datetime.now(UTC) - age)
        for age in (ages if first == 0 else ages[::-1])
    ]
    assert sorted(each.events for each in found) == [6, 10]
    row = await cursor(connection)
    assert (row["resend_xid"], row["resend_position"]) == (0, 0)


@pytest.mark.parametrize(
    ("keep", "age", "events"),
    [
        (ALL, timedelta(days=2), None),
        (ALL, 3 * HOUR, None),
        (ALL, HOUR, 6),
        (ALL, timedelta(0), 6),
        (Keep(3 * HOUR, 100), timedelta(days=2), 10),  # nothing was removed yet
        (NONE, timedelta(0), None),
    ],
)
async def test_resend__time_before_what_is_kept__is_refused_with_the_first_time(
    connection: Connection,
    database: Database,
    keep: Keep,
    age: timedelta,
    events: int | None,
) -> None:
    await connection.execute("UPDATE outbox_marks SET at = at - interval '1 day'")
    await deliver(connection, *TEN[:4])
    await mark(connection, 2 * HOUR)
    await deliver(connection, *TEN[4:])
    await outbox.purge_delivered(database, keep._replace(time=keep.time), 100)
    start = datetime.now(UTC) - age
    if events is not None:
        # The mark of the purge is at this moment.
        await connection.execute("DELETE FROM outbox_marks WHERE at > now() - interval '1 hour'")
        assert (await outbox.ask_resend(database, start)).events == events
        return
    with pytest.raises(NotKept) as caught:
        await outbox.ask_resend(database, start)
    kept = (await outbox.describe_kept(database))["kept_since"]
    said = "no delivered events" if kept is None else kept.isoformat(timespec="seconds")
    assert said in caught.value.message
    assert (await cursor(connection))["resend_xid"] is None


# --- Names in events of earlier releases --------------------------------------------------------


@pytest.mark.usefixtures("older_events")
@pytest.mark.parametrize("analyzed", [False, True])
async def test_scrub_events__two_hundred_thousand_undelivered__only_names_are_read(
    connection: Connection, *, analyzed: bool
) -> None:
    await connection.execute("SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan")
    if analyzed:
        await connection.execute("VACUUM ANALYZE outbox")
    scrub = find("outbox/scrub_events").sql
    await connection.execute(f"PREPARE scrub (bigint[]) AS {scrub}")
    await connection.execute("EXPLAIN EXECUTE scrub ('{2,777}')")  # planned for an empty table
    await connection.execute(
        "INSERT INTO outbox (name, subject, payload) "
        "SELECT 'user.created', 'user:' || n, jsonb_build_object('user_id', n) "
        "FROM generate_series(1, 200000) AS n"
    )
    named = """
        INSERT INTO outbox (name, subject, payload)
        SELECT 'user.created', 'user:' || n,
            jsonb_build_object('user_id', n, 'username', 'shy-' || n)
        FROM generate_series(1, 3) AS n"""
    await deliver(connection, "x:1")
    await connection.execute(named)  # not delivered
    assert await buffers_read(connection, "EXECUTE scrub ('{2,777}')") < 60
    await queries.outbox.scrub_events(connection, user_ids=[2, 777])
    left = await connection.fetch("SELECT subject FROM outbox WHERE payload ? 'username'")
    assert {row["subject"] for row in left} == {"user:1", "user:3"}


@pytest.mark.usefixtures("older_events")
async def test_scrub_events__delivered_and_kept__loses_the_name_too(
    connection: Connection,
) -> None:
    await connection.execute(
        "INSERT INTO outbox (name, subject, payload) VALUES "
        "('benefit_order.placed', 'user:1', '{\"user_id\": 1, \"username\": \"shy\"}')"
    )
    await deliver(connection, "x:1")
    await queries.outbox.scrub_events(connection, user_ids=[1])
    row = await connection.fetchrow("SELECT payload FROM outbox WHERE subject = 'user:1'")
    assert row is not None
    assert row["payload"] == '{"user_id": 1}'
