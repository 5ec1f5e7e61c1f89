"""The projects service over HTTP: pages, projects, deployments, statistics."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from aiohttp import ClientResponse
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.services import PROJECTS
from rowlock.settings import Settings
from tests.support.contract import bearer, exchange, raw_request, refusal, within
from tests.support.panel import SECRET, add_deployment, add_projects, events
from tests.support.roles import create_app
from tests.support.types import Client, Connection


@pytest.fixture
async def onlooker(
    aiohttp_client: AiohttpClient, shared_database_url: str, settings: Settings
) -> Client:
    """A client on an empty database, for requests that change nothing."""
    app = create_app(PROJECTS, settings, shared_database_url)
    return await aiohttp_client(app, headers=bearer(settings.addresses.projects_token))


def links(response: ClientResponse) -> dict[str, int]:
    """The pages that the Link header leads to, by relation."""
    header = response.headers.get("Link", "")
    return {rel: int(page) for page, rel in re.findall(r'<[^>]*page=(\d+)>; rel="(\w+)"', header)}


async def get(client: Client, path: str) -> tuple[ClientResponse, Any]:
    response = await client.get(path)
    return response, await response.json()


async def post(client: Client, path: str, expected: int) -> tuple[ClientResponse, Any]:
    response = await client.post(path)
    assert response.status == expected, await response.text()
    return response, await response.json()


@pytest.mark.parametrize("path", ["/projects/1/deployment", "/deployments/1/cancel"])
@pytest.mark.parametrize(
    ("body", "media", "expected"),
    [
        (b"[", "application/json", (400, "invalid_json")),
        (b'{"status": "done"}', "application/json", (400, "invalid_request")),
        (b"{}", "text/plain", (415, "unsupported_media_type")),
        (b" " * 70_000, "application/json", (413, "body_too_large")),
        (b"{}", "application/json", (404, None)),
        (b"", "text/plain", (404, None)),
    ],
)
async def test_write_without_a_body__one_comes__refused_unless_empty(
    onlooker: Client,
    path: str,
    body: bytes,
    media: str,
    expected: tuple[int, None] | tuple[int, str],
) -> None:
    response = await onlooker.post(path, data=body, headers={"Content-Type": media})
    status, code = await refusal(response)
    assert (status, code if status != 404 else None) == expected


LAST_NUMBER = (2**63 - 1) // 8


@pytest.mark.parametrize(
    ("total", "pages"),  # number: (places in the list, where the Link header leads)
    [
        (0, {1: ([], {}), 7: ([], {})}),
        (
            8,
            {
                1: (range(1, 9), {"first": 1, "last": 1}),
                2: ([], {"first": 1, "previous": 1, "last": 1}),
            },
        ),
        (
            20,
            {
                1: (range(1, 9), {"first": 1, "next": 2, "last": 3}),
                2: (range(9, 17), {"first": 1, "previous": 1, "next": 3, "last": 3}),
                3: (range(17, 21), {"first": 1, "previous": 2, "last": 3}),
                4: ([], {"first": 1, "previous": 3, "last": 3}),
                LAST_NUMBER: ([], {"first": 1, "previous": 3, "last": 3}),
            },
        ),
    ],
)
async def test_pages__each_position__eight_and_links_that_exist(
    projects: Client, connection: Connection, total: int, pages: dict[str, Any]
) -> None:
    if total:
        [project_id, *_] = await add_projects(connection, total)
        for _ in range(total):
            await add_deployment(connection, project_id)
    for number, (places, expected) in pages.items():
        response, rows = await get(projects, f"/projects?page={number}")
        assert response.status == 200
        assert [row["id"] for row in rows] == list(places)
        assert links(response) == expected
        response, rows = await get(projects, f"/deployments?page={number}")
        assert [total + 1 - row["id"] for row in rows] == list(places)  # newest first
        assert links(response) == expected


async def test_pages__no_number__first(projects: Client, connection: Connection) -> None:
    await add_projects(connection, 9)
    response, rows = await get(projects, "/projects")
    assert [row["id"] for row in rows] == [1, 2, 3, 4, 5, 6, 7, 8]
    base = projects.make_url("/projects")
    assert response.headers["Link"] == (
        f'<{base}?page=1>; rel="first", <{base}?page=2>; rel="next", <{base}?page=2>; rel="last"'
    )


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "page=-1",
        "page=x",
        "page=",
        "page=1.0",
        "page=%2B1",
        f"page={10**30}",
        f"page={2**63 - 1}",
        "page=%00",
        "page=%ED%A0%80",
        "page=%D9%A1",
        "page=1&page=2",
        "pages=1",
        "%ED%A0%80=1",
    ],
)
@pytest.mark.parametrize("path", ["/projects", "/deployments"])
async def test_pages__wrong_number__400(onlooker: Client, path: str, query: str) -> None:
    response, body = await get(onlooker, f"{path}?{query}")
    assert response.status == 400
    assert body["error"] == "invalid_request"


@pytest.mark.parametrize("path", ["/projects", "/deployments"])
async def test_pages__fragment_in_the_target__not_in_the_links(
    projects: Client, connection: Connection, path: str
) -> None:
    [project_id, *_] = await add_projects(connection, 9)
    for _ in range(9):
        await add_deployment(connection, project_id)
    authorization = f"Authorization: {projects.session.headers['Authorization']}\r\n\r\n".encode()
    for target in (path, f"{path}?page=1"):
        start = f"GET {target}#>;rel=next,<http://evil.example"
        answer = await exchange(projects, raw_request(start, authorization))
        [link] = re.findall(r"\r\nLink: (.*)\r\n", answer.decode())
        start = f"{path}?top=9&page" if path == "/deployments" else f"{path}?page"
        assert link == (
            f'<http://x{start}=1>; rel="first", <http://x{start}=2>; rel="next", '
            f'<http://x{start}=2>; rel="last"'
        )


async def test_project__shape(projects: Client, connection: Connection) -> None:
    await add_projects(connection, 1, url="https://shop.example")
    _, project = await get(projects, "/projects/1")
    created_at = datetime.fromisoformat(project.pop("createdAt"))
    assert timedelta(0) <= datetime.now(UTC) - created_at < timedelta(minutes=1)
    assert project == {
        "id": 1,
        "name": "Project 1",
        "url": "https://shop.example",
        "owner": {"id": 1, "email": "ada@example.com", "username": "ada"},
        "hasOngoingDeployment": False,
        "hasPendingDeployment": False,
        "hasLiveDeployment": False,
    }
    _, page = await get(projects, "/projects")
    assert page[0].pop("createdAt")
    assert page == [project]
    assert SECRET not in str(page)


FLAGS = [  # statuses, ongoing, live
    ([], False, False),
    (["pending"], True, False),
    (["building"], True, False),
    (["deploying"], True, False),
    (["done"], False, True),
    (["failed", "cancelled"], False, False),
    (["done", "failed", "pending"], True, True),
]


async def test_project__deployments__flags(projects: Client, connection: Connection) -> None:
    for project_id, (statuses, *_) in zip(await add_projects(connection, 7), FLAGS, strict=True):
        for status in statuses:
            await add_deployment(connection, project_id, status)
    _, page = await get(projects, "/projects")
    for listed, (_, ongoing, live) in zip(page, FLAGS, strict=True):
        _, found = await get(projects, f"/projects/{listed['id']}")
        assert found == listed
        assert found["hasOngoingDeployment"] is found["hasPendingDeployment"] is ongoing
        assert found["hasLiveDeployment"] is live


async def test_deployment__created__pending_with_location_and_event(
    projects: Client, connection: Connection
) -> None:
    await add_projects(connection, 2)
    response, deployment = await post(projects, "/projects/2/deployment", 201)
    assert within(projects, response.headers["Location"]) == "/deployments/1"
    assert deployment.pop("createdAt").endswith("Z")
    assert deployment == {"id": 1, "projectId": 2, "status": "pending", "deployedIn": None}
    _, found = await get(projects, "/deployments/1")
    assert found.items() > deployment.items()
    payload = orjson.loads(await connection.fetchval("SELECT payload FROM outbox"))
    assert await events(connection, 2) == ["deployment.created"]
    assert payload.items() > {
        "deployment_id": 1, "project_id": 2, "project_name": "Project 2", "user_id": 1,
        "status": "pending",
    }.items()  # fmt: skip


async def test_cancel__ongoing__200_then_400_with_the_status(
    projects: Client, connection: Connection
) -> None:
    await add_projects(connection, 1)
    await post(projects, "/projects/1/deployment", 201)
    _, cancelled = await post(projects, "/deployments/1/cancel", 200)
    assert (cancelled["status"], cancelled["deployedIn"]) == ("cancelled", None)
    _, refused = await post(projects, "/deployments/1/cancel", 400)
    assert refused["error"] == "deployment_not_ongoing"
    assert refused["details"] == {"deployment_id": 1, "status": "cancelled"}
    assert await events(connection, 1) == ["deployment.created", "deployment.cancelled"]


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        ("GET", "/projects/{}", "project_not_found"),
        ("GET", "/projects/{}/activity", "project_not_found"),
        ("POST", "/projects/{}/deployment", "project_not_found"),
        ("GET", "/deployments/{}", "deployment_not_found"),
        ("POST", "/deployments/{}/cancel", "deployment_not_found"),
        ("GET", "/users/{}/deployment-stats", "user_not_found"),
    ],
)
async def test_ids__unknown_or_malformed__404(
    onlooker: Client, method: str, path: str, error: str
) -> None:
    for unknown in (9, 2**63 - 1):
        response = await onlooker.request(method, path.format(unknown))
        assert response.status == 404
        assert (await response.json())["error"] == error
    for wrong in (
        "0",
        "01",
        "+1",
        "-1",
        "x",
        "1.5",
        2**63,
        10**30,
        "%00",
        "%ED%A0%80",
        "%FF",
        "%D9%A1",
    ):
        response = await onlooker.request(method, path.format(wrong))
        assert response.status == 404, wrong
        assert (await response.json())["error"] == error


@pytest.mark.parametrize(
    ("weeks_ago", "statuses", "expected"),
    [
        ((), (), (0, 0, 0, 0.0, 0.0)),
        ((0,), ("done",), (1, 1, 1, 1.0, 1.0)),
        ((3, 0), ("done", "failed"), (4, 2, 1, 0.5, 0.25)),
        ((1, 1, 1), ("done", "done", "pending"), (2, 3, 2, 1.5, 1.0)),
    ],
)
async def test_stats__weeks_without_any__count(
    projects: Client,
    connection: Connection,
    weeks_ago: tuple[int, ...],
    statuses: tuple[str, ...],
    expected: tuple[int, int, int, float, float],
) -> None:
    await add_projects(connection, 1)
    await add_projects(connection, 1, owner="grace")
    await add_deployment(connection, 2, "done", datetime(2020, 1, 1, tzinfo=UTC))  # not ada's
    for weeks, status in zip(weeks_ago, statuses, strict=True):
        created_at = datetime.now(UTC) - timedelta(weeks=weeks)
        await add_deployment(connection, 1, status, created_at)
    response, stats = await get(projects, "/users/1/deployment-stats")
    assert response.status == 200
    assert stats.pop("userId") == 1
    assert tuple(stats) == (
        "weeks",
        "deployments",
        "successfulDeployments",
        "averageWeeklyDeployments",
        "averageWeeklySuccessfulDeployments",
    )
    assert tuple(stats.values()) == expected


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer x", "Basic development-projects-token", "Bearer \udcff\udcfe",
     "development-projects-token", "Bearer development-events-token", "Bearer a.b.c"],
)  # fmt: skip
async def test_access__wrong_or_no_token__401(
    aiohttp_client: AiohttpClient,
    shared_database_url: str,
    settings: Settings,
    authorization: str | None,
) -> None:
    client = await aiohttp_client(create_app(PROJECTS, settings, shared_database_url))
    headers = {} if authorization is None else {"Authorization": authorization}
    for path in ("/projects", "/projects/1", "/nowhere", "/deployment%2Fwebhook"):
        response = await client.get(path, headers=headers)
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert (await response.json())["error"] == "unauthorized"
    assert (await client.get("/healthz", headers=headers)).status == 200
