"""What holds for every answer, and what there is to ask for."""

import asyncio
import copy
import re
from collections.abc import Iterator
from typing import Any

import orjson
from aiohttp import ClientResponse, web
from yarl import URL

from rowlock import errors, rejections
from rowlock.http.access import METRICS_PATH, PUBLIC_PATHS
from rowlock.http.routes import endpoint_of
from rowlock.http.service import Service
from rowlock.services import COMMERCE, PROJECTS
from rowlock.settings import Settings
from tests.support.databases import TABLES
from tests.support.panel import SECRET
from tests.support.roles import create_app
from tests.support.types import Client, Connection

STATUS_NAMES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    409: "CONFLICT",
    410: "GONE",
    412: "PRECONDITION_FAILED",
    413: "CONTENT_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    422: "UNPROCESSABLE_CONTENT",
    429: "TOO_MANY_REQUESTS",
    431: "REQUEST_HEADER_FIELDS_TOO_LARGE",
    500: "INTERNAL_SERVER_ERROR",
    503: "SERVICE_UNAVAILABLE",
    505: "HTTP_VERSION_NOT_SUPPORTED",
}
HEADERS = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}


def path_of(route: web.AbstractRoute) -> str:
    """The path of a route as the router has it, with its parameters as {name}."""
    assert route.resource is not None
    return route.resource.canonical


def routes_of(service: Service) -> list[tuple[str, str]]:
    """Every method and path that a service answers, as its router has them."""
    app = create_app(service, Settings(), "postgresql://")
    return [(route.method, path_of(route)) for route in api_routes(app)]


def api_routes(app: web.Application) -> Iterator[web.AbstractRoute]:
    """Every route of an application but for its pages, as its router has them."""
    for route in app.router.routes():
        endpoint = endpoint_of(route.handler)
        if endpoint is None or "session" not in endpoint.security:
            yield route


# The paths that each of these services answers GET at.
GETS_OF: dict[str, list[str]] = {
    service.name: [path for method, path in routes_of(service) if method == "GET"]
    for service in (COMMERCE, PROJECTS)
}
# Those of the commerce service.
ROUTES = sorted(routes_of(COMMERCE))
BOOKING = {"datetime": "2030-05-01T12:00:00Z", "totalfee": 250, "services": ["1"]}
PAID = "2"  # the id of an invoice, in the fixture `clients`
RETIRED = "2"  # the id of a product and of a service, in the fixture `clients`
# Orders that tests work on: the first is approved, so that it can be refunded, and this one is not.
PENDING_ORDER = "2"
ADD_ORDERS = """
    INSERT INTO orders (user_id, status, amount, settled_at)
    VALUES (1, 'approved', 500, now()), (1, 'pending', 500, NULL);
    INSERT INTO order_items (order_id, product_id, quantity, price)
    SELECT id, 1, 1, 500 FROM orders"""
# Each route that takes an Idempotency-Key, with a request that it takes once, of the fixture
# `clients`.
WRITES = {
    ("commerce", "POST", "/api/orders"): {"order": {"items": ["netflix"], "user_id": "ada"}},
    ("commerce", "POST", "/orders"): {"items": [{"productId": 1, "quantity": 2}], "userId": 1},
    ("commerce", "POST", "/orders/{id}/cancel"): None,
    ("commerce", "POST", "/orders/{id}/refunds"): {"amountCents": 100},
    ("commerce", "POST", "/invoices"): {"user_id": 1, "amount": 100, "label": "Work"},
    ("commerce", "POST", "/invoices/batch"): {
        "invoices": [{"user_id": 1, "amount": 100, "label": "Work"}]
    },
    ("commerce", "POST", "/invoices/{id}/pay"): None,
    ("commerce", "POST", "/users"): {"username": "edsger", "email": "edsger@example.com"},
    ("commerce", "PATCH", "/users/{id}"): {"first_name": "Ada"},
    ("commerce", "POST", "/users/{id}/anonymise"): None,
    ("commerce", "POST", "/invoices/{id}/void"): None,
    ("commerce", "POST", "/invoices/{id}/reverse"): None,
    ("commerce", "POST", "/transfers"): {
        "from_user_id": 1,
        "to_user_id": 2,
        "amount": 100,
        "label": "Lunch",
    },
    ("commerce", "POST", "/service-orders"): BOOKING,
    ("commerce", "PUT", "/service-orders/{id}"): BOOKING,
    ("commerce", "DELETE", "/service-orders/{id}"): None,
    ("commerce", "POST", "/catalogue/products"): {"slug": "laptop", "name": "Laptop", "price": 1},
    ("commerce", "PATCH", "/catalogue/products/{id}"): {"price": 1},
    ("commerce", "POST", "/catalogue/products/{id}/retire"): None,
    ("commerce", "POST", "/catalogue/products/{id}/restore"): None,
    ("commerce", "POST", "/catalogue/services"): {"name": "Testing"},
    ("commerce", "PATCH", "/catalogue/services/{id}"): {"name": "Testing"},
    ("commerce", "POST", "/catalogue/services/{id}/retire"): None,
    ("commerce", "POST", "/catalogue/services/{id}/restore"): None,
    ("commerce", "DELETE", "/keys/{name}"): None,
    ("projects", "DELETE", "/keys/{name}"): None,
    ("projects", "POST", "/projects/{id}/deployment"): None,
    ("projects", "POST", "/deployments/{id}/cancel"): None,
    ("projects", "POST", "/deployment/webhook"): {"id": 1, "status": "building"},
}
# What each of these is about, where that is not the thing with the id 1.
OTHER_IDS = {
    "/orders/{id}/cancel": PENDING_ORDER,
    "/invoices/{id}/reverse": PAID,
    "/catalogue/products/{id}/restore": RETIRED,
    "/catalogue/services/{id}/restore": RETIRED,
}
# Writes without an Idempotency-Key: the answer has a secret, or the event an id of its own.
UNKEPT = {
    ("POST", "/keys"),
    ("POST", "/keys/{name}/rotate"),
    ("POST", "/events"),
    ("POST", "/events/batch"),
}
SYSTEM = {*PUBLIC_PATHS, METRICS_PATH}  # paths that are no feature's
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def server_of(client: Client) -> web.Server:
    """What holds the connections of a client's service."""
    runner = client.server.runner
    assert runner is not None
    assert runner.server is not None
    return runner.server


def paths(method: str) -> list[str]:
    """The paths that take `method`, with their parameters as {name}."""
    return [path for known, path in ROUTES if known == method]


def address(path: str, **parameters: str) -> str:
    """The path with its parameters filled in: those given, or good ones."""
    good = {"id": "1", "user_id": "ada", "name": "partner", "refund_id": "1"}
    return path.format(**good | parameters)


async def refusal(response: ClientResponse) -> tuple[int, str]:
    """The status and the code of an error, in the envelope and with the headers it must have."""
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert response.headers["X-Request-ID"]
    assert response.headers.get(HEADERS.get(response.status, "X-Request-ID"))
    body = await response.json()
    code = body["error"]
    if response.url.path.startswith("/api/"):
        assert body == {"error": code}
        return response.status, code
    assert list(body) == ["status", "error", "name", "message", "details"]
    assert body["status"] == STATUS_NAMES[response.status]
    assert body["name"] == code.title().replace("_", "")
    assert re.fullmatch(r"\S.*[.]", body["message"], re.DOTALL)
    kind = vars(errors).get(body["name"]) or getattr(rejections, body["name"])
    if issubclass(kind, rejections.Rejection):
        assert body["details"].keys() == kind.example.keys()
    else:
        assert isinstance(body["details"], dict)
    return response.status, code


async def send(
    client: Client, method: str, path: str, body: Any = None, *, key: str | None, **headers: str
) -> ClientResponse:
    """Send one of WRITES, about the thing that it is good for, with what proves its right."""
    if path.endswith("webhook"):
        headers["Authorization"] = SECRET
    if key is not None:
        headers["Idempotency-Key"] = key
    at = address(path, id=OTHER_IDS.get(path, "1"))
    return await client.request(method, at, json=body, headers=headers)


def within(client: Client, url: str) -> str:
    """The path and query of an absolute URL, which must be one of the client's service."""
    root = str(client.make_url("/"))
    assert url.startswith(root), url
    return url.removeprefix(root.rstrip("/"))


def next_page(response: ClientResponse) -> URL:
    """Where the Link header of a page of a list leads to."""
    url = response.links["next"]["url"]
    assert isinstance(url, URL)
    return url


async def walk(client: Client, url: str) -> list[list[Any]]:
    """The pages of a list, by their Link headers."""
    pages = []
    asked = set()
    while url:
        assert url not in asked
        asked.add(url)
        response = await client.get(url)
        assert response.status == 200
        pages.append(await response.json())
        link = response.headers.get("Link", "")
        match = re.fullmatch(r'<([^<>]*)>; rel="next"', link)
        assert bool(link) == bool(match)
        url = within(client, match[1]) if match else ""
    return pages


async def stored(connection: Connection) -> dict[str, list[str]]:
    """Every row of every table."""
    tables = [name for [name] in await connection.fetch(TABLES)]
    # At once: to prepare a statement for each table takes several times as long.
    rows = "SELECT '{0}', array(SELECT t::text FROM {0} AS t ORDER BY 1)"
    query = " UNION ALL ".join(rows.format(name) for name in tables)
    return {row[0]: row[1] for row in await connection.fetch(query)}


async def told(connection: Connection, name: str) -> list[tuple[str, Any]]:
    """The subject and the payload of every event of that name in the outbox."""
    rows = await connection.fetch(
        "SELECT subject, payload FROM outbox WHERE name = $1 ORDER BY xid, position", name
    )
    return [(row["subject"], orjson.loads(row["payload"])) for row in rows]


def raw_request(start: str, *parts: bytes) -> bytes:
    """A request up to its headers, and what else there is of it."""
    return f"{start} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode() + b"".join(parts)


async def exchange(
    client: Client, request: bytes, *, earlier: str | None = None, hang_up: bool = False
) -> bytes:
    """Everything that the service answers to `request`, until it closes the connection.

    On that, `earlier` was a path asked for, and answered with JSON.
    """
    reader, writer = await asyncio.open_connection(client.host, client.port)
    async with asyncio.timeout(10):
        if earlier is not None:
            writer.write(f"GET {earlier} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            headers = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.findall(rb"Content-Length: (\d+)", headers)[0]))
        writer.write(request)
        if hang_up:
            writer.write_eof()
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value in a JSON document, with its place."""
    yield at, value
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*at, key))


def replaced(document: Any, at: tuple[Any, ...], value: Any) -> Any:
    """A copy of the document with another value at one place."""
    if not at:
        return value
    document = copy.deepcopy(document)
    parent = document
    for key in at[:-1]:
        parent = parent[key]
    parent[at[-1]] = value
    return document


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
