"""The log of events: read in order, delivered at least once, and never lost."""

import asyncio
import json
import random
from dataclasses import dataclass, field, replace
from uuid import UUID

import asyncpg
import psycopg
import pytest
from aiohttp import web

from rowlock.delivery import relay as event_relay
from rowlock.engine import outbox
from rowlock.engine.outbox import Event
from rowlock.engine.statements import queries
from rowlock.http.service import TASKS
from rowlock.services import COMMERCE, EVENTS
from tests.support.polling import until
from tests.support.roles import create_app


async def write(connection: asyncpg.Connection, *subjects: str) -> None:
    """Append an event to each subject, in a transaction of its own."""
    for subject in subjects:
        async with connection.transaction():
            event = Event("it.happened", subject, {"to": subject}, f"request of {subject}")
            await outbox.append(connection, [event])


# --- Reading the log --------------------------------------------------------------------------


class Reader:
    """Reads on in the log, as the relay does."""

    def __init__(self, connection: asyncpg.Connection, page_size: int = 100) -> None:
        self.subjects: list[str] = []
        self.payloads: list[dict] = []
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
    connection, database_url, commits, readable
):
    writers = {number: await asyncpg.connect(database_url) for number in (1, 2, 3)}
    transactions = {}
    for number, writer in writers.items():
        transactions[number] = writer.transaction()
        await transactions[number].start()
        await outbox.append(writer, [Event("it.happened", f"x:{number}", {}, None)])
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
    connection, database_url, page_size
):
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
                await outbox.append(own, [Event("it.changed", subject, {"n": count}, None)])
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


# --- The relay --------------------------------------------------------------------------------


@dataclass
class Intake:
    """An events service with a will of its own: a real server, over real HTTP."""

    script: list[object] = field(default_factory=list)  # what to do next, then behave
    poison: dict[str, tuple[int, bytes]] = field(default_factory=dict)  # by subject
    token: str = "development-events-token"
    url: str = ""
    requests: int = 0
    events: list[dict] = field(default_factory=list)

    @property
    def subjects(self) -> list[str]:
        return [event["subject"] for event in self.events]

    async def take(self, request: web.Request) -> web.Response:
        self.requests += 1
        if request.headers["Authorization"] != f"Bearer {self.token}":
            return web.Response(status=401)
        events = (await request.json())["events"]
        match self.script.pop(0) if self.script else None:
            case "hang":
                await asyncio.Event().wait()
            case "break":
                request.transport.abort()
            case "store, then break":
                self._store(events)
                request.transport.abort()
            case int(status):
                return web.Response(status=status, text="not now")
            case web.Response() as somebody_else_s:
                return somebody_else_s
        for event in events:
            if event["subject"] in self.poison:
                status, answer = self.poison[event["subject"]]
                return web.Response(status=status, body=answer)
        return web.json_response({"accepted": self._store(events), "duplicates": 0})

    def _store(self, events: list[dict]) -> int:
        assert all(event["request_id"] == f"request of {event['subject']}" for event in events)
        known = {event["event_id"] for event in self.events}
        self.events += [event for event in events if event["event_id"] not in known]
        return len(events)


async def log_in(_: web.Request) -> web.Response:
    return web.Response(text="<form>", content_type="text/html")


@pytest.fixture
async def intake(aiohttp_server) -> Intake:
    intake = Intake()
    app = web.Application()
    app.router.add_post("/at/its/place/events/batch", intake.take)
    app.router.add_get("/login", log_in)
    intake.url = str((await aiohttp_server(app)).make_url("/at/its/place"))
    return intake


@pytest.fixture
def relay(aiohttp_client, database_url, settings):
    """Start a commerce service with some settings changed, and only its relay."""

    async def start(events_url: str, **changes: object):
        quick = {
            "relay_poll_s": 0.01,
            "relay_lead_poll_s": 0.02,
            "relay_retry_s": 0.01,
            "relay_retry_limit_s": 0.05,
            "relay_timeout_s": 5.0,
            "task_retry_s": 0.01,
            "task_healthy_s": 0.05,
        }
        changed = settings.changed(events_url=events_url, **(quick | changes))
        service = replace(COMMERCE, tasks={"event_relay": event_relay.run})
        return await aiohttp_client(create_app(service, changed, database_url))

    return start


async def delivered(connection: asyncpg.Connection) -> None:
    """Wait until there is nothing left to deliver."""

    async def nothing_left() -> bool:
        [row] = await queries.outbox.describe_backlog(connection)
        return row["backlog"] == 0

    await until(nothing_left)


async def dead(connection: asyncpg.Connection) -> dict[str, tuple[int, str]]:
    rows = await queries.outbox.list_dead(connection, page_size=100)
    return {row["subject"]: (row["status"], row["error"]) for row in rows}


TEN = [f"x:{number}" for number in range(10)]


@pytest.mark.parametrize(
    "script",
    [
        [],
        [500],
        [503, 502, 504, 429],
        [404, 405],
        [302],
        ["hang", 500, "hang"],
        ["break"],
        ["store, then break"],
        [200, "store, then break", 500],
        [403],
        [400, 422],  # not in the service's words
    ],
    ids=str,
)
@pytest.mark.parametrize("batch", [1, 4])
async def test_relay__intake_misbehaves_for_a_while__all_delivered_in_order(
    relay, intake, connection, script, batch
):
    intake.script = [step for step in script if step != 200]
    await write(connection, *TEN)
    client = await relay(intake.url, relay_batch_events=batch, relay_timeout_s=0.1)
    await delivered(connection)
    assert intake.subjects == TEN
    assert intake.script == []
    assert await dead(connection) == {}
    await write(connection, "x:10")
    await delivered(connection)
    assert intake.subjects == [*TEN, "x:10"]
    assert (await client.get("/readyz")).status == 200


@pytest.mark.parametrize(
    "options",
    [
        {"status": 302, "headers": {"Location": "/login"}},
        {"status": 204},
        {"text": "<form>", "content_type": "text/html"},
        {"text": "[]"},
        {"text": "{}"},
        {"text": '{"accepted": 9, "duplicates": 0}'},
        {"text": '{"accepted": "10", "duplicates": 0}'},
    ],
    ids=str,
)
async def test_relay__somebody_else_answers_well__nothing_is_taken_for_delivered(
    relay, intake, connection, options
):
    intake.script = [web.Response(**options)]
    await write(connection, *TEN)
    await relay(intake.url)
    await delivered(connection)
    assert intake.subjects == TEN
    assert intake.requests == 2


async def test_relay__token_not_accepted_and_then_corrected__goes_on(relay, intake, connection):
    intake.token = "another"
    await write(connection, *TEN)
    await relay(intake.url)
    await until(lambda: intake.requests >= 3)
    assert intake.events == []
    assert await dead(connection) == {}
    intake.token = "development-events-token"
    await delivered(connection)
    assert intake.subjects == TEN


async def test_relay__nobody_there_and_then_somebody__goes_on(
    relay, aiohttp_server, unused_tcp_port, connection
):
    await write(connection, *TEN)
    await relay(f"http://127.0.0.1:{unused_tcp_port}")
    [before] = await queries.outbox.describe_backlog(connection)
    assert before["backlog"] == 10
    intake = Intake()
    app = web.Application()
    app.router.add_post("/events/batch", intake.take)
    await aiohttp_server(app, port=unused_tcp_port)
    await delivered(connection)
    assert intake.subjects == TEN


async def test_relay__stopped_before_it_is_answered__the_next_one_delivers(
    relay, intake, connection
):
    intake.script = ["hang"]
    await write(connection, *TEN)
    first = await relay(intake.url)
    await until(lambda: intake.requests)
    await first.close()
    [stopped] = await queries.outbox.describe_backlog(connection)
    assert stopped["backlog"] == 10
    await relay(intake.url)
    await delivered(connection)
    assert intake.subjects == TEN


@pytest.mark.parametrize(
    ("refused", "status"),
    [([0], 400), ([9], 413), ([3, 4], 422), ([0, 5, 9], 400), (range(10), 413)],
    ids=str,
)
@pytest.mark.parametrize("batch", [1, 3, 1000])
async def test_relay__events_refused__parked_with_the_answer_others_delivered(
    relay, intake, connection, database, *, refused, batch, status
):
    answers = {TEN[at]: f'{{"error": "no_{at}", "message": "é"}}' for at in refused}
    intake.poison = {subject: (status, answer.encode()) for subject, answer in answers.items()}
    await write(connection, *TEN)
    await relay(intake.url, relay_batch_events=batch)
    await delivered(connection)
    assert intake.subjects == [subject for subject in TEN if subject not in intake.poison]
    assert await dead(connection) == {at: (status, answer) for at, answer in answers.items()}
    intake.poison = {}
    assert await outbox.replay_all(database, lambda _: None) == len(refused)
    await delivered(connection)
    assert await dead(connection) == {}
    assert intake.subjects[-len(refused) :] == [TEN[at] for at in refused]
    assert sorted(intake.subjects) == TEN


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (b"", ""),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"a\0b", "a\ufffdb"),
        (b"x" * 100_000, "x" * 1000),
    ],
    ids=["empty", "not utf-8", "nul", "long"],
)
async def test_relay__refused_with_an_odd_answer__parked(relay, intake, connection, answer, kept):
    intake.poison = {"x:1": (413, answer)}
    await write(connection, "x:0", "x:1", "x:2")
    await relay(intake.url)
    await delivered(connection)
    assert intake.subjects == ["x:0", "x:2"]
    assert await dead(connection) == {"x:1": (413, kept)}


async def test_replay__some__only_they_and_refused_again_is_parked_again(
    relay, intake, connection, database
):
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
    connection, database, database_url
):
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
    pages = []

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


# --- The relay and the real events service ----------------------------------------------------


@pytest.fixture
async def events(aiohttp_server, events_database_url, settings):
    """The real events service, listening."""
    return await aiohttp_server(create_app(EVENTS, settings, events_database_url))


@pytest.fixture
async def event_log(events_database_url: str):
    connection = await asyncpg.connect(events_database_url)
    yield connection
    await connection.close()


COLUMNS = "event_id, name, subject, payload, created_at, request_id"


async def test_relay__real_events_service__same_events_in_the_same_order(
    relay, events, connection, event_log
):
    await relay(str(events.make_url("/")), relay_batch_events=7)
    for number in range(20):
        payload = {"n": number, "text": "é\u2028\\\"'", "deep": [[{}]], "big": 2**63 - 1}
        async with connection.transaction():
            await outbox.append(
                connection,
                [
                    Event(f"thing.{part}", f"thing:{number}", payload, request_id)
                    for part, request_id in (("a", "r-1"), ("b", None), ("c", "r-2"))
                ],
            )
    await delivered(connection)
    expected = await connection.fetch(f"SELECT {COLUMNS} FROM outbox ORDER BY xid, position")
    assert len(expected) == 60
    assert await event_log.fetch(f"SELECT {COLUMNS} FROM events ORDER BY id") == expected


async def test_relay__real_events_service_refuses__parked_and_says_why(
    relay, events, connection, event_log
):
    await write(connection, "x:1", "x" * 201, "x:2")
    await relay(str(events.make_url("/")))
    await delivered(connection)
    rows = await event_log.fetch("SELECT subject FROM events ORDER BY id")
    assert [row["subject"] for row in rows] == ["x:1", "x:2"]
    [(status, answer)] = (await dead(connection)).values()
    assert status == 400
    assert "events.0.subject" in answer


async def test_relay__one_waited_longer_than_events_are_kept__parked_and_says_why(
    relay, events, connection, event_log
):
    await write(connection, "x:1", "x:2", "x:3")
    await connection.execute(
        "UPDATE outbox SET created_at = now() - interval '20 months' WHERE subject = 'x:2'"
    )
    await relay(str(events.make_url("/")))
    await delivered(connection)
    rows = await event_log.fetch("SELECT subject FROM events ORDER BY id")
    assert [row["subject"] for row in rows] == ["x:1", "x:3"]
    [(status, answer)] = (await dead(connection)).values()
    assert status == 400
    assert "older events are not kept" in answer


async def test_relay__two_and_the_leader_is_cut_off_now_and_then__each_once_in_order(
    relay, events, connection, event_log
):
    url = str(events.make_url("/"))
    services = [await relay(url, relay_batch_events=3) for _ in range(2)]
    for number in range(60):
        await write(connection, f"thing:{number % 5}")
        if number % 20 == 10:
            pids = await until(lambda: leaders(connection))
            assert len(pids) == 1
            await connection.execute("SELECT pg_terminate_backend($1, 5000)", pids[0])
    await delivered(connection)
    expected = await connection.fetch(f"SELECT {COLUMNS} FROM outbox ORDER BY xid, position")
    assert len(expected) == 60
    assert await event_log.fetch(f"SELECT {COLUMNS} FROM events ORDER BY id") == expected
    await until(lambda: not any(service.app[TASKS].problems() for service in services))


async def leaders(connection: asyncpg.Connection) -> list[int]:
    """The sessions that hold the lead."""
    rows = await connection.fetch(
        "SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database "
        "WHERE locktype = 'advisory' AND granted AND datname = current_database()"
    )
    return [row["pid"] for row in rows]


# --- After a logical restore ------------------------------------------------------------------


async def restore(connection: asyncpg.Connection) -> None:
    """Make the log look as if a dump of a cluster that is far ahead had been restored here."""
    ahead = "SET xid = (xid::text::bigint + 1000000000)::text::xid8"
    await connection.execute(f"UPDATE outbox {ahead}")
    await connection.execute(f"UPDATE outbox_cursor {ahead} WHERE xid <> '0'")


@pytest.mark.parametrize("delivered_before", [0, 1, 5, 10])
@pytest.mark.parametrize("written_after", [0, 3])
@pytest.mark.parametrize("purged", [False, True])
async def test_rebase__after_a_restore__exactly_the_undelivered_in_order(
    relay, intake, connection, database, *, delivered_before, written_after, purged
):
    await write(connection, *TEN[:delivered_before])
    service = await relay(intake.url)
    await delivered(connection)
    assert intake.subjects == TEN[:delivered_before]
    await service.close()
    await write(connection, *TEN[delivered_before:])
    if purged:
        await queries.outbox.purge_delivered(connection, page_size=100)
    await restore(connection)
    newer = [f"newer:{number}" for number in range(written_after)]
    await write(connection, *newer)
    if purged:
        await queries.outbox.purge_delivered(connection, page_size=100)
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
    relay, intake, connection, database
):
    await write(connection, *TEN)
    before = await connection.fetch(f"SELECT {COLUMNS} FROM outbox ORDER BY xid, position")
    assert [await outbox.rebase(database) for _ in range(2)] == [10, 10]
    after = await connection.fetch(f"SELECT {COLUMNS} FROM outbox ORDER BY xid, position")
    assert after == before
    await relay(intake.url)
    await delivered(connection)
    assert intake.subjects == TEN


async def test_relay__stranded__says_so_and_goes_on_after_rebase(
    relay, intake, connection, database
):
    client = await relay(intake.url)
    await write(connection, "x:1")
    await delivered(connection)
    await restore(connection)
    await write(connection, "x:2")
    problem = await until(lambda: client.app[TASKS].problems().get("event_relay"))
    assert "rowlock outbox rebase" in problem
    response = await client.get("/readyz")
    assert response.status == 503
    assert (await response.json())["checks"]["task event_relay"] == problem
    assert (await outbox.describe_backlog(database))["stranded"] > 0
    await outbox.rebase(database)
    await delivered(connection)
    assert intake.subjects == ["x:1", "x:2"]
    await until(lambda: not client.app[TASKS].problems())
    assert (await client.get("/readyz")).status == 200


# --- Purging ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delivered_first", "page_size", "purged"),
    [(0, 100, 0), (4, 100, 4), (4, 3, 3), (10, 100, 10), (10, 1, 1)],
)
async def test_purge__some_delivered__oldest_of_them_go_undelivered_stay(
    relay, intake, connection, *, delivered_first, page_size, purged
):
    await write(connection, *TEN[:delivered_first])
    service = await relay(intake.url)
    await delivered(connection)
    await service.close()
    await write(connection, *TEN[delivered_first:])
    [row] = await queries.outbox.purge_delivered(connection, page_size=page_size)
    assert row["purged"] == purged
    rows = await connection.fetch("SELECT subject FROM outbox ORDER BY xid, position")
    assert [row["subject"] for row in rows] == TEN[purged:]
