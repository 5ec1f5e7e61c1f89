"""What events say: their schemas over HTTP, and each event that there is, held to its own."""

from datetime import timedelta
from typing import Any

import asyncpg
import jsonschema_rs
import pytest

from rowlock.delivery.dead_letters import DeadLetters, Park, Replay
from rowlock.engine.database import Database
from rowlock.engine.statements import queries
from rowlock.orders.rules import RetryOrder, SettleOrder
from rowlock.orders.transactions import retry_orders, settle_orders
from rowlock.origin import CLI
from rowlock.projects.rules import CreateProject
from rowlock.projects.transactions import create_projects, rotate_secret
from rowlock.services import EVENT_TYPES
from rowlock.settings import Settings
from tests.support.contract import bearer, refusal
from tests.support.event_types import check
from tests.support.keys import add_key
from tests.support.panel import SECRET
from tests.support.types import Client, Connection

NAMES = [kind.name for kind in EVENT_TYPES.latest()]


async def read(client: Client, path: str) -> Any:
    response = await client.get(path)
    assert response.status == 200, await response.text()
    return await response.json()


async def test_schemas__list__every_name_with_a_way_to_its_schema(events: Client) -> None:
    listed = await read(events, "/events/schemas")
    assert [each["name"] for each in listed] == sorted(NAMES)
    for each in listed:
        schema = await read(events, each["url"])
        jsonschema_rs.meta.validate(schema)
        assert (schema["title"], schema["type"]) == (each["name"], "object")
        assert schema["$id"] == f"urn:rowlock:event:{each['name']}:{each['version']}"
        assert schema["description"].startswith(each["description"])
        assert schema == await read(events, f"/events/schemas/{each['name']}")
        [example] = schema["examples"]
        assert jsonschema_rs.validator_for(schema, validate_formats=True).is_valid(example)
        assert each["subject"].format_map(example)


@pytest.mark.parametrize("path", ["/events/schemas", "/events/schemas/invoice.paid"])
async def test_schemas__known_to_the_client__304(events: Client, path: str) -> None:
    response = await events.get(path)
    tag = response.headers["ETag"]
    assert response.headers["Cache-Control"] == "private, no-cache"
    for known in (tag, f'"x", W/{tag}', "*"):
        again = await events.get(path, headers={"If-None-Match": known})
        assert (again.status, again.headers["ETag"], await again.read()) == (304, tag, b"")
    for unknown in ('"x"', tag.strip('"')):
        again = await events.get(path, headers={"If-None-Match": unknown})
        assert (again.status, await again.json()) == (200, await response.json())
    head = await events.head(path)
    assert (head.status, head.headers["ETag"], await head.read()) == (200, tag, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/events/schemas/invoice",
        "/events/schemas/invoice.unpaid",
        "/events/schemas/INVOICE.PAID",
        "/events/schemas/invoice.paid%20",
        "/events/schemas/invoice.*",
        "/events/schemas/..%2F..%2Fetc",
        "/events/schemas/invoice.paid?version=2",
        "/events/schemas/invoice.paid?version=9223372036854775807",
    ],
)
async def test_schema__unknown__404(events: Client, path: str) -> None:
    assert await refusal(await events.get(path)) == (404, "event_type_not_found")


@pytest.mark.parametrize(
    "path",
    [
        *(
            f"/events/schemas/invoice.paid?{query}"
            for query in ("version=", "version=0", "version=-1", "version=1.0", "version=x", "v=1")
        ),
        "/events/schemas/invoice.paid?version=1&version=1",
        "/events/schemas/%FF",
        "/events/schemas/a%00b",
        f"/events/schemas/{'x' * 201}",
    ],
)
async def test_schema__malformed_request__400(events: Client, path: str) -> None:
    assert await refusal(await events.get(path)) == (400, "invalid_request")


@pytest.mark.parametrize("path", ["/events/schemas", "/events/schemas/invoice.paid"])
async def test_schemas__written_to__405(events: Client, path: str) -> None:
    response = await events.post(path, json={})
    assert await refusal(response) == (405, "method_not_allowed")
    assert response.headers["Allow"] == "GET,HEAD"


async def test_schemas__api_key__may_read_them_if_it_may_read_events(
    events: Client, events_database_url: str
) -> None:
    connection = await asyncpg.connect(events_database_url)
    reader = await add_key(connection, "events", name="reader", scopes=["events:read"])
    writer = await add_key(connection, "events", name="writer", scopes=["events:write"])
    await connection.close()
    for path in ("/events/schemas", "/events/schemas/invoice.paid"):
        assert (await events.get(path, headers=bearer(reader))).status == 200
        refused = await events.get(path, headers=bearer(writer))
        assert await refusal(refused) == (403, "scope_missing")


class Office:
    """Does everything that leaves an event, in both services."""

    def __init__(self, commerce: Client, projects: Client, connection: Connection) -> None:
        self._commerce = commerce
        self._projects = projects
        self._connection = connection

    async def send(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        is_panel = path.startswith(("/projects", "/deployment"))
        client = self._projects if is_panel else self._commerce
        response = await client.request(method, path, json=body, headers=headers)
        assert response.status < 300, (path, await response.text())
        return await response.json() if response.status != 204 else None

    async def people(self) -> None:
        for name, balance in (("ada", 1_000_000), ("grace", 0), ("alan", 0)):
            await self.send("POST", "/users", {"username": name, "opening_balance": balance})
        await self.send("PATCH", "/users/3", {"email": "alan@example.com", "first_name": "Alan"})
        await self.send("POST", "/users/3/anonymise")

    async def catalogue(self) -> None:
        product = {"slug": "netflix", "name": "Netflix", "price": 7599}
        await self.send("POST", "/catalogue/products", product)
        await self.send("POST", "/catalogue/services", {"name": "Moving in"})
        for path, change in (
            ("/catalogue/products/1", {"name": "Netflix HD", "price": 8999}),
            ("/catalogue/products/1", {"price": 7999}),
            ("/catalogue/services/1", {"name": "Moving out"}),
        ):
            await self.send("PATCH", path, change)
        for path in ("/catalogue/products/1", "/catalogue/services/1"):
            await self.send("POST", f"{path}/retire")
            await self.send("POST", f"{path}/restore")

    async def orders(self) -> None:
        items = [{"productId": 1, "quantity": 2}]
        for user_id in (1, 2, 1):
            await self.send("POST", "/orders", {"items": items, "userId": user_id})
        await self.send("POST", "/orders", {"items": items})  # of no user
        await self.send("POST", "/orders/3/cancel")
        async with self._connection.transaction():
            await settle_orders(self._connection, [SettleOrder(id_, 0.1) for id_ in (1, 2, 4)], 0.5)
        await self.send("POST", "/orders/1/refunds", {"amountCents": 500})
        wanted = {"order": {"items": ["netflix"], "user_id": "ada"}}
        await self.send("POST", "/api/orders", wanted)
        await self.send("POST", "/orders/5/refunds")

    async def money(self) -> None:
        for label in ("Work for April", "Work for May"):
            await self.send("POST", "/invoices", {"user_id": 1, "amount": 100, "label": label})
        for path in ("/invoices/1/pay", "/invoices/1/reverse", "/invoices/2/void"):
            await self.send("POST", path)
        transfer = {"from_user_id": 1, "to_user_id": 2, "amount": 100, "label": "Lunch"}
        await self.send("POST", "/transfers", transfer)

    async def bookings(self) -> None:
        booking = {"datetime": "2030-05-01T12:00:00Z", "totalfee": 250, "services": ["1"]}
        await self.send("POST", "/service-orders", booking)
        await self.send("PUT", "/service-orders/1", booking | {"totalfee": 300})
        await self.send("DELETE", "/service-orders/1")

    async def keys(self) -> None:
        for rate in (None, 5):
            key = {"name": f"rate-{rate or 'none'}", "scopes": ["invoices:read"], "rate": rate}
            await self.send("POST", "/keys", key | {"expires_at": "2100-01-01T00:00:00Z"})
        await self.send("POST", "/keys/rate-5/rotate", {"overlap_s": 60})
        await self.send("DELETE", "/keys/rate-5")

    async def operators(self, database_url: str) -> None:
        order = await self.send("POST", "/orders", {"items": [{"productId": 1, "quantity": 1}]})
        async with self._connection.transaction():
            await queries.orders.postpone_order(
                self._connection, order_id=order["id"], delay=timedelta(hours=1), failures=1
            )
        async with self._connection.transaction():
            await retry_orders(self._connection, [RetryOrder(order["id"], CLI)])
        event_id = await self._connection.fetchval("SELECT event_id FROM outbox LIMIT 1")
        settings = Settings()
        async with Database(database_url, settings.database) as database:
            dead_letters = DeadLetters(database, settings.batches)
            assert await dead_letters.park.submit(Park(event_id, CLI)) == 1
            assert await dead_letters.replay.submit(Replay([event_id], CLI)) == 1

    async def epochs(self) -> None:
        async with self._connection.transaction():
            await queries.epochs.declare(self._connection)

    async def deployments(self) -> None:
        project = CreateProject("Analytical Engine", 1, SECRET)
        async with self._connection.transaction():
            [id_] = await create_projects(self._connection, [project])
            await rotate_secret(self._connection, id_, SECRET, timedelta(hours=1))
        for statuses in (("building", "deploying", "done"), ("failed",), ()):
            revision = {"branch": "main", "commit": "5f3c1e9"}
            started = await self.send("POST", f"/projects/{id_}/deployment", revision)
            for status in statuses:
                report = {"id": started["id"], "status": status}
                await self.send("POST", "/deployment/webhook", report, Authorization=SECRET)
        await self.send("POST", f"/deployments/{started['id']}/cancel")


SUBSCRIPTION = {"url": "https://203.0.114.1/hook", "names": ["*"]}
READERS: tuple[tuple[str, str, Any], ...] = (  # what happens to consumers and subscriptions
    ("PUT", "/consumers/a", {}),
    ("PUT", "/consumers/a", {"from": 1}),
    ("DELETE", "/consumers/a", None),
    ("POST", "/subscriptions", SUBSCRIPTION),
    ("PATCH", "/subscriptions/1", {"names": ["invoice.*"]}),
    ("POST", "/subscriptions/1/rotate-secret", None),
    ("POST", "/subscriptions/1/test", None),
    ("POST", "/deliveries/1/resend", None),
    ("POST", "/subscriptions/1/recover", {"since": "2026-01-01T00:00:00Z"}),
    ("POST", "/subscriptions/1/disable", None),
    ("POST", "/subscriptions/1/enable", None),
    ("DELETE", "/subscriptions/1", None),
)


async def readers(events: Client, url: str) -> list[asyncpg.Record]:
    """What happens to the log's readers, which the events service writes to the log itself."""
    for method, path, body in READERS:
        response = await events.request(method, path, json=body)
        assert response.ok, (path, await response.text())
    log = await asyncpg.connect(url)
    rows = await log.fetch("SELECT name, subject, payload::text FROM events")
    await log.close()
    return list(rows)


async def test_events__everything_happens__each_name_once_at_least_and_as_its_type_says(
    commerce: Client,
    projects: Client,
    events: Client,
    connection: Connection,
    database_url: str,
    events_database_url: str,
) -> None:
    office = Office(commerce, projects, connection)
    await office.people()
    await office.catalogue()
    await office.orders()
    await office.money()
    await office.bookings()
    await office.keys()
    await office.deployments()
    await office.operators(database_url)
    await office.epochs()
    rows = await connection.fetch("SELECT name, subject, payload::text FROM outbox")
    rows += await readers(events, events_database_url)
    check(tuple(row) for row in rows)
    assert sorted({row["name"] for row in rows}) == sorted(NAMES)
