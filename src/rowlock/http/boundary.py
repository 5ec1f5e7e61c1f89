"""The outermost middleware: request ids, locations, errors as answers, a log line and a count."""

import time
from collections.abc import Awaitable

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from rowlock.errors import (
    BodyTooLarge,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    RowlockError,
)
from rowlock.http.access import ACTOR, ANONYMOUS, OPERATOR_PATHS, PROBE_PATHS
from rowlock.http.addresses import ADDRESSES, LOCATION, absolute
from rowlock.http.answers import secure
from rowlock.http.errors import ERROR_CODE, respond
from rowlock.http.intake import SHARE
from rowlock.http.metrics import Metrics
from rowlock.http.request_ids import (
    REQUEST_ID,
    REQUEST_ID_KEY,
    VALID_REQUEST_ID,
    new_request_id,
)
from rowlock.http.routes import endpoint_of
from rowlock.http.service import DRAINING
from rowlock.http.turnstile import Turnstile
from rowlock.settings import Settings
from rowlock.settings.groups import HttpSettings

OK = 200

# Errors that aiohttp itself raises, as ours.
HTTP_ERRORS: dict[int, type[RowlockError]] = {
    404: NotFound,
    405: MethodNotAllowed,
    413: BodyTooLarge,
}

logger = structlog.get_logger(__name__)


def boundary(settings: Settings, metrics: Metrics, turnstile: Turnstile) -> Middleware:
    """Return the middleware."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        request_id = request.headers.get(REQUEST_ID, "")
        if not VALID_REQUEST_ID.fullmatch(request_id):
            request_id = new_request_id()
        request[REQUEST_ID_KEY] = request_id
        request[SHARE] = None  # to ask whether a key is there takes longer
        request[ACTOR] = ANONYMOUS
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(service=metrics.service, request_id=request_id)
        try:
            if request.path not in PROBE_PATHS:  # these must answer when it matters most
                await turnstile.enter()
            response = await handler(request)
        except RowlockError as error:
            response = respond(error, request, settings.http)
        except web.HTTPException as error:
            response = _translate(error, request, settings.http)
        except Exception:
            logger.exception("request_failed", method=request.method, path=request.path)
            response = respond(InternalError(), request, settings.http)
        finally:
            share = request[SHARE]
            if share is not None:
                share.give_back()
        response.headers[REQUEST_ID] = request_id
        secure(response)
        if LOCATION in response.headers:
            # A path until now: a kept answer may be replayed at another address.
            response.headers[LOCATION] = absolute(request, response.headers[LOCATION])
        duration_s = time.perf_counter() - started
        metrics.request(request, response, duration_s)
        if ERROR_CODE in response:
            metrics.error(response[ERROR_CODE])
        if request.app[DRAINING].is_set():
            response.force_close()  # the answer says so, and the client can connect elsewhere
        if settings.logs.log_requests:
            # Probes and scrapes come every few seconds, and tell nothing while they succeed.
            is_probe = request.path in OPERATOR_PATHS and response.status == OK
            log = logger.debug if is_probe else logger.info
            log(
                "request",
                method=request.method,
                path=request.path,
                status=response.status,
                duration_ms=round(duration_s * 1000, 2),
                actor=request[ACTOR],
                client=request.app[ADDRESSES].client(request),
            )
        return response

    return middleware


@web.middleware
def refuse_query(request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
    """Refuse a query string where the handler takes none; those that take one check it.

    Operators' paths take any. Not a coroutine, to save its cost: most requests have no query.
    """
    if "?" in request.raw_path and request.query_string and request.path not in OPERATOR_PATHS:
        endpoint = endpoint_of(request.match_info.handler)  # None: it will answer 404
        if endpoint is not None and endpoint.query is None:
            raise InvalidRequest("This address takes no parameters.")
    return handler(request)


def _translate(
    error: web.HTTPException, request: web.Request, settings: HttpSettings
) -> web.Response:
    kind = HTTP_ERRORS.get(error.status, InvalidRequest)
    response = respond(kind(), request, settings)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response
