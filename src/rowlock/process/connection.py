"""One client's connection: its heads are bounded, and malformed HTTP gets a 400 in JSON."""

import asyncio
import re
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import HttpVersion10, HttpVersion11, StreamReader, hdrs, web
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError, InvalidURLError
from aiohttp.web_protocol import _ErrInfo

from rowlock.errors import (
    HeadTooLarge,
    HttpVersionNotSupported,
    InternalError,
    InvalidRequest,
    Overloaded,
    RowlockError,
)
from rowlock.http.errors import answer, status_of
from rowlock.http.exchange import EXCHANGE, Exchange
from rowlock.http.intake import CROWD
from rowlock.http.metrics import METRICS
from rowlock.http.negotiation import accept_in
from rowlock.http.request_ids import REQUEST_ID, new_request_id
from rowlock.http.service import SERVICE, SETTINGS
from rowlock.origin import REQUEST

if TYPE_CHECKING:
    from collections.abc import Coroutine

# How a request begins, well-formed or not: its path, and its Accept if that is in there, decide
# what errors look like.
START_BYTES = 256
TARGET = re.compile(rb"\s*\S+ (?:https?://[^/ ]*)?(/[^ ?#]*)")

REQUEST_LINE = re.compile(rb"(?<![!-~])[!-~]+ [!-~]+ HTTP/[0-9]")

PART_BYTES = 16_384  # of what has come, given to the parser at a time
BODY_BUFFER_BYTES = 65_536  # of a body that no handler reads, half of what is held
PIPELINED = 8  # requests parsed ahead of the one at work: a kilobyte each, however short they are

BROKEN_HTTP = (HttpProcessingError, web.RequestPayloadError, RowlockError)

UNKNOWN_VERSION = "Bad status line:\n  Invalid HTTP version"  # as aiohttp says it
BROKEN = "The request is not valid HTTP: "

logger = structlog.get_logger(__name__)


class ClientConnection(web.RequestHandler):
    """What aiohttp keeps of a connection, with limits on heads and errors in our envelope.

    aiohttp itself closes a connection on which nothing has come for `keepalive_timeout_s`. It has
    no public way to tell whether a connection is idle, to bound how long heads take and how large
    they are in all, to choose how many requests are parsed ahead (32), to refuse a version of HTTP,
    or to learn that a body that is being read has broken off. So this reaches into private names of
    aiohttp.web_protocol (`_waiter`, `_request_count`, `_current_request`, `_messages`,
    `_max_msg_queue_size`, `_msg_queue_resume_size`, `_parser`, `_buffer_paused`, `_ErrInfo`,
    `_resume_reading_for_buffer`, `_handle_request`, `_make_error_handler`), and aiohttp is pinned
    to its minor version.
    """

    __slots__ = (
        "_app",
        "_content",
        "_crowd",
        "_head_bytes",
        "_headers_timer",
        "_held",
        "_is_paused",
        "_is_refused",
        "_limits",
        "_start",
        "_write_timer",
    )

    def __init__(
        self,
        manager: web.Server,
        app: web.Application,
        *,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._limits = app[SETTINGS].http
        super().__init__(
            manager,
            loop=loop,
            keepalive_timeout=self._limits.keepalive_timeout_s,
            lingering_time=self._limits.linger_timeout_s,
            access_log=None,  # type: ignore[arg-type]
            read_bufsize=BODY_BUFFER_BYTES,
            auto_decompress=False,
        )
        self._max_msg_queue_size = PIPELINED
        self._msg_queue_resume_size = PIPELINED // 2
        self._parser = HttpRequestParser(  # like aiohttp's own, but for the limit
            self,
            loop,
            BODY_BUFFER_BYTES,
            max_line_size=self.max_line_size,
            max_field_size=self.max_field_size,
            max_headers=self.max_headers,
            payload_exception=web.RequestPayloadError,
            auto_decompress=False,
            # One more than may wait: it still counts a request whose head was taken before its body
            # had come. With as many, it could stop while too few wait for this to go on later.
            max_msg_queue_size=PIPELINED + 1,
        )
        self._app = app
        self._crowd = app[CROWD]
        self._content: StreamReader | None = None  # the body of the last request that has come
        self._head_bytes = 0  # of the head that is coming
        self._held = b""  # came after as many requests as may wait
        self._is_paused = False
        self._is_refused = False
        self._headers_timer: asyncio.TimerHandle | None = None
        self._start = b""  # of the last request; of the first one of several that came at once
        self._write_timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request, or for the rest of one's head."""
        if self._waiter is None:
            return not self._request_count  # else it is at work; so, its task has yet to begin
        return not self._waiter.done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection."""
        self._crowd.connections += 1
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Take what has come, in parts: a head that is too large is not parsed to its end."""
        if len(data) > PART_BYTES:
            self._take_in_parts(data)
            return
        if self._is_refused:
            return  # the rest is thrown away
        in_head = self._content is None or self._content.is_eof()
        if in_head and data:
            if not self._head_bytes:
                self._start = data[:START_BYTES]
            elif len(self._start) < START_BYTES:
                self._start = (self._start + data)[:START_BYTES]
        count = self._request_count
        super().data_received(data)
        if self._request_count != count:
            for at in range(count - self._request_count, 0):
                message, self._content = self._messages[at]
                if isinstance(message, _ErrInfo):
                    self._break_off_body(message)
                    if not in_head:  # it began behind a body
                        self._start = (REQUEST_LINE.findall(data) or [b""])[-1]
                elif message.url.absolute and message.url.raw_path == "/":
                    # http://host is http://host/, and no router looks for what has no path.
                    message = message._replace(url=message.url.with_path("/"))
                    self._messages[at] = message, self._content
            if self._headers_timer is not None:  # set with the first bytes of a head
                self._end_head()
        elif in_head and data and not self._buffer_paused:
            self._count_head(len(data))

    def _take_in_parts(self, data: bytes) -> None:
        for at in range(0, len(data), PART_BYTES):
            if self._buffer_paused:
                self._held = data[at:]
                break
            self.data_received(data[at : at + PART_BYTES])

    def pause_reading(self) -> None:
        """Note that the reader of a body has enough for now."""
        self._is_paused = True
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on if reading is paused; aiohttp asks after each piece of a body, paused or not."""
        if self._is_paused:
            self._is_paused = False
            super().resume_reading(resume_parser)

    def _resume_reading_for_buffer(self) -> None:
        """Go on with what has come before with what comes now."""
        super()._resume_reading_for_buffer()
        if self._held:
            held, self._held = self._held, b""
            self.data_received(held)

    def _count_head(self, size: int) -> None:
        """Note that so much more of a head has come; from the first byte on, it has some time."""
        self._head_bytes += size
        self._crowd.heads_bytes += size
        if self._headers_timer is None:
            self._set_headers_timer()
        if self._head_bytes > self._limits.head_bytes:
            self._refuse(HeadTooLarge())
        elif self._crowd.heads_bytes > self._limits.heads_bytes:
            self._refuse(Overloaded())

    def _end_head(self) -> None:
        if self._head_bytes:
            self._crowd.heads_bytes -= self._head_bytes
            self._head_bytes = 0
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None

    def _set_headers_timer(self) -> None:
        self._headers_timer = self._loop.call_later(
            self._limits.headers_timeout_s, self._give_up_on_head
        )

    def _give_up_on_head(self) -> None:
        if self.is_idle:
            self.force_close()
        else:  # an earlier request is not answered yet
            self._set_headers_timer()

    def _refuse(self, error: RowlockError) -> None:
        """Let `error` be the last answer, and throw away what else comes until the client closes.

        A close with bytes unread would be a reset, which may overtake the answer.
        """
        self._is_refused = True
        self._parser = None  # with what it holds of the head
        self._end_head()
        self._content = StreamReader(self, BODY_BUFFER_BYTES, loop=self._loop)  # it never ends
        self._messages.append((_ErrInfo(status_of(error), error, error.message), self._content))
        self._request_count += 1
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _break_off_body(self, problem: _ErrInfo) -> None:
        """Tell the reader of the body that it has broken off: aiohttp puts that in the queue."""
        request = self._current_request
        if request is not None and not request.content.is_eof():
            request.content.set_exception(web.RequestPayloadError(problem.message))

    def pause_writing(self) -> None:
        """Note that the client does not read; it has `write_timeout_s` to go on."""
        super().pause_writing()
        if self.transport is not None:
            # Not closed: that would wait until the client has read it all.
            self._write_timer = self._loop.call_later(
                self._limits.write_timeout_s, self.transport.abort
            )

    def resume_writing(self) -> None:
        """Note that it reads again."""
        super().resume_writing()
        self._stop_write_timer()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go of the connection."""
        self._crowd.connections -= 1
        self._end_head()
        self._stop_write_timer()
        if self._is_refused and self._content is not None:
            self._content.feed_eof()
        super().connection_lost(exc)

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _handle_request(
        self, request: web.BaseRequest, start_time: float | None, handler: Any
    ) -> "Coroutine[Any, Any, tuple[web.StreamResponse, bool]]":
        """Have the request handled, unless it is in a version of HTTP that does not work."""
        if request.version is not HttpVersion11:
            error = _version_problem(request)
            if error is not None:
                info = _ErrInfo(status_of(error), error, error.message)
                handler = self._make_error_handler(info)
        return super()._handle_request(request, start_time, handler)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log what aiohttp did not expect. It expects malformed HTTP: any client may send that."""
        if not isinstance(kw.get("exc_info"), BROKEN_HTTP):
            super().log_exception(*args, **kw)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what does not reach the application: mostly, malformed HTTP."""
        exchange = request.get(EXCHANGE)
        if exchange is None:
            exchange = Exchange(self._app[SERVICE].name, new_request_id(), self._limits)
            REQUEST.set((exchange.service, exchange.request_id, None))
        super().handle_error(request, status, exc, message)  # logs it; raises if it is too late
        error: RowlockError = InternalError()
        if isinstance(exc, BROKEN_HTTP):
            error = _error_of(exc, message)
            if self._app[SETTINGS].logs.log_requests:
                complaint = error.message.removeprefix(BROKEN).rstrip(".")
                logger.info("broken_request", status=status_of(error), complaint=complaint)
        self._app[METRICS].error(error.code)
        if request.method == "UNKNOWN":  # aiohttp's stand-in for what could not be parsed
            target = TARGET.match(self._start)
            path = target[1].decode("latin-1") if target else ""
            accept = accept_in(self._start)
        else:
            path, accept = request.path, request.headers.getall(hdrs.ACCEPT, [])
        response = answer(error, path, self._app, accept=accept, request_id=exchange.request_id)
        response.headers[REQUEST_ID] = exchange.request_id
        response.force_close()
        return response


def _version_problem(request: web.BaseRequest) -> RowlockError | None:
    """Return what is wrong with a request that is not in HTTP/1.1."""
    version = request.version
    if version == HttpVersion10:
        if "Transfer-Encoding" not in request.headers:
            return None
        # Where such a body ends depends on who reads it (RFC 9112, section 6.1).
        return InvalidRequest(f"{BROKEN}HTTP/1.0 has no Transfer-Encoding.")
    if version < HttpVersion10:
        return InvalidRequest(f"{BROKEN}it names no version of HTTP.")
    return HttpVersionNotSupported()


def _error_of(exc: BaseException | None, message: str | None) -> RowlockError:
    if isinstance(exc, RowlockError):
        return exc
    if (message or "").startswith(UNKNOWN_VERSION):
        return HttpVersionNotSupported()
    return InvalidRequest(f"{BROKEN}{_complaint(exc, message)}.")


def _complaint(exc: BaseException | None, message: str | None) -> str:
    """Return what aiohttp complains about, without what the client has sent."""
    lines = (message or "").split("\n")
    if isinstance(exc, InvalidURLError) and len(lines) == 1:
        return "Invalid target"  # all that aiohttp says is the target itself
    return lines[0].partition(":")[0].rstrip(".")
