"""The headers in which a relay names itself, and the log as it knows it."""

import re
from typing import NamedTuple
from uuid import UUID

from aiohttp import web

from rowlock.engine.outbox import parse_place
from rowlock.errors import InvalidRequest
from rowlock.http.fields import parse_integer

SOURCE = "Rowlock-Source"  # the UUID of the outbox
EPOCH = "Rowlock-Epoch"  # of the lease
MARK = "Rowlock-Mark"  # the outbox's name for the place of the last event
LOG = "Rowlock-Log"  # what the log is called, as it told last
LOG_MARK = "Rowlock-Log-Mark"  # the mark that it told

NAME = re.compile(r"[!-~]{1,200}")


class Named(NamedTuple):
    """What a relay says of itself and of the log."""

    source: UUID
    epoch: int
    mark: str | None
    log: str | None
    log_mark: str | None


def read_sender(request: web.Request) -> Named | None:
    """Return what a relay says; None without these headers. Raises InvalidRequest."""
    given = [request.headers.get(name) for name in (SOURCE, EPOCH, MARK, LOG, LOG_MARK)]
    source, epoch, mark, log, log_mark = given
    if all(each is None for each in given):
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
    for name, place in ((MARK, mark), (LOG_MARK, log_mark)):
        if place is not None and parse_place(place) is None:
            raise InvalidRequest(
                f"{name} must be two numbers such as 7412/98, without leading zeros."
            )
    if log is not None and not NAME.fullmatch(log):
        raise InvalidRequest(f"{LOG} must have 1 to 200 characters of ASCII, without spaces.")
    if log is None and log_mark is not None:
        raise InvalidRequest(f"{LOG_MARK} needs {LOG}.")
    return Named(named, number, mark, log, log_mark)
