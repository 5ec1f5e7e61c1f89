"""Statements as CSV from a real process: memory does not grow with what a client gets."""

import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import aiohttp
import pytest

from tests.support.databases import cloned
from tests.support.polling import until
from tests.support.processes import Service, connected
from tests.support.scraping import Scrape, scrape
from tests.support.types import Connection

ENTRIES = int(os.environ.get("STATEMENT_ENTRIES", "300000"))  # docs/load-testing.md
MOST_BYTES = 16 * 2**20  # 300,000 are 20 MB of text, and ten times that as objects
CSV = {"Accept": "text/csv"}
# No page is being read, the last one has been for a while, and no transaction is open.
STALLED = """
    SELECT bool_and(state = 'idle') AND max(state_change) < clock_timestamp() - interval '1 s'
    FROM pg_stat_activity
    WHERE datname = current_database() AND (query = 'ROLLBACK' OR query ~ 'accounts/|^BEGIN')
        AND pid <> pg_backend_pid()"""
POST = """
    INSERT INTO ledger_entries (
        user_id, amount, balance_after, reason, reference, created_at,
        document_kind, document_id, contra)
    SELECT $1::bigint, 1, n, 'order', 'order:' || n, $2::timestamptz + n * interval '1 ms',
        'order', n, 'sales'
    FROM generate_series($3::int + 1, $3::int + $4::int) AS n"""
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def database_url(server_url: str, template: str) -> Iterator[str]:
    """A database of the test's own: what it leaves would be in the way of others."""
    with cloned(server_url, template) as url:
        yield url


@pytest.fixture
async def user_id(connection: Connection) -> int:
    """A user with many entries."""
    user_id: int = await connection.fetchval(
        "INSERT INTO users (username, balance) VALUES ('ada', $1) RETURNING id", ENTRIES
    )
    await connection.execute(POST, user_id, START, 0, ENTRIES)
    return user_id


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Service]:
    settings: dict[str, object] = {"write_timeout_s": 3600, "log_requests": 1}
    async with Service("commerce", database_url=database_url, **settings) as service:
        yield service


async def look(session: aiohttp.ClientSession, service: Service) -> Scrape:
    return await scrape(session, f"{service.url}/metrics")


def resident(found: Scrape) -> float:
    return found.value("process_resident_memory_bytes")


async def test_csv__many_entries__memory_stays_and_all_come(user_id: int, service: Service) -> None:
    path = f"{service.url}/user/{user_id}/statement"
    async with aiohttp.ClientSession() as session:
        short = f"{path}?to=2026-01-01T00:00:05Z"
        async with session.get(short, headers=CSV) as response:
            assert (await response.text()).count("\r\n") == 5000
        before = resident(await look(session, service))
        most, lines, looked_at = 0.0, 0, 0
        async with session.get(path, headers=CSV) as response:
            async for chunk in response.content.iter_any():
                lines += chunk.count(b"\n")  # a chunk may end between the two
                if lines >= looked_at:
                    looked_at += ENTRIES // 30
                    most = max(most, resident(await look(session, service)))
        assert lines == ENTRIES + 1
        print(f"\n{ENTRIES:,} entries: resident memory grew by {(most - before) / 2**20:.1f} MiB")
        assert most - before < MOST_BYTES


async def test_csv__money_moves_meanwhile__ends_where_it_did_at_the_start(
    user_id: int, service: Service, connection: Connection
) -> None:
    path = f"{service.url}/user/{user_id}/statement"
    async with aiohttp.ClientSession() as session, session.get(path, headers=CSV) as response:
        # More than the buffers of a connection take: the last pages are read afterwards.
        begun = await response.content.readexactly(100)
        await connection.execute(POST, user_id, START, ENTRIES, 100)
        lines = (begun + await response.content.read()).decode().splitlines()
    assert len(lines) == ENTRIES + 1
    assert lines[-1].split(",")[3] == str(ENTRIES)


async def test_csv__client_stops_reading_and_leaves__holds_a_page_and_no_connection(
    user_id: int, service: Service, connection: Connection
) -> None:
    request = f"GET /user/{user_id}/statement HTTP/1.1\r\nHost: x\r\nAccept: text/csv\r\n\r\n"
    async with aiohttp.ClientSession() as session:
        before = await look(session, service)
        async with connected(service) as (reader, writer):
            writer.write(request.encode())
            assert await reader.readexactly(15) == b"HTTP/1.1 200 OK"

            # Nothing is read from here on but what the buffers take.
            await until(lambda: connection.fetchval(STALLED))
            stalled = await look(session, service)
            assert resident(stalled) - resident(before) < MOST_BYTES
            assert "/statement" not in service.printed  # which has a line for each answer's end

        async def has_ended() -> bool:
            return "/statement" in service.printed

        await until(has_ended)
        async with session.get(f"{service.url}/user/{user_id}/balance") as response:
            assert (await response.json())["balance"] == ENTRIES
