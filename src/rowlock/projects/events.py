"""The events of projects and their deployments: what each one says."""

from datetime import UTC, datetime
from typing import Annotated, Any, NotRequired, TypedDict

from rowlock.engine.event_types import EventType, an_id, fact
from rowlock.projects.rules import STATUSES


class OfProject(TypedDict):
    """What each event says of its project."""

    project_id: Annotated[int, an_id("The project's id.")]
    project_name: Annotated[str, fact("What the project is called.")]
    user_id: Annotated[int, an_id("The user whose project it is.")]
    url: Annotated[str | None, fact("Where the project is served; null before it first is.")]


class ProjectCreated(OfProject):
    """What `project.created` says."""

    project_created_at: Annotated[datetime, fact("When the project was created.")]


class UrlAssigned(OfProject):
    """What `project.url_assigned` says."""

    deployment_id: Annotated[int, an_id("The project's first deployment that has gone live.")]


class OfDeployment(OfProject):
    """What each event of a deployment says."""

    deployment_id: Annotated[int, an_id("The deployment's id.")]
    status: Annotated[str, fact("The deployment's status.", enum=STATUSES)]
    deployment_created_at: Annotated[datetime, fact("When the deployment was asked for.")]
    ended_at: Annotated[datetime | None, fact("When it ended; null while it goes on.")]
    deployed_in: Annotated[
        int | None, fact("Seconds from its creation to done; null unless it is.", minimum=0)
    ]
    branch: NotRequired[Annotated[str, fact("The branch that is deployed, if it is known.")]]
    commit: NotRequired[Annotated[str, fact("The commit that is deployed, if it is known.")]]
    reason: NotRequired[
        Annotated[str, fact("Why it failed, if the service has ended it: timed_out.")]
    ]


class DeploymentMoved(OfDeployment):
    """What the event of a deployment's new status says."""

    previous_status: Annotated[str, fact("Its status before.", enum=STATUSES)]
    first_live: Annotated[bool, fact("Whether it is the project's first that has gone live.")]


CREATED_AT = datetime(2026, 11, 21, 9, 30, 0, 250_000, tzinfo=UTC)
ENDED_AT = datetime(2026, 11, 21, 9, 31, 12, tzinfo=UTC)
SUBJECT = "project:{project_id}"


def _moved(status: str, previous: str, description: str) -> EventType[DeploymentMoved]:
    """Return the type of the event of a deployment that has got this status."""
    is_done = status == "done"
    return EventType(
        f"deployment.{status}",
        DeploymentMoved,
        description,
        subject=SUBJECT,
        example={
            "project_id": 3,
            "project_name": "Analytical Engine",
            "user_id": 1,
            "url": "https://9f86d081884c7d65.rowlock.example" if is_done else None,
            "deployment_id": 6,
            "status": status,
            "deployment_created_at": CREATED_AT,
            "ended_at": ENDED_AT if status in {"done", "failed", "cancelled"} else None,
            "deployed_in": 72 if is_done else None,
            "branch": "main",
            "previous_status": previous,
            "first_live": is_done,
        },
    )


PROJECT_CREATED = EventType(
    "project.created",
    ProjectCreated,
    "A project was created.",
    subject=SUBJECT,
    example={
        "project_id": 3,
        "project_name": "Analytical Engine",
        "user_id": 1,
        "url": None,
        "project_created_at": CREATED_AT,
    },
)
PROJECT_SECRET_ROTATED = EventType(
    "project.secret_rotated",
    OfProject,
    "The secret of a project's webhooks was replaced. The event does not have it.",
    subject=SUBJECT,
    example={
        "project_id": 3,
        "project_name": "Analytical Engine",
        "user_id": 1,
        "url": None,
    },
)
PROJECT_URL_ASSIGNED = EventType(
    "project.url_assigned",
    UrlAssigned,
    "A project has got its address, with its first deployment that has gone live.",
    subject=SUBJECT,
    example={
        "project_id": 3,
        "project_name": "Analytical Engine",
        "user_id": 1,
        "url": "https://9f86d081884c7d65.rowlock.example",
        "deployment_id": 6,
    },
)
DEPLOYMENT_CREATED = EventType(
    "deployment.created",
    OfDeployment,
    "A deployment was asked for.",
    subject=SUBJECT,
    example={
        "project_id": 3,
        "project_name": "Analytical Engine",
        "user_id": 1,
        "url": None,
        "deployment_id": 6,
        "status": "pending",
        "deployment_created_at": CREATED_AT,
        "ended_at": None,
        "deployed_in": None,
        "branch": "main",
        "commit": "5f3c1e9",
    },
)
# By the status that a deployment has got.
DEPLOYMENT_MOVED: dict[str, EventType[DeploymentMoved]] = {
    "building": _moved("building", "pending", "A deployment is being built."),
    "deploying": _moved("deploying", "building", "A deployment is being brought out."),
    "done": _moved("done", "deploying", "A deployment has gone live."),
    "failed": _moved("failed", "building", "A deployment has failed, or has fallen silent."),
    "cancelled": _moved("cancelled", "pending", "A client has cancelled a deployment."),
}
EVENTS: tuple[EventType[Any], ...] = (
    PROJECT_CREATED,
    PROJECT_SECRET_ROTATED,
    PROJECT_URL_ASSIGNED,
    DEPLOYMENT_CREATED,
    *DEPLOYMENT_MOVED.values(),
)
