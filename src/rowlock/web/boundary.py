"""The outermost middleware: request ids, errors as answers, a log line and a count each."""

import random
import re
import time

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from rowlock.exceptions import (
    BodyTooLarge,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    RowlockError,
)
from rowlock.settings import Settings
from rowlock.web import errors
from rowlock.web.access import OPERATOR_PATHS
from rowlock.web.metrics import Metrics
from rowlock.web.service import DRAINING
from rowlock.web.turnstile import Turnstile

OK = 200
REQUEST_ID = "X-Request-ID"
REQUEST_ID_KEY = web.RequestKey("request_id", str)
REQUEST_ID_LENGTH = 128
SANE_REQUEST_ID = re.compile(rf"[A-Za-z0-9._:/+=-]{{1,{REQUEST_ID_LENGTH}}}")

# What aiohttp itself refuses, in our words.
HTTP_ERRORS: dict[int, type[RowlockError]] = {
    404: NotFound,
    405: MethodNotAllowed,
    413: BodyTooLarge,
}

logger = structlog.get_logger("rowlock.requests")


def boundary(settings: Settings, metrics: Metrics, turnstile: Turnstile) -> Middleware:
    """Return the middleware."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        request_id = request.headers.get(REQUEST_ID, "")
        if not SANE_REQUEST_ID.fullmatch(request_id):
            request_id = new_request_id()
        request[REQUEST_ID_KEY] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(service=metrics.service, request_id=request_id)
        try:
            if request.path not in OPERATOR_PATHS:  # they are to answer when it matters most
                await turnstile.enter()
            response = await handler(request)
        except RowlockError as error:
            response = errors.respond(error, request, settings)
        except web.HTTPException as error:
            response = _translate(error, request, settings)
        except Exception:
            logger.exception("request_failed", method=request.method, path=request.path)
            response = errors.respond(InternalError(), request, settings)
        response.headers[REQUEST_ID] = request_id
        duration_s = time.perf_counter() - started
        metrics.request(request, response, duration_s)
        if errors.ERROR_CODE in response:
            metrics.error(response[errors.ERROR_CODE])
        if request.app[DRAINING].is_set():
            response.force_close()  # the answer says so, and the client can connect elsewhere
        if settings.log_requests:
            # Probes and scrapes come every few seconds, and say nothing while they are answered.
            is_probe = request.path in OPERATOR_PATHS and response.status == OK
            log = logger.debug if is_probe else logger.info
            log(
                "request",
                method=request.method,
                path=request.path,
                status=response.status,
                duration_ms=round(duration_s * 1000, 2),
            )
        return response

    return middleware


def new_request_id() -> str:
    """Return an id that no other request has."""
    return f"{random.getrandbits(64):016x}"


def _translate(error: web.HTTPException, request: web.Request, settings: Settings) -> web.Response:
    kind = HTTP_ERRORS.get(error.status, InvalidRequest)
    response = errors.respond(kind(), request, settings)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response
