"""Going back in the outbox, so that what is kept is delivered again."""

import structlog

from rowlock.delivery.places import RESEND, START, Cut, Mark, Place, Return, find_return
from rowlock.engine.database import Connection, Database
from rowlock.engine.outbox import LEASE
from rowlock.engine.statements import queries
from rowlock.errors import LeaseLost

logger = structlog.get_logger(__name__)


async def follow(database: Database, epoch: int, known: Mark, told: Mark) -> Return | None:
    """Note what the events service says of its log; go back if that lacks what it had taken.

    Returns where to, and None if it has all. Raises LeaseLost.
    """
    place = told.place
    async with database.transaction() as connection:
        await queries.outbox.lock_marks(connection)
        [cursor] = await queries.outbox.read_cursor(connection)
        rows = await queries.outbox.find_cuts(connection)
        cuts = [Cut(row["first"], Place.of(row["xid"], row["position"]) or START) for row in rows]
        back = find_return(known, told, Place(cursor["xid"], cursor["position"]), cuts)
        [row] = await queries.outbox.note_log(
            connection,
            lease=LEASE,
            epoch=epoch,
            log=told.log,
            mark_xid=place and place.xid,
            mark_position=place and place.position,
        )
        if not row["leads"]:
            raise LeaseLost
        if back is not None:
            await _go_back(connection, epoch, back)
    return back


async def go_back(database: Database, epoch: int, back: Return) -> Return:
    """Go back, but never forward; return where to. Raises LeaseLost."""
    async with database.transaction() as connection:
        await queries.outbox.lock_marks(connection)
        [cursor] = await queries.outbox.read_cursor(connection)
        earlier = min(back.place, Place(cursor["xid"], cursor["position"]))
        back = back._replace(place=earlier)
        await _go_back(connection, epoch, back)
    return back


async def _go_back(connection: Connection, epoch: int, back: Return) -> None:
    """Set the cursor back. `connection` holds outbox/lock_marks: nothing is purged meanwhile."""
    xid, position = back.place
    [kept] = await queries.outbox.find_kept(connection, xid=xid, position=position)
    # The events service has what an operator wants to be delivered again, as far as it is known.
    is_complete = kept["complete"] or back.reason == RESEND
    [row] = await queries.outbox.go_back(
        connection,
        lease=LEASE,
        epoch=epoch,
        xid=xid,
        position=position,
        reason=back.reason,
        events=kept["events"],
        kept_since=kept["kept_since"],
        complete=is_complete,
    )
    if not row["leads"]:
        raise LeaseLost
    logger.warning(
        "relay_goes_back",
        reason=back.reason,
        place="start" if back.place == START else str(back.place),
        events=kept["events"],
    )
    if not is_complete:
        since = kept["kept_since"]
        logger.error("events_lost", kept_since=None if since is None else since.isoformat())
