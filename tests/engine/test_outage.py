"""When a database counts as away, and what the log has of it."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import pytest
from structlog.testing import capture_logs

from rowlock.engine import outage
from rowlock.engine.database import Database
from rowlock.engine.faults import DRIVER_ERRORS
from rowlock.errors import DatabaseUnavailable
from rowlock.http.backoff import Backoff
from rowlock.settings import Settings
from tests.support.polling import until
from tests.support.proxy import Proxy
from tests.support.roles import role_of
from tests.support.types import Connection

DECLARED_S = 1.5
OVERDUE_S = 0.5
BATCHES = 4  # half of the connections


class Line(NamedTuple):
    """A way to a database, which tests cut."""

    proxy: Proxy
    database: Database
    backoff: Backoff
    lost: list[bool]  # whether what is sent is lost
    role: str

    async def request(self) -> bool:
        """Do what a request does that writes; return whether it succeeds."""
        try:
            async with self.database.transaction():
                return True
        except DatabaseUnavailable as error:
            self.backoff.refuse(error)
            return False

    async def cut(self) -> int:
        """Cut the way, and send requests until that shows; return how many have failed."""
        self.proxy.cut()
        failed = 0
        while not self.database.outage.is_suspected:
            assert not await self.request()
            failed += 1
        return failed

    async def recover(self) -> int:
        """Send requests until one succeeds; return how many have failed."""
        failed = 0
        while not await self.request():
            failed += 1
            await asyncio.sleep(0.01)
        return failed


@pytest.fixture
async def line(
    database_url: str,
    connection: Connection,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Line]:
    monkeypatch.setattr(outage, "DECLARE_S", DECLARED_S)
    lost = [False]
    role = f"outage_{secrets.token_hex(4)}"
    await connection.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'outage' IN ROLE {role_of('commerce')}"
    )
    quick = settings.changed(
        connect_timeout_s=1.0, acquire_timeout_s=2.0, pool_connections=2 * BATCHES
    )
    async with (
        Proxy.to(database_url, lambda _: lost[0]) as proxy,
        Database(re.sub("//.*@", f"//{role}:outage@", proxy.url), quick.database) as database,
    ):
        line = Line(proxy, database, Backoff(quick, database, []), lost, role)
        assert await line.request()
        yield line
    await connection.execute(f"DROP ROLE {role}")


def about_the_database(lines: list[Any]) -> list[str]:
    return [line["event"] for line in lines if line["log_level"] == "warning"]


async def test_dial__one_of_many_is_slow__no_outage_and_no_line(line: Line) -> None:
    with capture_logs() as lines:
        async with line.database.connection() as used:
            line.lost[0] = True
            with pytest.raises(DatabaseUnavailable):
                async with line.database.connection():
                    pass
            assert line.database.outage.is_suspected
            line.lost[0] = False
            assert await used.fetchval("SELECT 1") == 1
        assert not line.database.outage.is_suspected
    assert about_the_database(lines) == []


async def test_dial__fails_while_every_connection_is_at_work_for_long__no_outage(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "RETRY_LIMIT_S", 0.01)
    database = line.database
    with capture_logs() as lines:
        async with AsyncExitStack() as stack:
            for _ in range(BATCHES):  # none of them is given back before the end
                await stack.enter_async_context(database.connection())
            line.lost[0] = True
            with pytest.raises(DRIVER_ERRORS):
                await database.connect()
            assert database.outage.is_suspected
            line.lost[0] = False
            await until(lambda: not database.outage.is_suspected)
    assert about_the_database(lines) == []


async def freeze_one(line: Line) -> bool:
    """Lose what a statement is to do, over a connection that is open; tell whether it succeeds."""
    try:
        async with line.database.connection() as connection:
            line.lost[0] = True
            await connection.execute("SELECT 1", timeout=OVERDUE_S)
            return True
    except DatabaseUnavailable:
        return False


async def test_database__frozen__an_overdue_answer_is_enough_and_counts_from_the_last_one(
    line: Line,
) -> None:
    """Nothing is dialled: the connections are open, and stay so."""
    with capture_logs() as lines:
        async with line.database.connection() as used:
            frozen = asyncio.get_running_loop().time()
            assert not await freeze_one(line)
            await until(lambda: line.database.outage.is_on)
            line.lost[0] = False
            assert await used.fetchval("SELECT 1") == 1
        lasted_s = asyncio.get_running_loop().time() - frozen
    assert about_the_database(lines) == ["database_away", "database_back"]
    assert lines[0]["error"] == "TimeoutError: no answer"
    assert OVERDUE_S + DECLARED_S <= lines[1]["away_s"] <= lasted_s + 0.01


async def test_database__back_before_it_counts_as_away__a_line_for_the_requests_that_failed(
    line: Line,
) -> None:
    with capture_logs() as lines:
        failed = await line.cut()
        line.proxy.mend()
        await until(lambda: not line.database.outage.is_suspected)  # it looks for itself
    assert about_the_database(lines) == ["no_connection"]
    assert lines[0]["failed_requests"] == failed


async def test_database__away_and_then_full__one_line_when_it_goes_and_one_when_it_is_back(
    line: Line, connection: Connection
) -> None:
    """Other clients have every connection when it is back: it answers, but lets nobody in."""
    with capture_logs() as lines:
        failed = await line.cut()
        await until(lambda: line.database.outage.is_on)
        await connection.execute(f"ALTER ROLE {line.role} CONNECTION LIMIT 0")
        line.proxy.mend()
        for _ in range(100):
            failed += not await line.request()
        assert line.database.outage.is_on
        await connection.execute(f"ALTER ROLE {line.role} CONNECTION LIMIT -1")
        failed += await line.recover()
    assert about_the_database(lines) == ["database_away", "database_back"]
    assert failed > 100
    assert lines[1]["failed_requests"] == failed
