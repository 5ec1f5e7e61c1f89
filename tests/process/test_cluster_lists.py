"""Lists from standbys: which server is read, and what clients notice when one goes."""

import asyncio
import contextlib
import itertools
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import psycopg
import pytest
from structlog.testing import capture_logs

from rowlock.engine.database import Connection, Database
from rowlock.engine.standbys import Standbys
from rowlock.settings import Settings
from tests.support.cluster import Cluster, Node
from tests.support.polling import until
from tests.support.processes import Service, doctor, rowlock
from tests.support.readers import Readers
from tests.support.scraping import Scrape, scrape
from tests.support.writers import Writers

FRESH = {"Cache-Control": "no-cache"}
# For tests that don't wait for it.
LONG_S = 600
WATCH_S = 0.1

ENTRIES = 200_000
POST = f"""
    INSERT INTO ledger_entries (
        user_id, amount, balance_after, reason, reference, created_at,
        document_kind, document_id, contra)
    SELECT 1, 1, n, 'order', 'order:' || n, '2026-01-01Z'::timestamptz + n * interval '1 ms',
        'order', n, 'sales'
    FROM generate_series(1, {ENTRIES}) AS n"""

COMMERCE_LISTS = {
    "/api/products": "benefits/list_products",
    "/products": "orders/list_products",
    "/services": "service_orders/list_services",
    "/orders": "orders/list_orders",
    "/orders?user_id=1": "orders/list_user_orders",
    "/orders/1/refunds": "refunds/list_refunds",
    "/user/1/ledger": "accounts/list_ledger",
    "/user/1/statement": "accounts/list_statement",
    "/user/1/balance?at=2020-01-01T00:00:00Z": "accounts/find_balances",
    "/users": "accounts/list_users",
    "/users?username=a": "accounts/search_users_by_name",
    "/invoices": "invoices/list_invoices",
    "/invoices?user_id=1": "invoices/list_user_invoices",
    "/transfers": "transfers/list_transfers",
    "/service-orders": "service_orders/list_orders",
    "/catalogue/products": "catalogue/list_products",
    "/catalogue/services": "catalogue/list_services",
    "/keys": "keys/list_keys",
}
PROJECTS_LISTS = {
    "/projects": "projects/list_projects",
    "/deployments": "projects/list_deployments",
    "/users/1/deployment-stats": "projects/find_deployment_stats",
}
EVENTS_LISTS = {
    "/events?order=newest": "events/list_newest_events",
    "/events?after=0": "events/list_events",
    "/events?subject=user:1": "events/list_events_by_subject",
}


def urls_of(primary: Node, *standbys: Node) -> dict[str, str]:
    """The settings that lead to a primary, and to its standbys for lists."""
    hosts = ",".join(f"127.0.0.1:{node.port}" for node in standbys)
    return {
        "database_url": primary.url(),
        "events_database_url": primary.url("rowlock_events"),
        "read_database_url": f"postgresql://postgres@{hosts}/rowlock",
        "events_read_database_url": f"postgresql://postgres@{hosts}/rowlock_events",
    }


def run(node: Node, statement: str) -> None:
    with psycopg.connect(node.url(), autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.fixture
def standby(cluster: Cluster) -> Node:
    [standby] = cluster.standbys
    return standby


async def scraped(session: aiohttp.ClientSession, service: Service) -> Scrape:
    return await scrape(session, f"{service.url}/metrics")


async def reads(session: aiohttp.ClientSession, service: Service, target: str) -> float:
    """How many lists the commerce service has read from a standby, or from the primary."""
    return (await scraped(session, service)).value("rowlock_list_reads_total", target=target)


async def follows(session: aiohttp.ClientSession, service: Service, node: Node) -> bool:
    """Whether lists of the commerce service are read from `node`."""
    labels = (await scraped(session, service)).labels("rowlock_standby_lag_seconds")
    return f"127.0.0.1:{node.port}" in labels


@asynccontextmanager
async def serving(
    primary: Node, *standbys: Node, names: tuple[str, ...] = ("commerce",), **settings: object
) -> AsyncIterator[tuple[Service, aiohttp.ClientSession]]:
    """Serve, with lists from one of the standbys from the beginning on."""
    async with (
        Service(*names, **urls_of(primary, *standbys), **settings) as service,
        aiohttp.ClientSession() as session,
    ):

        async def is_read() -> bool:
            return any([await follows(session, service, node) for node in standbys])

        await until(is_read)
        yield service, session


async def get(session: aiohttp.ClientSession, url: str, **headers: str) -> Any:
    async with session.get(url, headers=headers) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def post(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> Any:
    async with session.post(url, json=body) as response:
        assert response.status == 201, await response.text()
        return await response.json()


async def issue(session: aiohttp.ClientSession, service: Service) -> int:
    """Issue an invoice; return its id."""
    body = {"user_id": 1, "amount": 100, "label": "work"}
    number: int = (await post(session, f"{service.url}/invoices", body))["id"]
    return number


async def listed(session: aiohttp.ClientSession, service: Service, **headers: str) -> list[int]:
    return [each["id"] for each in await get(session, f"{service.url}/invoices", **headers)]


def statements(node: Node) -> Counter[str]:
    """How often each of Rowlock's statements ran on a server, while `log_statement` was `all`."""
    return Counter(re.findall(r"execute \S+: -- (\w+/\w+):", node.log))


@asynccontextmanager
async def near(
    primary: Node, read_url: str, **settings: object
) -> AsyncIterator[tuple[Database, Standbys]]:
    """A database in this process, once lists are read from its standby."""
    changed = Settings().changed(read_lag_s=LONG_S, watch_s=WATCH_S, **settings).database
    async with Database(primary.url(), changed, read_url=read_url) as database:
        standbys = database.standbys
        assert standbys is not None
        await until(lambda: standbys.lag)
        yield database, standbys


async def test_lists__a_standby_is_near__no_list_statement_on_the_primary(
    cluster: Cluster, standby: Node
) -> None:
    primary = cluster.primary
    for node in cluster.nodes:
        node.configure(log_statement="all")
    async with serving(primary, standby, names=()) as (service, session):
        order = {"productId": 1, "quantity": 1}
        product = {"slug": "tea", "name": "Tea", "price": 100}
        await post(session, f"{service.url}/catalogue/products", product)
        await post(session, f"{service.url}/orders", {"items": [order], "userId": 1})
        invoice = await issue(session, service)
        async with session.post(f"{service.url}/invoices/{invoice}/pay") as response:
            assert response.status == 200
        await until(lambda: is_replayed(primary, standby))
        before = statements(primary)
        for base, paths, token in (
            (service.url, COMMERCE_LISTS, ""),
            (service.projects_url, PROJECTS_LISTS, "development-projects-token"),
            (service.events_url, EVENTS_LISTS, "development-events-token"),
        ):
            for path in paths:
                await get(session, f"{base}{path}", Authorization=f"Bearer {token}")
        on_standby = statements(standby)
        lists = {*COMMERCE_LISTS.values(), *PROJECTS_LISTS.values(), *EVENTS_LISTS.values()}
        assert lists <= on_standby.keys(), lists - on_standby.keys()
        assert lists.isdisjoint(statements(primary) - before)
        # What a client may act on, or has just written, is the primary's.
        for path in ("/user/1", "/user/1/balance", f"/invoices/{invoice}", "/orders/1"):
            await get(session, f"{service.url}{path}")
        await get(session, f"{service.url}/orders?reference=none")
        new = set(statements(standby) - on_standby)
        watching = {"epochs/find_newest"}  # and what is in cluster/
        assert {name for name in new - watching if not name.startswith("cluster/")} == set()


def is_replayed(primary: Node, standby: Node) -> bool:
    with psycopg.connect(primary.url()) as here, psycopg.connect(standby.url()) as there:
        written = here.execute("SELECT pg_current_wal_lsn()").fetchone()
        done = there.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", written).fetchone()
        return done == (True,)


async def test_standby__behind_within_the_limit__old_lists_and_new_ones_for_those_who_ask(
    cluster: Cluster, standby: Node
) -> None:
    async with serving(cluster.primary, standby, read_lag_s=LONG_S) as (service, session):
        run(standby, "SELECT pg_wal_replay_pause()")
        number = await issue(session, service)
        assert number not in await listed(session, service)
        for directive in ("no-cache", "max-age=0", "private, NO-STORE"):
            assert number in await listed(session, service, **{"Cache-Control": directive})
        assert number not in await listed(session, service, **{"Cache-Control": "max-age=60"})
        # What the standby does not know at all is asked of the primary.
        user = await post(
            session, f"{service.url}/users", {"username": "grace", "opening_balance": 7}
        )
        statement = f"{service.url}/user/{user['user_id']}/statement"
        assert (await get(session, statement))["closing_balance"] == 7
        # A time that has just passed has one answer for ever.
        at = (await get(session, statement))["entries"][0]["created_at"]
        balance = f"{service.url}/user/{user['user_id']}/balance"
        assert (await get(session, f"{balance}?at={at}"))["balance"] == 7


async def test_statement__begun_on_the_primary__goes_on_to_the_same_end(
    cluster: Cluster, standby: Node
) -> None:
    async with serving(cluster.primary, standby, read_lag_s=LONG_S) as (service, session):
        run(standby, "SELECT pg_wal_replay_pause()")
        for _ in range(3):
            number = await issue(session, service)
            async with session.post(f"{service.url}/invoices/{number}/pay") as response:
                assert response.status == 200
        url = f"{service.url}/user/1/statement?limit=2"
        async with session.get(url, headers=FRESH) as response:
            first = await response.json()
            following = response.links["next"]["url"]
        second = await get(session, str(following))
        assert len(first["entries"] + second["entries"]) == 3
        assert first["closing_balance"] == second["closing_balance"] == 300


async def test_standby__too_far_behind__the_primary_until_it_has_caught_up(
    cluster: Cluster, standby: Node
) -> None:
    async with (
        serving(cluster.primary, standby, read_lag_s=1, watch_s=0.1) as (service, session),
        Writers(clients=2).running(service.url) as writers,
    ):
        await until(lambda: len(writers.times) > 20)
        await until(lambda: follows(session, service, standby))
        run(standby, "SELECT pg_wal_replay_pause()")
        await until(lambda: is_left(session, service, standby))
        number = await issue(session, service)
        assert number in await listed(session, service)
        run(standby, "SELECT pg_wal_replay_resume()")
        await until(lambda: follows(session, service, standby))
    assert set(writers.statuses) == {201}


async def is_left(session: aiohttp.ClientSession, service: Service, standby: Node) -> bool:
    return not await follows(session, service, standby)


async def test_standby__idle_primary__stays_near(cluster: Cluster, standby: Node) -> None:
    async with serving(
        cluster.primary, standby, names=("commerce",), read_lag_s=2, watch_s=0.1
    ) as (service, session):
        looked = await asks(standby)
        # Far longer than the lag that is allowed.
        await until(lambda: has_asked(standby, looked + 60))
        assert await follows(session, service, standby)
        before = await reads(session, service, "primary")
        await listed(session, service)
        assert await reads(session, service, "primary") == before


async def asks(standby: Node) -> int:
    """How many transactions the connections that look how far it is have had."""
    with psycopg.connect(standby.url()) as connection:
        row = connection.execute(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = 'rowlock'"
        ).fetchone()
        assert row is not None
        return int(row[0])


async def has_asked(standby: Node, count: int) -> bool:
    return await asks(standby) >= count


@pytest.mark.parametrize("fault", ["kill", "freeze", "stop"])
async def test_standby_goes__under_load__no_read_fails_and_it_is_used_again(
    cluster: Cluster, standby: Node, fault: str
) -> None:
    async with serving(cluster.primary, standby, watch_s=0.2, read_lag_s=2) as (service, session):
        urls = [f"{service.url}{path}" for path in COMMERCE_LISTS if "/refunds" not in path]
        async with Readers(urls).running() as readers, Writers(clients=2).running(service.url) as w:
            await until(lambda: readers.read > 200)
            await asyncio.to_thread(getattr(standby, fault))
            await until(lambda: is_left(session, service, standby))
            read = readers.read
            await until(lambda: readers.read > read + 200)
            if fault == "freeze":
                standby.thaw()
            else:
                await asyncio.to_thread(cluster.restart, standby)
            await until(lambda: follows(session, service, standby))
            before = await reads(session, service, "standby")
            await until(lambda: is_more(session, service, before + 100))
    print(f"{fault}: {readers.statuses}, slowest {readers.slowest_s:.2f} s")
    assert set(readers.statuses) == {200}, readers.refused
    assert set(w.statuses) == {201}


async def is_more(session: aiohttp.ClientSession, service: Service, count: float) -> bool:
    return await reads(session, service, "standby") > count


async def test_standby_promoted__under_load__reads_go_on(
    synchronous_cluster: Cluster,
) -> None:
    cluster = synchronous_cluster
    one, other = cluster.standbys
    urls = urls_of(cluster.primary, one, other)
    urls["database_url"] = cluster.url()
    settings = {**urls, "watch_s": 0.2, "read_lag_s": 20}
    async with Service("commerce", **settings) as service, aiohttp.ClientSession() as session:
        await until(lambda: is_any(session, service, one, other))
        first = one if await follows(session, service, one) else other
        second = other if first is one else one
        lists = [f"{service.url}/invoices", f"{service.url}/users"]
        async with Readers(lists).running() as readers:
            await until(lambda: readers.read > 100)
            await asyncio.to_thread(cluster.primary.kill)
            await asyncio.to_thread(cluster.promote, first)
            # The other one follows it, and takes over.
            await until(lambda: follows(session, service, second))
            number = await until(lambda: issued(session, service))
            await until(lambda: is_listed(session, service, number))
    assert set(readers.statuses) == {200}, readers.statuses


async def is_any(session: aiohttp.ClientSession, service: Service, *nodes: Node) -> bool:
    return any([await follows(session, service, node) for node in nodes])


async def issued(session: aiohttp.ClientSession, service: Service) -> int | None:
    body = {"user_id": 1, "amount": 100, "label": "work"}
    async with session.post(f"{service.url}/invoices", json=body) as response:
        answer = await response.json()
        return answer["id"] if response.status == 201 else None


async def is_listed(session: aiohttp.ClientSession, service: Service, number: int) -> bool:
    return number in await listed(session, service)


async def test_replay__in_the_way_of_a_list__read_again_on_the_primary(
    cluster: Cluster, standby: Node
) -> None:
    standby.configure(max_standby_streaming_delay="0")
    async with near(cluster.primary, standby.url()) as (database, standbys):
        begun = asyncio.Event()

        async def work(connection: Connection) -> bool:
            """Hold a lock for long, unless this is the primary; tell whether it is."""
            if not await connection.fetchval("SELECT pg_is_in_recovery()"):
                return True
            await connection.execute("BEGIN; LOCK TABLE invoices IN ACCESS SHARE MODE")
            begun.set()
            await connection.execute("SELECT pg_sleep(30)")
            return False

        reading = asyncio.create_task(database.read(work))
        await begun.wait()
        run(cluster.primary, "BEGIN; LOCK TABLE invoices; COMMIT")
        assert await reading
        assert standbys.reads["primary", "conflict"] == 1


async def test_standby_lost__lists_wait_for_their_own_half_of_the_primarys_pool(
    cluster: Cluster, standby: Node
) -> None:
    async with near(cluster.primary, standby.url(), pool_connections=2) as (database, standbys):
        await asyncio.to_thread(standby.kill)
        release = asyncio.Event()

        async def work(_: Connection) -> None:
            await release.wait()

        reading = [asyncio.create_task(database.read(work)) for _ in range(20)]
        await until(lambda: database.pool_use.waiting == 19)
        async with database.connection() as connection:  # at once
            assert await connection.fetchval("SELECT 1") == 1
        release.set()
        await asyncio.gather(*reading)
        assert standbys.reads.total() == 20


@asynccontextmanager
async def balancer(*nodes: Node) -> AsyncIterator[int]:
    """The port of a balancer: each connection goes to the next one of the servers."""
    turns = itertools.cycle(nodes)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_connection("127.0.0.1", next(turns).port)
        await asyncio.gather(pump(reader, here), pump(there, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        server.close()


async def test_one_name__several_standbys__only_the_one_that_is_watched_is_read_and_not_for_long(
    synchronous_cluster: Cluster,
) -> None:
    cluster = synchronous_cluster

    async def tell(connection: Connection) -> int | None:
        """Which standby this is, by its port; None for the primary."""
        port = "CASE WHEN pg_is_in_recovery() THEN current_setting('port')::int END"
        found: int | None = await connection.fetchval(f"SELECT {port}, pg_sleep(0.01)")
        return found

    async with balancer(*cluster.standbys) as port:
        read_url = f"postgresql://postgres@127.0.0.1:{port}/rowlock"
        async with near(cluster.primary, read_url) as (database, standbys):
            with capture_logs() as lines:
                found: set[int | None] = set()
                # 20 looks at the standby: without a pause it would be tried after each.
                until_s = asyncio.get_running_loop().time() + 20 * WATCH_S
                while asyncio.get_running_loop().time() < until_s:
                    found.update(await asyncio.gather(*(database.read(tell) for _ in range(6))))
            assert standbys.reads["primary", "lost"] > 0
            assert standbys.lag is None
    assert len(found - {None}) <= 1
    events = Counter(line["event"] for line in lines)
    assert events["lists_from_standby"] <= 1, events
    assert events["standby_not_usable"] == 1, events


async def test_csv__standby_killed_in_the_middle__goes_on_from_the_primary(
    cluster: Cluster, standby: Node
) -> None:
    run(cluster.primary, f"UPDATE users SET balance = {ENTRIES} WHERE id = 1; {POST}")
    await until(lambda: is_replayed(cluster.primary, standby))
    async with serving(cluster.primary, standby) as (service, session):
        url = f"{service.url}/user/1/statement"
        # Far more than the buffers of a connection take: the rest is read afterwards.
        async with session.get(url, headers={"Accept": "text/csv"}) as response:
            begun = await response.content.readexactly(100)
            await asyncio.to_thread(standby.kill)
            lines = (begun + await response.content.read()).decode().splitlines()
        assert [int(line.split(",")[3]) for line in lines[1:]] == [*range(1, ENTRIES + 1)]
        found = await scraped(session, service)
        assert found.value("rowlock_list_reads_total", target="standby") > 0
        assert found.value("rowlock_list_reads_total", target="primary") > 0


async def test_wrong_cluster__named_at_start_and_by_doctor(
    cluster: Cluster, cluster_seed: Any, server_url: str, database_url: str
) -> None:
    settings = urls_of(cluster.primary) | {"read_database_url": database_url}
    del settings["events_read_database_url"]
    status, output = await rowlock("serve", "commerce", **settings)
    assert status == 1
    assert "ROWLOCK_READ_DATABASE_URL" in output, output
    assert "it is a copy of another database" in output
    status, output = await doctor(**settings)
    assert status == 1
    assert "FAIL ROWLOCK_READ_DATABASE_URL: " in output, output


async def test_other_database_of_the_cluster__refused(cluster: Cluster, standby: Node) -> None:
    settings = urls_of(cluster.primary, standby)
    settings["read_database_url"] = standby.url("rowlock_events")
    status, output = await rowlock("serve", "commerce", **settings)
    assert status == 1
    assert "it is a copy of another database" in output


async def test_url_of_the_primary__doctor_warns_and_lists_are_read_there(
    cluster: Cluster,
) -> None:
    primary = cluster.primary
    settings = urls_of(primary, primary)
    status, output = await doctor(**settings)
    assert status == 0, output
    assert f"warn main standby 127.0.0.1:{primary.port}: it is the primary" in output
    async with Service("commerce", **settings) as service, aiohttp.ClientSession() as session:
        number = await issue(session, service)
        assert number in await listed(session, service)


async def test_doctor__standby_near__said_with_its_connections(
    cluster: Cluster, standby: Node
) -> None:
    status, output = await doctor(**urls_of(cluster.primary, standby))
    assert status == 0, output
    assert f"ok   main standby 127.0.0.1:{standby.port}: " in output
    assert f"ok   connections: up to 35 of 117 at the standby 127.0.0.1:{standby.port}\n" in output
    run(standby, "SELECT pg_wal_replay_pause()")
    run(cluster.primary, "CREATE TABLE later ()")
    status, output = await doctor(read_lag_s=2, **urls_of(cluster.primary, standby))
    assert status == 1
    assert "was not near within 2 s" in output, output
    standby.kill()
    status, output = await doctor(**urls_of(cluster.primary, standby))
    assert status == 1
    assert f"FAIL main standby 127.0.0.1:{standby.port}: it can't be reached" in output, output
