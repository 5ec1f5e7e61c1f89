"""What is entered in forms and filters, besides what `http.fields` has: days and amounts."""

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, DecimalException
from typing import Any

import marshmallow

from rowlock.http.fields import QueryInstant

GROUPED = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?")


class Day(marshmallow.fields.Field[datetime]):
    """A day in UTC: its beginning, or its end if `is_end`. Or a time with an offset."""

    def __init__(self, *, is_end: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._shift = timedelta(days=is_end)
        self._instant = QueryInstant()

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> datetime:
        try:
            return datetime.combine(date.fromisoformat(value), time(), UTC) + self._shift
        except (ValueError, OverflowError):
            pass
        try:
            at: datetime = self._instant.deserialize(value)
        except marshmallow.ValidationError:
            raise marshmallow.ValidationError(
                "Must be a day, such as 2026-11-21, or a time such as 2026-11-21T09:30:00Z."
            ) from None
        return at


class Amount(marshmallow.fields.Field[int]):
    """An amount in major units, loaded as minor ones: 75.99 is 7599 where there are 2 decimals.

    Commas may stand between thousands, as pages show them, and nowhere else: 5,99 is not 599.
    """

    def __init__(self, decimals: int, *, maximum: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._decimals = decimals
        self._maximum = maximum

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        plain = value.replace(",", "") if GROUPED.fullmatch(value) else value
        try:
            minor = Decimal(plain).scaleb(self._decimals)
        except DecimalException:
            minor = Decimal(0)
        if not minor.is_finite() or minor != minor.to_integral_value() or minor < 1:
            example = f"{Decimal(7599).scaleb(-self._decimals):f}"
            raise marshmallow.ValidationError(f"Must be an amount above 0, such as {example}.")
        if minor > self._maximum:
            raise marshmallow.ValidationError("Must be less.")
        return int(minor)
