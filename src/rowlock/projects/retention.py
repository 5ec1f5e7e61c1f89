"""Removing signed webhook messages that their senders no longer repeat."""

from rowlock.engine.retention import purging
from rowlock.engine.tasks import Task
from rowlock.projects import Projects
from rowlock.settings.groups import TaskSettings


def purge_webhook_messages(projects: Projects, tasks: TaskSettings) -> Task:
    """Return the task that removes them."""
    return purging(
        "webhook_purge",
        projects.purge_webhook_messages,
        pause_s=projects.settings.webhook_purge_s,
        settings=tasks,
    )
