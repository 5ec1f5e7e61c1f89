# Made by `rowlock sql stubs` of the headers in sql/leases/
# A test compares.

from datetime import datetime, timedelta
from typing import Never, TypedDict

from rowlock.engine.statements import Executor, Statement

class Release(Statement):
    async def __call__(self, connection: Executor, *, name: str, epoch: int) -> list[Never]: ...

class RenewRow(TypedDict):
    expires: datetime

class Renew(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        name: str,
        epoch: int,
        duration: timedelta,
    ) -> list[RenewRow]: ...

class TakeRow(TypedDict):
    epoch: int

class Take(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        name: str,
        holder: str,
        duration: timedelta,
    ) -> list[TakeRow]: ...

class Leases:
    release: Release
    renew: Renew
    take: Take
