"""Services with other settings, users to work with, and an eye on the log."""

import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace

import asyncpg
import pytest
import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from rowlock.accounts.transactions import create_users
from rowlock.accounts.rules import CreateUser
from rowlock.services import COMMERCE
from rowlock.process.server import accept
from tests.http.conformance import CheckedClient
from tests.http.contract import BOOKING, stored
from tests.panel import add_deployment, add_projects
from tests.roles import create_app

BROKEN_HTTP = (HttpProcessingError, web.RequestPayloadError)

Open = Callable[..., Awaitable[int]]


class Server(TestServer):
    """The test server, but with connections as `rowlock serve` has them."""

    async def start_server(self, *_: object, **__: object) -> None:
        if self.runner is not None:
            return
        self.runner = web.AppRunner(self.app, access_log=None, handler_cancellation=True)
        await self.runner.setup()
        listener = socket.create_server((self.host, 0))
        self.port = listener.getsockname()[1]
        self._root = URL(f"http://{self.host}:{self.port}")
        self._acceptor = await accept(self.runner, listener)

    async def close(self) -> None:
        self._acceptor.close()
        await super().close()


@pytest.fixture(autouse=True)
def failures(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """The paths of requests that may fail inside the service: none, unless the test adds some."""
    expected: list[str] = []
    with structlog.testing.capture_logs() as entries:
        yield expected
    assert [entry["path"] for entry in entries if entry["event"] == "request_failed"] == expected
    for record in caplog.get_records("call"):
        error = record.exc_info[1] if record.exc_info else None
        # aiohttp logs it as an error if what it gets is no HTTP, and answers 400.
        assert record.levelno < logging.ERROR or isinstance(error, BROKEN_HTTP), record


@pytest.fixture
def aiohttp_client_cls() -> type[TestClient]:
    """Every answer in these tests is held against the OpenAPI document."""
    return CheckedClient


@pytest.fixture
def serve(aiohttp_client, database_url, settings):
    """Start a commerce service with some settings changed, on a database; return its client."""

    async def start(url: str = database_url, **changes: object) -> TestClient:
        service = replace(COMMERCE, tasks={})
        return await aiohttp_client(Server(create_app(service, replace(settings, **changes), url)))

    return start


@pytest.fixture
def open_account(connection: asyncpg.Connection) -> Open:
    """Open an account with a balance; return its id."""

    async def open_one(username: str, balance: int = 0) -> int:
        async with connection.transaction():
            assert await create_users(connection, [CreateUser(username, balance)]) == [True]
        return await connection.fetchval("SELECT id FROM users WHERE username = $1", username)

    return open_one


@pytest.fixture
async def ada(open_account: Open) -> int:
    """The id of a user with a balance of 500.00."""
    return await open_account("ada", 500_00)


@pytest.fixture
def unchanged(connection: asyncpg.Connection):
    """A context in which no row of any table may change."""

    @contextlib.asynccontextmanager
    async def watch() -> AsyncIterator[None]:
        before = await stored(connection)
        yield
        assert await stored(connection) == before

    return watch


@pytest.fixture
async def clients(commerce, projects, connection, catalogue, ada):
    """Both services, and something for each of the requests to work on."""
    await add_projects(connection, 1)
    await add_deployment(connection, 1)
    await connection.execute("INSERT INTO services (name) VALUES ('Inspection')")
    await connection.execute("INSERT INTO invoices (user_id, amount, label) VALUES (1, 100, 'x')")
    response = await commerce.post("/service-orders", json=BOOKING | {"totalfee": 1})
    assert (await response.json())["id"] == "1"
    await connection.execute("UPDATE service_orders SET starts_at = starts_at - interval '1 year'")
    return {"commerce": commerce, "projects": projects}
