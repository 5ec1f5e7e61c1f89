"""Fields of the rows of files, as strict as those of the API."""

from datetime import UTC, datetime, timedelta
from typing import Any

import marshmallow
from marshmallow import fields

from rowlock import texts
from rowlock.accounts import names
from rowlock.accounts.names import EMAIL_LENGTH
from rowlock.http.fields import CheckedText, Integer, Text

LAST_ID = 2**62  # half of bigint: the ids of later rows need room beyond it
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
CLOCKS_DIFFER = timedelta(days=1)  # from that of the database that a file comes from


class Time(fields.Field[datetime]):
    """A time in ISO 8601 since 1970, not in the future; without an offset it is UTC."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> datetime:
        try:
            time = datetime.fromisoformat(value)
            time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        except (TypeError, ValueError, OverflowError):
            raise marshmallow.ValidationError("Must be a time in ISO 8601.") from None
        if time < EARLIEST:
            raise marshmallow.ValidationError("Must not be before 1970.")
        if time > datetime.now(UTC) + CLOCKS_DIFFER:
            raise marshmallow.ValidationError("Must not be in the future.")
        return time


def row_id(*, required: bool = False) -> Integer:
    """Return the field of an id that a row had elsewhere, or of the row that it belongs to."""
    return Integer(maximum=LAST_ID, **_given(required))


def time(*, required: bool = False) -> Time:
    """Return the field of the time when something was created."""
    return Time(**_given(required))


def text(longest: int) -> Text:
    """Return the field of a text that may be missing."""
    return Text(longest=longest, load_default=None)


def email(*, required: bool = False) -> CheckedText:
    """Return the field of an address."""
    return CheckedText(_email_problem, longest=EMAIL_LENGTH, **_given(required))


def _given(required: bool) -> dict[str, Any]:
    return {"required": True} if required else {"load_default": None}


def _email_problem(text: str) -> str | None:
    local, _, domain = text.rpartition("@")
    is_one_word = text.split() == [text] and not texts.HIDDEN.search(text)
    if local and domain and is_one_word and names.stored_key(text) is not None:
        return None
    return "Must be an address, such as ada@example.com."
