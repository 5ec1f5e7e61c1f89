"""`Expect: 100-continue` (RFC 9110, section 10.1.1): the body is asked for once it is needed.

aiohttp would answer the header before the handler sees the request: with a 100 even where the
request is refused, and with a 417 for any other expectation. Here those are ignored.
"""

from aiohttp import HttpVersion11, web

EXPECT = "Expect"
WAITS = web.RequestKey("waits", bool)  # set if the client sends the body only after a 100


async def note_expectation(request: web.Request) -> None:
    """Note whether the client waits for a 100. aiohttp calls it for requests with an Expect."""
    expectations = ",".join(request.headers.getall(EXPECT)).lower().split(",")
    if request.version >= HttpVersion11 and "100-continue" in map(str.strip, expectations):
        request[WAITS] = True


async def ask_for_body(request: web.Request) -> None:
    """Ask for the body if the client waits for a 100."""
    if WAITS not in request:
        return
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # this was not part of the answer
