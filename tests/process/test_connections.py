"""Connections whose first bytes are there before anybody looks; in one process they never are."""

import asyncio
import json

import pytest

from tests.support.processes import Service, connected


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
