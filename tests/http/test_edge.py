"""What a service takes at most: of heads, of bodies, of what is wrong with them, of connections."""

import asyncio
import gzip
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import orjson
import pytest
from aiohttp import ClientResponse
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.errors import Overloaded
from rowlock.http.intake import CROWD, INTAKE, UNPROVEN, Intake, Press
from rowlock.services import EVENTS, PROJECTS
from rowlock.settings import Settings
from tests.support.contract import address, bearer, exchange, paths, raw_request, refusal
from tests.support.panel import SECRET, add_deployment, add_projects
from tests.support.polling import until
from tests.support.roles import create_app
from tests.support.servers import ServiceServer
from tests.support.services import quiet
from tests.support.types import Client, Connection, Serve

WHOLE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
START = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
LINE = b"X: " + b"x" * 8000 + b"\r\n"
JSON = b"Content-Type: application/json\r\n"
OF_JSON = {"Content-Type": "application/json"}
INVOICE = {"user_id": 1, "amount": 1, "label": "x"}


@asynccontextmanager
async def connected(
    client: Client,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer_on(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any]]:
    """The status and the body of the next answer on a connection."""
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        [length] = [line for line in head.splitlines() if line.startswith(b"Content-Length: ")]
        body = await reader.readexactly(int(length.split()[1]))
    assert b"X-Content-Type-Options: nosniff" in head
    assert b"Server: rowlock\r\n" in head
    return int(head.split()[1]), orjson.loads(body)


# --- Heads ------------------------------------------------------------------------------------


@pytest.mark.parametrize("earlier", [b"", WHOLE, WHOLE * 40])
@pytest.mark.parametrize("at_once", [True, False])
async def test_head__too_large_in_sum__431_before_it_is_there(
    serve: Serve, earlier: bytes, at_once: bool
) -> None:
    commerce = await serve()
    async with connected(commerce) as (reader, writer):
        parts = [earlier + START + LINE * 3, LINE, LINE, LINE * 10]
        for part in [b"".join(parts)] if at_once else parts:
            writer.write(part)
            await writer.drain()
        for _ in range(earlier.count(WHOLE)):
            assert (await answer_on(reader))[0] == 200
        status, body = await answer_on(reader)
        assert (status, body["error"]) == (431, "head_too_large")
        writer.write_eof()
        assert await reader.read() == b""
    await until(lambda: not commerce.app[CROWD].heads_bytes)
    await until(lambda: not commerce.app[CROWD].connections)


@pytest.mark.parametrize("path", [b"/api/products", b"/products"])
async def test_head__too_large__in_the_envelope_of_its_path(serve: Serve, path: bytes) -> None:
    commerce = await serve()
    async with connected(commerce) as (reader, writer):
        writer.write(START.replace(b"/healthz", path) + LINE * 5)
        _, body = await answer_on(reader)
    assert (list(body) == ["error"]) == (path == b"/api/products")


async def test_head__of_nearly_the_limit__taken_again_and_again(serve: Serve) -> None:
    commerce = await serve()
    async with connected(commerce) as (reader, writer):
        for _ in range(3):
            for part in (START, LINE, LINE, LINE, b"\r\n"):
                writer.write(part)
                await writer.drain()
            assert (await answer_on(reader))[0] == 200
    # A body is no head, nor is what comes behind it.
    body = orjson.dumps(INVOICE) + b" " * 60_000
    post = b"POST /invoices HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(body) + JSON
    async with connected(commerce) as (reader, writer):
        writer.write((post + b"\r\n" + body) * 3 + WHOLE * 2000)
        for expected in [404] * 3 + [200] * 2000:
            assert (await answer_on(reader))[0] == expected


async def test_heads__too_many_begun__503_and_those_complete_are_served(serve: Serve) -> None:
    commerce = await serve(heads_bytes=50_000)
    async with AsyncExitStack() as stack:
        pairs = [await stack.enter_async_context(connected(commerce)) for _ in range(4)]
        for _, writer in pairs[:3]:
            writer.write(START + LINE * 2)
        await until(lambda: commerce.app[CROWD].heads_bytes > 48_000)
        reader, writer = pairs[3]
        writer.write(START + LINE)
        status, body = await answer_on(reader)
        assert (status, body["error"]) == (503, "overloaded")
        assert (await commerce.get("/healthz")).status == 200
        for reader, writer in pairs[:3]:
            writer.write(b"\r\n")
            assert (await answer_on(reader))[0] == 200
    assert commerce.app[CROWD].heads_bytes == 0


# --- Connections ------------------------------------------------------------------------------


async def test_connections__one_too_many__503_and_closed_until_another_goes(serve: Serve) -> None:
    commerce = await serve(connections=2)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            reader, writer = await stack.enter_async_context(connected(commerce))
            writer.write(WHOLE)
            assert (await answer_on(reader))[0] == 200
        async with connected(commerce) as (other, writer_of_other):
            writer_of_other.write(WHOLE + LINE * 100)
            status, body = await answer_on(other)
            assert (status, body["error"]) == (503, "overloaded")
            async with asyncio.timeout(10):
                assert await other.read() == b""
        async with connected(commerce) as (other, writer_of_other):
            writer_of_other.write(START + b"Accept: application/problem+json\r\n\r\n")
            status, body = await answer_on(other)
            assert (status, body["status"], body["title"]) == (503, 503, "Service Unavailable")
        writer.write(WHOLE)
        assert (await answer_on(reader))[0] == 200
    await until(lambda: not commerce.app[CROWD].connections)
    await until(lambda: not commerce.app[CROWD].refusals)
    assert (await commerce.get("/healthz")).status == 200


async def test_connections__too_many_and_silent__closed(serve: Serve) -> None:
    commerce = await serve(connections=1)
    async with connected(commerce) as (reader, writer):
        writer.write(WHOLE)
        assert (await answer_on(reader))[0] == 200
        async with connected(commerce) as (other, _), asyncio.timeout(10):
            assert await other.read() == b""


# --- Versions of HTTP -------------------------------------------------------------------------

CHUNKED = JSON + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
VERSIONS = {
    b"GET /user/1\r\n\r\n": 400,
    b"GET /api/products\r\n\r\n": 400,
    b"GET /user/1 HTTP/2.0\r\nHost: x\r\n\r\n": 505,
    b"GET /api/products HTTP/2.0\r\nHost: x\r\n\r\n": 505,
    b"GET /user/1 HTTP/9.9\r\nHost: x\r\n\r\n": 505,
    b"GET /user/1 HTTP/3.0\r\n\r\n": 505,
    b"POST /invoices HTTP/1.0\r\nConnection: keep-alive\r\n" + CHUNKED: 400,
    b"POST /nowhere HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n" + CHUNKED: 400,
    b"POST /api/orders HTTP/1.0\r\nConnection: keep-alive\r\n" + CHUNKED: 400,
}


@pytest.mark.parametrize("request_", VERSIONS, ids=lambda text: ascii(text)[2:40])
async def test_version__not_supported__refused_and_closed(serve: Serve, request_: bytes) -> None:
    commerce = await serve()
    async with connected(commerce) as (reader, writer):
        # Where the head alone tells, what follows it in the packet must not be answered.
        writer.write(request_ if b" HTTP/2.0" in request_ else request_ + WHOLE)
        status, body = await answer_on(reader)
        assert status == VERSIONS[request_]
        assert body["error"] == (
            "invalid_request" if status == 400 else "http_version_not_supported"
        )
        assert (list(body) == ["error"]) == (b" /api/" in request_)
        async with asyncio.timeout(10):
            assert await reader.read() == b""


async def test_version__http_1_0__kept_alive_if_it_says_so(serve: Serve, ada: int) -> None:
    commerce = await serve()
    body = orjson.dumps(INVOICE)
    async with connected(commerce) as (reader, writer):
        for _ in range(2):
            writer.write(
                b"POST /invoices HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: %d\r\n"
                % len(body)
                + JSON
                + b"\r\n"
                + body
            )
            assert (await answer_on(reader))[0] == 201


@pytest.mark.parametrize("is_apart", [True, False])
async def test_broken__while_another_is_under_way__in_the_envelope_of_its_own_path(
    serve: Serve, ada: int, is_apart: bool
) -> None:
    commerce = await serve()
    start = b"POST /api/orders HTTP/1.1\r\nHost: x\r\n" + JSON + b"Content-Length: 2\r\n\r\n{"
    broken = b"FOO /products HTTP/1.1\r\n\r\n"
    async with connected(commerce) as (reader, writer):
        writer.write(start)
        await until(lambda: commerce.app[INTAKE].free < commerce.app[INTAKE].total)
        writer.write(b"}" if is_apart else b"}" + broken)
        assert list((await answer_on(reader))[1]) == ["error"]
        if is_apart:
            writer.write(broken)
        assert next(iter((await answer_on(reader))[1])) == "status"


# --- Bodies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/nowhere", "/invoices"])
async def test_compressed__never_unpacked__whoever_sends_it(serve: Serve, path: str) -> None:
    commerce = await serve(commerce_token="token")
    bomb = gzip.compress(b" " * 30_000_000)
    head = JSON + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(bomb)
    for secret, expected in ((b"wrong", 401), (b"token", 404 if path == "/nowhere" else 415)):
        authorization = b"Authorization: Bearer " + secret + b"\r\n\r\n"
        whole = raw_request(f"POST {path}", head, authorization, bomb)
        answer = await exchange(commerce, whole)
        assert int(answer.split()[1]) == expected


@pytest.fixture
async def serve_events(
    aiohttp_client: AiohttpClient, events_database_url: str, settings: Settings
) -> Serve:
    """Start an events service with some settings changed; return a client with its token."""

    async def start(**changes: object) -> Client:
        app = create_app(quiet(EVENTS), settings.changed(**changes), events_database_url)
        headers = bearer(settings.addresses.events_token)
        return cast("Client", await aiohttp_client(ServiceServer(app), headers=headers))

    return start


async def post(client: Client, path: str, body: Any) -> ClientResponse:
    """Post JSON as a file: of large bytes aiohttp warns."""
    return await client.post(path, data=io.BytesIO(orjson.dumps(body)), headers=OF_JSON)


def event(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "payload": {}} | changes


PROBLEMS: dict[str, tuple[str, Any, int]] = {
    "names": ("/events", {f"n{number}": 1 for number in range(100_000)}, 100_000 + 2),
    "names and fields": ("/events", event(**{f"n{number}": 1 for number in range(1000)}), 1000),
    "eleven names": ("/events", event(**{f"n{number}": 1 for number in range(11)}), 11),
    "long names": ("/events", event(**{f"n{number}" * 1000: 1 for number in range(100)}), 100),
    "one long name": ("/events", event(**{"n" * 1_000_000: 1}), 1),
    "names in items": (
        "/events/batch",
        {"events": [event(**{f"n{n}": 1 for n in range(100)}) for _ in range(1000)]},
        100_000,
    ),
    "items": ("/events/batch", {"events": [{}] * 1000}, 2000),
    "old": ("/events/batch", {"events": [event(created_at="2001-01-01T00:00:00Z")] * 1000}, 1000),
}


@pytest.mark.parametrize(("path", "body", "problems"), PROBLEMS.values(), ids=PROBLEMS)
async def test_problems__many__ten_are_told_and_how_many_more(
    serve_events: Serve, path: str, body: Any, problems: int
) -> None:
    events = await serve_events()
    response = await post(events, path, body)
    assert await refusal(response) == (400, "invalid_request")
    answer = await response.json()
    assert len(await response.read()) < 5000
    assert len(answer["details"]) == min(problems, 10)
    more = f" There are {problems - 10} more problems."
    assert answer["message"].endswith(more) == (problems > 10)


async def test_values__too_many__413_and_a_text_as_long_is_taken(serve_events: Serve) -> None:
    events = await serve_events()
    payloads: list[dict[str, Any]] = [{"x": [1] * 30_000}, {f"{n}": 1 for n in range(5000)}]
    for payload in (*payloads, {"x": [{}] * 20_000}):
        body = {"events": [event(payload=payload)] * 50}
        response = await post(events, "/events/batch", body)
        assert await refusal(response) == (413, "body_too_large")
    body = {"events": [event(payload={"x": "x" * 60_000})] * 100}
    assert (await post(events, "/events/batch", body)).status == 200


async def test_bodies__more_than_there_is_room_for__wait_then_503(serve_events: Serve) -> None:
    events = await serve_events(events_bodies_bytes=200_000, turn_wait_s=0.1)
    body = orjson.dumps({"events": [event(payload={"x": "x" * 50_000})] * 3})
    head = raw_request("POST /events/batch", JSON, b"Content-Length: %d\r\n" % len(body))
    authorization = b"Authorization: Bearer development-events-token\r\n\r\n"
    async with connected(events) as (reader, writer):
        writer.write(head + authorization + body[:-1])
        await until(lambda: events.app[INTAKE].free < 100_000)
        response = await events.post("/events/batch", data=body, headers=OF_JSON)
        assert await refusal(response) == (503, "overloaded")
        assert (await events.post("/events", json=event())).status == 201  # a small one
        writer.write(body[-1:])
        assert (await answer_on(reader))[0] == 200
    assert (await events.post("/events/batch", data=body, headers=OF_JSON)).status == 200
    assert events.app[INTAKE].free == 200_000


async def test_bodies__given_up__their_room_is_free_again(serve_events: Serve) -> None:
    events = await serve_events()
    free = events.app[INTAKE].free
    head = raw_request("POST /events", JSON, b"Content-Length: 100000\r\n")
    async with connected(events) as (_, writer):
        writer.write(head + b"Authorization: Bearer development-events-token\r\n\r\n{")
        await until(lambda: events.app[INTAKE].free < free)
    await until(lambda: events.app[INTAKE].free == free)


@pytest.fixture
async def webhooks(
    aiohttp_client: AiohttpClient, database_url: str, settings: Settings, connection: Connection
) -> Client:
    """A client without the service's token, of a service with room for two webhooks at a time."""
    [project_id] = await add_projects(connection, 1)
    assert await add_deployment(connection, project_id) == 1
    changed = settings.changed(webhook_bodies_bytes=20_000, turn_wait_s=0.1)
    server = ServiceServer(create_app(quiet(PROJECTS), changed, database_url))
    return cast("Client", await aiohttp_client(server))


async def report(webhooks: Client, body: bytes) -> ClientResponse:
    headers = OF_JSON | {"Authorization": SECRET}
    return await webhooks.post("/deployment/webhook", data=body, headers=headers)


@pytest.mark.parametrize("framing", [b"Content-Length: 65000\r\n", b"Content-Length: 16385\r\n"])
async def test_webhook__large__413_before_it_is_there(webhooks: Client, framing: bytes) -> None:
    start = b"POST /deployment/webhook HTTP/1.1\r\nHost: x\r\nAuthorization: x\r\n"
    async with connected(webhooks) as (reader, writer):
        writer.write(start + JSON + framing + b"\r\n" + b"x" * 16_000)
        status, body = await answer_on(reader)
    assert (status, body["error"]) == (413, "body_too_large")


@pytest.mark.parametrize("is_chunked", [True, False])
async def test_webhook__as_large_as_may_be__taken_and_one_more_byte_is_not(
    webhooks: Client, settings: Settings, is_chunked: bool
) -> None:
    async def parts(body: bytes) -> AsyncIterator[bytes]:
        yield body

    body = orjson.dumps({"id": 1, "status": "building"})
    body += b" " * (settings.http.webhook_body_bytes - len(body))
    for whole, expected in ((body, 200), (body + b" ", 413)):
        headers = OF_JSON | {"Authorization": SECRET}
        data = parts(whole) if is_chunked else whole
        response = await webhooks.post("/deployment/webhook", data=data, headers=headers)
        assert response.status == expected


async def test_webhooks__stalled__others_that_come_whole_are_served(webhooks: Client) -> None:
    start = b"POST /deployment/webhook HTTP/1.1\r\nHost: x\r\nAuthorization: x\r\n"
    stalled = start + JSON + b"Content-Length: 10000\r\n\r\n" + b"x" * 9000
    async with AsyncExitStack() as stack:
        for _ in range(2):
            _, writer = await stack.enter_async_context(connected(webhooks))
            writer.write(stalled)
        await until(lambda: webhooks.app[UNPROVEN].free == 0)
        reader, writer = await stack.enter_async_context(connected(webhooks))
        writer.write(stalled)
        status, body = await answer_on(reader)
        assert (status, body["error"]) == (503, "overloaded")
        response = await report(webhooks, orjson.dumps({"id": 1, "status": "building"}))
        assert response.status == 200
    await until(lambda: webhooks.app[UNPROVEN].free == 20_000)


async def test_intake__full__waits_in_order_and_as_many_as_may() -> None:
    intake = Intake(10, places=2, wait_s=60)
    first = await intake.take(8)
    large, small = (asyncio.create_task(intake.take(size)) for size in (10**9, 1))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await intake.take(1)
    first.give_back()
    share = await large  # all there is
    await asyncio.sleep(0)
    assert not small.done()
    share.give_back()
    (await small).give_back()
    assert intake.free == 10


async def test_intake__waiter_gone_or_too_late__takes_nothing() -> None:
    intake = Intake(10, places=5, wait_s=0)
    share = await intake.take(10)
    with pytest.raises(Overloaded):
        await intake.take(1)
    patient = Intake(10, places=5, wait_s=60)
    held = await patient.take(10)
    gone, other = (asyncio.create_task(patient.take(size)) for size in (10, 5))
    await asyncio.sleep(0)
    gone.cancel()
    held.give_back()
    async with asyncio.timeout(60):
        (await other).give_back()
    share.give_back()
    assert (intake.free, patient.free) == (10, 10)


async def test_press__large_bodies__one_by_one() -> None:
    press = Press()
    running = 0

    async def use() -> None:
        nonlocal running
        async with press.turn():
            running += 1
            assert running == 1
            running -= 1

    async with asyncio.timeout(60):
        await asyncio.gather(*(use() for _ in range(5)))


# --- What answers say -------------------------------------------------------------------------


async def test_answers__all__safe_and_kept_by_no_cache(serve: Serve, ada: int) -> None:
    commerce = await serve()
    await commerce.post("/invoices", json=INVOICE)
    for method, path in (
        *(("GET", address(path)) for path in paths("GET")),
        ("GET", "/nowhere"),
        ("DELETE", "/user/1"),
        ("POST", "/invoices/1/pay"),
        ("POST", "/invoices/1/pay"),
        ("HEAD", "/user/1"),
    ):
        for key in ({}, {"Idempotency-Key": f"{method} {path}"}):
            headers = (await commerce.request(method, path, headers=key)).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Server"] == "rowlock"
            assert headers["Cache-Control"] == "no-store"


async def test_answers__with_a_tag__kept_if_asked_each_time(
    serve: Serve, connection: Connection
) -> None:
    commerce = await serve()
    await connection.execute("INSERT INTO services (name) VALUES ('Inspection')")
    booking = {"datetime": "2030-05-01T12:00:00Z", "totalfee": 1, "services": ["1"]}
    assert (await commerce.post("/service-orders", json=booking)).status == 201
    for headers, status in (({}, 200), ({"If-None-Match": '"1"'}, 304)):
        response = await commerce.get("/service-orders/1", headers=headers)
        assert response.status == status
        assert response.headers["Cache-Control"] == "private, no-cache"


async def test_answers__stream__safe_too(serve_events: Serve) -> None:
    events = await serve_events()
    async with events.get("/events/stream?after=0") as response:
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Server"] == "rowlock"
