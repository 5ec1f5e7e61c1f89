"""Ending deployments that nothing reports on."""

import asyncio
import random

import structlog

from rowlock.engine.tasks import Task
from rowlock.errors import DatabaseBusy
from rowlock.projects import Projects
from rowlock.projects.rules import Deployment

PAGE_DEPLOYMENTS = 500

logger = structlog.get_logger(__name__)


def time_out_deployments(projects: Projects) -> Task:
    """Return the task that ends them.

    Every process looks for them, and the first one to lock a deployment's row ends it. A look reads
    a few entries of an index; to renew a lease would cost more.
    """

    async def sweep() -> None:
        while True:
            silent = await projects.find_silent(PAGE_DEPLOYMENTS)
            outcomes = await asyncio.gather(
                *map(projects.move.submit, silent),
                return_exceptions=True,  # one whose row is locked must not stop the others
            )
            failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            ended = sum(isinstance(outcome, Deployment) for outcome in outcomes)
            if ended:
                logger.info("deployments_timed_out", deployments=ended)
            for failure in failures:
                if not isinstance(failure, DatabaseBusy):
                    raise failure
            if failures:  # another transaction has their rows: they are found again
                logger.warning("deployments_locked", deployments=len(failures))
            if len(silent) < PAGE_DEPLOYMENTS or not ended:
                # Processes that have started together do not look at the same time.
                pause_s = projects.settings.deployment_sweep_s * random.uniform(0.5, 1)  # noqa: S311
                await asyncio.sleep(pause_s)

    return Task("deployment_timeout", sweep)
