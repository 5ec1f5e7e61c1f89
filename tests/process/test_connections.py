"""Connections whose first bytes are there before anybody looks; in one process they never are."""

import asyncio
import contextlib
import json
import socket

import psutil
import pytest

from tests.support.polling import until
from tests.support.processes import Service, connected

CLIENTS = 100  # that don't read


async def ask(service: Service, data: bytes) -> bytes:
    """Send `data` with the connection; return all that comes until the service closes it."""
    async with connected(service) as (reader, writer), asyncio.timeout(60):
        writer.write(data)
        return await reader.read()


@pytest.mark.parametrize(
    "start", [b"FOO /api/products HTTP/1.1", b"\r\nGET /api/x HTTP/1.1\r\nA\xff: b"]
)
async def test_first_packet__no_http_below_api__error_code_alone(
    database_url: str, start: bytes
) -> None:
    async with Service("commerce", database_url=database_url) as service:
        answers = await asyncio.gather(*(ask(service, start + b"\r\n\r\n") for _ in range(20)))
    for answer in answers:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.split()[1] == b"400"
        assert json.loads(body) == {"error": "invalid_request"}


async def test_first_packet__part_of_the_headers__cut_off_in_time(database_url: str) -> None:
    limits = {"headers_timeout_s": 0.2, "keepalive_timeout_s": 300}
    async with Service("commerce", database_url=database_url, **limits) as service:
        start = b"GET /user/1 HTTP/1.1\r\nHost: x\r\n"
        assert set(await asyncio.gather(*(ask(service, start) for _ in range(20)))) == {b""}


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
async def test_documents__clients_that_do_not_read_them__hold_no_copies(
    database_url: str, path: str
) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    memory = []
    async with Service("commerce", database_url=database_url, write_timeout_s=1) as service:
        whole = await ask(service, request.replace(b"Host: x", b"Host: x\r\nConnection: close"))
        [process] = [each for each in psutil.Process().children() if "serve" in each.cmdline()]
        memory.append(process.memory_info().rss)
        address = ("127.0.0.1", service.settings["commerce_port"])

        def are_cut_off() -> bool:
            memory.append(process.memory_info().rss)
            return address not in {each.laddr for each in process.net_connections() if each.raddr}

        with contextlib.ExitStack() as stack:
            for _ in range(CLIENTS):
                client = stack.enter_context(socket.socket())
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(address)
                client.send(request * 50)
            await until(are_cut_off)
    assert max(memory) - memory[0] < CLIENTS * len(whole) / 2
