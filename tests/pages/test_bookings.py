"""The console's bookings: the week, its free times, time zones, moving and deleting."""

import csv
import io
import re

import pytest

from tests.support.console import KEY, Visitor, text_of
from tests.support.statements import counted
from tests.support.types import Connection

EVIL = "<script>alert('x')</script>"
RAIL = {"console/count_waiting": 1, "subscriptions/count_failing": 1}
WEEK = "/bookings?week=2026-W48"


@pytest.fixture
async def bookings(connection: Connection) -> None:
    """Booking 1 is on Tuesday at 10:30, booking 2 at 18:00, in UTC."""
    await connection.execute(
        """
        INSERT INTO services (name) VALUES ('Inspection'), ($x$<script>alert('x')</script>$x$);
        INSERT INTO service_orders (id, starts_at, fee) VALUES
        (1, '2026-11-24T10:30Z', 4900), (2, '2026-11-24T18:00Z', 100);
        INSERT INTO service_order_services (order_id, service_id) VALUES (1, 1), (1, 2), (2, 2)
        """
    )


def shown(page: str) -> dict[int, str]:
    """When the bookings of a week are, as it shows them."""
    found = re.findall(r'id="booking-(\d+)"[^>]*><time[^>]*>([^<]*)', page)
    return {int(order_id): text for order_id, text in found}


def fields_of(page: str) -> dict[str, str]:
    """The hidden fields of a form."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))


async def test_week__with_bookings__when_they_are_and_what_is_free(
    operator: Visitor, bookings: None
) -> None:
    page = await operator.page(WEEK)
    assert shown(page) == {1: "10:30", 2: "18:00"}
    assert EVIL not in page
    text = text_of(page)
    assert "2026-W48, from 23 November 2026" in text
    assert "times in UTC" in text
    # Three hours from 10:30, and from 18:00.
    assert "to 07:30" in text
    assert "from 13:30" in text
    assert page.count('class="taken') == 5 + 5


async def test_week__another_zone__its_days_and_hours_and_kept(
    operator: Visitor, bookings: None
) -> None:
    page = await operator.page(f"{WEEK}&zone=Asia/Kathmandu")
    assert shown(page) == {1: "16:15", 2: "23:45"}
    assert "times in Asia/Kathmandu" in text_of(page)
    assert "times in Asia/Kathmandu" in text_of(await operator.page(WEEK))
    assert shown(await operator.page(f"{WEEK}&zone=UTC")) == {1: "10:30", 2: "18:00"}


async def test_week__clocks_change__an_hour_skipped_or_twice(
    operator: Visitor, connection: Connection
) -> None:
    await connection.execute(
        "INSERT INTO service_orders (starts_at, fee, imported) VALUES "
        "('2026-10-25T00:30Z', 1, true), ('2026-10-25T01:30Z', 1, true)"
    )
    autumn = await operator.page("/bookings?week=2026-W43&zone=Europe/Berlin")
    assert shown(autumn) == {1: "02:30", 2: "02:30"}
    assert "comes twice" in autumn
    assert re.search("02:30 CEST.*02:30 CET", text_of(autumn))
    spring = await operator.page("/bookings?week=2026-W13&zone=Europe/Berlin")
    assert spring.count("clocks skip it") == 1


@pytest.mark.parametrize(
    "query",
    [
        "week=x", "week=2026-W54", "week=0001-W01", "week=9999-W52", "zone=Mars/Olympus",
        "zone=../../etc/passwd", "service=x", "move=0", "other=1", "format=pdf",
    ],
)  # fmt: skip
async def test_week__bad_query__400_and_what_is_wrong(operator: Visitor, query: str) -> None:
    page = await operator.page(f"/bookings?{query}", status=400)
    assert 'class="problem"' in page


@pytest.mark.parametrize("week", ["1971-W01", "9997-W52", "2026-W53"])
async def test_week__far_away__shown(operator: Visitor, week: str) -> None:
    for zone in ("Pacific/Kiritimati", "Australia/Lord_Howe", "America/Los_Angeles"):
        assert week in await operator.page(f"/bookings?week={week}&zone={zone}")


async def test_week__nothing_asked__this_week_and_its_neighbours(operator: Visitor) -> None:
    page = await operator.page("/bookings")
    assert 'rel="prev"' in page
    assert "free from" in text_of(page)


async def test_week__of_one_service__the_others_faint(operator: Visitor, bookings: None) -> None:
    page = await operator.page(f"{WEEK}&service=1")
    assert re.findall(r'class="booking([^"]*)"', page) == ["", " faint"]


async def test_week__csv__its_bookings(operator: Visitor, bookings: None) -> None:
    response = await operator.get(f"{WEEK}&zone=Europe/Berlin&format=csv")
    rows = [*csv.reader(io.StringIO(await response.text()))]
    assert [row[:4] for row in rows[1:]] == [
        ["1", "2026-11-24T10:30:00Z", "2026-11-24T11:30:00+01:00", "4900"],
        ["2", "2026-11-24T18:00:00Z", "2026-11-24T19:00:00+01:00", "100"],
    ]


async def test_week__statements__as_many_for_fifty_as_for_none(
    operator: Visitor, connection: Connection
) -> None:
    await operator.page(WEEK)
    with counted() as few:
        await operator.page(WEEK)
    await connection.execute(
        "INSERT INTO service_orders (starts_at, fee) SELECT "
        "'2026-11-23Z'::timestamptz + n * interval '3 h', 1 FROM generate_series(0, 55) AS n"
    )
    with counted() as many:
        page = await operator.page(WEEK)
    lists = {"service_orders/list_orders": 1, "service_orders/list_services": 1}
    assert few == many == {**RAIL, **lists}
    assert len(shown(page)) == 56
    assert "this week is over" in page or "no free time" in page


async def test_booking__its_page__facts(operator: Visitor, bookings: None) -> None:
    page = await operator.page("/bookings/1")
    assert EVIL not in page
    text = text_of(page)
    assert "Tuesday, 24 November 2026, 10:30" in text
    assert "49.00 EUR" in text
    assert "Move…" in text


@pytest.mark.parametrize("given", ["99", "x", "0", "9" * 30, "%00"])
@pytest.mark.parametrize("action", ["", "/move", "/delete"])
async def test_booking__unknown__404(operator: Visitor, given: str, action: str) -> None:
    await operator.page(f"/bookings/{given}{action}", status=404)


async def test_move__by_the_free_times_of_a_week__done_with_actor_and_event(
    operator: Visitor, bookings: None, connection: Connection
) -> None:
    week = await operator.page(f"{WEEK}&zone=Europe/Berlin&move=1")
    free = re.findall(r'class="room" href="(/bookings/1/move[^"]*)"', week)
    [wednesday] = [one for one in free if "2026-11-25T08%3A00" in one]
    form = await operator.page(wednesday.replace("&amp;", "&"))
    assert 'value="2026-11-25T09:00"' in form
    fields = fields_of(form) | {"at": "2026-11-25T09:00"}
    for _ in range(2):  # sent twice, it acts once
        page = await operator.follow(await operator.post("/bookings/1/move", fields))
        assert "Booking 1 is at Wed 25 Nov 2026 09:00 (Europe/Berlin) now." in page
    row = await connection.fetchrow("SELECT * FROM service_orders WHERE id = 1")
    assert row is not None
    assert (row["starts_at"].isoformat(), row["fee"], row["version"]) == (
        "2026-11-25T08:00:00+00:00",
        4900,
        2,
    )
    [event] = await connection.fetch("SELECT name, actor FROM outbox")
    assert (event["name"], event["actor"]) == ("service_order.updated", "console:ada")


async def test_move__too_close__says_to_what_and_where_is_room(
    operator: Visitor, bookings: None
) -> None:
    await operator.page("/bookings?zone=Europe/Berlin")
    fields = fields_of(await operator.page("/bookings/1/move"))
    response = await operator.post("/bookings/1/move", fields | {"at": "2026-11-24T18:00"})
    assert response.status == 409
    page = await response.text()
    assert (
        "Booking 2 at Tue 24 Nov 2026 19:00 (Europe/Berlin) is less than three hours away." in page
    )
    assert "Tue 24 Nov 2026 16:00 (Europe/Berlin) and Tue 24 Nov 2026 22:00" in page
    assert 'value="2026-11-24T18:00"' in page
    again = fields_of(page)
    assert again["key"] != fields["key"]
    moved = await operator.post("/bookings/1/move", again | {"at": "2026-11-24T16:00"})
    assert moved.status == 303


async def test_move__in_two_tabs__the_second_is_told(operator: Visitor, bookings: None) -> None:
    first = fields_of(await operator.page("/bookings/1/move"))
    second = fields_of(await operator.page("/bookings/1/move"))
    await operator.post("/bookings/1/move", first | {"at": "2026-11-26T09:00"})
    response = await operator.post("/bookings/1/move", second | {"at": "2026-11-27T09:00"})
    page = text_of(await response.text())
    assert response.status == 409
    assert "Service order 1 has changed since: it is in version 2 now." in page
    assert "Thursday, 26 November 2026" in page


@pytest.mark.parametrize(
    ("at", "problem"),
    [
        ("", "Enter a day and a time."),
        ("x", "Must be a day and a time"),
        ("2026-02-30T10:00", "Must be a day and a time"),
        ("9999-12-31T23:59", "Must be between the years 1 and 9999."),
        ("0001-01-01T00:00", "never show this time"),
        ("2026-03-29T02:30", "never show this time"),
        ("2026-10-25T02:30", "show this time twice"),
        ("9" * 500, "Must be a day and a time"),
    ],
)
async def test_move__a_bad_time__the_form_again_with_what_is_wrong(
    operator: Visitor, bookings: None, connection: Connection, at: str, problem: str
) -> None:
    fields = fields_of(await operator.page("/bookings/1/move?zone=Europe/Berlin"))
    response = await operator.post("/bookings/1/move", fields | {"at": at})
    assert response.status == 400
    assert problem in await response.text()
    assert await connection.fetchval("SELECT version FROM service_orders WHERE id = 1") == 1


async def test_move__a_time_that_comes_twice__the_one_that_was_chosen(
    operator: Visitor, bookings: None, connection: Connection
) -> None:
    fields = fields_of(await operator.page("/bookings/1/move?zone=Europe/Berlin"))
    wanted = fields | {"at": "2026-10-25T02:30"}
    page = await (await operator.post("/bookings/1/move", wanted)).text()
    assert re.findall(r"<option[^>]*>(\+0\d:00)", page) == ["+02:00", "+01:00"]
    again = fields_of(page) | {"at": "2026-10-25T02:30", "offset": "+01:00"}
    assert (await operator.post("/bookings/1/move", again)).status == 303
    at = await connection.fetchval("SELECT starts_at FROM service_orders WHERE id = 1")
    assert at.isoformat() == "2026-10-25T01:30:00+00:00"


async def test_delete__confirmed_twice__done_once(
    operator: Visitor, bookings: None, connection: Connection
) -> None:
    asked = await operator.page("/bookings/2/delete")
    assert "Tue 24 Nov 2026 18:00 (UTC)" in asked
    fields = fields_of(asked)
    for _ in range(2):
        page = await operator.follow(await operator.post("/bookings/2/delete", fields))
        assert "Booking 2 was deleted." in page
    assert await connection.fetchval("SELECT count(*) FROM service_orders") == 1
    [event] = await connection.fetch("SELECT name, actor FROM outbox")
    assert (event["name"], event["actor"]) == ("service_order.deleted", "console:ada")


@pytest.mark.parametrize("version", ["7", "", "x" * 100])
async def test_delete__another_version_than_was_shown__told(
    operator: Visitor, bookings: None, connection: Connection, version: str
) -> None:
    fields = fields_of(await operator.page("/bookings/2/delete")) | {"version": version}
    page = await operator.follow(await operator.post("/bookings/2/delete", fields))
    assert "Service order 2 has changed since" in page
    assert await connection.fetchval("SELECT count(*) FROM service_orders") == 2


async def test_viewer__bookings__no_buttons_and_403(viewer: Visitor, bookings: None) -> None:
    page = text_of(await viewer.page("/bookings/1"))
    assert "Move…" not in page
    assert "Delete…" not in page
    for action in ("move", "delete"):
        assert (await viewer.post(f"/bookings/1/{action}", {"key": "x"})).status == 403


@pytest.mark.parametrize("action", ["move", "delete"])
async def test_action__cross_site_or_no_key__refused(
    operator: Visitor, bookings: None, connection: Connection, action: str
) -> None:
    fields = {"at": "2026-11-26T09:00", "zone": "UTC", "version": "1"}
    path = f"/bookings/1/{action}"
    away = await operator.post(path, fields, {"Sec-Fetch-Site": "cross-site"})
    assert away.status == 403
    assert KEY.search(await away.text()) is None
    assert (await operator.post(path, fields)).status == 400
    assert await connection.fetchval("SELECT count(*) FROM outbox") == 0
