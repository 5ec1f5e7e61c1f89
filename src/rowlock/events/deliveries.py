"""What a relay says with its events, and what it is answered."""

from typing import Any

from aiohttp import web

from rowlock.events.rules import Delivered, LogState, Sender
from rowlock.http import senders
from rowlock.http.openapi.shapes import array, integer, record, text

PLACE = r"^(0|[1-9][0-9]{0,18})/(0|[1-9][0-9]{0,17})$"  # those of less than 2^63
EVENT_ID = "6f1c2a34-5b0e-4c8e-9a53-2d9f0e6b7c18"
LOG = "2c7d3f5e-8a41-4b0e-9d1c-6e2f7a9b0c34"

COUNTS = record(
    "Counts",
    accepted=integer(1, minimum=0),
    duplicates=integer(0, minimum=0),
    conflicts=array(text(EVENT_ID, format="uuid")),
    log=text(LOG),
    mark=text("7412/98"),
    optional=("conflicts", "log", "mark"),
)
SENDER = {
    senders.SOURCE: text("0b6a6a0e-7d9f-4a55-8f0e-2f6f9a1c3b57", format="uuid"),
    senders.EPOCH: integer(7),
    senders.MARK: text("7412/98", pattern=PLACE),
    senders.LOG: text(LOG, pattern="^[!-~]{1,200}$"),
    senders.LOG_MARK: text("7407/91", pattern=PLACE),
}


def read_sender(request: web.Request) -> Sender | None:
    """Return what a relay says of itself; None if the client is none. Raises InvalidRequest."""
    named = senders.read_sender(request)
    if named is None:
        return None
    expected = LogState(named.log, named.log_mark) if named.log is not None else None
    return Sender(named.source, named.epoch, named.mark, expected)


def show_delivered(delivered: Delivered) -> dict[str, Any]:
    """Return the answer to a delivery."""
    answer: dict[str, Any] = delivered.counts._asdict()
    # Conflicts count as duplicates: a relay of release 0.1.0 waits until all are counted.
    if delivered.conflicts:
        answer["conflicts"] = list(map(str, delivered.conflicts))
    # A relay of release 0.2.0 names no mark, and is told of none.
    if delivered.state is not None:
        answer |= delivered.state._asdict()
    return answer
