"""Every error that Rowlock reports to a client or an operator.

A class's docstring is its default message and its name, in snake case, its code:
`InvoiceNotFound` is `invoice_not_found`. `http.errors` says which HTTP status each one gets.

These are raised. What the rules reject is in `rejections`.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
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


class NotKept(StartRefused):
    """The outbox does not keep all events that were delivered since then."""

    @classmethod
    def since(cls, kept: datetime | None) -> Self:
        """Return the error for an outbox that keeps what was delivered since the time `kept`."""
        if kept is None:
            return cls("The outbox keeps no delivered events: nothing can be sent again.")
        start = kept.astimezone(UTC).isoformat(timespec="seconds")
        return cls(
            f"The outbox keeps what was delivered since {start}: not all of an earlier time."
        )


class LeaseLost(RowlockError):
    """Another process leads now, or the lease could not be renewed in time."""


class DocumentPosted(RowlockError):
    """The document has moved money already: it was set back with the triggers disabled."""


class InvalidDataFile(RowlockError):
    """The data file can't be loaded; nothing was changed."""


class NatsUnavailable(RowlockError):
    """NATS can't be reached, or does not take events now."""


class StreamMisfits(RowlockError):
    """The stream of NATS is not one that this log can be published to."""


# --- the request's ----------------------------------------------------------------------------


class InvalidRequest(RowlockError):
    """The request is not valid."""


class InvalidJson(InvalidRequest):
    """The body is not valid JSON."""


class InvalidCursor(InvalidRequest):
    """The cursor is not from this list: take it from the link to the next page."""


class Unauthorized(RowlockError):
    """The request needs a valid bearer token."""


class ScopeMissing(RowlockError):
    """The token lacks the scope that this request needs."""

    example: ClassVar = {"scope": "write:projects"}


class CrossSiteRequest(RowlockError):
    """The page of another site sent this: see ROWLOCK_CORS_ORIGINS and ROWLOCK_TRUSTED_PROXIES."""


class ViewersMayNotAct(RowlockError):
    """The session was opened to look: a viewer can't change anything."""


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
