"""Waking the tasks of other processes, and what happens when that is impossible."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import psycopg
import pytest

from rowlock.engine import migrations
from rowlock.ops import embedded
from rowlock.settings import Settings
from tests.support import roles
from tests.support.polling import until
from tests.support.settling import NEVER, Start, settled, started
from tests.support.types import Connection


@pytest.fixture
def small_queue_url(tmp_path: Path) -> Iterator[str]:
    """A migrated database on a server of the test's own, whose NOTIFY queue is small."""
    with (
        embedded.running(tmp_path, start_timeout_s=60) as urls,
        psycopg.connect(urls["rowlock"], autocommit=True) as connection,
    ):
        connection.execute("ALTER SYSTEM SET max_notify_queue_pages = 64")
    with embedded.running(tmp_path, start_timeout_s=60) as urls, roles.created(urls["rowlock"]):
        migrations.up(urls["rowlock"], "main")
        roles.grant(urls["rowlock"], "main")
        with psycopg.connect(urls["rowlock"], autocommit=True) as connection:
            connection.execute(
                "INSERT INTO products (slug, name, price) VALUES ('netflix', 'Netflix', 7599)"
            )
        yield urls["rowlock"]
        with psycopg.connect(urls["rowlock"], autocommit=True) as connection:
            for role in connection.execute(
                "SELECT rolname FROM pg_roles WHERE rolname LIKE 'rowlock_test_%'"
            ).fetchall():
                connection.execute(f"DROP OWNED BY {role[0]}".encode())


async def test_order__notify_queue_full__created_and_settled_all_the_same(
    small_queue_url: str, settings: Settings
) -> None:
    idle = await asyncpg.connect(small_queue_url)
    await idle.execute("LISTEN anything")
    held = idle.transaction()
    await held.start()
    await idle.execute("SELECT 1")
    connection = await asyncpg.connect(small_queue_url)
    notify = "SELECT pg_notify('anything', repeat('x', 7000))"
    with suppress(asyncpg.ProgramLimitExceededError):
        while True:  # until it is full
            await connection.execute(notify)
    quick = settings.changed(processor_poll_s=0.05)
    async with (
        started(small_queue_url, settings, processor=False) as creating,
        started(small_queue_url, quick, processor=True),
    ):
        for _ in range(3):
            assert len(await settled(connection, await creating.order())) == 1
        await held.rollback()
        await idle.close()
        assert len(await settled(connection, await creating.order())) == 1
        assert creating.tasks.problems() == {}
    await connection.close()


async def test_order__release_0_1_0_beside__each_wakes_the_other(
    start: Start, connection: Connection
) -> None:
    heard: list[str] = []
    await connection.add_listener("order_created", lambda *_: heard.append("notified"))
    process = await start(processor_poll_s=NEVER)
    await settled(connection, await process.order())
    await until(lambda: heard)
    # What that release does, in the transaction of its order.
    async with connection.transaction():
        order_id = await connection.fetchval(
            "INSERT INTO orders (status, amount) VALUES ('pending', 0) RETURNING id"
        )
        await connection.execute("SELECT pg_notify('order_created', '')")
    await settled(connection, order_id)


async def test_order__created_by_many_at_once__few_notifications(
    start: Start, connection: Connection
) -> None:
    heard: list[str] = []
    await connection.add_listener("order_created", lambda *_: heard.append("notified"))
    creating = await start(processor=False, processor_notify_s=NEVER)
    for _ in range(20):
        await creating.order()
    await until(lambda: heard)
    await connection.execute("SELECT 1")
    assert len(heard) == 1
