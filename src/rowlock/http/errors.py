"""Errors as HTTP answers: one table of statuses, one envelope, and RFC 9457's for who asks."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aiohttp import hdrs, web

from rowlock import errors, rejections
from rowlock.errors import RowlockError
from rowlock.http import rates
from rowlock.http.answers import reply
from rowlock.http.backoff import BACKOFF
from rowlock.http.exchange import EXCHANGE
from rowlock.http.negotiation import prefers_problem
from rowlock.http.openapi.shapes import PROBLEM

# The status of an error is that of the first class in its method resolution order listed here.
STATUSES: dict[type[RowlockError], int] = {
    errors.InvalidRequest: 400,
    rejections.ProductsNotFound: 400,
    rejections.ProductsAlreadyPurchased: 400,
    rejections.UnknownUser: 400,
    rejections.OrderTotalTooLarge: 400,
    rejections.ServicesNotFound: 400,
    rejections.DeploymentNotOngoing: 400,
    errors.Unauthorized: 401,
    errors.ScopeMissing: 403,
    errors.CrossSiteRequest: 403,
    errors.ViewersMayNotAct: 403,
    errors.NotFound: 404,
    rejections.UserNotFound: 404,
    rejections.InvoiceNotFound: 404,
    rejections.TransferNotFound: 404,
    rejections.OrderNotFound: 404,
    rejections.KeyNotFound: 404,
    rejections.EventNotFound: 404,
    rejections.SubscriptionNotFound: 404,
    rejections.DeliveryNotFound: 404,
    rejections.ConsumerNotFound: 404,
    rejections.EventTypeNotFound: 404,
    rejections.ServiceOrderNotFound: 404,
    rejections.ProductNotFound: 404,
    rejections.ServiceNotFound: 404,
    rejections.ProjectNotFound: 404,
    rejections.DeploymentNotFound: 404,
    rejections.RefundNotFound: 404,
    errors.MethodNotAllowed: 405,
    rejections.KeyNameTaken: 409,
    rejections.KeyExpired: 409,
    rejections.TooManySecrets: 409,
    rejections.UsernameTaken: 409,
    rejections.EmailTaken: 409,
    rejections.UserAnonymised: 409,
    rejections.ReferenceTaken: 409,
    rejections.OrderNotPending: 409,
    rejections.OrderNotRefundable: 409,
    rejections.RefundExceedsOrder: 409,
    rejections.InvoiceAlreadyPaid: 409,
    rejections.InvoiceNotPending: 409,
    rejections.InvoiceNotPaid: 409,
    rejections.InsufficientBalance: 409,
    rejections.PriceChanged: 409,
    rejections.BalanceLimitExceeded: 409,
    rejections.TooCloseToExistingOrder: 409,
    rejections.IdTaken: 409,
    rejections.SlugTaken: 409,
    rejections.DeploymentMoveRefused: 409,
    rejections.EpochOutdated: 409,
    rejections.LogMoved: 409,
    rejections.EventIdConflict: 409,
    rejections.TooManySubscriptions: 409,
    rejections.SubscriptionNotActive: 409,
    rejections.DeadLettersGone: 409,
    rejections.NothingParked: 409,
    rejections.JobUnderWay: 409,
    rejections.NoJobUnderWay: 409,
    rejections.SubscriptionEnded: 409,
    rejections.EventNotStored: 409,
    rejections.TooManyConsumers: 409,
    rejections.WebhookIdConflict: 409,
    rejections.PositionUnknown: 410,
    rejections.ServiceOrderChanged: 412,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.EventRefused: 422,
    rejections.IdempotencyKeyReused: 422,
    errors.TooManyRequests: 429,
    errors.HeadTooLarge: 431,
    errors.InternalError: 500,
    errors.Unavailable: 503,
    errors.HttpVersionNotSupported: 505,
}

# Not http.HTTPStatus: its names differ between versions of Python.
STATUS_NAMES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    409: "CONFLICT",
    410: "GONE",
    412: "PRECONDITION_FAILED",
    413: "CONTENT_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    422: "UNPROCESSABLE_CONTENT",
    429: "TOO_MANY_REQUESTS",
    431: "REQUEST_HEADER_FIELDS_TOO_LARGE",
    500: "INTERNAL_SERVER_ERROR",
    503: "SERVICE_UNAVAILABLE",
    505: "HTTP_VERSION_NOT_SUPPORTED",
}

FIRST_ERROR = 400  # of the statuses
KINDS = {kind.code: kind for kind in STATUSES}

ERROR_CODE = web.ResponseKey("error_code", str)

BENEFITS_PREFIX = "/api/"  # the published contract of these routes has errors {"error": code}
BENEFITS_STATUSES = {**STATUSES, rejections.InsufficientBalance: 400}  # and this one another status


def status_of(error: RowlockError, path: str = "") -> int:
    """Return the HTTP status of `error` at `path`."""
    statuses = BENEFITS_STATUSES if path.startswith(BENEFITS_PREFIX) else STATUSES
    return next(statuses[kind] for kind in type(error).__mro__ if kind in statuses)


def respond(error: RowlockError, request: web.Request, *, is_plain: bool = False) -> web.Response:
    """Return the answer for `error` in the form that the client prefers, or in the plain one.

    Its code is in ERROR_CODE, for the boundary.
    """
    response = answer(
        error,
        request.path,
        request.app,
        accept=() if is_plain else request.headers.getall(hdrs.ACCEPT, ()),
        request_id=request[EXCHANGE].request_id,
    )
    response[ERROR_CODE] = error.code
    return response


def answer(
    error: RowlockError, path: str, app: web.Application, *, accept: Sequence[str], request_id: str
) -> web.Response:
    """Return the answer for `error` at `path`, to a client that sent these lines of Accept."""
    response = reply(
        envelope(error, path), status=status_of(error, path), headers=headers_of(error, app)
    )
    if prefers_problem(accept):
        _turn(response, problem(error, path, request_id))
    return response


def in_form_asked(response: web.Response, request: web.Request) -> web.Response:
    """Return an answer, which may be a plain error, in the form that the client prefers."""
    if response.status < FIRST_ERROR or not prefers_problem(
        request.headers.getall(hdrs.ACCEPT, ())
    ):
        return response
    assert isinstance(response.body, bytes)
    kept = orjson.loads(response.body)
    # An error of the benefits shop is a code alone: the rest is as the code has it.
    kind = KINDS.get(kept["error"], RowlockError)
    shown = {"name": kind.__name__, "message": kind().message, "details": {}} | kept
    shown["status"] = response.status
    _turn(response, _problem(shown, request[EXCHANGE].request_id))
    return response


def _turn(response: web.Response, into: Mapping[str, Any]) -> None:
    response.body = orjson.dumps(into)
    response.headers[hdrs.CONTENT_TYPE] = PROBLEM


def envelope(error: RowlockError, path: str) -> dict[str, Any]:
    """Return the body of the answer for `error` at `path`."""
    if path.startswith(BENEFITS_PREFIX):
        return {"error": error.code}
    return {
        "status": STATUS_NAMES[status_of(error, path)],
        "error": error.code,
        "name": type(error).__name__,
        "message": error.message,
        "details": error.details,
    }


def problem(error: RowlockError, path: str, request_id: str) -> dict[str, Any]:
    """Return the same as problem details (RFC 9457): at any path, all that is known."""
    return _problem(envelope(error, "") | {"status": status_of(error, path)}, request_id)


def _problem(shown: Mapping[str, Any], request_id: str) -> dict[str, Any]:
    """Return what an envelope says, whose status is a number, as problem details."""
    status = shown["status"]
    return {
        "type": "about:blank",
        "title": STATUS_NAMES[status].replace("_", " ").title().replace("Http", "HTTP"),
        "status": status,
        "detail": shown["message"],
        "error": shown["error"],
        "name": shown["name"],
        "details": shown["details"],
        "request_id": request_id,
    }


def headers_of(error: RowlockError, app: web.Application | None = None) -> dict[str, str]:
    """Return the headers of the answer for `error` by `app`, or those of an example."""
    if isinstance(error, errors.Unauthorized):
        return {"WWW-Authenticate": 'Bearer realm="rowlock"'}
    if isinstance(error, errors.TooManyRequests):
        return rates.headers(error.details["rate"])
    if isinstance(error, errors.Unavailable):
        return {"Retry-After": "1" if app is None else str(app[BACKOFF].refuse(error))}
    return {}
