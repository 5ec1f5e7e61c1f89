"""`/`: what is here, for a client that comes to a port first, as JSON or as a page."""

import re
from html import unescape

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from rowlock import __version__
from rowlock.http.service import Service
from rowlock.services import COMMERCE, ROUTES, SERVICES
from rowlock.settings import Settings
from tests.support.contract import refusal
from tests.support.roles import create_app
from tests.support.services import quiet
from tests.support.types import Client, Serve

TOKENS = {
    "commerce_token": "commerce-secret",
    "projects_token": "projects-secret",
    "events_token": "events-secret",
    "console_token": "console-secret",
    "metrics_token": "metrics-secret",
}
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
LINKS = {
    "docs": "/docs",
    "try": "/docs/try",
    "openapi": "/openapi.json",
    "healthz": "/healthz",
    "readyz": "/readyz",
}
ALWAYS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Server": "rowlock"}

each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
# The console shows browsers its overview.
each_indexed = pytest.mark.parametrize("service", [SERVICES[name] for name in ROUTES], ids=ROUTES)


@pytest.fixture
async def client(
    aiohttp_client: AiohttpClient,
    shared_database_urls: dict[str, str],
    settings: Settings,
    service: Service,
) -> Client:
    """A client, without a token, of a service that has one."""
    url = shared_database_urls[service.database]
    return await aiohttp_client(create_app(quiet(service), settings.changed(**TOKENS), url))


@each_service
async def test_index__no_token__says_where_everything_is(client: Client, service: Service) -> None:
    response = await client.get("/")
    assert response.status == 200
    assert ALWAYS.items() <= dict(response.headers).items()
    assert response.headers["Vary"] == "Accept"
    base = str(client.make_url("")).rstrip("/")
    assert await response.json() == {
        "service": service.name,
        "version": __version__,
        "links": {name: base + path for name, path in LINKS.items()},
        "example": base + service.examples[0],
    } | ({"currency": "EUR"} if service is COMMERCE else {})
    for path in LINKS.values():
        assert (await client.get(path)).status == 200


@each_indexed
async def test_index__a_browser__a_page_with_links(client: Client, service: Service) -> None:
    response = await client.get("/", headers=BROWSER)
    assert (response.status, response.content_type) == (200, "text/html")
    assert ALWAYS.items() <= dict(response.headers).items()
    assert response.headers["Vary"] == "Accept"
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
    page = await response.text()
    assert f"<h1>Rowlock {service.name} <small>{__version__}</small></h1>" in page
    for link in re.findall('href="(.*?)"', page):
        assert (await client.get(f"/{link}")).status == 200
    assert re.findall('href="(.*?)"', page) == [path[1:] for path in LINKS.values()]
    [line] = re.findall("<pre.*?>(.*)</pre>", page)
    url = client.make_url(service.examples[0])
    assert unescape(line) == f"curl -s '{url}' -H \"Authorization: Bearer $TOKEN\""


async def test_index__an_open_service__an_example_without_a_token(serve: Serve) -> None:
    page = await (await (await serve()).get("/", headers=BROWSER)).text()
    assert "Authorization" not in page


@each_indexed
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
async def test_index__head__the_same_headers(client: Client, service: Service, accept: str) -> None:
    headers = {"Accept": accept, "X-Request-ID": "r"}
    got, head = [await client.request(each, "/", headers=headers) for each in ("GET", "HEAD")]
    assert (head.status, await head.read()) == (200, b"")
    assert head.content_type == accept
    assert {**head.headers, "Date": ""} == {**got.headers, "Date": ""}


@each_indexed
async def test_index__any_answer__no_secret(client: Client, service: Service) -> None:
    for path in ("/", "/docs"):
        for headers in ({}, BROWSER):
            shown = await (await client.get(path, headers=headers)).text()
            assert not any(token in shown for token in TOKENS.values())


@pytest.mark.parametrize("service", [COMMERCE])
async def test_index__other_methods__405(client: Client) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        response = await client.request(method, "/")
        assert await refusal(response) == (405, "method_not_allowed")
        assert response.headers["Allow"] == "GET,HEAD"


async def test_index__behind_a_proxy__links_to_its_address(serve: Serve) -> None:
    commerce = await serve(public_commerce_url="https://shop.example/rowlock")
    links = (await (await commerce.get("/")).json())["links"]
    assert links["docs"] == "https://shop.example/rowlock/docs"
    page = await (await commerce.get("/", headers=BROWSER)).text()
    assert "https://shop.example/rowlock/api/users/johndoe" in page


@pytest.mark.parametrize("host", ["<i>", "a'b", "$(id)", 'x"y'])
async def test_pages__malformed_host__not_repeated(serve: Serve, host: str) -> None:
    commerce = await serve()
    for path in ("/", "/docs"):
        for accept in (BROWSER, {}):
            response = await commerce.get(path, headers={"Host": host, **accept})
            assert host not in unescape(await response.text())
