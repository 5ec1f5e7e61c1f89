"""How far a standby is behind the primary: a bound that needs no clock but this process's own.

The primary is asked again and again how much of its log is on disk. What was acknowledged before a
question is in that much. A standby that has replayed as much has all of it. So an idle primary
makes no standby old, and one that is cut off is as old as the last answer that it still covers.

That holds for one branch of the log. After a promotion a former standby may go on with another one,
whose positions mean something else. So a standby is used only with a proof that it is on the
primary's: its timeline, where the role may see that, or the row that the first write of the epoch
has left (`engine/epochs`), which reaches a standby only by replication.
"""

import asyncio
from collections import deque
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from rowlock.engine.dialling import Direct
from rowlock.engine.statements import queries

MOST_MARKS = 10_000


class Mark(NamedTuple):
    """The epoch that was recorded last in a database."""

    identity: UUID
    timeline: int  # on which it was recorded


class Facts(NamedTuple):
    """What a server says of itself; `asked` is by this process's clock, before the question."""

    asked: float
    in_recovery: bool
    system_identifier: int  # of the cluster: all its servers have the same
    database_oid: int
    started: datetime  # tells the server from others of the cluster
    timeline: int | None  # of a standby only where it is known
    position: int  # in the log: on disk at a primary, replayed at a standby
    epoch: Mark | None = None  # the last one, if there is one

    @property
    def is_about(self) -> tuple[int, int]:
        """What is the same for each copy of a database, and for no other database."""
        return self.system_identifier, self.database_oid

    def follows(self, primary: "Facts") -> bool:
        """Tell whether it is proven that a standby has replayed the log of `primary`."""
        if self.timeline is not None and self.timeline == primary.timeline:
            return True
        epoch = primary.epoch
        return epoch is not None and epoch.timeline == primary.timeline and self.epoch == epoch


async def describe(connection: Direct) -> Facts:
    """Return what a server says of itself."""
    asked = asyncio.get_running_loop().time()
    [row] = await queries.cluster.describe_replication(connection)
    epoch = None
    # The schema may not know of epochs yet; without grants, statements will tell.
    with suppress(asyncpg.UndefinedTableError, asyncpg.InsufficientPrivilegeError):
        for newest in await queries.epochs.find_newest(connection):
            epoch = Mark(newest["identity"], newest["timeline"])
    return Facts(
        asked,
        row["in_recovery"],
        row["system_identifier"],
        row["database_oid"],
        row["started"],
        row["timeline"],
        row["position"] or 0,
        epoch,
    )


class Progress:
    """What the primary had on disk, and when, for as long as that matters."""

    def __init__(self, keep_s: float) -> None:
        self.primary: Facts | None = None  # its last answer
        self._keep_s = keep_s
        self._marks: deque[tuple[float, int]] = deque(maxlen=MOST_MARKS)

    def note(self, primary: Facts) -> None:
        """Take an answer of the primary. Those of another timeline or cluster are forgotten.

        A server that is a standby for now, as a former primary is, tells nothing.
        """
        if primary.in_recovery:
            return
        last = self.primary
        if last is not None and (last.is_about, last.timeline) != (
            primary.is_about,
            primary.timeline,
        ):
            self._marks.clear()
        self.primary = primary
        if self._marks and self._marks[-1][1] == primary.position:
            self._marks.pop()  # nothing was written since: the later time holds
        self._marks.append((primary.asked, primary.position))
        # The last one that is older is kept: it bounds what is not quite as old.
        while len(self._marks) > 1 and self._marks[1][0] < primary.asked - self._keep_s:
            self._marks.popleft()

    def as_of(self, position: int) -> float | None:
        """Return a time before which all that was acknowledged is in the log up to `position`.

        None if that is not known.
        """
        return next((at for at, reached in reversed(self._marks) if reached <= position), None)

    def problem(self, standby: Facts, before: Facts | None) -> str | None:
        """Return why a server can't stand in for the primary; None if it can, however old it is.

        `before` is what the server said the last time, if it has not been restarted since.
        """
        primary = self.primary
        if primary is None:
            return "the primary has not answered yet"
        is_ahead = (
            before is not None
            and before.asked < primary.asked
            and before.position > primary.position
        )
        other = f"it follows timeline {standby.timeline}, the primary is on {primary.timeline}"
        checks = (
            (standby.is_about != primary.is_about, OTHER_DATABASE),
            (not standby.in_recovery, "it is a primary"),
            (standby.timeline not in {None, primary.timeline}, other),
            (
                not standby.follows(primary),
                f"nothing proves yet that it follows timeline {primary.timeline}",
            ),
            (is_ahead, AHEAD),
        )
        return next((problem for is_wrong, problem in checks if is_wrong), None)


class Follower:
    """What a standby has said of itself, judged from answer to answer."""

    def __init__(self) -> None:
        self.facts: Facts | None = None  # its last answer
        self._strayed: tuple[object, ...] | None = None  # which server, from which primary's log

    def problem(self, facts: Facts, progress: Progress) -> str | None:
        """Take an answer; return why the server can't stand in for the primary, or None.

        One that was ahead of the primary is on another branch for as long as it runs, even once the
        primary has passed its position.
        """
        before, self.facts = self.facts, facts
        if before is not None and before.started != facts.started:
            before = None
        problem = progress.problem(facts, before)
        primary = progress.primary
        pair = primary and (facts.started, primary.is_about, primary.timeline)
        if problem == AHEAD:
            self._strayed = pair
        elif problem is None and self._strayed == pair:
            return AHEAD
        return problem


OTHER_DATABASE = "it is a copy of another database"
AHEAD = "it has replayed what the primary does not have"
