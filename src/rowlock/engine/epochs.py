"""Epochs of the cluster: ids that a lost primary may have given are not given again.

What a server wrote last may be lost when a standby is promoted, or a backup restored. Nothing lists
it, but the database can tell that it was moved: its last epoch names another cluster or timeline
than the server does. The first process that is to write there lets all ids jump ahead, and records
the cut as a new epoch: see engine/sessions.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import orjson

from rowlock.engine.dialling import Connection
from rowlock.engine.statements import queries

if TYPE_CHECKING:
    from rowlock.engine.typed.epochs import ListRow

BY_HAND = "by hand"
TIME = "%Y-%m-%d %H:%M:%S"


class Jump(NamedTuple):
    """A cut in the ids of a table."""

    last: int  # the last id that is stored from before it; 0: the table was never used
    first: int  # the first one after it


class Epoch(NamedTuple):
    """The time for which the database was written on one server."""

    number: int  # from 1 on
    identity: UUID  # of this epoch, not of another one that a restore has undone
    system_identifier: int  # of the cluster
    timeline: int
    since: datetime
    declared: str  # noticed, or by hand
    jumps: Mapping[str, Jump]  # by table; none for the first epoch


async def find_epochs(connection: Connection) -> list[Epoch]:
    """Return all epochs, oldest first."""
    return [_read(row) for row in await queries.epochs.list(connection)]


class Epochs:
    """The epochs of a database, oldest first."""

    def __init__(self, epochs: Sequence[Epoch] = ()) -> None:
        self.all = epochs

    def describe(self) -> Iterator[str]:
        """Yield in words what began with each epoch."""
        for index, epoch in enumerate(self.all):
            yield _describe(epoch, self.all[index - 1] if index else None)

    def describe_last(self) -> str | None:
        """Return in words what began with the last epoch; None if there is none."""
        return [*self.describe()][-1] if self.all else None

    def is_cut_since(self, age: timedelta) -> bool:
        """Tell whether the last epoch began with a cut that is not older than that."""
        return len(self.all) > 1 and datetime.now(UTC) - self.all[-1].since < age


def _describe(epoch: Epoch, previous: Epoch | None) -> str:
    number, since = f"epoch {epoch.number}", f"{epoch.since:{TIME}}"
    if previous is None:
        return f"{number}, timeline {epoch.timeline} since {since}"
    if epoch.timeline != previous.timeline:
        moved = f"timeline {previous.timeline} → {epoch.timeline}"
    else:
        moved = f"timeline {epoch.timeline} again"
    if epoch.system_identifier != previous.system_identifier:
        moved = f"another cluster, {moved}"
    by_hand = " by hand" if epoch.declared == BY_HAND else ""
    # The ids of a table that was never used have nowhere to jump from.
    jumps = [(table, jump) for table, jump in epoch.jumps.items() if jump.last]
    jumped = ", ".join(f"from {jump.last} to {jump.first} ({table})" for table, jump in jumps)
    what = f"ids jumped {jumped}" if jumped else "all ids jumped"
    return f"{number}, {moved} at {since}{by_hand}, {what}"


def _read(row: "ListRow") -> Epoch:
    ids = orjson.loads(row["ids"])
    return Epoch(
        row["number"],
        row["identity"],
        row["system_identifier"],
        row["timeline"],
        row["since"],
        row["declared"],
        {table: Jump(each["last"], each["first"]) for table, each in sorted(ids.items())},
    )
