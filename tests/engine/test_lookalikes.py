"""Users of an earlier release get their keys; of those that are the same, the oldest does."""

import asyncio

import pytest

from rowlock.accounts import lookalikes
from rowlock.engine.database import Database
from tests.support.polling import until
from tests.support.processes import rowlock
from tests.support.types import Connection

USERS = [  # username, email
    ("maria", "maria@example.com"),
    ("Zoe\u0301", None),
    ("Maria", "MARIA@example.com"),
    ("maria ", None),
    ("Zo\u00e9", "zoe@example.com"),
    ("x", "Zoe@Example.com"),
    ("\u200b", None),
    ("\ufdfa" * 100, None),
]
KEYS = [  # of the name, of the address
    ("maria", "maria@example.com"),
    ("zo\u00e9", None),
    (None, None),
    (None, None),
    (None, "zoe@example.com"),
    ("x", None),
    (None, None),
    (None, None),
]


async def add(connection: Connection, count: int = 0) -> None:
    await connection.executemany("INSERT INTO users (username, email) VALUES ($1, $2)", USERS)
    await connection.execute(
        "INSERT INTO users (username) SELECT 'User ' || n FROM generate_series(1, $1) AS n", count
    )


async def keys(connection: Connection) -> list[tuple[str | None, str | None]]:
    rows = await connection.fetch("SELECT name_key, email_key FROM users ORDER BY id")
    return [(row["name_key"], row["email_key"]) for row in rows]


async def test_assign_keys__lookalikes__the_oldest_keeps_the_name(
    database: Database, connection: Connection
) -> None:
    await add(connection)
    assert await lookalikes.assign_keys(database) == 4
    assert await keys(connection) == KEYS
    assert await lookalikes.assign_keys(database) == 0
    assert await keys(connection) == KEYS


async def test_assign_keys__more_than_a_page__the_same(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookalikes, "PAGE_USERS", 3)
    await add(connection, 10)
    await lookalikes.assign_keys(database)
    assert await keys(connection) == KEYS + [(f"user {n}", None) for n in range(1, 11)]


async def test_assign_keys__two_processes_at_once__both_end_and_agree(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookalikes, "PAGE_USERS", 50)
    await add(connection, 1000)
    await asyncio.gather(*(lookalikes.assign_keys(database) for _ in range(3)))
    assert await keys(connection) == KEYS + [(f"user {n}", None) for n in range(1, 1001)]


async def test_assign_keys__new_user_takes_the_key_meanwhile__nobody_fails(
    database: Database, connection: Connection
) -> None:
    await connection.execute("INSERT INTO users (username) VALUES ('Maria')")
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("INSERT INTO users (username, name_key) VALUES ('MARIA', 'maria')")
    assigning = asyncio.create_task(lookalikes.assign_keys(database))
    await until(lambda: connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))
    await transaction.commit()
    assert await assigning == 0
    assert await keys(connection) == [(None, None), ("maria", None)]


async def test_doctor__lookalikes__listed_as_warnings(
    database_url: str, events_database_url: str, connection: Connection
) -> None:
    await add(connection)
    urls = {"database_url": database_url, "events_database_url": events_database_url}
    status, printed = await rowlock("doctor", **urls)
    assert status == 0, printed
    assert "warn names: 5 names and addresses have no key yet: run rowlock migrate up" in printed
    status, printed = await rowlock("migrate", "up", **urls)
    assert status == 0, printed
    assert await keys(connection) == KEYS
    status, printed = await rowlock("doctor", **urls)
    assert status == 0, printed
    assert "warn names: user 3: 'Maria' is found by this spelling alone, " in printed
    assert "the same as 'maria' of user 1" in printed
    assert printed.count("warn names") == 7
