"""Tidying up: the outbox, idempotency keys, webhook messages, events and their partitions."""

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


async def purge_strays(app: web.Application, wake: Wake) -> None:
    """Remove events past the retention that have no partition to go with."""
    settings = app[SETTINGS]
    purge, months = queries.events.purge_default, settings.events_retention_months
    await _keep_purging(app, wake, purge, settings.partitions_check_s, months=months)


async def purge_keys(app: web.Application, wake: Wake) -> None:
    """Forget the keys of events past the retention."""
    settings = app[SETTINGS]
    purge, months = queries.events.forget_keys, settings.events_retention_months
    await _keep_purging(app, wake, purge, settings.partitions_check_s, months=months)


async def keep_partitions(app: web.Application, wake: Wake) -> None:
    """Drop the partitions past the retention; make those within it, and some ahead.

    Somebody who reads for long, such as a dump, keeps partitions from coming and going. That can
    wait: events without a partition are stored, found and purged all the same.
    """
    settings = app[SETTINGS]
    retry_s = settings.partitions_retry_s
    while True:
        if await _renew_partitions(app):
            retry_s = settings.partitions_retry_s
            await wake.wait(settings.partitions_check_s)
            continue
        log = logger.info if retry_s < settings.partitions_check_s else logger.warning
        log("partitions_wait", retry_s=retry_s)
        await wake.wait(retry_s)
        retry_s = min(retry_s * 2, settings.partitions_check_s)


async def _renew_partitions(app: web.Application) -> bool:
    """Do what can be done now; tell whether that is all."""
    is_all = True
    for renew in (_drop_partitions, _make_partitions):
        try:
            await renew(app)
        except DatabaseBusy:
            is_all = False
    return is_all


async def _drop_partitions(app: web.Application) -> None:
    async with app[DATABASE].transaction() as connection:
        await queries.events.lock_log(connection)
        rows = await queries.events.drop_partitions(
            connection, months=app[SETTINGS].events_retention_months
        )
    for row in rows:
        logger.info("partition_dropped", partition=row["partition"])


async def _make_partitions(app: web.Application) -> None:
    settings = app[SETTINGS]
    async with app[DATABASE].connection() as connection:
        missing = await queries.events.find_missing_partitions(
            connection,
            months_behind=min(settings.events_months_behind, settings.events_retention_months),
            months_ahead=settings.events_months_ahead,
            most_rows=settings.events_moved_rows,
        )
    for month, too_many in missing:
        if too_many:  # they stay where they are, and are purged there
            logger.warning("partition_not_made", month=f"{month:%Y-%m}")
            continue
        async with app[DATABASE].transaction() as connection:
            # Writers wait: one that has chosen the default partition just now would be refused.
            await queries.events.lock_log(connection)
            await queries.events.ensure_partition(connection, month=month)


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
