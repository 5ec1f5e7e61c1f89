# Made by `rowlock sql stubs` of the headers in sql/events/
# A test compares.

from datetime import date, datetime
from typing import TypedDict
from uuid import UUID

from rowlock.engine.statements import Array, Executor, Statement

class DropPartitionsRow(TypedDict):
    partition: str

class DropPartitions(Statement):
    async def __call__(self, connection: Executor, *, months: int) -> list[DropPartitionsRow]: ...

class EnsurePartitionRow(TypedDict):
    made: bool

class EnsurePartition(Statement):
    async def __call__(self, connection: Executor, *, month: date) -> list[EnsurePartitionRow]: ...

class FindEventsRow(TypedDict):
    id: int
    event_id: UUID
    name: str
    subject: str | None
    payload: str
    request_id: str | None
    created_at: datetime

class FindEvents(Statement):
    async def __call__(self, connection: Executor, *, ids: Array[int]) -> list[FindEventsRow]: ...

class FindKeysRow(TypedDict):
    event_id: UUID
    id: int

class FindKeys(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        event_ids: Array[UUID],
    ) -> list[FindKeysRow]: ...

class FindLastIdRow(TypedDict):
    id: int

class FindLastId(Statement):
    async def __call__(self, connection: Executor) -> list[FindLastIdRow]: ...

class FindMissingPartitionsRow(TypedDict):
    month: date
    too_many: bool

class FindMissingPartitions(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        months_behind: int,
        months_ahead: int,
        most_rows: int,
    ) -> list[FindMissingPartitionsRow]: ...

class ForgetKeysRow(TypedDict):
    purged: int

class ForgetKeys(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        months: int,
        page_size: int,
    ) -> list[ForgetKeysRow]: ...

class ListEventsRow(TypedDict):
    id: int
    event_id: UUID
    name: str
    subject: str | None
    payload: str
    request_id: str | None
    created_at: datetime

class ListEvents(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        after: int,
        page_size: int,
    ) -> list[ListEventsRow]: ...

class ListEventsByNameRow(TypedDict):
    id: int
    event_id: UUID
    name: str
    subject: str | None
    payload: str
    request_id: str | None
    created_at: datetime

class ListEventsByName(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        name: str,
        after: int,
        page_size: int,
    ) -> list[ListEventsByNameRow]: ...

class ListEventsBySubjectRow(TypedDict):
    id: int
    event_id: UUID
    name: str
    subject: str | None
    payload: str
    request_id: str | None
    created_at: datetime

class ListEventsBySubject(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        subject: str,
        name: str | None,
        after: int,
        page_size: int,
    ) -> list[ListEventsBySubjectRow]: ...

class ListNewestEventsRow(TypedDict):
    id: int
    event_id: UUID
    name: str
    subject: str | None
    payload: str
    request_id: str | None
    created_at: datetime

class ListNewestEvents(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        before: int,
        page_size: int,
    ) -> list[ListNewestEventsRow]: ...

class ListNewestEventsByNameRow(TypedDict):
    id: int
    event_id: UUID
    name: str
    subject: str | None
    payload: str
    request_id: str | None
    created_at: datetime

class ListNewestEventsByName(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        name: str,
        before: int,
        page_size: int,
    ) -> list[ListNewestEventsByNameRow]: ...

class ListNewestEventsBySubjectRow(TypedDict):
    id: int
    event_id: UUID
    name: str
    subject: str | None
    payload: str
    request_id: str | None
    created_at: datetime

class ListNewestEventsBySubject(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        subject: str,
        name: str | None,
        before: int,
        page_size: int,
    ) -> list[ListNewestEventsBySubjectRow]: ...

class LockLogRow(TypedDict):
    locked: object
    locked_as_in_0_1: object

class LockLog(Statement):
    async def __call__(self, connection: Executor) -> list[LockLogRow]: ...

class PurgeDefaultRow(TypedDict):
    purged: int

class PurgeDefault(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        months: int,
        page_size: int,
    ) -> list[PurgeDefaultRow]: ...

class StoreEventsRow(TypedDict):
    id: int

class StoreEvents(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        event_ids: Array[UUID],
        names: Array[str],
        subjects: Array[str | None],
        payloads: Array[str],
        request_ids: Array[str | None],
        created_ats: Array[datetime],
    ) -> list[StoreEventsRow]: ...

class Events:
    drop_partitions: DropPartitions
    ensure_partition: EnsurePartition
    find_events: FindEvents
    find_keys: FindKeys
    find_last_id: FindLastId
    find_missing_partitions: FindMissingPartitions
    forget_keys: ForgetKeys
    list_events: ListEvents
    list_events_by_name: ListEventsByName
    list_events_by_subject: ListEventsBySubject
    list_newest_events: ListNewestEvents
    list_newest_events_by_name: ListNewestEventsByName
    list_newest_events_by_subject: ListNewestEventsBySubject
    lock_log: LockLog
    purge_default: PurgeDefault
    store_events: StoreEvents
