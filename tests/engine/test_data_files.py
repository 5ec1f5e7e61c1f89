"""The panel's own data from files: a bad row names its file, its index and its field."""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from rowlock.engine.statements import queries
from rowlock.errors import InvalidDataFile
from rowlock.ops import data_files as files
from tests.support.databases import cloned
from tests.support.panel import add_projects
from tests.support.types import Connection

USERS = [
    {"id": 7, "email": "zoe@example.com", "username": "zoe", "created_at": "2023-01-01T00:00:00Z"},
    {"id": 2, "email": "yan@example.com", "username": "yan", "created_at": "2023-02-01 10:00:00"},
]
PROJECTS = [
    {"id": 40, "name": "Zebra", "url": "https://z.example", "user_id": 7, "app_secret": "z-secret",
     "created_at": "2023-03-01T00:00:00+02:00"},
    {"id": 12, "name": "Yak", "url": None, "user_id": 2, "app_secret": "y-secret",
     "created_at": "2023-03-02T00:00:00.123Z"},
]  # fmt: skip


@pytest.fixture(scope="module")
def database_url(server_url: str, template: str) -> Iterator[str]:
    """One database for all tests here: each is rolled back."""
    with cloned(server_url, template) as url:
        yield url


@pytest.fixture
async def transaction(connection: Connection) -> AsyncIterator[Connection]:
    """A connection to a database where user 1 is ada, and hers is project 3."""
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("ALTER SEQUENCE users_id_seq RESTART")
    await connection.execute("ALTER SEQUENCE projects_id_seq RESTART 3")
    assert await add_projects(connection, 1) == [3]
    yield connection
    await transaction.rollback()


async def load(
    connection: Connection, folder: Path, users: Any = USERS, projects: Any = PROJECTS
) -> files.Loaded:
    paths = {"users": folder / "users.json", "projects": folder / "projects.json"}
    for name, rows in (("users", users), ("projects", projects)):
        paths[name].write_bytes(rows.encode() if isinstance(rows, str) else orjson.dumps(rows))
    return await files.load(
        connection, files.read_users(paths["users"]), files.read_projects(paths["projects"])
    )


async def test_files__good__loaded_once(transaction: Connection, tmp_path: Path) -> None:
    assert await load(transaction, tmp_path) == (2, 2)
    # A time without an offset is UTC.
    created_at = await transaction.fetchval("SELECT created_at FROM users WHERE id = 2")
    assert created_at == datetime(2023, 2, 1, 10, tzinfo=UTC)
    # A secret or a URL that has changed since is not set back.
    await transaction.execute("UPDATE projects SET app_secret = 'new', url = 'new'")
    assert await load(transaction, tmp_path) == (0, 0)
    assert await transaction.fetchval("SELECT app_secret FROM projects WHERE id = 40") == "new"
    assert await load(transaction, tmp_path, users=[], projects=[]) == (0, 0)


async def test_files__users__events_tell_when_they_were_created(
    transaction: Connection, tmp_path: Path
) -> None:
    await transaction.execute("DELETE FROM outbox")
    users = changed(USERS, 0, created_at="2023-01-01T02:00:00+02:00")
    await load(transaction, tmp_path, users=users, projects=[])
    rows = await transaction.fetch("SELECT payload FROM outbox ORDER BY position")
    assert [orjson.loads(row["payload"])["user_created_at"] for row in rows] == [
        "2023-01-01T00:00:00Z",
        "2023-02-01T10:00:00Z",
    ]


async def test_files__names_and_balance__an_opening_entry_and_no_more_when_loaded_again(
    transaction: Connection, tmp_path: Path
) -> None:
    users = changed(USERS, 0, first_name="Zoë", last_name="Zimmer", balance=12_345)
    users = changed(users, 1, first_name="", balance=0)
    for loaded in (2, 0):
        assert await load(transaction, tmp_path, users=users, projects=[]) == (loaded, 0)
        rows = await transaction.fetch(
            "SELECT id, first_name, last_name, balance FROM users WHERE id <> 1 ORDER BY id"
        )
        assert [tuple(row) for row in rows] == [(2, "", "", 0), (7, "Zoë", "Zimmer", 12_345)]
        rows = await transaction.fetch(
            "SELECT user_id, amount, balance_after, reason, reference FROM ledger_entries"
        )
        assert [tuple(row) for row in rows] == [(7, 12_345, 12_345, "opening_balance", "user:7")]
    payload = await transaction.fetchval(
        "SELECT payload FROM outbox WHERE name = 'user.created' AND subject = 'user:7'"
    )
    assert orjson.loads(payload)["balance"] == 12_345


@pytest.mark.parametrize(
    ("drawn", "last_id", "next_id"),
    [(0, 1, 2), (0, 7, 8), (3, 2, 4), (3, 3, 4), (3, 4, 5), (3, files.LAST_ID, files.LAST_ID + 1)],
)
async def test_pass_ids__imported_up_to__next_is_beyond(
    transaction: Connection, drawn: int, last_id: int, next_id: int
) -> None:
    for pass_ids, sequence in (
        (queries.seed.pass_user_ids, "users_id_seq"),
        (queries.seed.pass_project_ids, "projects_id_seq"),
    ):
        await transaction.execute(f"ALTER SEQUENCE {sequence} RESTART")
        for _ in range(drawn):
            await transaction.fetchval("SELECT nextval($1)", sequence)
        moved = await pass_ids(transaction, last_id=last_id)
        # What others draw at this moment would be drawn again after a move that is not needed.
        assert bool(moved) == (last_id > drawn)
        assert await transaction.fetchval("SELECT nextval($1)", sequence) == next_id


def changed(rows: Sequence[dict[str, Any]], index: int, **fields: object) -> list[Any]:
    return [row | fields if place == index else row for place, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"users": "["}, "users.json is not valid JSON"),
        ({"users": {}}, "users.json must hold an array"),
        ({"users": [*USERS, 5]}, "users.json[2] must be an object"),
        ({"users": changed(USERS, 1, id="2")}, "users.json[1].id: "),
        ({"users": changed(USERS, 1, id=0)}, "users.json[1].id: "),
        ({"users": changed(USERS, 1, id=2**63)}, "users.json[1].id: "),
        ({"users": changed(USERS, 1, email=None)}, "users.json[1].email: "),
        ({"users": changed(USERS, 1, username="")}, "users.json[1].username: "),
        ({"users": changed(USERS, 1, username="a\0b")}, "users.json[1].username: "),
        ({"users": changed(USERS, 1, created_at="soon")}, "users.json[1].created_at: "),
        ({"users": changed(USERS, 1, first_name="a\0b")}, "users.json[1].first_name: "),
        ({"users": changed(USERS, 1, last_name="x" * 201)}, "users.json[1].last_name: "),
        ({"users": changed(USERS, 1, balance=-1)}, "users.json[1].balance: "),
        ({"users": changed(USERS, 1, balance=1.5)}, "users.json[1].balance: "),
        ({"users": changed(USERS, 1, balance="1")}, "users.json[1].balance: "),
        ({"users": changed(USERS, 1, balance=2**63)}, "users.json[1].balance: "),
        ({"users": changed(USERS, 1, colour="red")}, "users.json[1].colour: "),
        ({"users": changed(USERS, 1, id=7)}, "users.json[1].id: 7 is in row 0 already."),
        ({"users": changed(USERS, 1, username="zoe")}, "users.json[1].username: 'zoe' is in row 0"),
        ({"users": changed(USERS, 1, username="ada")}, "users.json[1].username: 'ada' belongs to"),
        ({"users": changed(USERS, 1, id=1)}, "users.json[1].id: user 1 is 'ada'."),
        ({"projects": changed(PROJECTS, 1, user_id=9)}, "projects.json[1].user_id: there is no"),
        ({"projects": changed(PROJECTS, 1, id=40)}, "projects.json[1].id: 40 is in row 0"),
        ({"projects": changed(PROJECTS, 1, app_secret=None)}, "projects.json[1].app_secret: "),
        ({"projects": changed(PROJECTS, 1, name="x" * 201)}, "projects.json[1].name: "),
        ({"projects": [{"id": 1}]}, "projects.json[0]."),
        ({"projects": changed(PROJECTS, 1, id=3)}, "projects.json[1].id: project 3 belongs to"),
    ],
)
async def test_files__bad_row__names_file_index_and_field(
    transaction: Connection, tmp_path: Path, files: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidDataFile) as error:
        await load(transaction, tmp_path, **files)
    assert str(error.value).removeprefix(f"{tmp_path}/").startswith(message)
