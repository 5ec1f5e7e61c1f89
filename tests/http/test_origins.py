"""Pages of other origins: refused, unless their origin is allowed, and then served in full."""

from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.http.openapi.refusals import WRITES as UNSAFE
from rowlock.http.openapi.routes import DOCUMENTS
from rowlock.http.origins import EXPOSED
from rowlock.services import COMMERCE, EVENTS, PROJECTS, SERVICES
from rowlock.settings import Settings
from tests.support.contract import (
    ROUTES,
    WRITES,
    address,
    bearer,
    exchange,
    raw_request,
    refusal,
    send,
)
from tests.support.environments import settings_from
from tests.support.roles import create_app
from tests.support.services import quiet
from tests.support.types import Client, Serve, Unchanged

APP = "https://app.example.com"
ENVIRON = {"ROWLOCK_CORS_ORIGINS": f"{APP}, http://localhost:5173,capacitor://localhost"}
ALLOWED = settings_from(ENVIRON).http.cors_origins
OWN = "http://shop.example"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ASK = {"Access-Control-Request-Method": "POST"}
CORS = "Access-Control-Allow-Origin"

FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
    {"Sec-Fetch-Site": "same-site", "Origin": OWN},
    {"Sec-Fetch-Site": "cross-origin-of-the-future"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "https://shop.example.evil.example"},
    {"Origin": "http://shop.example:8080"},
    {"Origin": "http://xshop.example"},
    {"Origin": "shop.example"},
    {"Origin": "http:"},
    {"Origin": "http://"},
    {"Origin": "é"},
    {"Origin": "*"},
    {"Origin": APP},
    {"Origin": "file://"},
]
OTHERS: list[dict[str, str]] = [
    {},
    {"Sec-Fetch-Site": "same-origin", "Origin": OWN},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "", "Origin": ""},
    {"Origin": OWN},
    {"Origin": "https://shop.example"},  # a proxy has taken the request as https
]


@pytest.mark.parametrize("marks", FOREIGN, ids=ascii)
async def test_write__of_a_foreign_page__403_and_nothing_changed(
    clients: dict[str, Client], unchanged: Unchanged, marks: dict[str, str]
) -> None:
    marks = {"Host": "shop.example"} | marks
    async with unchanged():
        for (service, method, path), body in WRITES.items():
            headers = marks if body else marks | FORM
            response = await send(clients[service], method, path, body, key="k", **headers)
            assert await refusal(response) == (403, "cross_site_request"), path


@pytest.mark.parametrize("marks", FOREIGN, ids=ascii)
async def test_get_user__of_a_foreign_page__403_where_it_would_open_an_account(
    commerce: Client, ada: int, unchanged: Unchanged, marks: dict[str, str]
) -> None:
    marks = {"Host": "shop.example"} | marks
    async with unchanged():
        response = await commerce.get("/api/users/grace", headers=marks)
        assert await refusal(response) == (403, "cross_site_request")
        assert (await commerce.get("/api/users/Ada", headers=marks)).status == 200
        assert (await commerce.head("/api/users/grace", headers=marks)).status == 404


@pytest.mark.parametrize("marks", OTHERS, ids=ascii)
async def test_get_user__of_its_own_page_or_another_client__opens_an_account(
    commerce: Client, marks: dict[str, str]
) -> None:
    response = await commerce.get("/api/users/grace", headers={"Host": "shop.example"} | marks)
    assert response.status == 200


@pytest.mark.parametrize("lines", [b"Origin: \xff", b"Sec-Fetch-Site: \xff"])
async def test_write__marked_in_no_text__403(serve: Serve, lines: bytes) -> None:
    for origins in ((), ALLOWED):
        commerce = await serve(cors_origins=origins)
        for request in ("POST /invoices/1/pay", "OPTIONS /orders"):
            ask = b"\r\nOrigin: \xff\r\nAccess-Control-Request-Method: POST\r\n\r\n"
            answer = await exchange(commerce, raw_request(request, lines, ask))
            assert answer.startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("marks", OTHERS, ids=ascii)
async def test_write__of_its_own_page_or_another_client__works(
    clients: dict[str, Client], marks: dict[str, str]
) -> None:
    marks = {"Host": "shop.example"} | marks
    for (service, method, path), body in WRITES.items():
        response = await send(clients[service], method, path, body, key=None, **marks)
        assert response.status < 300 or response.status == 409, path


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
async def test_every_route__of_a_foreign_page__refused_before_access_unless_it_reads(
    aiohttp_client: AiohttpClient,
    shared_database_urls: dict[str, str],
    settings: Settings,
    service: Any,
) -> None:
    app = create_app(
        quiet(service), settings.changed(commerce_token="x"), shared_database_urls[service.database]
    )
    client = await aiohttp_client(app)
    for method in ("GET", "HEAD", *UNSAFE, "PATCH", "PROPFIND", "TRACE"):
        for path in ("/healthz", "/nowhere", "/events", "/invoices"):
            response = await client.request(method, path, headers={"Sec-Fetch-Site": "cross-site"})
            assert (response.status == 403) == (method not in {"GET", "HEAD"})
            assert CORS not in response.headers


async def test_write__where_the_public_url_says_the_origin__works(serve: Serve, ada: int) -> None:
    commerce = await serve(public_commerce_url="https://api.example.com/shop")
    headers = {"Host": "internal:4000", "Origin": "https://api.example.com"}
    invoice = {"user_id": 1, "amount": 1, "label": "x"}
    assert (await commerce.post("/invoices", json=invoice, headers=headers)).status == 201
    headers["Origin"] = "http://api.example.com"
    response = await commerce.post("/invoices", json=invoice, headers=headers)
    assert await refusal(response) == (403, "cross_site_request")


async def test_write__where_a_trusted_proxy_tells_the_host__works(serve: Serve, ada: int) -> None:
    trusted = settings_from({"ROWLOCK_TRUSTED_PROXIES": "127.0.0.1"}).http.trusted_proxies
    told = {"X-Forwarded-Host": "shop.example", "X-Forwarded-Proto": "https"}
    headers = {"Host": "internal:4000", "Origin": "https://shop.example"} | told
    invoice = {"user_id": 1, "amount": 1, "label": "x"}
    for proxies, status in ((trusted, 201), ((), 403)):
        commerce = await serve(trusted_proxies=proxies)
        response = await commerce.post("/invoices", json=invoice, headers=headers)
        assert response.status == status


# --- origins that are allowed ---------------------------------------------------------------------


@pytest.mark.parametrize("origin", ALLOWED)
async def test_allowed__write__works_and_may_be_read(serve: Serve, ada: int, origin: str) -> None:
    commerce = await serve(cors_origins=ALLOWED)
    headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
    invoice = {"user_id": 1, "amount": 1, "label": "x"}
    response = await commerce.post("/invoices", json=invoice, headers=headers)
    assert response.status == 201
    assert response.headers[CORS] == origin
    assert "Location" in response.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in response.headers


# What these answer is in one media type or another.
BY_ACCEPT = {"/", "/user/{id}/statement"}


@pytest.mark.parametrize("path", sorted({path for _, path in ROUTES} | {"/nowhere"}))
async def test_allowed__every_answer__may_be_read_by_that_origin_alone(
    serve: Serve, ada: int, path: str
) -> None:
    commerce = await serve(cors_origins=ALLOWED, commerce_token="x")
    for token in ("x", "wrong"):
        for method in ("GET", "POST", "DELETE"):
            for origin in (APP, None, "https://evil.example", "null"):
                headers = bearer(token) | ({"Origin": origin} if origin else {})
                response = await commerce.request(method, address(path), headers=headers)
                assert response.headers.get(CORS) == (APP if origin == APP else None)
                by_accept = ["Accept"] if path in BY_ACCEPT and response.status == 200 else []
                assert response.headers.getall("Vary") == [*by_accept, "Origin"]


@pytest.mark.parametrize("service", [COMMERCE, PROJECTS], ids=lambda service: service.name)
async def test_preflight__allowed_origin__answered_before_access(
    aiohttp_client: AiohttpClient, database_url: str, settings: Settings, service: Any
) -> None:
    changed = settings.changed(cors_origins=ALLOWED, commerce_token="x")
    client = await aiohttp_client(create_app(quiet(service), changed, database_url))
    for path in ("/", "/orders", "/projects", "/nowhere"):
        headers = ASK | {"Origin": APP, "Access-Control-Request-Headers": "idempotency-key"}
        response = await client.options(path, headers=headers)
        assert (response.status, await response.read()) == (204, b"")
        assert response.headers[CORS] == APP
        assert response.headers["Vary"] == "Origin"
        allowed = response.headers["Access-Control-Allow-Methods"].split(", ")
        assert {"GET", "HEAD", "POST"} <= set(allowed)
        names = {
            name.lower() for name in response.headers["Access-Control-Allow-Headers"].split(", ")
        }
        assert {"authorization", "content-type", "idempotency-key", "x-request-id"} <= names
        assert "traceparent" in names
        assert ("if-match" in names) == (service is COMMERCE)
        assert response.headers["Access-Control-Max-Age"] == "3600"
        assert response.headers["X-Request-ID"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{APP}:8443", f"{APP}/", "*"])
@pytest.mark.parametrize("origins", [ALLOWED, ()])
async def test_preflight__other_origin__refused(
    serve: Serve, origins: tuple[str, ...], origin: str
) -> None:
    commerce = await serve(cors_origins=origins)
    response = await commerce.options("/api/orders", headers=ASK | {"Origin": origin})
    assert await refusal(response) == (403, "cross_site_request")
    assert CORS not in response.headers


async def test_options__no_preflight__405(serve: Serve) -> None:
    commerce = await serve(cors_origins=ALLOWED)
    for headers in ({}, {"Origin": APP}, ASK, {"Sec-Fetch-Site": "cross-site"}):
        response = await commerce.options("/orders", headers=headers)
        assert await refusal(response) == (405, "method_not_allowed")


async def test_nothing_set__answers__without_a_trace(commerce: Client, ada: int) -> None:
    response = await commerce.get("/user/1", headers={"Origin": APP})
    assert response.status == 200
    assert not [name for name in response.headers if name.startswith("Access-") or name == "Vary"]


async def test_events__any_origin__not_for_pages(
    aiohttp_client: AiohttpClient, events_database_url: str, settings: Settings
) -> None:
    changed = settings.changed(cors_origins=ALLOWED)
    client = await aiohttp_client(create_app(quiet(EVENTS), changed, events_database_url))
    response = await client.options("/events", headers=ASK | {"Origin": APP})
    assert await refusal(response) == (403, "cross_site_request")


@pytest.mark.parametrize("service", [COMMERCE, PROJECTS], ids=lambda service: service.name)
async def test_exposed__every_header_of_a_documented_answer(
    service: Any, settings: Settings
) -> None:
    app = create_app(service, settings.changed(commerce_token="x"), "postgresql://")
    document = app[DOCUMENTS].openapi
    answers = [
        *document["components"]["responses"].values(),
        *(
            answer
            for methods in document["paths"].values()
            for operation in methods.values()
            for answer in operation["responses"].values()
        ),
    ]
    names = {name for answer in answers for name in answer.get("headers", ())}
    assert names >= {"Location", "Link", "Retry-After"}
    assert names <= set(EXPOSED)
