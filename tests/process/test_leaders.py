"""The relay's leader killed, frozen or cut off from its database: another one takes over."""

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from tests.support.delivery import write
from tests.support.polling import until
from tests.support.processes import Service, rowlock
from tests.support.proxy import Proxy
from tests.support.types import Connection

TAKEOVER_S = 15  # with the default settings of leases


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def count(log: Connection) -> int:
    found: int = await log.fetchval("SELECT count(*) FROM events")
    return found


def has_led(service: Service) -> bool:
    return re.search(r"lease_taken .*\blease=relay\b", service.printed) is not None


async def test_serve__projects_and_events_without_commerce__events_are_delivered(
    database_url: str, events_database_url: str, connection: Connection
) -> None:
    await write(connection, "project:1", "project:1")
    urls = {"database_url": database_url, "events_database_url": events_database_url}
    async with Service("events", "projects", **urls), connected(events_database_url) as log:

        async def are_there() -> bool:
            return await count(log) == 2

        await until(are_there)


@pytest.mark.parametrize("fate", ["killed", "frozen", "cut off"])
async def test_relay__leader_is_gone__another_process_delivers_within_fifteen_seconds(
    database_url: str, events_database_url: str, connection: Connection, fate: str
) -> None:
    is_cut = asyncio.Event()
    async with (
        Proxy.to(database_url, loses=lambda _: is_cut.is_set()) as proxy,
        connected(events_database_url) as log,
        Service(
            "events", database_url=database_url, events_database_url=events_database_url
        ) as events,
        Service("commerce", database_url=proxy.url, events_url=events.events_url) as leader,
    ):
        await until(lambda: has_led(leader))
        successor = Service(
            "events",  # which is probed; it takes no part
            "projects",
            database_url=database_url,
            events_database_url=events_database_url,
            events_url=events.events_url,
        )
        async with successor:
            await write(connection, "x:1")

            async def has(events: int) -> bool:
                return await count(log) == events

            await until(lambda: has(1))
            if fate == "killed":
                await leader.kill()
            elif fate == "frozen":
                leader.signal(signal.SIGSTOP)
            else:
                is_cut.set()
            gone_at = time.monotonic()
            await write(connection, "x:2")
            await until(lambda: has(2))
            assert time.monotonic() - gone_at < TAKEOVER_S
            epoch = await connection.fetchval("SELECT epoch FROM leases WHERE name = 'relay'")
            if fate == "frozen":
                leader.signal(signal.SIGCONT)
                await until(lambda: "lease_lost" in leader.printed)
            status, output = await rowlock("outbox", "status", database_url=database_url)
            assert status == 0
            assert re.search(rf"\S+:\d+ delivers +epoch {epoch}, since 20", output), output
            await write(connection, "x:3")
            await until(lambda: has(3))
            assert epoch == await connection.fetchval(
                "SELECT epoch FROM leases WHERE name = 'relay'"
            )
            subjects = await log.fetch("SELECT subject FROM events ORDER BY id")
            assert [row["subject"] for row in subjects] == ["x:1", "x:2", "x:3"]
            assert has_led(successor)
