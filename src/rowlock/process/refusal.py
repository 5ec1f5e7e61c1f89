"""A connection beyond the limit: it gets a short 503, and is closed."""

import asyncio
from collections.abc import Sequence
from typing import cast

from aiohttp import web

from rowlock.errors import Overloaded
from rowlock.http.errors import answer
from rowlock.http.intake import CROWD
from rowlock.http.metrics import METRICS
from rowlock.http.negotiation import accept_in
from rowlock.http.request_ids import REQUEST_ID, new_request_id

PATIENCE_S = 1.0  # for the client to ask, and again for it to close
SURPLUS = 256  # connections answered at a time; the others are closed without an answer


class Refusal(asyncio.Protocol):
    """Answers 503 to whatever comes first. No head is parsed but for Accept, nothing is kept.

    The connection is closed once the client has closed it, or after a while: a close with bytes
    unread would be a reset, which may overtake the answer.
    """

    def __init__(self, app: web.Application) -> None:
        self._app = app
        self._crowd = app[CROWD]
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the client to ask, unless too many are being refused already."""
        self._transport = cast("asyncio.Transport", transport)
        self._app[METRICS].error(Overloaded.code)
        self._crowd.refusals += 1
        if self._crowd.refusals > SURPLUS:
            self._transport.abort()
            return
        self._timer = self._loop.call_later(PATIENCE_S, self._transport.close)

    def data_received(self, data: bytes) -> None:
        """Answer what has come first, and throw away the rest."""
        if self._timer is not None and self._transport is not None:
            self._timer.cancel()
            self._timer = None
            self._transport.write(_answer(self._app, accept_in(data)))
            self._transport.write_eof()
            self._loop.call_later(PATIENCE_S, self._transport.abort)

    def connection_lost(self, _: BaseException | None) -> None:
        """Let go of the connection."""
        self._crowd.refusals -= 1
        if self._timer is not None:
            self._timer.cancel()


def _answer(app: web.Application, accept: Sequence[str]) -> bytes:
    error = Overloaded("This process has as many connections as it takes; try again.")
    request_id = new_request_id()
    response = answer(error, "", app, accept=accept, request_id=request_id)
    response.headers[REQUEST_ID] = request_id
    assert isinstance(response.body, bytes)
    response.headers["Content-Length"] = str(len(response.body))
    response.headers["Connection"] = "close"
    lines = [f"{name}: {value}" for name, value in response.headers.items()]
    head = "\r\n".join([f"HTTP/1.1 {response.status} {response.reason}", *lines, "", ""])
    return head.encode() + response.body
