"""The hosting panel: projects and their deployments."""

# The bodies are what @call and @pages make of the signatures.
# mypy: disable-error-code="empty-body"

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Unpack

from rowlock.client.calls import Caller, Options
from rowlock.client.declared import Group, Pages, call, pages
from rowlock.client.keys import Keys
from rowlock.client.shapes import Header, Record


@dataclass(frozen=True, slots=True)
class Owner(Record):
    """The user whose project it is."""

    id: int
    email: str | None
    username: str


@dataclass(frozen=True, slots=True)
class Project(Record, camel=True):
    """A project of the hosting panel."""

    id: int
    name: str
    url: str | None
    created_at: datetime
    owner: Owner
    has_ongoing_deployment: bool
    has_pending_deployment: bool
    has_live_deployment: bool


@dataclass(frozen=True, slots=True)
class Deployment(Record, camel=True):
    """A deployment: pending, building, deploying, done, failed or cancelled."""

    id: int
    project_id: int
    status: str
    deployed_in: int | None  # seconds
    created_at: datetime
    branch: str | None = None
    commit: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Activity(Record, camel=True):
    """An event of a project."""

    id: int
    name: str
    payload: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DeploymentStats(Record, camel=True):
    """How often a user deploys."""

    user_id: int
    weeks: int
    deployments: int
    successful_deployments: int
    average_weekly_deployments: float
    average_weekly_successful_deployments: float


class ProjectCalls(Group):
    """Projects."""

    @pages("GET /projects")
    def list(self, *, page: int | None = None, **options: Unpack[Options]) -> Pages[Project]:
        """List projects, oldest first, from the first page on or another one."""

    @call("GET /projects/{project_id}")
    async def get(self, project_id: int, **options: Unpack[Options]) -> Project:
        """Get a project."""

    @call("POST /projects/{project_id}/deployment")
    async def deploy(
        self,
        project_id: int,
        *,
        branch: str | None = None,
        commit: str | None = None,
        **options: Unpack[Options],
    ) -> Deployment:
        """Start a deployment of a project."""

    @pages("GET /projects/{project_id}/activity")
    def activity(
        self, project_id: int, *, limit: int | None = None, **options: Unpack[Options]
    ) -> Pages[Activity]:
        """List a project's events, newest first."""


class DeploymentCalls(Group):
    """Deployments."""

    @pages("GET /deployments")
    def list(self, *, page: int | None = None, **options: Unpack[Options]) -> Pages[Deployment]:
        """List deployments, newest first."""

    @call("GET /deployments/{deployment_id}")
    async def get(self, deployment_id: int, **options: Unpack[Options]) -> Deployment:
        """Get a deployment."""

    @call("POST /deployments/{deployment_id}/cancel")
    async def cancel(self, deployment_id: int, **options: Unpack[Options]) -> Deployment:
        """Cancel an ongoing deployment."""

    @call("POST /deployment/webhook")
    async def report(
        self,
        *,
        id: int,  # noqa: A002  # as the contract calls it
        status: str,
        secret: Annotated[str, Header("Authorization")],
        **options: Unpack[Options],
    ) -> Deployment:
        """Report how the deployment `id` goes on, with its project's `secret`."""

    @call("GET /users/{user_id}/deployment-stats")
    async def stats(self, user_id: int, **options: Unpack[Options]) -> DeploymentStats:
        """Average a user's weekly deployments since the first one."""


class Projects(Caller):
    """The service of projects, on port 3000 unless said otherwise."""

    @cached_property
    def projects(self) -> ProjectCalls:
        """Projects."""
        return ProjectCalls(self)

    @cached_property
    def deployments(self) -> DeploymentCalls:
        """Deployments."""
        return DeploymentCalls(self)

    @cached_property
    def keys(self) -> Keys:
        """API keys."""
        return Keys(self)
