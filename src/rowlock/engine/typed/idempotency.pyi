# Made by `rowlock sql stubs` of the headers in sql/idempotency/
# A test compares.

from datetime import timedelta
from typing import TypedDict

from rowlock.engine.statements import Array, Executor, Statement

class FindAnswersRow(TypedDict):
    service: str
    key: str
    digest: bytes
    status: int
    headers: str
    body: bytes

class FindAnswers(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        services: Array[str],
        keys: Array[str],
        keep: timedelta,
    ) -> list[FindAnswersRow]: ...

class KeepAnswersRow(TypedDict):
    key: str

class KeepAnswers(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        services: Array[str],
        keys: Array[str],
        digests: Array[bytes],
        statuses: Array[int],
        headers: Array[str],
        bodies: Array[bytes],
        keep: timedelta,
    ) -> list[KeepAnswersRow]: ...

class PurgeAnswersRow(TypedDict):
    purged: int

class PurgeAnswers(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        keep: timedelta,
        page_size: int,
    ) -> list[PurgeAnswersRow]: ...

class Idempotency:
    find_answers: FindAnswers
    keep_answers: KeepAnswers
    purge_answers: PurgeAnswers
