"""Tidying up: the outbox, idempotency keys, webhook messages, and partitions of events."""

from datetime import timedelta
from typing import Any

import structlog
from aiohttp import web

from rowlock.exceptions import DatabaseBusy
from rowlock.queries import Query, queries
from rowlock.tasks.supervisor import Wake
from rowlock.web.service import DATABASE, SETTINGS

logger = structlog.get_logger("rowlock.tasks.housekeeping")


async def purge_outbox(app: web.Application, wake: Wake) -> None:
    """Remove delivered events from the log."""
    await _keep_purging(app, wake, queries.outbox.purge_delivered, app[SETTINGS].outbox_purge_s)


async def purge_answers(app: web.Application, wake: Wake) -> None:
    """Forget the answers to idempotency keys that have expired."""
    settings = app[SETTINGS]
    keep = timedelta(seconds=settings.idempotency_keep_s)
    purge = queries.idempotency.purge_answers
    await _keep_purging(app, wake, purge, settings.idempotency_purge_s, keep=keep)


async def purge_webhook_messages(app: web.Application, wake: Wake) -> None:
    """Forget signed webhook messages that their senders no longer repeat."""
    settings = app[SETTINGS]
    keep = timedelta(seconds=settings.webhook_keep_s)
    purge = queries.projects.purge_webhook_messages
    await _keep_purging(app, wake, purge, settings.webhook_purge_s, keep=keep)


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


async def _keep_purging(
    app: web.Application, wake: Wake, purge: Query, pause_s: float, **arguments: Any
) -> None:
    """Remove rows some at a time, with a pause once there are no more."""
    page_size = app[SETTINGS].housekeeping_rows
    removed = 0
    while True:
        async with app[DATABASE].connection() as connection:
            [row] = await purge(connection, page_size=page_size, **arguments)
        removed += row["purged"]
        if row["purged"] < page_size:
            if removed:
                logger.info("rows_purged", statement=purge.name, rows=removed)
            removed = 0
            await wake.wait(pause_s)


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
