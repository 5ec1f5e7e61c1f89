"""Parts that several tests of the engine run: a relay, its intake, and what is logged."""

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import pytest
import structlog
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient, AiohttpServer

from rowlock.services import COMMERCE
from rowlock.settings import Settings
from tests.support.delivery import Intake
from tests.support.roles import create_app
from tests.support.services import with_tasks
from tests.support.types import Client, Serve


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
        "relay_lead_poll_s": 0.02,
        "relay_retry_s": 0.01,
        "relay_retry_limit_s": 0.05,
        "relay_timeout_s": 5.0,
        "task_retry_s": 0.01,
        "task_healthy_s": 0.05,
    }

    async def start(events_url: str, **changes: object) -> Client:
        changed = settings.changed(events_url=events_url, **(quick | changes))
        service = with_tasks(COMMERCE, "event_relay")
        return await aiohttp_client(create_app(service, changed, database_url))

    return start
