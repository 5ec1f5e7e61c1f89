"""Bad luck with real processes: PostgreSQL stopped or frozen under load, clients that leave."""

import asyncio
import contextlib
import itertools
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil
import psycopg
import pytest

from rowlock.engine import migrations
from rowlock.ops import embedded
from tests.support.polling import until
from tests.support.processes import Service
from tests.support.types import Connection

CLIENTS = 20


@pytest.fixture
def server_dir(tmp_path: Path) -> Path:
    return tmp_path / "server"


@pytest.fixture
def own_server(server_dir: Path) -> Iterator[str]:
    """The URL of a migrated database with one user, on a server of the test's own."""
    with embedded.running(server_dir, start_timeout_s=60) as urls:
        migrations.up(urls["rowlock"], "main")
        with psycopg.connect(urls["rowlock"]) as connection:
            connection.execute("INSERT INTO users (username) VALUES ('ada')")
        yield urls["rowlock"]


def postmaster(server_dir: Path) -> psutil.Process:
    return psutil.Process(int((server_dir / "postgres/postmaster.pid").read_text().split()[0]))


@dataclass
class Load:
    """Clients that issue invoices; every answer is counted, every 201 remembered."""

    statuses: Counter[int] = field(default_factory=Counter)
    created: list[int] = field(default_factory=list)
    broken: int = 0  # connections that ended without an answer
    half_written: int = 0

    @contextlib.asynccontextmanager
    async def running(self, url: str) -> AsyncIterator["Load"]:
        numbers = itertools.count()
        async with aiohttp.ClientSession() as session:
            clients = [
                asyncio.create_task(self._client(session, url, numbers)) for _ in range(CLIENTS)
            ]
            yield self
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)

    async def _client(
        self, session: aiohttp.ClientSession, url: str, numbers: Iterator[int]
    ) -> None:
        while True:
            body = {"user_id": 1, "amount": 100, "label": f"Work {next(numbers)}"}
            try:
                async with session.post(f"{url}/invoices", json=body) as response:
                    invoice = await response.json()
            except aiohttp.ClientPayloadError:
                self.half_written += 1
            except aiohttp.ClientConnectionError:
                self.broken += 1
                await asyncio.sleep(0.01)  # a client backs off
            else:
                self.statuses[response.status] += 1
                if response.status == 201:
                    self.created.append(invoice["id"])
                else:
                    await asyncio.sleep(0.01)


def stored_invoices(url: str) -> set[int]:
    with psycopg.connect(url) as connection:
        return {row[0] for row in connection.execute("SELECT id FROM invoices")}


async def is_ready(service: Service, session: aiohttp.ClientSession) -> bool:
    return await service.readiness(session) == 200


async def is_unready(service: Service, session: aiohttp.ClientSession) -> bool:
    return await service.readiness(session) == 503


async def test_postgres_stopped__under_load__503_then_all_well_without_a_restart(
    own_server: str, server_dir: Path
) -> None:
    async with (
        Service("commerce", database_url=own_server) as service,
        aiohttp.ClientSession() as session,
        Load().running(service.url) as load,
    ):
        await until(lambda: load.statuses[201] > 100)
        postmaster(server_dir).send_signal(signal.SIGQUIT)  # immediate shutdown
        await until(lambda: load.statuses[503] > CLIENTS)
        await until(lambda: is_unready(service, session))
        async with session.get(f"{service.url}/user/1") as response:
            assert response.status == 503
            assert 1 <= int(response.headers["Retry-After"]) <= 5
        before = load.statuses[201]
        with embedded.running(server_dir, start_timeout_s=60):
            await until(lambda: load.statuses[201] > before + 100)
            await until(lambda: is_ready(service, session))
    assert set(load.statuses) == {201, 503}
    assert load.broken == load.half_written == 0
    assert set(load.created) <= stored_invoices(own_server)
    assert len(set(load.created)) == len(load.created)


async def test_postgres_frozen__under_load__503_within_the_timeout(
    own_server: str, server_dir: Path
) -> None:
    async with (
        Service(
            "commerce", database_url=own_server, statement_timeout_s=0.6, connect_timeout_s=0.5
        ) as service,
        aiohttp.ClientSession() as session,
        Load().running(service.url) as load,
    ):
        await until(lambda: load.statuses[201] > 100)
        processes = [postmaster(server_dir), *postmaster(server_dir).children()]
        for process in processes:
            process.suspend()
        try:
            await until(lambda: load.statuses[503] > CLIENTS)
            await until(lambda: is_unready(service, session))
        finally:
            for process in processes:
                process.resume()
        before = load.statuses[201]
        await until(lambda: load.statuses[201] > before + 100)
    assert set(load.statuses) == {201, 503}
    assert set(load.created) <= stored_invoices(own_server)


async def test_client_gone__in_the_middle_of_a_batch__the_batch_commits(
    database_url: str, connection: Connection
) -> None:
    await connection.execute("INSERT INTO users (username) VALUES ('ada')")
    patient = {"lock_timeout_s": 60, "statement_timeout_s": 60}
    async with Service("commerce", database_url=database_url, **patient) as service:
        async with connection.transaction():
            # The foreign key of the new invoice waits for this.
            await connection.execute("SELECT 1 FROM users FOR UPDATE")
            async with aiohttp.ClientSession() as session:
                body = {"user_id": 1, "amount": 100, "label": "Work"}
                sending = asyncio.create_task(session.post(f"{service.url}/invoices", json=body))
                # Not pg_stat_activity, which a transaction sees as it was when it first looked.
                blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted"
                await until(lambda: connection.fetchval(blocked))
                sending.cancel()
                await asyncio.wait([sending])
        await until(lambda: connection.fetchval("SELECT count(*) FROM invoices"))
