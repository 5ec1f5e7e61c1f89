"""The console's log of events: the list, its live tail, and one event in full."""

import asyncio
import csv
import io
import re

import pytest
from aiohttp import ClientResponse
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.console.sign_in import COOKIE
from rowlock.pages import live
from rowlock.services import CONSOLE
from rowlock.settings import Settings
from tests.support.console import Visitor, text_of
from tests.support.roles import create_app
from tests.support.services import with_tasks
from tests.support.statements import counted
from tests.support.types import Connection

EVIL = "<script>alert('x')</script>"
RAIL = {"console/count_waiting": 1, "subscriptions/count_failing": 1}


async def store(log: Connection, how_many: int = 1, **changes: str) -> None:
    """Add events to the log, as the intake does."""
    given = {"name": "order.created", "subject": "order:1", "actor": "token", "payload": "{}"}
    given |= changes
    await log.execute(
        "INSERT INTO events (event_id, name, subject, payload, actor, created_at) "
        "SELECT gen_random_uuid(), $1, $2, $3, $4, now() FROM generate_series(1, $5)",
        given["name"],
        given["subject"],
        given["payload"],
        given["actor"],
        how_many,
    )


def ids(page: str) -> list[int]:
    """The ids of the events that a list shows."""
    return [int(found) for found in re.findall(r'<tr id="event-(\d+)"', page)]


async def test_list__no_filters__newest_first_and_escaped(
    operator: Visitor, log: Connection
) -> None:
    await store(log)
    await store(log, subject=EVIL, actor=EVIL, name=EVIL, payload='{"x": "<script>alert(1)"}')
    page = await operator.page("/events")
    assert ids(page) == [2, 1]
    assert "<script>alert" not in page
    assert 'data-live="/events/live" data-last="2"' in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name=order.settled", [2]),
        ("subject=order%3A2", [3, 2]),
        ("subject=order%3A2&name=order.settled", [2]),
        ("actor=console%3Aada", [3]),
        ("actor=console%3Aada&subject=order%3A1", []),
        ("name=none", []),
        ("to=2020-01-01", []),
        ("from=2020-01-01", [3, 2, 1]),
        ("name=&subject=&actor=", [3, 2, 1]),
    ],
)
async def test_list__filters_of_the_url__applied_and_kept_in_the_tail(
    operator: Visitor, log: Connection, query: str, found: list[int]
) -> None:
    await store(log)
    await store(log, name="order.settled", subject="order:2")
    await store(log, subject="order:2", actor="console:ada")
    page = await operator.page(f"/events?{query}")
    assert ids(page) == found
    assert ("No event matches" in page) == (not found)
    if "name=order.settled" in query:
        assert "name=order.settled" in re.findall(r'data-live="([^"]*)"', page)[0]
    assert ("data-live" in page) == ("to=" not in query)


@pytest.mark.parametrize(
    "query", ["from=x", "other=1", "to=9999-12-31", f"name={'n' * 201}", "actor=%00"]
)
async def test_list__bad_filters__400_and_what_is_wrong(operator: Visitor, query: str) -> None:
    page = await operator.page(f"/events?{query}", status=400)
    assert 'class="problem"' in page
    assert "data-live" not in page


async def test_list__nothing_there__says_what_would_be(operator: Visitor) -> None:
    page = await operator.page("/events")
    assert "No events yet" in page
    assert 'data-last="0"' in page


async def test_list__many__pages_by_key_and_csv_of_all(operator: Visitor, log: Connection) -> None:
    await store(log, 1203)
    await store(log, 2, actor="console:ada")
    first = await operator.page("/events")
    assert ids(first) == [*range(1205, 1155, -1)]
    older = re.search(r'href="([^"]*)" rel="next"', first)
    assert older is not None
    second = await operator.page(older[1].replace("&amp;", "&"))
    assert ids(second) == [*range(1155, 1105, -1)]
    assert "data-live" not in second
    for query, count in (("", 1205), ("&actor=token", 1203), ("&actor=console%3Aada", 2)):
        response = await operator.get(f"/events?format=csv{query}")
        rows = [*csv.reader(io.StringIO(await response.text()))]
        assert rows[0][:3] == ["id", "event_id", "name"]
        assert len(rows) == count + 1


async def test_list__an_actor_of_long_ago__goes_on_after_so_many_of_others(
    operator: Visitor, log: Connection
) -> None:
    await store(log, actor="console:ada")
    await store(log, 5000)
    page = await operator.page("/events?actor=console%3Aada")
    assert ids(page) == []
    assert "5,000 events were looked through" in page
    older = re.search(r'href="([^"]*)" rel="next"', page)
    assert older is not None
    assert ids(await operator.page(older[1].replace("&amp;", "&"))) == [1]


async def test_pages__statements__as_many_for_fifty_as_for_one(
    operator: Visitor, log: Connection
) -> None:
    await store(log)
    await operator.page("/events")
    with counted() as few:
        await operator.page("/events")
    await store(log, 90)
    with counted() as many:
        await operator.page("/events")
    expected = {**RAIL, "events/find_end": 1, "events/list_newest_events": 1}
    assert few == many == expected
    with counted() as one:
        await operator.page("/events/1")
    read = {
        "events/find_events": 1,
        "subscriptions/list": 1,
        "subscriptions/find_cursor": 1,
        "subscriptions/find_event_deliveries": 1,
    }
    assert one == {**RAIL, **read}


async def test_event__its_page__all_of_it_and_who_wants_it(
    operator: Visitor, log: Connection
) -> None:
    await store(log, subject="order:7", actor="console:ada", payload='{"x": "</pre><b>"}')
    await log.execute(
        "INSERT INTO subscriptions (url, names, status, secret, starts_after, created_by) VALUES "
        "('https://a.example', '{order.*}', 'active', 's', 0, 'token'), "
        "('https://b.example', '{invoice.paid}', 'active', 's', 0, 'token')"
    )
    await log.execute(
        "INSERT INTO subscriptions (url, names, status, secret, starts_after, created_by) VALUES "
        "('https://c.example', '{*}', 'active', 's', 0, 'token');"
        "INSERT INTO deliveries (subscription_id, event_id, name, status, attempts, problem, "
        "finished_at) VALUES (3, 1, 'order.created', 'failed', 10, 'http_500', now())"
    )
    page = await operator.page("/events/1")
    assert 'href="/orders/7"' in page
    assert "&lt;/pre&gt;&lt;b&gt;" in page
    text = text_of(page)
    assert "https://a.example" in text
    assert "https://b.example" not in text
    assert "waits to be given to it" in text
    assert re.search("failed .* http 500 , 10 attempts|failed .*, http 500, 10 attempts", text)
    assert "Request unknown" in text


@pytest.mark.parametrize("given", ["99", "x", "0", "01", "-1", "9" * 30, "%00"])
async def test_event__unknown__a_page_with_404(operator: Visitor, given: str) -> None:
    assert "To the overview" in await operator.page(f"/events/{given}", status=404)


# --- the live tail --------------------------------------------------------------------------------


@pytest.fixture
async def follower(
    aiohttp_client: AiohttpClient, database_url: str, events_database_url: str, settings: Settings
) -> Visitor:
    """A visitor of a console that follows the log."""
    changed = settings.changed(stream_poll_s=0.05)
    service = with_tasks(CONSOLE, "event_feed")
    client = await aiohttp_client(create_app(service, changed, database_url, events_database_url))
    visitor = Visitor(client, COOKIE)
    await visitor.post("/sign-in", {"name": "ada", "token": settings.addresses.console_token})
    return visitor


async def read_ids(response: ClientResponse, last: int) -> list[int]:
    """The events of a tail, up to the message with the id `last`, in the order of messages."""
    found: list[int] = []
    at = -1
    async for line in response.content:
        text = line.decode().rstrip()
        if text.startswith("id: "):
            at = int(text.removeprefix("id: "))
        found += [int(one) for one in re.findall(r'id="event-(\d+)"', text)]
        if not text and at >= last:
            return found
    raise AssertionError("the tail has ended")


async def test_tail__events_stored_meanwhile__their_rows(
    follower: Visitor, log: Connection
) -> None:
    await store(log)
    response = await follower.get("/events/live?after=1")
    assert response.content_type == "text/event-stream"
    await store(log, 3, subject=EVIL)
    assert sorted(await read_ids(response, 4)) == [2, 3, 4]
    response.close()


async def test_tail__filters__only_what_matches(follower: Visitor, log: Connection) -> None:
    await store(log)
    response = await follower.get("/events/live?after=1&name=order.settled&actor=console%3Aada")
    await store(log, name="order.settled")
    await store(log, actor="console:ada")
    await store(log, name="order.settled", actor="console:ada")
    assert await read_ids(response, 4) == [4]
    response.close()


async def test_tail__far_behind__the_newest_and_how_many_were_left_out(
    follower: Visitor, log: Connection
) -> None:
    await store(log, 1500)
    response = await follower.get("/events/live?after=0")
    page = ""
    async for line in response.content:
        page += line.decode()
        if "data-skipped" in page and not line.strip():
            break
    response.close()
    assert ids(page) == [*range(1500, 1400, -1)]
    assert 'data-skipped="1400"' in page
    [address] = re.findall(r'href="([^"]*cursor[^"]*)"', page)
    assert ids(await follower.page(address.replace("&amp;", "&"))) == [*range(1400, 1350, -1)]


async def test_tail__too_far_behind_to_read__jumps_to_the_end(
    follower: Visitor, log: Connection
) -> None:
    await store(log, 12_000)
    response = await follower.get("/events/live?after=0")
    page = ""
    async for line in response.content:
        page += line.decode()
        if "data-skipped" in page and not line.strip():
            break
    response.close()
    assert ids(page) == [*range(12_000, 11_900, -1)]
    assert "More than 9,900" in page


async def test_tail__back_again__goes_on_after_the_last_id(
    follower: Visitor, log: Connection
) -> None:
    await store(log, 3)
    response = await follower.get("/events/live?after=0", **{"Last-Event-ID": "2"})
    assert await read_ids(response, 3) == [3]
    response.close()


@pytest.mark.parametrize("query", ["after=x", "after=-1", "other=1", f"name={'n' * 201}"])
async def test_tail__bad_query__400(follower: Visitor, query: str) -> None:
    response = await follower.get(f"/events/live?{query}")
    assert response.status == 400


async def test_tail__reader_gone__is_not_listened_for(follower: Visitor, log: Connection) -> None:
    await store(log)
    response = await follower.get("/events/live?after=0")
    await read_ids(response, 1)
    response.close()
    # Its next message can't be sent, and ends it: another reader is served meanwhile.
    other = await follower.get("/events/live?after=1")
    await store(log)
    assert await read_ids(other, 2) == [2]
    other.close()


async def test_tail__goes_on_for_long__ends_so_that_the_session_is_looked_at_again(
    follower: Visitor, log: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LONGEST_S", 0.1)
    await store(log)
    response = await follower.get("/events/live?after=1")
    async with asyncio.timeout(60):
        await response.read()
    assert response.connection is None


async def test_tail__without_a_session__401(operator: Visitor) -> None:
    response = await operator.client.get("/events/live", headers={"Accept": "text/event-stream"})
    assert response.status == 401


async def test_deployments_stream__a_move__tells_so(follower: Visitor, log: Connection) -> None:
    await store(log, name="order.created")
    response = await follower.get("/deployments/live?after=0&project=3")
    await store(log, name="deployment.done", subject="project:4")
    await store(log, name="deployment.done", subject="project:3")
    async for line in response.content:
        if line.startswith(b"id: "):
            assert line.strip() == b"id: 3"
            break
    response.close()


@pytest.mark.parametrize("query", ["project=x", "project=0", "after=x", "other=1"])
async def test_deployments_stream__bad_query__400(follower: Visitor, query: str) -> None:
    response = await follower.get(f"/deployments/live?{query}")
    assert response.status == 400
