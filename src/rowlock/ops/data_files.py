"""The panel's data: users and projects from JSON files, with the ids that they have there."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import marshmallow
import orjson
from marshmallow import fields, validate

from rowlock.accounts import names
from rowlock.accounts import transactions as accounts
from rowlock.accounts.rules import BALANCE_LIMIT, USERNAME_LENGTH, Document, Entry
from rowlock.engine import outbox
from rowlock.engine.database import Connection
from rowlock.engine.outbox import Event
from rowlock.engine.statements import queries
from rowlock.errors import InvalidDataFile
from rowlock.http.fields import Integer, Text
from rowlock.origin import CLI
from rowlock.projects.rules import (
    NAME_LENGTH,
    SECRET_LENGTH,
    URL_LENGTH,
    CreateProject,
    secret_problem,
)
from rowlock.projects.transactions import create_projects

EMAIL_LENGTH = 320
PERSON_LENGTH = 200  # of a first or a last name
LAST_ID = 2**62  # half of bigint: the ids of later rows need room beyond it


class Time(fields.AwareDateTime):
    """A time in ISO 8601; without an offset it is UTC."""

    def __init__(self, **kwargs: Any) -> None:
        earliest = datetime(1970, 1, 1, tzinfo=UTC)
        super().__init__(
            format="iso",
            default_timezone=UTC,
            validate=validate.Range(min=earliest, error="Must not be before 1970."),
            **kwargs,
        )


class CheckedText(Text):
    """A required text of which `check` returns what is wrong with it, or None."""

    def __init__(self, check: Callable[[str], str | None], *, longest: int) -> None:
        super().__init__(required=True, longest=longest)
        self._check = check

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        problem = self._check(text)
        if problem is not None:
            raise marshmallow.ValidationError(problem)
        return text


def _check_email(email: str) -> str | None:
    if email.split() == [email] and names.stored_key(email) is not None:
        return None
    return "Must be an address, without blanks."


class UserRow(marshmallow.Schema):
    """A user of the panel; a balance from the start gets an opening entry."""

    id = Integer(required=True, maximum=LAST_ID)
    email = CheckedText(_check_email, longest=EMAIL_LENGTH)
    username = CheckedText(names.problem, longest=USERNAME_LENGTH)
    created_at = Time(required=True)
    first_name = Text(load_default="", longest=PERSON_LENGTH, shortest=0)
    last_name = Text(load_default="", longest=PERSON_LENGTH, shortest=0)
    balance = Integer(load_default=0, minimum=0, maximum=BALANCE_LIMIT)  # minor units


class ProjectRow(marshmallow.Schema):
    """A project of the panel."""

    id = Integer(required=True, maximum=LAST_ID)
    name = Text(required=True, longest=NAME_LENGTH)
    url = Text(load_default=None, longest=URL_LENGTH)
    user_id = Integer(required=True, maximum=LAST_ID)
    app_secret = CheckedText(secret_problem, longest=SECRET_LENGTH)
    created_at = Time(required=True)


class DataFile(NamedTuple):
    """A file whose rows are each valid."""

    path: Path
    rows: Sequence[dict[str, Any]]
    keys: Mapping[str, Sequence[Any]]  # what no two rows may have the same, by field

    def problem(self, index: int, field: str, message: str) -> InvalidDataFile:
        """Return what is wrong with a field of a row, as in `users.json[3].email: …`."""
        return InvalidDataFile(f"{self.path}[{index}].{field}: {message}")


class Loaded(NamedTuple):
    """How many rows were new."""

    users: int
    projects: int


def read_users(path: Path) -> DataFile:
    """Return the users in the file. Raises InvalidDataFile."""
    unique = {"id": _same, "username": names.key, "email": names.key}
    return _read(path, UserRow(), unique=unique)


def read_projects(path: Path) -> DataFile:
    """Return the projects in the file. Raises InvalidDataFile."""
    return _read(path, ProjectRow(), unique={"id": _same})


async def load(connection: Connection, users: DataFile | None, projects: DataFile | None) -> Loaded:
    """Add the rows whose ids are new; existing rows stay as they are.

    Raises InvalidDataFile if a row contradicts another user or project; the caller rolls back.
    """
    return Loaded(
        users=await _load_users(connection, users) if users and users.rows else 0,
        projects=await _load_projects(connection, projects) if projects and projects.rows else 0,
    )


def _same(value: Any) -> Any:
    return value


def _read(
    path: Path, schema: marshmallow.Schema, *, unique: Mapping[str, Callable[[Any], Any]]
) -> DataFile:
    """Return the rows of the file; two are refused if they have the same key of a `unique` field.

    Raises InvalidDataFile.
    """
    try:
        data = orjson.loads(path.read_bytes())
    except OSError as error:
        raise InvalidDataFile(f"{path} can't be read: {error.strerror}.") from None
    except orjson.JSONDecodeError as error:
        raise InvalidDataFile(f"{path} is not valid JSON: {error}.") from None
    if not isinstance(data, list):
        raise InvalidDataFile(f"{path} must hold an array of objects.")
    file = DataFile(path, [], {})
    rows = []
    for index, item in enumerate(data):
        if not isinstance(item, dict):
            raise InvalidDataFile(f"{path}[{index}] must be an object.")
        try:
            rows.append(schema.load(item))
        except marshmallow.ValidationError as error:
            messages: Any = error.messages  # by field
            field, [message, *_] = next(iter(messages.items()))
            raise file.problem(index, field, message) from None
    keys = {field: [key_of(row[field]) for row in rows] for field, key_of in unique.items()}
    for field, given in keys.items():
        first: dict[Any, int] = {}
        for index, key in enumerate(given):
            if first.setdefault(key, index) != index:
                message = f"{rows[index][field]!r} is in row {first[key]} already."
                raise file.problem(index, field, message)
    return file._replace(rows=rows, keys=keys)


async def _load_users(connection: Connection, file: DataFile) -> int:
    taken = await queries.seed.find_taken_users(
        connection,
        user_ids=file.keys["id"],
        usernames=[row["username"] for row in file.rows],
        name_keys=file.keys["username"],
        emails=[row["email"] for row in file.rows],
        email_keys=file.keys["email"],
    )
    by_id = {row["id"]: row for row in taken}
    owners = {
        "username": {key: row for row in taken for key in (row["name_key"], row["username"])},
        "email": {key: row for row in taken for key in (row["email_key"], row["email"])},
    }
    new = []
    for index, row in enumerate(file.rows):
        known = by_id.get(row["id"])
        if known is None:
            for field, owner in owners.items():
                holder = owner.get(file.keys[field][index]) or owner.get(row[field])
                if holder is not None:
                    message = f"{row[field]!r} belongs to user {holder['id']}."
                    raise file.problem(index, field, message)
            new.append(row)
        elif names.key(known["username"]) != file.keys["username"][index]:
            raise file.problem(index, "id", f"user {row['id']} is {known['username']!r}.")
    if new:
        await _import_users(connection, new)
    return len(new)


async def _import_users(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    await queries.seed.import_users(
        connection,
        user_ids=[row["id"] for row in rows],
        usernames=[names.normalise(row["username"]) for row in rows],
        name_keys=[names.key(row["username"]) for row in rows],
        emails=[row["email"] for row in rows],
        email_keys=[names.key(row["email"]) for row in rows],
        created_ats=[row["created_at"] for row in rows],
        first_names=[row["first_name"] for row in rows],
        last_names=[row["last_name"] for row in rows],
    )
    await queries.seed.pass_user_ids(connection, last_id=max(row["id"] for row in rows))
    await accounts.post(
        connection,
        [
            Entry(
                row["id"],
                row["balance"],
                row["balance"],
                "opening_balance",
                Document("opening", row["id"]),
                CLI.actor,
                None,
            )
            for row in rows
        ],
    )
    await outbox.append(
        connection,
        [
            Event(
                "user.created",
                f"user:{row['id']}",
                {
                    "user_id": row["id"],
                    "username": names.normalise(row["username"]),
                    "balance": row["balance"],
                    "user_created_at": row["created_at"].astimezone(UTC),
                },
                CLI,
            )
            for row in rows
        ],
    )


async def _load_projects(connection: Connection, file: DataFile) -> int:
    found = await queries.projects.find_project_owners(
        connection, project_ids=[row["id"] for row in file.rows]
    )
    owners = {row["id"]: row["user_id"] for row in found}
    users = await queries.accounts.find_users(
        connection, user_ids=list({row["user_id"] for row in file.rows})
    )
    user_ids = {row["id"] for row in users}
    new = []
    for index, row in enumerate(file.rows):
        if row["user_id"] not in user_ids:
            raise file.problem(index, "user_id", f"there is no user {row['user_id']}.")
        if row["id"] not in owners:
            new.append(CreateProject(**row))
        elif owners[row["id"]] != row["user_id"]:
            message = f"project {row['id']} belongs to user {owners[row['id']]}."
            raise file.problem(index, "id", message)
    if new:
        new.sort(key=lambda project: project.id or 0)  # the list's order is that of the ids
        await create_projects(connection, new)
        last_id = max(project.id or 0 for project in new)
        await queries.seed.pass_project_ids(connection, last_id=last_id)
    return len(new)
