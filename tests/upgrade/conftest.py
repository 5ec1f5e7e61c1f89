"""The previous release and this one, on the same databases."""

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import psycopg
import pytest
import pytest_asyncio
from psycopg.conninfo import conninfo_to_dict

from rowlock.engine import migrations
from rowlock.ops.drill.processes import ServeProcess, environment
from tests.support import releases, roles
from tests.support.databases import cloned, on_server
from tests.support.money import assert_money_conserved
from tests.support.polling import until
from tests.support.processes import doctor, free_port, rowlock
from tests.support.releases import Release
from tests.support.rollout import (
    ANN,
    TOKENS,
    WRITES,
    Answer,
    Call,
    Load,
    Site,
    Tenant,
    assert_events_stored_once,
    deployment,
    is_settled,
    report,
)
from tests.support.servers import Server
from tests.support.types import Connection

ROLE = f"rowlock_test_upgrade_{os.getpid()}"  # of all services
DATABASES = {"commerce": "main", "projects": "main", "events": "events"}
LATE = {"lock_timeout_s": 10, "statement_timeout_s": 30}  # the machine may be slow
DEAD = "a dead letter"  # its subject


@dataclass(frozen=True)
class Databases:
    """A pair of databases."""

    main: str
    events: str

    @property
    def settings(self) -> dict[str, object]:
        """For commands, which have the owner's rights."""
        return {"database_url": self.main, "events_database_url": self.events}

    @property
    def confined(self) -> dict[str, object]:
        """For services, which have the rights that they were granted."""
        return {name: roles.with_role(str(url), ROLE) for name, url in self.settings.items()}

    def grant(self, grants: Callable[[str], str]) -> None:
        """Give the services' role what a release grants them."""
        for service, database in DATABASES.items():
            with psycopg.connect(getattr(self, database), autocommit=True) as connection:
                roles.run(connection, grants(service), ROLE)


@asynccontextmanager
async def serving(
    release: Release | None, output: Path, *services: str, **settings: object
) -> AsyncIterator[ServeProcess]:
    """Serve by a release, or by this one for None, until the context is left."""
    settings = {f"{name}_token": secret for name, secret in TOKENS.items()} | settings
    settings = {f"{name}_port": free_port() for name in TOKENS} | LATE | settings
    settings |= {"log_requests": 0}
    if release is None or release.ends_silent_deployments:
        settings |= {"deployment_timeout_s": 1_000_000}  # the demo data has some
    process = ServeProcess(
        *services,
        environment=environment(**settings) if release is None else release.environment(**settings),
        output=output,
        command=(sys.executable, "-P", "-m", "rowlock"),
    )
    try:
        for service in services:
            await process.start(f"http://127.0.0.1:{settings[f'{service}_port']}", timeout_s=60)
        yield process
    finally:
        if process.is_running:
            await process.kill()


@pytest.fixture(scope="session")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The release before this one."""
    return _in_history(releases.previous(tmp_path_factory.mktemp("previous")))


@pytest.fixture(scope="session")
def oldest(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The first release."""
    return _in_history(releases.oldest(tmp_path_factory.mktemp("oldest")))


def _in_history(release: Release) -> Release:
    if not release.is_available:
        pytest.skip("the repository's history is not here")
    return release


@pytest.fixture(scope="session")
def role(server_url: str) -> Iterator[None]:
    """The role of all services; at the end no database is left in which it has grants."""
    on_server(server_url, f"CREATE ROLE {ROLE}")
    yield
    on_server(server_url, f"DROP ROLE {ROLE}")


@pytest.fixture(scope="session")
def tenant() -> Tenant:
    """The Auth0 tenant of all services."""
    return Tenant()


@asynccontextmanager
async def site_of(
    release: Release | None,
    output: Path,
    databases: Databases,
    tenant: Tenant,
    *,
    services: Sequence[str] = tuple(TOKENS),
    granted: bool = True,
    **settings: object,
) -> AsyncIterator[Site]:
    """Serve by one process of a release, or of this one for None, with the rights granted."""
    ports = {f"{service}_port": free_port() for service in services}
    urls = {name: f"http://127.0.0.1:{ports[f'{name}_port']}" for name in services}
    if "events_url" in settings:
        urls["events"] = str(settings["events_url"])
    settings |= ports | (databases.confined if granted else databases.settings)
    async with AsyncExitStack() as stack:
        keys = await stack.enter_async_context(Server(tenant.keys.app()))
        settings |= tenant.settings(str(keys.make_url("/")))
        await stack.enter_async_context(serving(release, output, *services, **settings))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Site(session, urls)


@dataclass(frozen=True)
class Filled:
    """Databases with the data that the previous release has left, and what it has answered."""

    names: tuple[str, str]
    server_url: str
    answers: list[tuple[Call, Answer]]  # to writes with keys
    reads: dict[str, Any]  # what it has answered to READS
    secrets: dict[str, str]  # of the API key `partner`, by service

    @contextmanager
    def cloned(self) -> Iterator[Databases]:
        """Lend copies."""
        main, events = self.names
        with cloned(self.server_url, main) as first, cloned(self.server_url, events) as second:
            yield Databases(first, second)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def filled(
    server_url: str,
    role: None,
    previous: Release,
    tenant: Tenant,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Filled]:
    """Data of every feature, made by a running process of the previous release.

    The process was killed while an order was pending and an event was not delivered.
    """
    output = tmp_path_factory.mktemp("filled") / "serve.log"
    with cloned(server_url, "template1") as main, cloned(server_url, "template1") as events:
        databases = Databases(main, events)
        previous.run("migrate", "up", **databases.settings)
        previous.run("seed", **databases.settings)
        databases.grant(previous.grants)
        connection = await asyncpg.connect(main)
        locker = await asyncpg.connect(main)
        async with site_of(previous, output, databases, tenant) as site:
            secrets = {service: await _new_key(site, service) for service in TOKENS}
            answers = [(call, await site.send(call)) for call in WRITES]
            answers += await _write_with_own_keys(site, connection, secrets, tenant)
            assert {answer.status for _, answer in answers} <= {200, 201, 204}, answers
            refused = {"items": [{"productId": 10, "quantity": 100}], "userId": 3}
            assert (await site.write("/orders", refused)).status == 201
            # Of a month that has ended long ago, so that the events service refuses it.
            await connection.execute(
                "INSERT INTO outbox (name, subject, payload, created_at) "
                "VALUES ('invoice.created', $1, '{}', now() - interval '3 years')",
                DEAD,
            )
            await until(lambda: is_settled(connection))
            reads = await site.read_all()
            await _leave_pending(site, locker)
        await locker.close()
        await connection.execute(
            "INSERT INTO outbox (name, subject, payload) VALUES ('upgrade.left', 'test:1', '{}')"
        )
        await connection.close()
        yield Filled((_name(main), _name(events)), server_url, answers, reads, secrets)


def _name(url: str) -> str:
    return str(conninfo_to_dict(url)["dbname"])


async def _new_key(site: Site, service: str) -> str:
    """Return the secret of a new API key with some scopes of `service`."""
    scopes = {
        "commerce": ["invoices:read", "invoices:write", "orders:read"],
        "projects": ["projects:read", "projects:write"],
        "events": ["events:read"],
    }
    body = {"name": "partner", "scopes": scopes[service]}
    answer = await site.write("/keys", body, service=service)
    assert answer.status == 201, answer
    secret: str = answer.body["secret"]
    return secret


async def _write_with_own_keys(
    site: Site, connection: Connection, secrets: dict[str, str], tenant: Tenant
) -> list[tuple[Call, Answer]]:
    """Write with Idempotency-Keys that are the client's own: an API key, a user, a project."""
    invoice = {"user_id": 2, "amount": 900, "label": "Of a partner"}
    calls = [
        Call("commerce", "POST", "/invoices", invoice, "own", secrets["commerce"]),
        deployment("own", secrets["projects"]),
        deployment("own", tenant.token(ANN), project_id=3),
    ]
    answers = [(call, await site.send(call)) for call in calls]
    secret = await connection.fetchval("SELECT app_secret FROM projects WHERE id = 3")
    reported = report(answers[-1][1].body["id"], "building", secret)
    return [*answers, (reported, await site.send(reported))]


async def _leave_pending(site: Site, locker: Connection) -> None:
    """Leave an order pending: another session holds its user's row until it has ended."""
    await locker.execute("BEGIN; SELECT FROM users WHERE id = 4 FOR NO KEY UPDATE")
    order = {"items": [{"productId": 2, "quantity": 1}], "userId": 4}
    assert (await site.write("/orders", order)).status == 201


async def migrate(databases: Databases) -> None:
    """Apply this release's migrations, and let `doctor` look at the result."""
    status, printed = await rowlock("migrate", "up", **databases.settings)
    assert status == 0, printed
    await assert_sound(databases)


async def assert_sound(databases: Databases) -> None:
    """Fail if `doctor` finds anything wrong."""
    status, printed = await doctor(**databases.settings)
    assert status == 0, printed


@dataclass(frozen=True)
class Rolling:
    """Both releases side by side, as in the middle of an upgrade of many machines."""

    old: Site
    new: Site
    connection: Connection
    events: Connection
    filled: Filled
    tenant: Tenant
    load: Load  # of clients of the old one, while it was migrated
    databases: Databases

    @property
    def sites(self) -> tuple[Site, Site]:
        """Both of them."""
        return self.old, self.new


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def rolling(
    filled: Filled, previous: Release, tenant: Tenant, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Rolling]:
    """An upgrade in the order of docs/operating.md, under load, up to where the new ones serve.

    The tests share it. In the end everything must add up, whatever they did.
    """
    logs = tmp_path_factory.mktemp("rolling")
    events_port = free_port()
    events_url = f"http://127.0.0.1:{events_port}"
    async with AsyncExitStack() as stack:
        databases = stack.enter_context(filled.cloned())
        connection, events = [
            await stack.enter_async_context(closing(await asyncpg.connect(url)))
            for url in (databases.main, databases.events)
        ]

        event_settings = databases.confined | {"events_port": events_port}

        async def serve(release: Release | None, name: str) -> Site:
            return await stack.enter_async_context(
                site_of(
                    release,
                    logs / name,
                    databases,
                    tenant,
                    services=("commerce", "projects"),
                    events_url=events_url,
                )
            )

        async with serving(previous, logs / "old-events.log", "events", **event_settings):
            old = await serve(previous, "old.log")
            load = Load(old)
            load.start()
            await load.reach(20)
            status, printed = await rowlock("migrate", "up", **databases.settings)
            assert status == 0, printed
            await load.reach(20)
            databases.grant(migrations.grants)
            await load.reach(20)
        await stack.enter_async_context(
            serving(None, logs / "new-events.log", "events", **event_settings)
        )
        await load.reach(20)
        new = await serve(None, "new.log")
        await load.reach(20)
        await load.stop()
        for user_id in (2, 3):  # the load may have left them poor
            bill = {"user_id": user_id, "amount": 10_000_000, "label": "For the tests"}
            invoice = await old.create("/invoices", bill)
            assert (await new.write(f"/invoices/{invoice['id']}/pay")).status == 200
        yield Rolling(old, new, connection, events, filled, tenant, load, databases)
        await until(lambda: is_settled(connection))
        await assert_money_conserved(connection)
        await assert_events_stored_once(connection, events)
        await assert_sound(databases)


@asynccontextmanager
async def closing(connection: Connection) -> AsyncIterator[Connection]:
    """Close a connection to PostgreSQL at the end."""
    try:
        yield connection
    finally:
        await connection.close()
