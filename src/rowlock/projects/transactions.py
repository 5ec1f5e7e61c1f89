"""Lock, decide, write: projects and deployments.

All their events have the project as their subject, so that together they are its feed, in order.
"""

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rowlock.engine import outbox
from rowlock.engine.database import Connection
from rowlock.engine.locks import Aside, Lockable, Locks
from rowlock.engine.outbox import Event
from rowlock.engine.statements import queries
from rowlock.origin import CLI, Origin
from rowlock.projects.events import (
    DEPLOYMENT_CREATED,
    DEPLOYMENT_MOVED,
    PROJECT_CREATED,
    PROJECT_SECRET_ROTATED,
    PROJECT_URL_ASSIGNED,
    DeploymentMoved,
    OfDeployment,
    OfProject,
    UrlAssigned,
)
from rowlock.projects.reads import read_deployment
from rowlock.projects.rules import (
    SECRET_PREFIX,
    CreateProject,
    Deployment,
    Move,
    MoveCommand,
    Panel,
    Project,
    ReportStatus,
    StartDeployment,
    WebhookMessage,
    decide,
)
from rowlock.rejections import ProjectNotFound, Rejection

if TYPE_CHECKING:
    from rowlock.engine.typed.projects import (
        FindProjectOwnersRow,
        LockDeploymentsRow,
        LockProjectsRow,
    )


def new_secret() -> str:
    """Return a random secret for a project's webhooks."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


async def create_projects(connection: Connection, commands: Sequence[CreateProject]) -> list[int]:
    """Create projects of users that exist; return their ids."""
    await queries.projects.lock_project_positions(connection)
    rows = await queries.projects.create_projects(
        connection,
        ids=[command.id for command in commands],
        names=[command.name for command in commands],
        urls=[command.url for command in commands],
        user_ids=[command.user_id for command in commands],
        app_secrets=[command.app_secret for command in commands],
        created_ats=[command.created_at for command in commands],
    )
    await outbox.append(
        connection,
        [
            PROJECT_CREATED.event(
                {
                    "project_id": row["id"],
                    "project_name": command.name,
                    "user_id": command.user_id,
                    "url": command.url,
                    "project_created_at": row["created_at"],
                },
                CLI,
            )
            for row, command in zip(rows, commands, strict=True)
        ],
    )
    return [row["id"] for row in rows]


async def rotate_secret(
    connection: Connection, project_id: int, app_secret: str, overlap: timedelta
) -> None:
    """Replace the project's secret; the old one is valid for `overlap` more.

    Raises ProjectNotFound.
    """
    rows = await queries.projects.lock_projects(connection, project_ids=[project_id])
    if not rows:
        raise ProjectNotFound.of(project_id)
    await queries.projects.rotate_secrets(
        connection, project_ids=[project_id], app_secrets=[app_secret], overlap=overlap
    )
    payload = _describe(_read_project(rows[0]))
    await outbox.append(connection, [PROJECT_SECRET_ROTATED.event(payload, CLI)])


async def start_deployments(
    connection: Connection, commands: Sequence[StartDeployment]
) -> list[Deployment | Rejection]:
    """Return the deployment that each command started, or why it started none."""
    # Not locked: projects are never deleted, and a new deployment changes none of them.
    rows = await queries.projects.find_project_owners(
        connection, project_ids=list({command.project_id for command in commands})
    )
    projects = {row["id"]: _read_project(row) for row in rows}
    wanted = [command for command in commands if command.project_id in projects]
    started = iter(await _start(connection, wanted, projects) if wanted else ())
    return [
        next(started) if command.project_id in projects else ProjectNotFound.of(command.project_id)
        for command in commands
    ]


async def _start(
    connection: Connection, commands: Sequence[StartDeployment], projects: Mapping[int, Project]
) -> list[Deployment]:
    await queries.projects.lock_deployment_positions(connection)
    rows = await queries.projects.create_deployments(
        connection,
        project_ids=[command.project_id for command in commands],
        branches=[command.branch for command in commands],
        commits=[command.commit for command in commands],
    )
    started = [
        Deployment(
            row["id"],
            command.project_id,
            status="pending",
            deployed_in=None,
            created_at=row["created_at"],
            ended_at=None,
            branch=command.branch,
            commit=command.commit,
        )
        for row, command in zip(rows, commands, strict=True)
    ]
    await outbox.append(
        connection,
        [
            describe_start(projects[command.project_id], deployment, command.origin)
            for command, deployment in zip(commands, started, strict=True)
        ],
    )
    return started


async def _find_deployments(connection: Connection, deployment_ids: list[int]) -> list[int]:
    rows = await queries.projects.find_deployments(connection, deployment_ids=deployment_ids)
    return [row["id"] for row in rows]


async def _find_projects(connection: Connection, project_ids: list[int]) -> list[int]:
    rows = await queries.projects.find_project_owners(connection, project_ids=project_ids)
    return [row["id"] for row in rows]


DEPLOYMENTS: "Lockable[LockDeploymentsRow]" = Lockable(
    wait=lambda connection, ids: queries.projects.lock_deployments(connection, deployment_ids=ids),
    take_free=lambda connection, ids: queries.projects.lock_free_deployments(
        connection, deployment_ids=ids
    ),
    find=_find_deployments,
    id_of=lambda row: row["id"],
)
PROJECTS: "Lockable[LockProjectsRow]" = Lockable(
    wait=lambda connection, ids: queries.projects.lock_projects(connection, project_ids=ids),
    take_free=lambda connection, ids: queries.projects.lock_free_projects(
        connection, project_ids=ids
    ),
    find=_find_projects,
    id_of=lambda row: row["id"],
)


async def move_deployments(
    connection: Connection, commands: Sequence[MoveCommand], locks: Locks | None = None
) -> list[Deployment | Rejection | Aside]:
    """Return the deployment of each command as the command left it, or why it was refused."""
    locks = locks or Locks()
    panel = await _lock(connection, commands, locks)
    known = set(panel.messages)

    def decide_one(command: MoveCommand) -> Move | Deployment | Rejection | Aside:
        deployment = panel.deployments.get(command.deployment_id)
        if deployment is None:
            left = locks.left(DEPLOYMENTS, command.deployment_id)
        else:
            left = locks.left(PROJECTS, deployment.project_id)
        return left or decide(command, panel)

    outcomes = [decide_one(command) for command in commands]
    moves = [outcome for outcome in outcomes if isinstance(outcome, Move)]
    if moves:
        await write_moves(connection, moves, panel)
    events = [
        event
        for command, outcome in zip(commands, outcomes, strict=True)
        if isinstance(outcome, Move)
        for event in describe_move(outcome, command.origin)
    ]
    await outbox.append(connection, events)
    await _remember(
        connection, {key: panel.messages[key] for key in panel.messages if key not in known}
    )
    return [outcome.deployment if isinstance(outcome, Move) else outcome for outcome in outcomes]


async def _lock(connection: Connection, commands: Sequence[MoveCommand], locks: Locks) -> Panel:
    rows = await locks.take(
        connection, DEPLOYMENTS, {command.deployment_id for command in commands}
    )
    deployments = [read_deployment(row) for row in rows]
    projects = await locks.take(
        connection, PROJECTS, {deployment.project_id for deployment in deployments}
    )
    panel = Panel(
        now=projects[0]["now"] if projects else datetime.now(UTC),
        deployments={deployment.id: deployment for deployment in deployments},
        projects={row["id"]: _read_project(row) for row in projects},
        live=set(),
    )
    if any(isinstance(command, ReportStatus) and command.status == "done" for command in commands):
        # Not by the statement that locks: after a wait for a lock, it still reads other tables as
        # they were before.
        live = await queries.projects.find_live_projects(
            connection, project_ids=list(panel.projects)
        )
        panel.live = {row["project_id"] for row in live}
    signed = {
        (command.deployment_id, command.webhook_id)
        for command in commands
        if isinstance(command, ReportStatus) and command.webhook_id is not None
    }
    if signed:
        messages = await queries.projects.find_webhook_messages(
            connection,
            deployment_ids=[deployment_id for deployment_id, _ in signed],
            webhook_ids=[webhook_id for _, webhook_id in signed],
        )
        panel.messages = {
            (row["deployment_id"], row["webhook_id"]): WebhookMessage(
                row["reported"], row["status"]
            )
            for row in messages
        }
    return panel


async def write_moves(connection: Connection, moves: Sequence[Move], panel: Panel) -> None:
    """Write the last state of the deployments that moved, and the URLs assigned."""
    first_lives = {move.deployment.id for move in moves if move.goes_live}
    moved = [panel.deployments[id_] for id_ in {move.deployment.id for move in moves}]
    await queries.projects.move_deployments(
        connection,
        deployment_ids=[deployment.id for deployment in moved],
        statuses=[deployment.status for deployment in moved],
        deployed_ins=[deployment.deployed_in for deployment in moved],
        ended_ats=[deployment.ended_at for deployment in moved],
        first_lives=[deployment.id in first_lives for deployment in moved],
        reasons=[deployment.reason for deployment in moved],
    )
    urls = {
        move.project.id: move.project.url
        for move in moves
        if move.assigns_url and move.project.url is not None
    }
    if urls:
        await queries.projects.assign_urls(connection, project_ids=[*urls], urls=[*urls.values()])


async def _remember(
    connection: Connection, messages: dict[tuple[int, str], WebhookMessage]
) -> None:
    if messages:
        await queries.projects.remember_webhook_messages(
            connection,
            deployment_ids=[deployment_id for deployment_id, _ in messages],
            webhook_ids=[webhook_id for _, webhook_id in messages],
            reported=[message.reported for message in messages.values()],
            statuses=[message.status for message in messages.values()],
        )


def describe_start(project: Project, deployment: Deployment, origin: Origin) -> Event:
    """Return the event of a new deployment."""
    return DEPLOYMENT_CREATED.event(_describe_deployment(project, deployment), origin)


def describe_move(move: Move, origin: Origin) -> list[Event]:
    """Return the events of a move."""
    deployment, previous, project, goes_live, assigns_url = move
    moved: DeploymentMoved = {
        **_describe_deployment(project, deployment),
        "previous_status": previous,
        "first_live": goes_live,
    }
    events = [DEPLOYMENT_MOVED[deployment.status].event(moved, origin)]
    if assigns_url:
        assigned: UrlAssigned = {**_describe(project), "deployment_id": deployment.id}
        events.append(PROJECT_URL_ASSIGNED.event(assigned, origin))
    return events


def _describe(project: Project) -> OfProject:
    return {
        "project_id": project.id,
        "project_name": project.name,
        "user_id": project.user_id,
        "url": project.url,
    }


def _describe_deployment(project: Project, deployment: Deployment) -> OfDeployment:
    payload: OfDeployment = {
        "project_id": project.id,
        "project_name": project.name,
        "user_id": project.user_id,
        "url": project.url,
        "deployment_id": deployment.id,
        "status": deployment.status,
        "deployment_created_at": deployment.created_at,
        "ended_at": deployment.ended_at,
        "deployed_in": deployment.deployed_in,
    }
    if deployment.branch is not None:
        payload["branch"] = deployment.branch
    if deployment.commit is not None:
        payload["commit"] = deployment.commit
    if deployment.reason is not None:
        payload["reason"] = deployment.reason
    return payload


def _read_project(row: "FindProjectOwnersRow") -> Project:
    return Project(row["id"], row["name"], row["url"], row["user_id"])
