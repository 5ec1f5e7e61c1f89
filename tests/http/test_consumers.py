"""Consumers over HTTP: named cursors that wait, acknowledge, and are reset."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientResponse
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.consumers.rules import MOST_CONSUMERS
from rowlock.services import EVENTS
from rowlock.settings import Settings
from tests.support.contract import bearer, refusal, walk, within
from tests.support.polling import until
from tests.support.roles import create_app
from tests.support.services import with_tasks
from tests.support.types import Client, Connection

NO_EVENT = 409, "event_not_stored"
GONE = 410, "position_unknown"


@pytest.fixture
async def log(events_database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(events_database_url)
    yield connection
    await connection.close()


async def store(events: Client, count: int, **fields: Any) -> list[int]:
    """Store events; return their ids."""
    ids = []
    for _ in range(count):
        response = await events.post(
            "/events", json={"name": "it.happened", "payload": {}, **fields}
        )
        ids.append((await response.json())["id"])
    return ids


async def put(events: Client, name: str, start: object = None) -> dict[str, Any]:
    """Create or reset a consumer."""
    body = {} if start is None else {"from": start}
    response = await events.put(f"/consumers/{name}", json=body)
    assert response.status in {200, 201}, await response.text()
    found: dict[str, Any] = await response.json()
    return found


async def read(events: Client, name: str, query: str = "") -> list[int]:
    """The ids of the events that a consumer gets."""
    response = await events.get(f"/consumers/{name}/events{query}")
    assert response.status == 200, await response.text()
    return [event["id"] for event in await response.json()]


async def acknowledge(events: Client, name: str, event_id: int) -> int:
    """Acknowledge; return where the consumer stands."""
    response = await events.post(f"/consumers/{name}/ack", json={"id": event_id})
    assert response.status == 200, await response.text()
    position: int = (await response.json())["position"]
    return position


async def test_consumer__reads_and_acknowledges__gets_each_event_until_it_is_done_with(
    events: Client,
) -> None:
    response = await events.put("/consumers/warehouse", json={})
    assert response.status == 201
    assert within(events, response.headers["Location"]) == "/consumers/warehouse"
    created = (await response.json())["id"]
    [first] = await read(events, "warehouse")  # that it was created
    ids = [first, *await store(events, 4)]
    assert await read(events, "warehouse", "?limit=3") == ids[:3]
    assert await read(events, "warehouse", "?limit=3") == ids[:3]
    assert await acknowledge(events, "warehouse", ids[2]) == ids[2]
    assert await read(events, "warehouse") == ids[3:]
    assert await acknowledge(events, "warehouse", ids[0]) == ids[2]  # an older one
    assert await acknowledge(events, "warehouse", ids[4]) == ids[4]
    assert await read(events, "warehouse") == []
    response = await events.get("/consumers/warehouse")
    consumer = await response.json()
    assert (consumer["id"], consumer["position"]) == (created, ids[4])
    assert (consumer["lag_events"], consumer["lag_s"]) == (0, 0)
    assert consumer["acknowledged_at"] > consumer["created_at"]
    shown = await (await events.get(f"/events/{ids[0]}")).json()
    assert shown["name"] == "consumer.created"
    assert shown["payload"] == {
        "consumer_id": created,
        "consumer_name": "warehouse",
        "position": 0,
    }


async def test_put__again__leaves_it_or_resets_it(events: Client) -> None:
    ids = await store(events, 3)
    await put(events, "a", ids[1])
    assert (await read(events, "a"))[:2] == ids[1:]
    await acknowledge(events, "a", ids[2])
    assert (await put(events, "a"))["position"] == ids[2]
    assert (await put(events, "a", ids[0]))["position"] == 0
    assert (await read(events, "a"))[:3] == ids
    newest = (await read(events, "a"))[-1]
    assert (await put(events, "a", newest + 1))["position"] == newest


async def test_put__from_a_time__begins_at_the_first_event_of_it(events: Client) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    times = [now - timedelta(days=days) for days in (70, 40, 10, 0)]
    ids = [(await store(events, 1, created_at=time.isoformat()))[0] for time in times]
    for start, first in (
        (times[0] - timedelta(days=1), 0),
        (times[1], 1),
        (times[1] + timedelta(seconds=1), 2),
        (times[3], 3),
    ):
        await put(events, "a", start.isoformat())
        assert (await read(events, "a"))[: 4 - first] == ids[first:]
    after = now + timedelta(hours=1)
    assert (await put(events, "a", after.isoformat()))["lag_events"] == 1  # that it was reset
    assert (await read(events, "a"))[0] > ids[3]


async def test_read__waits__is_woken_by_the_next_event(events: Client) -> None:
    await put(events, "a")
    await acknowledge(events, "a", (await read(events, "a"))[-1])
    waiting = [asyncio.create_task(read(events, "a", "?wait_s=30")) for _ in range(3)]
    assert await read(events, "a", "?wait_s=0") == []
    ids = await store(events, 1)
    assert await asyncio.wait_for(asyncio.gather(*waiting), 10) == [ids] * 3


async def test_read__nothing_comes__empty_after_the_wait(events: Client) -> None:
    await put(events, "a")
    await acknowledge(events, "a", (await read(events, "a"))[-1])
    loop = asyncio.get_running_loop()
    started = loop.time()
    assert await read(events, "a", "?wait_s=1") == []
    assert 0.9 < loop.time() - started < 10


async def test_read__deleted_meanwhile__404(events: Client, log: Connection) -> None:
    await put(events, "a")
    await acknowledge(events, "a", (await read(events, "a"))[-1])
    waiting = asyncio.create_task(events.get("/consumers/a/events?wait_s=30"))

    async def is_deleted() -> bool:
        response = await events.delete("/consumers/a")
        return response.status == 204

    await until(is_deleted)  # which is an event, and so wakes it
    response = await asyncio.wait_for(waiting, 10)
    assert await refusal(response) == (404, "consumer_not_found")
    response = await events.delete("/consumers/a")
    assert await refusal(response) == (404, "consumer_not_found")


async def wait_for_events(events: Client, name: str) -> ClientResponse:
    """The answer to a request that waits, once it may."""
    while (response := await events.get(f"/consumers/{name}/events?wait_s=30")).status == 503:
        pass
    return response


async def are_waiting(events: Client, name: str) -> bool:
    """Whether as many wait as may."""
    response = await events.get(f"/consumers/{name}/events?wait_s=1")
    if response.status == 200:
        return False
    assert await refusal(response) == (503, "overloaded")
    return True


@pytest.fixture
def crowded(
    aiohttp_client: AiohttpClient, events_database_url: str, settings: Settings
) -> Callable[[int], Awaitable[Client]]:
    """Start an events service where so many requests may wait."""

    async def start(waiting: int) -> Client:
        app = create_app(
            with_tasks(EVENTS, "event_feed"),
            settings.changed(consumers_waiting=waiting),
            events_database_url,
        )
        client: Client = await aiohttp_client(app, headers=bearer(settings.addresses.events_token))
        return client

    return start


async def test_read__as_many_wait_as_may__503_until_they_have_ended(
    crowded: Callable[[int], Awaitable[Client]],
) -> None:
    events = await crowded(2)
    await put(events, "a")
    await acknowledge(events, "a", (await read(events, "a"))[-1])
    waiting = [asyncio.create_task(wait_for_events(events, "a")) for _ in range(2)]
    await until(lambda: are_waiting(events, "a"))
    assert await read(events, "a") == []  # which does not wait
    ids = await store(events, 1)
    for response in await asyncio.wait_for(asyncio.gather(*waiting), 10):
        assert [event["id"] for event in await response.json()] == ids
    await acknowledge(events, "a", ids[0])
    assert await read(events, "a", "?wait_s=1") == []


async def test_read__position_is_beyond_the_log_when_it_is_woken__told_so(
    crowded: Callable[[int], Awaitable[Client]], log: Connection
) -> None:
    events = await crowded(1)
    await put(events, "a")
    await acknowledge(events, "a", (await read(events, "a"))[-1])
    waiting = asyncio.create_task(wait_for_events(events, "a"))
    await until(lambda: are_waiting(events, "a"))
    await log.execute("UPDATE consumers SET position = 1000")
    [last] = await store(events, 1)
    response = await asyncio.wait_for(waiting, 10)
    assert await refusal(response) == GONE
    told = await response.json()
    assert "beyond the end" in told["message"]
    assert told["details"] == {"last_valid_id": last, "first_id_after": None}


@pytest.mark.parametrize("query", ["", "?wait_s=1"])
async def test_read__position_is_beyond_the_log__told_so(
    events: Client, log: Connection, query: str
) -> None:
    await put(events, "a")
    [last] = await store(events, 1)
    await log.execute("UPDATE consumers SET position = $1", last + 5)
    response = await events.get(f"/consumers/a/events{query}")
    assert await refusal(response) == GONE
    told = await response.json()
    assert "beyond the end" in told["message"]
    assert told["details"] == {"last_valid_id": last, "first_id_after": None}


async def test_acknowledge__at_once_and_out_of_order__stands_at_the_highest(
    events: Client,
) -> None:
    await put(events, "a")
    ids = await store(events, 20)
    stands = await asyncio.gather(*(acknowledge(events, "a", each) for each in ids[::-1]))
    assert max(stands) == ids[-1]
    assert all(at >= each for at, each in zip(stands, ids[::-1], strict=True))
    assert await read(events, "a") == []


async def test_acknowledge__what_the_log_does_not_have__refused_and_nothing_moves(
    events: Client, log: Connection
) -> None:
    await put(events, "a")
    ids = await store(events, 3)
    await acknowledge(events, "a", ids[0])
    for event_id, problem in ((ids[2] + 1, NO_EVENT), (2**63 - 1, NO_EVENT)):
        response = await events.post("/consumers/a/ack", json={"id": event_id})
        assert await refusal(response) == problem
    await log.execute("DELETE FROM events WHERE id = $1", ids[1])
    response = await events.post("/consumers/a/ack", json={"id": ids[1]})
    assert await refusal(response) == GONE
    assert (await response.json())["details"] == {
        "last_valid_id": ids[0],
        "first_id_after": ids[2],
    }
    assert await read(events, "a") == [ids[2]]


async def test_positions__in_a_cut__told_and_can_be_reset(events: Client, log: Connection) -> None:
    await put(events, "a")
    ids = await store(events, 5)
    await acknowledge(events, "a", ids[4])
    await log.execute("DELETE FROM events WHERE id > $1", ids[2])
    await log.fetchval("SELECT declare_epoch()")
    [after] = await store(events, 1)
    assert after > 1_000_000
    for query in ("", "?wait_s=1"):
        response = await events.get(f"/consumers/a/events{query}")
        assert await refusal(response) == GONE
        told = (await response.json())["details"]
        assert told == {"last_valid_id": ids[2], "first_id_after": after}
    response = await events.put("/consumers/a", json={"from": ids[4]})
    assert await refusal(response) == GONE
    await put(events, "a", after)
    assert (await read(events, "a"))[0] == after


async def test_lag__around_a_cut__counts_no_ids_that_were_skipped(
    events: Client, log: Connection
) -> None:
    ids = await store(events, 5)
    await put(events, "a", ids[3])  # two events are left, and that it was created
    await put(events, "z")  # one more, and all
    await log.fetchval("SELECT declare_epoch()")
    await store(events, 2)
    response = await events.get("/consumers")
    assert [(each["name"], each["lag_events"]) for each in await response.json()] == [
        ("z", 9),
        ("a", 6),
    ]


async def test_read__events_after_the_position_are_dropped__410(
    events: Client, log: Connection
) -> None:
    await put(events, "a")
    ids = await store(events, 4)
    await acknowledge(events, "a", ids[0])
    await log.execute("DELETE FROM events WHERE id < $1", ids[0])
    assert await read(events, "a") == ids[1:]
    await log.execute("DELETE FROM events WHERE id <= $1", ids[2])
    response = await events.get("/consumers/a/events")
    assert await refusal(response) == GONE
    assert (await response.json())["details"] == {"last_valid_id": 0, "first_id_after": ids[3]}
    await put(events, "a", ids[3])
    assert (await read(events, "a"))[0] == ids[3]


async def test_put__as_many_as_there_may_be__no_more(events: Client, log: Connection) -> None:
    await log.execute(
        "INSERT INTO consumers (name, position, created_by) "
        "SELECT 'c' || n, 0, 'token' FROM generate_series(2, $1) AS n",
        MOST_CONSUMERS,
    )
    responses = await asyncio.gather(
        *(events.put(f"/consumers/{name}", json={}) for name in ("x", "y", "z"))
    )
    assert sorted(response.status for response in responses) == [201, 409, 409]
    await put(events, "c2")
    pages = await walk(events, "/consumers?limit=100")
    names = [consumer["name"] for page in pages for consumer in page]
    assert len(names) == len(set(names)) == MOST_CONSUMERS
    page = await (await events.get("/metrics")).text()
    assert page.count("rowlock_consumer_lag_events{") == MOST_CONSUMERS


@pytest.mark.parametrize("name", ["A", "-a", "a" * 65, "a%20", "%00", "a%0A", "%C3%A9", "a%2Fb"])
async def test_names__that_no_consumer_can_have__refused(events: Client, name: str) -> None:
    response = await events.put(f"/consumers/{name}", json={})
    assert await refusal(response) == (400, "invalid_request")
    response = await events.get(f"/consumers/{name}/events")
    assert await refusal(response) == (404, "consumer_not_found")


STARTS: list[Any] = ["", "x", "1", "2026-11-21", "2026-11-21T09:30:00", 0, -1, 1.5, True, [], {}]
STARTS += [2**63, "0001-01-01T00:00:00Z", "infinity", "9999-12-31T23:59:59.999999Z"]


@pytest.mark.parametrize("start", STARTS, ids=repr)
async def test_put__no_place__400(events: Client, start: object) -> None:
    response = await events.put("/consumers/a", json={"from": start})
    assert await refusal(response) == (400, "invalid_request")
    assert (await events.get("/consumers/a")).status == 404


@pytest.mark.parametrize("body", [{}, {"id": 0}, {"id": "1"}, {"id": None}, {"id": 1, "x": 1}, []])
async def test_acknowledge__bad_body__400(events: Client, body: object) -> None:
    await put(events, "a")
    response = await events.post("/consumers/a/ack", json=body)
    assert await refusal(response) == (400, "invalid_request")


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "wait_s=31", "wait_s=-1", "wait_s=x", "x=1", "limit=1&limit=1"],
)
async def test_read__bad_query__400(events: Client, query: str) -> None:
    await put(events, "a")
    response = await events.get(f"/consumers/a/events?{query}")
    assert await refusal(response) == (400, "invalid_request")


async def test_put__beyond_the_log__410(events: Client) -> None:
    ids = await store(events, 1)
    response = await events.put("/consumers/a", json={"from": ids[0] + 2})
    assert await refusal(response) == GONE


async def test_writes__with_an_idempotency_key__are_replayed(events: Client) -> None:
    async def send(method: str, path: str, body: object, key: str) -> tuple[int, bytes, str | None]:
        response = await events.request(method, path, json=body, headers={"Idempotency-Key": key})
        replayed = response.headers.get("Idempotency-Replayed")
        return response.status, await response.read(), replayed

    ids = await store(events, 3)
    for method, path, body, status in (
        ("PUT", "/consumers/a", {"from": ids[0]}, 201),
        ("POST", "/consumers/a/ack", {"id": ids[1]}, 200),
        ("DELETE", "/consumers/a", {}, 204),
    ):
        first = await send(method, path, body, method)
        assert first[0] == status
        assert await send(method, path, body, method) == (*first[:2], "true")
    assert (await events.get("/consumers/a")).status == 404
