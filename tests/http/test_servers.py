"""The servers of the tests, which a browser may connect to at any moment."""

import asyncio
import socket
from contextlib import suppress

import pytest
from aiohttp import web

from tests.support.servers import Server


@pytest.mark.parametrize("turns", range(5))
async def test_close__just_after_a_connection_was_made__it_is_closed(turns: int) -> None:
    server = Server(web.Application())
    await server.start_server()
    with socket.create_connection((server.host, server.port)) as client:
        for _ in range(turns):
            await asyncio.sleep(0)
        await server.close()
        client.settimeout(30)
        with suppress(ConnectionResetError):  # it was not accepted
            assert await asyncio.to_thread(client.recv, 1) == b""
