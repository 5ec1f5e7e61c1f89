"""An acknowledged write is on disk, whatever the database's default is."""

from collections.abc import Awaitable
from pathlib import Path

import asyncpg
import psycopg
import pytest
from psycopg import sql

from rowlock.engine.database import Database
from rowlock.ops import doctor, embedded
from rowlock.settings import Settings
from tests.support.polling import until


@pytest.mark.parametrize(
    ("default", "effective"),
    [
        ("off", "on"),
        ("local", "on"),
        ("remote_write", "on"),
        ("on", "on"),
        ("remote_apply", "remote_apply"),
    ],
)
async def test_session__any_default__waits_for_the_disk(
    database_url: str, settings: Settings, default: str, effective: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(
            sql.SQL("ALTER DATABASE {} SET synchronous_commit = {}").format(name, default)
        )
    try:
        async with Database(database_url, settings.database) as database:
            async with database.transaction() as writing, database.reader() as reading:
                for each in (writing, reading):
                    assert await each.fetchval("SHOW synchronous_commit") == effective
            async with database.dedicated() as own:
                assert await own.fetchval("SHOW synchronous_commit") == effective
    finally:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(name))


async def test_doctor__a_crash_would_lose_writes__fails_in_production(tmp_path: Path) -> None:
    with embedded.running(tmp_path, start_timeout_s=60) as urls:
        url = urls["rowlock"]

        async def problem(settings: Settings) -> str | None:
            async with Database(url, settings.database) as database:
                findings = doctor.examine(database, {"main": url}, settings)
                [found] = [each async for each in findings if "durability" in each.check]
                return found.problem

        production = Settings().changed(env="production")
        assert await problem(production) is None
        connection = await asyncpg.connect(url)
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            await connection.execute(f"ALTER SYSTEM SET {setting} = off")
            await connection.execute("SELECT pg_reload_conf()")
            told = f"{setting} is off: a crash loses acknowledged writes; set it to on"
            assert await until(lambda: problem(production)) == told
            assert await problem(Settings()) is None
            await connection.execute(f"ALTER SYSTEM RESET {setting}")
            await connection.execute("SELECT pg_reload_conf()")
            await until(lambda: is_sound(problem(production)))
        await connection.close()


async def is_sound(problem: Awaitable[str | None]) -> bool:
    return await problem is None
