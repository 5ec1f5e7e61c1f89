"""Whether commits succeed, as real servers tell: read-only, without a standby, with a full disk."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import psutil
import psycopg
import pytest

from rowlock.engine import migrations
from rowlock.ops import embedded
from tests.support.polling import until
from tests.support.processes import Service
from tests.support.scraping import scrape
from tests.support.types import Connection

SERVICES = {"commerce": "url", "projects": "projects_url", "events": "events_url"}
READYZ = ("/readyz", "/readyz/writes")
PROBES = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'rowlock-probe-%'"


@pytest.fixture
def own_urls(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The settings for two migrated databases on a server of the test's own."""
    with embedded.running(tmp_path / "server", start_timeout_s=60) as urls:
        migrations.up(urls["rowlock"], "main")
        migrations.up(urls["rowlock_events"], "events")
        yield {"database_url": urls["rowlock"], "events_database_url": urls["rowlock_events"]}


async def ask(
    session: aiohttp.ClientSession, base: str, path: str = "/readyz/writes"
) -> tuple[int, dict[str, str]]:
    """The status and the checks."""
    async with session.get(f"{base}{path}") as response:
        return response.status, (await response.json())["checks"]


@asynccontextmanager
async def serving(
    urls: Mapping[str, object],
) -> AsyncIterator[tuple[aiohttp.ClientSession, list[str]]]:
    """All services; lends a session and their addresses."""
    # By default the database has half a second for its answer, which a slow machine exceeds.
    patient: dict[str, object] = {"readiness_every_s": 3}
    async with Service(**{**patient, **urls}) as service, aiohttp.ClientSession() as session:
        yield session, [getattr(service, name) for name in SERVICES.values()]


async def all_say(
    session: aiohttp.ClientSession, bases: list[str], status: int, writes: str
) -> None:
    """Wait until /readyz/writes of every service says so; /readyz is 200 all the while."""

    async def say_so() -> bool:
        for base in bases:
            serves = await ask(session, base, "/readyz")
            assert serves[0] == 200, serves
        answers = [await ask(session, base) for base in bases]
        return all((code, checks["writes"]) == (status, writes) for code, checks in answers)

    await until(say_so)


async def test_writes__read_only__503_in_words_and_back(own_urls: dict[str, str]) -> None:
    # Far longer than this takes: failed tasks don't wait for the ends of their pauses.
    pauses: dict[str, object] = {
        "task_retry_s": 600,
        "task_retry_limit_s": 600,
        "task_healthy_s": 0.1,
    }
    async with serving(pauses | {"task_healthy_s": 0.1} | own_urls) as (session, bases):
        await all_say(session, bases, 200, "ok")
        with psycopg.connect(own_urls["database_url"], autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            connection.execute("SELECT pg_reload_conf()")
            await all_say(session, bases, 503, "the database is read-only")
            scraped = await scrape(session, f"{bases[0]}/metrics")
            assert scraped.value("rowlock_ready", service="commerce") == 1
            assert scraped.value("rowlock_writes_ready", service="commerce") == 0

            async def told() -> bool:
                """Whether both bodies and the metrics tell of a task that can't write."""
                bodies = [(await ask(session, bases[0], path))[1] for path in READYZ]
                scraped = await scrape(session, f"{bases[0]}/metrics")
                failing = scraped.value("rowlock_tasks_failing", service="commerce")
                return all("task event_relay" in body for body in bodies) and failing >= 1

            await until(told)
            connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
            connection.execute("SELECT pg_reload_conf()")
        await all_say(session, bases, 200, "ok")

        async def all_tasks_run() -> bool:
            return (await ask(session, bases[0])) == (200, {"writes": "ok"})

        await until(all_tasks_run)


async def test_writes__silent_standby__503_in_words_one_backend_and_back(
    own_urls: dict[str, str],
) -> None:
    async with serving(own_urls) as (session, bases):
        connection = await asyncpg.connect(own_urls["database_url"])
        await connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'gone'")
        await connection.execute("SELECT pg_reload_conf()")
        await all_say(session, bases, 503, "no synchronous standby answers")
        asked = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < asked + 9:  # several questions' time
            await all_say(session, bases, 503, "no synchronous standby answers")
        assert await connection.fetchval(PROBES) == len(bases)
        await connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
        await connection.execute("SELECT pg_reload_conf()")
        await all_say(session, bases, 200, "ok")
        await connection.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m,mode=777", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("mounting a file system needs rights")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_writes__full_disk__503_in_words_and_back(
    own_urls: dict[str, str], small_disk: Path
) -> None:
    space = small_disk / "space"
    space.mkdir()
    owner = embedded_owner(own_urls["database_url"])
    os.chown(space, *owner)
    async with serving(own_urls) as (session, bases):
        with psycopg.connect(own_urls["database_url"], autocommit=True) as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{space}'".encode())
            connection.execute("ALTER SYSTEM SET temp_tablespaces = 'small'")
            connection.execute("SELECT pg_reload_conf()")
            with (small_disk / "filler").open("wb") as filler:
                try:
                    while True:
                        filler.write(b"x" * 65_536)
                        filler.flush()
                except OSError:
                    pass
            await all_say(session, bases, 503, "the disk is full")
            (small_disk / "filler").unlink()
            await all_say(session, bases, 200, "ok")


def embedded_owner(url: str) -> tuple[int, int]:
    """The user and group that the server runs as."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        process = psutil.Process(row[0])
        return process.uids().real, process.gids().real


async def test_readiness__many_ask__the_database_is_asked_once_in_three_seconds(
    database_url: str, connection: Connection
) -> None:
    # Thrice as long as by default: the database's answer has half of that.
    rare: dict[str, object] = {"relay_poll_s": 60, "readiness_every_s": 3}
    async with Service("commerce", database_url=database_url, **rare) as service:
        connector = aiohttp.TCPConnector(limit=600)
        async with aiohttp.ClientSession(connector=connector) as session:
            started = asyncio.get_running_loop().time()
            before = await calls(connection)

            async def keep_asking(path: str) -> int:
                asked = 0
                while asyncio.get_running_loop().time() < started + 3:
                    assert (await ask(session, service.url, path))[0] == 200
                    asked += 1
                return asked

            paths = ["/readyz", "/readyz/writes"] * 300
            asked = sum(await asyncio.gather(*(keep_asking(path) for path in paths)))
            took = asyncio.get_running_loop().time() - started
            transactions = await calls(connection) - before
            assert transactions < 10 * took + 30 < asked
            async with session.get(f"{service.url}/products") as response:
                assert response.status == 200


async def calls(connection: Connection) -> Any:
    """The transactions of the database so far."""
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    return await connection.fetchval(
        "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    )
