"""What the routes of users' names and addresses take, and what they show."""

from typing import Any

import marshmallow

from rowlock.accounts import names
from rowlock.accounts.names import EMAIL_LENGTH, PERSON_LENGTH, USERNAME_LENGTH
from rowlock.accounts.rules import BALANCE_LIMIT, Person
from rowlock.http.bodies import Body, ChangeBody
from rowlock.http.fields import Cents, CheckedText, QueryInteger, Text
from rowlock.http.openapi.shapes import instant, integer, nullable, record, text
from rowlock.http.paging import PAGE_SIZE, PAGE_SIZE_LIMIT, TextCursor

USERNAME: dict[str, Any] = {
    "pattern": names.PATTERN,
    "description": f"Must not begin with `{names.RESERVED}`.",
}


PERSON_NAME: dict[str, Any] = {
    "longest": PERSON_LENGTH,
    "shortest": 0,
    "allow_none": True,
    "metadata": {"pattern": names.PERSON_PATTERN},
}


class UserBody(Body):
    """`{"username": "ada", "email": "ada@example.com", "opening_balance": 50000}`."""

    username = CheckedText(names.problem, required=True, longest=USERNAME_LENGTH, metadata=USERNAME)
    email = CheckedText(
        names.email_problem,
        longest=EMAIL_LENGTH,
        load_default=None,
        allow_none=True,
        metadata={"pattern": names.EMAIL_PATTERN},
    )
    first_name = CheckedText(names.person_problem, load_default=None, **PERSON_NAME)
    last_name = CheckedText(names.person_problem, load_default=None, **PERSON_NAME)
    opening_balance = Cents(minimum=0, maximum=BALANCE_LIMIT, load_default=None, allow_none=True)


class UserChangeBody(ChangeBody):
    """`{"email": null}`: what is left out stays as it is, null removes."""

    email = CheckedText(
        names.email_problem,
        longest=EMAIL_LENGTH,
        allow_none=True,
        metadata={"pattern": names.EMAIL_PATTERN},
    )
    first_name = CheckedText(names.person_problem, **PERSON_NAME)
    last_name = CheckedText(names.person_problem, **PERSON_NAME)


class UsersQuery(marshmallow.Schema):
    """The filters of the list of users."""

    username = Text(
        longest=USERNAME_LENGTH,
        load_default=None,
        metadata={"description": "How the username begins.", "examples": ["ad"]},
    )
    email = Text(
        longest=EMAIL_LENGTH,
        load_default=None,
        metadata={"description": "How the address begins.", "examples": ["ada@"]},
    )
    limit = QueryInteger(maximum=PAGE_SIZE_LIMIT, load_default=PAGE_SIZE)
    after = TextCursor(data_key="cursor", load_default=None)


USERS_QUERY = UsersQuery()
USER_BODY = UserBody()
CHANGE_BODY = UserChangeBody()

PERSON = record(
    "Person",
    user_id=integer(1),
    username=text("ada"),
    email=nullable(text("ada@example.com")),
    first_name=text("Ada"),
    last_name=text("Lovelace"),
    balance=integer(241_817, minimum=0),
    created_at=instant(),
    anonymised_at={**nullable(instant()), "examples": [None]},
)


def show(person: Person) -> dict[str, Any]:
    """Return a user as PERSON."""
    return {
        "user_id": person.id,
        "username": person.username,
        "email": person.email,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "balance": person.balance,
        "created_at": person.created_at,
        "anonymised_at": person.anonymised_at,
    }
