"""The upgrade by logical replication of docs/high-availability.md, run as it is written."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from rowlock.ops.drill import cluster
from rowlock.ops.drill.cluster import DATABASES, WHEEL, Node
from rowlock.ops.drill.processes import environment
from tests.support import documents
from tests.support.cluster import SETTINGS, Cluster
from tests.support.documents import UPGRADE
from tests.support.polling import until
from tests.support.processes import Service, free_port

PAGE = "docs/high-availability.md"
LIMIT_S = 120.0  # of a block: one that never ends fails
LOGICAL = f"{SETTINGS}wal_level = logical\nmax_wal_senders = 60\nmax_replication_slots = 60\n"
TOKEN = {"Authorization": "Bearer development-events-token"}
TABLES = """
    SELECT oid::regclass::text FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"""


@pytest.fixture
def old(cluster_seed: Path, tmp_path: Path) -> Iterator[Node]:
    """The cluster that serves until now."""
    with Cluster.running(cluster_seed, tmp_path, nodes=1) as running:
        node = running.primary
        node.stop()
        node.configure(wal_level="logical", max_wal_senders="60", max_replication_slots="60")
        node.start()
        yield node


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Node]:
    """Another one, from its own initdb, with both databases empty."""
    seed = cluster.make_seed(tmp_path / "new", free_port(), LOGICAL)
    with Cluster.running(seed, tmp_path / "new", nodes=1) as running:
        with psycopg.connect(running.primary.url("postgres"), autocommit=True) as connection:
            for name in DATABASES:
                connection.execute(f"DROP DATABASE {name}".encode())
                connection.execute(f"CREATE DATABASE {name}".encode())
        yield running.primary


def rows_of(table: str) -> bytes:
    return f"SELECT t::text FROM {table} AS t ORDER BY 1".encode()


def contents(node: Node, database: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of each table, in order."""
    with psycopg.connect(node.url(database)) as connection:
        tables = [name for (name,) in connection.execute(TABLES).fetchall()]
        return {
            name: connection.execute(
                f"SELECT t::text FROM {name} AS t ORDER BY 1".encode()
            ).fetchall()
            for name in tables
        }


async def test_logical_replication__commands_of_the_page__new_cluster_has_all_and_goes_on(
    old: Node, new: Node, tmp_path: Path
) -> None:
    variables = environment() | {
        "OLD": old.url("").rstrip("/"),
        "NEW": new.url("").rstrip("/"),
        "PATH": f"{WHEEL.bin_path}:{documents.search_path()}",
    }

    async def run(script: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", script),
            cwd=tmp_path,
            env=variables,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
        finally:
            if process.returncode is None:
                process.kill()
        # The servers of the tests have fsync off, which doctor reports.
        text = output.decode()
        assert process.returncode == 0 or "durability: fsync is off" in text, text
        return text

    async def issue(session: aiohttp.ClientSession, service: Service) -> int:
        body = {"user_id": 1, "amount": 100, "label": "work"}
        async with session.post(f"{service.url}/invoices", json=body) as response:
            assert response.status == 201, await response.text()
            return int((await response.json())["id"])

    async def events(session: aiohttp.ClientSession, service: Service) -> list[str]:
        url = f"{service.events_url}/events?name=invoice.created&after=0"
        async with session.get(url, headers=TOKEN) as response:
            return [event["subject"] for event in await response.json()]

    subscribe, wait, switch, serve = [
        block.text for block in documents.blocks(PAGE) if block.mark == UPGRADE
    ]
    before = Service(database_url=old.url(), events_database_url=old.url("rowlock_events"))
    after = Service(database_url=new.url(), events_database_url=new.url("rowlock_events"))
    async with aiohttp.ClientSession() as session:
        async with before:
            issued = [await issue(session, before)]
            await run(subscribe)
            issued.append(await issue(session, before))
            await run(wait)
            issued.append(await issue(session, before))
        await run(switch)
        for database in DATABASES:
            assert contents(new, database) == contents(old, database)
        output = await run(serve)
        failed = [line for line in output.splitlines() if line.startswith("FAIL")]
        assert all("fsync is off" in line for line in failed), output
        async with after:
            first = await issue(session, after)
            assert first > max(issued)
            told = [f"invoice:{each}" for each in (*issued, first)]

            async def are_told() -> bool:
                return await events(session, after) == told

            await until(are_told)
