"""Events that can't be delivered: found, parked, and in the way of no other."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpServer

from rowlock.engine import migrations, outbox
from rowlock.engine.database import Database
from rowlock.engine.outbox import Event
from rowlock.origin import Origin
from rowlock.services import EVENTS
from rowlock.settings import Settings
from tests.support import roles
from tests.support.databases import on_server, rename
from tests.support.delivery import TEN, Intake, dead, delivered, write
from tests.support.health import problems
from tests.support.leases import epoch_of
from tests.support.polling import until
from tests.support.proxy import Proxy
from tests.support.roles import create_app
from tests.support.services import quiet
from tests.support.types import Connection, Serve

QUICK: dict[str, object] = {"relay_event_attempts": 3}


@pytest.mark.parametrize(
    ("mishap", "status"), [(500, 500), (503, 503), ("hang", 0), ("break", 0), (403, 403)], ids=str
)
@pytest.mark.parametrize("at", [[0], [4], [9], [2, 3, 7]], ids=str)
@pytest.mark.parametrize("batch", [1, 1000])
async def test_relay__event_that_always_fails__parked_and_the_others_delivered(
    relay: Serve,
    intake: Intake,
    connection: Connection,
    *,
    mishap: object,
    status: int,
    at: Sequence[int],
    batch: int,
) -> None:
    subjects = [*TEN, "y:1"]
    intake.broken = {TEN[number]: mishap for number in at}
    await write(connection, *subjects)
    # A stall of the machine must not look like one of the others.
    limits = {"relay_timeout_s": 0.3} if mishap == "hang" else {}
    await relay(intake.url, relay_batch_events=batch, **QUICK, **limits)
    await delivered(connection)
    assert set(intake.subjects) == set(subjects) - set(intake.broken)
    assert len(intake.subjects) == len(set(intake.subjects))
    parked = await dead(connection)
    assert {subject: row[0] for subject, row in parked.items()} == dict.fromkeys(
        intake.broken, status
    )
    assert all(error for _, error in parked.values())


async def test_relay__everything_fails__nothing_is_parked_and_all_goes_on_in_order(
    relay: Serve, intake: Intake, connection: Connection
) -> None:
    intake.broken = dict.fromkeys(TEN, 500)
    await write(connection, *TEN)
    await relay(intake.url, **QUICK)
    await until(lambda: intake.requests > 40)
    assert await dead(connection) == {}
    intake.broken = {}
    await delivered(connection)
    assert await dead(connection) == {}
    assert sorted(intake.subjects) == TEN


async def test_relay__service_stops_again_when_another_one_went_through__nothing_is_parked(
    relay: Serve, intake: Intake, connection: Connection
) -> None:
    went_through = None
    intake.script = [503] * 4 + [went_through, 503, 503]
    await write(connection, "x:1", "x:2")
    await relay(intake.url, relay_batch_events=1, **QUICK)
    await delivered(connection)
    assert (await dead(connection), intake.script) == ({}, [])
    assert sorted(intake.subjects) == ["x:1", "x:2"]


async def test_relay__the_only_event_fails__waits_until_another_one_goes_through(
    relay: Serve, intake: Intake, connection: Connection
) -> None:
    intake.broken = {"x:1": 500}
    await write(connection, "x:1", "x:1")
    await relay(intake.url, **QUICK)
    await until(lambda: intake.requests > 20)
    assert await dead(connection) == {}  # no event of another subject goes through
    await write(connection, "x:2")
    await delivered(connection)
    assert intake.subjects == ["x:2"]
    assert set(await dead(connection)) == {"x:1"}


async def test_relay__another_one_goes_through_meanwhile__order_within_each_subject_holds(
    relay: Serve, intake: Intake, connection: Connection
) -> None:
    intake.broken = {"bad": 500}
    subjects = [f"x:{number % 4}" for number in range(40)]
    subjects.insert(7, "bad")
    await write(connection, *subjects)
    await relay(intake.url, **QUICK)
    await delivered(connection)
    written = await connection.fetch("SELECT event_id, subject FROM outbox ORDER BY position")
    expected, found = defaultdict(list), defaultdict(list)
    for row in written:
        expected[row["subject"]].append(str(row["event_id"]))
    for event in intake.events:
        found[event["subject"]].append(event["event_id"])
    assert found == {subject: ids for subject, ids in expected.items() if subject != "bad"}


@pytest.mark.parametrize("most", [1, 3, 100])
async def test_relay__large_deliveries_fail__smaller_ones_go_through_in_order(
    relay: Serve, intake: Intake, connection: Connection, most: int
) -> None:
    intake.most = most
    subjects = [f"x:{number}" for number in range(250)]
    async with connection.transaction():
        await outbox.append(
            connection,
            [
                Event("it.happened", each, {}, Origin(f"request of {each}", "token"))
                for each in subjects
            ],
        )
    await relay(intake.url, **QUICK)
    await delivered(connection)
    assert intake.subjects == subjects
    assert await dead(connection) == {}


async def test_relay__many_refused__found_in_few_deliveries(
    relay: Serve, intake: Intake, connection: Connection
) -> None:
    subjects = [f"x:{number}" for number in range(500)]
    intake.poison = {subjects[at]: (400, b'{"error": "no"}') for at in (0, 250, 499)}
    async with connection.transaction():
        await outbox.append(
            connection,
            [
                Event("it.happened", each, {}, Origin(f"request of {each}", "token"))
                for each in subjects
            ],
        )
    await relay(intake.url)
    await delivered(connection)
    assert set(await dead(connection)) == set(intake.poison)
    assert intake.requests < 90


# --- The relay and the real events service ----------------------------------------------------


async def serving(server: AiohttpServer, settings: Settings, url: str) -> str:
    """Serve events without housekeeping: a reader may miss those that move into a partition."""
    return str((await server(create_app(quiet(EVENTS), settings, url))).make_url("/"))


@pytest.fixture
async def event_log(events_database_url: str) -> AsyncIterator[Connection]:
    """A connection to the events database."""
    connection = await asyncpg.connect(events_database_url)
    yield connection
    await connection.close()


RAISING = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF new.subject = 'x:4' THEN RAISE EXCEPTION 'no'; END IF;
        RETURN new;
    END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse()"""


@pytest.mark.parametrize(
    ("refusing", "status"),
    [("ALTER TABLE events ADD CONSTRAINT no_four CHECK (subject <> 'x:4')", 422), (RAISING, 500)],
)
@pytest.mark.usefixtures("entries")  # to show the errors takes longer than the relay waits
async def test_relay__only_the_events_database_refuses_one__parked_and_the_others_delivered(
    relay: Serve,
    aiohttp_server: AiohttpServer,
    settings: Settings,
    connection: Connection,
    event_log: Connection,
    events_database_url: str,
    *,
    refusing: str,
    status: int,
) -> None:
    await event_log.execute(refusing)
    await write(connection, *TEN)
    await relay(await serving(aiohttp_server, settings, events_database_url), **QUICK)
    await delivered(connection)
    rows = await event_log.fetch("SELECT subject FROM events ORDER BY id")
    assert sorted(row["subject"] for row in rows) == [each for each in TEN if each != "x:4"]
    [(subject, (kept, _))] = (await dead(connection)).items()
    assert (subject, kept) == ("x:4", status)


async def migrate_as_before(connection: Connection) -> None:
    """Make the tables, which a release did that accepted any encoding."""
    folder = migrations.folder("events")
    for name in migrations.known("events"):
        await connection.execute((folder / f"{name}.sql").read_text("utf-8"))
    await connection.execute("CREATE TABLE _yoyo_migration (migration_id text)")


async def test_relay__events_database_is_latin1__parked_what_it_can_t_hold(
    relay: Serve,
    aiohttp_server: AiohttpServer,
    settings: Settings,
    connection: Connection,
    server_url: str,
    events_template: str,
) -> None:
    name = f"{events_template}_latin1"
    on_server(server_url, f"CREATE DATABASE {name} ENCODING LATIN1 LOCALE 'C' TEMPLATE template0")
    url = rename(server_url, name)
    try:
        log = await asyncpg.connect(url)
        await migrate_as_before(log)
        roles.grant(url, "events")
        await write(connection, "x:1", "Zażółć", "x:2")
        server = await aiohttp_server(create_app(quiet(EVENTS), settings, url))
        client = await relay(str(server.make_url("/")), **QUICK)
        await delivered(connection)
        rows = await log.fetch("SELECT subject FROM events ORDER BY id")
        assert [row["subject"] for row in rows] == ["x:1", "x:2"]
        [(status, answer)] = (await dead(connection)).values()
        assert (status, "event_refused" in answer) == (422, True)
        await client.close()
        await server.close()
        await log.close()
    finally:
        on_server(server_url, f"DROP DATABASE {name} WITH (FORCE)")


async def test_relay__id_is_stored_with_another_content__parked_and_the_others_delivered(
    relay: Serve,
    aiohttp_server: AiohttpServer,
    settings: Settings,
    connection: Connection,
    event_log: Connection,
    events_database_url: str,
) -> None:
    await write(connection, "x:1", "x:2", "x:3")
    taken = await connection.fetchval("SELECT event_id FROM outbox WHERE subject = 'x:2'")
    await event_log.execute(
        "WITH stored AS (INSERT INTO events (event_id, name, payload, created_at) "
        "VALUES ($1, 'another', '{}', now()) RETURNING event_id, id, created_at) "
        "INSERT INTO event_keys SELECT * FROM stored",
        taken,
    )
    await relay(await serving(aiohttp_server, settings, events_database_url))
    await delivered(connection)
    rows = await event_log.fetch("SELECT name, subject FROM events ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("another", None),
        ("it.happened", "x:1"),
        ("it.happened", "x:3"),
    ]
    [(subject, (status, error))] = (await dead(connection)).items()
    assert (subject, status) == ("x:2", 409)
    assert "other content" in error


# --- A leader that is outdated ----------------------------------------------------------------


async def test_relay__a_later_leader_has_posted__loses_the_lease_and_posts_nothing(
    relay: Serve,
    intake: Intake,
    connection: Connection,
) -> None:
    outdated = {"error": "epoch_outdated", "details": {"epoch": 1, "latest_epoch": 2}}
    intake.script = [web.json_response(outdated, status=409)]
    await write(connection, *TEN)
    client = await relay(intake.url)
    await delivered(connection)
    assert await epoch_of(connection) == 2  # it has taken the lease again
    assert intake.subjects == TEN
    assert await dead(connection) == {}
    assert await problems(client) == {}


async def test_relay__main_database_is_restored_from_a_copy__its_epochs_catch_up(
    relay: Serve,
    aiohttp_server: AiohttpServer,
    settings: Settings,
    connection: Connection,
    event_log: Connection,
    events_database_url: str,
) -> None:
    source = await connection.fetchval("SELECT source FROM outbox_cursor")
    await event_log.execute("INSERT INTO event_sources (source, epoch) VALUES ($1, 20)", source)
    await write(connection, *TEN)
    await relay(await serving(aiohttp_server, settings, events_database_url))
    await delivered(connection)
    assert await epoch_of(connection) == 20
    assert await event_log.fetchval("SELECT count(*) FROM events") == 10


async def test_relay__database_is_gone__posts_nothing_more(
    relay: Serve, intake: Intake, connection: Connection, database_url: str
) -> None:
    waits = asyncio.Event()
    await write(connection, *TEN)
    async with Proxy.to(database_url) as proxy:
        intake.script = [500, waits]
        client = await relay(intake.url, proxy.url, lease_s=3600, lease_renew_s=1200)
        await until(lambda: intake.requests == 2)
        proxy.cut()
        intake.poison = dict.fromkeys(TEN, (500, b""))
        waits.set()
        seen: list[Any] = []

        async def fails_again_and_again() -> bool:
            seen.append(await problems(client))
            return len([each for each in seen if "event_relay" in each]) > 5

        await until(fails_again_and_again)
    assert intake.requests == 2
    assert await dead(connection) == {}


# --- Parked by hand, and forgotten ------------------------------------------------------------


async def test_park__some_undelivered__out_of_the_log_until_they_are_replayed(
    relay: Serve, intake: Intake, connection: Connection, database: Database
) -> None:
    await write(connection, "x:1", "x:2", "x:3")
    rows = await connection.fetch("SELECT subject, event_id FROM outbox")
    ids = {row["subject"]: row["event_id"] for row in rows}
    assert await outbox.park(database, [ids["x:2"], ids["x:2"]]) == 1
    assert await outbox.park(database, [ids["x:2"]]) == 0
    await relay(intake.url)
    await delivered(connection)
    assert intake.subjects == ["x:1", "x:3"]
    assert await dead(connection) == {"x:2": (0, "parked by rowlock outbox park")}
    assert await outbox.park(database, [ids["x:1"]]) == 0  # it is delivered
    assert await outbox.replay(database, [ids["x:2"]]) == 1
    await delivered(connection)
    assert intake.subjects == ["x:1", "x:3", "x:2"]
