"""What the addresses and the forms of bookings may say."""

import re
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import marshmallow
from marshmallow import fields

from rowlock.console.weeks import FIRST_YEAR, LAST_YEAR, find_zone
from rowlock.http.fields import QueryInstant, QueryInteger, Text
from rowlock.pages.lists import FormatQuery

VERSION_LENGTH = 40
WEEK = re.compile(r"[0-9]{4}-W[0-9]{2}")


class WeekField(fields.Field[date]):
    """A week such as 2026-W48: its Monday."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> date:
        try:
            monday = date.fromisoformat(value) if WEEK.fullmatch(value) else None
        except ValueError:
            monday = None
        if monday is None or not FIRST_YEAR < monday.year < LAST_YEAR:
            raise marshmallow.ValidationError(
                f"Must be a week from {FIRST_YEAR + 1} to {LAST_YEAR - 1}, such as 2026-W48."
            )
        return monday


class ZoneField(fields.Field[ZoneInfo]):
    """A time zone by its name in the IANA database."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> ZoneInfo:
        zone = find_zone(value)
        if zone is None:
            raise marshmallow.ValidationError("Must be a time zone, such as Europe/Berlin.")
        return zone


class WeekQuery(FormatQuery):
    """Which week to show, where, and of which service."""

    monday = WeekField(data_key="week", load_default=None)
    zone = ZoneField(load_default=None)
    service = QueryInteger(load_default=None)
    move = QueryInteger(load_default=None)


class ZoneQuery(marshmallow.Schema):
    """What the page of one booking may be told: a zone, and a time to move to."""

    zone = ZoneField(load_default=None)
    at = QueryInstant(load_default=None)


class MoveForm(marshmallow.Schema):
    """Where to move a booking, as clocks show it in a zone, and which version of it was shown."""

    at = fields.String(required=True, error_messages={"required": "Enter a day and a time."})
    offset = Text(longest=len("+00:00"), load_default=None)
    zone = ZoneField(required=True)
    version = Text(longest=VERSION_LENGTH, required=True)


class DeleteForm(marshmallow.Schema):
    """Which version of a booking was shown."""

    version = Text(longest=VERSION_LENGTH, required=True)


WEEK_QUERY, ZONE_QUERY, MOVE_FORM, DELETE_FORM = WeekQuery(), ZoneQuery(), MoveForm(), DeleteForm()
