"""The primary of a cluster is killed, frozen or replaced under load: what clients notice."""

import asyncio
import time

import aiohttp
import psycopg

from tests.support.cluster import Cluster, Node
from tests.support.polling import until
from tests.support.processes import Service
from tests.support.scraping import scrape
from tests.support.writers import Writers

# Measured: well below a second. The machines that run the tests have other work, too.
SLACK_S = 10.0


def count_invoices(node: Node) -> int:
    with psycopg.connect(node.url()) as connection:
        row = connection.execute("SELECT count(*) FROM invoices").fetchone()
        assert row is not None
        return int(row[0])


def count_sessions(node: Node) -> int:
    """The connections of services to a node, but for those that watch it."""
    with psycopg.connect(node.url()) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE application_name LIKE 'rowlock-%' AND application_name NOT LIKE '%-watcher'"
        ).fetchone()
        assert row is not None
        return int(row[0])


async def is_ready(service: Service, session: aiohttp.ClientSession) -> bool:
    return await service.readiness(session) == 200


async def is_unready(service: Service, session: aiohttp.ClientSession) -> bool:
    return await service.readiness(session) == 503


async def test_primary_killed__synchronous__nothing_acknowledged_is_lost(
    synchronous_cluster: Cluster,
) -> None:
    cluster = synchronous_cluster
    async with (
        Service("commerce", database_url=cluster.url()) as service,
        Writers().running(service.url) as writers,
    ):
        await until(lambda: len(writers.times) > 100)
        await asyncio.to_thread(cluster.primary.kill)
        await until(lambda: writers.statuses[503] > 3 * writers.clients)
        promoted = await asyncio.to_thread(cluster.promote)
        await until(lambda: writers.times[-1] > promoted + 1)
    writers.check(cluster.primary.url())
    print(f"killed: first write {writers.first_after(promoted):.2f} s after the promotion")
    print(writers.statuses, writers.errors, f"gap {writers.longest_gap():.2f} s")
    assert writers.first_after(promoted) < SLACK_S


async def test_primary_frozen__standby_promoted__left_and_not_used_when_it_thaws(
    cluster: Cluster,
) -> None:
    former = cluster.primary
    async with (
        Service("commerce", database_url=cluster.url(), statement_timeout_s=30) as service,
        aiohttp.ClientSession() as session,
    ):
        async with Writers().running(service.url) as writers:
            await until(lambda: len(writers.times) > 100)
            await asyncio.to_thread(former.freeze)
            await until(lambda: is_unready(service, session))
            promoted = await asyncio.to_thread(cluster.promote)
            await until(lambda: is_ready(service, session))
            ready = time.monotonic()
            await until(lambda: any(at > promoted for at in writers.times))
            acknowledged = len(writers.times)
            former.thaw()
            await until(lambda: len(writers.times) > acknowledged + 100)
            kept = await asyncio.to_thread(count_invoices, former)
            # Its sessions end once it finds that nobody is there any more.
            await until(lambda: count_sessions(former) == 0)
            acknowledged = len(writers.times)
            await until(lambda: len(writers.times) > acknowledged + 100)
        scraped = await scrape(session, f"{service.url}/metrics")
        host = f"127.0.0.1:{cluster.primary.port}"
        since = scraped.value(
            "rowlock_database_primary_since_timestamp_seconds", host=host, timeline="2"
        )
        assert abs(since - time.time()) < 600
    print(
        f"frozen: first write {writers.first_after(promoted):.2f} s after the promotion, "
        f"/readyz {max(0, ready - promoted):.2f} s"
    )
    print(writers.statuses, writers.errors, f"gap {writers.longest_gap():.2f} s")
    assert writers.first_after(promoted) < SLACK_S
    assert set(writers.statuses) <= {201, 503}
    assert await asyncio.to_thread(count_invoices, former) == kept
    assert service.printed.count("former_primary_answers") == 1


async def test_primary_switched_over__under_load__a_short_gap(cluster: Cluster) -> None:
    async with (
        Service("commerce", database_url=cluster.url()) as service,
        Writers().running(service.url) as writers,
    ):
        await until(lambda: len(writers.times) > 100)
        promoted = await asyncio.to_thread(cluster.switchover)
        await until(lambda: writers.times[-1] > promoted + 1)
    writers.check(cluster.primary.url())
    print(f"switched over: gap {writers.longest_gap():.2f} s", writers.statuses, writers.errors)
    assert writers.longest_gap() < SLACK_S


async def test_commit_under_way__primary_frozen__outcome_unknown_and_once_when_repeated(
    cluster: Cluster,
) -> None:
    former = cluster.primary
    former.configure(synchronous_standby_names="gone")  # so each COMMIT waits
    body = {"user_id": 1, "amount": 100, "label": "work"}
    headers = {"Idempotency-Key": "0c3a9d3e-8e8f-4f2b-9a53-3f4a0c0f5a3e"}
    # Its background tasks commit, too, so each has a connection that waits.
    async with (
        Service("commerce", database_url=cluster.url(), statement_timeout_s=30) as service,
        aiohttp.ClientSession() as session,
    ):
        invoices = f"{service.url}/invoices"
        sending = asyncio.create_task(session.post(invoices, json=body, headers=headers))
        await until(lambda: count_waiting(former) > 0)
        await asyncio.to_thread(former.freeze)
        promoted = await asyncio.to_thread(cluster.promote)
        async with await sending as response:
            assert response.status == 503
            assert (await response.json())["error"] == "outcome_unknown"
        print(f"told {time.monotonic() - promoted:.2f} s after the promotion")
        assert time.monotonic() - promoted < SLACK_S  # not at the end of the statement's time
        for status in (201, 201):
            async with session.post(invoices, json=body, headers=headers) as response:
                assert response.status == status
    assert await asyncio.to_thread(count_invoices, cluster.primary) == 1


def count_waiting(node: Node) -> int:
    """The requests whose COMMIT waits for a standby."""
    with psycopg.connect(node.url()) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' "
            "AND EXISTS (SELECT FROM pg_locks WHERE pid = pg_stat_activity.pid "
            "AND relation = 'invoices'::regclass)"
        ).fetchone()
        assert row is not None
        return int(row[0])
