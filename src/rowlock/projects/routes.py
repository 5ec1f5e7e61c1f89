"""HTTP ↔ command: projects, deployments and their webhook. Fields are in camelCase."""

import secrets
import time
from typing import Any

import marshmallow
from aiohttp import web
from marshmallow import fields, validate

from rowlock.errors import EventsUnavailable, Unauthorized
from rowlock.http.access import origin_of
from rowlock.http.answers import reply
from rowlock.http.bodies import Body
from rowlock.http.exchange import EXCHANGE
from rowlock.http.fields import Integer, QueryInteger, Text
from rowlock.http.openapi.shapes import (
    BIGINT_MAX,
    array,
    choice,
    created,
    flag,
    instant,
    integer,
    mapping,
    nullable,
    number,
    record,
    text,
)
from rowlock.http.paging import OPAQUE, PAGE_SIZE_LIMIT, link_next, links
from rowlock.http.paging import PAGE_SIZE as ACTIVITY_PAGE_SIZE
from rowlock.http.request import (
    EMPTY_BODY,
    path_id,
    read_body,
    read_bytes,
    read_empty_body,
    read_optional_body,
    read_query,
)
from rowlock.http.routes import Routes, route
from rowlock.http.submit import find_by_path, submit
from rowlock.projects import Projects, webhooks
from rowlock.projects.feed import Feed
from rowlock.projects.rules import (
    PAGE_SIZE,
    REVISION_LENGTH,
    SECRET_PREFIX,
    STATUSES,
    TIMED_OUT,
    CancelDeployment,
    Deployment,
    ListedProject,
    PageKey,
    ReportStatus,
    StartDeployment,
    WebhookSecrets,
    pages_beside,
)
from rowlock.rejections import (
    DeploymentMoveRefused,
    DeploymentNotFound,
    DeploymentNotOngoing,
    ProjectNotFound,
    UserNotFound,
    WebhookIdConflict,
)

CURSOR_LENGTH = 500
STATUS = {"title": "DeploymentStatus", "examples": [STATUSES[0]]}

# Stands in for the secret of an unknown deployment, so that the refusal takes as long.
NO_SECRETS = WebhookSecrets(0, [secrets.token_hex(32)])


class WebhookBody(marshmallow.Schema):
    """`{"id": 6, "status": "done"}`; senders add fields of their own."""

    class Meta:
        """Fields that are not ours are ignored."""

        unknown = marshmallow.EXCLUDE

    id = Integer(required=True)
    status = fields.String(required=True, validate=validate.OneOf(STATUSES), metadata=STATUS)


class DeploymentBody(Body):
    """`{"branch": "main", "commit": "9f2c1e7"}`; both may be left out."""

    branch = Text(longest=REVISION_LENGTH, load_default=None, allow_none=True)
    commit = Text(longest=REVISION_LENGTH, load_default=None, allow_none=True)


class NumberQuery(marshmallow.Schema):
    """The query parameters of a list that is paged by number."""

    # Beyond it, places in the list would leave the range of bigint.
    page = QueryInteger(maximum=BIGINT_MAX // PAGE_SIZE, load_default=1)


class DeploymentsQuery(NumberQuery):
    """And the list's length when it was first read: pages by its links do not shift as it grows."""

    top = QueryInteger(
        load_default=None,
        metadata={"description": "The list as it was with so many items; from the Link header."},
    )


class ActivityQuery(marshmallow.Schema):
    """The query parameters of the feed; its cursors are the events service's."""

    limit = QueryInteger(maximum=PAGE_SIZE_LIMIT, load_default=ACTIVITY_PAGE_SIZE)
    cursor = Text(longest=CURSOR_LENGTH, load_default=None, metadata=OPAQUE)


DEPLOYMENT_BODY = DeploymentBody()
NUMBER_QUERY = NumberQuery()
DEPLOYMENTS_QUERY = DeploymentsQuery()
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
    status=choice(*STATUSES, **STATUS),
    deployedIn=nullable(integer(95, minimum=0)),
    createdAt=instant(),
    branch=text("main"),
    commit=text("9f2c1e7"),
    reason=choice(TIMED_OUT),
    optional=("branch", "commit", "reason"),
)
ACTIVITY = record(
    "Activity",
    id=integer(12),
    name=text("deployment.created"),
    payload=mapping("Payload", {"project_id": 1, "deployment_id": 6}),
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
        "name": webhooks.SIGNATURE,
        "description": "As in Standard Webhooks, made with the project's secret. It goes with "
        f"{webhooks.ID} and {webhooks.TIMESTAMP}.",
    },
}


class ProjectRoutes(Routes):
    """Projects, deployments, and the webhook by which these move."""

    tag = "projects"

    def __init__(self, projects: Projects, feed: Feed) -> None:
        self._projects = projects
        self._feed = feed
        self._settings = projects.settings

    @route("GET", "/projects", {200: array(PROJECT)}, query=NUMBER_QUERY)
    async def list_projects(self, request: web.Request) -> web.Response:
        """List projects, oldest first."""
        number = read_query(request, NUMBER_QUERY)["page"]
        page = await self._projects.list_page.submit(number)
        assert page is not None  # there is any page, though it may be empty
        shown = [_show_project(project) for project in page.items]
        return reply(shown, headers=_links(request, number, page.total))

    @route("GET", "/projects/{id}", {200: PROJECT}, ProjectNotFound)
    async def get_project(self, request: web.Request) -> web.Response:
        """Get a project."""
        project = await find_by_path(request, self._projects.find, ProjectNotFound)
        return reply(_show_project(project))

    @route(
        "POST",
        "/projects/{id}/deployment",
        {201: created(DEPLOYMENT, at="/deployments/6")},
        ProjectNotFound,
        body=DEPLOYMENT_BODY,
        example={"branch": "main", "commit": "9f2c1e7"},
    )
    async def start_deployment(self, request: web.Request) -> web.Response:
        """Start a deployment of a project.

        If no report comes for too long, it fails with the reason `timed_out`.
        """
        project_id = path_id(request, ProjectNotFound)
        body = await read_optional_body(request, DEPLOYMENT_BODY)
        command = StartDeployment(project_id, **body, origin=origin_of(request))
        return await submit(request, self._projects.start, command, _started)

    @route(
        "GET",
        "/projects/{id}/activity",
        {200: array(ACTIVITY)},
        ProjectNotFound,
        EventsUnavailable,
        query=ACTIVITY_QUERY,
    )
    async def list_activity(self, request: web.Request) -> web.Response:
        """List a project's events, newest first, from the events service."""
        query = read_query(request, ACTIVITY_QUERY)
        project = await find_by_path(request, self._projects.find, ProjectNotFound)
        page = await self._feed.fetch(
            project.id,
            origin=origin_of(request),
            limit=query["limit"],
            cursor=query["cursor"],
        )
        following = page.next_cursor
        headers = {} if following is None else link_next(request, cursor=following)
        return reply(page.events, headers=headers)

    @route("GET", "/deployments", {200: array(DEPLOYMENT)}, query=DEPLOYMENTS_QUERY)
    async def list_deployments(self, request: web.Request) -> web.Response:
        """List deployments, newest first.

        The links keep to the list as it was: new deployments do not shift its pages.
        """
        query = read_query(request, DEPLOYMENTS_QUERY)
        page = await self._projects.list_deployments.submit(PageKey(query["page"], query["top"]))
        assert page is not None
        shown = [_show_deployment(deployment) for deployment in page.items]
        headers = _links(request, query["page"], page.total, top=page.total)
        return reply(shown, headers=headers)

    @route("GET", "/deployments/{id}", {200: DEPLOYMENT}, DeploymentNotFound)
    async def get_deployment(self, request: web.Request) -> web.Response:
        """Get a deployment."""
        deployment = await find_by_path(request, self._projects.find_deployment, DeploymentNotFound)
        return reply(_show_deployment(deployment))

    @route(
        "POST",
        "/deployments/{id}/cancel",
        {200: DEPLOYMENT},
        DeploymentNotFound,
        DeploymentNotOngoing,
        body=EMPTY_BODY,
        example={},
    )
    async def cancel_deployment(self, request: web.Request) -> web.Response:
        """Cancel an ongoing deployment."""
        deployment_id = path_id(request, DeploymentNotFound)
        command = CancelDeployment(deployment_id, origin_of(request))
        await read_empty_body(request)
        return await submit(request, self._projects.move, command, _moved)

    @route(
        "POST",
        "/deployment/webhook",
        {200: DEPLOYMENT},
        Unauthorized,
        DeploymentMoveRefused,
        WebhookIdConflict,
        body=WEBHOOK_BODY,
        example={"id": 6, "status": "done"},
        headers={
            webhooks.ID: text("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"),
            webhooks.TIMESTAMP: text("1674087231"),
        },
        security=WEBHOOK_SECURITY,
    )
    async def report_status(self, request: web.Request) -> web.Response:
        """Report the status of a deployment, with its project's secret."""
        if "Authorization" not in request.headers and webhooks.SIGNATURE not in request.headers:
            raise _unproven()
        report = await read_body(request, WEBHOOK_BODY, is_proven=False)
        webhook_id = await self._prove(request, report["id"])
        command = ReportStatus(
            report["id"],
            report["status"],
            new_url=f"https://{secrets.token_hex(8)}.{self._settings.projects_domain}",
            webhook_id=webhook_id,
            origin=origin_of(request),
        )
        return await submit(request, self._projects.move, command, _moved)

    async def _prove(self, request: web.Request, deployment_id: int) -> str | None:
        """Return the id of a signed message, or None for one that carries the secret itself.

        It makes the project the request's actor. Raises Unauthorized for any other message.
        """
        found = await self._projects.find_secrets.submit(deployment_id) or NO_SECRETS
        # A prefix alone, which release 0.1.0 took, is not a secret.
        secrets_ = [one for one in found.texts if one != SECRET_PREFIX] or NO_SECRETS.texts
        authorization = request.headers.get("Authorization")
        if authorization is not None:
            proofs = [webhooks.carries_secret(authorization, one) for one in secrets_]
        else:
            body = await read_bytes(request, is_proven=False)
            tolerance_s = self._settings.webhook_tolerance_s
            proofs = [
                webhooks.is_signed(
                    request.headers, body, one, now_s=time.time(), tolerance_s=tolerance_s
                )
                for one in secrets_
            ]
        if not any(proofs):
            raise _unproven()
        request[EXCHANGE].actor = f"project:{found.project_id}"
        return request.headers[webhooks.ID] if authorization is None else None

    @route("GET", "/users/{id}/deployment-stats", {200: STATS}, UserNotFound)
    async def get_deployment_stats(self, request: web.Request) -> web.Response:
        """Average a user's weekly deployments since the first one."""
        stats = await find_by_path(request, self._projects.find_stats, UserNotFound)
        return reply(
            {
                "userId": stats.user_id,
                "weeks": stats.weeks,
                "deployments": stats.deployments,
                "successfulDeployments": stats.successful,
                "averageWeeklyDeployments": stats.weekly,
                "averageWeeklySuccessfulDeployments": stats.weekly_successful,
            }
        )


def _links(request: web.Request, page: int, total: int, **more: int) -> dict[str, str]:
    beside = pages_beside(page, total).items()
    return links(request, {relation: {**more, "page": each} for relation, each in beside})


def _started(deployment: Deployment) -> web.Response:
    return reply(
        _show_deployment(deployment),
        status=201,
        headers={"Location": f"/deployments/{deployment.id}"},
    )


def _moved(deployment: Deployment) -> web.Response:
    return reply(_show_deployment(deployment))


def _unproven() -> Unauthorized:
    return Unauthorized("The webhook needs the project's secret, or a signature made with it.")


def _show_project(project: ListedProject) -> dict[str, Any]:
    return {
        "id": project.id,
        "name": project.name,
        "url": project.url,
        "createdAt": project.created_at,
        "owner": {"id": project.owner_id, "email": project.email, "username": project.username},
        "hasOngoingDeployment": project.is_ongoing,
        "hasPendingDeployment": project.is_ongoing,  # its published name
        "hasLiveDeployment": project.is_live,
    }


def _show_deployment(deployment: Deployment) -> dict[str, Any]:
    known = {name: getattr(deployment, name) for name in ("branch", "commit", "reason")}
    return {
        "id": deployment.id,
        "projectId": deployment.project_id,
        "status": deployment.status,
        "deployedIn": deployment.deployed_in,
        "createdAt": deployment.created_at,
        **{name: text for name, text in known.items() if text is not None},
    }
