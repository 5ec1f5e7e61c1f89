"""Tidying up: the outbox, idempotency keys, webhook messages, and partitions of events."""

from datetime import timedelta

import structlog
from aiohttp import web

from rowlock.exceptions import DatabaseBusy
from rowlock.queries import queries
from rowlock.tasks.supervisor import Wake
from rowlock.web.service import DATABASE, SETTINGS

logger = structlog.get_logger("rowlock.tasks.housekeeping")


async def purge_outbox(app: web.Application, wake: Wake) -> None:
    """Remove delivered events from the log, some at a time."""
    settings = app[SETTINGS]
    while True:
        async with app[DATABASE].connection() as connection:
            [row] = await queries.outbox.purge_delivered(
                connection, page_size=settings.housekeeping_rows
            )
        if row["purged"] < settings.housekeeping_rows:
            await wake.wait(settings.outbox_purge_s)


async def purge_answers(app: web.Application, wake: Wake) -> None:
    """Forget the answers to idempotency keys that have expired."""
    settings = app[SETTINGS]
    keep = timedelta(seconds=settings.idempotency_keep_s)
    while True:
        async with app[DATABASE].connection() as connection:
            [row] = await queries.idempotency.purge_answers(
                connection, keep=keep, page_size=settings.housekeeping_rows
            )
        if row["purged"] < settings.housekeeping_rows:
            await wake.wait(settings.idempotency_purge_s)


async def purge_webhook_messages(app: web.Application, wake: Wake) -> None:
    """Forget signed webhook messages that their senders no longer repeat."""
    settings = app[SETTINGS]
    keep = timedelta(seconds=settings.webhook_keep_s)
    while True:
        async with app[DATABASE].connection() as connection:
            [row] = await queries.projects.purge_webhook_messages(
                connection, keep=keep, page_size=settings.housekeeping_rows
            )
        if row["purged"] < settings.housekeeping_rows:
            await wake.wait(settings.webhook_purge_s)


async def keep_partitions(app: web.Application, wake: Wake) -> None:
    """Make partitions ahead, drop those past the retention, and forget their keys.

    Somebody who reads for long, such as a dump, keeps partitions from coming and going. That can
    wait: events without a partition are stored all the same.
    """
    settings = app[SETTINGS]
    while True:
        try:
            await _renew_partitions(app)
        except DatabaseBusy:
            logger.info("partitions_wait", retry_s=settings.partitions_retry_s)
            await wake.wait(settings.partitions_retry_s)
        else:
            await _forget_keys(app)
            await wake.wait(settings.partitions_check_s)


async def _renew_partitions(app: web.Application) -> None:
    settings = app[SETTINGS]
    async with app[DATABASE].transaction() as connection:
        # Writers wait: one that has chosen the default partition just now would be refused.
        await queries.events.lock_log(connection)
        await queries.events.ensure_partitions(
            connection, months_ahead=settings.events_months_ahead
        )
    retention = settings.events_retention_months
    async with app[DATABASE].transaction() as connection:
        await queries.events.lock_log(connection)
        for row in await queries.events.drop_partitions(connection, months=retention):
            logger.info("partition_dropped", partition=row["partition"])
        await queries.events.purge_default(connection, months=retention)


async def _forget_keys(app: web.Application) -> None:
    settings = app[SETTINGS]
    forgotten = settings.housekeeping_rows
    while forgotten == settings.housekeeping_rows:
        async with app[DATABASE].connection() as connection:
            [row] = await queries.events.forget_keys(
                connection,
                months=settings.events_retention_months,
                page_size=settings.housekeeping_rows,
            )
        forgotten = row["forgotten"]
