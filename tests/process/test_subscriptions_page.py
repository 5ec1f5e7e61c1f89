"""What the documents say of webhooks: their commands are run, with a receiver in users' place."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from rowlock.ops.drill.processes import environment
from tests.support import documents
from tests.support.contract import bearer
from tests.support.documents import RECEIVER, Block
from tests.support.polling import until
from tests.support.processes import Service
from tests.support.receiver import Received, Receiver
from tests.support.servers import Server

PAGE, OPERATING = "docs/subscriptions.md", "docs/operating.md"
TOKEN = "development-events-token"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = Server(receiver.app)
    await server.start_server()
    receiver.url = str(server.make_url("")).rstrip("/")
    yield receiver
    await server.close()


async def bash(script: str, folder: Path, variables: dict[str, str]) -> str:
    """Run a script, which must succeed; return what it printed."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script),
        cwd=folder,
        env=variables | {"PATH": documents.search_path()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, problem = await process.communicate()
    assert process.returncode == 0, f"{script}\n{problem.decode()}"
    return output.decode()


def of_page(name: str, *beginnings: str) -> list[Block]:
    """The blocks of a document that begin so, each of them once; there are no other commands."""
    found = [block for block in documents.blocks(name) if block.text.startswith(beginnings)]
    assert len(found) == len(beginnings)
    marked = [block for block in documents.blocks(name) if block.mark == RECEIVER]
    assert all(block in found for block in marked)
    return found


async def test_page__as_a_reader_follows_it__each_block_works(
    database_url: str, events_database_url: str, receiver: Receiver, tmp_path: Path
) -> None:
    create, posted, verify, compute = of_page(
        PAGE, "curl ", "POST ", "from standardwebhooks", "key="
    )
    urls = {
        "database_url": database_url,
        "events_database_url": events_database_url,
        "webhooks_private": "1",
    }
    async with (
        Service("events", **urls) as service,
        aiohttp.ClientSession(service.events_url, headers=bearer(TOKEN)) as session,
    ):
        script = create.text.replace("curl ", "curl -sS ").replace("TOKEN", TOKEN)
        script = script.replace("http://localhost:3001", service.events_url)
        script = script.replace("https://example.com", receiver.url)
        made = orjson.loads(await bash(script, tmp_path, {}))
        assert made["names"] == ["invoice.*", "order.settled"]
        event = {"name": "invoice.paid", "payload": {"invoice_id": 1}}
        async with session.post("/events", json=event) as response:
            assert response.status == 201
        await until(lambda: receiver.received)
        [received] = receiver.received
        _assert_as_shown(received, posted.text)
        assert verified(verify.text, made["secret"], received.body, received) == received.json
        with pytest.raises(WebhookVerificationError):
            verified(verify.text, made["secret"], received.body + b" ", received)

        # While two secrets sign, what the shell prints is one of the signatures.
        rotate = f"/subscriptions/{made['id']}/rotate-secret"
        async with session.post(rotate, json={}) as response:
            rotated = await response.json()
        async with session.post("/events", json=event) as response:
            assert response.status == 201
        await until(lambda: len(receiver.received) == 2)
        second = receiver.received[1]
        (tmp_path / "body.json").write_bytes(second.body)
        for secret in (made["secret"], rotated["secret"]):
            printed = await bash(compute.text, tmp_path, _variables(second, secret))
            assert f"v1,{printed.strip()}" in second.headers["webhook-signature"].split(" ")
        another = f"whsec_{'A' * 43}="
        printed = await bash(compute.text, tmp_path, _variables(second, another))
        assert printed.strip() not in second.headers["webhook-signature"]


def _assert_as_shown(received: Received, shown: str) -> None:
    """Fail unless a request has the headers that are shown, and its body the same fields."""
    head, body = shown.split("\n\n")
    request, *lines = head.splitlines()
    assert request == f"POST {received.path}"
    for line in lines:
        name, _, value = line.partition(": ")
        assert name in received.headers
        if name == "Content-Type":
            assert received.headers[name] == value
    example = orjson.loads(body)
    assert list(received.json) == list(example)
    assert received.json["type"] == example["type"]
    assert received.json["data"] == example["data"]


def verified(code: str, secret: str, body: bytes, received: Received) -> Any:
    """What the page's Python makes of a body. Raises WebhookVerificationError."""
    names = {"body": body.decode(), "headers": dict(received.headers)}
    exec(code.replace("whsec_…", secret), names)
    return names["event"]


def _variables(received: Received, secret: str) -> dict[str, str]:
    return {
        "secret": secret,
        "id": received.id,
        "timestamp": received.headers["webhook-timestamp"],
        "signature": received.headers["webhook-signature"],
    }


async def test_operating__commands_for_subscriptions__work(
    database_url: str, events_database_url: str, receiver: Receiver, tmp_path: Path
) -> None:
    [commands] = of_page(OPERATING, "rowlock subscriptions list")
    urls: dict[str, object] = {
        "database_url": database_url,
        "events_database_url": events_database_url,
        "webhooks_private": "1",
    }
    async with (
        Service("events", **urls) as service,
        aiohttp.ClientSession(service.events_url, headers=bearer(TOKEN)) as session,
    ):
        body = {"url": f"{receiver.url}/hook", "names": ["nothing"]}
        async with session.post("/subscriptions", json=body) as response:
            assert response.status == 201
        for _ in range(7):
            async with session.post("/subscriptions/1/test", json={}) as response:
                assert response.status == 202
        await until(lambda: len(receiver.received) == 7)
        variables = os.environ | environment(**urls)
        output = await bash(commands.text, tmp_path, variables)
        assert "Delivery 7 is posted again." in output
        await until(lambda: [each.id for each in receiver.received].count("test_7") == 2)
