"""How long deliveries are kept."""

from rowlock.engine.retention import purging
from rowlock.engine.tasks import Task
from rowlock.settings.groups import TaskSettings
from rowlock.subscriptions import Subscriptions


def purge_failed(subscriptions: Subscriptions, tasks: TaskSettings) -> Task:
    """Return the task that removes the deliveries that failed long ago."""
    pause_s = subscriptions.settings.deliveries_purge_s
    return purging(
        "failed_deliveries_purge", subscriptions.purge_failed, pause_s=pause_s, settings=tasks
    )


def purge_delivered(subscriptions: Subscriptions, tasks: TaskSettings) -> Task:
    """Return the task that removes the deliveries that succeeded, but for the last ones."""
    pause_s = subscriptions.settings.deliveries_purge_s
    return purging(
        "deliveries_purge", subscriptions.purge_delivered, pause_s=pause_s, settings=tasks
    )
