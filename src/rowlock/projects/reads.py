"""Reading projects and deployments: one function per lane."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from rowlock.engine.database import Connection
from rowlock.engine.statements import queries
from rowlock.projects.rules import (
    Deployment,
    ListedProject,
    Page,
    PageKey,
    Stats,
    WebhookSecrets,
    page_of,
    places,
)

if TYPE_CHECKING:
    from rowlock.engine.typed.projects import FindDeploymentsRow, FindProjectsRow


async def find_projects(connection: Connection, ids: Sequence[int]) -> dict[int, ListedProject]:
    """Return those of the projects that exist, by id."""
    rows = await queries.projects.find_projects(connection, project_ids=ids)
    return {row["id"]: read_project(row) for row in rows}


async def list_projects(
    connection: Connection, numbers: Sequence[int]
) -> dict[int, Page[ListedProject]]:
    """Return the pages of the list of projects with these numbers."""
    pages: dict[int, Page[ListedProject]] = {}
    for row in await queries.projects.list_projects(connection, places=places(numbers)):
        page = pages.setdefault(page_of(row["place"]), Page(row["total"], []))
        if row["id"] is not None:  # else the place is past the end, and all of it is null
            page.items.append(read_project(cast("FindProjectsRow", row)))
    return pages


async def find_deployments(connection: Connection, ids: Sequence[int]) -> dict[int, Deployment]:
    """Return those of the deployments that exist, by id."""
    rows = await queries.projects.find_deployments(connection, deployment_ids=ids)
    return {row["id"]: read_deployment(row) for row in rows}


async def list_deployments(
    connection: Connection, keys: Sequence[PageKey]
) -> dict[PageKey, Page[Deployment]]:
    """Return these pages of the list of deployments."""
    wanted = [(key, place) for key in keys for place in places([key.number])]
    rows = await queries.projects.list_deployments(
        connection,
        places=[place for _, place in wanted],
        tops=[key.top for key, _ in wanted],
    )
    pages: dict[PageKey, Page[Deployment]] = {}
    for (key, _), row in zip(wanted, rows, strict=True):
        page = pages.setdefault(key, Page(row["total"], []))
        if row["id"] is not None:
            page.items.append(read_deployment(cast("FindDeploymentsRow", row)))
    return pages


async def find_secrets(
    connection: Connection, deployment_ids: Sequence[int]
) -> dict[int, WebhookSecrets]:
    """Return the valid secrets for webhooks about the deployments, by deployment id."""
    rows = await queries.projects.find_webhook_secrets(connection, deployment_ids=deployment_ids)
    return {
        row["deployment_id"]: WebhookSecrets(
            row["project_id"],
            [
                secret
                for secret in (row["app_secret"], row["previous_secret"])
                if secret is not None
            ],
        )
        for row in rows
    }


async def find_stats(connection: Connection, user_ids: Sequence[int]) -> dict[int, Stats]:
    """Return the statistics of those of the users that exist, by user id."""
    rows = await queries.projects.find_deployment_stats(
        connection, user_ids=user_ids, as_of=datetime.now(UTC)
    )
    return {
        row["user_id"]: Stats(
            row["user_id"],
            row["weeks"],
            row["deployments"],
            row["successful"],
            row["weekly"],
            row["weekly_successful"],
        )
        for row in rows
    }


def read_project(row: "FindProjectsRow") -> ListedProject:
    """Return a row of a project as one."""
    return ListedProject(
        row["id"],
        row["name"],
        row["url"],
        row["created_at"],
        row["owner_id"],
        row["email"],
        row["username"],
        row["is_ongoing"],
        row["is_live"],
    )


def read_deployment(row: "FindDeploymentsRow") -> Deployment:
    """Return a row of a deployment as one."""
    return Deployment(
        row["id"],
        row["project_id"],
        row["status"],
        row["deployed_in"],
        row["created_at"],
        row["ended_at"],
        row["branch"],
        row["commit"],
        row["reason"],
    )
