"""Where names and addresses must not be: in events, and in log lines."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.engine.database import Database
from rowlock.ops import seed
from rowlock.ops.imports.files import Format, opened
from rowlock.ops.imports.kinds import PROJECTS, USERS
from rowlock.ops.imports.loading import Source, Watch, load
from rowlock.services import COMMERCE
from rowlock.settings import Settings
from tests.support.contract import BOOKING, WRITES, places, send
from tests.support.polling import until
from tests.support.roles import create_app
from tests.support.services import with_tasks
from tests.support.types import Client, Connection

REQUESTS = WRITES | {
    ("commerce", "PUT", "/service-orders/{id}"): BOOKING | {"datetime": "2031-05-01T12:00:00Z"}
}
PERSONAL = {"username", "email", "first_name", "last_name", "name_key", "email_key"}
# Each kind of event that the features leave.
KINDS = {
    "benefit_order.placed",
    "deployment.building",
    "deployment.cancelled",
    "deployment.created",
    "invoice.created",
    "invoice.paid",
    "invoice.reversed",
    "invoice.voided",
    "key.revoked",
    "order.cancelled",
    "order.created",
    "order.refunded",
    "product.changed",
    "product.created",
    "product.retired",
    "project.created",
    "service.created",
    "service_order.created",
    "service_order.deleted",
    "service_order.updated",
    "transfer.made",
    "user.anonymised",
    "user.changed",
    "user.created",
}


async def settle(
    client: AiohttpClient, connection: Connection, settings: Settings, url: str
) -> None:
    """Let the orders be settled that are pending."""
    app = create_app(with_tasks(COMMERCE, "order_processor"), settings, url)
    processor = await client(app)

    async def is_done() -> bool:
        return not await connection.fetchval("SELECT count(*) FROM orders WHERE status = 'pending'")

    await until(is_done)
    await processor.close()


async def test_events__of_every_feature__have_no_name_and_no_address(
    aiohttp_client: AiohttpClient,
    clients: dict[str, Client],
    database: Database,
    database_url: str,
    settings: Settings,
    connection: Connection,
    tmp_path: Path,
) -> None:
    changed = await clients["commerce"].patch(
        "/users/1", json={"email": "Ada@Example.com", "first_name": "Augusta"}
    )
    assert changed.status == 200
    rows = await connection.fetch("SELECT * FROM users")
    # What ends something comes last.
    for (service, method, path), body in sorted(
        REQUESTS.items(), key=lambda item: ("anonymise" in item[0][2], "cancel" in item[0][2])
    ):
        response = await send(clients[service], method, path, body, key=f"{method} {path}")
        assert response.status < 300 or path.endswith("/void"), path  # that invoice is paid
        rows += await connection.fetch("SELECT * FROM users")
    assert (await clients["commerce"].post("/invoices/3/void")).status == 200
    assert (await clients["commerce"].get("/api/users/Somebody")).status == 200
    await settle(aiohttp_client, connection, settings, database_url)
    await seed.demo(database)
    user = {"username": "zoe", "email": "zoe@example.com", "last_name": "Zimmer"}
    project = {"name": "Engine", "owner": "zoe"}
    for kind, row in ((USERS, user), (PROJECTS, project)):
        source = tmp_path / f"{kind.name}.json"
        source.write_bytes(orjson.dumps([row]))
        with opened(str(source), Format.JSON) as file:
            await load(database, [Source(file, kind)], Watch())
    rows += await connection.fetch("SELECT * FROM users")
    named = {row[field].casefold() for row in rows for field in PERSONAL if row[field]} - {
        f"anonymous-{row['id']}" for row in rows
    }
    assert {"augusta", "ada@example.com", "somebody", "zimmer", "liskov"} <= named

    events = await connection.fetch("SELECT * FROM outbox")
    assert {event["name"] for event in events} >= KINDS
    for event in events:
        payload = orjson.loads(event["payload"])
        texts = [event["subject"], event["actor"], event["request_id"]]
        for place, value in places(payload):
            assert PERSONAL.isdisjoint(place), event
            texts.append(value)
        for text in texts:
            if isinstance(text, str):
                assert text.casefold() not in named, event
                assert "@" not in text, event


@pytest.fixture
def entries() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/users/Secretname"),
        ("HEAD", "/api/users/Secretname"),
        ("GET", "/api/users/%53ecretname"),
        ("GET", "/api/users/Secretname?x=1"),
        ("POST", "/api/users/Secretname"),
        ("GET", "/api/users/Secretname/orders"),
        ("GET", "/users?username=Secretname"),
        ("GET", "/users?email=Secretname%40example.com"),
    ],
)
async def test_log__request_whose_path_or_query_names_a_user__has_the_template(
    aiohttp_client: AiohttpClient,
    database_url: str,
    settings: Settings,
    entries: list[Any],
    method: str,
    path: str,
) -> None:
    app = create_app(with_tasks(COMMERCE), settings.changed(log_requests=True), database_url)
    client = await aiohttp_client(app)
    await client.request(method, path)
    [line] = [entry for entry in entries if entry["event"] == "request"]
    assert line["path"] in {"/api/users/{user_id}", "/users"}
    assert "ecretname" not in str(entries)
