"""Every malformed body at every route that takes one, every malformed id and query.

The routes are the router's; the tables here say what is right, and everything else is derived.
"""

import gzip
import io
import json
import math
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from yarl import URL

from rowlock.http.openapi.shapes import BIGINT_MAX
from rowlock.settings import Settings
from tests.support.contract import (
    ADD_ORDERS,
    PENDING_ORDER,
    ROUTES,
    SYSTEM,
    address,
    paths,
    places,
    refusal,
    replaced,
)
from tests.support.databases import cloned
from tests.support.types import Client, Unchanged

BOOKING = {"datetime": "2023-05-01T12:00:00Z", "totalfee": 250, "services": ["1"]}
INVOICE = {
    "user_id": 1,
    "amount": 11350,
    "label": "Work for April",
    "reference": "2026-0042",
    "metadata": {"project": "17"},
}

# Each route that takes a body, with one that it takes: {} where it needs none.
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/api/orders"): {"order": {"items": ["netflix"], "user_id": "ada"}},
    ("POST", "/invoices"): INVOICE,
    ("POST", "/invoices/batch"): {"invoices": [INVOICE]},
    ("POST", "/invoices/{id}/pay"): {},
    ("POST", "/users"): {
        "username": "edsger",
        "email": "edsger@example.com",
        "first_name": "Edsger",
        "last_name": "Dijkstra",
        "opening_balance": 500,
    },
    ("PATCH", "/users/{id}"): {
        "email": "ada@example.com",
        "first_name": "Ada",
        "last_name": "Lovelace",
    },
    ("POST", "/users/{id}/anonymise"): {},
    ("POST", "/invoices/{id}/reverse"): {},
    ("POST", "/invoices/{id}/void"): {},
    ("POST", "/orders"): {
        "items": [{"productId": 1, "quantity": 2}],
        "userId": 1,
        "reference": "2026-0042",
    },
    ("POST", "/orders/{id}/cancel"): {},
    ("POST", "/orders/{id}/refunds"): {"amountCents": 100, "reference": "2026-0042"},
    ("POST", "/service-orders"): BOOKING,
    ("PUT", "/service-orders/{id}"): BOOKING | {"datetime": "2024-05-01T12:00:00Z"},
    ("DELETE", "/service-orders/{id}"): {},
    ("POST", "/transfers"): {
        "from_user_id": 1,
        "to_user_id": 2,
        "amount": 2500,
        "label": "Lunch",
        "reference": "2026-0042",
        "metadata": {"project": "17"},
    },
    ("POST", "/keys"): {
        "name": "another",
        "scopes": ["keys:write"],
        "rate": 5,
        "expires_at": "2100-01-01T00:00:00Z",
    },
    ("POST", "/keys/{name}/rotate"): {"overlap_s": 60},
    ("DELETE", "/keys/{name}"): {},
    ("POST", "/catalogue/products"): {"slug": "laptop", "name": "Laptop", "price": 129900},
    ("PATCH", "/catalogue/products/{id}"): {"price": 8999},
    ("POST", "/catalogue/services"): {"name": "Testing"},
    ("PATCH", "/catalogue/services/{id}"): {"name": "Testing"},
    # Last, as what is retired can't be ordered or booked.
    ("POST", "/catalogue/products/{id}/retire"): {},
    ("POST", "/catalogue/products/{id}/restore"): {},
    ("POST", "/catalogue/services/{id}/retire"): {},
    ("POST", "/catalogue/services/{id}/restore"): {},
}
# May be left out, or null.
OPTIONAL = {"userId", "amountCents", "rate", "expires_at", "overlap_s", "reference", "metadata"}
OPTIONAL |= {"email", "first_name", "last_name", "opening_balance"}
NAMES_FREELY = {"metadata"}  # the client chooses the names of its members
MAY_BE_ZERO = {"totalfee", "overlap_s", "price", "opening_balance"}
MAY_BE_EMPTY = {"project", "first_name", "last_name"}
MAY_HAVE_LINES = {"label", "project"}
MAY_BE_NUMBERS = {"services"}  # their ids
# The filters that lists of documents have.
DOCUMENTS = {
    "user_id": ["", "0", "-1", "x", "1.0", "9" * 19],
    "from": ["", "x", "2023-05-01", "2023-05-01T12:00:00", "%00", "10000-01-01T00:00:00Z"],
    "to": ["", "x", "1", "2023-13-01T00:00:00Z", "%FF", "0001-01-01T00:00:00Z"],
    "reference": ["", "%00", "x" * 101, "%20", "a%0Ab"],
}

OTHER_IDS = {"/orders/{id}/cancel": PENDING_ORDER, "/invoices/{id}/void": "2"}  # 1 is settled

NO_TIMES = ["", "x", "1", "2023-05-01", "2023-05-01T12:00:00", "2023-05-01T12:00Z", "%00", "%FF"]
NO_TIMES += ["2023-W01-1T00:00:00Z", "20230501T120000Z", "2023-13-01T00:00:00Z", "2023-05-01 12:00"]
NO_TIMES += ["10000-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "2023-05-01T24:00:00Z", "now"]
NO_TIMES += ["9999-12-31T23:59:59.999999Z", "2023-05-01T12:00:00.1234567Z", "infinity", "-infinity"]

# Each GET route of a feature, with the query parameters that it takes besides limit
# and cursor, and wrong values of them; None where it is no list in pages.
QUERIES: dict[str, dict[str, list[str]] | None] = {
    "/api/products": None,
    "/api/users/{user_id}": None,
    "/invoices": DOCUMENTS | {"status": ["", "x", "PAID"]},
    "/catalogue/products": {"retired": ["", "x", "1", "True", "null"]},
    "/catalogue/products/{id}": None,
    "/catalogue/services": {"retired": ["", "x", "0", "FALSE", "no"]},
    "/catalogue/services/{id}": None,
    "/invoices/{id}": None,
    "/keys": {},
    "/keys/{name}": None,
    "/orders": {"status": ["", "x", "paid"], **DOCUMENTS},
    "/orders/{id}": None,
    "/orders/{id}/refunds": {},
    "/orders/{id}/refunds/{refund_id}": None,
    "/products": None,
    "/service-orders": {
        "from": ["", "x", "2023-05-01", "2023-05-01T12:00:00", "%00", "10000-01-01T00:00:00Z"],
        "to": ["", "x", "1", "2023-13-01T00:00:00Z", "%FF"],
        "service": ["", "0", "-1", "x", "1.0", "9" * 19],
    },
    "/service-orders/{id}": None,
    "/services": None,
    "/transfers": DOCUMENTS,
    "/transfers/{id}": None,
    "/user/{id}": None,
    "/user/{id}/balance": None,
    "/user/{id}/ledger": {},
    "/user/{id}/statement": {"from": NO_TIMES, "to": NO_TIMES},
    "/users": {
        "username": ["", "%20", "%00", "a%0Ab", "x" * 101, "%ED%A0%80"],
        "email": ["", "%20", "%00", "%C2%85", "x" * 321],
    },
}
GETS = [path for path in paths("GET") if path not in SYSTEM]
WHOLE_LISTS = {"/products", "/services"}
LISTS_WITHIN = {"/user/{id}/statement"}  # pages of a list that is a part of an answer

# Each parameter of a path with wrong values of it, percent-encoded.
NO_UTF8 = ["%FF", "%C3", "a%ED%A0%80"]
NO_ID = [
    "0",
    "01",
    "%7Bx%7D",
    "%C2%B2",
    "%D9%A1",
    "1_0",
    "null",
    "-0",
    "-1",
    "x",
    "1.0",
    "1e3",
    "+1",
    "%201",
    "1%0A",
    "0x1",
    "%EF%BC%91",
    "%00",
]
PATH_PARAMETERS = {
    "id": [*NO_ID, *NO_UTF8, str(2**63), "9" * 19, "1" + "0" * 300],
    "refund_id": [*NO_ID, *NO_UTF8, str(2**63), "9" * 19, "1" + "0" * 300],
    "user_id": [
        "x" * 101,
        "%C3%A9" * 101,
        "%00",
        "a%0Ab",
        "%1B",
        "%7F",
        "%C2%85",
        *NO_UTF8,
        "ada%20",
        "%20ada",
        "%20",
        "%E2%80%8B",
        "%CC%81",
    ],
    "name": [
        *NO_UTF8,
        "%00",
        "a%0A",
        "Partner",
        "partner%20",
        "-",
        "x" * 65,
        "p%D0%B0rtner",
        "a%C2%85",
    ],
}

INTEGERS = [
    "1",
    "1.0",
    True,
    False,
    1.5,
    2.0**53,
    1e300,
    -1.0,
    math.nan,
    math.inf,
    0,
    -1,
    2**63,
    2**64,
    10**400,
]
BLANKS = [" ", "\u3000", "\u200b", " \u00ad\u2060 "]
STRINGS = [*BLANKS, "", "\0", "a\0b", "a\nb", "\x1b", "\x7f", "\x85", "\ud800", "x" * 501, 1, True]
WRONG: dict[type, list[Any]] = {
    int: [None, [], {}, *INTEGERS],
    str: [None, [], {}, *STRINGS],
    list: [None, {}, "x", 1, [], [None], [[]], [1], ["x"] * 101],
    dict: [None, [], "x", 1, True, 1.5],
}
UNKNOWN_FIELDS = ["x", "", "message", "self", "details", "_schema", "a.b", "\0", "\u20ac"]

CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "GZip": gzip.compress,
    "x-gzip": gzip.compress,
    "identity, gzip": gzip.compress,
    "x": bytes,
}
NO_JSON = [None, "", "json", "text/json", "text/plain", "application/x-www-form-urlencoded", "*/*"]
NO_JSON += ["application/jsonl", "application/json+x", "application/json, text/plain", "\u20ac"]

CURSORS = ["", "x", "1", "MA==", "LTE=", "MQ", "=", "MS4w", "4pyT", "\u20ac", "%00", "MTAw" * 20]
PAGE_QUERIES = {
    "limit": ["", "0", "-1", "101", "x", "1.0", "1e1", " 1", "1 ", "\u0661", "9" * 400, "%00"],
    "cursor": CURSORS,
    **{name: ["1"] for name in ("x", "message", "self", "Limit", "before", "_schema", "%00", "")},
}
QUERIES_AT_ALL = ["limit=1&limit=1", "x=1&x=1", "limit", "limit=1;x=1", "%FF=1", "="]
QUERIES_AT_ALL += ["&".join(f"{number:x}=1" for number in range(1000))]


def wrong_values(at: tuple[Any, ...], value: Any) -> Iterator[Any]:
    """What must not stand in a document instead of `value`."""
    optional = bool(at) and at[-1] in OPTIONAL
    zero = bool(at) and at[-1] in MAY_BE_ZERO
    lines = bool(at) and at[-1] in MAY_HAVE_LINES
    numbers = any(key in MAY_BE_NUMBERS for key in at)
    for wrong in WRONG[type(value)]:
        if (optional and wrong is None) or (zero and type(wrong) is int and wrong == 0):
            continue
        if (lines and wrong == "a\nb") or (at and at[-1] in MAY_BE_EMPTY and wrong == ""):
            continue
        if not (numbers and json.dumps(wrong) == ("[1]" if isinstance(value, list) else "1")):
            yield wrong
    if isinstance(value, dict):
        yield from (value | {key: 1} for key in UNKNOWN_FIELDS)
        required = () if at and at[-1] in NAMES_FREELY else value.keys() - OPTIONAL
        yield from ({k: v for k, v in value.items() if k != key} for key in required)


def malformed(document: Any) -> Iterator[bytes]:
    """What is no JSON, or too much of it."""
    good = json.dumps(document).encode()
    if not document.keys() <= OPTIONAL:
        yield b""  # a route that needs no body may get none
    yield from (b" ", b"\0", good[:-1], good + b"}", good + good, b"\xef\xbb\xbf" + good)
    yield from (good.decode().encode(encoding) for encoding in ("utf-16", "utf-32"))
    yield from (good.replace(b"}", b",}"), b"// no\n" + good, good.replace(b"{", b"{'x':1,", 1))
    yield from (b'{"\xff":1}', b'{"\xed\xa0\x80":1}', b'{"\\ud800":1}', b'{"\\udc00\\ud800":1}')
    yield from (b'{"x":' + number + b"}" for number in (b"NaN", b"Infinity", b"-", b"01", b"0x1"))
    yield b'{"x":' + b"9" * 5000 + b"}"
    for depth in (500, 1000, 1024, 5000):
        yield b"[" * depth + b'"\\u0000"' + b"]" * depth
        yield b'{"x":' * depth + b"1" + b"}" * depth


def twice(document: Any, at: tuple[Any, ...], key: str) -> Iterator[bytes]:
    """The document with a member of the object at `at` given again, in several spellings."""
    [members] = [value for place, value in places(document) if place == at]
    again = json.dumps(replaced(document, at, members | {"<again>": members[key]})).encode()
    for spelling in (key, f"\\u{ord(key[0]):04x}{key[1:]}"):
        yield again.replace(b"<again>", spelling.encode())
    yield again.replace(b'"<again>": ', f'"{key}":"\\u003a","{key}": '.encode())


BODY_CASES = {
    f"{' '.join(route)} {'.'.join(map(str, at)) or 'whole'}": (
        route,
        [json.dumps(replaced(good, at, wrong)).encode() for wrong in wrong_values(at, value)],
    )
    for route, good in BODIES.items()
    for at, value in places(good)
} | {f"{' '.join(route)} no JSON": (route, list(malformed(good))) for route, good in BODIES.items()}

# Each member in a body, given a second time; and where.
REPEATED = {
    f"{' '.join(route)} {'.'.join(map(str, (*at, key)))}": (
        route,
        list(twice(good, at, key)),
        ".".join(map(str, (*at, key))),
    )
    for route, good in BODIES.items()
    for at, value in places(good)
    if isinstance(value, dict)
    for key in value
}

# Each text in a body, with a NUL in it; and where.
NULS = {
    f"{' '.join(route)} {'.'.join(map(str, at))}": (
        route,
        [json.dumps(replaced(good, at, "a\0b")).encode()],
        ".".join(map(str, at)),
    )
    for route, good in BODIES.items()
    for at, value in places(good)
    if isinstance(value, str)
}

# Each array in a body, as long as the body may be.
CROWDED = {
    f"{' '.join(route)} {'.'.join(map(str, at))}": (route, replaced(good, at, [{}] * 16_000))
    for route, good in BODIES.items()
    for at, value in places(good)
    if isinstance(value, list)
}

GET_CASES = {
    f"{path} {name}": (path, [f"{name}={value}" for value in values])
    for path, filters in QUERIES.items()
    if filters is not None
    for name, values in (PAGE_QUERIES | filters).items()
} | {
    f"{path} at all": (path, QUERIES_AT_ALL) for path, value in QUERIES.items() if value is not None
}

PATH_CASES = {
    f"{method} {path}": (method, path, name)
    for method, path in ROUTES
    for name in PATH_PARAMETERS
    if f"{{{name}}}" in path and method != "HEAD"
}


@pytest.fixture(scope="module")
def database_url(server_url: str, template: str) -> Iterator[str]:
    """One database for all cases, as none may change anything."""
    with cloned(server_url, template) as url:
        with psycopg.connect(url) as connection:
            connection.execute(
                "INSERT INTO users (username, balance) VALUES ('ada', 5000), ('grace', 0)"
            )
            connection.execute("INSERT INTO products (slug, name, price) SELECT 'netflix', 'N', 0")
            connection.execute(
                "INSERT INTO invoices (user_id, amount, label) VALUES (1, 1, 'x'), (1, 1, 'x')"
            )
            connection.execute(ADD_ORDERS)
            connection.execute("INSERT INTO refunds (order_id, user_id, amount) VALUES (1, 1, 1)")
            connection.execute("INSERT INTO services (name) VALUES ('Inspection')")
            connection.execute(
                "INSERT INTO api_keys (service, name, scopes, created_by) "
                "VALUES ('commerce', 'partner', '{keys:write}', 'cli')"
            )
        yield url


def test_tables__every_route__is_in_them() -> None:
    assert {method for method, _ in ROUTES} == {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
    assert [route for route in ROUTES if route[0] not in {"GET", "HEAD"}] == sorted(BODIES)
    assert sorted(QUERIES) == GETS
    parameters = {part[1:-1] for _, path in ROUTES for part in path.split("/") if "{" in part}
    assert parameters == set(PATH_PARAMETERS)


@pytest.mark.parametrize(("route", "bodies"), BODY_CASES.values(), ids=BODY_CASES)
async def test_body__malformed__400_and_nothing_changed(
    commerce: Client, unchanged: Unchanged, route: tuple[str, str], bodies: list[bytes]
) -> None:
    method, path = route
    async with unchanged():
        for body in bodies:
            response = await commerce.request(
                method, address(path), data=body, headers={"Content-Type": "application/json"}
            )
            status, code = await refusal(response)
            assert (status, code in {"invalid_json", "invalid_request"}) == (400, True), body[:100]


@pytest.mark.parametrize(("route", "bodies", "path"), REPEATED.values(), ids=REPEATED)
async def test_body__name_twice__400_naming_it_and_nothing_changed(
    commerce: Client, unchanged: Unchanged, route: tuple[str, str], bodies: list[bytes], path: str
) -> None:
    await check_named(commerce, unchanged, route, bodies, path, "Must not be given twice.")


@pytest.mark.parametrize(("route", "bodies", "path"), NULS.values(), ids=NULS)
async def test_body__nul__400_naming_it_and_nothing_changed(
    commerce: Client, unchanged: Unchanged, route: tuple[str, str], bodies: list[bytes], path: str
) -> None:
    await check_named(commerce, unchanged, route, bodies, path, "Must not contain a NUL character.")


async def check_named(
    commerce: Client,
    unchanged: Unchanged,
    route: tuple[str, str],
    bodies: list[bytes],
    path: str,
    problem: str,
) -> None:
    method, template = route
    async with unchanged():
        for body in bodies:
            response = await commerce.request(
                method, address(template), data=body, headers={"Content-Type": "application/json"}
            )
            assert await refusal(response) == (400, "invalid_request"), body
            if not template.startswith("/api/"):
                answer = await response.json()
                assert answer["details"] == {path: [problem]}
                assert answer["message"] == f"The request is not valid: {path}: {problem}"


@pytest.mark.parametrize(("route", "body"), CROWDED.values(), ids=CROWDED)
async def test_body__far_too_many_items__one_complaint(
    commerce: Client, unchanged: Unchanged, route: tuple[str, str], body: dict[str, Any]
) -> None:
    method, path = route
    async with unchanged():
        response = await commerce.request(method, address(path), json=body)
    assert await refusal(response) == (400, "invalid_request")
    assert len(await response.read()) < 1000


@pytest.mark.parametrize(("method", "path"), BODIES)
async def test_body__not_said_to_be_json__415_and_nothing_changed(
    commerce: Client, unchanged: Unchanged, method: str, path: str
) -> None:
    async with unchanged():
        for content_type in NO_JSON:
            response = await commerce.request(
                method,
                address(path),
                data=json.dumps(BODIES[method, path]).encode(),
                headers={} if content_type is None else {"Content-Type": content_type},
                skip_auto_headers=["Content-Type"],
            )
            assert await refusal(response) == (415, "unsupported_media_type"), content_type


@pytest.mark.parametrize(("method", "path"), BODIES)
async def test_body__over_the_limit__413_and_nothing_changed(
    commerce: Client, unchanged: Unchanged, settings: Settings, method: str, path: str
) -> None:
    limits = {"/invoices/batch": settings.http.invoices_body_bytes}
    blanks = b" " * limits.get(path, settings.http.body_bytes)
    body = io.BytesIO(json.dumps(BODIES[method, path]).encode() + blanks)
    headers = {"Content-Type": "application/json", "Content-Encoding": "identity"}
    async with unchanged():
        response = await commerce.request(method, address(path), data=body, headers=headers)
    assert await refusal(response) == (413, "body_too_large")


@pytest.mark.parametrize(("method", "path"), BODIES)
@pytest.mark.parametrize("coding", CODINGS)
async def test_body__compressed__415_and_nothing_changed(
    commerce: Client, unchanged: Unchanged, method: str, path: str, coding: str
) -> None:
    body = CODINGS[coding](json.dumps(BODIES[method, path]).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    async with unchanged():
        for key in ({}, {"Idempotency-Key": "x"}):
            response = await commerce.request(
                method, address(path), data=body, headers=headers | key
            )
            assert await refusal(response) == (415, "unsupported_media_type")


@pytest.mark.parametrize(("method", "path", "name"), PATH_CASES.values(), ids=PATH_CASES)
async def test_path__malformed_parameter__refused_and_nothing_changed(
    commerce: Client, unchanged: Unchanged, method: str, path: str, name: str
) -> None:
    async def ask(value: str) -> tuple[int, str]:
        url = URL(address(path, **{name: value}), encoded=True)
        response = await commerce.request(method, url, json=BODIES.get((method, path)))
        return await refusal(response)

    async with unchanged():
        # What can't be an id is answered like an id that nothing has.
        is_key = name in {"id", "name", "refund_id"}
        expected = await ask(str(BIGINT_MAX)) if is_key else (400, "invalid_request")
        assert expected[0] == (404 if is_key else 400)
        assert expected[1].endswith("_not_found" if is_key else "_request")
        for value in PATH_PARAMETERS[name]:
            assert await ask(value) == expected, value


@pytest.mark.parametrize(("path", "queries"), GET_CASES.values(), ids=GET_CASES)
async def test_list__malformed_query__400(commerce: Client, path: str, queries: list[str]) -> None:
    for query in queries:
        response = await commerce.get(f"{address(path)}?{query}")
        expected = "invalid_cursor" if query.startswith("cursor=") else "invalid_request"
        assert await refusal(response) == (400, expected), query[:100]


@pytest.mark.parametrize(("method", "path"), [r for r in ROUTES if r[1] not in SYSTEM])
async def test_query__where_none_is_taken__400_and_nothing_changed(
    commerce: Client, unchanged: Unchanged, method: str, path: str
) -> None:
    async with unchanged():
        response = await commerce.request(
            method, f"{address(path)}?nonsense=1", json=BODIES.get((method, path))
        )
    assert response.status == 400


@pytest.mark.parametrize("path", GETS)
async def test_get__answer_is_a_list__its_query_is_checked_above(
    commerce: Client, path: str
) -> None:
    answer = await (await commerce.get(address(path))).json()
    is_list = path in WHOLE_LISTS or (QUERIES[path] is not None and path not in LISTS_WITHIN)
    assert isinstance(answer, list) == is_list


@pytest.mark.parametrize(("method", "path"), BODIES)
async def test_body__of_exactly_the_limit__is_taken(
    commerce: Client, settings: Settings, method: str, path: str
) -> None:
    # Last, as it does change something. It shows too that the bodies above are good ones.
    body = json.dumps(BODIES[method, path]).encode()
    body += b" " * (settings.http.body_bytes - len(body))
    response = await commerce.request(
        method,
        address(path, id=OTHER_IDS.get(path, "1")),
        data=body,
        headers={"Content-Type": "application/json; charset=utf-8"},
    )
    assert response.status in {200, 201, 204}
