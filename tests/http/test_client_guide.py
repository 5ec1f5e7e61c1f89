"""Each block of Python in docs/client.md runs, one after another, as in `python -m asyncio`."""

import ast
import asyncio
import inspect
import time
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.subscriptions.rules import sign
from tests.support import documents
from tests.support.types import Client, Connection

GUIDE = "docs/client.md"
BODY = b'{"type": "invoice.paid", "timestamp": "2026-11-21T09:30:00Z", "data": {"invoice_id": 1}}'


async def run_blocks(urls: dict[str, str]) -> dict[str, Any]:
    """Run the blocks at these addresses; return the names that they have made."""
    names: dict[str, Any] = {}
    for block in documents.blocks(GUIDE):
        if block.language != "python":
            continue
        text = block.text
        for shown, own in urls.items():
            text = text.replace(shown, own)
        code = compile(text, GUIDE, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        running = eval(code, names)
        if inspect.iscoroutine(running):
            async with asyncio.timeout(60):
                await running
    return names


async def test_guide__each_block__does_what_the_page_says(
    commerce: Client,
    events: Client,
    connection: Connection,
    catalogue: dict[str, int],
    ada: int,
    aiohttp_client: AiohttpClient,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ada == 1
    await connection.execute("INSERT INTO users (username) VALUES ('grace')")
    urls = {
        "http://localhost:4000": str(commerce.make_url("")),
        "http://localhost:3001": str(events.make_url("")),
    }
    names = await run_blocks(urls)
    shown = capsys.readouterr().out
    for words in (
        f"pending {2 * catalogue['gym']}",
        "They have ",
        "one invoice: ",
        "entries\n",
        "id,created_at,amount",
        "parcel.sent {'parcel': 7}",
        "consumer.created",
    ):
        assert words in shown
    count = await connection.fetchval("SELECT count(*) FROM invoices WHERE label = 'Order 4711'")
    assert count == 1
    receiver = await aiohttp_client(names["app"])
    now_s = int(time.time())
    headers = {
        "webhook-id": "12",
        "webhook-timestamp": str(now_s),
        "webhook-signature": sign(names["SECRETS"][0], "12", now_s, BODY),
    }
    assert (await receiver.post("/hooks/rowlock", data=BODY, headers=headers)).status == 204
    assert (await receiver.post("/hooks/rowlock", data=b"{}", headers=headers)).status == 401
    assert "12 invoice.paid {'invoice_id': 1}" in capsys.readouterr().out
