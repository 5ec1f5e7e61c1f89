"""What /metrics tells, and to whom. Counters go on through all tests, so these look at growth."""

import asyncio
import sys
import threading
from typing import Any

import psutil
import pytest
from yarl import URL

from rowlock.benefits import Benefits
from rowlock.engine import migrations
from rowlock.engine.metrics import REGISTRY, Tally
from rowlock.http.metrics import STATE
from rowlock.http.service import DRAINING, Parts
from tests.support.contract import bearer, refusal
from tests.support.polling import until
from tests.support.scraping import PROCESS, Scrape, scrape
from tests.support.services import feature_of
from tests.support.types import Client, Connection, OpenAccount, Serve

REQUESTS = "rowlock_http_request_duration_seconds_count"
BUY = {"order": {"items": ["netflix"], "user_id": "ada"}}


async def read(client: Client) -> Scrape:
    return await scrape(client.session, str(client.make_url("/metrics")))


class Growth:
    """How much series have grown since this was made."""

    def __init__(self, client: Client, before: Scrape) -> None:
        self._client, self._before = client, before

    @classmethod
    async def of(cls, client: Client) -> "Growth":
        return cls(client, await read(client))

    async def value(self, name: str, **labels: object) -> float:
        after = await read(self._client)
        return after.value(name, **labels) - self._before.value(name, **labels)


async def test_requests__by_route_method_and_status__never_by_raw_path(
    commerce: Client, ada: int
) -> None:
    growth = await Growth.of(commerce)
    for path in ("/user/1", "/user/1?x=y", "/user/999", "/user/x"):
        await commerce.get(path)
    labels = {"service": "commerce", "route": "/user/{id}", "method": "GET"}
    assert await growth.value(REQUESTS, **labels) == 4
    for status, count in ((200, 1), (400, 1), (404, 2)):
        assert await growth.value(REQUESTS, **labels, status=status) == count
    assert {"/user/1", "/user/999", "/user/x"}.isdisjoint((await read(commerce)).labels(REQUESTS))


async def test_requests__path_with_a_pattern__counted_without_it(commerce: Client) -> None:
    growth = await Growth.of(commerce)
    await commerce.get("/api/users/ada")
    labels = {"service": "commerce", "route": "/api/users/{user_id}", "method": "GET"}
    assert await growth.value(REQUESTS, **labels) == 1


async def test_requests__nothing_there__one_series_whatever_is_asked(commerce: Client) -> None:
    growth = await Growth.of(commerce)
    await commerce.get("/nowhere/1")
    await commerce.request("PROPFIND", "/nowhere/2")
    await commerce.request("PROPFIND", "/user/1")
    for status, count in ((404, 2), (405, 1)):
        labels = {"route": "none", "method": "none", "status": status}
        assert await growth.value(REQUESTS, **labels) == count
    assert "PROPFIND" not in (await read(commerce)).labels(REQUESTS)


async def test_errors__refused_by_the_rules_or_before__counted_by_code(
    commerce: Client, ada: int, catalogue: dict[str, int]
) -> None:
    growth = await Growth.of(commerce)
    await commerce.post("/api/orders", json=BUY)
    await commerce.post("/api/orders", json=BUY)
    await commerce.post("/api/orders", json={})
    for error in ("products_already_purchased", "invalid_request"):
        assert await growth.value("rowlock_http_errors_total", error=error) == 1


async def test_errors__same_keys_in_two_services_at_once__each_counted_once(serve: Serve) -> None:
    clients = [await serve(), await serve()]
    growth = await Growth.of(clients[0])
    answers = await asyncio.gather(
        *(
            client.post("/invoices/999/pay", headers={"Idempotency-Key": f"key-{number}"})
            for number in range(20)
            for client in clients
        )
    )
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 20
    assert await growth.value("rowlock_http_errors_total", error="invoice_not_found") == 20


async def test_batches__concurrent_requests__size_wait_and_time_by_lane(
    commerce: Client, open_account: OpenAccount
) -> None:
    await open_account("ada", 500_00)
    growth = await Growth.of(commerce)
    await asyncio.gather(*(commerce.get("/user/1") for _ in range(40)))
    lane = {"service": "commerce", "lane": "find_user"}
    batches = await growth.value("rowlock_batch_items_count", **lane)
    assert 1 <= batches <= 40
    assert await growth.value("rowlock_batch_items_sum", **lane) == 40
    for name in ("wait", "duration"):
        assert await growth.value(f"rowlock_batch_{name}_seconds_count", **lane) == batches
        assert 0 < await growth.value(f"rowlock_batch_{name}_seconds_sum", **lane) < 40


async def test_lanes__busy_full_late_and_draining__told_apart(
    serve: Serve,
    connection: Connection,
    open_account: OpenAccount,
    catalogue: dict[str, int],
    seen: list[Parts],
) -> None:
    user_id = await open_account("ada", 500_00)
    commerce = await serve(
        batch_queue=1,
        lock_timeout_s=60.0,
        statement_timeout_s=60.0,
        batch_wait_s=0.6,
        batch_patience_s=60.0,
        metrics_sample_s=0.01,
    )
    lane = feature_of(seen[-1], Benefits).place_order
    labels = {"service": "commerce", "lane": "place_order"}
    growth = await Growth.of(commerce)
    async with connection.transaction():
        await connection.fetch("SELECT FROM users WHERE id = $1 FOR UPDATE", user_id)
        running = asyncio.create_task(commerce.post("/api/orders", json=BUY))
        await until(lambda: lane._drain_task is not None)
        waiting = asyncio.create_task(commerce.post("/api/orders", json=BUY))

        async def queued() -> bool:
            scraped = await read(commerce)
            return (
                scraped.value("rowlock_lane_waiting_items", **labels) == 1
                and scraped.value("rowlock_pool_connections_in_use", service="commerce") >= 1
            )

        await until(queued)
        assert (await commerce.post("/api/orders", json=BUY)).status == 503
        loop, [entry] = asyncio.get_running_loop(), lane._waiting
        await until(lambda: loop.time() - entry.arrived > 0.7)
    assert (await running).status == 200
    assert (await waiting).status == 503
    await lane.close()
    assert (await commerce.post("/api/orders", json=BUY)).status == 503
    for reason in ("queue_full", "too_late", "draining"):
        refused = await growth.value("rowlock_lane_refused_items_total", **labels, reason=reason)
        assert refused == 1


async def test_batches__one_guilty__split_is_counted(
    commerce: Client, connection: Connection, open_account: OpenAccount, failures: list[str]
) -> None:
    for name in ("ada", "bob"):
        await open_account(name, 1)
    await connection.execute(
        "ALTER TABLE invoices ADD CONSTRAINT no_bob CHECK (label <> 'bad') NOT VALID"
    )
    try:
        growth = await Growth.of(commerce)
        lane = {"service": "commerce", "lane": "create_invoice"}

        async def splits() -> float:
            await asyncio.gather(
                *(
                    commerce.post("/invoices", json={"user_id": 1, "amount": 1, "label": label})
                    for label in ("good", "good", "bad", "good")
                )
            )
            failures.append("/invoices")
            return await growth.value("rowlock_batch_splits_total", **lane)

        assert await until(splits) >= 1
    finally:
        await connection.execute("ALTER TABLE invoices DROP CONSTRAINT no_bob")


async def test_tallies__page_is_asked_for__flushed_by_the_thread_that_counts(
    commerce: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are plain numbers: another thread would lose what is counted while it reads them."""
    threads = set()
    flush = Tally.flush

    def note(tally: Tally) -> None:
        threads.add(threading.get_ident())
        flush(tally)

    monkeypatch.setattr(Tally, "flush", note)
    await read(commerce)
    assert threads == {threading.get_ident()}


async def test_pool__in_use__size_and_limit(serve: Serve) -> None:
    commerce = await serve(metrics_sample_s=0.01, pool_connections=3)

    async def seen() -> bool:
        scraped = await read(commerce)
        return (
            scraped.value("rowlock_pool_connections_limit", service="commerce") == 3
            and scraped.value("rowlock_pool_connections", service="commerce") == 1
            and scraped.value("rowlock_pool_waiting", service="commerce") == 0
        )

    await until(seen)


async def test_backlog__orders_and_events_wait__counted_with_the_age(
    commerce: Client, connection: Connection, ada: int, catalogue: dict[str, int]
) -> None:
    await connection.execute("DELETE FROM outbox")
    before = await read(commerce)
    known = {name for name, _ in STATE.values()} - {"rowlock_standby_lag_seconds"}
    ones = {"rowlock_ready", "rowlock_writes_ready", "rowlock_backlog_up"}
    ones |= {"rowlock_cluster_epoch", "rowlock_cluster_timeline"}
    assert {name: before.value(name) for name in known} == {
        name: int(name in ones) for name in known
    }
    product_id = await connection.fetchval("SELECT min(id) FROM products")
    body = {"items": [{"productId": product_id, "quantity": 1}]}
    for _ in range(3):
        assert (await commerce.post("/orders", json=body)).status == 201
    await connection.execute("UPDATE outbox SET created_at = now() - interval '1 hour'")
    await connection.execute("UPDATE orders SET created_at = now() - interval '2 h' WHERE id = 1")
    after = await read(commerce)
    assert 7200 <= after.value("rowlock_orders_oldest_pending_age_seconds") < 7260
    assert after.value("rowlock_orders_pending", service="commerce") == 3
    assert after.value("rowlock_outbox_events") == 3
    assert 3600 <= after.value("rowlock_outbox_oldest_event_age_seconds") < 3660


async def test_backlog__more_than_is_counted__from_the_positions(
    serve: Serve, connection: Connection, open_account: OpenAccount
) -> None:
    for name in "abcde":
        await open_account(name)
    commerce = await serve(metrics_rows=2)
    assert (await read(commerce)).value("rowlock_outbox_events") == 5


@pytest.mark.parametrize("silent", [False, True])
async def test_metrics__database_away__the_rest_and_in_time(
    serve: Serve, unused_tcp_port: int, silent: bool
) -> None:
    async def never_answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    release = asyncio.Event()
    port = unused_tcp_port
    if silent:
        server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
    long = {"connect_timeout_s": 60.0, "acquire_timeout_s": 60.0}
    commerce = await serve(f"postgresql://127.0.0.1:{port}/x", metrics_timeout_s=0.1, **long)
    async with asyncio.timeout(10):
        scraped = await read(commerce)
    assert_no_backlog(scraped)
    assert "rowlock_pool_connections" in scraped.names
    release.set()
    if silent:
        server.close()


@pytest.mark.parametrize("migrated", [False, True])
async def test_metrics__no_migrations_or_no_grants__the_rest(
    serve: Serve, empty_database_url: str, migrated: bool
) -> None:
    if migrated:
        migrations.up(empty_database_url, "main")
    assert_no_backlog(await read(await serve(empty_database_url)))


def assert_no_backlog(scraped: Scrape) -> None:
    """As far as this goes, the database has told nothing, and that is told."""
    told = {"rowlock_ready", "rowlock_backlog_up"}
    told_too = {"rowlock_writes_ready"}
    assert {name for name, _ in STATE.values()} & scraped.names == told | told_too
    assert all(scraped.value(name, service="commerce") == 0 for name in told)


async def test_ready__of_each_service__as_readyz_says(
    commerce: Client, projects: Client, events: Client
) -> None:
    for client, name in ((commerce, "commerce"), (projects, "projects"), (events, "events")):
        for draining in (False, True):
            if draining:
                client.app[DRAINING].set()
            assert (await read(client)).value("rowlock_ready", service=name) == (not draining)
            assert ((await client.get("/readyz")).status == 200) == (not draining)


async def test_metrics__several_services_in_a_process__each_tells_of_itself(
    commerce: Client, projects: Client
) -> None:
    await projects.get("/projects")
    assert (await read(commerce)).value(REQUESTS, service="projects") == 0
    assert (await read(projects)).value(REQUESTS, service="projects", route="/projects") >= 1
    for client, own in ((commerce, "commerce"), (projects, "projects")):
        for family in (await read(client)).families:
            if not family.name.startswith("process_"):
                assert {sample.labels["service"] for sample in family.samples} == {own}


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
async def test_process__one__what_it_takes_of_the_machine(commerce: Client) -> None:
    scraped, this = await read(commerce), psutil.Process()
    assert {name for name in scraped.names if not name.startswith("rowlock_")} == PROCESS
    started_at = scraped.value("process_start_time_seconds")
    assert started_at == pytest.approx(this.create_time(), abs=2)
    memory = scraped.value("process_resident_memory_bytes")
    assert memory == pytest.approx(this.memory_info().rss, rel=0.5)


async def test_names__each_metric__units_and_suffixes_as_prometheus_has_them(
    commerce: Client,
) -> None:
    described = [(family.name, family.type, family.documentation) for family in REGISTRY.collect()]
    described += [(name, "gauge", about) for name, about in STATE.values()]
    for name, kind, about in described:
        assert name.startswith("rowlock_")
        assert about.endswith(".")
        assert not name.endswith(("_ms", "_s", "_count", "_sum", "_bucket"))
        if kind == "histogram":
            assert name.endswith(("_seconds", "_items"))
        if kind == "gauge":
            assert not name.endswith("_total")


@pytest.mark.parametrize(
    ("settings_of", "given", "status"),
    [
        ({}, None, 200),  # development, and nothing is closed
        ({"commerce_token": "own"}, None, 401),
        ({"commerce_token": "own"}, "own", 200),
        ({"commerce_token": "own", "metrics_token": "scrape"}, "own", 401),
        ({"commerce_token": "own", "metrics_token": "scrape"}, "scrape", 200),
        ({"metrics_token": "scrape"}, None, 401),
        ({"metrics_token": "scrape"}, "scrape", 200),
        ({"env": "production", "commerce_public": True}, None, 401),
        ({"env": "production", "commerce_public": True}, "None", 401),
        ({"env": "production", "commerce_public": True, "metrics_token": "m"}, "m", 200),
    ],
)
async def test_access__metrics__the_metrics_token_or_else_the_services_own(
    serve: Serve, settings_of: dict[str, Any], given: str | None, status: int
) -> None:
    commerce = await serve(**settings_of)
    response = await commerce.get("/metrics", headers=bearer(given) if given else {})
    assert response.status == status
    if status == 401:
        assert await refusal(response) == (401, "unauthorized")


async def test_access__metrics_spelt_otherwise__as_closed(serve: Serve) -> None:
    commerce = await serve(env="production", commerce_public=True)
    url = URL(f"{commerce.make_url('/')}%6detrics", encoded=True)
    assert (await commerce.session.get(url)).status == 401


async def test_access__metrics_token__opens_nothing_else(serve: Serve, ada: int) -> None:
    commerce = await serve(commerce_token="own", metrics_token="scrape")
    assert (await commerce.get("/user/1", headers=bearer("scrape"))).status == 401
