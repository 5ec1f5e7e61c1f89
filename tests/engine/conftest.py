"""Parts that several tests of the engine run, and what is logged."""

from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
import structlog
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient, AiohttpServer

from rowlock.accounts.rules import CreateUser
from rowlock.accounts.transactions import create_users
from rowlock.engine.database import Database
from rowlock.services import COMMERCE
from rowlock.settings import Settings
from tests.support.delivery import Intake
from tests.support.leases import Contend, Contender
from tests.support.roles import create_app
from tests.support.services import with_tasks
from tests.support.settling import Process, Start, started
from tests.support.types import Client, Connection, OpenAccount, Serve


@pytest.fixture
def entries() -> Iterator[list[MutableMapping[str, Any]]]:
    """What is logged, with the name of the task that logs it."""
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as captured:
        yield captured


@pytest.fixture
def rows_purged(entries: list[MutableMapping[str, Any]]) -> Callable[[str], int]:
    """Tell how many rows a task has removed, by the log."""

    def count(task: str) -> int:
        return sum(
            entry["rows"]
            for entry in entries
            if entry["event"] == "rows_purged" and entry["task"] == task
        )

    return count


async def log_in(_: web.Request) -> web.Response:
    return web.Response(text="<form>", content_type="text/html")


@pytest.fixture
async def intake(aiohttp_server: AiohttpServer) -> Intake:
    intake = Intake()
    app = web.Application()
    app.router.add_post("/at/its/place/events/batch", intake.take)
    app.router.add_get("/login", log_in)
    intake.url = str((await aiohttp_server(app)).make_url("/at/its/place"))
    return intake


@pytest.fixture
def relay(aiohttp_client: AiohttpClient, database_url: str, settings: Settings) -> Serve:
    """Start a commerce service with some settings changed, and only its relay."""
    quick: dict[str, object] = {
        "relay_poll_s": 0.01,
        "relay_gather_s": 0.001,
        "relay_lead_poll_s": 0.02,
        "relay_retry_s": 0.01,
        "relay_retry_limit_s": 0.05,
        "relay_timeout_s": 5.0,
        "task_retry_s": 0.01,
        "task_healthy_s": 0.05,
    }

    async def start(events_url: str, url: str = database_url, **changes: object) -> Client:
        changed = settings.changed(events_url=events_url, **(quick | changes))
        service = with_tasks(COMMERCE, "event_relay")
        return await aiohttp_client(create_app(service, changed, url))

    return start


@pytest.fixture
async def start(
    database_url: str, settings: Settings, catalogue: dict[str, int]
) -> AsyncIterator[Start]:
    """Start a process with some settings changed, with or without an order processor."""
    async with AsyncExitStack() as stack:

        async def start_one(*, processor: bool = True, **changes: object) -> Process:
            changed = settings.changed(**changes)
            process = started(database_url, changed, processor=processor)
            return await stack.enter_async_context(process)

        yield start_one


@pytest.fixture
def open_account(connection: Connection) -> OpenAccount:
    """Open an account with a balance; return its id."""

    async def open_one(username: str, balance: int) -> int:
        async with connection.transaction():
            assert await create_users(connection, [CreateUser(username, balance)]) == [True]
        user_id: int = await connection.fetchval(
            "SELECT id FROM users WHERE username = $1", username
        )
        return user_id

    return open_one


@pytest.fixture
async def contend(database_url: str, settings: Settings) -> AsyncIterator[Contend]:
    """Let another process contend for the relay's lease, with some settings changed."""
    async with AsyncExitStack() as stack:

        async def start(url: str = database_url, **changes: object) -> Contender:
            changed = settings.changed(relay_lead_poll_s=0.01).changed(**changes)
            database = await stack.enter_async_context(Database(url, changed.database))
            contender = Contender(database, changed)
            stack.push_async_callback(contender.stop)
            return contender

        yield start
