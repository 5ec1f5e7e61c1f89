"""A project's feed: from the events service, and from a server that misbehaves as it never does."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiohttp import ClientSession, web
from pytest_aiohttp.plugin import AiohttpClient, AiohttpServer
from yarl import URL

from rowlock.services import EVENTS as EVENTS_SERVICE
from rowlock.services import PROJECTS
from rowlock.settings import Settings
from tests.support.contract import bearer, exchange, raw_request, refusal
from tests.support.databases import cloned
from tests.support.delivery import TRACEPARENT
from tests.support.panel import add_projects
from tests.support.roles import create_app
from tests.support.services import quiet
from tests.support.types import Client, Connection

EVENTS = [
    {
        "id": number,
        "event_id": f"00000000-0000-0000-0000-{number:012}",
        "name": "deployment.created",
        "subject": "project:1",
        "payload": {"deployment_id": number},
        "created_at": f"2024-05-01T12:00:{number:02}Z",
    }
    for number in range(5, 0, -1)
]


class EventsServer:
    """`GET /events`, newest first, by cursor; or what a test makes it answer."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.answer: web.Response | None = None
        self.url = ""

    async def serve(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        if self.answer is not None:
            return self.answer
        limit, cursor = int(request.query["limit"]), request.query.get("cursor", "after-0")
        if not cursor.startswith("after-"):
            return web.json_response({"error": "invalid_cursor"}, status=400)
        start = int(cursor.removeprefix("after-"))
        headers = {}
        if start + limit < len(EVENTS):
            following = request.rel_url.update_query(cursor=f"after-{start + limit}")
            headers["Link"] = f'<{following}>; rel="next"'
        return web.json_response(EVENTS[start : start + limit], headers=headers)


@pytest.fixture
async def events_server(aiohttp_server: AiohttpServer) -> EventsServer:
    events_server = EventsServer()
    app = web.Application()
    app.router.add_get("/events", events_server.serve)
    server = await aiohttp_server(app)
    events_server.url = str(server.make_url("/"))
    return events_server


@pytest.fixture(scope="module")
def database_url(server_url: str, template: str) -> Iterator[str]:
    """One database for all tests here: each has a project of its own."""
    with cloned(server_url, template) as url:
        yield url


@pytest.fixture
async def feed(connection: Connection) -> str:
    """The address of a project's feed."""
    [project_id] = await add_projects(connection, 1)
    return f"/projects/{project_id}/activity"


@pytest.fixture
async def client(
    aiohttp_client: AiohttpClient,
    database_url: str,
    settings: Settings,
    events_server: EventsServer,
) -> Client:
    limits = settings.changed(events_url=events_server.url)
    app = create_app(quiet(PROJECTS), limits, database_url)
    return await aiohttp_client(app, headers=bearer(settings.addresses.projects_token))


async def test_activity__pages__newest_first_until_the_end(
    client: Client, feed: str, events_server: EventsServer, settings: Settings
) -> None:
    path, seen = f"{feed}?limit=2", []
    while path:
        response = await client.get(path)
        assert response.status == 200
        seen.append(await response.json())
        path = URL(response.links["next"]["url"]).path_qs if response.links else ""
    assert [[event["id"] for event in page] for page in seen] == [[5, 4], [3, 2], [1]]
    assert seen[0][0] == {
        "id": 5,
        "name": "deployment.created",
        "payload": {"deployment_id": 5},
        "createdAt": "2024-05-01T12:00:05Z",
    }
    first = events_server.requests[0]
    assert first.headers["Authorization"] == f"Bearer {settings.addresses.events_token}"
    subject = feed.removesuffix("/activity").replace("/projects/", "project:")
    assert dict(first.query) == {"subject": subject, "order": "newest", "limit": "2"}


async def test_activity__fragment_in_the_target__not_in_the_link(client: Client, feed: str) -> None:
    authorization = f"Authorization: {client.session.headers['Authorization']}\r\n\r\n".encode()
    start = f"GET {feed}?limit=2#>;rel=next,<http://evil.example"
    answer = await exchange(client, raw_request(start, authorization))
    assert f'\r\nLink: <http://x{feed}?limit=2&cursor=after-2>; rel="next"\r\n'.encode() in answer


async def test_activity__request_in_a_trace__the_events_service_is_asked_in_it(
    client: Client, feed: str, events_server: EventsServer
) -> None:
    for headers in ({}, {"traceparent": "x"}, {"traceparent": TRACEPARENT}):
        assert (await client.get(feed, headers=headers)).status == 200
    *others, (version, trace_id, span_id, flags) = [
        request.headers.get("traceparent", "").split("-") for request in events_server.requests
    ]
    assert others == [[""], [""]]
    assert [version, trace_id, flags] == [*TRACEPARENT.split("-")[:2], "01"]
    assert span_id not in TRACEPARENT


async def test_activity__wrong_query_or_project__4xx(
    client: Client, feed: str, events_server: EventsServer
) -> None:
    for query in ("limit=0", "limit=101", "limit=x", "cursor=", "cursor=%00", "page=1", "%FF=1"):
        response = await client.get(f"{feed}?{query}")
        assert response.status == 400, query
    assert events_server.requests == []
    response = await client.get(f"{feed}?cursor=broken")
    assert (response.status, (await response.json())["error"]) == (400, "invalid_cursor")
    assert (await client.get("/projects/999999/activity")).status == 404


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 500},
        {"status": 401},
        {"status": 400},
        {"status": 302, "headers": {"Location": "/events"}},
        {"text": "not JSON"},
        {"text": "{}"},
        {"text": "[1]"},
        {"text": '[{"id": 1}]'},
        {"text": "[]", "headers": {"Link": '</events>; rel="next"'}},
    ],
)
async def test_activity__events_service_answers_amiss__503(
    client: Client, feed: str, events_server: EventsServer, answer: dict[str, Any]
) -> None:
    events_server.answer = web.Response(**answer)
    response = await client.get(feed)
    assert response.status == 503
    assert response.headers["Retry-After"] == "1"
    assert (await response.json())["error"] == "events_unavailable"


async def test_activity__events_service_down_or_silent__503(
    aiohttp_client: AiohttpClient,
    aiohttp_server: AiohttpServer,
    database_url: str,
    feed: str,
    settings: Settings,
    unused_tcp_port_factory: Callable[[], int],
) -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    app = web.Application()
    app.router.add_get("/events", never)
    silent = await aiohttp_server(app)
    nowhere = f"http://127.0.0.1:{unused_tcp_port_factory()}"
    for url in (str(silent.make_url("/")), nowhere):
        limits = settings.changed(events_url=url, events_timeout_s=0.2)
        app = create_app(quiet(PROJECTS), limits, database_url)
        client = await aiohttp_client(app, headers=bearer(settings.addresses.projects_token))
        response = await client.get(feed)
        assert response.status == 503
        assert (await response.json())["error"] == "events_unavailable"


async def test_activity__real_events_service__the_project_s_own_newest_first(
    aiohttp_client: AiohttpClient,
    aiohttp_server: AiohttpServer,
    database_url: str,
    events_database_url: str,
    settings: Settings,
    feed: str,
) -> None:
    server = await aiohttp_server(create_app(EVENTS_SERVICE, settings, events_database_url))
    own = feed.removesuffix("/activity").replace("/projects/", "project:")
    limits = settings.changed(events_url=str(server.make_url("/")))
    panel = create_app(quiet(PROJECTS), limits, database_url)
    client = await aiohttp_client(panel, headers=bearer(settings.addresses.projects_token))
    async with ClientSession(headers=bearer(settings.addresses.events_token)) as sender:
        for number in range(5):
            for subject in (own, "project:0"):
                event = {"name": "deployment.done", "subject": subject, "payload": {"n": number}}
                async with sender.post(server.make_url("/events"), json=event) as response:
                    assert response.status == 201
    path, seen = f"{feed}?limit=2", []
    while path:
        response = await client.get(path)
        assert response.status == 200
        seen += [event["payload"]["n"] for event in await response.json()]
        path = URL(response.links["next"]["url"]).path_qs if response.links else ""
    assert seen == [4, 3, 2, 1, 0]
    beyond = await client.get(f"{feed}?cursor=MTAw")  # of the event 100
    assert await refusal(beyond) == (400, "invalid_cursor")
    await server.close()
    assert (await client.get(feed)).status == 503
