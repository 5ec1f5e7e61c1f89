"""Errors as HTTP answers: one table of statuses and one envelope."""

from typing import Any

from aiohttp import web

from rowlock import exceptions
from rowlock.exceptions import RowlockError
from rowlock.settings import Settings
from rowlock.web.replies import reply

# The first of an error's classes that is named here decides.
STATUSES: dict[type[RowlockError], int] = {
    exceptions.InvalidRequest: 400,
    exceptions.ProductsNotFound: 400,
    exceptions.ProductsAlreadyPurchased: 400,
    exceptions.InsufficientBalance: 400,
    exceptions.UnknownUser: 400,
    exceptions.ServicesNotFound: 400,
    exceptions.DeploymentNotOngoing: 400,
    exceptions.Unauthorized: 401,
    exceptions.NotFound: 404,
    exceptions.UserNotFound: 404,
    exceptions.InvoiceNotFound: 404,
    exceptions.OrderNotFound: 404,
    exceptions.EventNotFound: 404,
    exceptions.ServiceOrderNotFound: 404,
    exceptions.ProjectNotFound: 404,
    exceptions.DeploymentNotFound: 404,
    exceptions.MethodNotAllowed: 405,
    exceptions.InvoiceAlreadyPaid: 409,
    exceptions.BalanceLimitExceeded: 409,
    exceptions.TooCloseToExistingOrder: 409,
    exceptions.DeploymentMoveRefused: 409,
    exceptions.ServiceOrderChanged: 412,
    exceptions.BodyTooLarge: 413,
    exceptions.UnsupportedMediaType: 415,
    exceptions.IdempotencyKeyReused: 422,
    exceptions.InternalError: 500,
    exceptions.Unavailable: 503,
}

# Not http.HTTPStatus: its names differ between versions of Python.
STATUS_NAMES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    409: "CONFLICT",
    412: "PRECONDITION_FAILED",
    413: "CONTENT_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    422: "UNPROCESSABLE_CONTENT",
    500: "INTERNAL_SERVER_ERROR",
    503: "SERVICE_UNAVAILABLE",
}

ERROR_CODE = web.ResponseKey("error_code", str)

BENEFITS_PREFIX = "/api/"  # these routes have published errors of their own: {"error": code}


def status_of(error: RowlockError) -> int:
    """Return the HTTP status of `error`."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def respond(error: RowlockError, request: web.Request, settings: Settings) -> web.Response:
    """Return the answer that tells the client of `error`, and by ERROR_CODE the boundary."""
    response = reply(
        envelope(error, request.path), status=status_of(error), headers=headers(error, settings)
    )
    response[ERROR_CODE] = error.code
    return response


def envelope(error: RowlockError, path: str) -> dict[str, Any]:
    """Return the body that tells of `error` at `path`."""
    if path.startswith(BENEFITS_PREFIX):
        return {"error": error.code}
    return {
        "status": STATUS_NAMES[status_of(error)],
        "error": error.code,
        "name": type(error).__name__,
        "message": error.message,
        "details": error.details,
    }


def headers(error: RowlockError, settings: Settings) -> dict[str, str]:
    """Return the headers that go with `error`."""
    if isinstance(error, exceptions.Unauthorized):
        return {"WWW-Authenticate": 'Bearer realm="rowlock"'}
    if isinstance(error, exceptions.Unavailable):
        return {"Retry-After": str(settings.retry_after_s)}
    return {}
