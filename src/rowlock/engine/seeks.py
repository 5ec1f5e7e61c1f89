"""Reads whose plans must not be those that the server would choose or keep."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from rowlock.engine.database import Connection, Database
from rowlock.engine.dialling import is_closed
from rowlock.engine.faults import is_lost
from rowlock.engine.sessions import BEGIN
from rowlock.engine.statements import SAVEPOINT

T = TypeVar("T")

SEEK = "SET LOCAL enable_seqscan = off"
PLAN = "SET LOCAL plan_cache_mode = force_custom_plan"


@asynccontextmanager
async def seeking(connection: Connection) -> AsyncIterator[None]:
    """Let what is read on a connection that is for lists go by an index meanwhile.

    A statement that looks for many rows, one by one, must not scan the table for each, as it would
    by a plan that was made for an empty table. So sequential scans are off meanwhile, as they are
    for batches.
    """
    async with _begun(connection, SEEK):
        yield


@asynccontextmanager
async def planning(connection: Connection) -> AsyncIterator[None]:
    """Let the server plan what is read meanwhile for the arguments that it has.

    The best way to rare rows is not the best one to frequent ones. Otherwise the server keeps one
    plan for all after a few calls.
    """
    async with _begun(connection, PLAN):
        yield


@asynccontextmanager
async def _begun(connection: Connection, setting: str) -> AsyncIterator[None]:
    begin, end = f"{BEGIN}, READ ONLY", "ROLLBACK"
    if connection.is_in_transaction():  # behind a pooler: see engine/sessions
        begin, end = "SAVEPOINT settings", "ROLLBACK TO SAVEPOINT settings"
        setting += f"; {SAVEPOINT}"
    await connection.execute(f"{begin}; {setting}")
    try:
        yield
    except Exception as error:
        if not is_lost(error) and not is_closed(connection):
            await connection.execute(end)
        raise
    await connection.execute(end)


async def seek(
    database: Database,
    work: Callable[[Connection], Awaitable[T]],
    suffices: Callable[[T], bool] | None = None,
) -> T:
    """Return what `work` reads by an index, as `Database.read` does; on the primary by default.

    `suffices` tells whether what a standby has read is all.
    """

    async def run(connection: Connection) -> T:
        async with seeking(connection):
            return await work(connection)

    if suffices is not None:
        return await database.read(run, suffices)
    async with database.reader() as connection:
        return await run(connection)
