"""The limit on the requests of one client: who that is, what it is answered, and when not."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import rsa
from pytest_aiohttp.plugin import AiohttpClient, AiohttpServer

from rowlock.http import buckets, rates
from rowlock.http.openapi.routes import DOCUMENTS
from rowlock.http.service import Service
from rowlock.services import COMMERCE, EVENTS, PROJECTS
from rowlock.settings import Settings
from tests.support.contract import bearer, refusal
from tests.support.environments import settings_from
from tests.support.panel import SECRET, add_deployment, add_projects
from tests.support.polling import until
from tests.support.roles import create_app
from tests.support.scraping import scrape
from tests.support.services import quiet
from tests.support.tenant import AUDIENCE, DOMAIN, KeyServer, public, token
from tests.support.types import Client, Connection, Serve

TRUSTED = settings_from({"ROWLOCK_TRUSTED_PROXIES": "127.0.0.1,10.0.0.0/8"}).http.trusted_proxies
REFUSED = 429, "too_many_requests"
WRONG = bearer("wrong-token")


class Clock:
    """The time of the limit, which stands still until it is moved."""

    def __init__(self) -> None:
        self.now_ns = 10**15

    def move(self, seconds: float) -> None:
        self.now_ns += round(seconds * 10**9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rates, "monotonic_ns", lambda: clock.now_ns)
    return clock


Panel = Callable[..., Awaitable[Client]]


@pytest.fixture
def panel(aiohttp_client: AiohttpClient, database_url: str, settings: Settings) -> Panel:
    """Start a projects service with some settings changed."""

    async def start(**changes: object) -> Client:
        app = create_app(quiet(PROJECTS), settings.changed(**changes), database_url)
        return await aiohttp_client(app)

    return start


async def statuses(client: Client, path: str, number: int, **headers: str) -> list[int]:
    return [(await client.get(path, headers=headers)).status for _ in range(number)]


@pytest.mark.parametrize("path", ["/user/1", "/api/products", "/nowhere", "/docs", "/openapi.json"])
async def test_burst__of_one_client__then_429_until_the_time_has_come(
    serve: Serve, ada: int, clock: Clock, path: str
) -> None:
    commerce = await serve(client_rate=3)
    status = 404 if path == "/nowhere" else 200
    assert await statuses(commerce, path, 3) == [status] * 3
    response = await commerce.get(path)
    assert await refusal(response) == REFUSED
    assert response.headers["Retry-After"] == "1"
    assert response.headers["RateLimit-Policy"] == '"client";q=3;w=1'
    assert response.headers["RateLimit"] == '"client";r=0;t=1'
    clock.move(1 / 3)
    assert await statuses(commerce, path, 2) == [status, 429]
    clock.move(float(response.headers["Retry-After"]))
    assert await statuses(commerce, path, 4) == [status] * 3 + [429]


async def test_burst__by_the_clock_of_the_machine__served_again_within_a_second(
    serve: Serve, ada: int
) -> None:
    commerce = await serve(client_rate=50)
    responses = await asyncio.gather(*(commerce.get("/user/1") for _ in range(300)))
    served = [response.status for response in responses].count(200)
    assert 50 <= served < 300

    async def is_served() -> bool:
        return (await commerce.get("/user/1")).status == 200

    await until(is_served)


async def test_refused__any_write__has_no_effect(
    serve: Serve, connection: Connection, ada: int, clock: Clock
) -> None:
    commerce = await serve(client_rate=1)
    invoice = {"user_id": 1, "amount": 1, "label": "Work"}
    responses = [
        await commerce.post("/invoices", json=invoice, headers={"Idempotency-Key": "k"})
        for _ in range(2)
    ]
    assert [response.status for response in responses] == [201, 429]
    assert await connection.fetchval("SELECT count(*) FROM invoices") == 1
    clock.move(1)
    response = await commerce.post("/invoices", json=invoice, headers={"Idempotency-Key": "k"})
    assert (response.status, response.headers["Idempotency-Replayed"]) == (201, "true")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.1:4711", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "made-up, 192.0.2.1, 10.1.1.1", True),
        ("192.0.2.1", "192.0.2.1, 192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("2001:db8::1", "2001:db8:0:0:ffff::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::1%eth0", True),
        ("::1", "127.0.0.1", False),
        ("unknown", "_hidden", True),
    ],
)
async def test_clients__behind_a_proxy__by_address_or_64(
    serve: Serve, ada: int, clock: Clock, one: str, other: str, same: bool
) -> None:
    commerce = await serve(client_rate=2, trusted_proxies=TRUSTED)
    assert await statuses(commerce, "/user/1", 3, **{"X-Forwarded-For": one}) == [200, 200, 429]
    found = await statuses(commerce, "/user/1", 3, **{"X-Forwarded-For": other})
    assert found == ([429] * 3 if same else [200, 200, 429])


async def test_clients__proxy_that_is_not_trusted__is_the_client(
    serve: Serve, ada: int, clock: Clock
) -> None:
    commerce = await serve(client_rate=1)
    assert await statuses(commerce, "/user/1", 1, **{"X-Forwarded-For": "192.0.2.1"}) == [200]
    assert await statuses(commerce, "/user/1", 1, **{"X-Forwarded-For": "192.0.2.2"}) == [429]


async def test_clients__users_of_the_tenant__each_by_itself_wherever_they_are(
    panel: Panel, aiohttp_server: AiohttpServer, settings: Settings, clock: Clock
) -> None:
    key = rsa.generate_private_key(65537, 2048)
    tenant = KeyServer()
    tenant.entries = [public(key, "one")]
    tenant.url = str((await aiohttp_server(tenant.app())).make_url("/"))
    client = await panel(
        client_rate=2,
        trusted_proxies=TRUSTED,
        auth0_domain=DOMAIN,
        auth0_audience=AUDIENCE,
        auth0_url=tenant.url,
    )
    users = [bearer(token(key, sub=subject)) for subject in ("auth0|1", "auth0|2")]
    for user in users:
        assert await statuses(client, "/projects", 3, **user) == [200, 200, 429]
    moved = users[0] | {"X-Forwarded-For": "192.0.2.1"}
    assert await statuses(client, "/projects", 1, **moved) == [429]
    # All holders of the service's token are one actor, so they count by address.
    own = bearer(settings.addresses.projects_token)
    for address in ("127.0.0.1", "192.0.2.1"):
        headers = own | {"X-Forwarded-For": address}
        assert await statuses(client, "/projects", 3, **headers) == [200, 200, 429]


async def test_wrong_token__again_and_again__429_like_the_right_one(
    panel: Panel, settings: Settings, clock: Clock
) -> None:
    client = await panel(client_rate=2)
    assert await statuses(client, "/projects", 3, **WRONG) == [401, 401, 429]
    right = bearer(settings.addresses.projects_token)
    assert await statuses(client, "/projects", 1, **right) == [429]
    clock.move(1)
    assert await statuses(client, "/projects", 3, **right) == [200, 200, 429]
    assert await statuses(client, "/projects", 1, **WRONG) == [429]


async def test_webhooks__of_any_project__by_address_and_once_each(
    panel: Panel, connection: Connection, clock: Clock
) -> None:
    await add_projects(connection, 2)
    deployments = [await add_deployment(connection, project) for project in (1, 2)]
    client = await panel(client_rate=2)

    async def report(deployment: int, secret: str) -> int:
        body = {"id": deployment, "status": "building"}
        headers = {"Authorization": secret}
        return (await client.post("/deployment/webhook", json=body, headers=headers)).status

    assert [await report(each, SECRET) for each in (*deployments, 1)] == [200, 200, 429]
    clock.move(1)
    assert [await report(each, "wrong") for each in (1, 2, 1)] == [401, 401, 429]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/readyz/writes", "/metrics"])
async def test_probes__always__answered_and_not_counted(
    serve: Serve, ada: int, clock: Clock, path: str
) -> None:
    commerce = await serve(client_rate=1, metrics_token="scraper")
    scraper = bearer("scraper")
    assert set(await statuses(commerce, path, 5, **scraper)) == {200}
    if path == "/metrics":
        assert set(await statuses(commerce, path, 5)) == {401}
    assert await statuses(commerce, "/user/1", 2) == [200, 429]
    assert set(await statuses(commerce, path, 5, **scraper)) == {200}


async def test_refused__any__counted_and_logged(serve: Serve, ada: int, clock: Clock) -> None:
    commerce = await serve(client_rate=1, log_requests=True)

    async def counted() -> float:
        page = await scrape(commerce.session, str(commerce.make_url("/metrics")))
        return page.value("rowlock_http_errors_total", error="too_many_requests")

    before = await counted()
    with structlog.testing.capture_logs() as entries:
        assert await statuses(commerce, "/user/1", 3) == [200, 429, 429]
    assert await counted() - before == 2
    lines = [entry for entry in entries if entry["event"] == "request"]
    assert [(line["status"], line["client"]) for line in lines] == [
        (200, "127.0.0.1"),
        (429, "127.0.0.1"),
        (429, "127.0.0.1"),
    ]


@pytest.mark.parametrize("service", [COMMERCE, PROJECTS], ids=lambda service: service.name)
def test_document__only_with_a_limit__says_what_is_limited(
    settings: Settings, service: Service
) -> None:
    for rate in (0, 5):
        app = create_app(service, settings.changed(client_rate=rate), "postgresql://")
        limited = {
            path: "429" in operation["responses"]
            for path, methods in app[DOCUMENTS].openapi["paths"].items()
            for operation in methods.values()
        }
        # Keys may have rates of their own.
        free = {"/healthz", "/readyz", "/readyz/writes", "/metrics"}
        own_access = {"/", "/openapi.json", "/docs", "/deployment/webhook"} & limited.keys()
        assert {path for path in limited if not limited[path]} == (
            free if rate else free | own_access
        )


@pytest.mark.parametrize(
    ("service", "rate", "counted"), [(COMMERCE, 0, []), (COMMERCE, 5, [5]), (EVENTS, 5, [])]
)
async def test_no_limit__or_the_events_service__no_client_is_counted(
    aiohttp_client: AiohttpClient,
    shared_database_urls: dict[str, str],
    settings: Settings,
    service: Service,
    rate: int,
    counted: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []

    def take(_: buckets.Buckets, _client: str, rate: int, _now_ns: int) -> bool:
        taken.append(rate)
        return True

    monkeypatch.setattr(buckets.Buckets, "take", take)
    url = shared_database_urls[service.database]
    app = create_app(quiet(service), settings.changed(client_rate=rate), url)
    await (await aiohttp_client(app)).get("/nowhere")
    assert taken == counted
