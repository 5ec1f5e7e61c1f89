"""The curl lines in /docs: each is one that a shell takes, and sends what the document shows."""

import asyncio
import json
import os
import re
import shlex
import shutil
from html import unescape

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.http.openapi.curl import example
from rowlock.http.openapi.html import BASE
from rowlock.http.openapi.routes import DOCUMENTS
from rowlock.http.openapi.shapes import JSON
from rowlock.http.service import Service
from rowlock.services import COMMERCE, SERVICES
from rowlock.settings import Settings
from tests.support.roles import create_app
from tests.support.services import quiet

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


def lines_of(page: str) -> list[str]:
    """The commands in a page."""
    return [unescape(line) for line in re.findall('<pre class="command">(.*?)</pre>', page)]


async def run(line: str, **variables: str) -> tuple[int, bytes]:
    """The status and the body that a line of curl gets, run by a shell."""
    shell = await asyncio.create_subprocess_shell(
        f"{line} --max-time 10 -w '\n%{{http_code}}'",
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], **variables},
    )
    output, _ = await shell.communicate()
    body, _, status = output.rpartition(b"\n")
    return int(status), body


TOKENS = {"commerce_token": 'a"b$c`d', "projects_token": "p", "events_token": "e"}


@needs_curl
@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
async def test_curl_lines__each_one__is_taken_as_it_is(
    aiohttp_client: AiohttpClient,
    shared_database_urls: dict[str, str],
    settings: Settings,
    service: Service,
) -> None:
    settings = settings.changed(**TOKENS)
    token = service.token(settings)
    url = shared_database_urls[service.database]
    app = create_app(quiet(service), settings, url)
    client = await aiohttp_client(app)
    asks, *lines = lines_of(await (await client.get("/docs")).text())
    assert asks == "read -rs TOKEN"
    assert len(lines) == len(app[DOCUMENTS].routes)
    for line in lines:
        if "-sN" in line:
            continue  # a stream, which goes on
        status, body = await run(line, TOKEN=str(token))
        proven = "webhook" not in line and "/metrics" not in line  # those have other secrets
        # The examples are of rows that may be missing, but never malformed.
        assert status not in {400, 405, 415, 500} or b"_not_found" in body, (line, body)
        assert (status == 401) <= (not proven), line


@needs_curl
async def test_curl_line__of_a_write__sends_the_example(
    aiohttp_client: AiohttpClient, shared_database_urls: dict[str, str], settings: Settings
) -> None:
    app = create_app(quiet(COMMERCE), settings.changed(**TOKENS), shared_database_urls["main"])
    client = await aiohttp_client(app)
    page = await (await client.get("/docs")).text()
    [line] = [
        line for line in lines_of(page) if line.endswith("}'") and "/service-orders' " in line
    ]
    base = str(client.make_url("")).rstrip("/")
    body = app[DOCUMENTS].openapi["paths"]["/service-orders"]["post"]["requestBody"]["content"]
    sent = json.dumps(body["application/json"]["example"])
    assert line == (
        f"curl -s '{base}/service-orders' -H \"Authorization: Bearer $TOKEN\" "
        f"-H 'Content-Type: application/json' -d '{sent}'"
    )


def test_curl_line__quotes_in_the_example__reach_the_service() -> None:
    operation = {"responses": {}, "requestBody": {"content": {JSON: {"example": {"a": "it's"}}}}}
    parameters = [{"name": "id", "schema": {"examples": ["a/b c'"]}}]
    line = example("put", "/x/{id}", operation, parameters, None).replace(BASE, "http://x")
    assert shlex.split(line) == [
        "curl", "-s", "http://x/x/a%2Fb%20c%27", "-X", "PUT",
        "-H", "Content-Type: application/json", "-d", '{"a": "it\'s"}',
    ]  # fmt: skip
