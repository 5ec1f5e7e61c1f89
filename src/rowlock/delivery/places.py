"""Places in the outbox, and what the events service says of how far it has its events."""

from collections.abc import Sequence
from typing import NamedTuple

from rowlock.engine.outbox import parse_place

LOG_CHANGED = "log_changed"  # the events service has another log
MARK_BEHIND = "mark_behind"  # its log ends before what it had taken
RESEND = "resend"  # an operator asks for it


class Place(NamedTuple):
    """A place in the outbox: that of an event. Later events are at greater places."""

    xid: int
    position: int

    def __str__(self) -> str:
        return f"{self.xid}/{self.position}"

    @classmethod
    def of(cls, xid: int | None, position: int | None) -> "Place | None":
        """Return the place in two columns; None if they are null."""
        return None if xid is None or position is None else cls(xid, position)

    @classmethod
    def parse(cls, text: object) -> "Place | None":
        """Return the place that `text` names; None if it names none."""
        found = parse_place(text) if isinstance(text, str) else None
        return None if found is None else cls(*found)


START = Place(0, 0)  # before every event


class Mark(NamedTuple):
    """What the events service says of its log."""

    log: str  # what it is called
    place: Place | None  # it has all that was delivered up to there; None: nothing

    @classmethod
    def of(cls, log: str | None, xid: int | None, position: int | None) -> "Mark | None":
        """Return the mark that three columns have; None if they have none."""
        return None if log is None else cls(log, Place.of(xid, position))


class Cut(NamedTuple):
    """The beginning of an epoch in the outbox: positions have jumped ahead."""

    first: int  # the first position that the epoch may give
    before: Place  # that of the last event before the epoch's own; START if it is not kept


class Return(NamedTuple):
    """Where the relay goes back to, and why."""

    place: Place
    reason: str


def find_return(known: Mark, told: Mark, cursor: Place, cuts: Sequence[Cut] = ()) -> Return | None:
    """Return where to go back to, if the log lacks what it has taken; None if it lacks nothing.

    `known` is what the events service said before, `told` is what it says now. A mark beyond the
    one that is known is of a delivery whose answer was lost.

    A promoted server gives the transaction ids again that were lost with the former one, but not
    the positions. So a mark may name a transaction that is gone, with an id above those that came
    later. `cuts`, in order, tell which of two marks is of the later epoch.
    """

    def age(place: Place) -> tuple[int, Place]:
        return sum(cut.first <= place.position for cut in cuts), place

    place = told.place or START
    is_behind = age(place) < age(known.place or START)
    if not is_behind and told.log == known.log:
        return None
    if age(place) >= age(cursor):
        return None
    # Of the epochs after the mark's, the log may lack everything.
    since = [cut.before for cut in cuts if place.position < cut.first <= cursor.position]
    back = min(place, cursor, *since)
    return Return(back, MARK_BEHIND if told.log == known.log else LOG_CHANGED)
