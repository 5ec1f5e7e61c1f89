"""/metrics of real processes: the background's counters, and several processes on one count."""

import asyncio
import sys

import aiohttp
import asyncpg

from tests.conftest import bearer
from tests.polling import until
from tests.process.harness import ROWLOCK, Service, environment, free_port
from tests.scraping import scrape

TOKEN = bearer("development-projects-token")
REQUESTS = "rowlock_http_request_duration_seconds_count"

# Serves projects at two ports, prints the first process's end once told to, then waits.
PARENT = f"""
import os, subprocess, sys
from rowlock.web.shared_metrics import shared_metrics

with shared_metrics(2) as forget:
    workers = [
        subprocess.Popen(
            [{ROWLOCK!r}, "serve", "projects"],
            env=os.environ | {{"ROWLOCK_PROJECTS_PORT": port}},
            stdout=subprocess.DEVNULL,
        )
        for port in sys.argv[1:]
    ]
    input()
    workers[0].kill()
    workers[0].wait()
    forget(workers[0].pid)
    print("forgotten", flush=True)
    input()
    workers[1].terminate()
    workers[1].wait()
"""


async def test_metrics__order_settled_and_delivered__counted(database_url, events_database_url):
    databases = {"database_url": database_url, "events_database_url": events_database_url}
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO products (slug, name, price) VALUES ('x', 'X', 100)")
    await connection.close()
    async with Service(**databases, approval_rate=1) as service, aiohttp.ClientSession() as session:
        order = {"items": [{"productId": 1, "quantity": 1}]}
        async with session.post(f"{service.url}/orders", json=order) as response:
            assert response.status == 201

        async def delivered() -> bool:
            scraped = await scrape(session, f"{service.url}/metrics")
            return (
                scraped.value("rowlock_orders_settled_total", status="approved") == 1
                and scraped.value("rowlock_relay_delivered_events_total") == 2
                and scraped.value("rowlock_relay_delivery_duration_seconds_count") >= 1
                and scraped.value("rowlock_outbox_events") == 0
            )

        await until(delivered)


async def test_metrics__two_processes__either_answers_for_both(database_url):
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", PARENT, *(url.rpartition(":")[2] for url in urls)),
        env=environment(database_url=database_url, metrics_sample_s=0.05, log_requests=0),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    async with aiohttp.ClientSession() as session:

        async def count(url: str, path: str) -> None:
            async with session.get(f"{url}{path}", headers=TOKEN) as response:
                assert response.status == 200

        async def limit(url: str) -> float:
            try:
                scraped = await scrape(session, f"{url}/metrics", TOKEN)
            except aiohttp.ClientConnectionError:
                return 0
            return scraped.value("rowlock_pool_connections_limit")

        async def both_are_there() -> bool:
            return [await limit(url) for url in urls] == [24, 24]

        await until(both_are_there)
        for url in (urls[0], urls[0], urls[1]):
            await count(url, "/projects")
        for url in urls:
            scraped = await scrape(session, f"{url}/metrics", TOKEN)
            assert scraped.value(REQUESTS, service="projects", route="/projects", status=200) == 3
            assert scraped.value("rowlock_batch_items_sum", lane="list_projects") == 3
        parent.stdin.write(b"\n")
        assert await parent.stdout.readline() == b"forgotten\n"
        scraped = await scrape(session, f"{urls[1]}/metrics", TOKEN)
        assert scraped.value(REQUESTS, route="/projects") == 3
        assert scraped.value("rowlock_pool_connections_limit") == 12
    await parent.communicate(b"\n")
    assert parent.returncode == 0
