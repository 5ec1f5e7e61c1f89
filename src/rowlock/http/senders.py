"""The headers in which a relay names the log of its events and the epoch of its lease."""

from uuid import UUID

from aiohttp import web

from rowlock.errors import InvalidRequest
from rowlock.http.fields import parse_integer

SOURCE = "Rowlock-Source"  # the UUID of the outbox
EPOCH = "Rowlock-Epoch"  # of the lease


def read_sender(request: web.Request) -> tuple[UUID, int] | None:
    """Return the source and the epoch; None without these headers. Raises InvalidRequest."""
    source, epoch = (request.headers.get(name) for name in (SOURCE, EPOCH))
    if source is None and epoch is None:
        return None
    number = parse_integer(epoch or "")
    try:
        named = UUID(source or "")
    except ValueError:
        named = None
    if named is None or number is None:
        raise InvalidRequest(
            f"{SOURCE} and {EPOCH} must be set together: a UUID, and a number from 1 on."
        )
    return named, number
