"""Deployments: what they are of, pages that do not shift, secrets replaced, silence that ends."""

import re
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
import structlog
from aiohttp import ClientResponse
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.projects.transactions import new_secret, rotate_secret
from rowlock.services import PROJECTS
from rowlock.settings import Settings
from tests.support.contract import bearer, refusal, told, within
from tests.support.panel import SECRET, add_deployment, add_projects
from tests.support.polling import until
from tests.support.roles import create_app
from tests.support.services import with_tasks
from tests.support.types import Client, Connection, Unchanged

DAY = timedelta(days=1)


@pytest.fixture
async def project_id(connection: Connection) -> int:
    [project_id] = await add_projects(connection, 1)
    return project_id


def ids(rows: list[dict[str, Any]]) -> list[int]:
    return [row["id"] for row in rows]


# --- What is deployed ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"branch": "main"},
        {"commit": "9f2c1e7"},
        {"branch": "feature/é 1", "commit": "x" * 255},
        {"branch": None, "commit": None},
        {},
        None,
    ],
)
async def test_start__branch_and_commit__kept_shown_and_told(
    projects: Client, connection: Connection, project_id: int, body: dict[str, str | None] | None
) -> None:
    given = {name: text for name, text in (body or {}).items() if text is not None}
    response = await projects.post(f"/projects/{project_id}/deployment", json=body)
    assert response.status == 201
    started = await response.json()
    assert {name: started.get(name) for name in given} == given
    assert len(started) == 5 + len(given)
    for path in (f"/deployments/{started['id']}", "/deployments"):
        answer = await (await projects.get(path)).json()
        assert answer in (started, [started])
    [(_, payload)] = await told(connection, "deployment.created")
    assert payload.items() >= given.items()
    await projects.post(f"/deployments/{started['id']}/cancel")
    [(_, payload)] = await told(connection, "deployment.cancelled")
    assert payload.items() >= given.items()


@pytest.mark.parametrize("wrong", ["", " ", "\u200b", "a\nb", "x" * 256, 1, True, [], {}])
@pytest.mark.parametrize("field", ["branch", "commit"])
async def test_start__no_name_of_a_revision__400_and_nothing_changed(
    projects: Client, project_id: int, unchanged: Unchanged, field: str, wrong: Any
) -> None:
    async with unchanged():
        response = await projects.post(f"/projects/{project_id}/deployment", json={field: wrong})
        assert await refusal(response) == (400, "invalid_request")
        response = await projects.post(f"/projects/{project_id}/deployment", json={"tag": "x"})
        assert await refusal(response) == (400, "invalid_request")


# --- Pages --------------------------------------------------------------------------------------


async def follow(
    projects: Client, response: ClientResponse, relation: str
) -> ClientResponse | None:
    [target] = re.findall(rf'<([^<>]*)>; rel="{relation}"', response.headers["Link"]) or [None]
    return None if target is None else await projects.get(within(projects, target))


@pytest.mark.parametrize(("start", "relation"), [("next", "next"), ("last", "previous")])
async def test_pages__list_grows_meanwhile__each_row_once(
    projects: Client, connection: Connection, project_id: int, start: str, relation: str
) -> None:
    expected = [await add_deployment(connection, project_id) for _ in range(27)][::-1]
    first = await projects.get("/deployments")
    seen = ids(await first.json())
    response = await follow(projects, first, start)
    pages = []
    while response is not None:
        await add_deployment(connection, project_id)
        pages.append(ids(await response.json()))
        response = await follow(projects, response, relation)
    if relation == "previous":
        assert pages[-1] == seen
        pages = pages[:-1][::-1]
    assert seen + [each for page in pages for each in page] == expected


@pytest.mark.parametrize("top", ["0", "-1", "x", "", "1.0", "1&top=1", str(2**63)])
async def test_pages__wrong_top__400(projects: Client, top: str) -> None:
    assert await refusal(await projects.get(f"/deployments?top={top}")) == (400, "invalid_request")


async def test_pages__top_beyond_the_list__the_list_as_it_is(
    projects: Client, connection: Connection, project_id: int
) -> None:
    expected = [await add_deployment(connection, project_id) for _ in range(9)][::-1]
    response = await projects.get(f"/deployments?top={2**63 - 1}")
    assert ids(await response.json()) == expected[:8]
    assert '/deployments?top=9&page=2>; rel="next"' in response.headers["Link"]


# --- Secrets ------------------------------------------------------------------------------------


async def report(client: Client, deployment_id: int, secret: str) -> int:
    body = {"id": deployment_id, "status": "building"}
    response = await client.post(
        "/deployment/webhook", json=body, headers={"Authorization": secret}
    )
    return response.status


async def test_secret__replaced__both_valid_until_the_overlap_ends(
    projects: Client, connection: Connection, project_id: int
) -> None:
    deployment_id = await add_deployment(connection, project_id)
    second, third, fourth = new_secret(), new_secret(), new_secret()
    await rotate_secret(connection, project_id, second, DAY)
    assert [await report(projects, deployment_id, one) for one in (SECRET, second)] == [200, 200]
    await rotate_secret(connection, project_id, third, DAY)
    valid = [await report(projects, deployment_id, one) for one in (SECRET, second, third)]
    assert valid == [401, 200, 200]
    until_ = await connection.fetchval("SELECT previous_secret_until - now() FROM projects")
    assert timedelta() < until_ <= DAY
    await connection.execute("UPDATE projects SET previous_secret_until = now()")
    assert [await report(projects, deployment_id, one) for one in (second, third)] == [401, 200]
    await rotate_secret(connection, project_id, fourth, timedelta())
    assert [await report(projects, deployment_id, one) for one in (third, fourth)] == [401, 200]


async def test_secret__without_a_key__proves_nothing(
    projects: Client, connection: Connection, project_id: int
) -> None:
    deployment_id = await add_deployment(connection, project_id)
    await connection.execute("UPDATE projects SET app_secret = 'whsec_'")
    assert await report(projects, deployment_id, "whsec_") == 401


# --- Silence ------------------------------------------------------------------------------------


@pytest.fixture
async def sweeping(aiohttp_client: AiohttpClient, database_url: str, settings: Settings) -> Client:
    """Two processes of the projects service that end deployments after an hour of silence."""
    service = with_tasks(PROJECTS, "deployment_timeout")
    changed = settings.changed(deployment_limit_s=3600, deployment_sweep_s=0.02)
    clients = [
        await aiohttp_client(
            create_app(service, changed, database_url),
            headers=bearer(settings.addresses.projects_token),
        )
        for _ in range(2)
    ]
    return clients[0]


async def test_silence__too_long__failed_with_a_reason_and_told_once(
    sweeping: Client, connection: Connection, project_id: int
) -> None:
    with structlog.testing.capture_logs() as lines:
        now = await connection.fetchval("SELECT now()")
        hour = timedelta(hours=1)
        silent = [
            await add_deployment(connection, project_id, status, now - hour)
            for status in ("pending", "building", "deploying")
        ]
        others = [
            await add_deployment(connection, project_id, status, now - 2 * hour)
            for status in ("done", "failed", "cancelled")
        ]
        fresh = await add_deployment(connection, project_id, "pending", now - 0.9 * hour)
        reported = await add_deployment(connection, project_id, "pending", now - 0.99 * hour)
        assert await report(sweeping, reported, SECRET) == 200
        await connection.execute(
            "UPDATE deployments SET created_at = created_at - interval '5 h' WHERE id = $1",
            reported,
        )

        async def ended() -> bool:
            query = "SELECT count(*) FROM deployments WHERE reason = 'timed_out'"
            return bool(await connection.fetchval(query) == len(silent))

        await until(ended)
    for deployment_id in silent:
        answer = await (await sweeping.get(f"/deployments/{deployment_id}")).json()
        assert (answer["status"], answer["reason"]) == ("failed", "timed_out")
        assert await report(sweeping, deployment_id, SECRET) == 409
    for deployment_id in (*others, fresh, reported):
        assert "reason" not in await (await sweeping.get(f"/deployments/{deployment_id}")).json()
    failed = [payload for _, payload in await told(connection, "deployment.failed")]
    assert sorted(payload["deployment_id"] for payload in failed) == silent
    assert {payload["reason"] for payload in failed} == {"timed_out"}
    ends = [line for line in lines if line["event"] == "deployments_timed_out"]
    assert sum(line["deployments"] for line in ends) == len(silent)


async def test_silence__a_row_is_locked__the_others_end_and_it_does_once_it_is_free(
    aiohttp_client: AiohttpClient,
    database_url: str,
    settings: Settings,
    connection: Connection,
    project_id: int,
) -> None:
    now = await connection.fetchval("SELECT now()")
    held, free = [
        await add_deployment(connection, project_id, "pending", now - timedelta(hours=hours))
        for hours in (3, 2)
    ]
    ended = "SELECT array_agg(id ORDER BY id) FROM deployments WHERE reason = 'timed_out'"

    async def has_ended(*expected: int) -> bool:
        return bool(await connection.fetchval(ended) == [*expected])

    changed = settings.changed(
        deployment_limit_s=3600, deployment_sweep_s=0.02, batch_wait_s=0.8, lock_timeout_s=0.2
    )
    service = with_tasks(PROJECTS, "deployment_timeout")
    holder = await asyncpg.connect(database_url)
    with structlog.testing.capture_logs() as entries:
        async with holder.transaction():
            await holder.execute("SELECT FROM deployments WHERE id = $1 FOR UPDATE", held)
            await aiohttp_client(create_app(service, changed, database_url))
            await until(lambda: has_ended(free))
            await until(lambda: "deployments_locked" in {entry["event"] for entry in entries})
            late = await add_deployment(connection, project_id, "pending", now - timedelta(hours=2))
            await until(lambda: has_ended(free, late))
        await until(lambda: has_ended(held, free, late))
    await holder.close()
    # The sweep went on: it was not started anew.
    assert "task_failed" not in {entry["event"] for entry in entries}


async def test_silence__moved_by_the_previous_release__counts_from_then(
    connection: Connection, project_id: int
) -> None:
    now = await connection.fetchval("SELECT now()")
    moved = await add_deployment(connection, project_id, "pending", now - timedelta(hours=5))
    await connection.execute("UPDATE deployments SET status = 'building' WHERE id = $1", moved)
    query = "SELECT moved_at FROM deployments WHERE id = $1"
    assert await connection.fetchval(query, moved) >= now
