"""Epochs on a real cluster: ids that a lost primary has given are not given again."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import psycopg
import pytest

from rowlock.engine.database import Database
from rowlock.engine.epochs import find_epochs
from rowlock.errors import DatabaseUnavailable
from rowlock.ops.drill.cluster import PATIENCE_S
from rowlock.settings import Settings
from tests.support.cluster import Cluster, Node
from tests.support.polling import until, until_true
from tests.support.processes import Service, doctor, rowlock
from tests.support.scraping import scrape
from tests.support.writers import Writers

NEW_INVOICE = "INSERT INTO invoices (user_id, amount, label) VALUES (1, 100, 'work') RETURNING id"

TOKEN = {"Authorization": "Bearer development-events-token"}


@asynccontextmanager
async def opened(node: Node, settings: Settings) -> AsyncIterator[Database]:
    """Lend a database whose sessions all lead to one server, be it a standby."""
    url = f"{node.url()}?target_session_attrs=any"
    async with Database(url, settings.database) as database:
        yield database


async def write(database: Database) -> int:
    """Make an invoice; return its id."""
    async with database.transaction() as connection:
        return int(await connection.fetchval(NEW_INVOICE))


async def test_session_opened_on_a_standby__promoted_meanwhile__ids_jump_before_it_writes(
    cluster: Cluster, settings: Settings
) -> None:
    [standby] = cluster.standbys
    async with opened(standby, settings) as database:
        async with database.connection() as connection:
            backend = await connection.fetchval("SELECT pg_backend_pid()")
            assert await connection.fetchval("SELECT pg_is_in_recovery()")
        await asyncio.to_thread(cluster.promote)
        async with database.transaction() as connection:
            assert await connection.fetchval("SELECT pg_backend_pid()") == backend
            first_id = await connection.fetchval(NEW_INVOICE)
        assert await write(database) == first_id + 1 > 1_000_001
        async with database.connection() as connection:
            first, second = await find_epochs(connection)
    assert (first.number, first.timeline, first.declared, first.jumps) == (1, 1, "noticed", {})
    assert (second.number, second.timeline, second.declared) == (2, 2, "noticed")
    assert second.system_identifier == first.system_identifier
    assert second.jumps["invoices"] == (0, first_id)
    assert second.jumps["users"] == (1, first_id + 1)


async def test_session_on_a_standby__not_promoted__writes_are_refused(
    cluster: Cluster, settings: Settings
) -> None:
    [standby] = cluster.standbys
    async with opened(standby, settings) as database:
        with pytest.raises(DatabaseUnavailable):
            await write(database)
        assert database.refusal is not None
        assert database.refusal.sqlstate == "25006"


def one(node: Node, query: str, database: str = "rowlock") -> int:
    """The number that a query returns."""
    with psycopg.connect(node.url(database)) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def stop_following(cluster: Cluster) -> None:
    """Let the standby get no more, while the primary goes on."""
    [standby] = cluster.standbys
    standby.configure(primary_conninfo="")
    until_true(
        lambda: one(cluster.primary, "SELECT count(*) FROM pg_stat_replication") == 0, PATIENCE_S
    )


async def read_stream(url: str, after: int, seen: list[tuple[str, int]]) -> None:
    """Note the name and the id of each message of a stream, which begins again if it ends."""
    while True:
        with suppress(aiohttp.ClientError):
            async with (
                aiohttp.ClientSession(headers=TOKEN) as session,
                session.get(f"{url}/events/stream?after={after}") as response,
            ):
                fields: dict[str, str] = {}
                async for line in response.content:
                    name, _, value = line.decode().strip().partition(": ")
                    fields[name] = value
                    if not name and "event" in fields:
                        after = int(fields["id"])
                        seen.append((fields["event"], after))
                    if not name:
                        fields = {}
        await asyncio.sleep(0.05)


async def test_asynchronous_tail_lost__no_id_twice_and_readers_and_operators_are_told(
    cluster: Cluster,
) -> None:
    urls = {
        "database_url": cluster.url(),
        "events_database_url": cluster.url("rowlock_events"),
    }
    seen: list[tuple[str, int]] = []
    async with Service(**urls) as service, aiohttp.ClientSession(headers=TOKEN) as session:
        reader = asyncio.create_task(read_stream(service.events_url, 0, seen))
        async with Writers(clients=2).running(service.url) as writers:
            await until(lambda: len(seen) > 50)
            await asyncio.to_thread(stop_following, cluster)
            kept = len(seen)
            await until(lambda: len(seen) > kept + 100)
            await asyncio.to_thread(cluster.primary.kill)
            before = dict(writers.acknowledged)
            await asyncio.to_thread(cluster.promote)
            await until(lambda: seen[-1][1] > 1_000_000)
            acknowledged = len(writers.times)
            await until(lambda: len(writers.times) > acknowledged + 100)
        await until(lambda: any(name == "cluster.epoch_begun" for name, _ in seen))
        reader.cancel()
        # No id was given to two invoices, though many of those before are lost.
        ids = [*writers.acknowledged.values()]
        stored = one(cluster.primary, "SELECT count(*) FROM invoices WHERE id < 1000000")
        assert stored < len(before)
        assert len(set(ids)) == len(ids)
        # The reader was told once, and then had everything that there is.
        assert [name for name, _ in seen].count("reset") == 1
        at = [name for name, _ in seen].index("reset")
        last_valid = seen[at][1]
        count = "SELECT count(*) FROM events WHERE id > "
        later = [event_id for _, event_id in seen[at + 1 :]]
        assert last_valid < seen[at - 1][1] < later[0] - 900_000
        assert one(
            cluster.primary, f"{count}{last_valid} AND id <= {later[-1]}", "rowlock_events"
        ) == len(later)
        for place, status in ((last_valid, 200), (last_valid + 1, 410), (seen[at - 1][1], 410)):
            async with session.get(f"{service.events_url}/events?after={place}") as response:
                assert response.status == status
        for base in (service.url, service.events_url):
            scraped = await scrape(session, f"{base}/metrics")
            assert scraped.value("rowlock_cluster_epoch") == 2
            assert scraped.value("rowlock_cluster_timeline") == 2
            async with session.get(f"{base}/readyz/writes") as response:
                assert "timeline 1 → 2 at " in json.loads(await response.text())["epoch"]
    # Whoever starts next has nothing to record.
    async with Service(**urls) as again, Writers(clients=1).running(again.url) as more:
        await until(lambda: len(more.times) > 5)
    _, output = await doctor(**urls)
    # The cluster's servers don't wait for their disks.
    fails = [line for line in output.splitlines() if line.startswith("FAIL")]
    assert all("durability: fsync is off" in line for line in fails), output
    lines = [line for line in output.splitlines() if "timeline 1 → 2 at " in line]
    assert len(lines) == 2, output
    assert f"from {last_valid} to " in lines[1]
    assert "ids jumped from " in lines[0]


async def test_epoch_new__by_two_processes_at_once__each_is_recorded_and_listed(
    cluster: Cluster,
) -> None:
    urls = {"database_url": cluster.url(), "events_database_url": cluster.url("rowlock_events")}
    outcomes = await asyncio.gather(
        *(rowlock("epoch", "new", name, **urls) for name in ("events", "events", "main"))
    )
    assert [status for status, _ in outcomes] == [0, 0, 0], outcomes
    told = sorted(output for _, output in outcomes)
    for output, start in zip(
        told, ("events: epoch 2", "events: epoch 3", "main: epoch 2"), strict=True
    ):
        assert output.startswith(f"{start}, timeline 1 again at "), output
        assert " by hand, " in output
        assert "ids jumped" in output
    status, output = await rowlock("epoch", "list", **urls)
    rows = [line.split("\t")[:3] for line in output.splitlines()]
    assert status == 0
    assert rows == [
        ["main", "1", "1"],
        ["main", "2", "1"],
        ["events", "1", "1"],
        ["events", "2", "1"],
        ["events", "3", "1"],
    ]
    status, output = await rowlock("epoch", "new", "nowhere", **urls)
    assert status == 2
    assert "nowhere" in output
