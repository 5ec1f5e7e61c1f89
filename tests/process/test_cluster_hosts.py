"""URLs with several hosts, the first of them not the primary: everything finds it all the same."""

import asyncio
import time
from functools import partial

import aiohttp
import psycopg
import pytest

from tests.support.cluster import Cluster, Node, make_seed
from tests.support.polling import until
from tests.support.processes import Service, doctor, rowlock
from tests.support.writers import Writers

COMMANDS = (
    ("migrate", "up"),
    ("sql", "explain", "accounts/lock_users", "--analyze"),
    ("seed", "--users", "3"),
)


def urls_of(cluster: Cluster, first: Node) -> dict[str, str]:
    """The settings for both databases, with one host first."""
    return {
        "database_url": cluster.url(first=first),
        "events_database_url": cluster.url("rowlock_events", first=first),
    }


def sessions(node: Node, condition: str) -> int:
    with psycopg.connect(node.url()) as connection:
        query = f"SELECT count(*) FROM pg_stat_activity WHERE {condition}"
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0])


@pytest.mark.parametrize("state", ["standby", "silent"])
async def test_command__first_host_is_none_to_write_to__each_uses_the_primary(
    cluster: Cluster, state: str
) -> None:
    [first] = cluster.standbys
    urls = urls_of(cluster, first)
    if state == "silent":
        first.freeze()
    started = time.monotonic()
    outcomes = await asyncio.gather(
        doctor(**urls), *(rowlock(*command, **urls) for command in COMMANDS)
    )
    print(f"{state}: all commands at once took {time.monotonic() - started:.1f} s")
    for command, (status, output) in zip([("doctor",), *COMMANDS], outcomes, strict=True):
        assert status == 0, (command, output)


@pytest.mark.parametrize("state", ["standby", "silent"])
async def test_serve__first_host_is_none_to_write_to__everything_leads_to_the_primary(
    cluster: Cluster, state: str
) -> None:
    [first] = cluster.standbys
    if state == "silent":
        first.freeze()
    started = time.monotonic()
    async with (
        Service(**urls_of(cluster, first)) as service,
        aiohttp.ClientSession() as session,
    ):
        print(f"{state}: ready after {time.monotonic() - started:.1f} s")
        async with Writers().running(service.url) as writers:
            await until(lambda: len(writers.times) > 50)
        for base in (service.url, service.projects_url, service.events_url):
            for path in ("/readyz", "/readyz/writes"):
                async with session.get(f"{base}{path}") as response:
                    assert response.status == 200, await response.text()
        for condition in (
            "query LIKE 'LISTEN%'",
            "application_name LIKE 'rowlock-probe-%'",
            "application_name = 'rowlock-commerce-watcher'",
        ):
            await until(partial(sessions, cluster.primary, condition))
        with psycopg.connect(cluster.primary.url()) as connection:
            held = "SELECT count(*) FROM leases WHERE expires > clock_timestamp()"
            assert connection.execute(held).fetchone() != (0,)
    assert set(writers.statuses) == {201}
    writers.check(cluster.primary.url())


async def test_serve__former_primary_is_named_first_and_answers__the_new_one_is_used(
    cluster: Cluster,
) -> None:
    former = cluster.primary
    former.freeze()
    await asyncio.to_thread(cluster.promote)
    former.thaw()
    # So it is for two processes that start at once, and for commands. A busy machine may take more
    # than a second to answer.
    urls = {name: f"{url}?connect_timeout=20" for name, url in urls_of(cluster, former).items()}
    async with Service("commerce", "--workers", "2", **urls) as service:
        async with Writers().running(service.url) as writers:
            await until(lambda: len(writers.times) > 50)
        status, output = await rowlock("seed", "--users", "3", **urls)
        assert status == 0, output
    assert set(writers.statuses) == {201}
    writers.check(cluster.primary.url())
    with psycopg.connect(former.url()) as connection:
        assert connection.execute("SELECT count(*) FROM invoices").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (1,)


async def test_hosts_of_two_clusters__serve_refuses_and_doctor_names_one(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("other")
    with Cluster.running(make_seed(folder), folder, 1) as other:
        hosts = f"127.0.0.1:{cluster.primary.port},127.0.0.1:{other.primary.port}"
        urls = {
            "database_url": f"postgresql://postgres@{hosts}/rowlock",
            "events_database_url": cluster.primary.url("rowlock_events"),
        }
        status, output = await rowlock("serve", "commerce", **urls)
        assert status == 1
        assert "ROWLOCK_DATABASE_URL: 127.0.0.1:" in output, output
        assert "belongs to another cluster than the primary" in output
        status, output = await doctor(**urls)
        assert status == 1
        assert "FAIL ROWLOCK_DATABASE_URL: 127.0.0.1:" in output, output
