"""URLs that users have, on a real server by TCP: with every driver, or refused at the start."""

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from urllib.parse import quote

import asyncpg
import psycopg
import pytest

from rowlock.engine import dialling, migrations
from rowlock.engine.database import Database
from rowlock.errors import DatabaseUnavailable
from rowlock.settings import Settings
from tests.support.polling import until
from tests.support.processes import Service, free_port, rowlock
from tests.support.proxy import Proxy
from tests.support.types import Connection

OPTIONS = (
    "channel_binding=prefer&connect_timeout=9&keepalives=1&keepalives_idle=31"
    "&keepalives_interval=7&keepalives_count=4&tcp_user_timeout=9000&gssencmode=disable"
    "&client_encoding=UTF8&application_name=mine&fallback_application_name=mine"
    "&load_balance_hosts=disable&sslmode=prefer&sslcompression=0&sslsni=1&sslcertmode=allow"
    "&target_session_attrs=read-write&options=-c%20work_mem%3D5MB"
)


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    async with Proxy.to(database_url) as proxy:
        yield proxy


def after_a_closed_port(proxy: Proxy) -> str:
    """The URL of two hosts with their ports; nothing listens on the first."""
    login, _, rest = proxy.url.partition("@")
    return f"{login}@127.0.0.1:{free_port()},{rest}"


async def test_connection__every_option__works_or_is_translated(
    proxy: Proxy, settings: Settings
) -> None:
    url = f"{proxy.url}?{OPTIONS}"
    async with Database(url, settings.database) as database, database.connection() as connection:
        assert await connection.fetchval("SHOW work_mem") == "5MB"
        assert await connection.fetchval("SHOW application_name") == "rowlock"
    assert (await asyncio.to_thread(migrations.status, url, "main")).missing == ()


async def test_connection__keepalives__on_the_socket(proxy: Proxy) -> None:
    for query, wanted in (("", {}), (OPTIONS, {"TCP_KEEPIDLE": 31, "TCP_KEEPCNT": 4})):
        connection = await dialling.connect(f"{proxy.url}?{query}")
        own = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
        assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        for name, value in wanted.items():
            assert own.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value
        connection.terminate()


async def test_two_hosts__first_one_down__every_driver_finds_the_second(
    proxy: Proxy, settings: Settings
) -> None:
    url = after_a_closed_port(proxy)
    async with Database(url, settings.database) as database, database.connection() as connection:
        assert await connection.fetchval("SELECT 1") == 1
    assert (await asyncio.to_thread(migrations.status, url, "main")).missing == ()


@asynccontextmanager
async def silent_hosts(count: int) -> AsyncIterator[str]:
    """Hosts that take connections and say nothing, as in a URL."""

    callers = set()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.add(writer)
        with suppress(ConnectionError):
            await reader.read()  # until the driver gives up
        writer.transport.abort()
        callers.discard(writer)

    async with AsyncExitStack() as stack:
        ports = []
        for _ in range(count):
            server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
            stack.callback(server.close)
            ports.append(server.sockets[0].getsockname()[1])
        yield ",".join(f"127.0.0.1:{port}" for port in ports)
        await until(lambda: not callers)


async def test_two_hosts__first_one_silent__the_second_in_time(
    proxy: Proxy, settings: Settings
) -> None:
    async with silent_hosts(1) as silent:
        url = proxy.url.replace("@", f"@{silent},")
        quick = settings.database
        async with Database(url, quick) as database, database.connection() as connection:
            assert await connection.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("attributes", ["primary", "any"])
async def test_four_hosts__first_three_silent__the_last_within_the_time_for_all(
    proxy: Proxy, attributes: str
) -> None:
    async with silent_hosts(3) as silent:
        url = proxy.url.replace("@", f"@{silent},") + f"?target_session_attrs={attributes}"
        started = time.monotonic()
        connection = await dialling.connect(url, timeout=4)
        assert await connection.fetchval("SELECT 1") == 1
        connection.terminate()
        assert time.monotonic() - started < 6


@pytest.mark.parametrize("attributes", ["primary", "any"])
async def test_four_hosts__all_silent__given_up_after_the_time_for_all(attributes: str) -> None:
    async with silent_hosts(4) as silent:
        url = f"postgresql://nobody@{silent}/db?target_session_attrs={attributes}"
        for _ in range(2):  # knowing nothing, and knowing that they have failed
            started = time.monotonic()
            with pytest.raises(TimeoutError):
                await dialling.connect(url, timeout=2)
            assert time.monotonic() - started < 3.5  # each alone has a second


async def test_psycopg__host_goes_silent_when_it_has_let_us_in__left_and_its_connection_closed(
    proxy: Proxy, database_url: str
) -> None:
    async with Proxy.to(database_url, lambda sent: b"in_recovery" in sent) as mute:
        url = proxy.url.replace(f":{proxy.port}/", f":{mute.port},127.0.0.1:{proxy.port}/")
        status = await asyncio.to_thread(migrations.status, url, "main")
        assert status.missing == ()
        await until(lambda: mute.connections == 0)


async def test_psycopg__host_refuses_the_question__told_why_and_its_connection_closed(
    proxy: Proxy, connection: Connection
) -> None:
    role = f"curious_{secrets.token_hex(4)}"
    await connection.execute(f"CREATE ROLE {role} LOGIN")
    await connection.execute("REVOKE EXECUTE ON FUNCTION pg_current_wal_lsn() FROM PUBLIC")
    hosts = f"127.0.0.1:{proxy.port},127.0.0.1:{free_port()}"
    url = f"postgresql://{role}@{hosts}/{proxy.url.rpartition('/')[2]}"
    try:
        with pytest.raises(DatabaseUnavailable, match="permission denied"):
            await asyncio.to_thread(dialling.connect_psycopg, url)
        await until(lambda: proxy.connections == 0)
    finally:
        await connection.execute(f"DROP ROLE {role}")


async def test_two_hosts__both_down__the_drivers_error() -> None:
    url = f"postgresql://127.0.0.1:{free_port()},127.0.0.1:{free_port()}/db"
    with pytest.raises(OSError, match="Connect call failed"):
        await dialling.connect(url)


async def test_two_hosts__no_such_database__said_by_the_first_that_answers(
    database_url: str,
) -> None:
    with psycopg.connect(database_url) as connection:
        info = connection.info
        hosts = f"host=127.0.0.1,{quote(info.host)}&port={free_port()},{info.port}"
        url = f"postgresql://{info.user}@/none?{hosts}"
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await dialling.connect(url)


async def test_migrate_and_serve__two_hosts_with_ports__work(
    empty_database_url: str, events_database_url: str
) -> None:
    async with Proxy.to(empty_database_url) as main, Proxy.to(events_database_url) as events:
        url = after_a_closed_port(main)
        status, output = await rowlock(
            "migrate", "up", database_url=url, events_database_url=after_a_closed_port(events)
        )
        assert status == 0, output
        async with Service("commerce", database_url=url) as service:
            assert service.is_running


async def test_serve__what_the_driver_cannot_do__refused_at_the_start(proxy: Proxy) -> None:
    url = f"{proxy.url}?channel_binding=require"
    status, output = await rowlock("serve", "commerce", database_url=url)
    assert (status, "ROWLOCK_DATABASE_URL must be a URL with channel_binding" in output) == (
        1,
        True,
    )


async def test_pool__connections_not_used_for_a_while__are_closed(
    database_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialling, "REST_S", 0.05)
    async with Database(database_url, settings.database) as database:
        async with database.connection(), database.connection(), database.reader():
            assert database.pool_use.size == 3
        await until(lambda: database.pool_use.size == 0)
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT 1") == 1
