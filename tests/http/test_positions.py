"""Readers of events whose position the log does not have: lost by a cluster, or beyond the end."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientResponse
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.services import EVENTS
from rowlock.settings import Settings
from tests.support.roles import create_app
from tests.support.services import with_tasks
from tests.support.types import Client, Connection

FIRST = 1_000_006  # after the cut: five ids had been drawn
BEYOND = FIRST + 1  # two events were stored after it


@pytest.fixture
async def log(events_database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(events_database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def client(
    aiohttp_client: AiohttpClient, settings: Settings, events_database_url: str
) -> Client:
    return await aiohttp_client(
        create_app(
            with_tasks(EVENTS, "event_feed"),
            settings.changed(stream_poll_s=0.05),
            events_database_url,
        ),
        headers={"Authorization": f"Bearer {settings.addresses.events_token}"},
    )


async def store(client: Client, count: int) -> None:
    events = [{"name": "it.happened", "subject": "x:1", "payload": {}} for _ in range(count)]
    response = await client.post("/events/batch", json={"events": events})
    assert (await response.json())["accepted"] == count


async def lose(log: Connection, after: int) -> None:
    """Lose the events after an id, as a standby lacks them that is promoted."""
    await log.execute("DELETE FROM events WHERE id > $1", after)


async def begin_epoch(log: Connection) -> None:
    """Begin another epoch, whose first event has the id FIRST."""
    async with log.transaction():
        assert await log.fetchval("SELECT declare_epoch()") == 2
        await log.execute("SELECT setval('events_id_seq', $1, false)", FIRST)
        await log.execute(
            "UPDATE cluster_epochs "
            "SET ids = jsonb_set(ids, '{events,first}', to_jsonb($1::bigint)) WHERE number = 2",
            FIRST,
        )


@pytest.fixture
async def cut(client: Client, log: Connection) -> None:
    """A log that has lost the last two of five events, and has had two since."""
    await store(client, 5)
    await lose(log, 3)
    await begin_epoch(log)
    await store(client, 2)


@pytest.mark.usefixtures("cut")
async def test_positions__around_a_cut_and_the_end__only_those_not_in_the_log_are_told(
    client: Client,
) -> None:
    lost = {"last_valid_id": 3, "first_id_after": FIRST}
    ended = {"last_valid_id": BEYOND, "first_id_after": None}
    cases: list[tuple[int, list[int] | dict[str, Any], list[int] | dict[str, Any] | None]] = [
        # after, what follows, what a page before it has
        (0, [1, 2, 3, FIRST, BEYOND], None),  # there is no such cursor
        (1, [2, 3, FIRST, BEYOND], []),
        (3, [FIRST, BEYOND], [2, 1]),
        (4, lost, lost),
        (5, lost, lost),
        (6, lost, lost),
        (FIRST - 1, lost, lost),
        (FIRST, [BEYOND], [3, 2, 1]),
        (BEYOND, [], [FIRST, 3, 2, 1]),
        (BEYOND + 1, ended, ended),
        (2**63 - 2, ended, ended),
    ]
    for place, following, before in cases:
        for query in ("", "&name=it.happened", "&subject=x:1", "&subject=x:1&name=it.happened"):
            url = f"/events?after={place}{query}"
            assert await read(client, url) == following, url
            if before is None:
                continue
            cursor = base64.urlsafe_b64encode(str(place).encode()).decode()
            url = f"/events?order=newest&cursor={cursor}{query}"
            assert await read(client, url) == before, url
        # What the filter lets through does not matter.
        url = f"/events?after={place}&name=never"
        expected = following if isinstance(following, dict) else []
        assert await read(client, url) == expected, url


async def read(client: Client, url: str) -> list[int] | dict[str, Any]:
    """The ids of a page, or the details of its refusal."""
    response = await client.get(url)
    body = await response.json()
    if response.status == 200:
        return [event["id"] for event in body]
    assert (response.status, body["error"]) == (410, "position_unknown")
    details: dict[str, Any] = body["details"]
    return details


async def message(stream: ClientResponse) -> dict[str, str]:
    """The next message of a stream, by its fields."""
    fields: dict[str, str] = {}
    async with asyncio.timeout(20):
        while line := (await stream.content.readline()).decode().strip() or not fields:
            name, _, value = str(line).partition(": ")
            if name in {"id", "event", "data"}:
                fields[name] = value
    return fields


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("by", ["after", "header"])
@pytest.mark.parametrize(
    ("place", "told", "next_id"),
    [
        (0, None, 1),
        (3, None, FIRST),
        (4, {"last_valid_id": 3, "first_id_after": FIRST}, FIRST),
        (FIRST - 1, {"last_valid_id": 3, "first_id_after": FIRST}, FIRST),
        (FIRST, None, BEYOND),
        (BEYOND + 9, {"last_valid_id": BEYOND, "first_id_after": None}, BEYOND + 1),
    ],
)
async def test_stream__from_a_position__told_if_it_is_not_in_the_log(
    client: Client, by: str, place: int, told: dict[str, Any] | None, next_id: int
) -> None:
    query = f"?after={place}" if by == "after" else ""
    headers = {"Last-Event-ID": str(place)} if by == "header" else {}
    stream = await client.get(f"/events/stream{query}", headers=headers)
    if told is not None:
        reset = await message(stream)
        assert (reset["event"], reset["id"]) == ("reset", str(told["last_valid_id"]))
        assert json.loads(reset["data"]) == told
        if next_id > BEYOND:
            await store(client, 1)
    assert (await message(stream))["id"] == str(next_id)
    stream.close()


async def test_stream__events_lost_while_it_is_open__only_those_who_saw_them_are_reset(
    client: Client, log: Connection
) -> None:
    await store(client, 3)
    ahead = await client.get("/events/stream?after=0")
    for event_id in range(1, 4):
        assert (await message(ahead))["id"] == str(event_id)
    await store(client, 2)
    for event_id in (4, 5):
        assert (await message(ahead))["id"] == str(event_id)
    await lose(log, 4)
    await begin_epoch(log)
    await store(client, 1)
    reset = await message(ahead)
    assert (reset["event"], reset["id"]) == ("reset", "4")
    behind = await client.get("/events/stream?after=4")
    for stream in (ahead, behind):
        assert (await message(stream))["id"] == str(FIRST)
        stream.close()


async def test_positions__retention_has_emptied_the_log__known_up_to_its_last_id(
    client: Client, log: Connection
) -> None:
    await store(client, 5)
    await lose(log, 0)  # as the retention does
    assert [await read(client, f"/events?after={place}") for place in (0, 3, 5)] == [[], [], []]
    ended = {"last_valid_id": 0, "first_id_after": None}
    assert await read(client, "/events?after=6") == ended
    stream = await client.get("/events/stream?after=3")
    await store(client, 1)
    assert (await message(stream))["id"] == "6"
    stream.close()


async def test_position__beyond_the_end__says_so(client: Client) -> None:
    await store(client, 1)
    body = await (await client.get("/events?after=999999999")).json()
    assert (
        body["message"] == "The position is beyond the end of the log. Go on after last_valid_id."
    )
