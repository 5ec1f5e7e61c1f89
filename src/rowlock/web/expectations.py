"""`Expect: 100-continue` (RFC 9110, section 10.1.1): a body is asked for once it is wanted.

aiohttp would answer the header before the application has seen the request: with a 100 also what
is refused, and any other expectation with a 417 of its own. Those are ignored here.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import HttpVersion11, web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.typedefs import Handler

EXPECT = "Expect"
WAITS = web.RequestKey("waits", bool)  # there if its body comes only after a 100


def take_over(
    make: Callable[..., web.BaseRequest], message: RawRequestMessage, *arguments: Any
) -> web.BaseRequest:
    """Return the request that `make` makes of `message`, without the header."""
    expectation = message.headers.get(EXPECT)
    if expectation is None:
        return make(message, *arguments)
    headers = message.headers.copy()
    del headers[EXPECT]
    request = make(message._replace(headers=type(message.headers)(headers)), *arguments)
    if expectation.lower() == "100-continue" and message.version >= HttpVersion11:
        request[WAITS] = True
    return request


@web.middleware
def ask_for_body(request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
    """Ask for the body, if the client waits for that and there is a route.

    It is no coroutine, as hardly any client waits.
    """
    return _ask(request, handler) if WAITS in request else handler(request)


async def _ask(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.match_info.http_exception is None and not request.content.is_eof():
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
    return await handler(request)
