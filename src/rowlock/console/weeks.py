"""A week of bookings: its hours as clocks show them somewhere, what is booked, and where is room.

A week with a change of clocks has an hour less, or one that comes twice. So each hour of a day is
the times, in UTC, at which clocks there show it: none, one hour, or two.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from rowlock.service_orders.rules import DISTANCE, ServiceOrder

DAYS, HOURS = 7, 24
# All offsets since 1970 are multiples of it.
STEP = timedelta(minutes=15)
MINUTE = timedelta(minutes=1)
FIRST_YEAR, LAST_YEAR = 1970, 9998


@cache
def zone_names() -> Sequence[str]:
    """Return the names of all time zones that this machine knows, sorted."""
    return sorted(available_timezones() - {"Factory", "localtime", "posixrules"} | {"UTC"})


def find_zone(name: str) -> ZoneInfo | None:
    """Return the time zone of a name, or None."""
    return ZoneInfo(name) if name in set(zone_names()) else None


class Span(NamedTuple):
    """From a time to another one, in UTC."""

    start: datetime
    end: datetime


@dataclass(slots=True)
class Hour:
    """An hour of a day, as clocks show it."""

    spans: list[Span] = field(default_factory=list)  # none: clocks skip it
    orders: list[ServiceOrder] = field(default_factory=list)
    room: Span | None = None  # times at which an order may be
    is_free: bool = False  # all of them are

    @property
    def is_double(self) -> bool:
        """Whether clocks show it twice."""
        return sum((end - start for start, end in self.spans), timedelta()) > timedelta(hours=1)


class Day(NamedTuple):
    """A day of the week, midnight to midnight."""

    date: date
    hours: Sequence[Hour]


class Week(NamedTuple):
    """A week from Monday on, somewhere."""

    monday: date
    days: Sequence[Day]
    span: Span
    room: Sequence[Span]  # where an order may be

    @property
    def name(self) -> str:
        """Its name in ISO 8601, such as 2026-W48."""
        return name_week(self.monday)

    def next_room(self, now: datetime) -> datetime | None:
        """Return the first time from `now` on at which an order may be, in whole minutes."""
        for start, end in self.room:
            at = _up(max(start, now))
            if at <= end:
                return at
        return None


def name_week(day: date) -> str:
    """Return the name of a day's week in ISO 8601, such as 2026-W48."""
    year, week, _ = day.isocalendar()
    return f"{year:04d}-W{week:02d}"


def beginning(day: date, zone: ZoneInfo) -> datetime:
    """Return when a day begins in a zone, in UTC."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def span_of(monday: date, zone: ZoneInfo) -> Span:
    """Return the times of a week in a zone."""
    return Span(beginning(monday, zone), beginning(monday + timedelta(days=DAYS), zone))


def lay_out(monday: date, zone: ZoneInfo, orders: Sequence[ServiceOrder], moving: int = 0) -> Week:
    """Return a week with the orders in it.

    `orders` are all of the week, and those near enough to its ends to matter, by time. Where is
    room for the order `moving`, it is not in its own way.
    """
    span = span_of(monday, zone)
    others = [order.starts_at for order in orders if order.id != moving]
    room = find_room(others, span)
    days = [
        Day(monday + timedelta(days=each), [Hour() for _ in range(HOURS)]) for each in range(DAYS)
    ]
    at = span.start
    while at < span.end:
        local = at.astimezone(zone)
        spans = _hour_at(days, local).spans
        if spans and spans[-1].end == at:
            spans[-1] = Span(spans[-1].start, at + STEP)
        else:
            spans.append(Span(at, at + STEP))
        at += STEP
    for order in orders:
        if span.start <= order.starts_at < span.end:
            _hour_at(days, order.starts_at.astimezone(zone)).orders.append(order)
    for day in days:
        for hour in day.hours:
            hour.room, hour.is_free = _room_in(hour, room)
    return Week(monday, days, span, room)


def _hour_at(days: Sequence[Day], local: datetime) -> Hour:
    return days[(local.date() - days[0].date).days].hours[local.hour]


def find_room(others: Sequence[datetime], span: Span) -> Sequence[Span]:
    """Return when an order may be within a span, both ends included; `others` are sorted."""
    found = []
    at = span.start
    for other in others:
        if other - DISTANCE >= at:
            found.append(Span(at, min(other - DISTANCE, span.end)))
        at = max(at, other + DISTANCE)
    if at <= span.end:
        found.append(Span(at, span.end))
    return [one for one in found if one.start <= span.end]


def _room_in(hour: Hour, room: Sequence[Span]) -> tuple[Span | None, bool]:
    """Return the first room in an hour, from a whole minute on, and whether it is all of it."""
    for span in hour.spans:
        for one in room:
            start, end = max(_up(one.start), span.start), min(one.end, span.end)
            if start <= end and start < span.end:
                return Span(start, end), (start, end) == span and len(hour.spans) == 1
    return None, False


def _up(at: datetime) -> datetime:
    """Return the next whole minute."""
    down = at.replace(second=0, microsecond=0)
    return down if down == at else down + MINUTE


def times_of(local: datetime, zone: ZoneInfo) -> Sequence[datetime]:
    """Return when clocks in a zone show a time: once, twice, or never, in UTC."""
    found = set()
    for fold in (0, 1):
        try:
            at = local.replace(tzinfo=zone, fold=fold).astimezone(UTC)
            shown = at.astimezone(zone).replace(tzinfo=None)
        except OverflowError:  # beyond the years that there are
            continue
        if shown == local:
            found.add(at)
    return sorted(found)


def show_offset(at: datetime, zone: ZoneInfo) -> str:
    """Return by how much clocks in a zone are ahead of UTC at a time, such as +01:00."""
    text = at.astimezone(zone).strftime("%z")
    return f"{text[:3]}:{text[3:5]}"
