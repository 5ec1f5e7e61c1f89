"""Absolute links: by a service's public URL, else as it was asked, behind proxies or not."""

import pytest
import structlog
from pytest_aiohttp.plugin import AiohttpClient
from yarl import URL

from rowlock.services import SERVICES
from rowlock.settings import Settings
from rowlock.settings.names import ServiceName
from tests.support.contract import bearer, exchange, raw_request, send
from tests.support.environments import settings_from
from tests.support.panel import add_projects
from tests.support.roles import create_app
from tests.support.services import quiet
from tests.support.types import Client, Connection, Serve

INVOICE = {"user_id": 1, "amount": 1, "label": "Work"}
PROXIES = settings_from({"ROWLOCK_TRUSTED_PROXIES": "127.0.0.1, ::1, 10.0.0.0/8"})
TRUSTED = PROXIES.http.trusted_proxies


async def found(client: Client, headers: dict[str, str]) -> set[str]:
    """The addresses of the service in its answers, without the paths that are its own."""
    created = await client.post("/invoices", json=INVOICE, headers=headers)
    listed = await client.get("/invoices?limit=1", headers=headers)
    document = await client.get("/openapi.json", headers=headers)
    assert (created.status, listed.status, document.status) == (201, 200, 200)
    invoice_id = (await created.json())["id"]
    location, rest = created.headers["Location"].split("/invoices/")
    assert rest == str(invoice_id)
    link, rest = listed.headers["Link"].removeprefix("<").split("/invoices?limit=1&cursor=")
    assert rest.endswith('>; rel="next"')
    [server] = (await document.json())["servers"]
    return {location, link, server["url"].removesuffix("/")}


@pytest.fixture
async def listed(connection: Connection, ada: int) -> None:
    """Enough invoices for a list to go on."""
    await connection.execute(
        "INSERT INTO invoices (user_id, amount, label) VALUES (1, 100, 'x'), (1, 100, 'x')"
    )


@pytest.mark.parametrize(
    "host", ["shop.example", "shop.example:8080", "a_b", "[::1]:4000", "127.0.0.1", "SHOP", "x."]
)
async def test_links__nothing_set__the_host_that_was_asked(
    commerce: Client, listed: None, host: str
) -> None:
    assert await found(commerce, {}) == {str(commerce.make_url("")).rstrip("/")}
    assert await found(commerce, {"Host": host}) == {f"http://{host}"}


@pytest.mark.parametrize(
    "host", ["", 'a">,<b', "a/b", "a b", "user@host", "a?b", "a:b", "a:123456", "[::1", "é", "a,b"]
)
async def test_links__host_that_is_none__paths(commerce: Client, listed: None, host: str) -> None:
    assert await found(commerce, {"Host": host}) == {""}


async def test_links__no_host_at_all__paths(commerce: Client, listed: None) -> None:
    answer = await exchange(commerce, b"GET /invoices?limit=1 HTTP/1.0\r\n\r\n")
    assert b"Link: </invoices?limit=1&cursor=" in answer


async def test_links__absolute_target__as_its_host_says(commerce: Client, listed: None) -> None:
    request = raw_request("GET http://x/invoices?limit=1#f", b"\r\n")
    assert b"Link: <http://x/invoices?limit=1&cursor=" in await exchange(commerce, request)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://api.example.com", "https://api.example.com"),
        ("https://api.example.com/", "https://api.example.com"),
        ("https://api.example.com:8443/shop/v1/", "https://api.example.com:8443/shop/v1"),
        ('http://api.example.com/a"<>', "http://api.example.com/a%22%3C%3E"),
    ],
)
async def test_links__public_url__whatever_was_asked(
    serve: Serve, listed: None, url: str, base: str
) -> None:
    commerce = await serve(public_commerce_url=url, trusted_proxies=TRUSTED)
    headers = {"Host": "other", "X-Forwarded-Host": "third", "X-Forwarded-Prefix": "/p"}
    assert await found(commerce, headers) == {base}


@pytest.mark.parametrize("name", SERVICES)
async def test_public_url__each_service__has_its_own(
    aiohttp_client: AiohttpClient,
    shared_database_urls: dict[str, str],
    settings: Settings,
    name: ServiceName,
) -> None:
    urls = {f"public_{each}_url": f"https://{each}.example" for each in SERVICES}
    service = SERVICES[name]
    url = shared_database_urls[service.database]
    app = create_app(quiet(service), settings.changed(**urls), url)
    document = await (await (await aiohttp_client(app)).get("/openapi.json")).json()
    assert document["servers"] == [{"url": f"https://{name}.example"}]


TOLD = [
    ({"X-Forwarded-Proto": "https"}, "https://x"),
    ({"X-Forwarded-Host": "shop.example"}, "http://shop.example"),
    ({"X-Forwarded-Prefix": "/shop"}, "http://x/shop"),
    ({"X-Forwarded-Prefix": "/shop/v1/"}, "http://x/shop/v1"),
    ({"X-Forwarded-Prefix": "/"}, "http://x"),
    (
        {"X-Forwarded-Proto": "HTTPS", "X-Forwarded-Host": "s:8443", "X-Forwarded-Prefix": "/p"},
        "https://s:8443/p",
    ),
    ({"Forwarded": "for=192.0.2.1;proto=https;host=shop.example"}, "https://shop.example"),
    ({"Forwarded": 'for="[2001:db8::1]:47";Proto=https; Host="s:8443"'}, "https://s:8443"),
    # What is not valid is as if it were not there.
    ({"X-Forwarded-Proto": "javascript"}, "http://x"),
    ({"X-Forwarded-Host": "a>b"}, "http://x"),
    ({"X-Forwarded-Prefix": "shop"}, "http://x"),
    ({"X-Forwarded-Prefix": "//evil.example"}, "http://x"),
    ({"X-Forwarded-Prefix": '/a">'}, "http://x"),
    ({"X-Forwarded-Proto": "", "X-Forwarded-Host": "", "X-Forwarded-Prefix": ""}, "http://x"),
    ({"X-Forwarded-For": "unknown, é, [, :, 1.2.3.4:5"}, "http://x"),
    ({"Forwarded": "é;;=,for"}, "http://x"),
    # A client's own claims stand before those of the proxies.
    ({"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Host": "evil, shop"}, "http://shop"),
    ({"X-Forwarded-For": "10.1.1.1, 192.0.2.1", "X-Forwarded-Host": "evil, shop"}, "http://shop"),
    ({"Forwarded": "for=10.1.1.1;host=evil, for=192.0.2.1;host=shop"}, "http://shop"),
    ({"X-Forwarded-Proto": "https", "Forwarded": "host=evil"}, "https://x"),
    # Two proxies, both trusted: what the first was asked counts, even if the second adds nothing.
    ({"X-Forwarded-For": "192.0.2.1, 10.0.0.7", "X-Forwarded-Host": "shop, b"}, "http://shop"),
    ({"X-Forwarded-For": "192.0.2.1, 10.0.0.7", "X-Forwarded-Host": "shop"}, "http://shop"),
    ({"X-Forwarded-For": "192.0.2.1:5, 10.0.0.7:9", "X-Forwarded-Host": "shop, b"}, "http://shop"),
    ({"X-Forwarded-For": "1.1.1.1, ::ffff:10.0.0.7", "X-Forwarded-Host": "s, b"}, "http://s"),
    ({"Forwarded": 'for=192.0.2.1;host=shop, for="10.0.0.7:9";host=b'}, "http://shop"),
    ({"X-Forwarded-For": "10.0.0.8, 10.0.0.7", "X-Forwarded-Host": "shop, b"}, "http://shop"),
]


@pytest.mark.parametrize(("told", "base"), TOLD)
async def test_links__a_trusted_proxy_tells__as_the_client_asked(
    serve: Serve, listed: None, told: dict[str, str], base: str
) -> None:
    commerce = await serve(trusted_proxies=TRUSTED)
    assert await found(commerce, {"Host": "x"} | told) == {base}


@pytest.mark.parametrize("proxies", [None, "10.0.0.0/8", "127.0.0.2,::1"])
async def test_links__another_client_tells__as_it_asked_itself(
    serve: Serve, listed: None, proxies: str | None
) -> None:
    environ = {"ROWLOCK_TRUSTED_PROXIES": proxies} if proxies else {}
    trusted = settings_from(environ).http.trusted_proxies
    commerce = await serve(trusted_proxies=trusted)
    for told, _ in TOLD:
        assert await found(commerce, {"Host": "x"} | told) == {"http://x"}


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("commerce", "/invoices"),
        ("commerce", "/service-orders"),
        ("projects", "/projects/{id}/deployment"),
    ],
)
async def test_replay__at_another_address__leads_there(
    clients: dict[str, Client], connection: Connection, service: str, path: str
) -> None:
    body = INVOICE if path == "/invoices" else None
    if path == "/service-orders":
        body = {"datetime": "2030-05-01T12:00:00Z", "totalfee": 1, "services": ["1"]}
    answers = [
        await send(clients[service], "POST", path, body, key="k", Host=host) for host in "ab"
    ]
    assert [answer.status for answer in answers] == [201, 201]
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    first, again = (URL(answer.headers["Location"]) for answer in answers)
    assert (first.host, again.host, first.path) == ("a", "b", again.path)
    [kept] = await connection.fetch("SELECT * FROM idempotency_keys")
    assert f'"Location": "{first.path}"' in kept["headers"]


async def test_links__of_pages__with_the_prefix(
    aiohttp_client: AiohttpClient, connection: Connection, database_url: str, settings: Settings
) -> None:
    await add_projects(connection, 9)
    changed = settings.changed(trusted_proxies=TRUSTED)
    app = create_app(quiet(SERVICES[ServiceName.PROJECTS]), changed, database_url)
    client = await aiohttp_client(app, headers=bearer(settings.addresses.projects_token))
    headers = {"Host": "x", "X-Forwarded-Prefix": "/panel"}
    links = (await client.get("/projects", headers=headers)).headers["Link"]
    assert links.startswith('<http://x/panel/projects?page=1>; rel="first", <http://x/panel/')


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        ({}, "127.0.0.1"),
        ({"X-Forwarded-For": "192.0.2.1"}, "192.0.2.1"),
        ({"X-Forwarded-For": "made-up, 192.0.2.1, 10.1.2.3"}, "192.0.2.1"),
        ({"X-Forwarded-For": "192.0.2.9, 192.0.2.1:4711"}, "192.0.2.1"),
        ({"X-Forwarded-For": "2001:DB8::1"}, "2001:db8::1"),
        ({"X-Forwarded-For": "unknown"}, "127.0.0.1"),
        ({"X-Forwarded-For": ""}, "127.0.0.1"),
        ({"Forwarded": 'for="[2001:db8::1]:4711";proto=https'}, "2001:db8::1"),
        ({"Forwarded": "for=_hidden"}, "127.0.0.1"),
    ],
)
@pytest.mark.parametrize("trusted", [True, False])
async def test_log__behind_a_proxy__the_client_s_address_if_the_proxy_is_trusted(
    serve: Serve, headers: dict[str, str], client: str, trusted: bool
) -> None:
    commerce = await serve(trusted_proxies=TRUSTED if trusted else (), log_requests=True)
    with structlog.testing.capture_logs() as entries:
        await commerce.get("/invoices", headers=headers)
    [line] = [entry for entry in entries if entry["event"] == "request"]
    assert line["client"] == (client if trusted else "127.0.0.1")
