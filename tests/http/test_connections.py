"""Slow clients are cut off, by a limit of its own for each way to be slow; and how others end."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import pytest

from rowlock.http.service import DRAINING
from rowlock.process.connection import PIPELINED, ClientConnection
from tests.support.contract import server_of
from tests.support.polling import until
from tests.support.types import Client, Serve

WHOLE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /invoices HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
QUICK = 0.1


@contextlib.asynccontextmanager
async def connected(
    client: Client,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Send a byte again and again until the service has closed; return what it has answered."""
    answer = bytearray()

    async def read() -> None:
        with contextlib.suppress(ConnectionResetError):  # it closes while a byte is on its way
            while part := await reader.read(1024):
                answer.extend(part)

    def is_over() -> bool:
        writer.write(b"x")
        return reading.done()

    reading = asyncio.create_task(read())
    await until(is_over)
    await reading
    return bytes(answer)


@pytest.mark.parametrize("start", [b"GET /", b"GET /user/1 HTTP/1.1\r\nHost:", WHOLE[:-2]])
async def test_headers__a_byte_at_a_time__cut_off_and_others_served_meanwhile(
    serve: Serve, start: bytes
) -> None:
    commerce = await serve(headers_timeout_s=QUICK)
    async with contextlib.AsyncExitStack() as stack:
        pairs = [await stack.enter_async_context(connected(commerce)) for _ in range(20)]
        for _, writer in pairs:
            writer.write(start)
        cut_off = [asyncio.create_task(drip(*pair)) for pair in pairs]
        assert (await commerce.get("/healthz")).status == 200
        assert set(await asyncio.gather(*cut_off)) == {b""}


async def test_headers__never_finished_after_a_request__cut_off(serve: Serve) -> None:
    commerce = await serve(headers_timeout_s=QUICK)
    async with connected(commerce) as (reader, writer):
        writer.write(WHOLE)
        await reader.readuntil(b'"alive"}')
        writer.write(b"GET")
        async with asyncio.timeout(10):
            assert await reader.read() == b""


async def test_headers__in_parts_but_in_time__connection_stays(serve: Serve) -> None:
    limit_s = 1.0  # enough for the second part, wherever the machine stalls
    commerce = await serve(headers_timeout_s=limit_s)
    async with connected(commerce) as (reader, writer):
        for part in (WHOLE[:5], WHOLE[5:]):
            writer.write(part)
            await writer.drain()
        await reader.readuntil(b'"alive"}')
        loop = asyncio.get_running_loop()
        later = loop.time() + 1.5 * limit_s
        await until(lambda: loop.time() > later)
        writer.write(WHOLE)
        assert (await reader.readline()).split()[1] == b"200"


@pytest.mark.parametrize("sent", [b"", WHOLE])
async def test_connection__idle__closed(serve: Serve, sent: bytes) -> None:
    commerce = await serve(keepalive_timeout_s=1.0)
    async with connected(commerce) as (reader, writer):
        writer.write(sent)
        async with asyncio.timeout(10):
            assert (b"alive" in await reader.read()) == bool(sent)


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 9999\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n270f\r\n"]
)
async def test_body__a_byte_at_a_time__400_and_cut_off(serve: Serve, framing: bytes) -> None:
    commerce = await serve(body_timeout_s=QUICK, linger_timeout_s=QUICK)
    async with connected(commerce) as (reader, writer):
        writer.write(POST + framing)
        answer = await drip(reader, writer)
    assert answer.split()[1] == b"400"
    assert b"did not arrive in time" in answer


async def test_body__never_sent_and_not_wanted__answered_and_cut_off(serve: Serve) -> None:
    commerce = await serve(linger_timeout_s=QUICK)
    async with connected(commerce) as (reader, writer):
        writer.write(POST.replace(b"/invoices", b"/nowhere") + b"Content-Length: 9999\r\n\r\n")
        async with asyncio.timeout(10):
            answer = await reader.read()
    assert answer.split()[1] == b"404"


@pytest.mark.parametrize("path", ["/healthz", "/user/1", "/nowhere"])
async def test_answer__while_draining__closes_the_connection(serve: Serve, path: str) -> None:
    commerce = await serve()
    assert "Connection" not in (await commerce.get(path)).headers
    commerce.app[DRAINING].set()
    assert (await commerce.get(path)).headers["Connection"] == "close"


async def test_answers__never_read__cut_off_and_others_served_meanwhile(serve: Serve) -> None:
    commerce = await serve(write_timeout_s=QUICK)
    server = server_of(commerce)
    connections = server.connections
    async with connected(commerce) as (_, writer):
        assert isinstance(writer.transport, asyncio.Transport)
        writer.transport.pause_reading()
        writer.write(WHOLE.replace(b"/healthz", b"/openapi.json") * 200)
        await until(lambda: len(server.connections) > len(connections))
        [stuck] = {*server.connections} - {*connections}
        assert (await commerce.get("/healthz")).status == 200
        await until(lambda: stuck not in server.connections)


async def test_requests__hundreds_pipelined__answered_in_order_and_few_are_parsed_ahead(
    serve: Serve,
) -> None:
    commerce = await serve()
    ids = [f"pipelined-{number}" for number in range(200)]
    parsed: list[int] = []

    async def watch() -> None:
        while True:
            for connection in server_of(commerce).connections:
                assert isinstance(connection, ClientConnection)
                parsed.append(len(connection._messages))
            await asyncio.sleep(0)

    async with connected(commerce) as (reader, writer):
        watching = asyncio.create_task(watch())
        for each in ids[:-1]:
            writer.write(WHOLE.replace(b"Host: x", f"Host: x\r\nX-Request-ID: {each}".encode()))
        last = f"Host: x\r\nConnection: close\r\nX-Request-ID: {ids[-1]}"
        writer.write(WHOLE.replace(b"Host: x", last.encode()))
        async with asyncio.timeout(60):
            answers = (await reader.read()).decode()
        watching.cancel()
    assert re.findall(r"^X-Request-ID: (\S+)", answers, re.MULTILINE) == ids
    assert answers.count('"alive"}') == len(ids)
    assert 1 < max(parsed) <= PIPELINED + 1


async def test_requests__pipelined_after_a_body_that_came_late__answered_in_order(
    serve: Serve,
) -> None:
    """aiohttp's parser still counts the request whose head was taken before its body had come."""
    commerce = await serve()
    close = WHOLE.replace(b"Host: x", b"Host: x\r\nConnection: close")
    async with connected(commerce) as (reader, writer):
        writer.write(POST + b"Content-Length: 2\r\n\r\n")
        await until(lambda: server_of(commerce).connections)
        [connection] = server_of(commerce).connections
        assert isinstance(connection, ClientConnection)
        await until(lambda: connection._current_request is not None)
        writer.write(b"{}")
        async with asyncio.timeout(60):
            await reader.readuntil(b"}")
            writer.write(WHOLE * 3 * PIPELINED + close)
            answers = await reader.read()
    assert answers.count(b'"alive"}') == 3 * PIPELINED + 1


async def test_requests__pipelined_behind_a_body__answered_in_order(serve: Serve) -> None:
    """As many as may wait, and then a body that is larger than what is parsed at a time."""
    commerce = await serve()
    body = b'{"x": "' + b"x" * 40_000 + b'"}'
    post = POST + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    close = WHOLE.replace(b"Host: x", b"Host: x\r\nConnection: close")
    async with connected(commerce) as (reader, writer):
        writer.write((WHOLE * PIPELINED + post) * 5 + close)
        async with asyncio.timeout(60):
            answers = await reader.read()
    statuses = re.findall(rb"HTTP/1.1 (\d+)", answers)
    assert statuses == [*([b"200"] * PIPELINED + [b"400"]) * 5, b"200"]
