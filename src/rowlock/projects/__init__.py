"""Projects and their deployments: the hosting panel.

A deployment moves forward by webhooks that prove to know its project's secret, or is cancelled by
the panel. The first one that is done brings its project live, and gives it a URL. All events have
the project as their subject, so that together they are its feed, in order.
"""

from rowlock.engine.database import Database
from rowlock.engine.lanes import Feature, Lane
from rowlock.errors import Rejection
from rowlock.projects.reads import (
    ListedProject,
    Page,
    Stats,
    find_deployments,
    find_projects,
    find_secrets,
    find_stats,
    list_deployments,
    list_projects,
)
from rowlock.projects.rules import CancelDeployment, Deployment, ReportStatus, StartDeployment
from rowlock.projects.transactions import move_deployments, start_deployments
from rowlock.settings.groups import BatchSettings


class Projects(Feature):
    """Projects and their deployments."""

    def __init__(self, database: Database, batches: BatchSettings) -> None:
        super().__init__(database, batches)
        self.find: Lane[int, ListedProject | None] = self._reads("find_project", find_projects)
        self.list_page: Lane[int, Page[ListedProject] | None] = self._reads(
            "list_projects", list_projects
        )
        self.find_deployment: Lane[int, Deployment | None] = self._reads(
            "find_deployment", find_deployments
        )
        self.list_deployments: Lane[int, Page[Deployment] | None] = self._reads(
            "list_deployments", list_deployments
        )
        self.find_secret: Lane[int, str | None] = self._reads("find_secret", find_secrets)
        self.find_stats: Lane[int, Stats | None] = self._reads("find_deployment_stats", find_stats)
        self.start: Lane[StartDeployment, Deployment | Rejection] = self._commits(
            "start_deployment", start_deployments
        )
        # Webhooks and cancellations meet at the same rows: one lane keeps their order.
        self.move: Lane[ReportStatus | CancelDeployment, Deployment | Rejection] = self._commits(
            "move_deployment", move_deployments
        )
