"""Places in the log that it does not have: of events that were lost, or beyond its end.

When a cluster loses what it wrote last, readers may have seen events that are gone. All that comes
later has ids far above theirs, so their place tells them from the others.
"""

from collections.abc import Sequence, Set
from uuid import UUID

from rowlock.engine.database import Database
from rowlock.engine.epochs import find_epochs
from rowlock.engine.statements import queries
from rowlock.events.rules import Cut, End, Unknown, find_unknown
from rowlock.rejections import PositionUnknown

TABLE = "events"
BEYOND = "The position is beyond the end of the log. Go on after last_valid_id."


class Places:
    """What a process knows of the cuts in the log. It reads them again for an epoch that is new.

    Epochs are told apart by their identities: after two failovers in a row, two have one number.
    """

    def __init__(self, database: Database) -> None:
        self.era = 0  # rises when a place that was known may not be any more
        self._database = database
        self._epochs: Set[UUID | None] = frozenset()
        self._cuts: Sequence[Cut] = ()

    async def learn(self, epoch: UUID | None) -> bool:
        """Know the cuts up to an epoch, which a read of the log has told; return if any is new.

        A page of a standby may be of an older epoch, which is known.
        """
        if epoch in self._epochs:
            return False
        async with self._database.connection() as connection:
            epochs = await find_epochs(connection)
        known = {each.identity for each in epochs}
        if known == self._epochs:
            return False
        self._epochs = known
        self._cuts = [Cut(*each.jumps[TABLE]) for each in reversed(epochs) if TABLE in each.jumps]
        self.era += 1
        return True

    async def find_end(self) -> End:
        """Return where the log ends."""
        async with self._database.connection() as connection:
            [row] = await queries.events.find_end(connection)
        await self.learn(row["epoch"])
        return End(row["id"], row["last_id"])

    async def find_unknown(self, place: int, epoch: UUID | None = None) -> Unknown | None:
        """Return where a reader must go on whose `place` the log does not have; None if it has it.

        `epoch` is that of the events that follow the place. If it is None, there may be none: then
        the place may be beyond the end.
        """
        if place == 0:
            return None
        end = None
        if epoch is None:
            end = await self.find_end()
        else:
            await self.learn(epoch)
        return find_unknown(place, self._cuts, end)

    async def refuse_unknown(self, place: int, epoch: UUID | None = None) -> None:
        """Raise PositionUnknown if the log does not have `place`. `epoch` is as above."""
        unknown = await self.find_unknown(place, epoch)
        if unknown is not None:
            raise refusal(unknown)


def refusal(unknown: Unknown) -> PositionUnknown:
    """Return what a client is told: that the events of its place were lost, or it is beyond all."""
    message = BEYOND if unknown.first_id_after is None else None
    return PositionUnknown(message, **unknown._asdict())
