"""Keys of callers that can be told apart, while 0.1.0 keeps those of all callers together."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import product

import aiohttp
import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from pytest_aiohttp.plugin import AiohttpServer

from tests.support.contract import bearer
from tests.support.tenant import AUDIENCE, DOMAIN, KeyServer, public, token
from tests.upgrade.conftest import Serve, Urls

Answer = tuple[int, bytes]
Migrate = Callable[[], Awaitable[None]]
ANN, BEN = "auth0|ann", "auth0|ben"


class Tenant:
    """An Auth0 tenant whose users start deployments with keys."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        self.keys = KeyServer()
        self.keys.entries = [public(self._key, "one")]

    async def start_deployment(
        self, session: aiohttp.ClientSession, urls: Urls, subject: str, key: str
    ) -> Answer:
        headers = bearer(token(self._key, sub=subject)) | {"Idempotency-Key": key}
        url = f"{urls['projects']}/projects/1/deployment"
        async with session.post(url, headers=headers) as response:
            return response.status, await response.read()


@pytest.fixture
async def tenant(aiohttp_server: AiohttpServer) -> Tenant:
    tenant = Tenant()
    server = await aiohttp_server(tenant.keys.app())
    tenant.keys.url = str(server.make_url("/"))
    return tenant


@pytest.fixture
def settings(tenant: Tenant) -> dict[str, str]:
    return {
        "auth0_domain": DOMAIN,
        "auth0_audience": AUDIENCE,
        "auth0_url": tenant.keys.url,
        "lock_timeout_s": "10",
    }


async def test_rolling__key_of_a_user_at_both__one_effect(
    databases: dict[str, str],
    serve: Serve,
    migrate: Migrate,
    tenant: Tenant,
    settings: dict[str, str],
) -> None:
    """Whichever release gets it first, and if both get it at once."""
    connection = await asyncpg.connect(databases["database_url"])
    count = "SELECT count(*) FROM deployments"
    before = await connection.fetchval(count)
    async with serve("old", **settings) as old, aiohttp.ClientSession() as session:
        await migrate()
        async with serve("new", **settings) as new:

            async def start(urls: Urls, key: str, subject: str = ANN) -> Answer:
                return await tenant.start_deployment(session, urls, subject, key)

            for key, order in (("old first", (old, new, old)), ("new first", (new, old, new))):
                answers = [await start(urls, key) for urls in order]
                assert answers[0][0] == 201
                assert len({*answers}) == 1
            assert await connection.fetchval(count) == before + 2

            keys = [f"both {number}" for number in range(20)]
            calls = [*product(keys, (old, new))] * 3
            answers = await asyncio.gather(*(start(urls, key) for key, urls in calls))
            assert {status for status, _ in answers} == {201}
            by_key = {(key, answer) for (key, _), answer in zip(calls, answers, strict=True)}
            assert len(by_key) == len(keys)
            assert await connection.fetchval(count) == before + 22

            # Where one user has a key, it costs another one no more than 0.1.0 has always refused
            # or replayed: never a second effect, and at this release none is missing.
            firsts = [await start(new, "shared", subject) for subject in (ANN, BEN)]
            assert firsts[0] != firsts[1]
            again = [await start(new, "shared", subject) for subject in (ANN, BEN)]
            assert again == firsts
            await start(old, "shared", ANN)
            await start(old, "shared", BEN)
            assert await connection.fetchval(count) == before + 24
    await connection.close()


async def test_rolling__webhook_s_key_at_both__one_answer(
    databases: dict[str, str], serve: Serve, migrate: Migrate, settings: dict[str, str]
) -> None:
    """At once, and once more when the deployment has moved on, and would refuse the report."""
    connection = await asyncpg.connect(databases["database_url"])
    rows = await connection.fetch(
        "INSERT INTO deployments (position, project_id) "
        "SELECT 1000 + number, (SELECT min(id) FROM projects) "
        "FROM generate_series(1, 12) AS number RETURNING id"
    )
    *ids, one, other = [row["id"] for row in rows]
    secret = await connection.fetchval("SELECT app_secret FROM projects ORDER BY id LIMIT 1")
    await connection.close()

    async def report(
        session: aiohttp.ClientSession, urls: Urls, deployment_id: int, status: str
    ) -> Answer:
        headers = {"Authorization": secret, "Idempotency-Key": f"{status} {deployment_id}"}
        body = {"id": deployment_id, "status": status}
        url = f"{urls['projects']}/deployment/webhook"
        async with session.post(url, json=body, headers=headers) as response:
            return response.status, await response.read()

    async with serve("old", **settings) as old, aiohttp.ClientSession() as session:
        await migrate()
        async with serve("new", **settings) as new:
            for status in ("building", "deploying", "building"):
                calls = [report(session, urls, id_, status) for id_ in ids for urls in (old, new)]
                answers = await asyncio.gather(*calls)
                assert {code for code, _ in answers} == {200}
                assert len({*answers}) == len(ids)
                assert all(f'"status":"{status}"'.encode() in body for _, body in answers)
            for first, second, id_ in ((old, new, one), (new, old, other)):
                stages = ("building", "deploying", "done")
                done = [await report(session, first, id_, stage) for stage in stages]
                assert [await report(session, second, id_, stage) for stage in stages] == done
