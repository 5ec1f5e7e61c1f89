"""Retry-After: the more requests are refused or wait, the further their repetitions are spread."""

import asyncio
from collections.abc import Callable

import pytest

from rowlock.engine.database import Database
from rowlock.errors import DatabaseUnavailable, Overloaded
from rowlock.http.backoff import Backoff
from rowlock.settings import Settings
from tests.support.types import Serve


class Line:
    """A queue of any length."""

    waiting = 0


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def make(database: Database, settings: Settings, line: Line) -> Callable[..., Backoff]:
    def make(**changes: object) -> Backoff:
        return Backoff(settings.changed(**changes), database, [line])

    return make


async def told(backoff: Backoff, times: int) -> set[int]:
    return {backoff.refuse(Overloaded()) for _ in range(times)}


async def test_queue_is_empty__the_least(make: Callable[..., Backoff]) -> None:
    assert await told(make(retry_after_s=2, batch_queue=100_000), 100) == {2}


async def test_queue_is_full__spread_up_to_the_limit(
    make: Callable[..., Backoff], line: Line
) -> None:
    backoff = make(batch_queue=1000, retry_after_limit_s=4)
    line.waiting = 1000
    assert await told(backoff, 300) == {1, 2, 3, 4}
    line.waiting = 1_000_000
    assert await told(backoff, 300) == {1, 2, 3, 4}


async def test_many_refused_at_once__spread__and_no_more_once_they_are_few(
    make: Callable[..., Backoff], monkeypatch: pytest.MonkeyPatch
) -> None:
    backoff = make(batch_queue=100, retry_after_limit_s=3)
    assert await told(backoff, 1000) == {1, 2, 3}
    now = asyncio.get_running_loop().time()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now + 2.5)
    assert await told(backoff, 3) == {1}


async def test_limit__below_the_least__the_least(make: Callable[..., Backoff], line: Line) -> None:
    line.waiting = 10_000
    assert await told(make(retry_after_s=9, retry_after_limit_s=2), 50) == {9}


async def test_requests_that_fail_for_the_database__counted_in_its_outage(
    make: Callable[..., Backoff], database: Database
) -> None:
    backoff = make()
    database.outage.suspect(ConnectionError("gone"), asyncio.get_running_loop().time())
    for error in (DatabaseUnavailable(), DatabaseUnavailable(), Overloaded()):
        backoff.refuse(error)
    assert database.outage.failed_requests == 2


async def test_answer__503__has_it(serve: Serve, unused_tcp_port: int) -> None:
    url = f"postgresql://127.0.0.1:{unused_tcp_port}/x"
    commerce = await serve(url, batch_queue=10, retry_after_limit_s=3)
    answers = [await commerce.get("/user/1") for _ in range(200)]
    assert {answer.status for answer in answers} == {503}
    assert {answer.headers["Retry-After"] for answer in answers} == {"1", "2", "3"}
