"""The console over real HTTP, on both databases, and visitors who are signed in to it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import asyncpg
import pytest
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.console.sign_in import COOKIE
from rowlock.services import CONSOLE
from rowlock.settings import Settings
from tests.support.console import Visitor
from tests.support.roles import create_app
from tests.support.services import quiet
from tests.support.types import Client, Connection

TOKEN, VIEWER = "the-console-token", "the-viewer-token"

Enter: TypeAlias = Callable[..., Awaitable[Visitor]]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Those of a console that has both tokens; the counts in its rail are always fresh."""
    return settings.changed(console_token=TOKEN, console_viewer_token=VIEWER, rail_s=0.0)


@pytest.fixture
async def console(
    aiohttp_client: AiohttpClient, database_url: str, events_database_url: str, settings: Settings
) -> Client:
    """A client of the console, without a session; nothing runs in its background."""
    app = create_app(quiet(CONSOLE), settings, database_url, events_database_url)
    client: Client = await aiohttp_client(app)
    return client


@pytest.fixture
def enter(console: Client) -> Enter:
    """Sign in with a token; return the visitor."""

    async def sign_in(token: str = TOKEN, name: str = "ada") -> Visitor:
        visitor = Visitor(console, COOKIE)
        response = await visitor.post("/sign-in", {"name": name, "token": token})
        assert (response.status, visitor.is_signed_in) == (303, True), await response.text()
        return visitor

    return sign_in


@pytest.fixture
async def operator(enter: Enter) -> Visitor:
    """One who may act."""
    return await enter()


@pytest.fixture
async def viewer(enter: Enter) -> Visitor:
    """One who may only look."""
    return await enter(VIEWER, "grace")


@pytest.fixture
async def log(events_database_url: str) -> AsyncIterator[Connection]:
    """A connection to the events database."""
    connection = await asyncpg.connect(events_database_url)
    yield connection
    await connection.close()
