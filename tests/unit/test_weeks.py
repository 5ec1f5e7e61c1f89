"""Weeks of bookings: hours as clocks show them, and where there is room."""

from datetime import UTC, date, datetime, timedelta
from itertools import chain, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rowlock.console.weeks import (
    Span,
    find_room,
    find_zone,
    lay_out,
    name_week,
    show_offset,
    span_of,
    times_of,
    zone_names,
)
from rowlock.service_orders.rules import DISTANCE, ServiceOrder

MONDAY = date(2026, 11, 23)
START = datetime(2026, 11, 23, tzinfo=UTC)
WEEK = timedelta(days=7)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("monday", "zone", "hours"),
    [
        (MONDAY, "UTC", 168),
        (date(2026, 3, 23), "Europe/Berlin", 167),
        (date(2026, 10, 19), "Europe/Berlin", 169),
        (date(2026, 9, 28), "Australia/Lord_Howe", 167.5),
        (date(2026, 11, 2), "Asia/Kathmandu", 168),
        (date(2011, 12, 26), "Pacific/Apia", 144),  # it went over the date line: a day less
    ],
)
def test_week__clocks_change__every_time_in_one_hour_of_it(
    monday: date, zone: str, hours: float
) -> None:
    where = ZoneInfo(zone)
    week = lay_out(monday, where, [])
    spans = sorted(chain.from_iterable(hour.spans for day in week.days for hour in day.hours))
    assert spans[0].start == week.span.start
    assert spans[-1].end == week.span.end
    assert all(one.end == other.start for one, other in pairwise(spans))
    assert week.span.end - week.span.start == timedelta(hours=hours)
    for day in week.days:
        for number, hour in enumerate(day.hours):
            for span in hour.spans:
                local = span.start.astimezone(where)
                assert (local.date(), local.hour) == (day.date, number)


def test_week__an_hour_that_comes_twice__is_double() -> None:
    week = lay_out(date(2026, 10, 19), ZoneInfo("Europe/Berlin"), [])
    doubles = [
        (day.date.day, number)
        for day in week.days
        for number, hour in enumerate(day.hours)
        if hour.is_double
    ]
    assert doubles == [(25, 2)]


@given(
    some.lists(some.integers(-300, 7 * 1440 + 300), unique=True, max_size=40),
    some.integers(0, 7 * 1440),
)
def test_room__any_bookings__is_where_none_is_less_than_three_hours_away(
    minutes: list[int], asked: int
) -> None:
    others = sorted(START + minute * MINUTE for minute in minutes)
    at = START + asked * MINUTE
    found = find_room(others, Span(START, START + WEEK))
    is_in = any(start <= at <= end for start, end in found)
    assert is_in == all(abs(other - at) >= DISTANCE for other in others)


def test_room__the_booking_that_moves__is_not_in_its_own_way() -> None:
    order = ServiceOrder(1, START + timedelta(hours=10), 1, ())
    kept = lay_out(MONDAY, ZoneInfo("UTC"), [order])
    moved = lay_out(MONDAY, ZoneInfo("UTC"), [order], moving=1)
    assert len(kept.room) == 2
    assert moved.room == [Span(START, START + WEEK)]
    assert moved.days[0].hours[10].orders == [order]


def test_room__not_at_a_whole_minute__begins_at_the_next_one() -> None:
    order = ServiceOrder(1, START + timedelta(milliseconds=1), 1, ())
    week = lay_out(MONDAY, ZoneInfo("UTC"), [order])
    room = week.days[0].hours[3].room
    assert room is not None
    assert room.start == START + timedelta(hours=3, minutes=1)
    assert week.next_room(START) == room.start
    assert week.next_room(START + 2 * WEEK) is None


def test_times__of_a_clock__once_twice_or_never() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert len(times_of(datetime(2026, 11, 23, 9, 30), berlin)) == 1  # noqa: DTZ001
    twice = times_of(datetime(2026, 10, 25, 2, 30), berlin)  # noqa: DTZ001
    assert [show_offset(at, berlin) for at in twice] == ["+02:00", "+01:00"]
    assert times_of(datetime(2026, 3, 29, 2, 30), berlin) == []  # noqa: DTZ001
    assert times_of(datetime(1, 1, 1), ZoneInfo("Asia/Tokyo")) == []  # noqa: DTZ001


def test_zones__names__known_ones_alone() -> None:
    assert "Europe/Berlin" in zone_names()
    assert find_zone("UTC") == ZoneInfo("UTC")
    assert find_zone("../etc/passwd") is None
    assert find_zone("") is None
    assert name_week(date(2027, 1, 1)) == "2026-W53"
    assert span_of(MONDAY, ZoneInfo("UTC")) == Span(START, START + WEEK)
