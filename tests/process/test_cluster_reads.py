"""Reads of what was acknowledged: no standby answers them, wherever the primary's name leads."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import asyncpg
import psycopg
import pytest

from rowlock.engine import dialling
from rowlock.engine.database import Database
from rowlock.engine.sessions import Sessions, must_check_reads
from rowlock.errors import DatabaseUnavailable
from rowlock.settings import Settings
from tests.support.cluster import Cluster, Node
from tests.support.polling import until
from tests.support.poolers import needs_pgbouncer, pgbouncer
from tests.support.processes import Service
from tests.support.proxy import Proxy

WAYS = ["direct", pytest.param("pgbouncer", marks=needs_pgbouncer)]
STATE = "SELECT pg_is_in_recovery()"


@pytest.fixture
def standby(cluster: Cluster) -> Node:
    """A standby that has nothing of what is written from now on."""
    [standby] = cluster.standbys
    with psycopg.connect(standby.url(), autocommit=True) as connection:
        connection.execute("SELECT pg_wal_replay_pause()")
    return standby


@asynccontextmanager
async def moving(
    cluster: Cluster, way: str, settings: Settings
) -> AsyncIterator[tuple[Proxy, Database]]:
    """Lend a database by a name that can be moved, and what moves it."""
    async with AsyncExitStack() as stack:
        name = await stack.enter_async_context(Proxy.to(cluster.primary.url()))
        url = name.url
        if way == "pgbouncer":
            url = await stack.enter_async_context(pgbouncer(name))
            settings = settings.changed(prepared_statements=False)
        yield name, await stack.enter_async_context(Database(url, settings.database))


def lead_to(node: Node, name: Proxy) -> None:
    """Let the name lead to another server; a pooler notices that its sessions are gone."""
    name.move_to(node.port)
    name.cut()
    name.mend()


async def make_user(database: Database) -> int:
    async with database.transaction() as connection:
        return int(
            await connection.fetchval("INSERT INTO users (username) VALUES ('bob') RETURNING id")
        )


async def finds(database: Database, user_id: int) -> bool:
    """Whether a read shows the user."""
    async with database.connection() as connection:
        return bool(await connection.fetchval("SELECT 1 FROM users WHERE id = $1", user_id))


async def lists(database: Database, user_id: int) -> bool:
    """Whether a list that must be fresh shows the user."""
    async with database.reader() as connection:
        return bool(await connection.fetchval("SELECT 1 FROM users WHERE id = $1", user_id))


async def is_found(database: Database, user_id: int) -> bool:
    """Whether both show the user, now that no read may miss it."""
    try:
        shown = {await finds(database, user_id), await lists(database, user_id)}
    except DatabaseUnavailable:
        return False
    assert shown == {True}
    return True


@pytest.mark.parametrize("way", WAYS)
async def test_read__name_leads_to_a_standby_for_a_while__refused_until_it_leads_to_the_primary(
    cluster: Cluster, standby: Node, way: str, settings: Settings
) -> None:
    async with moving(cluster, way, settings) as (name, database):
        user_id = await make_user(database)
        assert await is_found(database, user_id)
        lead_to(standby, name)
        refused = 0
        async with asyncio.timeout(30):
            while refused < 10:  # the first ones may find their connections lost
                for read in (finds, lists):
                    with pytest.raises(DatabaseUnavailable):
                        await read(database, user_id)
                refused += database.refusal is not None
        assert database.refusal is not None
        assert database.refusal.sqlstate == "25006"
        lead_to(cluster.primary, name)
        await until(lambda: is_found(database, user_id))


@pytest.mark.parametrize("way", WAYS)
async def test_read__fails_in_the_middle__the_connection_goes_on(
    cluster: Cluster, way: str, settings: Settings
) -> None:
    async with moving(cluster, way, settings.changed(pool_connections=2)) as (_, database):
        user_id = await make_user(database)
        for lend in (database.connection, database.reader):
            with pytest.raises(asyncpg.DivisionByZeroError):
                async with lend() as connection:
                    await connection.fetchval("SELECT 1 / 0")
            async with lend() as connection:
                assert await connection.fetchval("SELECT count(*) FROM users") == 2
        assert await is_found(database, user_id)


async def test_session__opened_on_a_standby__reads_once_it_is_promoted_and_is_then_trusted(
    cluster: Cluster, settings: Settings
) -> None:
    [standby] = cluster.standbys
    sessions = Sessions(standby.url(), settings.database)
    connection = await dialling.connect(standby.url())
    try:
        await sessions.opened(connection, scans=False, writes=False)
        assert must_check_reads(connection)
        await asyncio.to_thread(cluster.promote)
        async with sessions.reading(connection):
            assert await connection.fetchval(STATE) is False
        assert not must_check_reads(connection)
    finally:
        connection.terminate()


async def test_url__asks_for_any_server__a_standby_answers_reads(
    standby: Node, settings: Settings
) -> None:
    async with Database(f"{standby.url()}?target_session_attrs=any", settings.database) as database:
        for lend in (database.connection, database.reader):
            async with lend() as connection:
                assert await connection.fetchval(STATE)
        with pytest.raises(DatabaseUnavailable):
            await make_user(database)


@pytest.mark.parametrize(("option", "serves"), [("", 503), ("?target_session_attrs=any", 200)])
async def test_service__on_a_standby__readyz_says_that_it_is_read_only(
    cluster: Cluster, standby: Node, option: str, serves: int
) -> None:
    async with Proxy.to(cluster.primary.url()) as name:
        urls = {"database_url": f"{name.url}{option}", "watch_s": 0.1}
        async with Service("commerce", **urls) as service, aiohttp.ClientSession() as session:
            lead_to(standby, name)

            async def says(path: str, check: str, status: int, words: str) -> bool:
                async with session.get(f"{service.url}{path}") as response:
                    checks = json.loads(await response.text())["checks"]
                    return (response.status, checks[check]) == (status, words)

            read_only = "the database is read-only"
            await until(lambda: says("/readyz/writes", "writes", 503, read_only))
            reads = "ok" if serves == 200 else read_only
            await until(lambda: says("/readyz", "database", serves, reads))
            async with session.get(f"{service.url}/user/1") as response:
                assert response.status == serves, await response.text()
            lead_to(cluster.primary, name)
            await until(lambda: says("/readyz", "database", 200, "ok"))
            await until(lambda: says("/readyz/writes", "writes", 200, "ok"))
