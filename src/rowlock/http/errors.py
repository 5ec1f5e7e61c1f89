"""Errors as HTTP answers: one table of statuses and one envelope."""

from typing import Any

from aiohttp import web

from rowlock import errors
from rowlock.errors import RowlockError
from rowlock.http import rates
from rowlock.http.answers import reply
from rowlock.http.exchange import EXCHANGE
from rowlock.settings.groups import HttpSettings

# The status of an error is that of the first class in its method resolution order listed here.
STATUSES: dict[type[RowlockError], int] = {
    errors.InvalidRequest: 400,
    errors.ProductsNotFound: 400,
    errors.ProductsAlreadyPurchased: 400,
    errors.InsufficientBalance: 400,
    errors.UnknownUser: 400,
    errors.OrderTotalTooLarge: 400,
    errors.ServicesNotFound: 400,
    errors.DeploymentNotOngoing: 400,
    errors.Unauthorized: 401,
    errors.ScopeMissing: 403,
    errors.CrossSiteRequest: 403,
    errors.NotFound: 404,
    errors.UserNotFound: 404,
    errors.InvoiceNotFound: 404,
    errors.OrderNotFound: 404,
    errors.KeyNotFound: 404,
    errors.EventNotFound: 404,
    errors.ServiceOrderNotFound: 404,
    errors.ProjectNotFound: 404,
    errors.DeploymentNotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.KeyNameTaken: 409,
    errors.InvoiceAlreadyPaid: 409,
    errors.BalanceLimitExceeded: 409,
    errors.TooCloseToExistingOrder: 409,
    errors.IdTaken: 409,
    errors.DeploymentMoveRefused: 409,
    errors.EpochOutdated: 409,
    errors.EventIdConflict: 409,
    errors.WebhookIdConflict: 409,
    errors.ServiceOrderChanged: 412,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.EventRefused: 422,
    errors.IdempotencyKeyReused: 422,
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

ERROR_CODE = web.ResponseKey("error_code", str)

BENEFITS_PREFIX = "/api/"  # the published contract of these routes has errors {"error": code}


def status_of(error: RowlockError) -> int:
    """Return the HTTP status of `error`."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def respond(error: RowlockError, request: web.Request) -> web.Response:
    """Return the answer for `error`, with its code in ERROR_CODE for the boundary."""
    response = reply(
        envelope(error, request.path),
        status=status_of(error),
        headers=headers_of(error, request[EXCHANGE].limits),
    )
    response[ERROR_CODE] = error.code
    return response


def envelope(error: RowlockError, path: str) -> dict[str, Any]:
    """Return the body of the answer for `error` at `path`."""
    if path.startswith(BENEFITS_PREFIX):
        return {"error": error.code}
    return {
        "status": STATUS_NAMES[status_of(error)],
        "error": error.code,
        "name": type(error).__name__,
        "message": error.message,
        "details": error.details,
    }


def headers_of(error: RowlockError, settings: HttpSettings) -> dict[str, str]:
    """Return the headers of the answer for `error`."""
    if isinstance(error, errors.Unauthorized):
        return {"WWW-Authenticate": 'Bearer realm="rowlock"'}
    if isinstance(error, errors.TooManyRequests):
        return rates.headers(error.details["rate"])
    if isinstance(error, errors.Unavailable):
        return {"Retry-After": str(settings.retry_after_s)}
    return {}
