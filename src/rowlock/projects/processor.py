"""Ending deployments that nothing reports on."""

import asyncio

import structlog

from rowlock.engine.tasks import Task
from rowlock.errors import DatabaseBusy
from rowlock.projects import Projects

PAGE_DEPLOYMENTS = 500

logger = structlog.get_logger(__name__)


def time_out_deployments(projects: Projects) -> Task:
    """Return the task that ends them.

    Every process looks for them: each move is decided on a locked row, and the second of two is
    none. A look reads a few entries of an index, and to renew a lease would cost more.
    """

    async def sweep() -> None:
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

    return Task("deployment_timeout", sweep)
