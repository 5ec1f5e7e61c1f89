"""The NATS sink with real servers: every event in the stream once, in the order of the log."""

import asyncio
import json
import signal
import ssl
import sys
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
import structlog
from nats.js.api import StreamConfig
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.ops import doctor
from rowlock.ops.doctor import Finding
from rowlock.services import EVENTS
from rowlock.settings import Settings
from tests.support import nats, nats_security
from tests.support.polling import until
from tests.support.processes import Service
from tests.support.roles import create_app
from tests.support.services import with_tasks
from tests.support.types import Client, Connection, Serve

READER = Path(__file__).parents[2] / "docs/examples/jetstream_reader.py"
QUICK: dict[str, object] = {"nats_retry_s": 0.05, "nats_retry_limit_s": 0.2, "nats_timeout_s": 1.0}


@pytest.fixture
async def log(events_database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(events_database_url)
    yield connection
    await connection.close()


@pytest.fixture
def serve(aiohttp_client: AiohttpClient, settings: Settings, events_database_url: str) -> Serve:
    """Start an events service with the sink; return its client."""

    async def start(**changes: object) -> Client:
        app = create_app(
            with_tasks(EVENTS, "event_feed", "nats_sink"),
            settings.changed(**{**QUICK, **changes}),
            events_database_url,
        )
        client: Client = await aiohttp_client(
            app, headers={"Authorization": f"Bearer {settings.addresses.events_token}"}
        )
        return client

    return start


@pytest.fixture
def lines() -> Any:
    with structlog.testing.capture_logs() as captured:
        yield captured


async def store(client: Client, first: int, count: int, name: str = "it.happened") -> None:
    events = [{"name": name, "payload": {"n": n}} for n in range(first, first + count)]
    for start in range(0, count, 1000):
        response = await client.post("/events/batch", json={"events": events[start : start + 1000]})
        assert response.status == 200, await response.text()


async def stored(log: Connection) -> list[tuple[str, str]]:
    """The ids of all events in the log, in order."""
    rows = await log.fetch("SELECT id, event_id FROM events ORDER BY id")
    return [(str(row["id"]), str(row["event_id"])) for row in rows]


async def check(log: Connection, *urls: str) -> list[Any]:
    """Wait until the stream has all of the log; it has each event once, in order."""

    async def is_there() -> bool:
        count: int = await log.fetchval("SELECT count(*) FROM events")
        return await nats.last_sequence(*urls) >= count

    await until(is_there, timeout_s=40)
    expected = await stored(log)
    messages = await nats.read_stream(*urls)
    found = [
        (message.headers["Rowlock-Position"], message.headers["Nats-Msg-Id"])
        for message in messages
    ]
    assert found == expected
    return messages


async def test_sink__events_stored__each_is_in_the_stream_as_the_api_shows_it(
    tmp_path: Path, serve: Serve, log: Connection
) -> None:
    async with nats.serving(tmp_path) as server:
        client = await serve(nats_url=server.url)
        await store(client, 0, 2000)
        await store(client, 0, 3, "übel .name*>")
        messages = await check(log, server.url)
        for message in (messages[0], messages[-1]):
            shown = await (await client.get(f"/events/{json.loads(message.data)['id']}")).json()
            assert json.loads(message.data) == shown
        assert {message.subject for message in messages} == {
            "rowlock.consumer.created",
            "rowlock.it.happened",
            "rowlock.%C3%BCbel%20.name%2A%3E",
        }

        async def has_kept() -> bool:
            consumer = await (await client.get("/consumers/nats")).json()
            return bool(consumer["lag_events"] == 0)

        await until(has_kept)
        page = await (await client.get("/metrics")).text()
        assert 'rowlock_nats_up{service="events"} 1.0' in page
        assert f'rowlock_nats_published_total{{service="events"}} {len(messages)}.0' in page


async def test_sink__tls_certificates_and_credentials__published_and_nothing_without_them(
    tmp_path: Path, serve: Serve, log: Connection, lines: list[MutableMapping[str, Any]]
) -> None:
    certificates = nats_security.certify(tmp_path)
    accounts = nats_security.open_accounts(tmp_path)
    tls = (
        f'tls {{ cert_file: "{certificates.server}", key_file: "{certificates.server_key}", '
        f'ca_file: "{certificates.ca}", verify: true }}\n'
    )
    context = ssl.create_default_context(cafile=certificates.ca)
    context.load_cert_chain(certificates.client, certificates.client_key)
    options = {"tls": context, "user_credentials": str(accounts.credentials)}
    complete: dict[str, object] = {
        "nats_ca": str(certificates.ca),
        "nats_cert": str(certificates.client),
        "nats_key": str(certificates.client_key),
        "nats_credentials": str(accounts.credentials),
    }
    lacking: list[dict[str, object]] = [
        complete | {"nats_ca": None, "nats_cert": None, "nats_key": None},
        complete | {"nats_cert": None, "nats_key": None},
        complete | {"nats_credentials": None},
    ]
    async with nats.serving(tmp_path, tls + accounts.config, "tls", **options) as server:
        for settings in lacking:
            lines.clear()
            client = await serve(nats_url=server.url, **settings)
            await store(client, 0, 1)
            await until(lambda: any(line["event"] == "nats_away" for line in lines))
            assert await nats.last_sequence(server.url, **options) == 0
            await client.close()
        client = await serve(nats_url=server.url, **complete)
        count = len(await stored(log))

        async def is_there() -> bool:
            return await nats.last_sequence(server.url, **options) >= count

        await until(is_there)
        secrets = [line for line in accounts.credentials.read_text().splitlines() if len(line) > 50]
        assert len(secrets) == 2  # the token and the seed
        assert not [line for line in lines for secret in secrets if secret in str(line)]


async def test_sink__server_away_and_back__one_line_each_and_nothing_is_lost(
    tmp_path: Path,
    serve: Serve,
    log: Connection,
    lines: list[MutableMapping[str, Any]],
) -> None:
    def told(event: str) -> int:
        return sum(line["event"] == event for line in lines)

    async with nats.serving(tmp_path) as server:
        client = await serve(nats_url=server.url)
        await store(client, 0, 100)
        await check(log, server.url)
        server.kill()
        await until(lambda: told("nats_away"))
        await store(client, 100, 100)
        page = await (await client.get("/metrics")).text()
        assert 'rowlock_nats_up{service="events"} 0.0' in page
        ready = await (await client.get("/readyz")).json()
        assert ready["status"] == "ready"
        server.start()
        await check(log, server.url)
        assert (told("nats_away"), told("nats_back")) == (1, 1)


async def test_sink__last_message_is_gone__goes_on_after_its_consumers_position(
    tmp_path: Path, serve: Serve, log: Connection
) -> None:
    async with nats.serving(tmp_path) as server:
        client = await serve(nats_url=server.url)
        await store(client, 0, 10)
        total = len(await check(log, server.url))

        async def has_kept() -> bool:
            consumer = await (await client.get("/consumers/nats")).json()
            return bool(consumer["lag_events"] == 0)

        await until(has_kept)
        connection = await nats.connect(server.url)
        await connection.jetstream().purge_stream("ROWLOCK")
        await connection.close()
        server.kill()
        server.start()
        await store(client, 10, 5)

        async def is_there() -> bool:
            return await nats.last_sequence(server.url) >= total + 5

        await until(is_there)
        assert [json.loads(m.data)["payload"]["n"] for m in await nats.read_stream(server.url)] == [
            10, 11, 12, 13, 14,
        ]  # fmt: skip


async def test_sink__stream_of_other_subjects_or_another_log__told_and_left_as_it_is(
    tmp_path: Path, serve: Serve, log: Connection, lines: list[MutableMapping[str, Any]]
) -> None:
    async with nats.serving(tmp_path) as server:
        connection = await nats.connect(server.url)
        stream = connection.jetstream()
        await stream.add_stream(StreamConfig(name="ROWLOCK", subjects=["other"]))
        client = await serve(nats_url=server.url)
        await store(client, 0, 5)
        await until(lambda: any("does not take" in str(line.get("error")) for line in lines))
        await stream.update_stream(
            StreamConfig(name="ROWLOCK", subjects=["rowlock.>"], max_msgs=1_000)
        )
        await check(log, server.url)
        info = await stream.stream_info("ROWLOCK")
        assert info.config.max_msgs == 1_000
        server.kill()
        await log.execute("UPDATE event_log SET id = gen_random_uuid()")
        server.start()
        await until(lambda: any("another log" in str(line.get("error")) for line in lines))
        await connection.close()


async def test_sink__process_is_killed_again_and_again__each_event_once(
    tmp_path: Path, events_database_url: str, log: Connection
) -> None:
    with psycopg.connect(events_database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO events (event_id, name, payload, created_at) "
            "SELECT gen_random_uuid(), 'it.happened', jsonb_build_object('n', n), now() "
            "FROM generate_series(1, 40000) AS n"
        )
    async with nats.serving(tmp_path) as server:
        reached = 0
        for _ in range(2):
            service = Service(
                "events",
                events_database_url=events_database_url,
                nats_url=server.url,
                lease_s=1,
                lease_renew_s=0.2,
                relay_lead_poll_s=0.1,
            )
            async with service:

                async def has_gone_on(beyond: int = reached + 1000) -> bool:
                    return await nats.last_sequence(server.url) >= beyond

                await until(has_gone_on)
                service.signal(signal.SIGKILL)
            reached = await nats.last_sequence(server.url)
            assert reached < 40_000
        async with Service(
            "events",
            events_database_url=events_database_url,
            nats_url=server.url,
            lease_s=1,
            lease_renew_s=0.2,
            relay_lead_poll_s=0.1,
        ):
            await check(log, server.url)


async def test_sink__leader_of_three_is_killed_under_load__each_event_once(
    tmp_path: Path, serve: Serve, log: Connection
) -> None:
    async with nats.clustered(tmp_path) as servers:
        urls = [server.url for server in servers]
        client = await serve(nats_url=",".join(urls), nats_replicas=3)
        stop = asyncio.Event()

        async def load() -> None:
            number = 0
            while not stop.is_set():
                await store(client, number, 200)
                number += 200
                await asyncio.sleep(0)

        loading = asyncio.create_task(load())

        async def has_begun() -> bool:
            return await nats.last_sequence(*urls) > 2000

        await until(has_begun)
        killed = await nats.leader(servers)
        before = await nats.last_sequence(*urls)
        killed.kill()
        left = [server.url for server in servers if server is not killed]

        async def has_gone_on() -> bool:
            return await nats.last_sequence(*left) > before + 2000

        await until(has_gone_on, timeout_s=30)
        stop.set()
        await loading
        await check(log, *left)


async def test_example_reader__stopped_and_started__gets_each_event_once(
    tmp_path: Path, serve: Serve, log: Connection
) -> None:
    async def read(count: int) -> list[str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(READER), server.url, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        async with asyncio.timeout(30):
            lines = [(await process.stdout.readline()).decode() for _ in range(count)]
        # It acknowledges what it has printed before it waits for more.
        await until(is_acknowledged)
        process.kill()
        await process.communicate()
        return [line.split()[0] for line in lines]

    async def is_acknowledged() -> bool:
        client = await nats.connect(server.url)
        info = await client.jetstream().consumer_info("ROWLOCK", "example")
        await client.close()
        return bool(info.num_ack_pending == 0 and info.num_pending == 0)

    async with nats.serving(tmp_path) as server:
        client = await serve(nats_url=server.url)
        await store(client, 0, 150)
        before = len(await check(log, server.url))
        found = await read(before)
        await store(client, 150, 50)
        await check(log, server.url)
        found += await read(50)
        assert found == [event_id for event_id, _ in await stored(log)]


async def test_doctor__stream_and_no_server__told(
    tmp_path: Path, serve: Serve, log: Connection, settings: Settings
) -> None:
    async def look() -> Finding:
        [finding] = [each async for each in doctor.examine_nats(settings.changed(**changes))]
        return finding

    async with nats.serving(tmp_path) as server:
        changes: dict[str, object] = {"nats_url": server.url, "nats_timeout_s": 1.0}
        assert (await look()).note == "the stream is not there yet: the sink makes it"
        client = await serve(nats_url=server.url)
        await store(client, 0, 5)
        await check(log, server.url)
        assert await look() == Finding(
            "nats", None, f"6 messages, 1 replica(s), up to event {(await stored(log))[-1][0]}"
        )
        changes["nats_replicas"] = 3
        found = await look()
        assert found.warns
        assert "change the stream's own setting" in found.note
        server.kill()
        assert "can't be reached" in str((await look()).problem)


async def test_sink__stream_is_deleted__all_events_go_to_the_new_one(
    tmp_path: Path, serve: Serve, log: Connection
) -> None:
    async with nats.serving(tmp_path) as server:
        client = await serve(nats_url=server.url)
        await store(client, 0, 20)
        await check(log, server.url)
        connection = await nats.connect(server.url)
        await connection.jetstream().delete_stream("ROWLOCK")
        await connection.close()
        await store(client, 20, 5)
        await check(log, server.url)
