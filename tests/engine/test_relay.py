"""The relay: delivered at least once and in order, whatever happens on the way."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpServer

from rowlock.engine import outbox
from rowlock.engine.database import Database
from rowlock.engine.outbox import Event
from rowlock.engine.statements import queries
from rowlock.origin import Origin
from rowlock.services import EVENTS
from rowlock.settings import Settings
from tests.support.contract import bearer
from tests.support.delivery import TEN, TRACEPARENT, Intake, dead, delivered, write
from tests.support.health import problems
from tests.support.leases import ADVANCE_OF_PREVIOUS_RELEASE, RELAY, epoch_of, expire, take_over
from tests.support.polling import until
from tests.support.roles import create_app
from tests.support.services import quiet
from tests.support.sessions import end_others
from tests.support.types import Connection, Serve

if TYPE_CHECKING:
    from rowlock.engine.typed.outbox import ReadEventsRow

Entries: TypeAlias = list[MutableMapping[str, Any]]

SENT_BEFORE = "event_id, name, subject, payload, created_at, request_id"  # by release 0.1.0
ORIGINS = {
    "a": Origin("r-1", "token", TRACEPARENT),
    "b": Origin(None, "token"),
    "c": Origin("r-2", "token"),
}
COLUMNS = f"{SENT_BEFORE}, actor, traceparent"


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
    relay: Serve, intake: Intake, connection: Connection, script: list[object], batch: int
) -> None:
    intake.script = [step for step in script if step != 200]
    await write(connection, *TEN)
    limits = {"relay_timeout_s": 0.3} if "hang" in script else {}
    client = await relay(intake.url, relay_batch_events=batch, **limits)
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
    relay: Serve, intake: Intake, connection: Connection, options: dict[str, Any]
) -> None:
    intake.script = [web.Response(**options)]
    await write(connection, *TEN)
    await relay(intake.url)
    await delivered(connection)
    assert intake.subjects == TEN
    assert intake.requests == 2


async def test_relay__token_not_accepted_and_then_corrected__goes_on(
    relay: Serve, intake: Intake, connection: Connection
) -> None:
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
    relay: Serve, aiohttp_server: AiohttpServer, unused_tcp_port: int, connection: Connection
) -> None:
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
    relay: Serve, intake: Intake, connection: Connection
) -> None:
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
    relay: Serve,
    intake: Intake,
    connection: Connection,
    database: Database,
    *,
    refused: Sequence[int],
    batch: int,
    status: int,
) -> None:
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
async def test_relay__refused_with_an_odd_answer__parked(
    relay: Serve, intake: Intake, connection: Connection, answer: bytes, kept: str
) -> None:
    intake.poison = {"x:1": (413, answer)}
    await write(connection, "x:0", "x:1", "x:2")
    await relay(intake.url)
    await delivered(connection)
    assert intake.subjects == ["x:0", "x:2"]
    assert await dead(connection) == {"x:1": (413, kept)}


# --- The relay and the real events service ----------------------------------------------------


@pytest.fixture
async def events_service(
    aiohttp_server: AiohttpServer, events_database_url: str, settings: Settings
) -> str:
    """The URL of the real events service, listening.

    Without housekeeping: a reader may miss events that move into a partition.
    """
    server = await aiohttp_server(create_app(quiet(EVENTS), settings, events_database_url))
    return str(server.make_url("/"))


@pytest.fixture
async def event_log(events_database_url: str) -> AsyncIterator[Connection]:
    """A connection to its database."""
    connection = await asyncpg.connect(events_database_url)
    yield connection
    await connection.close()


async def test_relay__real_events_service__same_events_in_the_same_order(
    relay: Serve, events_service: str, connection: Connection, event_log: Connection
) -> None:
    await relay(events_service, relay_batch_events=7)
    for number in range(20):
        payload = {"n": number, "text": "é\u2028\\\"'", "deep": [[{}]], "big": 2**63 - 1}
        async with connection.transaction():
            await outbox.append(
                connection,
                [
                    Event(f"thing.{part}", f"thing:{number}", payload, origin)
                    for part, origin in ORIGINS.items()
                ],
            )
    await delivered(connection)
    expected = await connection.fetch(f"SELECT {COLUMNS} FROM outbox ORDER BY xid, position")
    assert len(expected) == 60
    assert await event_log.fetch(f"SELECT {COLUMNS} FROM events ORDER BY id") == expected


@pytest.mark.parametrize("batch", [1, 4])
async def test_relay__intake_does_not_know_traces__events_go_without_until_it_does(
    relay: Serve, intake: Intake, connection: Connection, batch: int
) -> None:
    intake.refuses_traces = True
    await write(connection, *TEN)
    await relay(intake.url, relay_batch_events=batch)
    await delivered(connection)
    intake.refuses_traces = False
    await write(connection, "x:10")
    await delivered(connection)
    assert await dead(connection) == {}
    assert intake.subjects == [*TEN, "x:10"]
    assert [event.get("traceparent") for event in intake.events] == [None] * 10 + [TRACEPARENT]
    assert {event["actor"] for event in intake.events} == {"token"}


async def test_relay__event_without_a_trace_refused__sent_once(
    relay: Serve, intake: Intake, connection: Connection
) -> None:
    intake.poison["x:1"] = (400, b'{"error": "invalid_request"}')
    await write(connection, "x:1")
    await connection.execute("UPDATE outbox SET traceparent = NULL")
    await relay(intake.url)
    await delivered(connection)
    assert intake.requests == 1
    assert list(await dead(connection)) == ["x:1"]


async def test_relay__real_events_service_refuses__parked_and_says_why(
    relay: Serve, events_service: str, connection: Connection, event_log: Connection
) -> None:
    await write(connection, "x:1", "x" * 201, "x:2")
    await relay(events_service)
    await delivered(connection)
    rows = await event_log.fetch("SELECT subject FROM events ORDER BY id")
    assert [row["subject"] for row in rows] == ["x:1", "x:2"]
    [(status, answer)] = (await dead(connection)).values()
    assert status == 400
    assert "events.0.subject" in answer


async def test_relay__one_waited_longer_than_events_are_kept__parked_and_says_why(
    relay: Serve, events_service: str, connection: Connection, event_log: Connection
) -> None:
    await write(connection, "x:1", "x:2", "x:3")
    await connection.execute(
        "UPDATE outbox SET created_at = now() - interval '20 months' WHERE subject = 'x:2'"
    )
    await relay(events_service)
    await delivered(connection)
    rows = await event_log.fetch("SELECT subject FROM events ORDER BY id")
    assert [row["subject"] for row in rows] == ["x:1", "x:3"]
    [(status, answer)] = (await dead(connection)).values()
    assert status == 400
    assert "older events are not kept" in answer


# --- Relays that lead, and cease to -----------------------------------------------------------


async def lose_sessions(connection: Connection) -> None:
    await end_others(connection)


async def lose_lease(connection: Connection) -> None:
    epoch = await epoch_of(connection)

    async def is_taken() -> bool:
        await expire(connection)
        return await epoch_of(connection) > epoch

    await until(is_taken)


@pytest.mark.parametrize("cut_off", [lose_sessions, lose_lease])
async def test_relay__two_and_the_leader_is_cut_off_now_and_then__each_once_in_order(
    relay: Serve,
    events_service: str,
    connection: Connection,
    event_log: Connection,
    entries: Entries,
    cut_off: Callable[[Connection], Awaitable[None]],
) -> None:
    services = [await relay(events_service, relay_batch_events=3) for _ in range(2)]
    for number in range(60):
        await write(connection, f"thing:{number % 5}")
        if number % 20 == 10:
            await until(lambda: epoch_of(connection))
            await cut_off(connection)
    await delivered(connection)
    expected = await connection.fetch(f"SELECT {COLUMNS} FROM outbox ORDER BY xid, position")
    assert len(expected) == 60
    assert await event_log.fetch(f"SELECT {COLUMNS} FROM events ORDER BY id") == expected

    async def all_well() -> bool:
        return not any([await problems(service) for service in services])

    await until(all_well)
    # One is missing where a relay took the lease, and the answer that said so was lost.
    epochs = [entry["epoch"] for entry in entries if entry["event"] == "lease_taken"]
    assert epochs == sorted(set(epochs))


@pytest.mark.parametrize("refused", [False, True])
async def test_relay__replaced_while_it_waits_for_an_answer__changes_nothing_and_says_so(
    relay: Serve, intake: Intake, connection: Connection, entries: Entries, *, refused: bool
) -> None:
    answer = asyncio.Event()
    intake.script = [answer]
    intake.poison = {"x:1": (413, b"no")} if refused else {}
    await write(connection, "x:1")
    # It does not notice by a renewal, as if it had stood still meanwhile.
    client = await relay(intake.url, lease_s=3600, lease_renew_s=3600, task_healthy_s=3600)
    await until(lambda: intake.requests)
    before = await connection.fetch("SELECT * FROM outbox_cursor")
    epoch = await take_over(connection)
    answer.set()
    await until(lambda: "lease_lost" in [entry["event"] for entry in entries])
    assert await problems(client) == {}
    assert await connection.fetch("SELECT * FROM outbox_cursor") == before
    assert await dead(connection) == {}
    await queries.leases.release(connection, name=RELAY, epoch=epoch)
    await delivered(connection)
    assert intake.subjects == ([] if refused else ["x:1"])
    assert await dead(connection) == ({"x:1": (413, "no")} if refused else {})
    assert await epoch_of(connection) == epoch + 1


async def test_relay__beside_one_of_the_previous_release__each_once_and_the_cursor_never_goes_back(
    relay: Serve,
    events_service: str,
    connection: Connection,
    database_url: str,
    event_log: Connection,
) -> None:
    await connection.execute(
        """
        CREATE TABLE moves (number serial, xid xid8, position bigint, session integer);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN
            INSERT INTO moves (xid, position, session)
            VALUES (new.xid, new.position, pg_backend_pid());
            RETURN NULL;
        END $$;
        CREATE TRIGGER note AFTER UPDATE ON outbox_cursor FOR EACH ROW EXECUTE FUNCTION note()"""
    )
    await relay(events_service, relay_batch_events=3, relay_poll_s=0.001)
    other = await asyncpg.connect(database_url)
    leading = asyncio.create_task(lead_as_before(other, events_service))
    moves = "SELECT xid, position, session FROM moves ORDER BY number"

    async def both_have_moved_it() -> bool:
        await write(connection, *(f"thing:{number}" for number in range(5)))
        sessions = {row["session"] for row in await connection.fetch(moves)}
        return len(sessions) > 1 and other.get_server_pid() in sessions

    await until(both_have_moved_it)
    await delivered(connection)
    leading.cancel()
    await asyncio.wait([leading])
    await other.close()
    places = [(row["xid"], row["position"]) for row in await connection.fetch(moves)]
    assert places == sorted(set(places))
    expected = await connection.fetch(f"SELECT {SENT_BEFORE} FROM outbox ORDER BY xid, position")
    assert await event_log.fetch(f"SELECT {SENT_BEFORE} FROM events ORDER BY id") == expected


async def lead_as_before(connection: Connection, events_url: str) -> None:
    """Deliver events as the previous release does, which knows of no lease."""
    headers = bearer(Settings().addresses.events_token)
    async with aiohttp.ClientSession(events_url, headers=headers) as session:
        while True:
            [cursor] = await queries.outbox.read_cursor(connection)
            events = await queries.outbox.read_events(
                connection, xid=cursor["xid"], position=cursor["position"], page_size=5
            )
            await asyncio.sleep(0.001)
            if events:
                body = {"events": [as_json(event) for event in events]}
                async with session.post("/events/batch", json=body) as response:
                    assert response.status == 200, await response.text()
                last = events[-1]
                await connection.execute(
                    ADVANCE_OF_PREVIOUS_RELEASE, last["xid"], last["position"], last["position"]
                )


def as_json(event: "ReadEventsRow") -> dict[str, Any]:
    return {
        "event_id": str(event["event_id"]),
        "name": event["name"],
        "subject": event["subject"],
        "payload": json.loads(event["payload"]),
        "request_id": event["request_id"],
        "created_at": event["created_at"].isoformat(),
    }
