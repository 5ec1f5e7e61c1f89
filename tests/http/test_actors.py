"""The actor of a request, on the events and the ledger entries that it leads to."""

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from pytest_aiohttp.plugin import AiohttpClient, AiohttpServer

from rowlock.services import EVENTS, PROJECTS
from rowlock.settings import Settings
from tests.support.contract import WRITES, bearer, send
from tests.support.panel import add_projects
from tests.support.roles import create_app
from tests.support.tenant import AUDIENCE, DOMAIN, KeyServer, public, token
from tests.support.types import Client, Connection, Serve

OPENING = "opening_balance"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


async def events_of(connection: Connection, request_id: str) -> list[tuple[str, str | None]]:
    rows = await connection.fetch(
        "SELECT name, actor FROM outbox WHERE request_id = $1 ORDER BY xid, position", request_id
    )
    return [(row["name"], row["actor"]) for row in rows]


async def entries(connection: Connection) -> list[tuple[str, str | None]]:
    rows = await connection.fetch("SELECT reason, actor FROM ledger_entries ORDER BY id")
    return [(row["reason"], row["actor"]) for row in rows]


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "token"])
@pytest.mark.parametrize("route", WRITES, ids=" ".join)
async def test_actor__any_write__on_all_its_events_and_entries(
    clients: dict[str, Client],
    serve: Serve,
    connection: Connection,
    route: tuple[str, str, str],
    is_open: bool,
) -> None:
    service, method, path = route
    client = clients[service]
    headers = {"X-Request-ID": "mine-1"}
    actor = "token" if service == "projects" else "anonymous"
    if service == "commerce" and not is_open:
        client, actor = await serve(commerce_token="secret"), "token"
        headers |= bearer("secret")
    if path.endswith("webhook"):
        actor = "project:1"
    moved = len(await entries(connection))
    response = await send(client, method, path, WRITES[route], key=None, **headers)
    assert response.status < 300
    events = await events_of(connection, "mine-1")
    assert events
    assert {by for _, by in events} == {actor}
    if path in {"/api/orders", "/invoices/{id}/pay"}:
        [(_, by)] = (await entries(connection))[moved:]
        assert by == actor


@pytest.mark.parametrize("secret", [None, "secret"], ids=["open", "token"])
async def test_actor__account_opened_by_a_request__on_its_opening_entry(
    serve: Serve, connection: Connection, secret: str | None
) -> None:
    client = await serve(commerce_token=secret)
    actor = "token" if secret else "anonymous"
    headers = {"X-Request-ID": "mine-1"} | (bearer(secret) if secret else {})
    response = await client.get("/api/users/grace", headers=headers)
    assert response.status == 200
    assert await events_of(connection, "mine-1") == [("user.created", actor)]
    assert await entries(connection) == [(OPENING, actor)]


@pytest.mark.parametrize(
    ("subject", "actor"),
    [
        ("auth0|1", "auth0|1"),
        ("google-oauth2|1", "auth0|google-oauth2|1"),
        ("x" * 255, "auth0|" + "x" * 255),
        (" ", "auth0| "),
    ],
)
async def test_actor__user_of_the_tenant__on_events_that_the_events_service_takes(
    aiohttp_client: AiohttpClient,
    aiohttp_server: AiohttpServer,
    settings: Settings,
    database_url: str,
    events_database_url: str,
    connection: Connection,
    key: rsa.RSAPrivateKey,
    subject: str,
    actor: str,
) -> None:
    tenant = KeyServer()
    tenant.entries = [public(key, "one")]
    tenant.url = str((await aiohttp_server(tenant.app())).make_url("/"))
    settings = settings.changed(auth0_domain=DOMAIN, auth0_audience=AUDIENCE, auth0_url=tenant.url)
    client = await aiohttp_client(create_app(PROJECTS, settings, database_url))
    await add_projects(connection, 1)
    headers = bearer(token(key, sub=subject)) | {"X-Request-ID": "mine-1"}
    response = await client.post("/projects/1/deployment", headers=headers)
    assert response.status == 201
    assert await events_of(connection, "mine-1") == [("deployment.created", actor)]
    events = await aiohttp_client(create_app(EVENTS, settings, events_database_url))
    event = {"name": "x", "payload": {}, "actor": actor}
    stored = await events.post(
        "/events", json=event, headers=bearer(settings.addresses.events_token)
    )
    assert (await stored.json())["actor"] == actor
