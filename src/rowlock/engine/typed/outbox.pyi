# Made by `rowlock sql stubs` of the headers in sql/outbox/
# A test compares.

from datetime import datetime
from typing import Never, TypedDict
from uuid import UUID

from rowlock.engine.statements import Array, Executor, Statement

class AdvanceCursorRow(TypedDict):
    leads: bool

class AdvanceCursor(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        lease: str,
        epoch: int,
        xid: int,
        position: int,
        last_position: int,
    ) -> list[AdvanceCursorRow]: ...

class AppendEvents(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        names: Array[str],
        subjects: Array[str],
        payloads: Array[str],
        request_ids: Array[str | None],
    ) -> list[Never]: ...

class DescribeBacklogRow(TypedDict):
    backlog: int
    oldest_age_s: float
    held_back: int
    dead: int
    idle_s: float
    stranded: int

class DescribeBacklog(Statement):
    async def __call__(self, connection: Executor) -> list[DescribeBacklogRow]: ...

class FindStrandedRow(TypedDict):
    stranded: bool

class FindStranded(Statement):
    async def __call__(self, connection: Executor) -> list[FindStrandedRow]: ...

class ForgetDelivered(Statement):
    async def __call__(self, connection: Executor) -> list[Never]: ...

class ListDeadRow(TypedDict):
    event_id: UUID
    name: str
    subject: str
    status: int
    error: str
    request_id: str | None
    refused_at: datetime

class ListDead(Statement):
    async def __call__(self, connection: Executor, *, page_size: int) -> list[ListDeadRow]: ...

class LockLog(Statement):
    async def __call__(self, connection: Executor) -> list[Never]: ...

class PageDeadRow(TypedDict):
    created_at: datetime
    event_id: UUID

class PageDead(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        created_at: datetime,
        event_id: UUID,
        page_size: int,
    ) -> list[PageDeadRow]: ...

class ParkEventRow(TypedDict):
    leads: bool
    parked: bool

class ParkEvent(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        lease: str,
        epoch: int,
        xid: int,
        position: int,
        status: int,
        error: str,
    ) -> list[ParkEventRow]: ...

class PurgeDeliveredRow(TypedDict):
    purged: int

class PurgeDelivered(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        page_size: int,
    ) -> list[PurgeDeliveredRow]: ...

class ReadCursorRow(TypedDict):
    xid: int
    position: int
    stranded: bool

class ReadCursor(Statement):
    async def __call__(self, connection: Executor) -> list[ReadCursorRow]: ...

class ReadEventsRow(TypedDict):
    xid: int
    position: int
    event_id: UUID
    name: str
    subject: str
    payload: str
    request_id: str | None
    created_at: datetime

class ReadEvents(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        xid: int,
        position: int,
        page_size: int,
    ) -> list[ReadEventsRow]: ...

class RebaseRow(TypedDict):
    renumbered: int

class Rebase(Statement):
    async def __call__(self, connection: Executor) -> list[RebaseRow]: ...

class ReplayDeadRow(TypedDict):
    event_id: UUID

class ReplayDead(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        event_ids: Array[UUID],
    ) -> list[ReplayDeadRow]: ...

class Outbox:
    advance_cursor: AdvanceCursor
    append_events: AppendEvents
    describe_backlog: DescribeBacklog
    find_stranded: FindStranded
    forget_delivered: ForgetDelivered
    list_dead: ListDead
    lock_log: LockLog
    page_dead: PageDead
    park_event: ParkEvent
    purge_delivered: PurgeDelivered
    read_cursor: ReadCursor
    read_events: ReadEvents
    rebase: Rebase
    replay_dead: ReplayDead
