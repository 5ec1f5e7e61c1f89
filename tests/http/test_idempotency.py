"""Idempotency-Key over HTTP: one effect and one answer for each key, whatever is sent how often."""

import asyncio
from typing import Any

import pytest
from aiohttp import ClientResponse
from pytest_aiohttp.plugin import AiohttpClient
from yarl import URL

from rowlock.http.service import Service
from rowlock.services import COMMERCE, PROJECTS
from rowlock.settings import Settings
from tests.support.contract import UNKEPT, WRITES, bearer, refusal, routes_of, send, stored
from tests.support.panel import SECRET, add_deployment, add_projects
from tests.support.polling import until
from tests.support.roles import create_app
from tests.support.services import quiet, with_tasks
from tests.support.types import Client, Connection, Serve, Unchanged


def test_writes__are_all_routes_that_write() -> None:
    routes = {
        (service.name, *route) for service in (COMMERCE, PROJECTS) for route in routes_of(service)
    }
    kept = {route for route in routes if route[1:] not in UNKEPT}
    assert {route for route in kept if route[1] not in {"GET", "HEAD"}} == set(WRITES)


INVOICE = {"user_id": 1, "amount": 100, "label": "Work"}
JSON = {"Content-Type": "application/json"}
# What 0.1.0 has kept: no normal digest, and all callers of a service in one name space.
AS_BEFORE = """
    UPDATE idempotency_keys SET
        service = split_part(service, ' ', 1), normal_digest = NULL, noted_at = NULL"""
# What 0.2.0 keeps, too, of a caller's own key: it has the service's name.
COPY = """
    INSERT INTO idempotency_keys
        (service, key, digest, status, headers, body, created_at, noted_at)
    SELECT split_part(service, ' ', 1), key, digest, status, headers, body, created_at, noted_at
    FROM idempotency_keys"""


Answered = tuple[int, dict[str, str], bytes]  # status, headers, body


async def answer(response: ClientResponse) -> tuple[Answered, bool]:
    """All that a replay must repeat, and whether it is one."""
    headers = {
        name: text
        for name, text in response.headers.items()
        if name not in {"Date", "X-Request-ID", "Idempotency-Replayed"}
    }
    if "Location" in headers:
        headers["Location"] = URL(headers["Location"]).path  # of whichever service was asked
    replayed = response.headers.get("Idempotency-Replayed")
    assert replayed in {None, "true"}
    return (response.status, headers, await response.read()), replayed == "true"


@pytest.mark.parametrize("route", WRITES, ids=" ".join)
async def test_key__any_write_sent_again__replayed_and_nothing_changes(
    clients: dict[str, Client], connection: Connection, route: tuple[str, str, str]
) -> None:
    service, method, path = route
    first, replayed = await answer(
        await send(clients[service], method, path, WRITES[route], key="k")
    )
    assert first[0] < 300
    assert not replayed
    before = await stored(connection)
    for _ in range(2):
        again = await send(clients[service], method, path, WRITES[route], key="k")
        assert await answer(again) == (first, True)
    assert await stored(connection) == before


async def test_key__rejection__replayed_even_when_it_would_be_taken_now(
    commerce: Client, ada: int, catalogue: dict[str, int], connection: Connection
) -> None:
    order = {"order": {"items": ["gym"], "user_id": "ada"}}
    await connection.execute("UPDATE users SET balance = 1")
    refused = await send(commerce, "POST", "/api/orders", order, key="k")
    assert await refusal(refused) == (400, "insufficient_balance")
    await connection.execute("UPDATE users SET balance = 50000")
    again = await send(commerce, "POST", "/api/orders", order, key="k")
    assert await answer(again) == ((await answer(refused))[0], True)
    assert (await send(commerce, "POST", "/api/orders", order, key="other")).status == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "headers"),
    [
        ("POST", "/invoices", {"user_id": 1, "amount": 101, "label": "Work"}, {}),
        ("POST", "/invoices/1/pay", None, {}),
        ("POST", "/api/orders", {"order": {"items": ["netflix"], "user_id": "ada"}}, {}),
        ("DELETE", "/service-orders/1", None, {}),
        ("DELETE", "/service-orders/1", None, {"If-Match": "*"}),
    ],
)
async def test_key__another_request__422(
    commerce: Client,
    ada: int,
    catalogue: dict[str, int],
    connection: Connection,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    headers: dict[str, Any],
) -> None:
    good = {"user_id": 1, "amount": 100, "label": "Work"}
    assert (await send(commerce, "POST", "/invoices", good, key="k")).status == 201
    before = await stored(connection)
    reused = await send(commerce, method, path, body, key="k", **headers)
    assert reused.status == 422
    assert (await reused.json())["error"] == "idempotency_key_reused"
    assert await stored(connection) == before
    again = await send(commerce, "POST", "/invoices", good, key="k")
    assert (again.status, again.headers["Idempotency-Replayed"]) == (201, "true")


@pytest.mark.parametrize(
    "written",
    [
        '{"label":"Work","amount":100,"user_id":1}',
        ' { "user_id" : 1,\n"amount":100, "label": "Work" }\n',
        '{"user_id":1,"amount":100,"label":"\\u0057ork"}',
    ],
)
async def test_key__same_json_written_otherwise__replayed(
    commerce: Client, ada: int, written: str
) -> None:
    first = await send(commerce, "POST", "/invoices", INVOICE, key="k")
    again = await commerce.post("/invoices", data=written, headers=JSON | {"Idempotency-Key": "k"})
    assert await answer(again) == ((await answer(first))[0], True)


@pytest.mark.parametrize("written", ["1.0", "1e0", "1", "0.1e1", "10E-1"])
async def test_key__number_written_otherwise__the_same_request(
    clients: dict[str, Client], written: str
) -> None:
    """In a field that the webhook ignores, as not every field takes every form."""
    headers = JSON | {"Authorization": SECRET, "Idempotency-Key": "k"}
    report = '{{"id": 1, "status": "building", "attempt": {}}}'
    webhooks = clients["projects"]
    answers = [
        await webhooks.post("/deployment/webhook", data=report.format(form), headers=headers)
        for form in ("1", written, "2")
    ]
    assert [response.status for response in answers] == [200, 200, 422]
    assert await answers[0].read() == await answers[1].read()


async def test_key__default_given_or_not__another_request(commerce: Client, ada: int) -> None:
    """Not the values as loaded: a new default in the next release must not change digests."""
    bare = await send(commerce, "POST", "/invoices/1/pay", key="k")
    given = await send(commerce, "POST", "/invoices/1/pay", {}, key="k")
    assert (bare.status, given.status) == (404, 422)


NONE: dict[str, str] = {}
ONE, OTHER = {"If-Match": '"1"'}, {"If-None-Match": '"1"'}


@pytest.mark.parametrize(
    ("first", "second"), [(NONE, ONE), (NONE, OTHER), (ONE, OTHER), (ONE, ONE | OTHER)]
)
async def test_key__preconditions_differ__another_request(
    clients: dict[str, Client], first: dict[str, str], second: dict[str, str]
) -> None:
    path = "/service-orders/{id}"
    assert (await send(clients["commerce"], "DELETE", path, key="k", **first)).status == 204
    again = await send(clients["commerce"], "DELETE", path, key="k", **second)
    assert await refusal(again) == (422, "idempotency_key_reused")


async def test_key__invalid_request__not_kept(
    commerce: Client, ada: int, connection: Connection
) -> None:
    bad = {"user_id": 1, "amount": -1, "label": "Work"}
    good = bad | {"amount": 1}
    assert (await send(commerce, "POST", "/invoices", bad, key="k")).status == 400
    assert (await answer(await send(commerce, "POST", "/invoices", good, key="k")))[1] is False
    assert await connection.fetchval("SELECT count(*) FROM invoices") == 1


async def test_key__service_failed__not_kept(
    serve: Serve, ada: int, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    commerce = await serve(lock_timeout_s=0.01)
    invoice = {"user_id": 1, "amount": 1, "label": "Work"}
    await send(commerce, "POST", "/invoices", invoice, key="invoice")
    async with connection.transaction():
        await connection.fetch("SELECT FROM users FOR UPDATE")
        failed = await send(commerce, "POST", "/invoices/1/pay", key="k")
        assert await refusal(failed) == (503, "database_busy")
    paid = await send(commerce, "POST", "/invoices/1/pay", key="k")
    assert (paid.status, "Idempotency-Replayed" in paid.headers) == (200, False)


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("k", "k"),
        ('"k"', "k"),
        ('"a\\"b\\\\c"', 'a"b\\c'),
        ('a"b', 'a"b'),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("a, b; c=d", "a, b; c=d"),
        ("x" * 255, "x" * 255),
        ('"' + "x" * 255 + '"', "x" * 255),
    ],
)
async def test_key__bare_or_quoted__the_same(
    commerce: Client, ada: int, connection: Connection, given: str, key: str
) -> None:
    invoice = {"user_id": 1, "amount": 1, "label": "Work"}
    assert (await send(commerce, "POST", "/invoices", invoice, key=given)).status == 201
    assert await connection.fetchval("SELECT key FROM idempotency_keys") == key
    quoted = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    again = await send(commerce, "POST", "/invoices", invoice, key=quoted)
    assert again.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    "key",
    ["", '""', '"', '"k', '"k"x', '"a"b"', "x" * 256, '"' + "x" * 256 + '"', "\u20ac", "a\tb"],
)
@pytest.mark.parametrize("path", ["/invoices", "/api/orders"])
async def test_key__malformed__400(
    commerce: Client, ada: int, catalogue: dict[str, int], unchanged: Unchanged, key: str, path: str
) -> None:
    async with unchanged():
        response = await send(commerce, "POST", path, WRITES["commerce", "POST", path], key=key)
        assert await refusal(response) == (400, "invalid_request")


async def test_key__two_headers__400(commerce: Client, ada: int) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    invoice = {"user_id": 1, "amount": 1, "label": "Work"}
    response = await commerce.post("/invoices", json=invoice, headers=headers)
    assert await refusal(response) == (400, "invalid_request")


async def test_key__same_key_in_both_services__two_keys(clients: dict[str, Client]) -> None:
    first = await send(clients["projects"], "POST", "/projects/1/deployment", key="k")
    other = await send(clients["commerce"], "POST", "/invoices/1/pay", key="k")
    assert (first.status, other.status) == (201, 200)


async def test_key__many_at_once_in_two_engines__one_effect_each(
    serve: Serve, ada: int, connection: Connection, aiohttp_client: AiohttpClient
) -> None:
    clients = [await serve(), await serve()]

    async def issue(number: int) -> tuple[Answered, bool]:
        body = {"user_id": 1, "amount": 1 + number % 5, "label": "Work"}
        client = clients[number // 5 % 2]
        return await answer(await send(client, "POST", "/invoices", body, key=f"key-{number % 5}"))

    answers = await asyncio.gather(*map(issue, range(100)))
    assert await connection.fetchval("SELECT count(*) FROM invoices") == 5
    assert sum(not replayed for _, replayed in answers) == 5
    for number, (answered, _) in enumerate(answers):
        assert answered == answers[number % 5][0]
        assert answered[0] == 201


async def test_key__read__ignored(commerce: Client, ada: int, connection: Connection) -> None:
    response = await commerce.get("/user/1", headers={"Idempotency-Key": "k"})
    assert response.status == 200
    assert not await connection.fetchval("SELECT count(*) FROM idempotency_keys")


async def test_key__expired__free_for_another_request(
    commerce: Client, ada: int, connection: Connection
) -> None:
    invoice = {"user_id": 1, "amount": 1, "label": "Work"}
    for key in ("young", "old"):
        await send(commerce, "POST", "/invoices", invoice, key=key)
    await connection.execute(
        "UPDATE idempotency_keys SET created_at = now() - CASE key "
        "WHEN 'old' THEN interval '24 hours 1 second' ELSE interval '23 hours' END"
    )
    other = invoice | {"amount": 2}
    assert (await send(commerce, "POST", "/invoices", other, key="young")).status == 422
    for replayed in (False, True):
        response = await send(commerce, "POST", "/invoices", other, key="old")
        body = await response.json()
        assert (body["id"], body["amount"]) == (3, 2)
        assert ("Idempotency-Replayed" in response.headers) is replayed


@pytest.mark.parametrize("service", [COMMERCE, PROJECTS], ids=lambda service: service.name)
async def test_purge__expired_and_not__only_expired_ones_go(
    aiohttp_client: AiohttpClient,
    database_url: str,
    connection: Connection,
    settings: Settings,
    service: Service,
) -> None:
    await connection.execute(
        """
        INSERT INTO idempotency_keys (service, key, digest, status, headers, body, created_at)
        SELECT $1, 'k' || hours, sha256(''), 200, '{}', '',
            now() - make_interval(hours => hours)
        FROM generate_series(20, 28) AS hours""",
        service.name,
    )
    quick = settings.changed(housekeeping_rows=2)
    only = with_tasks(service, "idempotency_purge")
    await aiohttp_client(create_app(only, quick, database_url))
    keys = "SELECT array_agg(key ORDER BY key) FROM idempotency_keys"

    async def is_purged() -> bool:
        left: list[str] = await connection.fetchval(keys)
        return left == ["k20", "k21", "k22", "k23"]

    await until(is_purged)


async def test_key__projects_token_missing__401_and_nothing_kept(
    aiohttp_client: AiohttpClient, database_url: str, settings: Settings, connection: Connection
) -> None:
    app = create_app(quiet(PROJECTS), settings, database_url)
    await add_projects(connection, 1)
    client = await aiohttp_client(app)
    response = await send(client, "POST", "/projects/1/deployment", key="k")
    assert response.status == 401
    headers = bearer(settings.addresses.projects_token)
    response = await send(client, "POST", "/projects/1/deployment", key="k", **headers)
    assert response.status == 201
    stranger = await send(client, "POST", "/projects/1/deployment", key="k")
    assert stranger.status == 401


# --- Name spaces ------------------------------------------------------------------------------


async def report(
    client: Client, deployment_id: int, status: str = "building", **headers: str
) -> ClientResponse:
    body = {"id": deployment_id, "status": status}
    headers |= {"Idempotency-Key": "run-42-done"}
    return await client.post("/deployment/webhook", json=body, headers=headers)


@pytest.fixture
async def secrets(connection: Connection) -> dict[str, str]:
    """Two projects with a pending deployment each: their ids are 1 and 2."""
    for project_id in await add_projects(connection, 2):
        await add_deployment(connection, project_id)
    return {"Authorization": SECRET}


async def kept(connection: Connection) -> list[tuple[str, bool]]:
    """Whose keys are kept, and whether they are copies for 0.1.0."""
    rows = await connection.fetch(
        "SELECT service, "
        "noted_at IS NOT DISTINCT FROM created_at AND normal_digest IS NULL AS is_copy "
        "FROM idempotency_keys ORDER BY service"
    )
    return [(row["service"], row["is_copy"]) for row in rows]


async def test_key__webhooks_of_two_projects__two_keys(
    projects: Client, secrets: dict[str, str], connection: Connection
) -> None:
    first, second = [await report(projects, number, **secrets) for number in (1, 2)]
    assert [(await response.json())["id"] for response in (first, second)] == [1, 2]
    for number, before in ((1, first), (2, second)):
        again = await report(projects, number, **secrets)
        assert await answer(again) == ((await answer(before))[0], True)
    reused = await report(projects, 1, "done", **secrets)
    assert await refusal(reused) == (422, "idempotency_key_reused")
    statuses = "SELECT array_agg(status) FROM deployments"
    assert await connection.fetchval(statuses) == ["building", "building"]


async def test_key__webhook_then_the_panel_and_the_other_way__two_keys(
    projects: Client, secrets: dict[str, str], connection: Connection
) -> None:
    """The panel's answer takes the place of the webhook's copy, and is no webhook's."""
    key = "run-42-done"
    assert (await report(projects, 1, **secrets)).status == 200
    assert await kept(connection) == [("projects project:1", False)]
    await connection.execute(COPY)
    assert await kept(connection) == [("projects", True), ("projects project:1", False)]
    for replayed in (False, True):
        started = await send(projects, "POST", "/projects/{id}/deployment", key=key)
        assert (started.status, "Idempotency-Replayed" in started.headers) == (201, replayed)
    assert await kept(connection) == [("projects", False), ("projects project:1", False)]
    for number in (1, 2, 1):
        assert (await report(projects, number, **secrets)).status == 200
    assert (await send(projects, "POST", "/projects/{id}/deployment", key=key)).status == 201
    assert await connection.fetchval("SELECT count(*) FROM deployments") == 3


async def test_key__kept_by_0_1_0_for_any_caller__replayed_to_the_same_request_alone(
    projects: Client, secrets: dict[str, str], connection: Connection
) -> None:
    first = await report(projects, 1, **secrets)
    await connection.execute(AS_BEFORE)
    again = await report(projects, 1, **secrets)
    assert await answer(again) == ((await answer(first))[0], True)
    other = await report(projects, 2, **secrets)
    assert (other.status, "Idempotency-Replayed" in other.headers) == (200, False)
    assert await kept(connection) == [("projects", False), ("projects project:2", False)]
    assert await refusal(
        await send(projects, "POST", "/projects/{id}/deployment", key="run-42-done")
    ) == (422, "idempotency_key_reused")


async def test_key__expired_copy_taken_over_by_0_1_0__is_no_copy(
    projects: Client, secrets: dict[str, str], connection: Connection
) -> None:
    """It set the columns that it knew, and left those that tell a copy."""
    first = await report(projects, 1, **secrets)
    await connection.execute(COPY)
    await connection.execute("DELETE FROM idempotency_keys WHERE service <> 'projects'")
    await connection.execute("UPDATE idempotency_keys SET created_at = clock_timestamp()")
    again = await report(projects, 1, **secrets)
    assert await answer(again) == ((await answer(first))[0], True)


async def test_key__kept_by_0_1_0__replayed_by_its_exact_digest(
    commerce: Client, ada: int, connection: Connection
) -> None:
    first = await send(commerce, "POST", "/invoices", INVOICE, key="k")
    await connection.execute(AS_BEFORE)
    again = await send(commerce, "POST", "/invoices", INVOICE, key="k")
    assert await answer(again) == ((await answer(first))[0], True)
    other = await send(commerce, "POST", "/invoices", INVOICE | {"amount": 1}, key="k")
    assert await refusal(other) == (422, "idempotency_key_reused")
