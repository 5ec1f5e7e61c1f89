"""`Expect: 100-continue` (RFC 9110, section 10.1.1): the body is asked for once it is needed.

aiohttp would answer the header before the application sees the request: with a 100 even where the
request is refused, and with a 417 of its own for any other expectation. Here those are ignored.
"""

from collections.abc import Callable
from typing import Any

from aiohttp import HttpVersion11, web
from aiohttp.http_parser import RawRequestMessage

EXPECT = "Expect"
WAITS = web.RequestKey("waits", bool)  # set if the client sends the body only after a 100


def make_request(
    make: Callable[..., web.BaseRequest], message: RawRequestMessage, *arguments: Any
) -> web.BaseRequest:
    """Return the request that `make` makes of `message`, without its Expect header."""
    if EXPECT not in message.headers:
        return make(message, *arguments)
    headers = message.headers.copy()
    expectations = ",".join(headers.popall(EXPECT)).lower().split(",")
    request = make(message._replace(headers=type(message.headers)(headers)), *arguments)
    if message.version >= HttpVersion11 and "100-continue" in map(str.strip, expectations):
        request[WAITS] = True
    return request


async def ask_for_body(request: web.Request) -> None:
    """Ask for the body if the client waits for a 100."""
    if WAITS not in request:
        return
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # this was not part of the answer
