"""Services with other settings, users to work with, and an eye on the log."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import cast

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.accounts.rules import CreateUser
from rowlock.accounts.transactions import create_users
from rowlock.http.service import Parts
from rowlock.services import COMMERCE
from rowlock.settings import Settings
from tests.support.conformance import CheckedClient
from tests.support.contract import ADD_ORDERS, BOOKING, RETIRED, stored
from tests.support.failures import watched
from tests.support.keys import add_key
from tests.support.panel import add_deployment, add_projects
from tests.support.roles import create_app
from tests.support.servers import ServiceServer
from tests.support.services import quiet, spied_on
from tests.support.types import Client, Connection, OpenAccount, Serve, Unchanged


@pytest.fixture(autouse=True)
def failures(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """The paths of requests that may fail inside the service: none, unless the test adds some."""
    with watched(caplog) as expected:
        yield expected


@pytest.fixture
def aiohttp_client_cls() -> type[CheckedClient]:
    """Every answer in these tests is held against the OpenAPI document."""
    return CheckedClient


@pytest.fixture
def seen() -> list[Parts]:
    """The parts of the services that `serve` has started."""
    return []


@pytest.fixture
def serve(
    aiohttp_client: AiohttpClient, database_url: str, settings: Settings, seen: list[Parts]
) -> Serve:
    """Start a commerce service with some settings changed, on a database; return its client."""

    async def start(url: str = database_url, **changes: object) -> Client:
        service = spied_on(quiet(COMMERCE), seen)
        server = ServiceServer(create_app(service, settings.changed(**changes), url))
        # Of servers in general, the plugin knows no application.
        return cast("Client", await aiohttp_client(server))

    return start


@pytest.fixture
def open_account(connection: Connection) -> OpenAccount:
    """Open an account with a balance; return its id."""

    async def open_one(username: str, balance: int = 0) -> int:
        async with connection.transaction():
            assert await create_users(connection, [CreateUser(username, balance)]) == [True]
        user_id: int = await connection.fetchval(
            "SELECT id FROM users WHERE username = $1", username
        )
        return user_id

    return open_one


@pytest.fixture
async def ada(open_account: OpenAccount) -> int:
    """The id of a user with a balance of 500.00."""
    return await open_account("ada", 500_00)


@pytest.fixture
def unchanged(connection: Connection) -> Unchanged:
    """A context in which no row of any table may change."""

    @contextlib.asynccontextmanager
    async def watch() -> AsyncIterator[None]:
        before = await stored(connection)
        yield
        assert await stored(connection) == before

    return watch


@pytest.fixture
async def clients(
    commerce: Client,
    projects: Client,
    connection: Connection,
    catalogue: dict[str, int],
    ada: int,
) -> dict[str, Client]:
    """Both services, and something for each of the requests to work on."""
    await add_projects(connection, 1)
    await add_deployment(connection, 1)
    await connection.execute(
        "INSERT INTO invoices (user_id, amount, label, status, paid_at) "
        "VALUES (1, 100, 'x', 'pending', NULL), (1, 100, 'x', 'paid', now())"
    )
    await connection.execute("INSERT INTO users (id, username) VALUES (2, 'grace')")
    await connection.execute("INSERT INTO services (name) VALUES ('Inspection'), ('Analysis')")
    for table in ("products", "services"):
        await connection.execute(f"UPDATE {table} SET retired_at = now() WHERE id = {RETIRED}")
    await connection.execute(ADD_ORDERS)
    await add_key(connection, "commerce")
    await add_key(connection, "projects")
    response = await commerce.post("/service-orders", json=BOOKING | {"totalfee": 1})
    assert (await response.json())["id"] == "1"
    await connection.execute("UPDATE service_orders SET starts_at = starts_at - interval '1 year'")
    return {"commerce": commerce, "projects": projects}
