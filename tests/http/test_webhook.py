"""The deployment webhook: who may call it, what it does, and what a repetition does."""

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.services import PROJECTS
from rowlock.settings import Settings
from tests.support.databases import cloned
from tests.support.panel import SECRET, add_deployment, add_projects, events
from tests.support.roles import create_app
from tests.support.types import Client, Connection

WEBHOOK = "/deployment/webhook"
BARE = {"authorization": SECRET}


@pytest.fixture
async def stranger(
    aiohttp_client: AiohttpClient, shared_database_url: str, settings: Settings
) -> Client:
    """A client without the service's token, of an empty database."""
    return await aiohttp_client(create_app(PROJECTS, settings, shared_database_url))


@pytest.fixture(scope="module")
def database_url(server_url: str, template: str) -> Iterator[str]:
    """One database for all tests here: each has a project of its own."""
    with cloned(server_url, template) as url:
        yield url


@pytest.fixture
async def project_id(connection: Connection) -> int:
    """A project without a URL."""
    [project_id] = await add_projects(connection, 1)
    return project_id


@pytest.fixture
async def deployment_id(connection: Connection, project_id: int) -> int:
    """A pending deployment of the project."""
    return await add_deployment(connection, project_id)


@pytest.fixture
async def webhooks(aiohttp_client: AiohttpClient, database_url: str, settings: Settings) -> Client:
    """A client without the service's token."""
    return await aiohttp_client(create_app(PROJECTS, settings, database_url))


async def report(
    client: Client, deployment_id: int, status: str, *, headers: dict[str, str] = BARE, **more: Any
) -> tuple[int, Any]:
    body = {"id": deployment_id, "status": status} | more
    response = await client.post(WEBHOOK, json=body, headers=headers)
    return response.status, await response.json()


async def url_of(connection: Connection, project_id: int) -> str | None:
    url: str | None = await connection.fetchval(
        "SELECT url FROM projects WHERE id = $1", project_id
    )
    return url


def signed(
    body: bytes,
    *,
    secret: str = SECRET,
    webhook_id: str = "msg_1",
    age_s: int = 0,
    signatures: str = "{}",
) -> dict[str, str]:
    timestamp = str(int(time.time()) - age_s)
    content = f"{webhook_id}.{timestamp}.".encode() + body
    digest = hmac.digest(secret.encode(), content, hashlib.sha256)
    signature = "v1," + base64.b64encode(digest).decode()
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": signatures.format(signature),
        "content-type": "application/json",
    }


async def send_signed(
    client: Client, deployment_id: int, status: str, **how: Any
) -> tuple[int, Any]:
    body = orjson.dumps({"id": deployment_id, "status": status})
    response = await client.post(WEBHOOK, data=body, headers=signed(body, **how))
    return response.status, await response.json()


async def test_webhook__whole_way__deployed_and_url_assigned(
    webhooks: Client, connection: Connection, project_id: int, deployment_id: int
) -> None:
    await connection.execute(
        "UPDATE deployments SET created_at = now() - interval '90.9 s' WHERE id = $1", deployment_id
    )
    for status in ("building", "deploying"):
        code, deployment = await report(webhooks, deployment_id, status)
        assert (code, deployment["status"], deployment["deployedIn"]) == (200, status, None)
    code, deployment = await report(webhooks, deployment_id, "done")
    assert code == 200
    assert deployment.keys() == {"id", "projectId", "status", "deployedIn", "createdAt"}
    assert deployment["deployedIn"] in range(90, 96)
    url = await url_of(connection, project_id)
    assert url is not None
    assert re.fullmatch(r"https://[0-9a-f]{16}\.rowlock\.example", url)
    assert await events(connection, project_id) == [
        "deployment.building",
        "deployment.deploying",
        "deployment.done",
        "project.url_assigned",
    ]
    payloads = await connection.fetch("SELECT payload FROM outbox")
    assert SECRET not in str(payloads)
    done = await connection.fetchval(
        "SELECT payload FROM outbox WHERE name = 'deployment.done' AND subject = $1",
        f"project:{project_id}",
    )
    done = orjson.loads(done)
    assert (done["previous_status"], done["url"]) == ("deploying", url)
    assert done["deployed_in"] == deployment["deployedIn"]


@pytest.mark.parametrize(
    ("before", "reported", "code"),
    [
        ("pending", "deploying", 200),  # stages may be skipped
        ("pending", "pending", 200),
        ("building", "pending", 409),
        ("deploying", "building", 409),
        ("deploying", "failed", 200),
        ("building", "cancelled", 200),
        ("done", "done", 200),
        ("done", "failed", 409),
        ("failed", "failed", 200),
        ("failed", "building", 409),
        ("cancelled", "done", 409),
    ],
)
async def test_webhook__each_move__as_the_states_allow(
    webhooks: Client, connection: Connection, project_id: int, before: str, reported: str, code: int
) -> None:
    deployment_id = await add_deployment(connection, project_id, before)
    status, body = await report(webhooks, deployment_id, reported)
    assert status == code
    if code == 409:
        assert body["error"] == "deployment_move_refused"
        assert body["details"] == {
            "deployment_id": deployment_id, "status": before, "reported": reported,
        }  # fmt: skip
    changed = code == 200 and before != reported
    expected = [f"deployment.{reported}"] if changed else []
    assert await events(connection, project_id) == expected


async def test_webhook__project_with_url__keeps_it(
    webhooks: Client, connection: Connection
) -> None:
    [project_id] = await add_projects(connection, 1, url="https://own.example")
    deployment_id = await add_deployment(connection, project_id)
    assert (await report(webhooks, deployment_id, "done"))[0] == 200
    assert await url_of(connection, project_id) == "https://own.example"
    assert await events(connection, project_id) == ["deployment.done"]


@pytest.mark.parametrize("authorization", [SECRET, f"Bearer {SECRET}", f"bearer {SECRET}"])
async def test_webhook__secret_bare_or_bearer__200(
    webhooks: Client, deployment_id: int, authorization: str
) -> None:
    headers = {"authorization": authorization}
    assert (await report(webhooks, deployment_id, "done", headers=headers))[0] == 200


async def test_webhook__unknown_fields__ignored(webhooks: Client, deployment_id: int) -> None:
    more: dict[str, Any] = {"log": [{"a": None}], "projectId": "x", "deployedIn": -1}
    status, body = await report(webhooks, deployment_id, "done", **more)
    assert (status, body["deployedIn"]) == (200, 0)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "wrong"},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer development-projects-token"},
        {"authorization": "\udcff\udc00"},
        {"webhook-signature": "v1,bm90aGluZw=="},
        {"webhook-id": "\udcff", "webhook-timestamp": "0", "webhook-signature": "\udcff"},
    ],
)
async def test_webhook__no_proof_and_unknown_deployment__same_401(
    webhooks: Client,
    connection: Connection,
    project_id: int,
    deployment_id: int,
    headers: dict[str, Any],
) -> None:
    answers = [
        await report(webhooks, deployment_id, "done", headers=headers),
        await report(webhooks, 999_999, "done", headers=headers),
        await report(webhooks, 999_999, "done"),  # some project's secret
    ]
    assert answers[0][0] == 401
    assert answers[0] == answers[1] == answers[2]
    assert await events(connection, project_id) == []


async def test_webhook__secret_of_another_project__401(
    webhooks: Client, connection: Connection, project_id: int, deployment_id: int
) -> None:
    await connection.execute("UPDATE projects SET app_secret = 'other' WHERE id = $1", project_id)
    assert (await report(webhooks, deployment_id, "done"))[0] == 401
    headers = {"authorization": "other"}
    assert (await report(webhooks, deployment_id, "done", headers=headers))[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"id": 1}',
        b'{"status": "done"}',
        b'{"id": "1", "status": "done"}',
        b'{"id": true, "status": "done"}',
        b'{"id": 1.5, "status": "done"}',
        b'{"id": 0, "status": "done"}',
        b'{"id": 99999999999999999999, "status": "done"}',
        b'{"id": 1, "status": "exploded"}',
        b'{"id": 1, "status": null}',
        b'{"id": 1, "status": ["done"]}',
        b'{"id": 1, "status": "done", "log": "\\u0000"}',
        b'{"id": 1, "status": "\\ud800"}',
        b'{"id": NaN, "status": "done"}',
    ],
)
async def test_webhook__malformed__400(stranger: Client, body: bytes) -> None:
    headers = BARE | {"content-type": "application/json"}
    response = await stranger.post(WEBHOOK, data=body, headers=headers)
    assert response.status == 400, await response.text()


async def test_webhook__not_json_or_too_large__415_413(stranger: Client) -> None:
    response = await stranger.post(WEBHOOK, data=b"id=1", headers=BARE)
    assert response.status == 415
    headers = BARE | {"content-type": "application/json"}
    response = await stranger.post(WEBHOOK, data=b" " * 70_000, headers=headers)
    assert response.status == 413


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({}, 200),
        ({"signatures": "v1,bm90 {} v1a,bm90"}, 200),
        ({"age_s": 290}, 200),
        ({"age_s": -290}, 200),
        ({"age_s": 310}, 401),
        ({"age_s": -310}, 401),
        ({"secret": "wrong"}, 401),
        ({"signatures": "v1,bm90"}, 401),
        ({"webhook_id": "a" * 256}, 401),
    ],
)
async def test_signed_webhook__each_case__as_the_standard_says(
    webhooks: Client, deployment_id: int, how: dict[str, Any], code: int
) -> None:
    assert (await send_signed(webhooks, deployment_id, "done", **how))[0] == code


async def test_signed_webhook__body_changed__401(webhooks: Client, deployment_id: int) -> None:
    body = orjson.dumps({"id": deployment_id, "status": "building"})
    changed = body.replace(b"building", b"done")
    response = await webhooks.post(WEBHOOK, data=changed, headers=signed(body))
    assert response.status == 401


async def test_signed_webhook__replayed__changes_nothing_and_answers_the_same(
    webhooks: Client, connection: Connection, project_id: int, deployment_id: int
) -> None:
    body = orjson.dumps({"id": deployment_id, "status": "building"})
    headers = signed(body, webhook_id="msg_1")
    first = await webhooks.post(WEBHOOK, data=body, headers=headers)
    assert first.status == 200
    done = await send_signed(webhooks, deployment_id, "done", webhook_id="msg_2")
    assert done[0] == 200
    refused = await send_signed(webhooks, deployment_id, "failed", webhook_id="msg_3")
    assert refused[0] == 409
    before = await events(connection, project_id)
    replayed = await webhooks.post(WEBHOOK, data=body, headers=headers)
    assert (replayed.status, await replayed.read()) == (200, await first.read())
    # The sender repeats with a new time and signature, but the same id.
    again = {"webhook_id": "msg_3", "age_s": 3}
    assert await send_signed(webhooks, deployment_id, "failed", **again) == refused
    assert await events(connection, project_id) == before
    # A new message is evaluated as things are now.
    assert (await send_signed(webhooks, deployment_id, "building", webhook_id="msg_4"))[0] == 409


async def test_signed_webhook__known_id_and_another_report__409_and_nothing_changes(
    webhooks: Client, connection: Connection, project_id: int, deployment_id: int
) -> None:
    first = await send_signed(webhooks, deployment_id, "building", webhook_id="msg_1")
    assert first[0] == 200
    before = await events(connection, project_id)
    status, answer = await send_signed(webhooks, deployment_id, "done", webhook_id="msg_1")
    assert (status, answer["error"]) == (409, "webhook_id_conflict")
    assert answer["details"] == {"webhook_id": "msg_1", "reported": "building"}
    assert await events(connection, project_id) == before
    assert await send_signed(webhooks, deployment_id, "building", webhook_id="msg_1") == first
