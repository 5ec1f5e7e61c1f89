"""The log of events: read in order, replayed, renumbered, purged, and never lost."""

import asyncio
import json
import random
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import psycopg
import pytest
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.delivery.retention import purge_outbox
from rowlock.engine import outbox
from rowlock.engine.database import Database
from rowlock.engine.metrics import Meter
from rowlock.engine.outbox import Event
from rowlock.engine.statements import queries
from rowlock.engine.tasks import Supervisor
from rowlock.origin import SYSTEM
from rowlock.services import COMMERCE
from rowlock.settings import Settings
from tests.support.delivery import TEN, Intake, dead, delivered, write
from tests.support.health import problems
from tests.support.leases import RELAY, take_over
from tests.support.polling import until
from tests.support.roles import confined, create_app
from tests.support.services import with_tasks
from tests.support.types import Connection, Serve

COLUMNS = "event_id, name, subject, payload, created_at, request_id, actor, traceparent"


# --- Reading the log --------------------------------------------------------------------------


class Reader:
    """Reads on in the log, as the relay does."""

    def __init__(self, connection: Connection, page_size: int = 100) -> None:
        self.subjects: list[str] = []
        self.payloads: list[dict[str, Any]] = []
        self._connection = connection
        self._page_size = page_size
        self._at = (0, 0)

    async def read(self) -> list[str]:
        """Return the subjects of the events that can be read now."""
        xid, position = self._at
        rows = await queries.outbox.read_events(
            self._connection, xid=xid, position=position, page_size=self._page_size
        )
        if rows:
            self._at = rows[-1]["xid"], rows[-1]["position"]
        self.subjects += [row["subject"] for row in rows]
        self.payloads += [json.loads(row["payload"]) for row in rows]
        return [row["subject"] for row in rows]


@pytest.mark.parametrize(
    ("commits", "readable"),
    [
        # What is readable after each commit of transactions that began as 1, 2, 3.
        ([1, 2, 3], [["x:1"], ["x:2"], ["x:3"]]),
        ([3, 2, 1], [[], [], ["x:1", "x:2", "x:3"]]),
        ([2, 1, 3], [[], ["x:1", "x:2"], ["x:3"]]),
        ([2, 3, 1], [[], [], ["x:1", "x:2", "x:3"]]),
        ([1, 3, 2], [["x:1"], [], ["x:2", "x:3"]]),
        ([3, -1, 2], [[], [], ["x:2", "x:3"]]),  # a rollback
    ],
)
async def test_read__transactions_open_and_committing_out_of_order__nothing_skipped(
    connection: Connection, database_url: str, commits: list[int], readable: list[list[str]]
) -> None:
    writers = {number: await asyncpg.connect(database_url) for number in (1, 2, 3)}
    transactions: dict[int, Any] = {}
    for number, writer in writers.items():
        transactions[number] = writer.transaction()
        await transactions[number].start()
        await outbox.append(writer, [Event("it.happened", f"x:{number}", {}, SYSTEM)])
    reader = Reader(connection)
    assert await reader.read() == []
    seen = []
    for number in commits:
        transaction = transactions[abs(number)]
        await (transaction.commit() if number > 0 else transaction.rollback())
        seen.append(await reader.read())
    assert seen == readable
    for writer in writers.values():
        await writer.close()


@pytest.mark.parametrize("page_size", [1, 3, 100])
async def test_read__while_many_write__each_once_and_subjects_in_order(
    connection: Connection, database_url: str, page_size: int
) -> None:
    rng = random.Random(page_size)
    subjects = [f"x:{number}" for number in range(4)]
    await connection.execute("CREATE TABLE things (subject text PRIMARY KEY, n int DEFAULT 0)")
    await connection.executemany("INSERT INTO things VALUES ($1)", [(s,) for s in subjects])

    async def change_some() -> None:
        own = await asyncpg.connect(database_url)
        for _ in range(25):
            subject = rng.choice(subjects)
            async with own.transaction():
                # Wait before there is an xid. A row lock would not do: to follow the updates
                # of a row, PostgreSQL draws an xid, and then waits again.
                await own.execute("SELECT pg_advisory_xact_lock(hashtext($1))", subject)
                count = await own.fetchval(
                    "UPDATE things SET n = n + 1 WHERE subject = $1 RETURNING n", subject
                )
                await outbox.append(own, [Event("it.changed", subject, {"n": count}, SYSTEM)])
                await asyncio.sleep(rng.random() * 0.002)
        await own.close()

    reader = Reader(connection, page_size)
    writing = asyncio.gather(*(change_some() for _ in range(6)))
    while not writing.done():
        await reader.read()
        await asyncio.sleep(0)
    await writing
    while await reader.read():
        pass
    assert len(reader.subjects) == 150
    for subject in subjects:
        counts = [
            payload["n"]
            for at, payload in zip(reader.subjects, reader.payloads, strict=True)
            if at == subject
        ]
        assert counts == list(range(1, len(counts) + 1))


# --- Replaying what was refused ---------------------------------------------------------------


async def test_replay__some__only_they_and_refused_again_is_parked_again(
    relay: Serve, intake: Intake, connection: Connection, database: Database
) -> None:
    intake.poison = {"x:1": (413, b"first"), "x:2": (413, b"first"), "x:3": (413, b"first")}
    await write(connection, *TEN)
    await relay(intake.url)
    await delivered(connection)
    rows = await outbox.list_dead(database, 100)
    ids = {row["subject"]: row["event_id"] for row in rows}
    intake.poison = {"x:2": (413, b"again")}
    assert await outbox.replay(database, [ids["x:1"], ids["x:2"], UUID(int=1)]) == 2
    await delivered(connection)
    assert await dead(connection) == {"x:3": (413, "first"), "x:2": (413, "again")}
    assert intake.subjects[-1] == "x:1"
    assert [str(row["event_id"]) for row in await outbox.list_dead(database, 1)] == [
        str(ids["x:3"])
    ]


async def test_replay_all__more_than_a_page_some_refused_again__each_once_in_order(
    connection: Connection, database: Database, database_url: str
) -> None:
    subjects = [f"x:{number}" for number in range(7)]
    park = """
        INSERT INTO outbox_dead_letters
            (event_id, name, subject, payload, created_at, status, error)
        SELECT md5(subject)::uuid, 'it.happened', subject, '{}', '2026-01-01'::timestamptz
            + interval '1 day' * (number / 2), 400, 'no'
        FROM unnest($1::text[]) WITH ORDINALITY AS event (subject, number)"""
    await connection.execute(park, subjects)
    expected = await connection.fetch(
        "SELECT subject FROM outbox_dead_letters ORDER BY created_at, event_id"
    )
    pages: list[int] = []

    def advance(count: int) -> None:
        pages.append(count)
        with psycopg.connect(database_url) as another:  # as the relay parks it again
            another.execute(
                "INSERT INTO outbox_dead_letters (event_id, name, subject, payload, created_at, "
                "status, error) SELECT event_id, name, subject, payload, created_at, 400, 'again' "
                "FROM outbox ORDER BY position LIMIT 1 ON CONFLICT DO NOTHING"
            )

    assert await outbox.replay_all(database, advance, page_size=3) == 7
    assert pages == [3, 3, 1]
    rows = await connection.fetch("SELECT subject FROM outbox ORDER BY xid, position")
    assert rows == expected
    assert await dead(connection) == {rows[0]["subject"]: (400, "again")}


async def purge(connection: Connection, page_size: int) -> int:
    """Remove delivered events, of which none are kept."""
    [row] = await queries.outbox.purge_delivered(
        connection, page_size=page_size, keep=timedelta(0), keep_events=1000
    )
    return row["purged"]


# --- After a logical restore ------------------------------------------------------------------


async def restore(connection: Connection) -> None:
    """Make the log look as if a dump of a cluster that is far ahead had been restored here."""
    ahead = "SET xid = (xid::text::bigint + 1000000000)::text::xid8"
    await connection.execute(f"UPDATE outbox {ahead}")
    await connection.execute(f"UPDATE outbox_cursor {ahead} WHERE xid <> '0'")


@pytest.mark.parametrize("delivered_before", [0, 1, 5, 10])
@pytest.mark.parametrize("written_after", [0, 3])
@pytest.mark.parametrize("purged", [False, True])
async def test_rebase__after_a_restore__exactly_the_undelivered_in_order(
    relay: Serve,
    intake: Intake,
    connection: Connection,
    database: Database,
    *,
    delivered_before: int,
    written_after: int,
    purged: bool,
) -> None:
    await write(connection, *TEN[:delivered_before])
    service = await relay(intake.url)
    await delivered(connection)
    assert intake.subjects == TEN[:delivered_before]
    await service.close()
    await write(connection, *TEN[delivered_before:])
    if purged:
        await purge(connection, 100)
    await restore(connection)
    newer = [f"newer:{number}" for number in range(written_after)]
    await write(connection, *newer)
    if purged:
        await purge(connection, 100)
    undelivered = TEN[delivered_before:] + newer
    assert await outbox.rebase(database) == len(undelivered)
    intake.events.clear()
    await relay(intake.url, relay_batch_events=4)
    await delivered(connection)
    assert intake.subjects == undelivered
    # And life goes on.
    await write(connection, "x:last")
    await delivered(connection)
    assert intake.subjects == [*undelivered, "x:last"]


async def test_rebase__twice_or_without_need__changes_nothing_but_numbers(
    relay: Serve, intake: Intake, connection: Connection, database: Database
) -> None:
    await write(connection, *TEN)
    before = await connection.fetch(f"SELECT {COLUMNS} FROM outbox ORDER BY xid, position")
    assert [await outbox.rebase(database) for _ in range(2)] == [10, 10]
    after = await connection.fetch(f"SELECT {COLUMNS} FROM outbox ORDER BY xid, position")
    assert after == before
    await relay(intake.url)
    await delivered(connection)
    assert intake.subjects == TEN


async def test_relay__stranded__says_so_and_goes_on_after_rebase(
    relay: Serve, intake: Intake, connection: Connection, database: Database
) -> None:
    client = await relay(intake.url)
    await write(connection, "x:1")
    await delivered(connection)
    await restore(connection)
    await write(connection, "x:2")

    async def find_problem() -> str | None:
        return (await problems(client)).get("event_relay")

    async def is_well() -> bool:
        return await find_problem() is None

    problem = await until(find_problem)
    assert "rowlock outbox rebase" in problem
    for path in ("/readyz", "/readyz/writes"):
        response = await client.get(path)
        assert response.status == 200
        assert (await response.json())["checks"]["task event_relay"] == problem
    assert (await outbox.describe_backlog(database))["stranded"] > 0
    await outbox.rebase(database)
    await delivered(connection)
    assert intake.subjects == ["x:1", "x:2"]
    await until(is_well)
    assert (await client.get("/readyz")).status == 200


# --- Purging ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delivered_first", "page_size", "purged"),
    [(0, 100, 0), (4, 100, 4), (4, 3, 3), (10, 100, 10), (10, 1, 1)],
)
async def test_purge__some_delivered__oldest_of_them_go_undelivered_stay(
    relay: Serve,
    intake: Intake,
    connection: Connection,
    *,
    delivered_first: int,
    page_size: int,
    purged: int,
) -> None:
    await write(connection, *TEN[:delivered_first])
    service = await relay(intake.url)
    await delivered(connection)
    await service.close()
    await write(connection, *TEN[delivered_first:])
    assert await purge(connection, page_size) == purged
    rows = await connection.fetch("SELECT subject FROM outbox ORDER BY xid, position")
    assert [row["subject"] for row in rows] == TEN[purged:]


@pytest.mark.parametrize("rows", [1, 3, 5000])
async def test_purge_outbox__delivered_and_not__only_delivered_ones_go_while_it_is_due(
    database_url: str,
    connection: Connection,
    settings: Settings,
    rows_purged: Callable[[str], int],
    *,
    rows: int,
) -> None:
    for number in range(10):
        async with connection.transaction():
            await outbox.append(connection, [Event("it.happened", f"x:{number}", {}, SYSTEM)])
    log = "SELECT xid, position, subject FROM outbox ORDER BY xid, position"
    events = await connection.fetch(log)
    quick = settings.changed(housekeeping_rows=rows, outbox_purge_s=0.01, outbox_keep_s=0)
    epoch = await take_over(connection)
    asked = 0
    is_leading = False

    def is_due() -> bool:
        nonlocal asked
        asked += 1
        return is_leading

    async def deliver(at: int) -> None:
        await queries.outbox.advance_cursor(
            connection,
            lease=RELAY,
            epoch=epoch,
            xid=events[at]["xid"],
            position=events[at]["position"],
            last_position=events[at]["position"],
            log=None,
        )

    def has_purged(count: int) -> bool:
        return rows_purged("outbox_purge") == count

    await deliver(3)
    async with Database(confined(database_url, "commerce"), quick.database) as database:
        purging = purge_outbox(database, quick, is_due)
        tasks = Supervisor([purging], quick.tasks, Meter("commerce"), database.outage)
        tasks.start()
        await until(lambda: asked > 3)
        assert await connection.fetch(log) == events
        is_leading = True
        await until(partial(has_purged, 4))
        assert await connection.fetch(log) == events[4:]
        await deliver(6)  # later on
        await until(partial(has_purged, 7))
        assert await connection.fetch(log) == events[7:]
        await tasks.stop()


async def test_purge_outbox__where_the_relay_leads__delivered_events_go(
    aiohttp_client: AiohttpClient,
    database_url: str,
    connection: Connection,
    settings: Settings,
    intake: Intake,
) -> None:
    await write(connection, *TEN)
    quick = settings.changed(events_url=intake.url, outbox_purge_s=0.01, outbox_keep_s=0)
    service = with_tasks(COMMERCE, "event_relay", "outbox_purge")
    await aiohttp_client(create_app(service, quick, database_url))

    async def is_empty() -> bool:
        return not await connection.fetchval("SELECT count(*) FROM outbox")

    await until(is_empty)
    assert intake.subjects == TEN


async def test_purge_dead_letters__old_and_not__only_old_ones_go(
    aiohttp_client: AiohttpClient,
    database_url: str,
    connection: Connection,
    settings: Settings,
    rows_purged: Callable[[str], int],
) -> None:
    for days in range(7):
        await connection.execute(
            "INSERT INTO outbox_dead_letters (event_id, name, subject, payload, created_at, "
            "status, error, refused_at) VALUES (gen_random_uuid(), 'it.happened', $1, '{}', now(), "
            "400, 'no', now() - make_interval(days => $2))",
            f"x:{days}",
            days,
        )
    changed = settings.changed(dead_letters_keep_s=4 * 86_400, housekeeping_rows=2)
    client = create_app(with_tasks(COMMERCE, "dead_letters_purge"), changed, database_url)
    await aiohttp_client(client)
    await until(lambda: rows_purged("dead_letters_purge") == 3)
    assert set(await dead(connection)) == {"x:0", "x:1", "x:2", "x:3"}
