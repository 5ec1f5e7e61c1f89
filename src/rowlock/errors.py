"""Every error that Rowlock reports to a client or an operator.

A class's docstring is its default message and its name, in snake case, its code:
`InvoiceNotFound` is `invoice_not_found`. `http.errors` says which HTTP status each one gets.

A command that the rules reject *returns* a `Rejection`, a value like any other outcome. All other
errors are raised, and so is the `Rejection` of a read whose row does not exist.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Self


class RowlockError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "rowlock_error"
    example: ClassVar[Mapping[str, Any]] = {}  # of the details, for the OpenAPI document

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


class UnsupportedPooler(StartRefused):
    """The pooler loses prepared statements: set ROWLOCK_PREPARED_STATEMENTS=0 (docs/dba.md)."""


class InvalidQueryFile(RowlockError):
    """A file in sql/ breaks its contract."""


class OutboxStranded(RowlockError):
    """The outbox carries another cluster's transaction ids: run rowlock outbox rebase."""


class LeaseLost(RowlockError):
    """Another process leads now, or the lease could not be renewed in time."""


class DocumentPosted(RowlockError):
    """The document has moved money already: it was set back with the triggers disabled."""


class InvalidDataFile(RowlockError):
    """The data file can't be loaded; nothing was changed."""


# --- the request's ----------------------------------------------------------------------------


class InvalidRequest(RowlockError):
    """The request is not valid."""


class InvalidJson(InvalidRequest):
    """The body is not valid JSON."""


class InvalidCursor(InvalidRequest):
    """The cursor is not from this list: take it from the Link header."""


class Unauthorized(RowlockError):
    """The request needs a valid bearer token."""


class ScopeMissing(RowlockError):
    """The token lacks the scope that this request needs."""

    example: ClassVar = {"scope": "write:projects"}


class CrossSiteRequest(RowlockError):
    """The page of another site sent this: see ROWLOCK_CORS_ORIGINS and ROWLOCK_TRUSTED_PROXIES."""


class NotFound(RowlockError):
    """There is nothing at this address."""


class MethodNotAllowed(RowlockError):
    """This address does not take that method."""


class BodyTooLarge(RowlockError):
    """The body is larger than this service accepts."""


class UnsupportedMediaType(RowlockError):
    """The body must be application/json."""


class EventRefused(RowlockError):
    """The events database refuses the values of an event."""

    example: ClassVar = {"sqlstate": "23514", "constraint": "events_name_check"}


class HeadTooLarge(RowlockError):
    """The request line and the headers are larger than this service accepts."""


class TooManyRequests(RowlockError):
    """The client is over its rate; try again."""

    example: ClassVar = {"rate": 50}


class HttpVersionNotSupported(RowlockError):
    """This service speaks HTTP/1.1 and HTTP/1.0."""


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


class PartitionBeingMade(DatabaseBusy):
    """The partition of the event's month is being made; nothing was changed. Try again."""


class OutcomeUnknown(Unavailable):
    """The connection was lost during COMMIT: the request may or may not have taken effect."""


class SigningKeysUnavailable(Unavailable):
    """The keys that verify this token can't be fetched; try again."""


class EventsUnavailable(Unavailable):
    """The events service can't be reached; try again."""


# --- rejections by the rules --------------------------------------------------------------------


class Rejection(RowlockError):
    """The request is against the rules."""


class Missing(Rejection):
    """What the request names does not exist."""

    noun: ClassVar[str]
    key: ClassVar[str]  # of the details, for the id that was given

    @classmethod
    def of(cls, given: int | str) -> Self:
        """Return the error for the unknown id `given`."""
        return cls(f"There is no {cls.noun} {given}.", **{cls.key: given})


class IdempotencyKeyReused(Rejection):
    """The idempotency key was used for another request: use a new one."""


class UserNotFound(Missing):
    """There is no such user."""

    noun, key = "user", "user_id"
    example: ClassVar = {"user_id": 1}


class BalanceLimitExceeded(Rejection):
    """The balance would exceed what an account can hold."""

    example: ClassVar = {"balance": 2**53 - 1, "amount": 11_350}


class ProductsNotFound(Rejection):
    """Some of the products do not exist."""

    example: ClassVar = {"products": [7]}


class ProductsAlreadyPurchased(Rejection):
    """Some of the products have been purchased already."""


class InsufficientBalance(Rejection):
    """The balance does not cover the total."""

    example: ClassVar = {"balance": 424_01, "amount": 490_00}


class UnknownUser(Missing):
    """The user that the order names does not exist."""

    noun, key = "user", "user_id"
    example: ClassVar = {"user_id": 1}


class OrderTotalTooLarge(Rejection):
    """The total of the order is over the limit."""

    example: ClassVar = {"limit": 2**53 - 1}


class OrderNotFound(Missing):
    """There is no such order."""

    noun, key = "order", "order_id"
    example: ClassVar = {"order_id": 1}


class KeyNotFound(Missing):
    """There is no such API key."""

    noun, key = "API key", "name"
    example: ClassVar = {"name": "partner"}


class KeyNameTaken(Rejection):
    """There is an API key of this name already."""

    example: ClassVar = {"name": "partner"}


class EventNotFound(Missing):
    """There is no such event."""

    noun, key = "event", "id"
    example: ClassVar = {"id": 12}


class EventIdConflict(Rejection):
    """This event_id belongs to an event with other content."""

    example: ClassVar = {"event_id": "6f1c2a34-5b0e-4c8e-9a53-2d9f0e6b7c18"}


class EpochOutdated(Rejection):
    """The sender has been replaced: a later leader of this source has sent events."""

    example: ClassVar = {"epoch": 7, "latest_epoch": 8}


class InvoiceNotFound(Missing):
    """There is no such invoice."""

    noun, key = "invoice", "invoice_id"
    example: ClassVar = {"invoice_id": 1}


class InvoiceAlreadyPaid(Rejection):
    """The invoice has been paid already."""

    example: ClassVar = {"invoice_id": 1}


class ServiceOrderNotFound(Missing):
    """There is no such service order."""

    noun, key = "service order", "service_order_id"
    example: ClassVar = {"service_order_id": "223"}

    @classmethod
    def of(cls, given: int | str) -> Self:
        """Return the error for the unknown id `given`, as a text: clients see it so."""
        return super().of(str(given))


class ServiceOrderChanged(Rejection):
    """The service order has changed since (If-Match or If-None-Match failed)."""

    example: ClassVar = {"service_order_id": "223", "version": 7}


class IdTaken(Rejection):
    """Another service order has, or had, this id."""

    example: ClassVar = {"service_order_id": "223"}


class ServicesNotFound(Rejection):
    """Some of the services do not exist."""

    example: ClassVar = {"services": ["456"]}


class TooCloseToExistingOrder(Rejection):
    """Another order is less than three hours away."""

    example: ClassVar = {
        "order": {"id": "226", "datetime": "2026-11-21T10:30:00.000Z"},
        "free_before": "2026-11-21T07:30:00.000Z",
        "free_after": "2026-11-21T13:30:00.000Z",
    }


class ProjectNotFound(Missing):
    """There is no such project."""

    noun, key = "project", "project_id"
    example: ClassVar = {"project_id": 1}


class DeploymentNotFound(Missing):
    """There is no such deployment."""

    noun, key = "deployment", "deployment_id"
    example: ClassVar = {"deployment_id": 6}


class DeploymentNotOngoing(Rejection):
    """The deployment has ended."""

    example: ClassVar = {"deployment_id": 6, "status": "done"}


class WebhookIdConflict(Rejection):
    """A webhook with this id has reported another status; give each message an id of its own."""

    example: ClassVar = {"webhook_id": "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", "reported": "failed"}


class DeploymentMoveRefused(Rejection):
    """A deployment moves only forward, and not at all once it has ended."""

    example: ClassVar = {"deployment_id": 6, "status": "done", "reported": "building"}
