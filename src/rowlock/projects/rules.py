"""The life of a deployment: pending → building → deploying → done, and never back."""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from rowlock.origin import SYSTEM, Origin
from rowlock.rejections import (
    DeploymentMoveRefused,
    DeploymentNotFound,
    DeploymentNotOngoing,
    Rejection,
    WebhookIdConflict,
)

Shown = TypeVar("Shown")

NAME_LENGTH = 200
SECRET_LENGTH = 255
URL_LENGTH = 2000
# How a secret begins in Standard Webhooks; base64 follows.
SECRET_PREFIX = "whsec_"  # noqa: S105

PAGE_SIZE = 8  # of the panel's lists

STAGES = ("pending", "building", "deploying", "done")
ONGOING = frozenset(STAGES[:-1])
STATUSES = (*STAGES, "failed", "cancelled")
TIMED_OUT = "timed_out"
REVISION_LENGTH = 255  # of a branch's or a commit's name


KEY_BYTES = range(24, 65)  # as Standard Webhooks has it


def key_in(secret: str) -> bytes | None:
    """Return the key in the secret's base64; None if it is not one of a valid length."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:  # binascii.Error, or a character that is not ASCII
        return None
    return key if len(key) in KEY_BYTES else None


def secret_problem(secret: str) -> str | None:
    """Return what is wrong with a project's secret, or None."""
    if secret.startswith(SECRET_PREFIX) and key_in(secret) is None:
        return (
            f"Must be {SECRET_PREFIX} and the base64 of {KEY_BYTES[0]} to {KEY_BYTES[-1]} bytes, "
            "or a text without that prefix."
        )
    return None


class CreateProject(NamedTuple):
    """Create a project for the user."""

    name: str
    user_id: int
    app_secret: str
    url: str | None = None
    id: int | None = None  # None: the next free one
    created_at: datetime | None = None  # None: now


@dataclass(frozen=True, slots=True)
class StartDeployment:
    """Ask for a deployment of the project."""

    project_id: int
    origin: Origin = SYSTEM
    branch: str | None = None
    commit: str | None = None


class ReportStatus(NamedTuple):
    """Report the status of a deployment."""

    deployment_id: int
    status: str
    new_url: str  # for the project, if this is its first live deployment
    webhook_id: str | None = None  # of a signed message, which takes effect once
    origin: Origin = SYSTEM


class CancelDeployment(NamedTuple):
    """End an ongoing deployment."""

    deployment_id: int
    origin: Origin = SYSTEM


class WebhookSecrets(NamedTuple):
    """What webhooks about a deployment may prove themselves with, and whose secrets these are."""

    project_id: int
    texts: list[str]


class TimeOutDeployment(NamedTuple):
    """End a deployment without reports, if it is still in the status it was found in."""

    deployment_id: int
    status: str
    origin: Origin = SYSTEM


MoveCommand: TypeAlias = ReportStatus | CancelDeployment | TimeOutDeployment


class Deployment(NamedTuple):
    """A deployment, as it stood at some moment."""

    id: int
    project_id: int
    status: str
    deployed_in: int | None  # seconds
    created_at: datetime
    ended_at: datetime | None
    branch: str | None = None
    commit: str | None = None
    reason: str | None = None  # why it failed, if the service ended it


class Project(NamedTuple):
    """The project of a deployment, as far as a move needs to know it."""

    id: int
    name: str
    url: str | None
    user_id: int


class ListedProject(NamedTuple):
    """A project as the panel shows it."""

    id: int
    name: str
    url: str | None
    created_at: datetime
    owner_id: int
    email: str | None  # of the owner
    username: str  # of the owner
    is_ongoing: bool  # one of its deployments is
    is_live: bool


class Stats(NamedTuple):
    """A user's deployments since the ISO week of the first one."""

    user_id: int
    weeks: int
    deployments: int
    successful: int
    weekly: float
    weekly_successful: float


class PageKey(NamedTuple):
    """Which page of a list that grows at its top: as the list was when it had `top` items."""

    number: int
    top: int | None = None  # None: as it is


class Page(NamedTuple, Generic[Shown]):
    """A page of a list that is paged by number."""

    total: int  # items in the list
    items: list[Shown]


def has_reached_top(key: PageKey, page: Page[Shown]) -> bool:
    """Tell whether the list has as many items as when its first page was read."""
    return key.top is None or page.total >= key.top


class WebhookMessage(NamedTuple):
    """A signed webhook message that has been handled."""

    reported: str
    status: str  # of the deployment after it; the reported one, unless the report was refused


@dataclass(slots=True)
class Panel:
    """The locked state that a batch of moves is decided on, as it stands after each one."""

    now: datetime
    deployments: dict[int, Deployment]
    projects: dict[int, Project]
    live: set[int]  # projects that have had a deployment done
    messages: dict[tuple[int, str], WebhookMessage] = field(default_factory=dict)


class Move(NamedTuple):
    """A change of status that the rules allow."""

    deployment: Deployment  # as it stands after it
    previous: str  # status
    project: Project  # as it stands after it
    goes_live: bool  # it is its project's first deployment to be done
    assigns_url: bool


Outcome = Move | Deployment | Rejection  # a Deployment: it has that status already


def decide(command: MoveCommand, panel: Panel) -> Outcome:
    """Return the move and apply it to `panel`, or return why there is none."""
    deployment = panel.deployments.get(command.deployment_id)
    if deployment is None:
        return DeploymentNotFound.of(command.deployment_id)
    match command:
        case CancelDeployment():
            return _cancel(deployment, panel)
        case TimeOutDeployment():
            return _time_out(command, deployment, panel)
        case ReportStatus():
            return _take(command, deployment, panel)


def _take(command: ReportStatus, deployment: Deployment, panel: Panel) -> Outcome:
    if command.webhook_id is None:
        return _report(command, deployment, panel)
    key = command.deployment_id, command.webhook_id
    if key in panel.messages:
        return _repeat(command, panel.messages[key], deployment)
    outcome = _report(command, deployment, panel)
    status = panel.deployments[deployment.id].status
    panel.messages[key] = WebhookMessage(command.status, status)
    return outcome


def _time_out(command: TimeOutDeployment, deployment: Deployment, panel: Panel) -> Outcome:
    if deployment.status != command.status or deployment.status not in ONGOING:
        return DeploymentNotOngoing(
            f"Deployment {deployment.id} has moved meanwhile: it is {deployment.status}.",
            deployment_id=deployment.id,
            status=deployment.status,
        )
    return _move(deployment, "failed", panel, reason=TIMED_OUT)


def _cancel(deployment: Deployment, panel: Panel) -> Outcome:
    if deployment.status not in ONGOING:
        return DeploymentNotOngoing(
            f"Deployment {deployment.id} is {deployment.status}: only an ongoing one can be "
            "cancelled.",
            deployment_id=deployment.id,
            status=deployment.status,
        )
    return _move(deployment, "cancelled", panel)


def _report(command: ReportStatus, deployment: Deployment, panel: Panel) -> Outcome:
    if command.status == deployment.status:
        return deployment
    if command.status not in allowed_next(deployment.status):
        return _refusal(deployment, command.status)
    return _move(deployment, command.status, panel, command.new_url)


def _repeat(
    command: ReportStatus, message: WebhookMessage, deployment: Deployment
) -> Deployment | Rejection:
    """Return the outcome of the first message; its deployment may have moved on since.

    A message under its id that reports something else is no repetition.
    """
    if command.status != message.reported:
        return WebhookIdConflict(webhook_id=command.webhook_id, reported=message.reported)
    then = deployment._replace(
        status=message.status,
        deployed_in=deployment.deployed_in if message.status == "done" else None,
        reason=None,
    )
    return then if message.reported == message.status else _refusal(then, message.reported)


def allowed_next(status: str) -> Iterator[str]:
    """Yield the statuses that may follow `status`. Stages may be skipped."""
    if status in ONGOING:
        yield from STAGES[STAGES.index(status) + 1 :]
        yield from ("failed", "cancelled")


def _refusal(deployment: Deployment, reported: str) -> DeploymentMoveRefused:
    return DeploymentMoveRefused(
        f"Deployment {deployment.id} is {deployment.status} and can't become {reported}.",
        deployment_id=deployment.id,
        status=deployment.status,
        reported=reported,
    )


def _move(
    deployment: Deployment,
    status: str,
    panel: Panel,
    new_url: str | None = None,
    reason: str | None = None,
) -> Move:
    is_done = status == "done"
    # Not negative, should the database's clock have been set back since.
    age_s = max(0, int((panel.now - deployment.created_at).total_seconds()))
    moved = deployment._replace(
        status=status,
        deployed_in=age_s if is_done else None,
        ended_at=None if status in ONGOING else panel.now,
        reason=reason,
    )
    panel.deployments[moved.id] = moved
    project = panel.projects[moved.project_id]
    goes_live = is_done and project.id not in panel.live
    if goes_live:
        panel.live.add(project.id)
    assigns_url = is_done and project.url is None
    if assigns_url:
        project = panel.projects[project.id] = project._replace(url=new_url)
    return Move(moved, deployment.status, project, goes_live, assigns_url)


def places(pages: Iterable[int]) -> list[int]:
    """Return the places, counted from 1, of all items on these pages of a list."""
    return [
        place for page in pages for place in range((page - 1) * PAGE_SIZE + 1, page * PAGE_SIZE + 1)
    ]


def page_of(place: int) -> int:
    """Return the number of the page that the item at `place` is on."""
    return (place - 1) // PAGE_SIZE + 1


def pages_beside(page: int, total: int) -> dict[str, int]:
    """Return the pages to link to from `page` of a list of `total` items, by relation.

    Only pages that exist: an empty list has none.
    """
    last = page_of(total)  # 0 for none
    pages = {"first": 1, "previous": min(page - 1, last), "next": page + 1, "last": last}
    return {relation: number for relation, number in pages.items() if 1 <= number <= last}
