"""A client's connection: limits on slow clients, and JSON answers to malformed HTTP."""

import asyncio
import re
from functools import partial
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, InvalidURLError
from aiohttp.web_protocol import _ErrInfo

from rowlock.errors import InternalError, InvalidRequest, RowlockError
from rowlock.http.answers import reply
from rowlock.http.errors import envelope, status_of
from rowlock.http.expectations import make_request
from rowlock.http.metrics import METRICS
from rowlock.http.request_ids import REQUEST_ID, REQUEST_ID_KEY, new_request_id
from rowlock.http.service import SERVICE, SETTINGS

# As much of a request, malformed or not, as tells its path: errors look different below /api/.
START_BYTES = 256
TARGET = re.compile(rb"\s*\S+ (?:https?://[^/ ]*)?(/[^ ?#]*)")

BROKEN_HTTP = (HttpProcessingError, web.RequestPayloadError)

logger = structlog.get_logger(__name__)


class ClientConnection(web.RequestHandler):
    """aiohttp's connection handler, with limits on slow headers and writes, and our error envelope.

    aiohttp itself closes a connection that has been idle for `keepalive_timeout_s`. It has no
    public way to tell whether a connection is idle, to limit the time that headers take, or to
    learn that a body has broken off. So this class uses private names of
    aiohttp.web_protocol (`_waiter`, `_request_count`, `_current_request`, `_messages`, `_ErrInfo`,
    `_request_factory`), and aiohttp is pinned to its minor version.
    """

    __slots__ = (
        "_app",
        "_headers_timeout_s",
        "_headers_timer",
        "_start",
        "_write_timeout_s",
        "_write_timer",
    )

    def __init__(
        self, manager: web.Server, app: web.Application, *, loop: asyncio.AbstractEventLoop
    ) -> None:
        settings = app[SETTINGS].http
        super().__init__(
            manager,
            loop=loop,
            keepalive_timeout=settings.keepalive_timeout_s,
            lingering_time=settings.linger_timeout_s,
            access_log=None,  # type: ignore[arg-type]
        )
        self._request_factory = partial(make_request, manager.request_factory)
        self._app = app
        self._headers_timeout_s = settings.headers_timeout_s
        self._headers_timer: asyncio.TimerHandle | None = None
        self._start = b""  # of the last request, or of the first in a pipelined run
        self._write_timeout_s = settings.write_timeout_s
        self._write_timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether the connection waits for a request, or for the rest of its headers."""
        if self._waiter is None:
            return (
                not self._request_count
            )  # at work; before the first request, its task has yet to start
        return not self._waiter.done()

    def data_received(self, data: bytes) -> None:
        """Take data from the client; headers have `headers_timeout_s` from their first byte on."""
        if self.is_idle:
            begun = self._start if self._headers_timer else b""
            self._start = (begun + data)[:START_BYTES]
        super().data_received(data)
        self._break_off_body()
        if self._headers_timer is None:
            if data and self.is_idle:
                self._headers_timer = self._loop.call_later(
                    self._headers_timeout_s, self.force_close
                )
        elif not self.is_idle:  # the headers are complete
            self._stop_timer()

    def _break_off_body(self) -> None:
        """Fail the body's reader if malformed data arrived: aiohttp only queues the error."""
        request = self._current_request
        if request is None or request.content.is_eof() or not self._messages:
            return
        message, _ = self._messages[-1]
        if isinstance(message, _ErrInfo):
            request.content.set_exception(web.RequestPayloadError(message.message))

    def pause_writing(self) -> None:
        """Give a client that does not read `write_timeout_s` to go on."""
        super().pause_writing()
        if self.transport is not None:
            # abort, as close would wait until the client has read everything.
            self._write_timer = self._loop.call_later(self._write_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop that timer: the client reads again."""
        super().resume_writing()
        self._stop_write_timer()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the timers."""
        self._stop_timer()
        self._stop_write_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log aiohttp's unexpected errors, but not malformed HTTP, which any client may send."""
        if not isinstance(kw.get("exc_info"), BROKEN_HTTP):
            super().log_exception(*args, **kw)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what never reaches the application: mostly malformed HTTP."""
        request_id = request.get(REQUEST_ID_KEY) or new_request_id()
        structlog.contextvars.bind_contextvars(
            service=self._app[SERVICE].name, request_id=request_id
        )
        super().handle_error(
            request, status, exc, message
        )  # logs it; raises if an answer has begun
        error: RowlockError = InternalError()
        path = request.path
        if status == 400:  # noqa: PLR2004
            complaint = _complaint(exc, message)
            error = InvalidRequest(f"The request is not valid HTTP: {complaint}.")
            target = TARGET.match(self._start)
            path = target[1].decode("latin-1") if target else ""
            if self._app[SETTINGS].logs.log_requests:
                logger.info("broken_request", status=status, complaint=complaint)
        self._app[METRICS].error(error.code)
        response = reply(envelope(error, path), status=status_of(error))
        response.headers[REQUEST_ID] = request_id
        response.force_close()
        return response


def _complaint(exc: BaseException | None, message: str | None) -> str:
    """Return aiohttp's complaint, without the data that the client has sent."""
    lines = (message or "").split("\n")
    if isinstance(exc, InvalidURLError) and len(lines) == 1:
        return "Invalid target"  # aiohttp's message is the target itself
    return lines[0].partition(":")[0].rstrip(".")
