"""Who users are: creating them, changing their names and addresses, and anonymising them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from rowlock.accounts.rules import (
    Anonymisation,
    AnonymiseUser,
    Change,
    ChangeUser,
    Directory,
    Person,
    RegisterUser,
    decide_anonymisation,
    decide_change,
    decide_registration,
    nameless,
)
from rowlock.origin import SYSTEM
from rowlock.rejections import Rejection

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ADA = Person(1, "ada", "ada@example.com", "Ada", "Lovelace", 500, NOW, None)
GONE = Person(2, "anonymous-2", None, "", "", 500, NOW, NOW)


def directory() -> Directory:
    """Ada, and a user of an earlier release who has no keys."""
    return Directory(
        {"ada", "Grace"}, {"ada@example.com": {1}, "Grace@example.com": {3}, "x@example.com": {4}}
    )


@pytest.mark.parametrize(
    ("username", "email", "code"),
    [
        ("edsger", None, None),
        ("edsger", "edsger@example.com", None),
        ("ada", None, "username_taken"),
        ("\uff21DA", None, "username_taken"),
        ("Grace", None, "username_taken"),
        ("grace", None, None),  # of a user without a key, only the spelling counts
        ("edsger", "ada@example.com", "email_taken"),
        ("edsger", "ADA@Example.COM", "email_taken"),
        ("edsger", "Grace@example.com", "email_taken"),
        ("edsger", "grace@example.com", None),
        ("ada", "ada@example.com", "username_taken"),
    ],
)
def test_decide_registration__any__taken_once(
    username: str, email: str | None, code: str | None
) -> None:
    known = directory()
    command = RegisterUser(username, email)
    outcome = decide_registration(command, -1, known)
    if code is None:
        assert outcome == command
        again = decide_registration(RegisterUser(username.upper(), email), -2, known)
        assert isinstance(again, Rejection)
        assert again.code == "username_taken"
    else:
        assert isinstance(outcome, Rejection)
        assert (outcome.code, outcome.details, known) == (code, {}, directory())


def test_decide_registration__refused_one__takes_neither_name_nor_address() -> None:
    known = directory()
    outcomes = [
        decide_registration(command, -number, known)
        for number, command in enumerate(
            [
                RegisterUser("edsger", "ada@example.com"),
                RegisterUser("Edsger", "edsger@example.com"),
                RegisterUser("barbara", "EDSGER@example.com"),
                RegisterUser("barbara", "barbara@example.com"),
            ],
            start=1,
        )
    ]
    assert [getattr(outcome, "code", "created") for outcome in outcomes] == [
        "email_taken",
        "created",
        "email_taken",
        "created",
    ]


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"email": "ada@example.org"}, ["email"]),
        ({"email": "ADA@example.com"}, ["email"]),  # her own, in another spelling
        ({"email": None}, ["email"]),
        ({"email": "ada@example.com"}, []),
        ({"first_name": "", "last_name": "King"}, ["first_name", "last_name"]),
        ({"first_name": "Ada", "last_name": "King"}, ["last_name"]),
        ({"first_name": "Ada"}, []),
    ],
)
def test_decide_change__possible__made_and_said(changes: dict[str, Any], fields: list[str]) -> None:
    people = {1: ADA}
    outcome = decide_change(ChangeUser(1, changes), people, directory())
    assert outcome == Change(ADA._replace(**changes), fields, SYSTEM)
    assert people == {1: ADA._replace(**changes)}


@pytest.mark.parametrize(
    ("user_id", "changes", "code"),
    [
        (9, {"first_name": "x"}, "user_not_found"),
        (2, {"first_name": "x"}, "user_anonymised"),
        (2, {"first_name": ""}, "user_anonymised"),
        (1, {"email": "X@example.com"}, "email_taken"),
        (1, {"email": "Grace@example.com", "first_name": "x"}, "email_taken"),
    ],
)
def test_decide_change__against_the_rules__says_which_and_changes_nothing(
    user_id: int, changes: dict[str, str | None], code: str
) -> None:
    people, known = {1: ADA, 2: GONE}, directory()
    outcome = decide_change(ChangeUser(user_id, changes), people, known)
    assert isinstance(outcome, Rejection)
    assert outcome.code == code
    assert (people, known) == ({1: ADA, 2: GONE}, directory())


def test_decide_change__an_address_that_a_user_gives_up__can_be_another_ones() -> None:
    bob = Person(5, "bob", "bob@example.com", "", "", 0, NOW, None)
    people, known = {1: ADA, 5: bob}, directory()
    known.move_email(5, None, bob.email)
    codes = [
        getattr(decide_change(ChangeUser(user_id, {"email": email}), people, known), "code", "ok")
        for user_id, email in [
            (5, "ADA@example.com"),
            (1, None),
            (5, "ADA@example.com"),
            (1, "ada@example.com"),
            (1, "Bob@example.com"),
        ]
    ]
    assert codes == ["email_taken", "ok", "ok", "email_taken", "ok"]
    assert [people[1].email, people[5].email] == ["Bob@example.com", "ADA@example.com"]


def test_decide_anonymisation__known_user__once() -> None:
    people = {1: ADA}
    outcome = decide_anonymisation(AnonymiseUser(1), people, "anonymous-1", NOW)
    gone = Person(1, "anonymous-1", None, "", "", 500, NOW, NOW)
    assert outcome == Anonymisation(gone, SYSTEM)
    later = NOW.replace(year=2030)
    assert decide_anonymisation(AnonymiseUser(1), people, "anonymous-1-x", later) == gone
    assert people == {1: gone}
    refused = decide_anonymisation(AnonymiseUser(9), people, "anonymous-9", NOW)
    assert isinstance(refused, Rejection)
    assert refused.code == "user_not_found"


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ({}, "anonymous-7"),
        ({"anonymous-7": 7}, "anonymous-7"),
        ({"anonymous-70": 3}, "anonymous-7"),
        ({"anonymous-7": 3}, "anonymous-7-1f"),
    ],
)
def test_nameless__another_user_has_the_name__another_one(
    taken: dict[str, int], expected: str
) -> None:
    assert nameless(7, taken, "1f") == expected
