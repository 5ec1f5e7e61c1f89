"""The console's dead letters: reasons, filters, one in full; sent again: one, some, all."""

import asyncio
import csv
import io
import re
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from rowlock.delivery.dead_letters import PAGE, REPLAY_ALL, replay_turn
from rowlock.engine.database import Database
from rowlock.engine.jobs import Jobs
from rowlock.settings import Settings
from tests.support.console import KEY, Visitor, text_of
from tests.support.statements import counted
from tests.support.types import Connection

EVIL = "<script>alert('x')</script>"
FIRST = UUID(int=1)


@pytest.fixture
async def letters(connection: Connection) -> None:
    """Three dead letters: two with one reason, and one that is hostile."""
    await connection.execute(
        "INSERT INTO outbox_dead_letters "
        "(event_id, name, subject, payload, created_at, status, error, refused_at, actor) VALUES "
        "($1, 'it.created', 'order:1', '{\"order_id\": 1}', now(), 422, 'too long', "
        "'2026-01-01', 'token'),"
        "($2, 'it.settled', 'order:1', '{}', now(), 422, 'too long', '2026-01-02', NULL),"
        "($3, $4, $4, '{}', now(), 0, $4, '2026-01-03', $4)",
        FIRST, UUID(int=2), UUID(int=3), EVIL,
    )  # fmt: skip


@pytest.fixture
async def jobs(database_url: str, settings: Settings) -> AsyncIterator[Jobs]:
    """What does the jobs, by hand."""
    async with Database(database_url, settings.database) as database:
        yield Jobs(database, settings.batches, {REPLAY_ALL: replay_turn})


def ids(page: str) -> list[int]:
    """The ids of the events that a list shows."""
    return [UUID(found).int for found in re.findall(r'<tr id="letter-([0-9a-f-]+)"', page)]


async def add(connection: Connection, how_many: int, error: str = "too many") -> None:
    """Add dead letters, the later the higher their ids, which begin at 1000."""
    await connection.execute(
        "INSERT INTO outbox_dead_letters "
        "(event_id, name, subject, payload, created_at, status, error, refused_at) SELECT "
        "lpad(to_hex(1000 + n), 32, '0')::uuid, 'it.created', 'order:' || n, '{}', "
        "'2026-02-01'::timestamptz + make_interval(secs => n), 422, $2, "
        "'2026-02-01'::timestamptz + make_interval(secs => n) FROM generate_series(0, $1 - 1) AS n",
        how_many, error,
    )  # fmt: skip


async def test_list__no_filters__last_refusal_first_with_reasons(
    operator: Visitor, letters: None
) -> None:
    page = await operator.page("/dead-letters")
    assert ids(page) == [3, 2, 1]
    assert EVIL not in page
    assert "too long 2 2" in text_of(page)
    assert "Dead letters 3" in text_of(page)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("reason=too+long", [2, 1]),
        ("status=422&name=it.created", [1]),
        ("status=0", [3]),
        ("from=2026-01-02&to=2026-01-02", [2]),
        ("reason=unknown", []),
        ("reason=&status=&name=", [3, 2, 1]),
    ],
)
async def test_list__filters_of_the_url__applied(
    operator: Visitor, letters: None, query: str, found: list[int]
) -> None:
    page = await operator.page(f"/dead-letters?{query}")
    assert ids(page) == found
    assert found or "No dead letter matches" in page


@pytest.mark.parametrize(
    "query", ["status=x", "status=600", "from=yesterday", "other=1", "name=" + "x" * 201]
)
async def test_list__bad_filters__400_and_what_is_wrong(operator: Visitor, query: str) -> None:
    page = await operator.page(f"/dead-letters?{query}", status=400)
    assert 'class="problem"' in page


@pytest.mark.parametrize("cursor", ["%3F", "MTAw", "OTk5OTk5LTAxLTAxL3g="])
async def test_list__a_cursor_of_our_own_making__400(operator: Visitor, cursor: str) -> None:
    await operator.page(f"/dead-letters?cursor={cursor}", 400)


async def test_list__nothing_there__says_that_all_is_well(operator: Visitor) -> None:
    assert "all is well" in await operator.page("/dead-letters")


async def test_list__many__pages_by_key_and_csv_of_all(
    operator: Visitor, connection: Connection
) -> None:
    await add(connection, 1100)
    first = await operator.page("/dead-letters?status=422")
    assert ids(first) == [*range(2099, 2049, -1)]
    older = re.search(r'href="([^"]*)" rel="next"', first)
    assert older is not None
    second = await operator.page(older[1].replace("&amp;", "&"))
    assert ids(second) == [*range(2049, 1999, -1)]
    response = await operator.get("/dead-letters?format=csv")
    rows = [*csv.reader(io.StringIO(await response.text()))]
    assert [UUID(row[0]).int for row in rows[1:]] == [*range(2099, 999, -1)]


async def test_pages__statements__as_many_for_fifty_as_for_one(
    operator: Visitor, connection: Connection, letters: None
) -> None:
    await operator.page("/dead-letters")  # connections are opened
    with counted() as few:
        await operator.page("/dead-letters")
    await add(connection, 60)
    with counted() as many:
        await operator.page("/dead-letters")
    rail = {"console/count_waiting": 1, "subscriptions/count_failing": 1}
    own = {"outbox/list_dead_letters": 1, "outbox/group_dead_letters": 1, "jobs/find_newest": 1}
    assert few == many == {**rail, **own}


async def test_letter__its_page__in_full(operator: Visitor, letters: None) -> None:
    page = await operator.page(f"/dead-letters/{FIRST}")
    assert "order_id" in page
    assert "HTTP 422" in page
    assert EVIL not in await operator.page(f"/dead-letters/{UUID(int=3)}")


@pytest.mark.parametrize("given", ["x", "1", str(UUID(int=99)), "%00"])
async def test_letter__unknown__a_page_with_404(operator: Visitor, given: str) -> None:
    await operator.page(f"/dead-letters/{given}", status=404)


async def test_retry__one__back_in_the_outbox_with_actor_and_event(
    operator: Visitor, letters: None, connection: Connection
) -> None:
    asked = await operator.page(f"/dead-letters/retry?event={FIRST}")
    assert "Send 1 event again?" in asked
    key = KEY.search(asked)
    assert key is not None
    fields = {"key": key[1], "event": str(FIRST)}
    for _ in range(2):  # a double click
        page = await operator.follow(await operator.post("/dead-letters/retry", fields))
        assert "1 event went back into the outbox." in page
    rows = await connection.fetch("SELECT name, actor FROM outbox ORDER BY position")
    assert [tuple(row) for row in rows] == [
        ("it.created", "token"), ("outbox.replayed", "console:ada"),
    ]  # fmt: skip
    page = await operator.act_with(f"/dead-letters/retry?event={FIRST}", fields)
    assert "None of these events is a dead letter any more" in page


@pytest.mark.parametrize("query", ["", "?event=x", "?event=1&event=2"])
async def test_retry__nothing_marked__400(operator: Visitor, query: str) -> None:
    await operator.page(f"/dead-letters/retry{query}", status=400)


async def test_retry_all__that_match__counted_then_done_in_pages(
    operator: Visitor, letters: None, connection: Connection, jobs: Jobs
) -> None:
    await add(connection, PAGE + 7)
    asked = await operator.page("/dead-letters/retry-all?reason=too+many")
    assert f"Send {PAGE + 7} events again?" in asked
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', asked))
    await add_late(connection)
    for _ in range(2):  # a double click
        page = await operator.follow(await operator.post("/dead-letters/retry-all", fields))
        assert f"{PAGE + 7} events are being sent again." in page
        assert f"Sending again: 0 of {PAGE + 7}" in text_of(page)
    refused = await operator.act_with("/dead-letters/retry-all", {"asked_at": fields["asked_at"]})
    assert "Another job of this kind is under way" in refused
    assert await jobs.turn()
    assert f"Sending again: {PAGE} of {PAGE + 7}" in text_of(await operator.page("/dead-letters"))
    while any(await asyncio.gather(jobs.turn(), jobs.turn())):  # as two processes would
        pass
    page = text_of(await operator.page("/dead-letters"))
    assert f"Sent again: {PAGE + 7} of {PAGE + 7}" in page
    left = await connection.fetch("SELECT error FROM outbox_dead_letters ORDER BY refused_at")
    assert [row["error"] for row in left] == ["too long", "too long", EVIL, "too many"]
    events = await connection.fetch(
        "SELECT payload ->> 'events' AS events, actor FROM outbox WHERE name = 'outbox.replayed'"
    )
    assert sorted((row["events"], row["actor"]) for row in events) == [
        (str(PAGE), "console:ada"), ("7", "console:ada"),
    ]  # fmt: skip
    order = await connection.fetch(
        "SELECT event_id FROM outbox WHERE name = 'it.created' ORDER BY position"
    )
    assert [row["event_id"].int for row in order] == [*range(1000, 1000 + PAGE + 7)]


async def add_late(connection: Connection) -> None:
    """A dead letter that was refused after the operator was asked."""
    await connection.execute(
        "INSERT INTO outbox_dead_letters "
        "(event_id, name, subject, payload, created_at, status, error, refused_at) VALUES "
        "(gen_random_uuid(), 'it.created', 'order:9', '{}', '2025-01-01', 422, 'too many', "
        "now() + interval '1 day')"
    )


async def test_retry_all__stopped__the_rest_stays(
    operator: Visitor, connection: Connection, jobs: Jobs
) -> None:
    await add(connection, PAGE + 1)
    await operator.act("/dead-letters/retry-all", **await hidden(operator))
    await jobs.turn()
    page = await operator.act_with("/dead-letters", {}, to="/dead-letters/stop")
    assert f"Stopped: {PAGE} events had been sent again." in page
    assert not await jobs.turn()
    assert await connection.fetchval("SELECT count(*) FROM outbox_dead_letters") == 1
    again = await operator.act("/dead-letters/retry-all", **await hidden(operator))
    assert "1 event" in again


async def hidden(operator: Visitor) -> dict[str, str]:
    """The hidden fields of the form that asks whether to send all again, but for its key."""
    asked = await operator.page("/dead-letters/retry-all")
    found = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', asked))
    del found["key"]
    return found


@pytest.mark.parametrize("asked_at", ["", "x", "9" * 40])
async def test_retry_all__a_bad_form__400(operator: Visitor, asked_at: str) -> None:
    fields = {"key": str(UUID(int=7)), "asked_at": asked_at}
    response = await operator.post("/dead-letters/retry-all", fields)
    assert response.status == 400


async def test_park__an_event_that_waits__a_dead_letter(
    operator: Visitor, connection: Connection
) -> None:
    event_id = await connection.fetchval(
        "INSERT INTO outbox (name, subject, payload) VALUES ('it.is', 'it:1', '{}') "
        "RETURNING event_id"
    )
    assert "was set aside" in await operator.act("/dead-letters/park", event=str(event_id))
    assert ids(await operator.page("/dead-letters")) == [event_id.int]
    again = await operator.act("/dead-letters/park", event=str(event_id))
    assert "No event with this id waits" in again
    bad = await operator.post("/dead-letters/park", {"key": str(UUID(int=7)), "event": "x"})
    assert bad.status == 400
    assert "Must be an event" in await bad.text()


async def test_viewer__dead_letters__no_buttons_and_403(viewer: Visitor, letters: None) -> None:
    page = await viewer.page("/dead-letters")
    assert "again…" not in page
    assert '<input type="checkbox"' not in page
    for path in ("retry", "retry-all", "stop", "park"):
        response = await viewer.post(f"/dead-letters/{path}", {"key": str(UUID(int=7))})
        assert response.status == 403


async def test_forms__from_another_site__403(operator: Visitor, letters: None) -> None:
    cross = {"Sec-Fetch-Site": "cross-site"}
    response = await operator.post("/dead-letters/retry", {"event": str(FIRST)}, cross)
    assert response.status == 403
