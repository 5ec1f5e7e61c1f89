"""Every error that Rowlock tells a client or an operator of.

A class's docstring is its default message and its name, in snake case, its code:
`InvoiceNotFound` is `invoice_not_found`. `web.errors` says which HTTP status each one gets.

Rules *return* a `Rejection`, as a value like any other outcome; a route raises it. Everything
else here is raised where it happens.
"""

import re
from typing import Any, ClassVar


class RowlockError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "rowlock_error"

    def __init__(self, message: str | None = None, **details: Any) -> None:
        super().__init__(message or self.__doc__)
        self.details = details

    def __init_subclass__(cls) -> None:
        cls.code = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    @property
    def message(self) -> str:
        """One sentence for a person."""
        return str(self.args[0])


# --- the operator's ---------------------------------------------------------------------------


class InvalidSettings(RowlockError):
    """The settings are not valid."""


class StartRefused(RowlockError):
    """Rowlock can't start."""


class InvalidQueryFile(RowlockError):
    """A file in sql/ breaks its contract."""


class OutboxStranded(RowlockError):
    """The outbox carries another cluster's transaction ids: run rowlock outbox rebase."""


class InvalidDataFile(RowlockError):
    """A file of data can't be loaded; nothing of it was."""


# --- the request's ----------------------------------------------------------------------------


class InvalidRequest(RowlockError):
    """The request is not valid."""


class InvalidJson(InvalidRequest):
    """The body is not valid JSON."""


class InvalidCursor(InvalidRequest):
    """The cursor is not one that this list has given."""


class Unauthorized(RowlockError):
    """The request needs a valid bearer token."""


class NotFound(RowlockError):
    """There is nothing at this address."""


class MethodNotAllowed(RowlockError):
    """This address does not take that method."""


class BodyTooLarge(RowlockError):
    """The body is larger than this service accepts."""


class UnsupportedMediaType(RowlockError):
    """The body must be application/json."""


# --- the service's ----------------------------------------------------------------------------


class InternalError(RowlockError):
    """Something went wrong in the service; it has been logged."""


class Unavailable(RowlockError):
    """The service can't do this now; try again."""


class Overloaded(Unavailable):
    """Too many requests are waiting; try again."""


class Draining(Unavailable):
    """The service is shutting down; try again."""


class DatabaseUnavailable(Unavailable):
    """The database can't be reached; nothing was changed. Try again."""


class DatabaseBusy(Unavailable):
    """The database took too long; nothing was changed. Try again."""


class OutcomeUnknown(Unavailable):
    """The connection was lost during COMMIT: the request may or may not have taken effect."""


class SigningKeysUnavailable(Unavailable):
    """The keys that verify this token can't be fetched; try again."""


class EventsUnavailable(Unavailable):
    """The events service can't be reached; try again."""


# --- rejections: what the rules refuse ----------------------------------------------------------


class Rejection(RowlockError):
    """The request is against the rules."""


class IdempotencyKeyReused(Rejection):
    """The idempotency key has been used for another request."""


class UserNotFound(Rejection):
    """There is no such user."""


class BalanceLimitExceeded(Rejection):
    """The balance would exceed what an account can hold."""


class ProductsNotFound(Rejection):
    """Some of the products do not exist."""


class ProductsAlreadyPurchased(Rejection):
    """Some of the products have been purchased already."""


class InsufficientBalance(Rejection):
    """The balance does not cover the total."""


class UnknownUser(Rejection):
    """The user that the order names does not exist."""


class OrderNotFound(Rejection):
    """There is no such order."""


class EventNotFound(Rejection):
    """There is no such event."""


class InvoiceNotFound(Rejection):
    """There is no such invoice."""


class InvoiceAlreadyPaid(Rejection):
    """The invoice has been paid already."""


class ServiceOrderNotFound(Rejection):
    """There is no such service order."""


class ServiceOrderChanged(Rejection):
    """The service order is not as the sender knows it."""


class ServicesNotFound(Rejection):
    """Some of the services do not exist."""


class TooCloseToExistingOrder(Rejection):
    """Another order is less than three hours away."""


class ProjectNotFound(Rejection):
    """There is no such project."""


class DeploymentNotFound(Rejection):
    """There is no such deployment."""


class DeploymentNotOngoing(Rejection):
    """The deployment has ended."""


class DeploymentMoveRefused(Rejection):
    """A deployment moves only forward, and not once it has ended."""
