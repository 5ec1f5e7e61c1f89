"""The live stream: every event once and in order, from wherever the client left off."""

import asyncio
import itertools
import json
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientResponse
from pytest_aiohttp.plugin import AiohttpClient
from yarl import URL

from rowlock.events import Events
from rowlock.http.service import Parts
from rowlock.services import EVENTS
from rowlock.settings import Settings
from tests.support.contract import refusal, server_of
from tests.support.databases import cloned
from tests.support.polling import until
from tests.support.roles import create_app
from tests.support.scraping import scrape
from tests.support.services import feature_of, spied_on, with_tasks
from tests.support.types import Client, Connection, Serve


@pytest.fixture(scope="module")
def events_database_url(server_url: str, events_template: str) -> Iterator[str]:
    """One database for all cases: each looks at what comes after what was there."""
    with cloned(server_url, events_template) as url:
        yield url


@pytest.fixture
def serve_events(
    aiohttp_client: AiohttpClient, events_database_url: str, settings: Settings, seen: list[Parts]
) -> Serve:
    """Start an events service with some settings changed, and only its feed; return a client."""

    async def start(**changes: object) -> Client:
        changed = settings.changed(**({"stream_poll_s": 0.05} | changes))
        service = spied_on(with_tasks(EVENTS, "event_feed"), seen)
        client = await aiohttp_client(
            create_app(service, changed, events_database_url),
            headers={"Authorization": f"Bearer {settings.addresses.events_token}"},
        )
        # As `rowlock serve` has it: a handler is not told that its client has left.
        server_of(client).handler_cancellation = False
        return client

    return start


@pytest.fixture
async def log(events_database_url: str) -> AsyncIterator[Connection]:
    """A connection to the events database."""
    connection = await asyncpg.connect(events_database_url)
    yield connection
    await connection.close()


async def store(
    client: Client, *names: str, subject: str | None = None, size: int = 0
) -> list[int]:
    """Store an event of each name; return their ids."""
    events = [{"name": name, "subject": subject, "payload": {"x": "x" * size}} for name in names]
    before = await last_id(client)
    response = await client.post("/events/batch", json={"events": events})
    assert await response.json() == {"accepted": len(names), "duplicates": 0}
    return list(range(before + 1, before + 1 + len(names)))


async def last_id(client: Client) -> int:
    newest = await (await client.get("/events?order=newest&limit=1")).json()
    return newest[0]["id"] if newest else 0


def known_id(seen: list[Parts]) -> int:
    """The id of the last event that the feed of the last service has."""
    return feature_of(seen[-1], Events).stream.tail.last_id


class Stream:
    """One client's end of a stream."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self.comments = 0
        self.last_id: str | None = None
        self.retries: list[int] = []
        self.told = 0  # how often it got an id
        self._messages = self._parse()

    async def _parse(self) -> AsyncIterator[dict[str, str]]:
        message: dict[str, str] = {}
        async for line in self.response.content:
            assert line.endswith(b"\r\n")
            field, colon, value = line[:-2].decode().partition(": ")
            if not field and colon:
                self.comments += 1
            elif field:
                assert field not in message
                message[field] = value
            elif message:
                self.last_id = message.get("id", self.last_id)
                self.told += "id" in message
                self.retries += [int(message.pop("retry"))] if "retry" in message else []
                if "data" in message:  # as an EventSource in a browser
                    yield message
                message = {}

    async def next(self, count: int, timeout_s: float = 20) -> list[dict[str, str]]:
        """Return the next `count` messages; fewer if the stream ends before."""
        async with asyncio.timeout(timeout_s):
            return [message async for message in take(self._messages, count)]

    async def ids(self, count: int) -> list[int]:
        return [int(message["id"]) for message in await self.next(count)]


async def take(
    messages: AsyncIterator[dict[str, str]], count: int
) -> AsyncIterator[dict[str, str]]:
    for _ in range(count):
        try:
            yield await anext(messages)
        except StopAsyncIteration:
            return


async def listen(client: Client, query: str = "", **headers: str) -> Stream:
    response = await client.get(f"/events/stream{query}", headers=headers)
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/event-stream"
    return Stream(response)


@pytest.mark.parametrize("path", ["/events", "/events/batch"])
async def test_stream__live__events_as_the_api_has_them(serve_events: Serve, path: str) -> None:
    client = await serve_events(stream_poll_s=60)  # woken, not polling
    await store(client, "before")
    stream = await listen(client)
    for number, subject in enumerate(("x:1", None, "é\u2028")):
        event = {"name": f"it's: {number}", "subject": subject, "payload": {"n": ["\n", number]}}
        body = event if path == "/events" else {"events": [event]}
        assert (await client.post(path, json=body)).status in {200, 201}
        [message] = await stream.next(1)
        stored = await (await client.get(f"/events/{message['id']}")).json()
        assert stored.items() >= event.items()
        assert json.loads(message["data"]) == stored
        assert message.keys() == {"id", "event", "data"}
        assert message["event"] == event["name"]


@pytest.mark.parametrize(
    ("path", "given", "shown"),
    [
        ("/events", {"actor": "auth0|1"}, {"actor": "auth0|1"}),
        ("/events", {}, {"actor": "token"}),  # the caller
        ("/events/batch", {"actor": "cli"}, {"actor": "cli"}),
        ("/events/batch", {}, {}),  # may come from a relay of 0.1.0
    ],
)
async def test_actor__given_or_not__the_same_in_the_stream_and_in_every_list(
    serve_events: Serve, path: str, given: dict[str, str], shown: dict[str, str]
) -> None:
    client = await serve_events()
    stream = await listen(client)
    subject = f"x:{await last_id(client)}"
    event = {"name": "x", "subject": subject, "payload": {}, **given}
    body = event if path == "/events" else {"events": [event]}
    assert (await client.post(path, json=body)).status in {200, 201}
    [message] = await stream.next(1)
    seen = [json.loads(message["data"])]
    id_ = seen[0]["id"]
    for query in (f"after={id_ - 1}", f"subject={subject}", f"name=x&after={id_ - 1}"):
        seen += await (await client.get(f"/events?{query}")).json()
    for filters in ("", "&name=x", f"&subject={subject}"):
        seen += await (await client.get(f"/events?order=newest&limit=1{filters}")).json()
    assert len(seen) == 7
    for each in seen:
        assert each["id"] == id_
        assert {name: each[name] for name in ("actor",) if name in each} == shown


async def test_stream__stored_by_another_process__arrives(serve_events: Serve) -> None:
    listener, writer = await serve_events(), await serve_events()
    stream = await listen(listener)
    ids = await store(writer, *"abc")
    assert await stream.ids(3) == ids


async def test_stream__stored_by_another_process__wakes_it(
    aiohttp_client: AiohttpClient, events_database_url: str, settings: Settings
) -> None:
    changed = settings.changed(stream_poll_s=3600)
    headers = {"Authorization": f"Bearer {settings.addresses.events_token}"}
    listener, writer = [
        await aiohttp_client(
            create_app(with_tasks(EVENTS, *tasks), changed, events_database_url), headers=headers
        )
        for tasks in (("event_feed", "wakes"), ("wakes",))
    ]
    stream = await listen(listener)
    for _ in range(3):
        ids = await store(writer, *"abc")
        assert await stream.ids(3) == ids


async def test_stream__nobody_listens__the_feed_rests(
    serve_events: Serve, seen: list[Parts]
) -> None:
    client = await serve_events(stream_poll_s=0.01)
    ids = await store(client, *"abc")
    await asyncio.sleep(0.2)
    assert known_id(seen) == 0
    stream = await listen(client, f"?after={ids[0]}")
    ids += await store(client, "d")
    assert await stream.ids(3) == ids[1:]


async def test_stream__opened_before_the_feed_has_begun__from_now_on(
    serve_events: Serve, log: Connection, seen: list[Parts]
) -> None:
    writer = await serve_events()
    await store(writer, "old", "old")
    async with log.transaction():
        await log.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        client = await serve_events(lock_timeout_s=60, statement_timeout_s=60)
        opening = asyncio.create_task(listen(client))

        async def is_waiting() -> bool:
            await log.execute("SELECT pg_stat_clear_snapshot()")  # else it is the first one's
            waiting: bool = await log.fetchval(
                "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                "AND datname = current_database()"
            )
            return waiting

        await until(lambda: opening.done() or is_waiting())
        assert known_id(seen) == 0
        # Time for the request to get where it wants to; it is answered, or waits for the table.
        for _ in range(50):
            assert (await client.get("/healthz")).status == 200
    stream = await opening
    ids = await store(writer, "new")
    assert await stream.ids(1) == ids


@pytest.mark.parametrize("held", [1, 5, 1000])
@pytest.mark.parametrize("by", ["header", "after", "both"])
async def test_stream__resumed__all_since_then_and_on(
    serve_events: Serve, seen: list[Parts], held: int, by: str
) -> None:
    client = await serve_events(stream_held_events=held, stream_page_events=3)
    await listen(client)  # the feed rests while no client listens
    ids = await store(client, *("x" * 20))
    await until(lambda: known_id(seen) == ids[-1])
    before = ids[0] - 1
    streams = {}
    for known in (0, 1, 14, 15, 16, 19, 20):
        start = before + known
        # A browser that comes back asks the same address, and has the header besides.
        query = {"header": "", "after": f"?after={start}", "both": f"?after={ids[6]}"}[by]
        headers = {} if by == "after" else {"Last-Event-ID": str(start)}
        streams[start] = await listen(client, query, **headers)
        assert await streams[start].ids(20 - known) == ids[known:]
    live = await store(client, "x", "x")
    assert [await stream.ids(2) for stream in streams.values()] == [live] * len(streams)


async def test_stream__coming_and_going_while_events_come__no_gap_and_none_twice(
    serve_events: Serve,
) -> None:
    client = await serve_events(stream_held_events=4, stream_page_events=3)
    before = await last_id(client)
    seen: list[int] = []
    enough = asyncio.Event()

    async def write() -> None:
        for size in itertools.cycle(range(7)):
            if enough.is_set():
                return
            await client.post(
                "/events/batch", json={"events": [{"name": "x", "payload": {}}] * size}
            )

    async def read(count: int) -> None:
        stream = await listen(client, **{"Last-Event-ID": str([before, *seen][-1])})
        seen.extend(await stream.ids(count))
        stream.response.close()

    writing = asyncio.create_task(write())
    for _ in range(10):
        for count in (1, 2, 11):
            await read(count)
    enough.set()
    await writing
    await read(await last_id(client) - before - len(seen))
    assert seen == list(range(before + 1, before + 1 + len(seen)))


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("?name=a", [("a", "x:1"), ("a", "x:2"), ("a", None)]),
        ("?subject=x:1", [("a", "x:1"), ("b", "x:1")]),
        ("?name=b&subject=x:2", [("b", "x:2")]),
        ("?name=none", []),
        ("?subject=none", []),
    ],
)
@pytest.mark.parametrize("held", [1, 1000])
async def test_stream__filtered__only_those_held_or_not_and_live(
    serve_events: Serve,
    seen: list[Parts],
    query: str,
    wanted: list[tuple[str, str | None]],
    held: int,
) -> None:
    client = await serve_events(stream_held_events=held, stream_page_events=3)
    await listen(client)  # the feed rests while no client listens
    events = [(name, subject) for subject in ("x:1", "x:2", None) for name in "ab"]
    before = await last_id(client)
    for name, subject in events:
        await store(client, name, subject=subject)
    await until(lambda: known_id(seen) == before + len(events))
    stream = await listen(client, f"{query}&after={before}")
    end = await listen(client, "?name=end")
    for name, subject in (*events, ("end", None)):
        await store(client, name, subject=subject)
    received = [json.loads(message["data"]) for message in await stream.next(2 * len(wanted))]
    assert [(event["name"], event["subject"]) for event in received] == wanted * 2
    assert len(await end.next(1)) == 1  # and nothing more comes from the other one:
    stream.response.close()
    with pytest.raises(Exception, match="closed"):
        await stream.next(1)


@pytest.mark.parametrize("query", ["name=it.matters", "subject=x:1", "name=it.matters&subject=x:1"])
@pytest.mark.parametrize("held", [1, 1000])
async def test_stream__nothing_matches__the_client_learns_how_far_it_is_and_goes_on_from_there(
    serve_events: Serve, seen: list[Parts], query: str, held: int
) -> None:
    client = await serve_events(
        stream_held_events=held, stream_page_events=3, stream_place_s=0.01, stream_heartbeat_s=0.02
    )
    await listen(client)  # the feed rests while no client listens
    before = await last_id(client)
    others = [await store(client, "it.does.not", subject="x:2") for _ in range(10)]
    await until(lambda: known_id(seen) == before + len(others))
    stream = await listen(client, f"?{query}&after={before}")
    reading = asyncio.create_task(stream.next(1))
    await until(lambda: stream.last_id == str(before + len(others)))  # of what is past
    await store(client, "it.does.not", subject="x:2")
    await until(lambda: stream.last_id == str(before + len(others) + 1))  # and of what comes
    assert not reading.done()
    reading.cancel()
    stream.response.close()
    again = await listen(client, f"?{query}", **{"Last-Event-ID": str(stream.last_id)})
    [matters] = await store(client, "it.matters", subject="x:1")
    assert await again.ids(1) == [matters]


async def test_stream__many_that_do_not_match__told_no_more_often_than_set(
    serve_events: Serve, seen: list[Parts]
) -> None:
    client = await serve_events(stream_place_s=3600)
    before = await last_id(client)
    stream = await listen(client, f"?name=it.matters&after={before}")
    for _ in range(20):
        await store(client, "it.does.not")
    await store(client, "it.matters")
    [message] = await stream.next(1)
    assert int(message["id"]) == before + 21
    assert stream.told <= 2  # the first of them at once, and the event itself


async def test_stream__from_now_on__the_client_learns_its_place_at_once(
    serve_events: Serve,
) -> None:
    client = await serve_events(stream_heartbeat_s=0.02)
    ids = await store(client, "x")
    stream = await listen(client)
    reading = asyncio.create_task(stream.next(1))
    await until(lambda: stream.last_id == str(ids[-1]))
    reading.cancel()


async def test_stream__several_clients__each_is_told_once_when_to_come_back(
    serve_events: Serve,
) -> None:
    client = await serve_events(stream_retry_s=4)
    await store(client, "x")
    streams = [await listen(client, "?after=0") for _ in range(5)]
    await store(client, "x")
    for stream in streams:
        await stream.next(2)
    told = [stream.retries for stream in streams]
    assert all(len(retries) == 1 and 2000 <= retries[0] <= 6000 for retries in told)
    assert len({retries[0] for retries in told}) > 1  # not all at once


async def test_stream__quiet__heartbeats(serve_events: Serve) -> None:
    client = await serve_events(stream_heartbeat_s=0.02)
    stream = await listen(client)
    reading = asyncio.create_task(stream.next(1))
    await until(lambda: stream.comments >= 3)
    ids = await store(client, "x")
    assert [int(message["id"]) for message in await reading] == ids


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {"Last-Event-ID": "x"}),
        ("", {"Last-Event-ID": "-1"}),
        ("", {"Last-Event-ID": "1.5"}),
        ("", {"Last-Event-ID": str(2**63)}),
        ("after=-1", {}),
        ("after=x", {}),
        ("after=", {}),
        ("after=1&after=2", {}),
        ("name=%00", {}),
        ("name=", {}),
        ("subject=", {}),
        ("limit=1", {}),
    ],
)
async def test_stream__wrong_place_or_filter__400(
    serve_events: Serve, query: str, headers: dict[str, Any]
) -> None:
    client = await serve_events()
    url = URL(f"/events/stream?{query}", encoded=True)
    assert await refusal(await client.get(url, headers=headers)) == (400, "invalid_request")


async def test_stream__client_never_reads__cut_off_while_another_gets_everything(
    serve_events: Serve,
) -> None:
    client = await serve_events(
        stream_buffer_bytes=10_000, stream_stall_s=4.0, stream_held_events=5
    )
    reader = await listen(client)
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        lazy.connect((client.server.host, client.server.port))
        token = client.session.headers["Authorization"]
        request = f"GET /events/stream?after=0 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}"
        lazy.sendall(f"{request}\r\n\r\n".encode())
        await until(lambda: lazy.getsockname() in peers(client))
        ids: list[int] = []
        received: list[int] = []
        for _ in range(8):  # more than the kernel's buffers take
            ids += await store(client, *("x" * 10), size=60_000)
            received += await reader.ids(10)
        assert received == ids
        await until(lambda: lazy.getsockname() not in peers(client))
        live = await store(client, "x")
        assert await reader.ids(1) == live


def peers(client: Client) -> set[tuple[str, int]]:
    """The addresses of those who are connected to the service."""
    transports = [connection.transport for connection in server_of(client).connections]
    return {each.get_extra_info("peername") for each in transports if each is not None}


@pytest.mark.parametrize("cancelled", [False, True])
async def test_stream__client_leaves__forgotten_though_nothing_is_sent_to_it(
    serve_events: Serve, cancelled: bool
) -> None:
    client = await serve_events(stream_heartbeat_s=0.02)
    server_of(client).handler_cancellation = cancelled
    await client.get("/healthz")
    tasks = len(asyncio.all_tasks())
    streams = [await listen(client, "?name=never") for _ in range(3)]
    assert len(asyncio.all_tasks()) > tasks
    for stream in streams:
        stream.response.close()
    await until(lambda: len(asyncio.all_tasks()) <= tasks)


async def test_stream__open__counted_and_not_among_the_latencies(serve_events: Serve) -> None:
    client = await serve_events(stream_heartbeat_s=0.05)

    async def look() -> tuple[float, float]:
        scraped = await scrape(client.session, str(client.make_url("/metrics")))
        timed = "rowlock_http_request_duration_seconds_count"
        return scraped.value("rowlock_event_streams"), scraped.value(timed, route="/events/stream")

    async def closed() -> bool:
        return await look() == before

    before = streams, timed = await look()
    stream = await listen(client)
    await stream.next(0)
    assert await look() == (streams + 1, timed)
    stream.response.close()
    await until(closed)


@pytest.mark.parametrize(("query", "sent"), [("", 0), ("?after={}", 2), ("?name=never", 0)])
async def test_stream__shutdown__ends_promptly_and_whole(
    serve_events: Serve, query: str, sent: int
) -> None:
    client = await serve_events()
    ids = await store(client, "x", "x")
    stream = await listen(client, query.format(ids[0] - 1))
    assert len(await stream.next(sent)) == sent
    async with asyncio.timeout(10):
        await client.server.close()
        assert await stream.next(1) == []


async def test_stream__database_busy_while_paging__goes_on_when_that_is_over(
    serve_events: Serve, log: Connection, seen: list[Parts]
) -> None:
    writer = await serve_events()
    ids = await store(writer, *"abc")
    client = await serve_events(lock_timeout_s=0.1)
    waiting = "SELECT FROM pg_locks WHERE NOT granted"
    await listen(client)  # the feed rests while no client listens
    await until(lambda: known_id(seen) == ids[-1])
    async with log.transaction():
        await log.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        stream = await listen(client, f"?after={ids[0] - 1}")
        await until(lambda: log.fetchval(f"SELECT EXISTS ({waiting})"))
        await until(lambda: log.fetchval(f"SELECT NOT EXISTS ({waiting})"))  # it was in vain
    assert await stream.ids(3) == ids


async def test_stream__database_connections_lost__goes_on_without_a_gap(
    serve_events: Serve, log: Connection
) -> None:
    client = await serve_events(task_retry_s=0.01, stream_held_events=2)
    stream = await listen(client)

    async def is_stored() -> bool:
        return (await client.post("/events", json=event)).status in {200, 201}

    for number in range(5):
        await log.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        event: dict[str, Any] = {"event_id": f"{number:032x}", "name": str(number), "payload": {}}
        await until(is_stored)
    assert [message["event"] for message in await stream.next(5)] == list("01234")
