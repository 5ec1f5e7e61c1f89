"""A COMMIT that waits for a synchronous standby is never cancelled, and keeps its place."""

import asyncio
import hashlib
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import psycopg
import pytest

from rowlock.engine import migrations
from rowlock.engine.database import Database
from rowlock.engine.lanes import WriteLane, group_read
from rowlock.engine.once import Digest, IdempotencyKey, KeptAnswer, Once
from rowlock.errors import DatabaseBusy, DatabaseUnavailable, OutcomeUnknown
from rowlock.invoices.reads import find_invoices
from rowlock.invoices.rules import CreateInvoice, PayInvoice
from rowlock.invoices.transactions import create_invoices, pay_invoices
from rowlock.ops import embedded
from rowlock.settings import Settings
from tests.support.polling import until
from tests.support.processes import Service
from tests.support.types import Connection

NAME = "rowlock-test"
POOL = 6  # three for batches, of which two may write
BACKENDS = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 "
    "AND backend_type = 'client backend'"
)
COMMITTING = f"{BACKENDS} AND wait_event = 'SyncRep'"


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A migrated database on a server of this module's own."""
    folder: Path = tmp_path_factory.mktemp("server")
    with embedded.running(folder, start_timeout_s=60) as urls:
        migrations.up(urls["rowlock"], "main")
        with psycopg.connect(urls["rowlock"]) as connection:
            connection.execute("INSERT INTO users (username) VALUES ('ada')")
            connection.execute(
                "INSERT INTO invoices (user_id, amount, label) "
                "SELECT 1, 100, 'Work' FROM generate_series(1, 20)"
            )
        yield urls["rowlock"]


@pytest.fixture
async def watcher(own_server: str) -> AsyncIterator[Connection]:
    """A connection that commits whatever the standbys say."""
    connection = await asyncpg.connect(own_server)
    await connection.execute("SET synchronous_commit = local")
    yield connection
    await require_standby(connection, "")
    await connection.close()


async def require_standby(connection: Connection, name: str) -> None:
    """Let each COMMIT wait for the standby called `name`; for none if that is empty."""
    await connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
    await connection.execute("SELECT pg_reload_conf()")
    await until(lambda: shows(connection, name))


async def shows(connection: Connection, name: str) -> bool:
    shown: str = await connection.fetchval("SHOW synchronous_standby_names")
    return shown == name


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[tuple[Database, Settings]]:
    settings = Settings().changed(
        pool_connections=POOL,
        statement_timeout_s=1.5,
        lock_timeout_s=0.5,  # less than a writer waits for its turn
        acquire_timeout_s=1.0,
    )
    async with Database(url, settings.database, NAME) as database:
        yield database, settings


def once(command: Any, key: str) -> Once[Any, Any]:
    def render(outcome: object) -> KeptAnswer:
        return KeptAnswer(200, "{}", type(outcome).__name__.encode())

    digest = hashlib.sha256(repr(command).encode()).digest()
    return Once(command, IdempotencyKey("test", key), Digest(digest, digest), render)


async def count(watcher: Connection, query: str) -> int:
    found: int = await watcher.fetchval(query, NAME)
    return found


async def status(watcher: Connection, invoice_id: int) -> str:
    found: str = await watcher.fetchval("SELECT status FROM invoices WHERE id = $1", invoice_id)
    return found


async def pay_until_it_hangs(lane: WriteLane[Any, Any], invoice_ids: list[int]) -> int:
    """Pay invoices; return the one whose COMMIT waits. The server takes a moment to obey."""
    for invoice_id in invoice_ids:
        try:
            await lane.submit_once(once(PayInvoice(invoice_id), f"pay-{invoice_id}"))
        except OutcomeUnknown:
            return invoice_id
    raise AssertionError("no COMMIT waits")


async def test_standby_lost__pool_keeps_its_size_and_nothing_is_published(
    own_server: str, watcher: Connection
) -> None:
    async with opened(own_server) as (database, settings):
        pay: WriteLane[Any, Any] = WriteLane("pay", database, pay_invoices, settings.batches)
        create: WriteLane[Any, Any] = WriteLane(
            "create", database, create_invoices, settings.batches
        )
        find = group_read("find", database, find_invoices, settings.batches)
        await require_standby(watcher, "nobody")
        invoice_id = await pay_until_it_hangs(pay, list(range(1, 10)))
        for number in range(6):
            outcomes = await asyncio.gather(
                pay.submit_once(once(PayInvoice(invoice_id), f"pay-{invoice_id}")),
                create.submit_once(once(CreateInvoice(1, 100, "New"), f"new-{number}")),
                return_exceptions=True,
            )
            assert {type(outcome) for outcome in outcomes} <= {
                OutcomeUnknown, DatabaseBusy, DatabaseUnavailable,
            }  # fmt: skip
            assert await count(watcher, BACKENDS) <= POOL
            assert database.pool_use.size <= POOL
        assert await count(watcher, COMMITTING) == 2  # as many as may write
        # A cancelled wait, and the end of a session, would have published it.
        assert await status(watcher, invoice_id) == "pending"
        found = await find.submit(invoice_id)
        assert found is not None
        assert found.status == "pending"
        async with database.reader() as connection:
            assert await connection.fetchval("SELECT 1") == 1

        await require_standby(watcher, "")
        await until(lambda: nothing_waits(watcher, database))
        answer = await pay.submit_once(once(PayInvoice(invoice_id), f"pay-{invoice_id}"))
        assert answer == KeptAnswer(200, "{}", b"Invoice", is_replay=True)
        assert await status(watcher, invoice_id) == "paid"
        new = await asyncio.gather(
            *(create.submit(CreateInvoice(1, 100, "New")) for _ in range(10)),
            pay.submit(PayInvoice(20)),
        )
        assert len(new) == 11
        assert await count(watcher, BACKENDS) <= POOL


async def nothing_waits(watcher: Connection, database: Database) -> bool:
    return not await count(watcher, COMMITTING) and database.pool_use.in_use == 0


@pytest.mark.parametrize("how", ["closed", "caller cancelled", "caller cancelled, then closed"])
async def test_commit_waits__abandoned_in_other_ways__not_published(
    own_server: str, watcher: Connection, how: str
) -> None:
    invoice_id = await watcher.fetchval(
        "INSERT INTO invoices (user_id, amount, label) VALUES (1, 100, 'Work') RETURNING id"
    )
    await require_standby(watcher, "nobody")
    async with opened(own_server) as (database, _):

        async def pay() -> None:
            async with database.transaction() as connection:
                await connection.execute("SET LOCAL synchronous_commit = on")
                await pay_invoices(connection, [PayInvoice(invoice_id)])

        paying = asyncio.create_task(pay())
        await until(lambda: count(watcher, COMMITTING))
        if how == "closed":
            with pytest.raises(OutcomeUnknown):
                await paying
        else:
            paying.cancel()
            await asyncio.wait([paying])
            assert paying.cancelled()
        if how == "caller cancelled":
            assert database.pool_use.in_use == 1
            await require_standby(watcher, "")
            await until(lambda: nothing_waits(watcher, database))
            assert await status(watcher, invoice_id) == "paid"
            return
        async with asyncio.timeout(10):
            await database.__aexit__()
        assert await count(watcher, COMMITTING) == 1  # its client is gone
        assert await status(watcher, invoice_id) == "pending"
        await require_standby(watcher, "")
        await until(lambda: nobody_waits(watcher))
        assert await status(watcher, invoice_id) == "paid"


async def nobody_waits(watcher: Connection) -> bool:
    return not await count(watcher, COMMITTING)


async def test_process_stopped__while_a_commit_waits__not_published(
    own_server: str, watcher: Connection
) -> None:
    async with Service(
        "commerce", database_url=own_server, statement_timeout_s=1.5, drain_timeout_s=0.5
    ) as service:
        await require_standby(watcher, "nobody")
        async with aiohttp.ClientSession() as session:
            body = {"user_id": 1, "amount": 100, "label": "Silent"}
            answers = []
            while 503 not in answers:
                async with session.post(f"{service.url}/invoices", json=body) as response:
                    answers.append(response.status)
        service.signal(signal.SIGTERM)
        await service.wait()
    stored = "SELECT count(*) FROM invoices WHERE label = 'Silent'"
    assert await watcher.fetchval(stored) == answers.count(201)
    waiting = COMMITTING.replace("$1", "'rowlock-commerce'")
    assert await watcher.fetchval(waiting) >= 1
    await require_standby(watcher, "")
    await until(lambda: is_zero(watcher, waiting))
    assert await watcher.fetchval(stored) == len(answers)


async def is_zero(watcher: Connection, query: str) -> bool:
    return not await watcher.fetchval(query)
