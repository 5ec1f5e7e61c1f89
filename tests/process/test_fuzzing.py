"""Requests that nobody has thought of: as the OpenAPI documents allow them, and at random."""

import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes

import hypothesis
import pytest
from hypothesis import strategies as st
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.engine.database import Database
from rowlock.http.openapi.routes import DOCUMENTS
from rowlock.ops import seed
from rowlock.services import ROUTES, SERVICES
from rowlock.settings import Settings
from rowlock.settings.names import ServiceName
from tests.support.contract import api_routes, bearer, path_of, places, replaced
from tests.support.failures import watched
from tests.support.roles import create_app
from tests.support.services import quiet
from tests.support.types import Client

ROOT = Path(__file__).parents[2]
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


@pytest.fixture(autouse=True)
def failures(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No request may fail inside a service."""
    with watched(caplog):
        yield


@pytest.fixture
async def services(
    aiohttp_client: AiohttpClient, database_url: str, events_database_url: str, settings: Settings
) -> dict[str, Client]:
    """A client of each service, on demo data; each has a token, and its client sends it."""
    async with Database(database_url, settings.database) as database:
        await seed.demo(database)
    settings = settings.changed(commerce_token="token")
    urls = {"main": database_url, "events": events_database_url}

    async def serve(name: ServiceName, settings: Settings) -> Client:
        service = quiet(SERVICES[name])
        app = create_app(service, settings, urls[service.database])
        token = service.token(settings)
        assert token is not None
        return await aiohttp_client(app, headers=bearer(token))

    events = await serve(ServiceName.EVENTS, settings)
    settings = settings.changed(events_url=str(events.make_url("/")))
    others = (ServiceName.COMMERCE, ServiceName.PROJECTS)
    return {"events": events} | {name: await serve(name, settings) for name in others}


@pytest.mark.parametrize("name", ROUTES)
async def test_schemathesis__all_checks__pass(
    services: dict[str, Client], name: str, tmp_path: Path
) -> None:
    client = services[name]
    process = await asyncio.create_subprocess_exec(
        SCHEMATHESIS,
        *("--config-file", ROOT / "tests/http/schemathesis.toml"),
        *("run", "--checks", "all", "--no-color"),
        *("--header", f"Authorization: {client.session.headers['Authorization']}"),
        str(client.make_url("/openapi.json")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


# --- anything at all ----------------------------------------------------------------------------

HUGE = ["9" * 400, "-" + "9" * 19, "1e400", "-0.0", "1" + "0" * 5000, "0" * 20 + "1", "1E-999"]
TEXTS = [r'"\ud800"', r'"\udc00\ud800"', r'"\u0000"', '"\0"', '"\x1b"', '"\x7f"', '""', '"x', "'x'"]
OTHERS = ["NaN", "-Infinity", "null", "true", "{}", "[]", '{"":""}', "", "\ufeff1", "//"]
DEPTHS = [10, 500, 1025, 20_000]

fragments = st.one_of(
    st.sampled_from(HUGE + TEXTS + OTHERS),
    st.sampled_from(DEPTHS).map(lambda depth: "[" * depth + "]" * depth),
    st.sampled_from(DEPTHS).map(lambda depth: '{"a":' * depth + "1" + "}" * depth),
    st.text(max_size=20).map(json.dumps),
    st.integers().map(str),
    st.floats().map(json.dumps),
)
encoded = st.one_of(
    st.binary(max_size=20), st.sampled_from([text.encode() for text in [*HUGE, "1", "\0", "é"]])
).map(quote_from_bytes)
keys = st.sampled_from(["limit", "cursor", "page", "after", "order", "status", "from", "name", "x"])
headers = st.fixed_dictionaries(
    {},
    optional={
        name: st.binary(max_size=20).map(lambda value: re.sub(rb"[\x00\r\n]", b"?", value))
        for name in (
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "If-Match",
            "If-None-Match",
            "Last-Event-ID",
            "X-Request-ID",
            "webhook-signature",
        )
    },
)


class Hostile(NamedTuple):
    """What is done to a good request, at any route."""

    place: int  # the one in the good body where `fragment` stands instead; 0 is the whole
    fragment: str
    raw: bytes | None  # instead of the body
    parameter: str  # in the path
    query: list[tuple[str, str]]
    headers: dict[str, bytes]


hostile = st.builds(
    Hostile,
    st.integers(0, 9),
    fragments,
    st.none() | st.binary(max_size=100),
    st.just("1") | encoded,
    st.lists(st.tuples(keys | encoded, encoded), max_size=3),
    st.just({}) | headers,
)


async def test_anything__at_every_route__no_5xx(services: dict[str, Client]) -> None:
    routes = {name: good_requests(client) for name, client in services.items()}
    loop = asyncio.get_running_loop()

    @hypothesis.settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(hostile)
    def survived(how: Hostile) -> None:
        asyncio.run_coroutine_threadsafe(send_everywhere(how), loop).result()

    async def send_everywhere(how: Hostile) -> None:
        for name, client in services.items():
            for method, path, body in routes[name]:
                whole = render(client, method, path, body, how)
                status = await status_line(client, whole)
                assert re.match(rb"HTTP/1\.[01] [1-4]\d\d ", status), (status, whole)

    await asyncio.to_thread(survived)


def good_requests(client: Client) -> list[tuple[str, str, Any]]:
    """The method, the path and a good body of every route."""
    described = client.app[DOCUMENTS].openapi["paths"]
    requests = []
    for route in api_routes(client.app):
        path = path_of(route)
        about = described[path].get(route.method.lower(), {}).get("requestBody")
        body = about["content"]["application/json"]["example"] if about else None
        requests.append((route.method, path, body))
    return requests


def render(client: Client, method: str, path: str, good: Any, how: Hostile) -> bytes:
    """The whole request."""
    at = [at for at, _ in places(good)]
    marked = replaced(good, at[how.place % len(at)], "<here>")
    body = json.dumps(marked).replace('"<here>"', how.fragment).encode("utf-8", "surrogatepass")
    if how.raw is not None:
        body = how.raw
    target = re.sub("{.*}", how.parameter.replace("\\", "%5C") or "%00", path)
    target += "".join(f"{'&' if i else '?'}{n}={v}" for i, (n, v) in enumerate(how.query))
    token = client.session.headers["Authorization"].encode()
    given = {"Authorization": token, "Content-Type": b"application/json"} | how.headers
    lines = [f"{method} {target} HTTP/1.1".encode(), b"Host: x", b"Connection: close"]
    lines += [name.encode() + b": " + value for name, value in given.items()]
    lines += [b"Content-Length: %d" % len(body), b"", body]
    return b"\r\n".join(lines)


async def status_line(client: Client, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    async with asyncio.timeout(60):
        writer.write(request)
        line = await reader.readline()
    writer.close()
    return line
