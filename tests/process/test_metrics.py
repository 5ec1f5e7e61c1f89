"""/metrics of real processes: the background's counters, and several processes on one count."""

import signal
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from tests.support.polling import until
from tests.support.processes import Service
from tests.support.scraping import PROCESS, scrape

REQUESTS = "rowlock_http_request_duration_seconds_count"


async def test_metrics__order_settled_and_delivered__counted(
    database_url: str, events_database_url: str
) -> None:
    databases = {"database_url": database_url, "events_database_url": events_database_url}
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO products (slug, name, price) VALUES ('x', 'X', 100)")
    await connection.close()
    async with (
        Service("commerce", "events", **databases, approval_rate=1) as service,
        aiohttp.ClientSession() as session,
    ):
        order = {"items": [{"productId": 1, "quantity": 1}]}
        async with session.post(f"{service.url}/orders", json=order) as response:
            assert response.status == 201

        async def delivered() -> bool:
            scraped = await scrape(session, f"{service.url}/metrics")
            return (
                scraped.value("rowlock_orders_settled_total", status="approved") == 1
                and scraped.value("rowlock_relay_delivered_events_total") >= 2
                and scraped.value("rowlock_relay_delivery_duration_seconds_count") >= 1
                and scraped.value("rowlock_outbox_events") == 0
            )

        await until(delivered)


async def test_metrics__two_workers__either_answers_for_both_also_when_one_has_died(
    database_url: str,
) -> None:
    connector = aiohttp.TCPConnector(force_close=True)  # so that either worker may answer
    async with (
        Service("commerce", database_url=database_url, workers=2, metrics_sample_s=0.05) as service,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        metrics = f"{service.url}/metrics"
        products = {"service": "commerce", "route": "/api/products", "status": 200}

        async def limit() -> float:
            return (await scrape(session, metrics)).value("rowlock_pool_connections_limit")

        async def is_limit(expected: float) -> bool:
            return [await limit() for _ in range(8)] == [expected] * 8

        await until(lambda: is_limit(24))
        assert (await scrape(session, metrics)).names.isdisjoint(PROCESS)
        for _ in range(16):
            async with session.get(f"{service.url}/api/products") as response:
                assert response.status == 200

        async def either_counts(expected: int) -> bool:
            pages = [await scrape(session, metrics) for _ in range(8)]
            return [page.value(REQUESTS, **products) for page in pages] == [expected] * 8

        await until(lambda: either_counts(16))  # a worker shows its counts to the other soon
        victim, _ = service.workers()
        victim.kill()
        await until(lambda: service.printed.count("worker_listens") == 3)
        await until(lambda: is_limit(24))
        assert (await scrape(session, metrics)).value(REQUESTS, **products) == 16


async def test_metrics__workers_replaced_again_and_again__counts_go_on_in_as_many_files(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    async with (
        Service("commerce", database_url=database_url, workers=2) as service,
        aiohttp.ClientSession() as session,
    ):
        products = {"service": "commerce", "route": "/api/products", "status": 200}

        async def files_after(replacements: int) -> set[Path]:
            service.signal(signal.SIGHUP)
            await until(lambda: service.printed.count("workers_replaced") == replacements)
            async with session.get(f"{service.url}/api/products") as response:
                assert response.status == 200

            async def is_counted(requests: int) -> bool:
                page = await scrape(session, f"{service.url}/metrics")
                return page.value(REQUESTS, **products) == requests

            await until(lambda: is_counted(replacements))
            return counter_files(tmp_path)

        files = await files_after(1)
        assert files
        assert await files_after(2) == files
        for worker in service.workers():
            worker.kill()
        await until(lambda: service.printed.count("worker_listens") == 8)
        assert await files_after(3) == files


def counter_files(folder: Path) -> set[Path]:
    return set(folder.glob("rowlock-metrics-*/[ch]*.db"))
