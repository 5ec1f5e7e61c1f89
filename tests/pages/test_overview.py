"""The overview: what needs attention, the services of other machines, and what comes live."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import unused_port
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.console.sampling import Sampler
from rowlock.console.sign_in import COOKIE
from rowlock.http.outbound import Outbound
from rowlock.pages.frames import Frame
from rowlock.services import COMMERCE, CONSOLE
from rowlock.settings import Settings
from rowlock.settings.kinds import Listed
from tests.pages.conftest import TOKEN
from tests.support.console import Visitor, text_of
from tests.support.roles import create_app
from tests.support.services import quiet, with_tasks
from tests.support.statements import counted
from tests.support.types import Client, Connection

EVIL = "<script>alert('x')</script>"
STORE = """
INSERT INTO events (event_id, name, subject, payload, created_at)
SELECT gen_random_uuid(), $1, $2, '{}', now() FROM generate_series(1, $3)
"""


async def test_overview__nothing_there__all_is_well(operator: Visitor) -> None:
    page = text_of(await operator.page("/"))
    assert "All is well" in page
    assert "Nothing has come yet" in page
    assert "No events yet" in page


async def test_overview__a_viewer__sees_it(viewer: Visitor) -> None:
    assert "All is well" in await viewer.page("/")


@pytest.mark.parametrize(
    ("statement", "says", "path"),
    [
        (
            "INSERT INTO orders (status, amount, created_at) "
            "VALUES ('pending', 1, now() - interval '1 hour')",
            "An order has waited for 1 h 0 min to be settled.",
            "/orders?status=pending",
        ),
        (
            "INSERT INTO outbox_dead_letters "
            "(event_id, name, subject, payload, created_at, status, error) "
            "VALUES (gen_random_uuid(), 'x', 'x:1', '{}', now(), 422, 'no')",
            "The events service has refused events: 1 dead letter.",
            "/dead-letters",
        ),
        (
            "INSERT INTO outbox (event_id, name, subject, payload, created_at) "
            "VALUES (gen_random_uuid(), 'it.waits', 'x:1', '{}', now() - interval '2 minutes')",
            "An event has waited for 2 min ",
            "/health",
        ),
    ],
)
async def test_overview__what_waits_too_long__told_and_leads_there(
    operator: Visitor, connection: Connection, statement: str, says: str, path: str
) -> None:
    await connection.execute(statement)
    page = await operator.page("/")
    assert says in text_of(page)
    assert "attention" in text_of(page)
    assert f'<li><a href="{path}">' in page
    assert "All is well" not in page


async def test_overview__events_of_hostile_names__escaped(
    operator: Visitor, log: Connection
) -> None:
    await log.execute(STORE, EVIL, EVIL, 1)
    page = await operator.page("/")
    assert EVIL not in page
    assert "&lt;script&gt;alert" in page


async def test_overview__statements__as_many_for_twenty_events_as_for_one(
    operator: Visitor, log: Connection
) -> None:
    await log.execute(STORE, "kettle.boiled", None, 1)
    await operator.page("/")
    with counted() as few:
        await operator.page("/")
    await log.execute(STORE, "kettle.boiled", None, 30)
    with counted() as many:
        page = await operator.page("/")
    assert page.count('<li id="event-') == 20
    assert few == many
    assert sum(many.values()) <= 4  # the counts of the rail, and the last events


@pytest.mark.parametrize("query", ["last=", "last=1+h", "last=15+min"])
async def test_overview__span__of_the_charts(operator: Visitor, query: str) -> None:
    page = await operator.page(f"/?{query}")
    assert ('data-charts="3600"' in page) == (query == "last=1+h")


@pytest.mark.parametrize("query", ["last=1", "last=%3Cscript%3E", "last=99999999999999999999999"])
async def test_overview__an_unknown_span__400_and_what_is_wrong(
    operator: Visitor, query: str
) -> None:
    page = await operator.page(f"/?{query}", status=400)
    assert "last: Must be one of" in page


@pytest.fixture
async def commerce(aiohttp_client: AiohttpClient, database_url: str, settings: Settings) -> Client:
    """A commerce service whose metrics need a token."""
    changed = settings.changed(metrics_token="the-metrics-token", commerce_token="the-own-token")
    return await aiohttp_client(create_app(quiet(COMMERCE), changed, database_url))


def address_of(client: Client) -> str:
    return str(client.make_url("")).rstrip("/")


async def test_sampler__a_service_elsewhere__its_requests_are_seen(
    commerce: Client, settings: Settings
) -> None:
    changed = settings.changed(
        metrics_token="the-metrics-token", console_targets=Listed([address_of(commerce)])
    )
    outbound = Outbound()
    sampler = Sampler(changed, outbound, {})
    try:
        await sampler.take()
        assert (await sampler.ask(), [*sampler.points]) == ([], [])
        for _ in range(3):
            await commerce.get("/orders/1")
        await commerce.get("/metrics", headers={"Authorization": "Bearer the-metrics-token"})
        await sampler.take()
    finally:
        await outbound.close()
    assert [target.problem for target in sampler.targets] == [None, None]
    assert sampler.points[-1].refused > 0  # 401
    assert sampler.services == 1


async def test_overview__targets_that_are_silent_or_refuse__told(
    aiohttp_client: AiohttpClient,
    commerce: Client,
    database_url: str,
    events_database_url: str,
    settings: Settings,
) -> None:
    silent = f"http://127.0.0.1:{unused_port()}"
    targets = Listed([silent, address_of(commerce)])
    changed = settings.changed(console_targets=targets, metrics_token="another-token")
    app = create_app(quiet(CONSOLE), changed, database_url, events_database_url)
    page = text_of(await (await entered(await aiohttp_client(app))).page("/"))
    name = silent.removeprefix("http://")
    assert f"{name}: no answer from /readyz: it can't be reached." in page
    assert f"{name} gives no metrics" not in page  # told once
    assert "gives no metrics: it does not take ROWLOCK_METRICS_TOKEN (401)." in page
    assert "another-token" not in page


async def test_overview__a_target_that_is_not_ready__told_in_its_own_words(
    aiohttp_client: AiohttpClient, database_url: str, events_database_url: str, settings: Settings
) -> None:
    nowhere = f"postgresql://127.0.0.1:{unused_port()}/none"
    away = await aiohttp_client(create_app(quiet(COMMERCE), settings, nowhere))
    changed = settings.changed(console_targets=Listed([address_of(away)]))
    app = create_app(quiet(CONSOLE), changed, database_url, events_database_url)
    page = text_of(await (await entered(await aiohttp_client(app))).page("/"))
    assert re.search(r"127\.0\.0\.1:\d+ says: database: ", page)


async def entered(client: Client) -> Visitor:
    visitor = Visitor(client, COOKIE)
    await visitor.post("/sign-in", {"name": "ada", "token": TOKEN})
    assert visitor.is_signed_in
    return visitor


async def test_overview__no_events_database__the_rest_is_shown(
    aiohttp_client: AiohttpClient, database_url: str, settings: Settings
) -> None:
    nowhere = f"postgresql://127.0.0.1:{unused_port()}/none"
    app = create_app(quiet(CONSOLE), settings, database_url, nowhere)
    page = text_of(await (await entered(await aiohttp_client(app))).page("/"))
    assert "The events database can't be read now." in page
    assert "The log can't be read" in page
    assert "Orders waiting 0 none" in page


class Message(NamedTuple):
    """A server-sent event."""

    kind: str
    place: str
    data: str


async def messages(response: ClientResponse) -> AsyncIterator[Message]:
    lines: dict[str, list[str]] = {}
    async for line in response.content:
        name, _, text = line.decode().rstrip("\r\n").partition(": ")
        if name:
            lines.setdefault(name, []).append(text)
        elif lines:
            if "data" in lines:
                yield Message(lines["event"][0], lines["id"][0], "\n".join(lines["data"]))
            lines = {}


@pytest.fixture
async def live(
    aiohttp_client: AiohttpClient, database_url: str, events_database_url: str, settings: Settings
) -> Visitor:
    """One who is signed in to a console that samples twice a second."""
    changed = settings.changed(console_sample_s=0.5, stream_poll_s=0.1)
    service = with_tasks(CONSOLE, "overview", "overview_events", "event_feed")
    app = create_app(service, changed, database_url, events_database_url)
    return await entered(await aiohttp_client(app))


async def test_live__samples_and_events__come_as_parts_and_points(
    live: Visitor, log: Connection
) -> None:
    response = await live.get("/overview/live?after=0")
    assert response.content_type == "text/event-stream"
    seen: dict[str, Any] = {}
    async for message in messages(response):
        if message.kind == "points":
            seen["points"] = json.loads(message.data), int(message.place)
        for part in ("state", "lanes", "events"):
            if f'id="{part}"' in message.data:
                seen[part] = message.data
        if "kettle.boiled" in seen.get("events", "") and "points" in seen:
            break
        if message.kind == "points" and "stored" not in seen:
            seen["stored"] = await log.execute(STORE, "kettle.boiled", None, 1)
    points, place = seen["points"]
    assert points["at"][-1] * 1000 == pytest.approx(place, abs=101)
    assert len(points["requests"]["requests"]) == len(points["at"])
    assert "ada" not in seen["state"]  # it is the same for all
    response.close()


async def test_live__comes_back__only_what_is_new(live: Visitor) -> None:
    response = await live.get("/overview/live?after=0")
    place = await first_points(response)
    response.close()
    again = await live.get("/overview/live?after=0", **{"Last-Event-ID": place})
    async for message in messages(again):
        if message.kind == "points":
            at = json.loads(message.data)["at"]
            assert min(at) * 1000 > int(place) - 101
            break
    again.close()


async def first_points(response: ClientResponse) -> str:
    async for message in messages(response):
        if message.kind == "points":
            return message.place
    raise AssertionError


async def test_live__several_clients__rendered_once_for_all(
    live: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[str] = []
    part = Frame.part

    def note(frame: Frame, *given: Any, **values: Any) -> str:
        rendered.append(given[2])
        return part(frame, *given, **values)

    monkeypatch.setattr(Frame, "part", note)
    clients = [await live.get("/overview/live?after=0") for _ in range(5)]
    states = []
    for client in clients:
        async for message in messages(client):
            if 'id="state"' in message.data:
                states.append(message.data)
                if len(states) % 2 == 0:
                    break
    assert len(states) == 10
    assert rendered.count("state") == len(set(states))
    for client in clients:
        client.close()


@pytest.mark.parametrize("query", ["", "after=x", "after=-1", "after=99999999999999999999999"])
@pytest.mark.parametrize("last", ["", "x", "-1", "9" * 60])
async def test_live__odd_places__taken_for_none(live: Visitor, query: str, last: str) -> None:
    response = await live.get(f"/overview/live?{query}", **{"Last-Event-ID": last})
    assert response.status == 200
    response.close()


async def test_live__without_a_session__401(console: Client) -> None:
    response = await console.get("/overview/live")
    assert response.status == 401
