"""Behind a real PgBouncer: it keeps prepared statements, or is refused by name."""

import asyncio
from collections import Counter

import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.engine import dialling, poolers
from rowlock.errors import DatabaseUnavailable, UnsupportedPooler
from rowlock.http import app
from rowlock.services import COMMERCE
from rowlock.settings import Settings
from tests.support.poolers import needs_pgbouncer, pgbouncer
from tests.support.processes import rowlock
from tests.support.services import quiet
from tests.support.types import Client

CLIENTS = 24

pytestmark = needs_pgbouncer


async def test_check__statements_get_lost__refused(database_url: str, settings: Settings) -> None:
    async with pgbouncer(database_url) as url:
        for _ in range(3):
            with pytest.raises(UnsupportedPooler):
                await poolers.check(url, settings.database)


async def test_check__no_transactions__refused_in_the_poolers_words(
    database_url: str, settings: Settings
) -> None:
    async with pgbouncer(database_url, "statement") as url:
        with pytest.raises(DatabaseUnavailable, match="transaction blocks not allowed"):
            await poolers.check(url, settings.database)


async def test_check__sessions_are_kept__accepted(database_url: str, settings: Settings) -> None:
    await poolers.check(database_url, settings.database)
    async with pgbouncer(database_url, "session") as url:
        for _ in range(3):
            await poolers.check(url, settings.database)


async def test_commerce__prepared_statements_off__every_request_answered(
    aiohttp_client: AiohttpClient, database_url: str, settings: Settings
) -> None:
    async with pgbouncer(database_url) as url:
        plain = settings.changed(prepared_statements=False)
        await poolers.check(url, plain.database)
        client = await aiohttp_client(commerce(plain, url))
        assert await drive(client) == {200: 5 * CLIENTS, 201: CLIENTS}
        ready = await client.get("/readyz")
        assert ready.status == 200, await ready.text()


async def test_commerce__pooler_comes_later__no_faults(
    aiohttp_client: AiohttpClient, database_url: str, settings: Settings
) -> None:
    async with pgbouncer(database_url) as url:
        client: Client = await aiohttp_client(commerce(settings, url))
        statuses = await drive(client)  # statements that are lost are prepared again
        assert statuses.keys() <= {200, 201, 503}
        assert statuses[200] > statuses[503]


async def test_names__of_statements__differ_between_processes(database_url: str) -> None:
    connection = await dialling.connect(database_url)
    statement = await connection.prepare("SELECT 1")
    assert dialling.PROCESS in statement.get_name()
    await connection.close()


async def test_serve_and_doctor__statements_get_lost__refused_with_a_line(
    database_url: str, events_database_url: str
) -> None:
    async with pgbouncer(database_url) as url:
        urls = {"database_url": url, "events_database_url": events_database_url}
        for command in (("serve", "commerce"), ("doctor",)):
            status, output = await rowlock(*command, **urls)
            assert status == 1
            assert UnsupportedPooler().message in output
            assert "Traceback" not in output
        status, output = await rowlock("doctor", **urls, prepared_statements=0)
        assert "ok   sql contracts: " in output


def commerce(settings: Settings, url: str) -> web.Application:
    """The service with the rights of an owner: an old PgBouncer takes no role from a URL."""
    return app.create_app(quiet(COMMERCE), settings, url)  # noqa: TID251


async def drive(client: Client) -> Counter[int]:
    """Send requests of several kinds at once; return how many had each status."""
    statuses: Counter[int] = Counter()

    async def one(number: int) -> None:
        for path in (f"/api/users/u{number}", "/api/products", "/invoices", "/orders", "/products"):
            async with client.get(path) as response:
                statuses[response.status] += 1
        user = {"user_id": 1, "amount": 5, "label": "x"}
        async with client.post("/invoices", json=user) as response:
            statuses[response.status] += 1

    await client.get("/api/users/first")
    await asyncio.gather(*map(one, range(CLIENTS)))
    return statuses
