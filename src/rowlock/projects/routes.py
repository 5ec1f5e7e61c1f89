"""HTTP ↔ command: projects, deployments and their webhook. Fields are in camelCase."""

import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import marshmallow
from aiohttp import web
from marshmallow import fields, validate

from rowlock.batching import Lane, group_commit, group_read
from rowlock.database import Connection, Database
from rowlock.exceptions import (
    DeploymentMoveRefused,
    DeploymentNotFound,
    DeploymentNotOngoing,
    EventsUnavailable,
    ProjectNotFound,
    Rejection,
    Unauthorized,
    UserNotFound,
)
from rowlock.projects import commands, feed, signatures
from rowlock.projects.rules import (
    STATUSES,
    CancelDeployment,
    Deployment,
    ReportStatus,
    StartDeployment,
)
from rowlock.queries import queries
from rowlock.settings import Settings
from rowlock.web.bodies import (
    NOTHING,
    Integer,
    QueryInteger,
    Text,
    path_id,
    read_body,
    read_nothing,
    read_query,
)
from rowlock.web.boundary import REQUEST_ID_KEY
from rowlock.web.commit import commit
from rowlock.web.docs import (
    array,
    choice,
    created,
    describe,
    flag,
    instant,
    integer,
    nullable,
    number,
    record,
    text,
)
from rowlock.web.pages import (
    OPAQUE,
    PAGE_SIZE,
    PAGE_SIZE_LIMIT,
    NumberQuery,
    link_next,
    number_links,
    page_of,
    places,
)
from rowlock.web.replies import reply
from rowlock.web.service import HTTP, SETTINGS, State

ROUTES = web.RouteTableDef()

WEBHOOK_PATH = "/deployment/webhook"
CURSOR_LENGTH = 500

# Stands in for the secret of a deployment that there is not, so that it takes as long to refuse.
NO_SECRET = secrets.token_hex(32)


class Page(NamedTuple):
    """A page of a list that is paged by number."""

    total: int  # items in the list
    rows: list[Any]


FIND_PROJECT: web.AppKey[Lane[int, Any]] = web.AppKey("find_project")
LIST_PROJECTS: web.AppKey[Lane[int, Page]] = web.AppKey("list_projects")
FIND_DEPLOYMENT: web.AppKey[Lane[int, Deployment | None]] = web.AppKey("find_deployment")
LIST_DEPLOYMENTS: web.AppKey[Lane[int, Page]] = web.AppKey("list_deployments")
FIND_SECRET: web.AppKey[Lane[int, str | None]] = web.AppKey("find_secret")
FIND_STATS: web.AppKey[Lane[int, Any]] = web.AppKey("find_deployment_stats")
START_DEPLOYMENT: web.AppKey[Lane[StartDeployment, Deployment | Rejection]] = web.AppKey(
    "start_deployment"
)
MOVE_DEPLOYMENT: web.AppKey[Lane[ReportStatus | CancelDeployment, Deployment | Rejection]] = (
    web.AppKey("move_deployment")
)


def state(database: Database, settings: Settings) -> State:
    """Return what this feature keeps."""
    return {
        FIND_PROJECT: group_read("find_project", database, _find_projects, settings),
        LIST_PROJECTS: group_read("list_projects", database, _list_projects, settings),
        FIND_DEPLOYMENT: group_read("find_deployment", database, _find_deployments, settings),
        LIST_DEPLOYMENTS: group_read("list_deployments", database, _list_deployments, settings),
        FIND_SECRET: group_read("find_secret", database, _find_secrets, settings),
        FIND_STATS: group_read("find_deployment_stats", database, _find_stats, settings),
        START_DEPLOYMENT: group_commit(
            "start_deployment", database, commands.start_deployments, settings
        ),
        # Webhooks and cancellations meet at the same rows: one lane keeps their order.
        MOVE_DEPLOYMENT: group_commit(
            "move_deployment", database, commands.move_deployments, settings
        ),
    }


async def _find_projects(connection: Connection, ids: Sequence[int]) -> dict[int, Any]:
    rows = await queries.projects.find_projects(connection, project_ids=ids)
    return {row["id"]: row for row in rows}


async def _list_projects(connection: Connection, numbers: Sequence[int]) -> dict[int, Page]:
    return _pages(await queries.projects.list_projects(connection, places=places(numbers)))


async def _find_deployments(connection: Connection, ids: Sequence[int]) -> dict[int, Deployment]:
    rows = await queries.projects.find_deployments(connection, deployment_ids=ids)
    return {row["id"]: Deployment(*row) for row in rows}


async def _list_deployments(connection: Connection, numbers: Sequence[int]) -> dict[int, Page]:
    return _pages(await queries.projects.list_deployments(connection, places=places(numbers)))


async def _find_secrets(connection: Connection, deployment_ids: Sequence[int]) -> dict[int, str]:
    rows = await queries.projects.find_webhook_secrets(connection, deployment_ids=deployment_ids)
    return {row["deployment_id"]: row["app_secret"] for row in rows}


async def _find_stats(connection: Connection, user_ids: Sequence[int]) -> dict[int, Any]:
    rows = await queries.projects.find_deployment_stats(
        connection, user_ids=user_ids, as_of=datetime.now(UTC)
    )
    return {row["user_id"]: row for row in rows}


def _pages(rows: Sequence[Any]) -> dict[int, Page]:
    pages: dict[int, Page] = {}
    for row in rows:
        page = pages.setdefault(page_of(row["place"]), Page(row["total"], []))
        if row["id"] is not None:
            page.rows.append(row)
    return pages


class WebhookBody(marshmallow.Schema):
    """`{"id": 6, "status": "done"}`; senders add fields of their own."""

    class Meta:
        """Fields that are not ours are ignored."""

        unknown = marshmallow.EXCLUDE

    id = Integer(required=True)
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))


class ActivityQuery(marshmallow.Schema):
    """The query parameters of the feed; its cursors are the events service's."""

    limit = QueryInteger(maximum=PAGE_SIZE_LIMIT, load_default=PAGE_SIZE)
    cursor = Text(longest=CURSOR_LENGTH, load_default=None, metadata=OPAQUE)


NUMBER_QUERY = NumberQuery()
WEBHOOK_BODY = WebhookBody()
ACTIVITY_QUERY = ActivityQuery()

OWNER = record(
    "Owner", id=integer(1), email=nullable(text("ada@example.com")), username=text("ada")
)
PROJECT = record(
    "Project",
    id=integer(1),
    name=text("Analytical Engine"),
    url=nullable(text("https://3f2a9c1d5e7b8a60.rowlock.example")),
    createdAt=instant(),
    owner=OWNER,
    hasOngoingDeployment=flag(False),
    hasPendingDeployment=flag(False),
    hasLiveDeployment=flag(True),
)
DEPLOYMENT = record(
    "Deployment",
    id=integer(6),
    projectId=integer(1),
    status=choice(*STATUSES),
    deployedIn=nullable(integer(95, minimum=0)),
    createdAt=instant(),
)
ACTIVITY = record(
    "Activity",
    id=integer(12),
    name=text("deployment.created"),
    payload={"type": "object", "examples": [{"project_id": 1, "deployment_id": 6}]},
    createdAt=instant(),
)
STATS = record(
    "DeploymentStats",
    userId=integer(1),
    weeks=integer(27, minimum=0),
    deployments=integer(218, minimum=0),
    successfulDeployments=integer(180, minimum=0),
    averageWeeklyDeployments=number(8.07),
    averageWeeklySuccessfulDeployments=number(6.67),
)
WEBHOOK_SECURITY = {
    "webhookSecret": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "The project's secret, bare or as a bearer token.",
    },
    "webhookSignature": {
        "type": "apiKey",
        "in": "header",
        "name": signatures.SIGNATURE,
        "description": "As in Standard Webhooks, made with the project's secret. It goes with "
        f"{signatures.ID} and {signatures.TIMESTAMP}.",
    },
}


@ROUTES.get("/projects")
@describe({200: array(PROJECT)}, query=NUMBER_QUERY)
async def list_projects(request: web.Request) -> web.Response:
    """Answer with a page of projects, oldest first."""
    number = read_query(request, NUMBER_QUERY)["page"]
    page = await request.app[LIST_PROJECTS].submit(number)
    return reply(
        [_show_project(row) for row in page.rows],
        headers=number_links(request, number, page.total),
    )


@ROUTES.get("/projects/{id}")
@describe({200: PROJECT}, ProjectNotFound)
async def get_project(request: web.Request) -> web.Response:
    """Answer with one project."""
    return reply(_show_project(await _existing_project(request)))


@ROUTES.post("/projects/{id}/deployment")
@describe(
    {201: created(DEPLOYMENT, at="/deployments/6")}, ProjectNotFound, body=NOTHING, example={}
)
async def start_deployment(request: web.Request) -> web.Response:
    """Ask for a deployment of the project."""
    command = StartDeployment(path_id(request), request[REQUEST_ID_KEY])
    await read_nothing(request)
    return await commit(request, START_DEPLOYMENT, command, _started)


def _started(deployment: Deployment) -> web.Response:
    return reply(
        _show_deployment(deployment),
        status=201,
        headers={"Location": f"/deployments/{deployment.id}"},
    )


@ROUTES.get("/projects/{id}/activity")
@describe({200: array(ACTIVITY)}, ProjectNotFound, EventsUnavailable, query=ACTIVITY_QUERY)
async def list_activity(request: web.Request) -> web.Response:
    """Answer with a page of the project's feed, newest first, from the events service."""
    query = read_query(request, ACTIVITY_QUERY)
    project = await _existing_project(request)
    page = await feed.fetch(
        request.app[HTTP],
        request.app[SETTINGS],
        project["id"],
        request_id=request[REQUEST_ID_KEY],
        **query,
    )
    following = page.next_cursor
    headers = {} if following is None else link_next(request, cursor=following)
    return reply(page.events, headers=headers)


@ROUTES.get("/deployments")
@describe({200: array(DEPLOYMENT)}, query=NUMBER_QUERY)
async def list_deployments(request: web.Request) -> web.Response:
    """Answer with a page of deployments, newest first."""
    number = read_query(request, NUMBER_QUERY)["page"]
    page = await request.app[LIST_DEPLOYMENTS].submit(number)
    return reply(
        [_show_deployment(Deployment(*row[2:])) for row in page.rows],
        headers=number_links(request, number, page.total),
    )


@ROUTES.get("/deployments/{id}")
@describe({200: DEPLOYMENT}, DeploymentNotFound)
async def get_deployment(request: web.Request) -> web.Response:
    """Answer with one deployment."""
    deployment_id = path_id(request)
    deployment = await request.app[FIND_DEPLOYMENT].submit(deployment_id)
    if deployment is None:
        raise DeploymentNotFound(
            f"There is no deployment {deployment_id}.", deployment_id=deployment_id
        )
    return reply(_show_deployment(deployment))


@ROUTES.post("/deployments/{id}/cancel")
@describe({200: DEPLOYMENT}, DeploymentNotFound, DeploymentNotOngoing, body=NOTHING, example={})
async def cancel_deployment(request: web.Request) -> web.Response:
    """Cancel an ongoing deployment, and answer with it."""
    command = CancelDeployment(path_id(request), request[REQUEST_ID_KEY])
    await read_nothing(request)
    return await commit(request, MOVE_DEPLOYMENT, command, _moved)


def _moved(deployment: Deployment) -> web.Response:
    return reply(_show_deployment(deployment))


@ROUTES.post(WEBHOOK_PATH)
@describe(
    {200: DEPLOYMENT},
    Unauthorized,
    DeploymentMoveRefused,
    body=WEBHOOK_BODY,
    example={"id": 6, "status": "done"},
    headers={
        signatures.ID: text("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"),
        signatures.TIMESTAMP: text("1674087231"),
    },
    security=WEBHOOK_SECURITY,
)
async def report_status(request: web.Request) -> web.Response:
    """Take a report on a deployment from who knows its project's secret; answer with it."""
    if "Authorization" not in request.headers and signatures.SIGNATURE not in request.headers:
        raise _unproven()
    report = await read_body(request, WEBHOOK_BODY)
    webhook_id = await _prove(request, report["id"])
    settings = request.app[SETTINGS]
    command = ReportStatus(
        report["id"],
        report["status"],
        new_url=f"https://{secrets.token_hex(8)}.{settings.projects_domain}",
        webhook_id=webhook_id,
        request_id=request[REQUEST_ID_KEY],
    )
    return await commit(request, MOVE_DEPLOYMENT, command, _moved)


async def _prove(request: web.Request, deployment_id: int) -> str | None:
    """Return the id of the message if it is signed, None if it brings the secret itself.

    Raises Unauthorized if it does neither, or if there is no such deployment.
    """
    secret = await request.app[FIND_SECRET].submit(deployment_id) or NO_SECRET
    authorization = request.headers.get("Authorization")
    if authorization is not None:
        if not signatures.sends(authorization, secret):
            raise _unproven()
        return None
    if not signatures.signs(
        request.headers,
        await request.read(),
        secret,
        now_s=time.time(),
        tolerance_s=request.app[SETTINGS].webhook_tolerance_s,
    ):
        raise _unproven()
    return request.headers[signatures.ID]


def _unproven() -> Unauthorized:
    return Unauthorized("The webhook needs the project's secret, or a signature made with it.")


@ROUTES.get("/users/{id}/deployment-stats")
@describe({200: STATS}, UserNotFound)
async def get_deployment_stats(request: web.Request) -> web.Response:
    """Answer with a user's average weekly deployments, from the week of the first one to now."""
    user_id = path_id(request)
    stats = await request.app[FIND_STATS].submit(user_id)
    if stats is None:
        raise UserNotFound(f"There is no user {user_id}.", user_id=user_id)
    return reply(
        {
            "userId": stats["user_id"],
            "weeks": stats["weeks"],
            "deployments": stats["deployments"],
            "successfulDeployments": stats["successful"],
            "averageWeeklyDeployments": stats["weekly"],
            "averageWeeklySuccessfulDeployments": stats["weekly_successful"],
        }
    )


async def _existing_project(request: web.Request) -> Any:
    project_id = path_id(request)
    project = await request.app[FIND_PROJECT].submit(project_id)
    if project is None:
        raise ProjectNotFound(f"There is no project {project_id}.", project_id=project_id)
    return project


def _show_project(row: Any) -> dict[str, Any]:
    return {
        "id": row["id"],
        "name": row["name"],
        "url": row["url"],
        "createdAt": row["created_at"],
        "owner": {"id": row["owner_id"], "email": row["email"], "username": row["username"]},
        "hasOngoingDeployment": row["is_ongoing"],
        "hasPendingDeployment": row["is_ongoing"],  # its published name
        "hasLiveDeployment": row["is_live"],
    }


def _show_deployment(deployment: Deployment) -> dict[str, Any]:
    return {
        "id": deployment.id,
        "projectId": deployment.project_id,
        "status": deployment.status,
        "deployedIn": deployment.deployed_in,
        "createdAt": deployment.created_at,
    }
