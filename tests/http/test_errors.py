"""Errors that any route may answer with, and the id that every answer carries."""

import asyncio
import contextlib
from typing import Any

import pytest

from rowlock.accounts import Accounts
from rowlock.errors import DatabaseUnavailable
from rowlock.http.service import Parts
from rowlock.invoices import Invoices
from tests.support.contract import ROUTES, SYSTEM, WRITES, address, paths, refusal
from tests.support.polling import until
from tests.support.services import feature_of
from tests.support.types import Client, Connection, Serve, Unchanged

# What is waited for on purpose is not to be cut off by what a slow machine may exceed.
LONG = dict.fromkeys(
    ("connect_timeout_s", "acquire_timeout_s", "statement_timeout_s", "lock_timeout_s"), 60.0
)
INVOICE = {"user_id": 1, "amount": 1, "label": "x"}
ORDER = {"order": {"items": ["netflix"], "user_id": "ada"}}

# An address for each status that a service without a token answers with.
STATUSES = [
    (200, "GET", "/healthz", None),
    (201, "POST", "/invoices", INVOICE),
    (400, "GET", "/user/1?x=1", None),
    (400, "POST", "/api/orders", {}),
    (404, "GET", "/user/99", None),
    (404, "GET", "/nowhere", None),
    (405, "DELETE", "/invoices", None),
    (409, "POST", "/invoices/1/pay", None),
    (413, "POST", "/invoices", "x" * 65_536),
]


@pytest.fixture
async def paid_invoice(commerce: Client, ada: int) -> None:
    assert (await commerce.post("/invoices", json=INVOICE)).status == 201
    assert (await commerce.post("/invoices/1/pay")).status == 200


@pytest.mark.parametrize(
    "path", ["/index", "/nowhere", "/user/1/", "/user", "/user//1", "/API/users/a"]
)
async def test_error__nothing_there__404(commerce: Client, path: str) -> None:
    assert await refusal(await commerce.get(path)) == (404, "not_found")


@pytest.mark.parametrize("path", ["/api/", "/api/users", "/api/users/", "/api/users/a/b", "/api/x"])
async def test_error__nothing_there_below_api__404(
    commerce: Client, unchanged: Unchanged, path: str
) -> None:
    async with unchanged():
        assert await refusal(await commerce.get(path)) == (404, "not_found")


# Paths that another one takes, too.
WIDER = {"/invoices/batch": "/invoices/{id}"}


@pytest.mark.parametrize("path", sorted({path for _, path in ROUTES}))
async def test_error__other_method__405_with_allow(
    commerce: Client, unchanged: Unchanged, path: str
) -> None:
    allowed = {method for method, known in ROUTES if known in {path, WIDER.get(path)}}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - allowed:
        async with unchanged():
            response = await commerce.request(method, address(path))
        assert await refusal(response) == (405, "method_not_allowed")
        assert set(response.headers["Allow"].split(",")) == allowed


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("abc", True),
        ("01HZX.a_b-c/d+e=f:1", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("", False),
        ("a b", False),
        ("a\tb", False),
        ("a,b", False),
        ("<script>", False),
        ("\u20ac", False),
        (None, False),
    ],
)
async def test_request_id__any_status__the_callers_if_sane(
    commerce: Client, paid_invoice: None, given: str | None, kept: bool
) -> None:
    headers = {} if given is None else {"X-Request-ID": given}
    for status, method, path, body in STATUSES:
        response = await commerce.request(method, path, json=body, headers=headers)
        assert response.status == status
        [request_id] = response.headers.getall("X-Request-ID")
        assert (request_id == given) == kept
        assert len(request_id) >= 16 or kept


async def test_request_id__none_given__always_another(commerce: Client) -> None:
    ids = [(await commerce.get("/healthz")).headers["X-Request-ID"] for _ in range(10)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("path", ["/api/products", "/products"])
async def test_error__bug_in_the_service__500_that_tells_nothing(
    commerce: Client,
    connection: Connection,
    catalogue: dict[str, int],
    failures: list[str],
    path: str,
) -> None:
    failures.append(path)
    await connection.execute("ALTER TABLE products RENAME TO secret")
    try:
        response = await commerce.get(path, headers={"X-Request-ID": "abc"})
    finally:
        await connection.execute("ALTER TABLE secret RENAME TO products")
    assert await refusal(response) == (500, "internal_error")
    assert response.headers["X-Request-ID"] == "abc"
    assert "products" not in await response.text()
    assert (await commerce.get(path)).status == 200


async def ask_everything(commerce: Client) -> set[tuple[int, str]]:
    """The errors of requests to every route that needs the database."""
    bodies: dict[str, Any] = {
        path: body for (service, _, path), body in WRITES.items() if service == "commerce"
    }
    bodies |= {"/keys": {"name": "a", "scopes": ["keys:write"]}, "/keys/{name}/rotate": None}
    gets = [path for path in paths("GET") if path not in SYSTEM]
    responses = [await commerce.get(address(path)) for path in gets]
    responses += [await commerce.post(address(path), json=bodies[path]) for path in paths("POST")]
    assert len(responses) >= 12
    return {await refusal(response) for response in responses}


async def test_error__database_out_of_reach__503(serve: Serve, unused_tcp_port: int) -> None:
    commerce = await serve(f"postgresql://127.0.0.1:{unused_tcp_port}/x", retry_after_s=7)
    assert await ask_everything(commerce) == {(503, "database_unavailable")}
    response = await commerce.get("/invoices")
    assert response.headers["Retry-After"] == "7"


async def test_error__queue_full__503_and_nothing_changed(
    serve: Serve, ada: int, unchanged: Unchanged
) -> None:
    commerce = await serve(batch_queue=0)
    async with unchanged():
        for method, path, body in [
            ("GET", "/user/1", None),
            ("GET", "/api/users/new", None),
            ("POST", "/api/orders", ORDER),
            ("POST", "/invoices", INVOICE),
            ("POST", "/invoices/1/pay", None),
        ]:
            response = await commerce.request(method, path, json=body)
            assert await refusal(response) == (503, "overloaded")


async def test_error__lists_take_all_they_may__503_at_once_and_the_rest_is_served(
    serve: Serve, connection: Connection, ada: int, seen: list[Parts]
) -> None:
    commerce = await serve(pool_connections=4, pool_queue=3, **LONG)
    database = feature_of(seen[-1], Invoices).database
    async with connection.transaction():
        await connection.execute("LOCK TABLE invoices IN ACCESS EXCLUSIVE MODE")
        lists = [asyncio.create_task(commerce.get("/invoices")) for _ in range(5)]
        await until(lambda: database.pool_use.waiting == 3)
        response = await commerce.get("/invoices")
        assert await refusal(response) == (503, "overloaded")
        assert (await commerce.get("/readyz")).status == 200
        assert (await commerce.get("/user/1")).status == 200
    assert {response.status for response in await asyncio.gather(*lists)} == {200}


async def test_error__list_waited_too_long__503(
    serve: Serve, connection: Connection, ada: int, seen: list[Parts]
) -> None:
    commerce = await serve(pool_connections=2, acquire_timeout_s=0.5)
    database = feature_of(seen[-1], Invoices).database
    async with contextlib.AsyncExitStack() as reading:

        async def read_on() -> bool:
            with contextlib.suppress(DatabaseUnavailable):  # it takes too long to connect
                await reading.enter_async_context(database.reader())
            return database.pool_use.in_use > 0

        await until(read_on)
        assert await refusal(await commerce.get("/invoices")) == (503, "overloaded")


async def test_error__draining__503(serve: Serve, ada: int, seen: list[Parts]) -> None:
    commerce = await serve()
    await feature_of(seen[-1], Accounts).find.close()
    assert await refusal(await commerce.get("/user/1")) == (503, "draining")


@pytest.mark.parametrize(
    "asked", [("POST", "/invoices/1/pay"), ("GET", "/invoices"), ("GET", "/user/1")]
)
async def test_error__table_locked_by_somebody__503_until_it_is_free(
    serve: Serve, connection: Connection, ada: int, unchanged: Unchanged, asked: tuple[str, str]
) -> None:
    commerce = await serve(lock_timeout_s=0.1)  # of a statement: a slow machine alone may exceed it
    assert (await commerce.post("/invoices", json=INVOICE)).status == 201
    async with unchanged(), connection.transaction():
        await connection.execute("LOCK TABLE users, invoices IN ACCESS EXCLUSIVE MODE")
        assert await refusal(await commerce.request(*asked)) == (503, "database_busy")
    assert (await commerce.request(*asked)).status == 200
