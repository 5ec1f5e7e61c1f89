"""API keys over HTTP, at every service: who may do what with one, and for how long."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from time import monotonic
from typing import Any, NamedTuple
from uuid import uuid4

import asyncpg
import orjson
import pytest
import structlog
from aiohttp import ClientResponse
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.engine.statements import queries
from rowlock.http import guesses, rates
from rowlock.http.routes import Route
from rowlock.http.service import Parts, Service
from rowlock.keys import keyring
from rowlock.keys.credentials import hash_of, new_secret
from rowlock.services import COMMERCE, EVENTS, SCOPES, SERVICES
from rowlock.settings import Settings
from tests.support.contract import address, bearer, refusal, stored, walk
from tests.support.keys import add_key
from tests.support.panel import add_deployment, add_projects
from tests.support.polling import until
from tests.support.roles import create_app
from tests.support.services import quiet, spied_on, with_tasks
from tests.support.types import Client, Connection, Serve

MANAGES = "keys:write"
UNAUTHORIZED = 401, "unauthorized"
LACKS = 403, "scope_missing"
# A route of each service that takes no more than a key, and its scope.
READS = {
    "commerce": ("/invoices", "invoices:read"),
    "projects": ("/projects", "projects:read"),
    "events": ("/events", "events:read"),
}
LOG = {
    "main": "SELECT name, subject, payload, actor, request_id FROM outbox ORDER BY xid, position",
    "events": "SELECT name, subject, payload, actor, request_id FROM events ORDER BY id",
}


class Desk(NamedTuple):
    """A service that has a token, a client that sends none, and what is behind it."""

    service: Service
    client: Client
    url: str
    connection: Connection
    settings: Settings

    @property
    def token(self) -> dict[str, str]:
        given = self.service.token(self.settings)
        assert given is not None
        return bearer(given)

    async def add_key(self, name: str = "partner", **options: Any) -> str:
        return await add_key(self.connection, self.service.name, name, **options)

    async def read(self, secret: str) -> ClientResponse:
        """Ask for what needs no more than a key with the scope to read."""
        path, _ = READS[self.service.name]
        return await self.client.get(path, headers=bearer(secret))

    async def happened(self) -> list[tuple[str, str, dict[str, Any], str, str]]:
        rows = await self.connection.fetch(LOG[self.service.database])
        return [
            (row["name"], row["subject"], orjson.loads(row["payload"]), row["actor"],
             row["request_id"])
            for row in rows
        ]  # fmt: skip


@pytest.fixture(params=[SERVICES[name] for name in SCOPES], ids=[*SCOPES])
async def desk(
    request: pytest.FixtureRequest, aiohttp_client: AiohttpClient, settings: Settings
) -> AsyncIterator[Desk]:
    service: Service = request.param
    events = service.database == "events"
    url: str = request.getfixturevalue("events_database_url" if events else "database_url")
    settings = settings.changed(commerce_token="commerce-token")
    client = await aiohttp_client(create_app(quiet(service), settings, url))
    connection = await asyncpg.connect(url)
    yield Desk(service, client, url, connection, settings)
    await connection.close()


@pytest.fixture
def looked_up_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are looked up for each request, so that what happens to them is seen at once."""
    monkeypatch.setattr(keyring, "CHECKED_S", 0.0)


def scoped_routes(service: Service) -> list[Route]:
    """The routes of a service that need a scope."""
    seen: list[Parts] = []
    create_app(spied_on(service, seen), Settings(), "postgresql://")
    return [route for group in seen[0].routes for route in group if route.scope is not None]


# --- scopes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", [SERVICES[name] for name in SCOPES], ids=[*SCOPES])
def test_scopes__of_a_service__those_of_its_routes(service: Service) -> None:
    routes = scoped_routes(service)
    assert {route.scope for route in routes} == SCOPES[service.name]
    assert MANAGES in SCOPES[service.name]
    for route in routes:
        assert route.scope is not None
        if route.endpoint.method != "GET":
            assert route.scope.endswith(":write")


async def test_scope__each_route__refused_without_it_and_let_in_with_no_other(
    desk: Desk,
) -> None:
    every = SCOPES[desk.service.name]
    routes = scoped_routes(desk.service)
    assert len(routes) >= 5
    secrets = {
        scope: (
            await desk.add_key(f"only-{scope.replace(':', '.')}", scopes=[scope]),
            await desk.add_key(f"all-but-{scope.replace(':', '.')}", scopes=[*every - {scope}]),
        )
        for scope in every
    }
    before = await stored(desk.connection)
    for route in routes:
        assert route.scope is not None
        only, others = secrets[route.scope]
        path = address(route.endpoint.template, name="nobody")
        if route.name == "events_stream_events":
            path += "?after=x"  # otherwise it goes on for ever
        methods = [route.endpoint.method]
        if route.endpoint.method == "GET" and route.endpoint.allow_head:
            methods.append("HEAD")
        for method in methods:
            refused = await desk.client.request(method, path, headers=bearer(others))
            assert refused.status == 403, path
            if method != "HEAD":
                assert await refusal(refused) == LACKS
                if not path.startswith("/api/"):
                    assert (await refused.json())["details"] == {"scope": route.scope}
            let_in = await desk.client.request(method, path, headers=bearer(only))
            assert let_in.status not in {401, 403}, (method, path)
    benign = {"users", "ledger_entries", "outbox"}  # GET /api/users opens an account
    benign |= {"consumers", "events", "events_default", "event_keys"}  # PUT creates a consumer
    after = await stored(desk.connection)
    assert {name for name in after if after[name] != before[name]} <= benign


async def test_scope__no_route__any_key_is_told_so(desk: Desk) -> None:
    secret = await desk.add_key(scopes=[MANAGES])
    response = await desk.client.get("/nowhere", headers=bearer(secret))
    assert await refusal(response) == (404, "not_found")


# --- what is valid ------------------------------------------------------------------------------


@pytest.mark.usefixtures("looked_up_always")
async def test_key__life_of_one__each_step_has_its_event(desk: Desk) -> None:
    client, service = desk.client, desk.service.name
    path, scope = READS[service]
    body = {"name": "partner", "scopes": [scope, MANAGES], "rate": 1000}
    headers = desk.token | {"X-Request-ID": "mine-1"}
    response = await client.post("/keys", json=body, headers=headers)
    assert response.status == 201
    assert response.headers["Location"] == str(client.make_url("/keys/partner"))
    assert response.headers["Cache-Control"] == "no-store"
    created = await response.json()
    first = created.pop("secret")
    assert created | body == created
    assert (created["created_by"], created["expires_at"]) == ("token", None)
    assert await (await client.get("/keys/partner", headers=bearer(first))).json() == created
    assert await (await client.get("/keys", headers=bearer(first))).json() == [created]
    assert (await client.get(path, headers=bearer(first))).status == 200

    headers = bearer(first) | {"X-Request-ID": "mine-2"}
    response = await client.post("/keys/partner/rotate", json={"overlap_s": 60}, headers=headers)
    assert response.status == 200
    second = (await response.json())["secret"]
    assert second != first
    for secret in (first, second):
        assert (await desk.read(secret)).status == 200
    [shown] = await (await client.get("/keys", headers=bearer(second))).json()
    assert shown["old_secret_until"] is not None
    assert shown | {"old_secret_until": None} == created

    response = await client.delete("/keys/partner", headers=bearer(second))
    assert (response.status, await response.read()) == (204, b"")
    for secret in (first, second):
        assert await refusal(await desk.read(secret)) == UNAUTHORIZED
    response = await client.get("/keys/partner", headers=desk.token)
    assert await refusal(response) == (404, "key_not_found")
    facts: dict[str, Any] = {"key_id": created["id"], "key_name": "partner", "service": service}
    told: list[tuple[str, dict[str, Any], str]] = [
        ("key.created", {"scopes": body["scopes"], "rate": 1000, "expires_at": None}, "token"),
        ("key.rotated", {"overlap_s": 60}, "key:partner"),
        ("key.revoked", {}, "key:partner"),
    ]
    happened = await desk.happened()
    assert [event[:4] for event in happened] == [
        (name, f"key:{service}:partner", facts | more, actor) for name, more, actor in told
    ]
    assert [event[4] for event in happened][:2] == ["mine-1", "mine-2"]


async def test_key__none_that_is_valid__401(desk: Desk) -> None:
    good = await desk.add_key()
    ended = await desk.add_key("ended", ends_in=timedelta(seconds=-1))
    other = "projects" if desk.service.name == "commerce" else "commerce"
    wrong = ["rk_", "rk_x", new_secret(), good[:-1], good + "0", good.upper(), f"{good} {good}"]
    wrong += ["rk_\u20ac", "rk_\udcff", ended, good.removeprefix("rk_")]
    if desk.service.database == "main":
        wrong.append(await add_key(desk.connection, other))
    for secret in wrong:
        assert await refusal(await desk.read(secret)) == UNAUTHORIZED, secret
    assert (await desk.read(good)).status == 200
    assert (await desk.client.get("/metrics", headers=bearer(good))).status == 401


@pytest.mark.usefixtures("looked_up_always")
async def test_key__expires_or_its_old_secret_does__401_from_then_on(desk: Desk) -> None:
    first = await desk.add_key(ends_in=timedelta(days=90))
    response = await desk.client.post("/keys/partner/rotate", headers=desk.token)
    second = (await response.json())["secret"]
    left = "SELECT max(valid_until) - now() FROM api_key_secrets"
    assert timedelta(hours=23) < await desk.connection.fetchval(left) < timedelta(hours=25)
    assert [(await desk.read(secret)).status for secret in (first, second)] == [200, 200]
    await desk.connection.execute(
        "UPDATE api_key_secrets SET valid_until = now() WHERE valid_until IS NOT NULL"
    )
    assert [(await desk.read(secret)).status for secret in (first, second)] == [401, 200]
    await desk.connection.execute("UPDATE api_keys SET expires_at = now()")
    assert [(await desk.read(secret)).status for secret in (first, second)] == [401, 401]
    # It is still there, to be looked at and revoked.
    [shown] = await (await desk.client.get("/keys", headers=desk.token)).json()
    assert (shown["name"], shown["old_secret_until"]) == ("partner", None)


@pytest.mark.usefixtures("looked_up_always")
async def test_rotation__repeated_as_its_answer_was_lost__all_valid_until_one_ends_them(
    desk: Desk,
) -> None:
    secrets = [await desk.add_key()]
    for _ in range(3):
        response = await desk.client.post("/keys/partner/rotate", headers=desk.token)
        secrets.append((await response.json())["secret"])
    assert [(await desk.read(secret)).status for secret in secrets] == [200] * 4
    response = await desk.client.post(
        "/keys/partner/rotate", json={"overlap_s": 0}, headers=desk.token
    )
    secrets.append((await response.json())["secret"])
    assert [(await desk.read(secret)).status for secret in secrets] == [401] * 4 + [200]
    await desk.client.post("/keys/partner/rotate", headers=desk.token)
    # What has ended is removed by the next one.
    assert await desk.connection.fetchval("SELECT count(*) FROM api_key_secrets") == 2


@pytest.mark.usefixtures("looked_up_always")
async def test_rotation__with_ten_secrets_valid__409_until_they_end(desk: Desk) -> None:
    first = await desk.add_key()
    url, again = "/keys/partner/rotate", {"overlap_s": 3600}
    calls = [desk.client.post(url, json=again, headers=desk.token) for _ in range(12)]
    responses = await asyncio.gather(*calls)
    assert sorted(response.status for response in responses) == [200] * 9 + [409] * 3
    secrets = [(await each.json())["secret"] for each in responses if each.status == 200]
    refused = await desk.client.post(url, json=again, headers=desk.token)
    assert await refusal(refused) == (409, "too_many_secrets")
    assert (await refused.json())["details"] == {"name": "partner", "limit": 10}
    # None was ended to make room.
    assert [(await desk.read(secret)).status for secret in (first, *secrets)] == [200] * 10
    assert [event[0] for event in await desk.happened()] == ["key.rotated"] * 9
    await desk.connection.execute(
        "UPDATE api_key_secrets SET valid_until = now() WHERE hash = $1", hash_of(first)
    )
    statuses = [(await desk.client.post(url, headers=desk.token)).status for _ in range(2)]
    assert statuses == [200, 409]
    last = await desk.client.post(url, json={"overlap_s": 0}, headers=desk.token)
    assert last.status == 200
    assert (await desk.read((await last.json())["secret"])).status == 200
    valid = "SELECT count(*) FROM api_key_secrets WHERE coalesce(valid_until > now(), true)"
    assert await desk.connection.fetchval(valid) == 1
    assert (await desk.client.post(url, headers=desk.token)).status == 200


async def test_rotation__by_two_processes_at_once__no_more_than_ten_are_valid(
    desk: Desk, aiohttp_client: AiohttpClient
) -> None:
    other = await aiohttp_client(create_app(quiet(desk.service), desk.settings, desk.url))
    await desk.add_key()
    calls = [
        client.post("/keys/partner/rotate", headers=desk.token)
        for _ in range(15)
        for client in (desk.client, other)
    ]
    statuses = sorted([response.status for response in await asyncio.gather(*calls)])
    assert statuses == [200] * 9 + [409] * 21
    assert await desk.connection.fetchval("SELECT count(*) FROM api_key_secrets") == 10


async def test_rotation__of_a_key_that_has_expired__409_and_it_can_be_revoked(desk: Desk) -> None:
    await desk.add_key(ends_in=timedelta(seconds=-1))
    for body in ({}, {"overlap_s": 0}):
        response = await desk.client.post("/keys/partner/rotate", json=body, headers=desk.token)
        assert await refusal(response) == (409, "key_expired")
    assert await desk.connection.fetchval("SELECT count(*) FROM api_key_secrets") == 1
    assert (await desk.client.delete("/keys/partner", headers=desk.token)).status == 204
    assert [event[0] for event in await desk.happened()] == ["key.revoked"]


async def test_key__revoked_by_another_process__refused_within_5_s(
    desk: Desk, aiohttp_client: AiohttpClient
) -> None:
    other = await aiohttp_client(create_app(quiet(desk.service), desk.settings, desk.url))
    secret = await desk.add_key()
    assert (await desk.read(secret)).status == 200
    assert (await other.delete("/keys/partner", headers=desk.token)).status == 204
    started = asyncio.get_running_loop().time()

    async def is_refused() -> bool:
        return (await desk.read(secret)).status == 401

    await until(is_refused, timeout_s=5)
    assert asyncio.get_running_loop().time() - started < 5


async def test_key__database_out_of_reach__503_as_for_others(
    aiohttp_client: AiohttpClient, settings: Settings, unused_tcp_port: int
) -> None:
    url = f"postgresql://127.0.0.1:{unused_tcp_port}/x"
    client = await aiohttp_client(create_app(quiet(COMMERCE), settings, url))
    response = await client.get("/invoices", headers=bearer(new_secret()))
    assert await refusal(response) == (503, "database_unavailable")


class Asked:
    """How many secrets the database was asked about, in how many statements."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.secrets = self.statements = 0
        find_holders = queries.keys.find_holders

        async def count(connection: Any, *, hashes: Sequence[bytes]) -> Any:
            self.secrets += len(hashes)
            self.statements += 1
            return await find_holders(connection, hashes=hashes)

        monkeypatch.setattr(queries.keys, "find_holders", count)


async def test_keys__thousands_that_are_made_up__few_look_ups_and_others_get_in(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time stands still: what is counted is what one client gets looked up in a second."""
    now_ns = 10**15
    monkeypatch.setattr(guesses, "monotonic_ns", lambda: now_ns)
    used, new = await desk.add_key("used"), await desk.add_key("new")
    assert (await desk.read(used)).status == 200
    asked = Asked(monkeypatch)
    statuses = Counter[int]()
    for _ in range(20):
        made_up = [desk.read(new_secret()) for _ in range(50)]
        statuses.update([response.status for response in await asyncio.gather(*made_up)])
    assert statuses == {401: guesses.GUESSES, 429: 1000 - guesses.GUESSES}
    assert asked.secrets == guesses.GUESSES
    refused = await desk.read(new_secret())
    assert await refusal(refused) == (429, "too_many_requests")
    assert (await refused.json())["details"] == {"rate": guesses.GUESSES}
    # Of the same address: the token, and a key that has to be looked up again.
    assert (await desk.client.get(READS[desk.service.name][0], headers=desk.token)).status == 200
    monkeypatch.setattr(keyring, "monotonic", lambda: monotonic() + 2 * keyring.CHECKED_S)
    assert (await desk.read(used)).status == 200
    # One that this process has never seen must wait for a moment, and so must one more guess.
    assert (await desk.read(new)).status == 429
    now_ns += 10**9 // guesses.GUESSES
    assert (await desk.read(new)).status == 200
    assert (await desk.read(new_secret())).status == 401
    assert (await desk.read(new_secret())).status == 429


async def test_keys__many_good_ones_at_once__all_get_in(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of the look-ups counts in the end, nor do those of a key that is being looked up."""
    monkeypatch.setattr(guesses, "monotonic_ns", lambda: 10**15)
    monkeypatch.setattr(guesses, "GUESSES", 3)
    secrets = [await desk.add_key(f"key-{number}") for number in range(6)]
    for three in (secrets[:3], secrets[3:]):
        responses = await asyncio.gather(*(desk.read(secret) for secret in three * 10))
        assert {response.status for response in responses} == {200}


async def test_keys__one_that_is_made_up_over_many_connections__one_look_up_that_counts_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guesses, "monotonic_ns", lambda: 10**15)
    monkeypatch.setattr(guesses, "GUESSES", 2)
    asked = Asked(monkeypatch)
    made_up = new_secret()
    for _ in range(2):
        responses = await asyncio.gather(*(desk.read(made_up) for _ in range(50)))
        assert {response.status for response in responses} <= {401, 429}
    assert asked.secrets == 2
    assert (await desk.read(made_up)).status == 429


# --- managing them ------------------------------------------------------------------------------


async def test_create__wrong_values__refused_with_what_would_be_right(desk: Desk) -> None:
    good = {"name": "partner", "scopes": [MANAGES]}
    known = f"Must be one of {', '.join(sorted(SCOPES[desk.service.name]))}."
    cases: list[tuple[dict[str, Any], dict[str, list[str]]]] = [
        ({"scopes": [MANAGES, "nothing:read"]}, {"scopes.1": [known]}),
        ({"scopes": [MANAGES, MANAGES]}, {"scopes.1": ["Must not be repeated."]}),
        ({"expires_at": "2020-01-01T00:00:00Z"}, {"expires_at": ["Must not be past."]}),
        ({"rate": 0}, {"rate": ["Must be a whole number from 1 to 1000000."]}),
    ]
    before = await stored(desk.connection)
    for change, details in cases:
        response = await desk.client.post("/keys", json=good | change, headers=desk.token)
        assert await refusal(response) == (400, "invalid_request")
        assert (await response.json())["details"] == details
    for name in ("", "Partner", "p\u0430rtner", "a b", "x" * 65, "-", "partner\n"):
        response = await desk.client.post("/keys", json=good | {"name": name}, headers=desk.token)
        assert await refusal(response) == (400, "invalid_request")
        assert [*(await response.json())["details"]] == ["name"]
    assert await stored(desk.connection) == before


async def test_create__one_name_many_times_at_once__once(
    desk: Desk, aiohttp_client: AiohttpClient
) -> None:
    other = await aiohttp_client(create_app(quiet(desk.service), desk.settings, desk.url))
    body = {"name": "partner", "scopes": [MANAGES]}
    responses = await asyncio.gather(
        *(
            client.post("/keys", json=body, headers=desk.token)
            for _ in range(10)
            for client in (desk.client, other)
        )
    )
    assert sorted(response.status for response in responses) == [201] + [409] * 19
    for response in responses:
        if response.status == 409:
            assert await refusal(response) == (409, "key_name_taken")
    [created] = [await response.json() for response in responses if response.status == 201]
    assert (await desk.read(created["secret"])).status == 403  # valid, but of another scope
    assert await desk.connection.fetchval("SELECT count(*) FROM api_key_secrets") == 1
    assert [event[0] for event in await desk.happened()] == ["key.created"]


async def test_rotate_and_revoke__unknown_or_gone__404_and_no_event(desk: Desk) -> None:
    await desk.add_key()
    calls = [
        *(desk.client.delete("/keys/partner", headers=desk.token) for _ in range(5)),
        desk.client.delete("/keys/nobody", headers=desk.token),
        desk.client.post("/keys/nobody/rotate", headers=desk.token),
    ]
    responses = await asyncio.gather(*calls)
    assert sorted(response.status for response in responses) == [204] + [404] * 6
    for response in responses:
        if response.status == 404:
            assert await refusal(response) == (404, "key_not_found")
    assert [event[0] for event in await desk.happened()] == ["key.revoked"]


async def test_list__pages__newest_first(desk: Desk) -> None:
    for number in range(5):
        await desk.add_key(f"key-{number}")
    if desk.service.database == "main":  # not those of the other service
        other = "projects" if desk.service.name == "commerce" else "commerce"
        await add_key(desk.connection, other, "other")
    desk.client.session.headers.update(desk.token)
    pages = await walk(desk.client, "/keys?limit=2")
    names = [[key["name"] for key in page] for page in pages]
    assert names == [["key-4", "key-3"], ["key-2", "key-1"], ["key-0"]]


async def test_manager__gives_what_he_lacks__403_and_nothing_changed(desk: Desk) -> None:
    _, scope = READS[desk.service.name]
    manager = bearer(await desk.add_key("manager", scopes=[MANAGES]))
    stronger = await desk.add_key("stronger", scopes=[scope])
    before = await stored(desk.connection)
    for path, body in (
        ("/keys", {"name": "new", "scopes": [MANAGES, scope]}),
        ("/keys/stronger/rotate", {}),
    ):
        response = await desk.client.post(path, json=body, headers=manager)
        assert await refusal(response) == LACKS
        assert (await response.json())["details"] == {"scope": scope}
    assert await stored(desk.connection) == before
    assert (await desk.read(stronger)).status == 200
    body = {"name": "new", "scopes": [MANAGES]}
    assert (await desk.client.post("/keys", json=body, headers=manager)).status == 201
    assert (await desk.client.delete("/keys/stronger", headers=manager)).status == 204


async def test_secret__created_and_rotated__neither_logged_nor_stored_nor_kept(
    desk: Desk, aiohttp_client: AiohttpClient
) -> None:
    settings = desk.settings.changed(log_requests=True, log_level="debug")
    client = await aiohttp_client(create_app(quiet(desk.service), settings, desk.url))
    body = {"name": "partner", "scopes": [MANAGES]}
    once = {"Idempotency-Key": "k"}
    with structlog.testing.capture_logs() as entries:
        response = await client.post("/keys", json=body, headers=desk.token | once)
        first = (await response.json())["secret"]
        repeated = await client.post("/keys", json=body, headers=desk.token | once)
        response = await client.post("/keys/partner/rotate", headers=bearer(first) | once)
        second = (await response.json())["secret"]
        await client.get("/keys/partner", headers=bearer(second))
        await client.get("/keys/partner", headers=bearer(new_secret()))
    assert await refusal(repeated) == (409, "key_name_taken")
    assert [entry.get("actor") for entry in entries if entry["event"] == "request"] == [
        *("token", "token", "key:partner", "key:partner", "anonymous")
    ]
    seen = str(entries) + str(await stored(desk.connection))
    for secret in (first, second):
        assert secret.removeprefix("rk_") not in seen
        assert hash_of(secret).hex() in seen


# --- what a key's requests are known by ---------------------------------------------------------


@pytest.mark.usefixtures("looked_up_always")
async def test_idempotency_key__of_an_api_key__is_its_own_over_rotations_and_not_of_its_heir(
    serve: Serve, connection: Connection, ada: int
) -> None:
    client = await serve(commerce_token="secret")
    body = {"user_id": ada, "amount": 100, "label": "Work"}

    async def issue(secret: str) -> tuple[int, bool]:
        headers = bearer(secret) | {"Idempotency-Key": "k"}
        response = await client.post("/invoices", json=body, headers=headers)
        assert response.status == 201
        return (await response.json())["id"], "Idempotency-Replayed" in response.headers

    secret = await add_key(connection, "commerce")
    other = await add_key(connection, "commerce", "other")
    assert [await issue(each) for each in ("secret", secret, other, secret)] == [
        *((1, False), (2, False), (3, False), (2, True))
    ]
    response = await client.post("/keys/partner/rotate", json={}, headers=bearer("secret"))
    assert await issue((await response.json())["secret"]) == (2, True)
    assert (await client.delete("/keys/partner", headers=bearer("secret"))).status == 204
    assert await issue(await add_key(connection, "commerce")) == (4, False)
    name_spaces = "SELECT array_agg(service ORDER BY service) FROM idempotency_keys"
    assert await connection.fetchval(name_spaces) == [
        *("commerce", "commerce key:1", "commerce key:2", "commerce key:3")
    ]


@pytest.mark.parametrize("token", [None, "secret"], ids=["open", "token"])
async def test_actor__of_a_key__on_events_and_entries(
    serve: Serve, connection: Connection, ada: int, catalogue: dict[str, int], token: str | None
) -> None:
    client = await serve(commerce_token=token)
    secret = await add_key(connection, "commerce")
    body = {"order": {"items": ["netflix"], "user_id": "ada"}}
    response = await client.post("/api/orders", json=body, headers=bearer(secret))
    assert response.status == 200
    last = "SELECT actor FROM ledger_entries ORDER BY id DESC LIMIT 1"
    assert await connection.fetchval(last) == "key:partner"
    assert await connection.fetchval(
        "SELECT array_agg(DISTINCT actor) FROM outbox WHERE request_id = $1",
        response.headers["X-Request-ID"],
    ) == ["key:partner"]


async def test_events__in_a_batch_of_a_key__are_the_key_s_and_no_relay_s(
    events: Client, events_database_url: str
) -> None:
    connection = await asyncpg.connect(events_database_url)
    headers = bearer(await add_key(connection, "events"))
    await connection.close()
    body = {"events": [{"name": "a", "payload": {}}, {"name": "b", "payload": {}, "actor": "x"}]}
    as_relay = headers | {"Rowlock-Source": str(uuid4()), "Rowlock-Epoch": "9"}
    response = await events.post("/events/batch", json=body, headers=as_relay)
    assert await refusal(response) == LACKS
    assert (await events.post("/events/batch", json=body, headers=headers)).status == 200
    stored = await (await events.get("/events")).json()
    assert [event["actor"] for event in stored] == ["key:partner", "x"]


async def test_open_service__what_comes_with_a_key__is_held_to_it(
    serve: Serve, connection: Connection
) -> None:
    client = await serve(commerce_token=None)
    reader = await add_key(connection, "commerce", scopes=["invoices:read"])
    for headers in ({}, bearer(""), bearer("x"), {"Authorization": "Basic rk_x"}, bearer(reader)):
        assert (await client.get("/invoices", headers=headers)).status == 200
    assert await refusal(await client.get("/orders", headers=bearer(reader))) == LACKS
    for secret in ("rk_", new_secret()):
        assert await refusal(await client.get("/orders", headers=bearer(secret))) == UNAUTHORIZED
        for path in ("/healthz", "/docs"):
            assert (await client.get(path, headers=bearer(secret))).status == 200


async def test_open_service__others_reach_it__its_keys_are_closed(
    serve: Serve, connection: Connection
) -> None:
    client = await serve(commerce_token=None, env="production")
    manager = await add_key(connection, "commerce", scopes=[MANAGES])
    calls = [
        *(("GET", "/keys"), ("POST", "/keys"), ("GET", "/keys/a")),
        *(("POST", "/keys/a/rotate"), ("DELETE", "/keys/a")),
    ]
    for method, path in calls:
        assert await refusal(await client.request(method, path)) == UNAUTHORIZED
    assert (await client.get("/keys", headers=bearer(manager))).status == 200
    assert (await client.get("/invoices")).status == 200
    for_all = await serve(commerce_token=None, host="0.0.0.0")
    assert await refusal(await for_all.get("/keys")) == UNAUTHORIZED
    in_development = await serve(commerce_token=None)
    assert (await in_development.get("/keys")).status == 200


async def test_token__looks_like_a_key__is_the_token(serve: Serve) -> None:
    secret = new_secret()
    client = await serve(commerce_token=secret)
    assert (await client.get("/invoices", headers=bearer(secret))).status == 200
    assert (await client.get("/invoices", headers=bearer(new_secret()))).status == 401


async def test_webhook__with_a_key__needs_the_project_s_secret(
    projects: Client, connection: Connection
) -> None:
    await add_projects(connection, 1)
    await add_deployment(connection, 1)
    secret = await add_key(connection, "projects")
    body = {"id": 1, "status": "done"}
    response = await projects.post("/deployment/webhook", json=body, headers=bearer(secret))
    assert await refusal(response) == UNAUTHORIZED


@pytest.mark.parametrize("client_rate", [0, 1, 100])
async def test_rate__of_a_key__holds_instead_of_the_services(
    desk: Desk, aiohttp_client: AiohttpClient, client_rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns = 10**15
    monkeypatch.setattr(rates, "monotonic_ns", lambda: now_ns)
    settings = desk.settings.changed(client_rate=client_rate)
    client = await aiohttp_client(create_app(quiet(desk.service), settings, desk.url))
    slow = await desk.add_key("slow", rate=3)
    fast = await desk.add_key("fast", rate=5)
    path, _ = READS[desk.service.name]

    async def ask(secret: str, times: int) -> list[int]:
        return [(await client.get(path, headers=bearer(secret))).status for _ in range(times)]

    assert await ask(slow, 4) == [200, 200, 200, 429]
    assert await ask(fast, 6) == [200] * 5 + [429]
    response = await client.get(path, headers=bearer(slow))
    assert await refusal(response) == (429, "too_many_requests")
    assert (await response.json())["details"] == {"rate": 3}
    assert response.headers["Retry-After"] == "1"
    assert response.headers["RateLimit-Policy"] == '"client";q=3;w=1'
    assert response.headers["RateLimit"] == '"client";r=0;t=1'
    now_ns += 10**9
    assert await ask(slow, 4) == [200, 200, 200, 429]


async def test_rate__of_a_key__counts_what_is_beyond_its_scopes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "monotonic_ns", lambda: 10**15)
    secret = await desk.add_key(rate=2, scopes=[MANAGES])
    assert [(await desk.read(secret)).status for _ in range(3)] == [403, 403, 429]


async def test_rate__key_without_one__that_of_any_client(
    serve: Serve, connection: Connection
) -> None:
    client = await serve(commerce_token="secret", client_rate=2)
    secrets = [await add_key(connection, "commerce", name) for name in ("a", "b")]
    for secret in secrets:  # each by itself, though they share an address
        responses = [await client.get("/invoices", headers=bearer(secret)) for _ in range(3)]
        assert [response.status for response in responses][:2] == [200, 200]


async def test_stream__its_key_is_revoked__ends_within_5_s(
    aiohttp_client: AiohttpClient, settings: Settings, events_database_url: str
) -> None:
    app = create_app(with_tasks(EVENTS, "event_feed"), settings, events_database_url)
    client = await aiohttp_client(app)
    connection = await asyncpg.connect(events_database_url)
    secrets = [await add_key(connection, "events", name) for name in ("ends", "stays")]
    token = settings.addresses.events_token
    async with asyncio.timeout(20):
        ends, stays, own = [
            await client.get("/events/stream", headers=bearer(each)) for each in (*secrets, token)
        ]
        assert (await client.delete("/keys/ends", headers=bearer(token))).status == 204
        async with asyncio.timeout(5):
            read = await ends.content.read()
        assert b"key.revoked" in read
        for stream in (stays, own):  # these go on
            assert b"key.revoked" in await stream.content.readuntil(b"}\r\n\r\n")
            assert not stream.content.at_eof()
            stream.close()
    await connection.close()
