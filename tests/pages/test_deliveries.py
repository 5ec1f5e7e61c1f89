"""The console's deliveries: why they fail, sent again: one, some, all; and each subscription."""

import csv
import io
import re
from collections.abc import AsyncIterator

import pytest

from rowlock.engine.database import Database
from rowlock.engine.jobs import Jobs
from rowlock.events.transactions import append
from rowlock.settings import Settings
from rowlock.subscriptions.resending import PAGE, RESEND_ALL, resending
from tests.support.console import KEY, Visitor, text_of
from tests.support.statements import counted
from tests.support.types import Connection

EVIL = "<script>alert('x')</script>"
KEY_OF_OURS = "00000000-0000-4000-8000-000000000007"


@pytest.fixture
async def subscriptions(log: Connection) -> None:
    """Subscription 1 is active, and has given up two deliveries; 2 is disabled, and hostile."""
    await log.execute(
        """
        INSERT INTO subscriptions
        (url, names, secret, created_by, starts_after, status, reason, description) VALUES
        ('https://one.example/hook', '{invoice.*}', 'whsec_one', 'token', 0, 'active', NULL, NULL),
        ('https://two.example/hook', '{*}', 'whsec_two', 'token', 0, 'disabled', 'failing',
        $x$<script>alert('x')</script>$x$);
        INSERT INTO deliveries
        (subscription_id, event_id, name, status, attempts, problem, due_at, finished_at) VALUES
        (1, 7, 'invoice.paid', 'failed', 11, 'http_500', NULL, now()),
        (1, 8, 'invoice.paid', 'failed', 11, 'timeout', NULL, now()),
        (1, 9, 'invoice.paid', 'pending', 2, 'http_500', now() + interval '1 hour', NULL),
        (2, 9, 'invoice.paid', 'failed', 1, 'disabled', NULL, now());
        """
    )


@pytest.fixture
async def jobs(events_database_url: str, settings: Settings) -> AsyncIterator[Jobs]:
    """What does the jobs, by hand."""
    async with Database(events_database_url, settings.database) as database:
        yield Jobs(database, settings.batches, {RESEND_ALL: resending(append)})


def ids(page: str) -> list[int]:
    """The ids of the deliveries that a list shows."""
    return [int(found) for found in re.findall(r'<tr id="delivery-(\d+)"', page)]


async def add(log: Connection, how_many: int) -> None:
    """Add deliveries to subscription 1 that were given up."""
    await log.execute(
        "INSERT INTO deliveries (subscription_id, event_id, name, status, attempts, problem, "
        "finished_at) SELECT 1, n, 'invoice.paid', 'failed', 11, 'http_503', now() "
        "FROM generate_series(1, $1) AS n",
        how_many,
    )


async def test_list__no_filters__newest_first_with_reasons(
    operator: Visitor, subscriptions: None
) -> None:
    page = await operator.page("/deliveries")
    assert ids(page) == [4, 3, 2, 1]
    assert "whsec_" not in page
    assert EVIL not in page
    assert "https://one.example/hook" in page
    assert "timeout 1 1" in text_of(page)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=failed", [4, 2, 1]),
        ("subscription=1&status=failed", [2, 1]),
        ("reason=http_500", [3, 1]),
        ("subscription=3", []),
        ("subscription=&status=&reason=", [4, 3, 2, 1]),
    ],
)
async def test_list__filters_of_the_url__applied(
    operator: Visitor, subscriptions: None, query: str, found: list[int]
) -> None:
    page = await operator.page(f"/deliveries?{query}")
    assert ids(page) == found
    assert found or "No delivery matches" in page


@pytest.mark.parametrize(
    "query", ["status=odd", "subscription=x", "subscription=" + "9" * 30, "other=1"]
)
async def test_list__bad_filters__400_and_what_is_wrong(operator: Visitor, query: str) -> None:
    page = await operator.page(f"/deliveries?{query}", status=400)
    assert 'class="problem"' in page


async def test_list__nothing_there__says_what_would_be(operator: Visitor) -> None:
    page = await operator.page("/deliveries")
    assert "No subscriptions yet" in page
    assert "No deliveries to show" in page


async def test_list__many__pages_by_key_csv_of_all_and_few_statements(
    operator: Visitor, subscriptions: None, log: Connection
) -> None:
    await operator.page("/deliveries")  # connections are opened
    with counted() as few:
        await operator.page("/deliveries")
    await add(log, 1100)
    with counted() as many:
        first = await operator.page("/deliveries?reason=http_503")
    assert few == many
    assert few.total() == 7, few  # two of the rail
    assert ids(first) == [*range(1104, 1054, -1)]
    older = re.search(r'href="([^"]*)" rel="next"', first)
    assert older is not None
    assert ids(await operator.page(older[1].replace("&amp;", "&")))[0] == 1054
    response = await operator.get("/deliveries?reason=http_503&format=csv")
    rows = [*csv.reader(io.StringIO(await response.text()))]
    assert [int(row[0]) for row in rows[1:]] == [*range(1104, 4, -1)]


async def test_resend__marked__each_done_or_refused_by_itself(
    operator: Visitor, subscriptions: None, log: Connection
) -> None:
    asked = await operator.page("/deliveries/resend?delivery=1&delivery=4")
    assert "Post 2 deliveries again?" in asked
    key = KEY.search(asked)
    assert key is not None
    body = f"key={key[1]}&delivery=1&delivery=4"
    for _ in range(2):  # a double click
        page = await operator.follow(await operator.post_text("/deliveries/resend", body))
        assert "1 delivery will be posted again. 1 refused:" in text_of(page)
    statuses = await log.fetch("SELECT status FROM deliveries WHERE id IN (1, 4) ORDER BY id")
    assert [row["status"] for row in statuses] == ["pending", "failed"]
    [event] = await log.fetch("SELECT name, actor FROM events")
    assert tuple(event) == ("subscription.resent", "console:ada")


@pytest.mark.parametrize("query", ["", "?delivery=x", "?delivery=" + "9" * 30])
async def test_resend__nothing_marked__400(operator: Visitor, query: str) -> None:
    await operator.page(f"/deliveries/resend{query}", status=400)


async def test_resend_all__that_match__counted_then_done_in_pages(
    operator: Visitor, subscriptions: None, log: Connection, jobs: Jobs
) -> None:
    await add(log, PAGE + 7)
    asked = await operator.page("/deliveries/resend-all?reason=http_503&subscription=1")
    assert f"Post {PAGE + 7} deliveries again?" in asked
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', asked))
    for _ in range(2):  # a double click
        page = await operator.follow(await operator.post("/deliveries/resend-all", fields))
        assert f"Preparing to post again: 0 of {PAGE + 7}" in text_of(page)
    again = await operator.act_with("/deliveries/resend-all", {"until": "9"})
    assert "Another job of this kind is under way" in again
    while await jobs.turn():
        pass
    page = text_of(await operator.page("/deliveries"))
    assert f"Prepared to post again: {PAGE + 7} of {PAGE + 7}" in page
    pending = await log.fetchval("SELECT count(*) FROM deliveries WHERE status = 'pending'")
    assert pending == PAGE + 7 + 1
    events = await log.fetch("SELECT DISTINCT name, actor FROM events")
    assert [tuple(row) for row in events] == [("subscription.resent", "console:ada")]


@pytest.mark.parametrize("until", ["", "x", "-1", "9" * 30])
async def test_resend_all__a_bad_form__400(operator: Visitor, until: str) -> None:
    fields = {"key": KEY_OF_OURS, "until": until}
    assert (await operator.post("/deliveries/resend-all", fields)).status == 400


async def test_stop__nothing_under_way__refused_in_words(
    operator: Visitor, subscriptions: None
) -> None:
    page = await operator.act_with("/deliveries/resend-all", {}, to="/deliveries/stop")
    assert "No such job is under way any more" in page


async def test_subscription__disabled_enabled_tested_recovered(
    operator: Visitor, subscriptions: None, log: Connection
) -> None:
    path = "/deliveries/subscriptions/1"
    page = await operator.page(path)
    assert "Disable…" in page
    assert "whsec_" not in page
    assert EVIL not in await operator.page("/deliveries/subscriptions/2")
    assert "Subscription 1 is disabled." in await operator.act(f"{path}/disable")
    assert "Enable…" in await operator.page(path)
    assert "is not active" in (await operator.act(f"{path}/test")).replace("disabled", "not active")
    assert "Subscription 1 is enabled." in await operator.act(f"{path}/enable")
    assert "A test is on its way" in await operator.act(f"{path}/test")
    assert "once more" in await operator.act(f"{path}/recover", since="2026-11-01")
    names = await log.fetch("SELECT name, actor FROM events ORDER BY id")
    assert [row["name"] for row in names] == [
        "subscription.disabled", "subscription.enabled", "subscription.tested",
        "subscription.recovery_asked",
    ]  # fmt: skip
    assert {row["actor"] for row in names} == {"console:ada"}


@pytest.mark.parametrize("given", ["", "yesterday", "0"])
async def test_recover__a_bad_day__the_form_again(
    operator: Visitor, subscriptions: None, given: str
) -> None:
    response = await operator.post(
        "/deliveries/subscriptions/1/recover", {"key": KEY_OF_OURS, "since": given}
    )
    assert response.status == 400
    assert 'name="since"' in await response.text()


@pytest.mark.parametrize(
    "path", ["99", "x", "0", "9" * 30, "1/odd", "99/enable", "99/recover", "%00/test"]
)
async def test_subscription__unknown__a_page_with_404(
    operator: Visitor, subscriptions: None, path: str
) -> None:
    await operator.page(f"/deliveries/subscriptions/{path}", status=404)


async def test_viewer__deliveries__no_buttons_and_403(viewer: Visitor, subscriptions: None) -> None:
    page = await viewer.page("/deliveries")
    assert "again…" not in page
    assert "Disable…" not in await viewer.page("/deliveries/subscriptions/1")
    for path in ("resend", "resend-all", "stop", "subscriptions/1/disable"):
        response = await viewer.post(f"/deliveries/{path}", {"key": KEY_OF_OURS})
        assert response.status == 403
