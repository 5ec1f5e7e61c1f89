"""Ending deployments that nothing reports on: one process at a time does, by a lease."""

import asyncio
from functools import partial

import structlog

from rowlock.engine.leases import lead
from rowlock.engine.tasks import Task
from rowlock.errors import DatabaseBusy
from rowlock.projects import Projects
from rowlock.settings.groups import LeaseSettings

LEASE = "deployments"
PAGE_DEPLOYMENTS = 500

logger = structlog.get_logger(__name__)


def time_out_deployments(projects: Projects, leases: LeaseSettings) -> Task:
    """Return the task that ends them."""

    async def sweep(_: int) -> None:
        # The moves are not conditional on the lease's epoch: each is decided on a locked row, and
        # the second of two is none.
        while True:
            silent = await projects.find_silent(PAGE_DEPLOYMENTS)
            outcomes = await asyncio.gather(
                *map(projects.move.submit, silent),
                return_exceptions=True,  # one whose row is locked must not stop the others
            )
            failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            ended = len(silent) - len(failures)
            if ended:
                logger.info("deployments_timed_out", deployments=ended)
            for failure in failures:
                if not isinstance(failure, DatabaseBusy):
                    raise failure
            if failures:  # another transaction has their rows: they are found again
                logger.warning("deployments_locked", deployments=len(failures))
            if len(silent) < PAGE_DEPLOYMENTS or not ended:
                await asyncio.sleep(projects.settings.deployment_sweep_s)

    return Task("deployment_timeout", partial(lead, LEASE, projects.database, sweep, leases))
