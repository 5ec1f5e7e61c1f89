"""Subscriptions over HTTP: what is made, changed, refused and kept."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import asyncpg
import orjson
import pytest
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.services import EVENTS
from rowlock.settings import Settings
from rowlock.subscriptions.rules import MOST_SUBSCRIPTIONS
from tests.support.contract import stored
from tests.support.roles import create_app
from tests.support.services import quiet
from tests.support.types import Client, Connection

GOOD = {"url": "https://203.0.114.1/hook", "names": ["invoice.*"]}
NOW_AND_THEN = "2026-11-21T09:30:00Z"

Start: TypeAlias = Callable[..., Awaitable[Client]]


@pytest.fixture
def start(aiohttp_client: AiohttpClient, events_database_url: str, settings: Settings) -> Start:
    """Start an events service with some settings changed, and nothing in its background."""

    async def start_one(**changes: object) -> Client:
        app = create_app(quiet(EVENTS), settings.changed(**changes), events_database_url)
        token = settings.addresses.events_token
        return await aiohttp_client(app, headers={"Authorization": f"Bearer {token}"})

    return start_one


@pytest.fixture
async def client(start: Start) -> Client:
    return await start()


@pytest.fixture
async def log(events_database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(events_database_url)
    yield connection
    await connection.close()


async def ask(
    client: Client, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, Any]:
    response = await client.request(
        method, path, json=body, headers={name.replace("_", "-"): v for name, v in headers.items()}
    )
    content = await response.read()
    return response.status, orjson.loads(content) if content else None


async def test_create__then_read_and_list__the_secret_is_shown_once(client: Client) -> None:
    body = GOOD | {"subject": "invoice:7", "description": "Accounting"}
    status, made = await ask(client, "POST", "/subscriptions", body)
    assert status == 201
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert made | body == made
    assert (made["status"], made["delivered"], made["created_by"]) == ("active", 0, "token")
    assert await ask(client, "GET", f"/subscriptions/{made['id']}") == (200, made)
    _, other = await ask(client, "POST", "/subscriptions", GOOD)
    assert other.pop("secret") != secret
    assert await ask(client, "GET", "/subscriptions") == (200, [other, made])
    assert await ask(client, "GET", "/subscriptions?limit=1") == (200, [other])


async def test_create__the_same_key_again__one_subscription_and_the_same_answer(
    client: Client, log: Connection
) -> None:
    first = await ask(client, "POST", "/subscriptions", GOOD, Idempotency_Key="1")
    again = await ask(client, "POST", "/subscriptions", GOOD, Idempotency_Key="1")
    other = {**GOOD, "names": ["*"]}
    status, reused = await ask(client, "POST", "/subscriptions", other, Idempotency_Key="1")

    assert again == first
    assert (status, reused["error"]) == (422, "idempotency_key_reused")
    assert await log.fetchval("SELECT count(*) FROM subscriptions") == 1


async def test_create__as_many_as_there_may_be_at_once__the_others_are_refused(
    client: Client, log: Connection
) -> None:
    await log.execute(
        "INSERT INTO subscriptions (url, names, secret, starts_after, created_by) "
        "SELECT 'https://example.com', '{*}', 'x', 0, 'cli' FROM generate_series(3, $1)",
        MOST_SUBSCRIPTIONS,
    )
    outcomes = await asyncio.gather(
        *(ask(client, "POST", "/subscriptions", GOOD) for _ in range(5))
    )

    assert sorted(status for status, _ in outcomes) == [201, 201, 409, 409, 409]
    errors = {body["error"] for status, body in outcomes if status == 409}
    assert errors == {"too_many_subscriptions"}


async def test_change__some_fields__only_those_and_null_removes(client: Client) -> None:
    body = GOOD | {"subject": "invoice:7", "description": "Accounting"}
    _, made = await ask(client, "POST", "/subscriptions", body)
    del made["secret"]
    path = f"/subscriptions/{made['id']}"

    _, changed = await ask(client, "PATCH", path, {"names": ["*"], "subject": None})

    assert changed == made | {"names": ["*"], "subject": None}
    assert await ask(client, "GET", path) == (200, changed)


async def test_delete__twice__404_with_its_deliveries_gone(client: Client, log: Connection) -> None:
    _, made = await ask(client, "POST", "/subscriptions", GOOD)
    path = f"/subscriptions/{made['id']}"
    status, delivery = await ask(client, "POST", f"{path}/test", {})
    assert status == 202

    assert await ask(client, "DELETE", path, {}) == (204, None)

    for method, gone in (
        ("DELETE", path),
        ("GET", path),
        ("GET", f"{path}/deliveries"),
        ("POST", f"{path}/enable"),
        ("POST", f"{path}/disable"),
        ("POST", f"{path}/test"),
        ("POST", f"{path}/rotate-secret"),
    ):
        status, body = await ask(client, method, gone)
        assert (status, body["error"]) == (404, "subscription_not_found")
    status, body = await ask(client, "POST", f"/deliveries/{delivery['id']}/resend", {})
    assert (status, body["error"]) == (404, "delivery_not_found")
    assert await log.fetchval("SELECT count(*) FROM deliveries") == 0


async def test_disabled__test_recover_and_resend__409_until_it_is_enabled(client: Client) -> None:
    _, made = await ask(client, "POST", "/subscriptions", GOOD)
    path = f"/subscriptions/{made['id']}"
    _, delivery = await ask(client, "POST", f"{path}/test", {})
    await ask(client, "POST", f"{path}/disable", {})
    _, [given_up] = await ask(client, "GET", f"{path}/deliveries?status=failed")
    assert (given_up["id"], given_up["problem"]) == (delivery["id"], "disabled")

    for refused, body in (
        (f"{path}/test", {}),
        (f"{path}/recover", {"since": NOW_AND_THEN}),
        (f"/deliveries/{delivery['id']}/resend", {}),
    ):
        status, answer = await ask(client, "POST", refused, body)
        assert (status, answer["error"]) == (409, "subscription_not_active")
    assert (await ask(client, "POST", f"{path}/enable", {}))[1]["status"] == "active"
    assert (await ask(client, "POST", f"/deliveries/{delivery['id']}/resend", {}))[0] == 202


async def test_events__of_each_change__named_without_url_or_secret(
    client: Client, log: Connection
) -> None:
    _, made = await ask(client, "POST", "/subscriptions", GOOD)
    path = f"/subscriptions/{made['id']}"
    await ask(client, "PATCH", path, {"url": "https://203.0.114.2/?key=1"})
    await ask(client, "POST", f"{path}/rotate-secret")
    _, delivery = await ask(client, "POST", f"{path}/test")
    await ask(client, "POST", f"/deliveries/{delivery['id']}/resend")
    await ask(client, "POST", f"{path}/disable")
    await ask(client, "POST", f"{path}/enable")
    await ask(client, "POST", f"{path}/recover", {"since": NOW_AND_THEN})
    await ask(client, "DELETE", path)

    rows = await log.fetch("SELECT name, subject, payload, actor FROM events ORDER BY id")

    assert [row["name"] for row in rows] == [
        "subscription.created",
        "subscription.changed",
        "subscription.secret_rotated",
        "subscription.tested",
        "subscription.resent",
        "subscription.disabled",
        "subscription.enabled",
        "subscription.recovery_asked",
        "subscription.deleted",
    ]
    assert {row["actor"] for row in rows} == {"token"}
    assert not any("203.0" in row["payload"] or "whsec" in row["payload"] for row in rows)


WRONG: dict[str, list[Any]] = {
    "url": [
        None, 1, [], "", " ", "x", "ftp://example.com/", "https://user:x@example.com/",
        "http://127.0.0.1/", "http://localhost/", "http://[::1]/", "http://2130706433/",
        "https://example.com/" + "x" * 2000, "https://ex\u00e4mple.com/", "https://e.com/\0",
    ],
    "names": [
        None, {}, "x", 1, [], [None], [[]], [1], [""], ["*a"], ["a*"], ["a", "a"],
        ["x" * 201], [f"a{n}" for n in range(51)], ["a\nb"], ["a\0b"],
    ],
    "subject": [1, [], {}, "", " ", "x" * 201, "a\nb", "\0"],
    "description": [1, [], {}, "", " ", "x" * 501, "a\nb", "\0"],
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
async def test_body__wrong_value__400_naming_it_and_nothing_changed(
    client: Client, log: Connection, name: str
) -> None:
    _, made = await ask(client, "POST", "/subscriptions", GOOD)
    before = await stored(log)
    for wrong in WRONG[name]:
        for method, path, body in (
            ("POST", "/subscriptions", GOOD | {name: wrong}),
            ("PATCH", f"/subscriptions/{made['id']}", {name: wrong}),
        ):
            status, answer = await ask(client, method, path, body)
            assert (status, answer["error"]) == (400, "invalid_request"), (method, wrong)
            assert name in orjson.dumps(answer).decode()
    assert await stored(log) == before


@pytest.mark.parametrize(
    ("method", "path", "bodies"),
    [
        ("POST", "/subscriptions", [{}, [], GOOD | {"x": 1}, {"url": GOOD["url"]}]),
        ("PATCH", "/subscriptions/1", [{}, [], {"secret": "whsec_x"}, {"status": "active"}]),
        ("POST", "/subscriptions/1/recover", [{}, [], {"since": 1}, {"since": "yesterday"},
            {"since": "2026-11-21"}, {"since": None}, {"since": "10000-01-01T00:00:00Z"}]),
        ("POST", "/subscriptions/1/test", [[], {"x": 1}]),
        ("POST", "/subscriptions/1/enable", [[], {"x": 1}]),
        ("POST", "/subscriptions/1/disable", [[], {"x": 1}]),
        ("POST", "/subscriptions/1/rotate-secret", [[], {"x": 1}]),
        ("DELETE", "/subscriptions/1", [[], {"x": 1}]),
        ("POST", "/deliveries/1/resend", [[], {"x": 1}]),
    ],
)  # fmt: skip
async def test_body__of_another_shape__400(
    client: Client, method: str, path: str, bodies: list[object]
) -> None:
    await ask(client, "POST", "/subscriptions", GOOD)
    for body in bodies:
        status, answer = await ask(client, method, path, body)
        assert (status, answer["error"]) == (400, "invalid_request"), body


async def test_recover__any_time_of_the_calendar__taken(client: Client) -> None:
    _, made = await ask(client, "POST", "/subscriptions", GOOD)
    path = f"/subscriptions/{made['id']}/recover"
    for since in ("0001-01-01T00:00:01Z", "9999-12-31T23:59:59Z", NOW_AND_THEN):
        status, _ = await ask(client, "POST", path, {"since": since})
        assert status == 202


@pytest.mark.parametrize("given", ["0", "-1", "x", "01", "1.0", "%00", str(2**63), "9" * 30])
async def test_id__malformed__404(client: Client, given: str) -> None:
    for method, path in (
        ("GET", f"/subscriptions/{given}"),
        ("DELETE", f"/subscriptions/{given}"),
        ("GET", f"/subscriptions/{given}/deliveries"),
        ("POST", f"/subscriptions/{given}/test"),
        ("POST", f"/deliveries/{given}/resend"),
    ):
        assert (await ask(client, method, path))[0] == 404


@pytest.mark.parametrize("query", ["status=", "status=x", "status=PENDING", "limit=0", "cursor=x"])
async def test_deliveries__wrong_query__400(client: Client, query: str) -> None:
    await ask(client, "POST", "/subscriptions", GOOD)
    assert (await ask(client, "GET", f"/subscriptions/1/deliveries?{query}"))[0] == 400


async def test_production__plain_http__400(start: Start) -> None:
    strict = await start(
        env="production",
        database_url="postgresql://localhost/rowlock",
        events_token="a-token-of-our-own-for-this",
    )
    strict.session.headers["Authorization"] = "Bearer a-token-of-our-own-for-this"
    plain = GOOD | {"url": "http://203.0.114.1/hook"}

    status, answer = await ask(strict, "POST", "/subscriptions", plain)

    assert status == 400
    assert "https://" in orjson.dumps(answer).decode()
    assert (await ask(strict, "POST", "/subscriptions", GOOD))[0] == 201
