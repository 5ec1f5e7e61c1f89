"""An upgrade from the previous release: what is stored stays, and both may serve side by side."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import asyncpg

from tests.support.contract import bearer
from tests.support.money import assert_money_conserved
from tests.support.polling import until
from tests.support.processes import doctor, rowlock
from tests.upgrade.conftest import Serve, Urls

TOKENS = {name: bearer(f"development-{name}-token") for name in ("projects", "events")}
LISTS = {
    "commerce": (
        *("/api/users/ada", "/user/1", "/user/1/ledger", "/orders", "/products", "/services"),
        *("/invoices/1", "/invoices?user_id=1", "/service-orders", "/service-orders/223"),
    ),
    "projects": ("/projects", "/projects/1", "/deployments", "/users/1/deployment-stats"),
    "events": ("/events?limit=100", "/events?subject=invoice:1"),
}
# Each service's writes: method, path and body. They all succeed on the demo data.
WRITES: dict[str, list[tuple[str, str, Any]]] = {
    "commerce": [
        ("POST", "/api/orders", {"order": {"items": ["netflix"], "user_id": "ada"}}),
        ("POST", "/orders", {"items": [{"productId": 2, "quantity": 3}], "userId": 2}),
        ("POST", "/invoices", {"user_id": 1, "amount": 700, "label": "Upgrade"}),
        ("POST", "/invoices/3/pay", None),
        (
            "POST",
            "/service-orders",
            {"datetime": "2031-05-01T12:00:00Z", "totalfee": 1, "services": ["123"]},
        ),
    ],
    "projects": [("POST", "/projects/1/deployment", None)],
}

Answer = tuple[int, Any]
Migrate = Callable[[], Awaitable[None]]


async def ask(
    session: aiohttp.ClientSession,
    urls: Urls,
    service: str,
    method: str,
    path: str,
    body: Any = None,
    key: str | None = None,
) -> Answer:
    headers = TOKENS.get(service, {}) | ({"Idempotency-Key": key} if key else {})
    async with session.request(
        method, urls[service] + path, json=body, headers=headers
    ) as response:
        return response.status, await response.json()


async def read_all(session: aiohttp.ClientSession, urls: Urls) -> dict[str, Answer]:
    return {
        path: await ask(session, urls, service, "GET", path)
        for service, paths in LISTS.items()
        for path in paths
    }


async def write_all(session: aiohttp.ClientSession, urls: Urls) -> dict[str, Answer]:
    """Send every write with a key; return the answers."""
    return {
        f"{method} {path}": await ask(session, urls, service, method, path, body, f"key {path}")
        for service, writes in WRITES.items()
        for method, path, body in writes
    }


async def is_settled(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    """Whether no order is pending and no event undelivered."""
    return not await connection.fetchval(
        "SELECT exists(SELECT FROM orders WHERE status = 'pending') OR exists("
        "SELECT FROM outbox, outbox_cursor AS last "
        "WHERE (outbox.xid, outbox.position) > (last.xid, last.position))"
    )


async def test_upgrade__data_of_the_previous_release__is_served_as_before(
    databases: dict[str, str], serve: Serve, migrate: Migrate
) -> None:
    connection = await asyncpg.connect(databases["database_url"])
    async with aiohttp.ClientSession() as session:
        async with serve("old") as urls:
            written = await write_all(session, urls)
            assert {status for status, _ in written.values()} <= {200, 201}
            await until(lambda: is_settled(connection))
            before = await read_all(session, urls)
        await migrate()
        async with serve("new") as urls:
            assert await read_all(session, urls) == before
            assert await write_all(session, urls) == written  # replayed by their keys
    await assert_money_conserved(connection)
    await connection.close()


async def test_new_release__schema_of_the_previous_one__refused_while_the_old_one_serves_on(
    databases: dict[str, str], serve: Serve
) -> None:
    async with serve("old") as urls, aiohttp.ClientSession() as session:
        status, printed = await rowlock("serve", "commerce", **databases)
        assert status == 1
        assert "lacks the migrations" in printed
        assert (await ask(session, urls, "commerce", "GET", "/user/1"))[0] == 200


async def test_rolling__both_releases_on_the_new_schema__each_write_once(
    databases: dict[str, str], serve: Serve, migrate: Migrate
) -> None:
    """Both get every keyed write, and many more at once that meet at the same rows and lists."""
    rng = random.Random(7)
    connection = await asyncpg.connect(databases["database_url"])
    async with serve("old") as old, aiohttp.ClientSession() as session:
        await migrate()  # the old one goes on meanwhile
        async with serve("new") as new:
            first, second = await asyncio.gather(write_all(session, old), write_all(session, new))
            assert first == second
            keyed = [
                (
                    "commerce",
                    "POST",
                    "/invoices",
                    {"user_id": 1, "amount": n, "label": "x"},
                    f"k{n}",
                )
                for n in range(1, 41)
            ]
            calls: list[Awaitable[Answer]] = [
                ask(session, urls, *call) for call in keyed for urls in (old, new)
            ]
            for n in range(60):
                urls = rng.choice((old, new))
                order = {"items": [{"productId": 1, "quantity": 1}], "userId": rng.randint(1, 4)}
                at = f"2032-{rng.randint(1, 12):02}-01T{rng.randint(0, 23):02}:00:00Z"
                booking = {"datetime": at, "totalfee": n, "services": ["123"]}
                calls.append(ask(session, urls, "commerce", "POST", "/orders", order))
                calls.append(ask(session, urls, "commerce", "POST", "/service-orders", booking))
                project = f"/projects/{rng.randint(1, 5)}/deployment"
                calls.append(ask(session, urls, "projects", "POST", project))
            statuses = Counter(status for status, _ in await asyncio.gather(*calls))
            assert set(statuses) <= {201, 409}, statuses
            await until(lambda: is_settled(connection))
    assert await connection.fetchval("SELECT count(*) FROM invoices WHERE label = 'x'") == 40
    assert await connection.fetchval(
        "SELECT max(position) = count(*) AND min(position) = 1 FROM deployments"
    )
    await assert_money_conserved(connection)
    await assert_events_stored_once(connection, databases["events_database_url"])
    await connection.close()
    status, printed = await doctor(**databases)
    assert status == 0, printed


async def test_rolling__api_key__new_processes_take_it_and_old_ones_know_none(
    databases: dict[str, str], serve: Serve, migrate: Migrate
) -> None:
    async with serve("old") as old, aiohttp.ClientSession() as session:
        await migrate()
        async with serve("new") as new:
            for service, path in (("projects", "/projects"), ("events", "/events")):
                body = {"name": "partner", "scopes": [f"{service}:read"]}
                async with session.post(
                    new[service] + "/keys", json=body, headers=TOKENS[service]
                ) as response:
                    assert response.status == 201
                    headers = bearer((await response.json())["secret"])
                for urls, expected in ((new, 200), (old, 401)):
                    async with session.get(urls[service] + path, headers=headers) as response:
                        assert response.status == expected
            connection = await asyncpg.connect(databases["database_url"])
            await until(lambda: is_settled(connection))  # old relays deliver its events, too
            await connection.close()


async def test_rolling__new_relay_before_an_old_events_service__all_stored_without_actors(
    databases: dict[str, str], serve: Serve, migrate: Migrate
) -> None:
    await migrate()
    connection = await asyncpg.connect(databases["database_url"])
    async with (
        serve("old", "events") as old,
        serve("new", "commerce", "projects", events_url=old["events"]) as new,
        aiohttp.ClientSession() as session,
    ):
        written = await write_all(session, new)
        assert {status for status, _ in written.values()} <= {200, 201}
        await until(lambda: is_settled(connection))
    assert await connection.fetchval("SELECT count(*) FROM outbox_dead_letters") == 0
    actors = "SELECT array_agg(DISTINCT actor ORDER BY actor) FROM outbox WHERE actor IS NOT NULL"
    assert await connection.fetchval(actors) == ["anonymous", "system", "token"]
    await assert_events_stored_once(connection, databases["events_database_url"])
    await connection.close()


async def assert_events_stored_once(
    connection: "asyncpg.Connection[asyncpg.Record]", events_url: str
) -> None:
    """Each order, invoice and deployment has left its event, once."""
    events = await asyncpg.connect(events_url)
    rows = await events.fetch(
        "SELECT name, count(*) AS events, count(DISTINCT event_id) AS distinct "
        "FROM events GROUP BY name"
    )
    await events.close()
    stored = Counter({row["name"]: row["events"] for row in rows})
    assert all(row["events"] == row["distinct"] for row in rows)
    for table, names in {
        "invoices": ["invoice.created"],
        "deployments": ["deployment.created"],
        "orders": ["order.created", "benefit_order.placed"],
    }.items():
        rows_there = await connection.fetchval(f"SELECT count(*) FROM {table}")
        assert sum(stored[name] for name in names) == rows_there, table
