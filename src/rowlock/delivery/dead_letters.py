"""Dead letters, as operators see them: events that were refused or parked.

The command line does the same by `engine/outbox`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from rowlock.delivery.events import PARKED, REPLAYED
from rowlock.engine import outbox
from rowlock.engine.database import Connection, Database
from rowlock.engine.jobs import Job, Page
from rowlock.engine.lanes import Feature, WriteLane
from rowlock.engine.outbox import EVERY, Letters, Place
from rowlock.engine.statements import queries
from rowlock.origin import Origin
from rowlock.rejections import DeadLettersGone, NothingParked, Rejection
from rowlock.settings.groups import BatchSettings

if TYPE_CHECKING:
    from rowlock.engine.typed.outbox import FindDeadLettersRow, GroupDeadLettersRow

REPLAY_ALL = "replay_dead_letters"  # the kind of the job
PAGE = 500
LOOKED_AT, MOST_GROUPS = 100_000, 50


class DeadLetter(NamedTuple):
    """An event that was refused or parked."""

    event_id: UUID
    name: str
    subject: str
    payload: str  # JSON
    request_id: str | None
    actor: str | None
    created_at: datetime
    status: int  # HTTP; 0: there was no answer, or it was parked
    error: str
    refused_at: datetime


class Replay(NamedTuple):
    """Send these events again."""

    event_ids: Sequence[UUID]
    origin: Origin


class Park(NamedTuple):
    """Set an event aside that is not delivered yet."""

    event_id: UUID
    origin: Origin


class DeadLetters(Feature):
    """The dead letters of the main database."""

    def __init__(self, database: Database, batches: BatchSettings) -> None:
        super().__init__(database, batches)
        self.replay: WriteLane[Replay, int | Rejection] = self._commits(
            "replay_dead_letters", _replay
        )
        self.park: WriteLane[Park, int | Rejection] = self._commits("park_event", _park)

    async def find(self, event_ids: Sequence[UUID]) -> Sequence[DeadLetter]:
        """Return those of these events that are dead letters, the last refusal first."""
        rows = await self.database.read(
            lambda connection: queries.outbox.find_dead_letters(connection, event_ids=event_ids),
            is_fresh=True,
        )
        return sorted(map(_read, rows), key=lambda each: each.refused_at, reverse=True)

    async def list_page(
        self, wanted: Letters, *, before: Place, page_size: int
    ) -> Sequence[DeadLetter]:
        """Return a page of dead letters, the last refusal first: those refused before a place."""
        rows = await self.database.read(
            lambda connection: queries.outbox.list_dead_letters(
                connection,
                refused_at=before.at,
                event_id=before.event_id,
                page_size=page_size,
                **wanted._asdict(),
            )
        )
        return [_read(row) for row in rows]

    async def count(self, wanted: Letters) -> int:
        """Return how many dead letters match."""
        [row] = await self.database.read(
            lambda connection: queries.outbox.count_dead_letters(connection, **wanted._asdict()),
            is_fresh=True,
        )
        return row["dead_letters"]

    async def group(self) -> "Sequence[GroupDeadLettersRow]":
        """Return the reasons of those that were refused last, with how many each has."""
        return await self.database.read(
            lambda connection: queries.outbox.group_dead_letters(
                connection, looked_at=LOOKED_AT, most=MOST_GROUPS
            )
        )


async def _replay(connection: Connection, commands: Sequence[Replay]) -> list[int | Rejection]:
    """Return how many events each command has put back, or that there were none."""
    outcomes: list[int | Rejection] = []
    for command in commands:  # an operator's: there is rarely more than one
        found = await outbox.put_back(connection, command.event_ids)
        outcomes.append(found or DeadLettersGone())
        if found:
            event = REPLAYED.event({"events": found}, command.origin)
            await outbox.append(connection, [event])
    return outcomes


async def _park(connection: Connection, commands: Sequence[Park]) -> list[int | Rejection]:
    """Return how many events each command has set aside, or that there were none."""
    outcomes: list[int | Rejection] = []
    for command in commands:
        reason = f"parked by {command.origin.actor}"
        found = await outbox.set_aside(connection, [command.event_id], reason)
        outcomes.append(found or NothingParked())
        if found:
            await outbox.append(connection, [PARKED.event({"events": found}, command.origin)])
    return outcomes


def ask_all(wanted: Letters, until: datetime) -> dict[str, Any]:
    """Return what a job is to replay: what matches, and was refused before a time."""
    until = until if wanted.until is None else min(until, wanted.until)
    return wanted._replace(until=until)._asdict()


async def replay_turn(connection: Connection, job: Job) -> Page:
    """Put a page of dead letters back into the log, in the order in which they happened."""
    wanted = Letters(**{name: _load(name, each) for name, each in job.wanted.items()})
    after = EVERY
    if job.place:
        at, _, event_id = job.place.partition(" ")
        after = Place(datetime.fromisoformat(at).astimezone(UTC), UUID(event_id))
    place, replayed = await outbox.replay_page(connection, wanted, after, PAGE)
    if replayed:
        await outbox.append(connection, [REPLAYED.event({"events": replayed}, job.origin)])
    return Page(replayed, 0, None if place is None else f"{place.at.isoformat()} {place.event_id}")


def _load(name: str, value: Any) -> Any:
    is_time = name in {"since", "until"} and value is not None
    return datetime.fromisoformat(value) if is_time else value


def _read(row: "FindDeadLettersRow") -> DeadLetter:
    return DeadLetter(
        row["event_id"],
        row["name"],
        row["subject"],
        row["payload"],
        row["request_id"],
        row["actor"],
        row["created_at"],
        row["status"],
        row["error"],
        row["refused_at"],
    )
