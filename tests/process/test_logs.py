"""What real processes write: a line per request, ids that lead on, and never a secret."""

import asyncio
import base64
import contextlib
import os
import random
import re
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest

from rowlock.services import SERVICES
from rowlock.settings import Settings
from tests.support.contract import api_routes, bearer, path_of
from tests.support.databases import on_server
from tests.support.polling import until
from tests.support.processes import Service
from tests.support.proxy import Proxy
from tests.support.roles import create_app
from tests.support.scraping import scrape

TOKENS = {name: f"t0ken-{name}-{random.getrandbits(64):x}" for name in (*SERVICES, "metrics")}
COOKIE_KEY = f"c00kie-{random.getrandbits(64):x}"
BODY = f"b0dy-{random.getrandbits(64):x}"
SECRET = f"s3cret-{random.getrandbits(64):x}"  # in headers, query strings and what is no HTTP
PASSWORD = f"passw0rd-{random.getrandbits(64):x}"

EVENT = {"name": "some.thing", "subject": f"x:{BODY}", "payload": {"note": BODY}}
BODIES: list[dict[str, Any]] = [  # each good for a route or two, and bad for all others
    {"order": {"items": ["x"], "user_id": "ada"}},
    {"order": {"items": [BODY], "user_id": BODY}},
    {"items": [{"productId": 1, "quantity": 1}], "userId": 1},
    {"user_id": 1, "amount": 1, "label": BODY},
    {"datetime": "2030-01-01T00:00:00Z", "totalfee": 1, "services": ["1"]},
    {"id": 1, "status": "building", "note": BODY},
    EVENT,
    {"events": [EVENT]},
    {BODY: BODY},
]
RAW_BODIES = [
    f'{{"label": "{BODY}", '.encode(),
    f'"{BODY}\\u0000"'.encode(),
    b"\xff" + BODY.encode(),
]
NO_HTTP = [
    f"{SECRET} / HTTP/9".encode(),
    f"GET / HTTP/1.1\r\nHost: x\r\n{SECRET}".encode(),
    f"GET /\x01{SECRET} HTTP/1.1".encode(),
    f"GET http://[{SECRET}/ HTTP/1.1\r\nHost: x".encode(),
    f"GET /{SECRET * 300} HTTP/1.1".encode(),
    f"GET / HTTP/1.1\r\nHost: x\r\nX-{SECRET}\x01: {SECRET}".encode(),
    b"GET /caf%E9%ED%A0%80 HTTP/1.1\r\nHost: x\r\nConnection: close",  # a path that is no UTF-8
]
BYTES = [b"\xff", b"\xed\xa0\x80", b"caf\xc3\xa9"]  # of no encoding, of half a character, of one
NO_TEXT = [
    *(b"GET /user/%s?limit=%s HTTP/1.1\r\nHost: x" % (some, some) for some in BYTES),
    *(b"GET /user/%d HTTP/1.1\r\nHost: %s" % (number, some) for number, some in enumerate(BYTES)),
    *(
        b"DELETE /service-orders/1 HTTP/1.1\r\nHost: x\r\n%s: %s" % (name, some)
        for name in (b"X-Request-ID", b"Idempotency-Key", b"If-Match", b"If-None-Match", b"Expect")
        for some in BYTES
    ),
]
ROUTES = sorted(
    {
        (service, route.method, path_of(route).replace("{id}", "1"))
        for service in SERVICES
        for route in api_routes(create_app(SERVICES[service], Settings(), "postgresql://"))
        if path_of(route) != "/events/stream"
    }
)
# Makes writes fail as faults do, with the row in what PostgreSQL says of them.
REFUSE = "ALTER TABLE {} ADD CONSTRAINT refused CHECK (payload::text NOT LIKE '%{}%') NOT VALID"
NETFLIX = "INSERT INTO products (slug, name, price) VALUES ('netflix', 'Netflix', 7599)"
ADA = "INSERT INTO users (username, balance) VALUES ('ada', 0)"
PROJECT = (
    "INSERT INTO projects (position, name, user_id, app_secret) "
    f"VALUES (1, 'p', (SELECT min(id) FROM users), '{SECRET}')"
)
DEPLOYMENT = "INSERT INTO deployments (position, project_id) VALUES (1, 1)"


@pytest.fixture
def databases(database_url: str, events_database_url: str) -> dict[str, str]:
    """The settings for two migrated databases, with a password, which nobody asks for."""
    urls = {"database_url": database_url, "events_database_url": events_database_url}
    return {name: url.replace("postgres@", f"postgres:{PASSWORD}@") for name, url in urls.items()}


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


def settings(env: str) -> dict[str, object]:
    tokens = {f"{name}_token": token for name, token in TOKENS.items()}
    own = {"cookie_key": COOKIE_KEY, "env": env, "log_requests": 1, "log_level": "debug"}
    return tokens | own


def requests() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Every route, with credentials good and bad, and every body."""
    for service, method, path in ROUTES:
        for token in (TOKENS[service], TOKENS["metrics"], SECRET):
            headers = bearer(token) | {"Cookie": f"session={SECRET}", "Idempotency-Key": SECRET}
            yield service, method, path, {"headers": headers}
        if path == "/deployment/webhook":
            yield service, method, path, {"headers": {"Authorization": SECRET}, "json": BODIES[5]}
        if method in {"POST", "PUT"}:
            headers = bearer(TOKENS[service])
            for body in BODIES:
                yield service, method, path, {"headers": headers, "json": body}
            for raw in RAW_BODIES:
                json_headers = headers | {"Content-Type": "application/json"}
                yield service, method, path, {"headers": json_headers, "data": raw}


async def drive(service: Service, session: aiohttp.ClientSession) -> set[int]:
    """Send every request; return the statuses met."""
    urls = {
        "commerce": service.url,
        "projects": service.projects_url,
        "events": service.events_url,
        "console": service.console_url,
    }

    async def send(name: str, method: str, path: str, arguments: dict[str, Any]) -> int:
        url = f"{urls[name]}{path}"
        # Writes take no query: they are to get as far as their bodies.
        query = {"x": SECRET} if method in {"GET", "HEAD"} else None
        async with session.request(method, url, params=query, **arguments) as response:
            await response.read()
            return response.status

    statuses = set(await asyncio.gather(*(send(*request) for request in requests())))
    for url in urls.values():
        for head in NO_HTTP:
            await asyncio.to_thread(send_raw, url, head + b"\r\n\r\n")
    return statuses


def send_raw(url: str, data: bytes) -> bytes:
    """Return the answer."""
    host, _, port = url.removeprefix("http://").partition(":")
    answer = b""
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(data)
        while part := connection.recv(4096):
            answer += part
    return answer


@pytest.mark.parametrize("env", ["production", "development"])
async def test_logs__secrets_and_bodies_everywhere__none_is_written(
    databases: dict[str, str], env: str
) -> None:
    await execute(
        databases["database_url"], ADA, PROJECT, DEPLOYMENT, REFUSE.format("outbox", BODY)
    )
    await execute(databases["events_database_url"], REFUSE.format("events", BODY))
    async with Service(**databases, **settings(env)) as service:
        async with aiohttp.ClientSession() as session:
            statuses = await drive(service, session)
        await until(lambda: "/deployment/webhook" in service.printed)
        assert {200, 400, 401, 404, 500} <= statuses
    output = service.printed
    assert "CheckViolationError" in output
    for secret in (*TOKENS.values(), COOKIE_KEY, BODY, SECRET, PASSWORD):
        for written in (secret, base64.b64encode(secret.encode()).decode()):
            at = output.find(written)
            assert at < 0, output[max(0, at - 2000) : at + 200]
    if env == "production":
        assert len(list(entries(output))) > len(list(requests()))


def entries(output: str) -> Iterator[dict[str, Any]]:
    """All that a process in production writes."""
    for line in output.splitlines():
        entry = orjson.loads(line)
        assert {"event", "level", "timestamp"} <= entry.keys()
        yield entry


def places(output: str, **wanted: object) -> set[tuple[object, object]]:
    """Which service or task has written lines like that, and of what."""
    return {
        (entry.get("service", entry.get("task")), entry.get("path", entry["event"]))
        for entry in entries(output)
        if wanted.items() <= entry.items()
    }


async def test_logs__no_http__a_line_each_with_the_reason_and_the_id_answered(
    databases: dict[str, str],
) -> None:
    heads = {
        NO_HTTP[0]: "Invalid method encountered",
        NO_HTTP[1]: "Invalid header token",
        b"GET / HTTP/1.1": "Missing 'Host' header in request",
        b"GET http://[::1/ HTTP/1.1": "Invalid target",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked": "HTTP/1.0 has no Transfer-Encoding",
        b"\x16\x03\x01\xff": "Received HTTPS traffic on an HTTP port",
    }
    async with Service(**databases, **settings("production")) as service:
        answers = {
            complaint: await asyncio.to_thread(send_raw, service.url, head + b"\r\n\r\n")
            for head, complaint in heads.items()
        }
        await until(lambda: service.printed.count('"broken_request"') == len(heads))
    for complaint, answer in answers.items():
        [request_id] = re.findall(r"X-Request-ID: (\w+)", answer.decode())
        assert f"The request is not valid HTTP: {complaint}." in answer.decode()
        [entry] = [
            entry for entry in entries(service.printed) if entry.get("request_id") == request_id
        ]
        assert (entry["level"], entry["service"], entry["status"]) == ("info", "commerce", 400)
        assert entry["complaint"] == complaint
    assert "error" not in {entry["level"] for entry in entries(service.printed)}


async def test_logs__bytes_that_are_no_text__refused_and_every_line_valid(
    databases: dict[str, str],
) -> None:
    async with Service(**databases, **settings("production")) as service:
        authorization = f"\r\nConnection: close\r\nAuthorization: Bearer {TOKENS['commerce']}"
        for head in NO_TEXT:
            whole = head + authorization.encode() + b"\r\n\r\n"
            answer = await asyncio.to_thread(send_raw, service.url, whole)
            assert answer.split()[1] in {b"400", b"404"}, head
    statuses = [entry["status"] for entry in entries(service.printed) if "status" in entry]
    assert {400, 404} <= {*statuses}
    assert max(statuses) < 500


async def test_logs__request_that_asks_another_service__its_id_there_too(
    databases: dict[str, str],
) -> None:
    async with Service(**databases, **settings("production")) as service:
        await execute(databases["database_url"], ADA, PROJECT)
        async with (
            aiohttp.ClientSession() as session,
            session.get(
                f"{service.projects_url}/projects/1/activity",
                headers=bearer(TOKENS["projects"]) | {"X-Request-ID": "mine-1"},
            ) as response,
        ):
            assert response.status == 200
        await until(lambda: "/projects/1/activity" in service.printed)
    assert places(service.printed, request_id="mine-1") == {
        ("events", "/events"),
        ("projects", "/projects/1/activity"),
    }


async def test_logs__order__its_request_s_id_to_the_settlement_and_into_the_events_service(
    databases: dict[str, str],
) -> None:
    await execute(databases["database_url"], NETFLIX)
    async with Service(**databases, **settings("production")) as service:
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{service.url}/orders",
                json={"items": [{"productId": 1, "quantity": 1}]},
                headers=bearer(TOKENS["commerce"]) | {"X-Request-ID": "mine-1"},
            ) as response,
        ):
            assert response.status == 201
        # order.created, and how it was settled
        await until(lambda: service.printed.count('"event_received"') == 2)
        await until(lambda: service.printed.count('"event_delivered"') == 2)
    output = service.printed
    assert places(output, request_id="mine-1") == {
        ("commerce", "/orders"),
        ("order_processor", "order_settled"),
        ("event_relay", "event_delivered"),
        ("events", "event_received"),
    }
    delivery_ids = {
        entry["delivery_id"] for entry in entries(output) if entry["event"] == "event_received"
    }
    for delivery_id in delivery_ids:
        assert places(output, delivery_id=delivery_id) == {
            ("event_relay", "events_delivered"),
            ("event_relay", "event_delivered"),
            ("events", "event_received"),
        }
        assert places(output, request_id=delivery_id) == {("events", "/events/batch")}


async def test_logs__request__its_actor_and_the_client_s_address(
    databases: dict[str, str],
) -> None:
    await execute(databases["database_url"], ADA, PROJECT, DEPLOYMENT)
    report = {"id": 1, "status": "building"}
    async with Service(**databases, **settings("production")) as service:
        async with aiohttp.ClientSession() as session:
            webhook = f"{service.projects_url}/deployment/webhook"
            for method, url, authorization in (
                ("GET", f"{service.url}/invoices?user_id=1", f"Bearer {TOKENS['commerce']}"),
                ("GET", f"{service.url}/user/1", "Bearer wrong"),
                ("POST", webhook, "wrong"),
                ("POST", webhook, SECRET),
            ):
                body = report if method == "POST" else None
                headers = {"Authorization": authorization}
                async with session.request(method, url, json=body, headers=headers):
                    pass
        await until(lambda: service.printed.count('"actor":"project:1"'))
    lines = [
        entry
        for entry in entries(service.printed)
        if entry["event"] == "request"
        and entry["service"] != "events"
        # Besides those, the test asks whether the services are ready.
        and entry["path"] != "/readyz"
    ]
    assert [(line["status"], line["actor"]) for line in lines] == [
        (200, "token"),
        (401, "anonymous"),
        (401, "anonymous"),
        (200, "project:1"),
    ]
    assert {line["client"] for line in lines} == {"127.0.0.1"}


async def test_logs__probes__not_at_info(databases: dict[str, str]) -> None:
    quiet = settings("production") | {"log_level": "info"}
    async with Service(**databases, **quiet) as service, aiohttp.ClientSession() as session:
        for path in ("/healthz", "/readyz", "/openapi.json", "/user/1"):
            async with session.get(f"{service.url}{path}", headers=bearer(TOKENS["commerce"])):
                pass
        await until(lambda: "/user/1" in service.printed)
    assert {entry["path"] for entry in entries(service.printed) if entry["event"] == "request"} == {
        "/user/1"
    }


async def test_logs__request_lines_off__none(databases: dict[str, str]) -> None:
    quiet = settings("production") | {"log_requests": 0}
    async with Service(**databases, **quiet) as service, aiohttp.ClientSession() as session:
        async with session.get(f"{service.url}/user/1") as response:
            assert response.status == 401
        async with session.get(
            f"{service.url}/api/users/ada", headers=bearer(TOKENS["commerce"])
        ) as response:
            assert response.status == 200
        await until(lambda: '"event":"lease_taken"' in service.printed)
    events = {entry["event"] for entry in entries(service.printed)}
    assert events.isdisjoint({"request", "events_delivered"})


@pytest.mark.parametrize(
    ("env", "welcome"), [("production", "listening"), ("development", "Ctrl-C")]
)
async def test_logs__nobody_takes_them__all_goes_on(
    databases: dict[str, str], env: str, welcome: str
) -> None:
    await execute(databases["database_url"], NETFLIX)
    order = {"items": [{"productId": 1, "quantity": 1}]}
    async with (
        unheard_after(welcome, Service("--workers", "2", **databases, **settings(env))) as service,
        aiohttp.ClientSession(headers=bearer(TOKENS["commerce"])) as session,
    ):
        before = service.workers()
        before[0].kill()
        await until(lambda: len({*service.workers()} - {*before}) == 1)
        await until(lambda: service.readiness(session))
        async with session.post(f"{service.url}/orders", json=order) as response:
            assert response.status == 201
        async with session.post(f"{service.url}/orders", json=["bad"]) as response:
            assert response.status == 400

        async def settled() -> bool:
            async with session.get(f"{service.url}/orders/1") as response:
                status: str = (await response.json())["status"]
                return status != "pending"

        await until(settled)


@asynccontextmanager
async def unheard_after(welcome: str, service: Service) -> AsyncIterator[Service]:
    """Run a service; once it has printed `welcome`, whatever it writes fails."""
    reading, writing = os.pipe()
    await service.spawn_with(writing)
    os.close(writing)
    output = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(output), os.fdopen(reading, "rb")
    )
    try:
        async with asyncio.timeout(60):
            await output.readuntil(welcome.encode())
        transport.close()
        await service.become_ready()
        yield service
    finally:
        transport.close()
        await service.__aexit__()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("env", ["production", "development"])
async def test_logs__nobody_reads_the_pipe__lines_dropped_and_counted_and_all_goes_on(
    databases: dict[str, str], env: str, workers: int
) -> None:
    reading, writing = os.pipe()
    service = Service(
        "commerce",
        f"--workers={workers}",
        **databases,
        **settings(env) | {"log_level": "info", "log_buffer_bytes": 10_000},
    )
    await service.spawn_with(writing)
    os.close(writing)
    try:
        await service.become_ready()
        async with aiohttp.ClientSession(headers=bearer(TOKENS["commerce"])) as session:
            for _ in range(20):
                async with asyncio.timeout(30):
                    paths = [f"{service.url}/user/{number}" for number in range(1, 101)]
                    assert {*await asyncio.gather(*(status(session, path) for path in paths))} == {
                        404
                    }
            scraped = await scrape(session, f"{service.url}/metrics", bearer(TOKENS["metrics"]))
            dropped = scraped.value("rowlock_log_lines_dropped_total", service="commerce")
            assert dropped > 100
            # Once the pipe is read, lines flow again, and one says how many are missing.
            written = b""
            os.set_blocking(reading, False)

            async def told() -> bool:
                nonlocal written
                with contextlib.suppress(BlockingIOError):
                    written += os.read(reading, 65_536)
                await status(session, f"{service.url}/user/1")
                return b"log_lines_dropped" in written

            await until(told)
            # Nobody reads again; SIGTERM ends it all the same.
            for _ in range(10):
                await asyncio.gather(*(status(session, path) for path in paths))
        service.signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            assert await service.wait() == 0
    finally:
        os.close(reading)
        await service.__aexit__()


async def status(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(url) as response:
        return response.status


def refusals(printed: str) -> list[dict[str, Any]]:
    return [entry for entry in entries(printed) if entry["event"] == "no_connection"]


async def test_logs__database_refuses_connections__equal_warnings_once_with_their_number(
    databases: dict[str, str], server_url: str
) -> None:
    name = databases["database_url"].rpartition("/")[2].partition("?")[0]
    async with (
        Service(
            "commerce",
            **databases,
            **settings("production")
            | {"log_level": "info", "log_requests": 0, "log_repeat_s": 0.5, "task_retry_s": 0.01},
        ) as service,
        aiohttp.ClientSession(headers=bearer(TOKENS["commerce"])) as session,
    ):

        async def told() -> bool:
            await asyncio.gather(*(status(session, f"{service.url}/user/1") for _ in range(20)))
            return any(entry.get("repeated") for entry in refusals(service.printed))

        on_server(server_url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        on_server(
            server_url,
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        )
        try:
            await until(told)
        finally:
            on_server(server_url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        lines = [entry for entry in entries(service.printed) if entry["level"] == "warning"]
    assert "database_away" not in {entry["event"] for entry in lines}  # it answers
    assert len(lines) < 60


async def test_logs__database_away__one_line(databases: dict[str, str]) -> None:
    async with (
        Proxy.to(databases["database_url"]) as proxy,
        Service(
            "commerce",
            **databases | {"database_url": proxy.url},
            **settings("production") | {"log_level": "info", "log_requests": 0},
        ) as service,
        aiohttp.ClientSession(headers=bearer(TOKENS["commerce"])) as session,
    ):
        proxy.cut()

        async def away() -> bool:
            await asyncio.gather(*(status(session, f"{service.url}/user/1") for _ in range(20)))
            return "database_away" in service.printed

        await until(away)
        for _ in range(20):
            statuses = [status(session, f"{service.url}/user/1") for _ in range(20)]
            assert set(await asyncio.gather(*statuses)) == {503}
        lines = [entry for entry in entries(service.printed) if entry["level"] == "warning"]
    assert [entry["event"] for entry in lines].count("database_away") == 1
    assert len(lines) < 10
