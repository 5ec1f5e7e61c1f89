"""The database is away for a while, and no other one takes its place."""

import asyncio
import json
import time
from collections import Counter
from typing import Any

import aiohttp
import psutil
import psycopg
import pytest

from tests.support.cluster import Cluster, Node
from tests.support.polling import until
from tests.support.processes import Service
from tests.support.writers import Writers

AWAY_S = 4.0
SERVICES = {"rowlock-commerce", "rowlock-projects", "rowlock-events"}


def lines_of(service: Service) -> list[dict[str, Any]]:
    """What the service has logged, as in production."""
    return [json.loads(line) for line in service.printed.splitlines() if line.startswith("{")]


def one_host(cluster: Cluster) -> dict[str, object]:
    primary = cluster.primary
    return {
        "database_url": primary.url(),
        "events_database_url": primary.url("rowlock_events"),
    }


def several_hosts(cluster: Cluster) -> dict[str, object]:
    return {"database_url": cluster.url(), "events_database_url": cluster.url("rowlock_events")}


PRODUCTION = {
    "env": "production",
    "commerce_token": "a-token-of-the-commerce-service",
    "projects_token": "a-token-of-the-projects-service",
    "events_token": "a-token-of-the-events-service",
    # Far longer than this takes: tasks don't wait for the ends of their pauses.
    "task_retry_s": 600,
    "task_retry_limit_s": 600,
}


@pytest.mark.parametrize("urls", [one_host, several_hosts])
async def test_database_away__under_load__a_line_when_it_goes_and_one_when_it_is_back(
    cluster: Cluster, urls: Any
) -> None:
    primary = cluster.primary
    token = {"Authorization": f"Bearer {PRODUCTION['commerce_token']}"}
    async with (
        Service(**PRODUCTION | urls(cluster)) as service,
        aiohttp.ClientSession() as session,
        Writers(headers=token).running(service.url) as writers,
    ):
        await until(lambda: len(writers.times) > 50)
        await until(lambda: sum(line["event"] == "lease_taken" for line in lines_of(service)) == 2)
        before = len(lines_of(service))
        killed = time.monotonic()
        await asyncio.to_thread(primary.kill)
        await asyncio.sleep(AWAY_S)
        assert await service.readiness(session) == 503
        async with session.get(f"{service.url}/readyz/writes") as response:
            assert response.status == 503
        started = time.monotonic()
        await asyncio.to_thread(cluster.restart, primary)
        restarted = time.monotonic()
        await until(lambda: writers.times[-1] > started)

        async def all_well() -> bool:
            async with session.get(f"{service.url}/readyz") as response:
                checks = (await response.json())["checks"]
                return set(checks.values()) == {"ok"}

        await until(lambda: is_ready(service, session))
        ready = time.monotonic()
        await until(all_well)
        well = time.monotonic()
        print(
            f"first write {writers.first_after(started) - (restarted - started):.2f} s, "
            f"/readyz {ready - restarted:.2f} s, all tasks {well - restarted:.2f} s "
            "after the restart"
        )
        assert ready - restarted < 60  # tasks, too, would wait for 600 s
    lines = lines_of(service)[before:]
    print(Counter(line["event"] for line in lines))
    events = Counter(line["event"] for line in lines)
    assert {line["database"] for line in lines if line["event"] == "database_away"} == SERVICES
    assert events["database_away"] == events["database_back"] == 3
    assert len(lines) <= 20
    [back] = [
        line
        for line in lines
        if line["event"] == "database_back" and line["database"] == "rowlock-commerce"
    ]
    assert AWAY_S - 1 < back["away_s"] < well - killed + 1
    assert 0 < back["failed_requests"] <= writers.statuses[503]
    writers.check(primary.url())


async def is_ready(service: Service, session: aiohttp.ClientSession) -> bool:
    return await service.readiness(session) == 200


async def test_silent_host__watched__has_one_connection_at_a_time(cluster: Cluster) -> None:
    [standby] = cluster.standbys
    async with Service("commerce", database_url=cluster.url()) as service:
        process = psutil.Process(service.pid)

        def connections() -> int:
            return sum(
                bool(each.raddr) and each.raddr.port == standby.port
                for each in process.net_connections("tcp")
            )

        await until(lambda: connections() == 1)
        standby.freeze()
        seen, deadline = Counter[int](), time.monotonic() + 4  # several questions' time
        while time.monotonic() < deadline:
            seen[connections()] += 1
            await asyncio.sleep(0.05)
        assert max(seen) == 1
        standby.thaw()
        await until(lambda: watched(standby) == 1)


def watched(node: Node) -> int:
    with psycopg.connect(node.url()) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%-watcher'"
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0])
