"""Leadership: of all processes, only the holder of a lease does what the lease is for.

A lease is a row with a holder, an epoch and a time at which it expires. A holder that can't renew
it, because it is frozen or cut off from the database, is replaced. A replaced holder may not know
it yet. So each of a leader's writes is conditional on its epoch, which rises when the lease is
taken.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from rowlock.engine.database import Connection, Database
from rowlock.engine.faults import DRIVER_ERRORS
from rowlock.engine.statements import queries
from rowlock.errors import LeaseLost, RowlockError
from rowlock.settings.groups import LeaseSettings

if TYPE_CHECKING:
    from rowlock.engine.typed.leases import DescribeRow

RELEASE_S = 0.3  # a lease that can't be released in this time is left to expire
# How much less often a process looks whether a lease is free that it holds itself, for another of
# its services: whatever ends that one mostly ends this one, too.
OWN_PATIENCE = 5

logger = structlog.get_logger(__name__)


async def find_leader(connection: Connection, name: str) -> "DescribeRow | None":
    """Return who holds the lease `name`, or held it last; None if no process ever did."""
    rows = await queries.leases.describe(connection, name=name)
    return rows[0] if rows else None


async def lead(
    name: str,
    database: Database,
    work: Callable[[int], Awaitable[None]],
    settings: LeaseSettings,
) -> None:
    """Wait for the lease `name`, then run `work` while this process holds it; return when it ends.

    `work` gets the lease's epoch. It is cancelled once the lease has not been renewed in time, and
    may raise LeaseLost itself: then this process waits for the lease again.
    Raises DatabaseUnavailable, DatabaseBusy, and what else `work` raises.
    """
    while True:
        try:
            async with _held(name, database, settings) as epoch:
                return await work(epoch)
        except LeaseLost:
            logger.warning("lease_lost", lease=name)


@asynccontextmanager
async def _held(name: str, database: Database, settings: LeaseSettings) -> AsyncIterator[int]:
    """Wait for a lease, and lend its epoch; cancel what runs inside once the lease's term is over.

    Raises LeaseLost then.
    """
    loop = asyncio.get_running_loop()
    while True:
        asked = loop.time()
        epoch = await _take(database, name, timedelta(seconds=settings.lease_s))
        if epoch is not None:
            break
        await _until_free(database, name, settings.relay_lead_poll_s)
    logger.info("lease_taken", lease=name, epoch=epoch)
    try:
        # Measured by this process's clock from before the request, so that the term ends no later
        # than the database's.
        async with asyncio.timeout_at(asked + settings.lease_s) as term:
            renewing = asyncio.create_task(_keep_renewing(database, name, epoch, term, settings))
            try:
                yield epoch
            finally:
                renewing.cancel()
                await asyncio.wait([renewing])
    except TimeoutError:
        if not term.expired():
            raise
        raise LeaseLost from None
    finally:
        with suppress(RowlockError, *DRIVER_ERRORS):
            async with asyncio.timeout(RELEASE_S), database.transaction() as connection:
                await queries.leases.release(connection, name=name, epoch=epoch)


async def _take(database: Database, name: str, duration: timedelta) -> int | None:
    async with database.transaction() as connection:
        rows = await queries.leases.take(
            connection, name=name, holder=_this_process(), duration=duration
        )
    return rows[0]["epoch"] if rows else None


def _this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


async def _until_free(database: Database, name: str, poll_s: float) -> None:
    """Return once no process holds the lease. A look is half of the cost of trying to take it."""
    pause_s = poll_s
    while True:
        await asyncio.sleep(pause_s)
        async with database.connection() as connection:
            leader = await find_leader(connection, name)
        if leader is None or not leader["is_held"]:
            return
        pause_s = poll_s * (OWN_PATIENCE if leader["holder"] == _this_process() else 1)


async def _keep_renewing(
    database: Database, name: str, epoch: int, term: asyncio.Timeout, settings: LeaseSettings
) -> None:
    """Put off the end of `term` by each renewal; end it at once if the lease is another's."""
    loop = asyncio.get_running_loop()
    duration = timedelta(seconds=settings.lease_s)
    pause_s = settings.lease_renew_s
    while True:
        await asyncio.sleep(pause_s)
        asked = loop.time()
        try:
            # A connection that hangs must leave time for another try.
            async with (
                asyncio.timeout(settings.lease_renew_s),
                database.transaction() as connection,
            ):
                held = await queries.leases.renew(
                    connection, name=name, epoch=epoch, duration=duration
                )
        except (RowlockError, *DRIVER_ERRORS):
            pause_s = settings.lease_renew_s / 10
            continue
        if term.expired():
            return
        term.reschedule(asked + settings.lease_s if held else loop.time())
        if not held:
            return
        pause_s = settings.lease_renew_s
