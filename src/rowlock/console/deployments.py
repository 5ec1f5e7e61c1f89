"""Deployments of all projects, one deployment with its stages, and one project with its feed."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import marshmallow
import orjson
from aiohttp import web
from marshmallow import fields, validate

from rowlock.console import Features, reads
from rowlock.console.events import find_place
from rowlock.console.tail import Tail
from rowlock.errors import InvalidRequest, Unavailable
from rowlock.events.rules import BEYOND_ALL, StoredEvent, Wanted
from rowlock.http.access import origin_of
from rowlock.http.fields import QueryInteger
from rowlock.http.openapi.shapes import BIGINT_MAX
from rowlock.http.request import path_id
from rowlock.http.submit import find, find_by_path
from rowlock.pages.declaring import Pages, page
from rowlock.pages.forms import read_form
from rowlock.pages.frames import Frame
from rowlock.pages.lists import (
    PAGE_SIZE,
    ListQuery,
    listing,
    none_of,
    read_filters,
    send_csv,
)
from rowlock.pages.live import Message, send_live
from rowlock.projects.rules import (
    ONGOING,
    STAGES,
    STATUSES,
    CancelDeployment,
    Deployment,
    StartDeployment,
)
from rowlock.rejections import DeploymentNotFound, ProjectNotFound

if TYPE_CHECKING:
    from rowlock.engine.typed.console import ListDeploymentsRow

FEED, NEWEST = 50, 10  # events, and deployments, on the page of a project
MOST_EVENTS = 500  # of a project, looked through for those of one deployment
SLACK = timedelta(minutes=1)  # between a deployment and its events, by clocks that differ
EVENT_NAMES = "deployment."
ANY_STATUS = {"ongoing": [*STAGES[:-1]], **{each: [each] for each in STATUSES}}
COLUMNS = (
    "id", "project_id", "project", "status", "branch", "commit", "reason", "created_at",
    "ended_at", "deployed_in_s",
)  # fmt: skip


class DeploymentsQuery(ListQuery):
    """The filters of the list."""

    project_id = QueryInteger(data_key="project", load_default=None)
    status = fields.String(validate=validate.OneOf([*ANY_STATUS]), load_default=None)


class StirQuery(marshmallow.Schema):
    """Whose deployments to follow, and since when."""

    project_id = QueryInteger(data_key="project", load_default=None)
    after = QueryInteger(minimum=0, load_default=None)


DEPLOYMENTS_QUERY, STIR_QUERY = DeploymentsQuery(), StirQuery()


class Stage(NamedTuple):
    """A stage of a deployment, as far as it has come."""

    name: str
    state: str  # passed, current, to come, or where it ended: failed or cancelled
    at: datetime | None = None  # when it began; None: not yet, or the log does not say
    event: StoredEvent | None = None
    lasted_s: float | None = None


class DeploymentPages(Pages):
    """Deployments."""

    def __init__(self, frame: Frame, features: Features) -> None:
        self._frame = frame
        self._features = features

    @page("GET", "/deployments")
    async def list_deployments(self, request: web.Request) -> web.StreamResponse:
        """List deployments, newest first."""
        asked = read_filters(request, DEPLOYMENTS_QUERY)
        choices = [*ANY_STATUS]
        if asked.errors:
            return await self._frame.show(
                request,
                "console/deployments.html",
                status=400,
                place="deployments",
                listing=none_of(asked),
                statuses=choices,
            )
        read = partial(self._read, asked.values["project_id"], asked.values["status"])
        if asked.wants_csv:
            return await send_csv(
                request,
                "deployments",
                COLUMNS,
                read,
                _line,
                first=BIGINT_MAX,
                key=lambda each: each["id"],
            )
        found = await read(asked.values["before"], PAGE_SIZE + 1)
        return await self._frame.show(
            request,
            "console/deployments.html",
            place="deployments",
            listing=listing(asked, found, lambda each: str(each["id"])),
            statuses=choices,
            **_stages_shown(),
        )

    @page("GET", "/deployments/live")
    async def follow_deployments(self, request: web.Request) -> web.StreamResponse:
        """Tell when deployments have moved, so that a page renews its part."""
        asked = read_filters(request, STIR_QUERY)
        if asked.errors:
            raise InvalidRequest("The filters of the stream can't be read.")
        project_id = asked.values["project_id"]
        tail = Tail(
            self._features.events,
            await find_place(request, self._features, asked.values["after"]),
            Wanted(subject=None if project_id is None else f"project:{project_id}"),
            lambda event: event.name.startswith(EVENT_NAMES),
        )

        async def messages() -> AsyncIterator[Message]:
            async for batch in tail.follow():
                yield Message(batch.place, "moved")

        return await send_live(
            request, messages(), self._features.draining, self._features.events.settings
        )

    @page("GET", "/deployments/{id:(?!live$)[^/]+}")
    async def show_deployment(self, request: web.Request) -> web.StreamResponse:
        """Show a deployment with its stages."""
        deployment = await self._find(request)
        project = await find(self._features.projects.find, deployment.project_id, ProjectNotFound)
        since = deployment.created_at - SLACK
        until = (deployment.ended_at or datetime.now(UTC)) + SLACK
        wanted = Wanted(subject=f"project:{project.id}", since=since, until=until)
        try:
            found = await self._features.events.list_newest(
                wanted, before=BEYOND_ALL, page_size=MOST_EVENTS
            )
        except Unavailable:
            found = []
        return await self._frame.show(
            request,
            "console/deployment.html",
            place="deployments",
            deployment=deployment,
            project=project,
            stages=tell_stages(deployment, found),
            **_stages_shown(),
        )

    @page("GET", "/deployments/{id}/cancel")
    async def ask_cancel(self, request: web.Request) -> web.StreamResponse:
        """Ask whether to cancel a deployment."""
        deployment = await self._find(request)
        return await self._frame.show(
            request,
            "pages/confirm.html",
            place="deployments",
            title=f"Cancel deployment {deployment.id}?",
            what=f"It is {deployment.status}. What its project has live now stays. Reports that "
            "come later for this deployment are refused. This can't be undone.",
            button="Cancel the deployment",
            action=request.path,
            back=f"/deployments/{deployment.id}",
            key=None,
        )

    @page("POST", "/deployments/{id}/cancel")
    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """Cancel a deployment."""
        deployment_id = path_id(request, DeploymentNotFound)
        form = await read_form(request)
        return await self._frame.act(
            request,
            form,
            self._features.projects.move,
            CancelDeployment(deployment_id, origin_of(request)),
            to=f"/deployments/{deployment_id}",
            tells=lambda deployment: f"Deployment {deployment.id} was cancelled.",
        )

    @page("GET", "/deployments/{id}/redeploy")
    async def ask_redeploy(self, request: web.Request) -> web.StreamResponse:
        """Ask whether to deploy the same revision again."""
        deployment = await self._find(request)
        return await self._frame.show(
            request,
            "pages/confirm.html",
            place="deployments",
            is_calm=True,
            title=f"Deploy {name_revision(deployment)} again?",
            what=f"A new deployment of project {deployment.project_id} starts, as deployment "
            f"{deployment.id} did. That one stays as it is.",
            button="Start the deployment",
            action=request.path,
            back=f"/deployments/{deployment.id}",
            key=None,
        )

    @page("POST", "/deployments/{id}/redeploy")
    async def redeploy(self, request: web.Request) -> web.StreamResponse:
        """Start a new deployment of the same revision."""
        deployment = await self._find(request)
        form = await read_form(request)
        command = StartDeployment(
            deployment.project_id, origin_of(request), deployment.branch, deployment.commit
        )
        return await self._frame.act(
            request,
            form,
            self._features.projects.start,
            command,
            to=lambda started: f"/deployments/{started.id}",
            tells=lambda started: f"Deployment {started.id} has started.",
            back=f"/deployments/{deployment.id}",
        )

    @page("GET", "/projects/{id}")
    async def show_project(self, request: web.Request) -> web.StreamResponse:
        """Show a project, its newest deployments and its feed."""
        project = await find_by_path(request, self._features.projects.find, ProjectNotFound)
        deployments = await self._read(project.id, None, BIGINT_MAX, NEWEST)
        try:
            events = await self._features.events.list_newest(
                Wanted(subject=f"project:{project.id}"), before=BEYOND_ALL, page_size=FEED
            )
        except Unavailable:
            events = None
        return await self._frame.show(
            request,
            "console/project.html",
            place="deployments",
            project=project,
            deployments=deployments,
            events=events,
            **_stages_shown(),
        )

    async def _find(self, request: web.Request) -> Deployment:
        return await find_by_path(
            request, self._features.projects.find_deployment, DeploymentNotFound
        )

    async def _read(
        self, project_id: int | None, status: str | None, before: int, size: int
    ) -> "Sequence[ListDeploymentsRow]":
        return await self._features.main.read(
            partial(
                reads.list_deployments,
                project_id=project_id,
                statuses=STATUSES if status is None else ANY_STATUS[status],
                before=before,
                page_size=size,
            )
        )


def name_revision(deployment: Deployment) -> str:
    """Return what a deployment deploys, in words."""
    named = [text for text in (deployment.branch, deployment.commit) if text is not None]
    return " at ".join(named) or "the default branch"


def tell_stages(deployment: Deployment, events: Sequence[StoredEvent]) -> Sequence[Stage]:
    """Return the stages of a deployment in order, and when it came to them.

    `events` are those of its project at that time, newest first. A stage that it has skipped, as
    its reports did, has no time.
    """
    found = {
        "pending" if event.name == "deployment.created" else event.name.partition(".")[2]: event
        for event in events
        if event.name.startswith(EVENT_NAMES)
        and orjson.loads(event.payload).get("deployment_id") == deployment.id
    }
    status = deployment.status
    names = [*STAGES]
    if status in {"failed", "cancelled"}:  # what was to come never came
        reached = [name for name in STAGES if name in found or name == "pending"]
        names = [*STAGES[: STAGES.index(reached[-1]) + 1], status]
    place = names.index(status)
    stages = []
    for at, name in enumerate(names):
        state = "to come" if at > place else "passed" if at < place else "current"
        if name == status and status not in ONGOING:
            state = status if status != "done" else "passed"
        event = found.get(name)
        began = deployment.created_at if name == "pending" else event and event.created_at
        if name == status and deployment.ended_at is not None:
            began = deployment.ended_at
        stages.append(Stage(name, state, began, event))
    times = [stage.at for stage in stages]
    return [
        stage._replace(
            lasted_s=None
            if stage.at is None or following is None
            else (following - stage.at).total_seconds()
        )
        for stage, following in zip(stages, [*times[1:], None], strict=True)
    ]


def _stages_shown() -> dict[str, Any]:
    """Return what templates need to show how far deployments have come, and for how long."""
    return {"stage_names": STAGES, "ongoing": ONGOING, "now": datetime.now(UTC)}


def _line(row: "ListDeploymentsRow") -> Sequence[str | int]:
    def show(at: datetime | None) -> str:
        return "" if at is None else at.isoformat().replace("+00:00", "Z")

    return (
        row["id"],
        row["project_id"],
        row["project_name"],
        row["status"],
        row["branch"] or "",
        row["commit"] or "",
        row["reason"] or "",
        show(row["created_at"]),
        show(row["ended_at"]),
        "" if row["deployed_in"] is None else row["deployed_in"],
    )
