"""Lock, decide, write: who users are, by their names and addresses."""

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import asyncpg

from rowlock.accounts import names
from rowlock.accounts.events import USER_ANONYMISED, USER_CHANGED, UserChanged
from rowlock.accounts.rules import (
    NO_NAMES,
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
    spellings,
)
from rowlock.accounts.transactions import find_known, open_accounts
from rowlock.engine import outbox
from rowlock.engine.database import Connection
from rowlock.engine.faults import Conflict
from rowlock.engine.locks import Aside, Lockable, Locks
from rowlock.engine.outbox import Event
from rowlock.engine.statements import queries
from rowlock.rejections import Rejection

if TYPE_CHECKING:
    from rowlock.engine.typed.accounts import ListUsersRow, LockPeopleRow

# The unique indexes on names and addresses.
NAMES = frozenset(
    {"users_username_key", "users_name_key_idx", "users_email_key", "users_email_key_idx"}
)

# Not accounts.transactions.USERS: a username or an address is written under a stronger lock, for
# which foreign keys wait, too.
PEOPLE: "Lockable[LockPeopleRow]" = Lockable(
    wait=lambda connection, ids: queries.accounts.lock_people(connection, user_ids=ids),
    take_free=lambda connection, ids: queries.accounts.lock_free_people(connection, user_ids=ids),
    find=find_known,
    id_of=lambda row: row["id"],
)
# The same rows, where usernames and addresses stay: orders and invoices are created meanwhile.
PROFILES: "Lockable[LockPeopleRow]" = replace(
    PEOPLE,
    wait=lambda connection, ids: queries.accounts.lock_profiles(connection, user_ids=ids),
    take_free=lambda connection, ids: queries.accounts.lock_free_profiles(connection, user_ids=ids),
)


def read_person(row: "ListUsersRow | LockPeopleRow") -> Person:
    """Return a row of a user as one."""
    return Person(
        row["id"],
        row["username"],
        row["email"],
        row["first_name"],
        row["last_name"],
        row["balance"],
        row["created_at"],
        row["anonymised_at"],
    )


async def register_users(
    connection: Connection, commands: Sequence[RegisterUser]
) -> list[Person | Rejection]:
    """Return the user that each command has created, or why it has created none."""
    directory = await _open_directory(
        connection,
        [command.username for command in commands],
        [command.email for command in commands if command.email is not None],
    )
    outcomes = [
        decide_registration(command, -number, directory)
        for number, command in enumerate(commands, start=1)
    ]
    new = [outcome for outcome in outcomes if isinstance(outcome, RegisterUser)]
    created = iter(await _register(connection, new) if new else ())
    return [next(created) if isinstance(each, RegisterUser) else each for each in outcomes]


async def _register(connection: Connection, new: Sequence[RegisterUser]) -> list[Person]:
    """Write new users. Raises Conflict if another transaction has just taken a name of theirs."""
    usernames = [names.normalise(command.username) for command in new]
    rows = await queries.accounts.register_users(
        connection,
        usernames=usernames,
        name_keys=[names.key(command.username) for command in new],
        emails=[command.email for command in new],
        email_keys=[None if command.email is None else names.key(command.email) for command in new],
        first_names=[command.first_name for command in new],
        last_names=[command.last_name for command in new],
    )
    if len(rows) < len(new):
        raise Conflict
    found = {row["username"]: row for row in rows}
    created = [
        Person(
            found[username]["id"],
            username,
            command.email,
            command.first_name,
            command.last_name,
            command.opening_balance,
            found[username]["created_at"],
            anonymised_at=None,
        )
        for username, command in zip(usernames, new, strict=True)
    ]
    await open_accounts(
        connection,
        [
            (person.id, person.balance, command.origin)
            for person, command in zip(created, new, strict=True)
        ],
    )
    return created


async def change_users(
    connection: Connection, commands: Sequence[ChangeUser], locks: Locks | None = None
) -> list[Person | Rejection | Aside]:
    """Return each command's user as the command left it, or why it was refused."""
    locks = locks or Locks()
    moves_addresses = any("email" in command.changes for command in commands)
    rows = await locks.take(
        connection,
        PEOPLE,
        {command.user_id for command in commands},
        how=PEOPLE if moves_addresses else PROFILES,
    )
    people = {row["id"]: read_person(row) for row in rows}
    emails = [command.changes.get("email") for command in commands]
    directory = await _open_directory(connection, [], [email for email in emails if email])

    def decide(command: ChangeUser) -> Change | Rejection | Aside:
        left = locks.left(PEOPLE, command.user_id)
        return left or decide_change(command, people, directory)

    outcomes = [decide(command) for command in commands]
    changes = [each for each in outcomes if isinstance(each, Change) and each.fields]
    changed = {change.person.id for change in changes}
    if changed:
        await _change(connection, [row for row in rows if row["id"] in changed], people)
        await outbox.append(connection, [_describe_change(change) for change in changes])
    return [outcome.person if isinstance(outcome, Change) else outcome for outcome in outcomes]


async def _change(
    connection: Connection, rows: Sequence["LockPeopleRow"], people: Mapping[int, Person]
) -> None:
    """Write the users whose `rows` were locked as they are now.

    Raises Conflict if another transaction has just taken an address of theirs.
    """
    final = [people[row["id"]] for row in rows]
    owners = {
        text: person.id for person in final if person.email for text in spellings(person.email)
    }
    passed_on = [
        row["id"]
        for row in rows
        if row["email"] is not None
        and any(owners.get(text, row["id"]) != row["id"] for text in spellings(row["email"]))
    ]
    if passed_on:  # a unique index looks at each row as it is written, not at the end
        await queries.accounts.release_emails(connection, user_ids=passed_on)
    with _conflict_of_names():
        await queries.accounts.change_users(
            connection,
            user_ids=[person.id for person in final],
            emails=[person.email for person in final],
            email_keys=[
                _email_key(person.email, row) for row, person in zip(rows, final, strict=True)
            ],
            first_names=[person.first_name for person in final],
            last_names=[person.last_name for person in final],
        )


def _email_key(email: str | None, row: "LockPeopleRow") -> str | None:
    if email is None:
        return None
    # An address that stays may have no key: that of an earlier release, which an older user has.
    return row["email_key"] if email == row["email"] else names.key(email)


def _describe_change(change: Change) -> Event:
    payload: UserChanged = {"user_id": change.person.id, "changed": change.fields}
    return USER_CHANGED.event(payload, change.origin)


async def anonymise_users(
    connection: Connection, commands: Sequence[AnonymiseUser], locks: Locks | None = None
) -> list[Person | Rejection | Aside]:
    """Return each command's user without names, or why there is none.

    Names and addresses go from kept answers, too, and from events that are still in this database.
    """
    locks = locks or Locks()
    rows = await locks.take(connection, PEOPLE, {command.user_id for command in commands})
    people = {row["id"]: read_person(row) for row in rows}
    usernames = await _draw_usernames(connection, list(people))
    now = rows[0]["now"] if rows else datetime.now(UTC)

    def decide(command: AnonymiseUser) -> Anonymisation | Person | Rejection | Aside:
        left = locks.left(PEOPLE, command.user_id)
        username = usernames.get(command.user_id, "")
        return left or decide_anonymisation(command, people, username, now)

    outcomes = [decide(command) for command in commands]
    anonymised = [each for each in outcomes if isinstance(each, Anonymisation)]
    if anonymised:
        await _anonymise(connection, [each.person for each in anonymised], now)
        await outbox.append(connection, [_describe_anonymisation(each) for each in anonymised])
        await _scrub_answers(connection, [each.person for each in anonymised])
    return [each.person if isinstance(each, Anonymisation) else each for each in outcomes]


async def _draw_usernames(connection: Connection, user_ids: Collection[int]) -> dict[int, str]:
    """Return what the users are called once they are anonymised, by id."""
    due = [nameless(user_id, {}, "") for user_id in user_ids]
    namesakes = await queries.accounts.find_namesakes(
        connection, usernames=due, name_keys=due, emails=[], email_keys=[]
    )
    taken = {
        text: row["id"]
        for row in namesakes
        for text in filter(None, (row["username"], row["name_key"]))
    }
    return {user_id: nameless(user_id, taken, secrets.token_hex(4)) for user_id in user_ids}


async def _anonymise(connection: Connection, people: Sequence[Person], now: datetime) -> None:
    """Write anonymised users, and take their names out of events that were not delivered.

    Raises Conflict if a process of an earlier release has just taken one of the usernames.
    """
    user_ids = [person.id for person in people]
    with _conflict_of_names():
        await queries.accounts.anonymise_users(
            connection,
            user_ids=user_ids,
            usernames=[person.username for person in people],
            anonymised_ats=[now] * len(people),
        )
    # Events must not move between the two meanwhile: they would be missed in both.
    await queries.outbox.lock_dead_letters(connection)
    await queries.outbox.scrub_events(connection, user_ids=user_ids)
    await queries.outbox.scrub_dead_letters(connection, user_ids=user_ids)


async def _scrub_answers(connection: Connection, people: Sequence[Person]) -> None:
    """Put what users are now into the kept answers that show them.

    What is kept later shows none: a transaction that keeps an answer has locked the user it shows.
    """
    shown = [
        outbox.dump(
            {
                "username": person.username,
                "anonymised_at": person.anonymised_at,
                **NO_NAMES,
            }
        )
        for person in people
    ]
    await queries.idempotency.scrub_answers(
        connection, user_ids=[person.id for person in people], names=shown
    )


def _describe_anonymisation(anonymisation: Anonymisation) -> Event:
    return USER_ANONYMISED.event({"user_id": anonymisation.person.id}, anonymisation.origin)


async def _open_directory(
    connection: Connection, usernames: Collection[str], emails: Collection[str]
) -> Directory:
    """Return which of the names and addresses are taken, and by whom."""
    directory = Directory()
    if usernames or emails:
        of_names = list({text for name in usernames for text in spellings(name)})
        of_emails = list({text for email in emails for text in spellings(email)})
        rows = await queries.accounts.find_namesakes(
            connection,
            usernames=of_names,
            name_keys=of_names,
            emails=of_emails,
            email_keys=of_emails,
        )
        for row in rows:
            directory.usernames.update(filter(None, (row["username"], row["name_key"])))
            for text in filter(None, (row["email"], row["email_key"])):
                directory.emails.setdefault(text, set()).add(row["id"])
    return directory


@contextmanager
def _conflict_of_names() -> Iterator[None]:
    """Raise Conflict if another transaction has just taken a name or an address."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name not in NAMES:
            raise
        raise Conflict from error
