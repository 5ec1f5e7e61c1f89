"""Leadership: of all processes, only the holder of a lease does what the lease is for.

A lease is a row with a holder, an epoch and a time at which it expires. The holder renews it; one
that can't, because it stands still or has lost the database, is replaced. It may not have noticed:
so each of a leader's writes is conditional on its epoch, which rises when the lease is taken.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import structlog

from rowlock.engine.database import DRIVER_ERRORS, Database
from rowlock.engine.statements import queries
from rowlock.engine.tasks import Wake
from rowlock.errors import LeaseLost, RowlockError
from rowlock.settings.groups import TaskSettings

RELEASE_S = 1.0  # a lease that can't be released in this time is left to expire

logger = structlog.get_logger("rowlock.leases")


async def lead(
    name: str,
    database: Database,
    work: Callable[[int], Awaitable[None]],
    *,
    poll_s: float,
    settings: TaskSettings,
) -> None:
    """Wait for the lease `name`, then run `work` for as long as this process holds it.

    `work` gets the lease's epoch. It is cancelled once the lease has not been renewed in time.
    Raises LeaseLost then, DatabaseUnavailable, DatabaseBusy, and what `work` raises.
    """
    loop = asyncio.get_running_loop()
    duration = timedelta(seconds=settings.lease_s)
    while True:
        asked = loop.time()
        epoch = await _take(database, name, duration)
        if epoch is not None:
            break
        await Wake().wait(poll_s)
    logger.info("lease_taken", lease=name, epoch=epoch)
    try:
        # By this process's own clock, from before it asked: not later than the database's.
        async with asyncio.timeout_at(asked + settings.lease_s) as term:
            renewing = asyncio.create_task(_keep_renewing(database, name, epoch, term, settings))
            try:
                await work(epoch)
            finally:
                renewing.cancel()
                await asyncio.wait([renewing])  # no renewal comes after the release
    except TimeoutError:
        if not term.expired():
            raise
        logger.warning("lease_lost", lease=name, epoch=epoch)
        raise LeaseLost from None
    finally:
        with suppress(RowlockError, TimeoutError):
            async with asyncio.timeout(RELEASE_S), database.connection() as connection:
                await queries.leases.release(connection, name=name, epoch=epoch)


async def _take(database: Database, name: str, duration: timedelta) -> int | None:
    holder = f"{socket.gethostname()}:{os.getpid()}"
    async with database.connection() as connection:
        rows = await queries.leases.take(connection, name=name, holder=holder, duration=duration)
    return rows[0]["epoch"] if rows else None


async def _keep_renewing(
    database: Database, name: str, epoch: int, term: asyncio.Timeout, settings: TaskSettings
) -> None:
    """Put off the end of `term` by each renewal; end it at once if the lease is another's."""
    loop = asyncio.get_running_loop()
    duration = timedelta(seconds=settings.lease_s)
    while True:
        await asyncio.sleep(settings.lease_renew_s)
        asked = loop.time()
        try:
            async with database.connection() as connection:
                held = await queries.leases.renew(
                    connection, name=name, epoch=epoch, duration=duration
                )
        except (RowlockError, *DRIVER_ERRORS):
            continue  # there is time for another try, or the term ends
        if term.expired():
            return
        term.reschedule(asked + settings.lease_s if held else loop.time())
        if not held:
            return
