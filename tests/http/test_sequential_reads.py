"""No hot route reads whole tables, whatever the statistics say when its connections open.

A foreign key's own plan is made once per connection. Made for an empty table, it would read the
whole table for each row that is checked, for as long as the connection lives.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from aiohttp import ClientResponse
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.engine.database import Database
from rowlock.services import COMMERCE, PROJECTS
from rowlock.settings import Settings
from tests.support.contract import bearer
from tests.support.databases import RESTORER
from tests.support.panel import SECRET, add_projects
from tests.support.polling import until
from tests.support.roles import create_app
from tests.support.services import with_tasks
from tests.support.types import Client, Connection

WAVES = 15
CLIENTS = 8  # of each kind, in a wave
USERS = 20
PROJECT_COUNT = 5
# Rows that a test may read in sequence, of any table: a scan or two of what a wave has written.
# Where each check reads all rows, there are tens of thousands.
MOST_ROWS = 500

READ_IN_SEQUENCE = """
    SELECT relname, seq_tup_read FROM pg_stat_user_tables
    WHERE relname !~ '^_?yoyo' ORDER BY relname"""
OTHERS = f"""
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND backend_type = 'client backend' AND application_name <> '{RESTORER}'"""


async def leave_as_it_is(_: Connection) -> None:
    """Never analyzed, as after `rowlock migrate up` and `rowlock seed`."""


async def analyze(connection: Connection) -> None:
    """Analyzed while most tables are empty."""
    await connection.execute("VACUUM ANALYZE")


async def restore(connection: Connection) -> None:
    """Full, but without statistics, as after a restore; of one table those of before."""
    await connection.execute("ANALYZE orders, users, invoices, ledger_entries")
    await connection.execute(
        """
        INSERT INTO orders (user_id, amount, status, settled_at)
            SELECT 1, 100, 'approved', now() FROM generate_series(1, 2000);
        INSERT INTO invoices (user_id, amount, label)
            SELECT 1, 100, 'Work' FROM generate_series(1, 2000);
        INSERT INTO users (username) SELECT 'restored-' || n FROM generate_series(1, 2000) AS n;
        """
    )


class Panel:
    """Clients that use every hot route of two services."""

    def __init__(self, commerce: Client, projects: Client) -> None:
        self._commerce = commerce
        self._projects = projects
        self._numbers = itertools.count(1)

    async def wave(self) -> None:
        """Use all routes at once, several times each."""
        kinds: list[Callable[[int], Awaitable[None]]] = [
            self._order,
            self._invoice,
            self._shop,
            self._deploy,
            self._book,
        ]
        await asyncio.gather(*(kind(next(self._numbers)) for kind in kinds for _ in range(CLIENTS)))

    async def _order(self, number: int) -> None:
        body = {"items": [{"productId": 1, "quantity": 1}], "userId": number % USERS + 1}
        order = await self._post("/orders", number, body)
        await self._get(f"/orders/{order['id']}")

    async def _invoice(self, number: int) -> None:
        user_id = number % USERS + 1
        body = {"user_id": user_id, "amount": 100, "label": "Work"}
        invoice = await self._post("/invoices", number, body)
        await self._post(f"/invoices/{invoice['id']}/pay", number)
        await self._post(f"/invoices/{invoice['id']}/reverse", number)
        await self._get(f"/invoices/{invoice['id']}")
        other = await self._post("/invoices", -number, body | {"reference": f"other-{number}"})
        await self._post(f"/invoices/{other['id']}/void", number)
        transfer = {"from_user_id": user_id, "to_user_id": user_id % USERS + 1, "label": "Lunch"}
        made = await self._post(
            "/transfers", number, transfer | {"amount": 1, "reference": f"lunch-{number}"}
        )
        await self._get(f"/transfers/{made['id']}")
        await self._get(f"/user/{user_id}")

    async def _shop(self, number: int) -> None:
        username = f"shopper-{number}"
        await self._get(f"/api/users/{username}")
        await self._get("/api/products")
        body = {"order": {"items": ["netflix"], "user_id": username}}
        await self._post("/api/orders", number, body)

    async def _book(self, number: int) -> None:
        at = f"2{100 + number // 250:03}-01-{number // 10 % 25 + 1:02}T{number % 6 * 4:02}:00:00Z"
        body = {"datetime": at, "totalfee": 100, "services": ["1"]}
        response = await self._commerce.post("/service-orders", json=body)
        assert response.status in {201, 409}, await response.text()

    async def _deploy(self, number: int) -> None:
        project_id = number % PROJECT_COUNT + 1
        started = await self._projects.post(
            f"/projects/{project_id}/deployment", headers={"Idempotency-Key": f"deploy-{number}"}
        )
        deployment = await read(started)
        for status in ("building", "deploying", "done"):
            reported = await self._projects.post(
                "/deployment/webhook",
                json={"id": deployment["id"], "status": status},
                headers={"Authorization": SECRET},
            )
            await read(reported)
        await read(await self._projects.get(f"/projects/{project_id}"))
        await read(await self._projects.get(f"/deployments/{deployment['id']}"))

    async def _post(self, path: str, number: int, body: object = None) -> dict[str, int]:
        headers = {"Idempotency-Key": f"{path}-{number}"}
        return await read(await self._commerce.post(path, json=body, headers=headers))

    async def _get(self, path: str) -> None:
        await read(await self._commerce.get(path))


async def read(response: ClientResponse) -> dict[str, int]:
    body: dict[str, int] = await response.json()
    assert response.status in {200, 201}, body
    return body


@asynccontextmanager
async def watched(database_url: str) -> AsyncIterator[Callable[[], Awaitable[dict[str, int]]]]:
    """Tell how many rows of each table the sessions that are gone have read in sequence."""
    connection = await asyncpg.connect(database_url)

    async def count() -> dict[str, int]:
        async def alone() -> bool:
            return not await connection.fetchval(OTHERS)

        await until(alone)  # a session reports what it has read when it ends
        await connection.execute("SELECT pg_stat_clear_snapshot()")
        rows = await connection.fetch(READ_IN_SEQUENCE)
        return {row["relname"]: row["seq_tup_read"] for row in rows}

    yield count
    await connection.close()


@pytest.mark.parametrize("prepare", [leave_as_it_is, analyze, restore])
async def test_hot_routes__whatever_the_statistics_say__no_table_is_read_in_sequence(
    aiohttp_client: AiohttpClient,
    database_url: str,
    settings: Settings,
    prepare: Callable[[Connection], Awaitable[None]],
) -> None:
    async with watched(database_url) as count:
        connection = await asyncpg.connect(database_url)
        await connection.execute(
            f"""
            INSERT INTO products (slug, name, price) VALUES ('netflix', 'Netflix', 100);
            INSERT INTO services (id, name) VALUES (1, 'Inspection');
            INSERT INTO users (username, balance)
            SELECT 'user-' || n, 1000 FROM generate_series(1, {USERS}) AS n;
            """
        )
        await add_projects(connection, PROJECT_COUNT)
        await prepare(connection)
        await connection.close()
        before = await count()
        commerce = await aiohttp_client(
            create_app(with_tasks(COMMERCE, "order_processor"), settings, database_url)
        )
        projects = await aiohttp_client(
            create_app(with_tasks(PROJECTS), settings, database_url),
            headers=bearer(settings.addresses.projects_token),
        )
        panel = Panel(commerce, projects)
        for _ in range(WAVES):
            await panel.wave()
        await commerce.close()
        await projects.close()
        after = await count()
    read = {table: after[table] - before[table] for table in after}
    assert {table: rows for table, rows in read.items() if rows > MOST_ROWS} == {}


async def test_lists__may_read_whole_tables(database: Database) -> None:
    """Batches and lists have sessions of their own."""
    show = "SHOW enable_seqscan"
    async with database.reader() as connection:
        assert await connection.fetchval(show) == "on"
    async with database.connection() as connection:
        assert await connection.fetchval(show) == "off"
    async with database.transaction() as connection:
        assert await connection.fetchval(show) == "off"


async def test_lists__pool_of_one__shared(database_url: str, settings: Settings) -> None:
    async with Database(database_url, settings.changed(pool_connections=1).database) as database:
        for lend in (database.reader, database.connection, database.transaction):
            async with lend() as connection:
                assert await connection.fetchval("SELECT 1") == 1
        assert database.pool_use.size == 1
