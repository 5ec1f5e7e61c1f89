"""Jobs: work that an operator asks for once and that takes many transactions.

A job is a row. Each page of it is one transaction, which also writes where the job goes on. So any
process may do the next page, none is done twice, and a job survives the process that began it. One
of a kind is under way at a time, so a second request does not double it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import orjson

from rowlock.engine.database import Connection, Database
from rowlock.engine.lanes import Feature, WriteLane
from rowlock.engine.statements import queries
from rowlock.engine.tasks import Task
from rowlock.engine.wakes import Wake
from rowlock.origin import Origin
from rowlock.rejections import JobUnderWay, NoJobUnderWay, Rejection
from rowlock.settings.groups import BatchSettings

if TYPE_CHECKING:
    from rowlock.engine.typed.jobs import FindNewestRow

KEPT = 20  # of a kind
LOOK_S = 5.0  # another process may have asked for a job, or have left one
DONE, FAILED = "done", "failed"


class Job(NamedTuple):
    """A job, as it is stored."""

    id: int
    kind: str
    wanted: Mapping[str, Any]  # what it is done to
    origin: Origin
    total: int  # as counted when it was asked for
    done: int
    skipped: int  # could not be done
    place: str  # where it goes on; empty: at the beginning
    outcome: str | None  # done, stopped or failed; None: it is under way
    result: Any  # what it has found out, as JSON has it
    created_at: datetime
    moved_at: datetime
    finished_at: datetime | None


class StartJob(NamedTuple):
    """Do this to all that is wanted."""

    kind: str
    wanted: Mapping[str, Any]  # as JSON takes it
    total: int
    origin: Origin
    silence: timedelta | None = None  # after which one that is under way has lost its process


class StopJob(NamedTuple):
    """Leave it at what is done."""

    kind: str


class Page(NamedTuple):
    """What a page of a job has done."""

    done: int
    skipped: int
    place: str | None  # where the job goes on; None: it is done


# Does the next page of a job, in a transaction that has locked it.
Turn: TypeAlias = Callable[[Connection, Job], Awaitable[Page]]


class Jobs(Feature):
    """The jobs of one database."""

    def __init__(
        self, database: Database, batches: BatchSettings, turns: Mapping[str, Turn]
    ) -> None:
        """Make the feature; `turns` are those of the kinds that are done a page at a time."""
        super().__init__(database, batches)
        self._turns = turns
        self._work = Wake()
        self.start: WriteLane[StartJob, Job | Rejection] = self._commits("start_job", _start)
        self.stop: WriteLane[StopJob, Job | Rejection] = self._commits("stop_job", _stop)
        self.start.committed.leads_to(self._work)

    async def find_newest(self, kind: str) -> Job | None:
        """Return the last job of a kind; None if there never was one."""

        async def find(connection: Connection) -> Job | None:
            rows = await queries.jobs.find_newest(connection, kind=kind)
            return _read(rows[0]) if rows else None

        return await self.database.read(find, is_fresh=True)

    async def move(
        self, job: Job, *, total: int, outcome: str | None, result: Mapping[str, Any]
    ) -> bool:
        """Note what a job has found out that is not done in pages; return if it is still wanted."""
        async with self.database.transaction() as connection:
            moved = await queries.jobs.move(
                connection,
                job_id=job.id,
                done=0,
                skipped=0,
                total=total,
                place="",
                outcome=outcome,
                result=orjson.dumps(result).decode(),
            )
        return bool(moved)

    async def turn(self) -> bool:
        """Do a page of a job, if one is under way; return whether there was one."""
        async with self.database.transaction() as connection:
            rows = await queries.jobs.take(connection, kinds=list(self._turns))
            if not rows:
                return False
            job = _read(rows[0])
            page = await self._turns[job.kind](connection, job)
            await queries.jobs.move(
                connection,
                job_id=job.id,
                done=page.done,
                skipped=page.skipped,
                total=job.total,
                place=page.place or job.place,
                outcome=DONE if page.place is None else None,
                result=None,
            )
        self.committed.set()  # what the page has written may have to be delivered
        return True

    def task(self, name: str) -> Task:
        """Return the task that does the jobs."""

        async def keep_turning() -> None:
            while True:
                while await self.turn():
                    pass
                await self._work.wait(LOOK_S)

        return Task(name, keep_turning)


async def _start(connection: Connection, commands: Sequence[StartJob]) -> list[Job | Rejection]:
    """Return the job that each command began, or that one is under way."""
    outcomes: list[Job | Rejection] = []
    for command in commands:  # an operator asks for one at a time
        if command.silence is not None:
            await queries.jobs.end_silent(connection, kind=command.kind, silence=command.silence)
        rows = await queries.jobs.start(
            connection,
            kind=command.kind,
            wanted=orjson.dumps(command.wanted).decode(),
            actor=command.origin.actor,
            request_id=command.origin.request_id,
            total=command.total,
        )
        await queries.jobs.forget(connection, kind=command.kind, keep=KEPT)
        outcomes.append(_read(rows[0]) if rows else JobUnderWay())
    return outcomes


async def _stop(connection: Connection, commands: Sequence[StopJob]) -> list[Job | Rejection]:
    """Return the job that each command has ended, or that there was none."""
    outcomes: list[Job | Rejection] = []
    for command in commands:
        rows = await queries.jobs.stop(connection, kind=command.kind)
        outcomes.append(_read(rows[0]) if rows else NoJobUnderWay())
    return outcomes


def _read(row: "FindNewestRow") -> Job:
    return Job(
        row["id"],
        row["kind"],
        orjson.loads(row["wanted"]),
        Origin(row["request_id"], row["actor"]),
        row["total"],
        row["done"],
        row["skipped"],
        row["place"],
        row["outcome"],
        None if row["result"] is None else orjson.loads(row["result"]),
        row["created_at"],
        row["moved_at"],
        row["finished_at"],
    )
