"""Projects and their deployments: the hosting panel.

A webhook with the project's secret moves a deployment forward; the panel can cancel it. A
deployment without reports fails. The first deployment that is done makes its project live, and
gives it a URL. All events have the project as their subject: together they are its feed, in order.
"""

from datetime import timedelta

from rowlock.engine.aside import LockingLane
from rowlock.engine.database import Database
from rowlock.engine.lanes import Feature, Lane, WriteLane
from rowlock.engine.lists import ListLane
from rowlock.engine.statements import queries
from rowlock.projects.reads import (
    find_deployments,
    find_projects,
    find_secrets,
    find_stats,
    list_deployments,
    list_projects,
)
from rowlock.projects.rules import (
    Deployment,
    ListedProject,
    MoveCommand,
    Page,
    PageKey,
    StartDeployment,
    Stats,
    TimeOutDeployment,
    WebhookSecrets,
    has_reached_top,
)
from rowlock.projects.transactions import move_deployments, start_deployments
from rowlock.rejections import Rejection
from rowlock.settings.features import ProjectSettings
from rowlock.settings.groups import BatchSettings


class Projects(Feature):
    """Projects and their deployments."""

    def __init__(
        self, database: Database, batches: BatchSettings, settings: ProjectSettings
    ) -> None:
        super().__init__(database, batches)
        self.settings = settings
        self.find: Lane[int, ListedProject | None] = self._reads("find_project", find_projects)
        self.list_page: Lane[int, Page[ListedProject] | None] = self._add(
            ListLane("list_projects", database, list_projects, batches)
        )
        self.find_deployment: Lane[int, Deployment | None] = self._reads(
            "find_deployment", find_deployments
        )
        self.list_deployments: Lane[PageKey, Page[Deployment] | None] = self._add(
            ListLane("list_deployments", database, list_deployments, batches, has_reached_top)
        )
        self.find_secrets: Lane[int, WebhookSecrets | None] = self._reads(
            "find_secrets", find_secrets
        )
        self.find_stats: Lane[int, Stats | None] = self._add(
            ListLane("find_deployment_stats", database, find_stats, batches)
        )
        self.start: WriteLane[StartDeployment, Deployment | Rejection] = self._commits(
            "start_deployment", start_deployments
        )
        # Webhooks and cancellations meet at the same rows: one lane keeps their order.
        self.move: WriteLane[MoveCommand, Deployment | Rejection] = self._add(
            LockingLane("move_deployment", database, move_deployments, batches)
        )

    async def find_silent(self, page_size: int) -> list[TimeOutDeployment]:
        """Return the deployments to end: without a report for `deployment_limit_s`.

        At most `page_size`, those first that were silent for longest.
        """
        silence = timedelta(seconds=self.settings.silence_s)
        async with self.database.connection() as connection:
            rows = await queries.projects.find_silent_deployments(
                connection, silence=silence, page_size=page_size
            )
        return [TimeOutDeployment(row["id"], row["status"]) for row in rows]

    async def purge_webhook_messages(self, page_size: int) -> int:
        """Remove at most `page_size` signed messages past their time; return how many it removed.

        A message that is repeated after that is taken for a new one.
        """
        keep = timedelta(seconds=self.settings.webhook_keep_s)
        async with self.database.transaction() as connection:
            [row] = await queries.projects.purge_webhook_messages(
                connection, keep=keep, page_size=page_size
            )
        return row["purged"]
