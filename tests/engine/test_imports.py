"""Rows of files become users, products, services, invoices and projects: all of them, or none."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rowlock.accounts import Accounts, names
from rowlock.accounts.rules import BALANCE_LIMIT, CreateUser, Person, RegisterUser
from rowlock.accounts.transactions import create_users
from rowlock.catalogue import Catalogue
from rowlock.catalogue.rules import CreateService, Service
from rowlock.engine.database import Database
from rowlock.engine.statements import queries
from rowlock.errors import DatabaseBusy, InvalidDataFile
from rowlock.ops import money
from rowlock.ops.imports.fields import LAST_ID
from rowlock.ops.imports.files import Format, opened
from rowlock.ops.imports.kinds import (
    INVOICES,
    KINDS,
    PRODUCTS,
    PROJECTS,
    SEED_PROJECTS,
    SEED_USERS,
    SERVICES,
    USERS,
    Kind,
)
from rowlock.ops.imports.loading import Loaded, Source, Watch, load
from rowlock.settings import Settings
from tests.support.databases import cloned
from tests.support.panel import add_projects
from tests.support.polling import until
from tests.support.types import Connection

Rows = Sequence[dict[str, Any]]

# What is there: user 1 is ada, hers is project 3, and there is one of everything else.
ARRANGE = """
    INSERT INTO users (id, username, name_key, email, email_key)
    OVERRIDING SYSTEM VALUE VALUES (1, 'ada', 'ada', 'ada@example.com', 'ada@example.com'),
        (2, 'Old ', NULL, 'Old@Example.com', NULL);
    ALTER SEQUENCE users_id_seq RESTART 3;
    INSERT INTO products (slug, name, price) VALUES ('gym', 'Gym', 100);
    INSERT INTO services (id, name) OVERRIDING SYSTEM VALUE VALUES (5, 'Test');
    ALTER SEQUENCE services_id_seq RESTART 6;
    INSERT INTO invoices (user_id, amount, label, reference) VALUES (1, 100, 'Work', 'A-1');
    ALTER SEQUENCE projects_id_seq RESTART 3"""
LOCKED = """
    SELECT count(*) FROM pg_locks
    WHERE relation = 'users'::regclass AND mode = 'AccessExclusiveLock'"""
TABLES = ("users", "products", "services", "invoices", "projects", "ledger_entries", "outbox")


@pytest.fixture(scope="module")
def shared_url(server_url: str, template: str) -> Iterator[str]:
    """A database for the tests of files that change nothing."""
    with cloned(server_url, template) as url:
        asyncio.run(arrange(url))
        yield url


async def arrange(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(ARRANGE)
    assert await add_projects(connection, 1) == [3]
    await connection.close()


@pytest.fixture
async def untouched(shared_url: str, settings: Settings) -> AsyncIterator[Database]:
    """A database with rows; at the end, they must be as they were."""
    connection = await asyncpg.connect(shared_url)
    before = await contents(connection)
    async with Database(shared_url, settings.database, scans=True) as database:
        yield database
    assert await contents(connection) == before
    await connection.close()


@pytest.fixture
async def filled(
    database_url: str, settings: Settings, connection: Connection
) -> AsyncIterator[Database]:
    """A database of the test's own, with the same rows."""
    await arrange(database_url)
    async with Database(database_url, settings.database, scans=True) as database:
        yield database


@pytest.fixture
async def impatient(
    filled: Database, database_url: str, settings: Settings
) -> AsyncIterator[Database]:
    """The same, over connections that wait half a second for a lock."""
    changed = settings.changed(lock_timeout_s=0.5)
    async with Database(database_url, changed.database, scans=True) as database:
        yield database


async def contents(connection: Connection) -> dict[str, list[Any]]:
    return {
        table: await connection.fetch(f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES
    }


async def load_files(
    database: Database,
    folder: Path,
    *files: tuple[Kind, Rows | bytes],
    watch: Watch | None = None,
    skips_known: bool = False,
    is_dry: bool = False,
) -> list[Loaded]:
    """Load rows as JSON; bytes are those of a CSV file."""
    with ExitStack() as stack:
        sources = []
        for kind, rows in files:
            format_ = Format.CSV if isinstance(rows, bytes) else Format.JSON
            path = folder / f"{kind.name}.{format_}"
            path.write_bytes(rows if isinstance(rows, bytes) else orjson.dumps(rows))
            sources.append(Source(stack.enter_context(opened(str(path), format_)), kind))
        return await load(
            database, sources, watch or Watch(), skips_known=skips_known, is_dry=is_dry
        )


async def problems_of(
    database: Database, folder: Path, kind: Kind, rows: Rows | bytes, *, skips_known: bool = False
) -> list[str]:
    """What is told of a file that must be refused, without its name."""
    with pytest.raises(InvalidDataFile) as error:
        await load_files(database, folder, (kind, rows), skips_known=skips_known)
    _, *lines = str(error.value).splitlines()
    return [line.partition(", ")[2] or line for line in lines]


async def fetch(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(query)]


USER = {"username": "zoe"}
PRODUCT = {"slug": "bike", "name": "Bike", "price": 100}
SERVICE = {"name": "Look"}
INVOICE = {"username": "ada", "amount": 100, "label": "Work"}
PROJECT = {"name": "Zebra", "owner": "ada"}

WHOLE = "Must be a whole number from "
CENTS = "Must be a whole number of minor units"
LONG = 10**30


@pytest.mark.parametrize(
    ("kind", "good", "change", "problem"),
    [
        (USERS, USER, {"username": None}, "username: Missing data"),
        (USERS, USER, {"username": ""}, "username: "),
        (USERS, USER, {"username": 5}, "username: Not a valid string."),
        (USERS, USER, {"username": ["zoe"]}, "username: Not a valid string."),
        (USERS, USER, {"username": "a\0b"}, "username: Must not contain control characters."),
        (USERS, USER, {"username": "zoe "}, "username: Must not begin or end with a blank."),
        (USERS, USER, {"username": "zo\u200be"}, "username: Must not have control characters"),
        (USERS, USER, {"username": "x" * 101}, "username: Must have 1 to 100 characters."),
        (USERS, USER, {"email": "zoe at example.com"}, "email: Must be an address, such as"),
        (USERS, USER, {"email": "z@" + "z" * 320}, "email: Length must be between "),
        (USERS, USER, {"first_name": "a\0b"}, "first_name: "),
        (USERS, USER, {"first_name": "\u202eevil"}, "first_name: Must not have control characters"),
        (USERS, USER, {"username": "anonymous\u20107"}, "username: Must not begin with anonymous-"),
        (USERS, USER, {"last_name": "x" * 201}, "last_name: Length must be between "),
        (USERS, USER, {"opening_balance": -1}, f"opening_balance: {CENTS}"),
        (USERS, USER, {"opening_balance": 1.5}, f"opening_balance: {CENTS}"),
        (USERS, USER, {"opening_balance": "1"}, f"opening_balance: {CENTS}"),
        (USERS, USER, {"opening_balance": True}, f"opening_balance: {CENTS}"),
        (USERS, USER, {"opening_balance": BALANCE_LIMIT + 1}, f"opening_balance: {CENTS}"),
        (USERS, USER, {"id": 0}, f"id: {WHOLE}"),
        (USERS, USER, {"id": "7"}, f"id: {WHOLE}"),
        (USERS, USER, {"id": LAST_ID + 1}, f"id: {WHOLE}"),
        (USERS, USER, {"created_at": "soon"}, "created_at: Must be a time in ISO 8601."),
        (USERS, USER, {"created_at": 5}, "created_at: Must be a time in ISO 8601."),
        (USERS, USER, {"created_at": "1969-12-31"}, "created_at: Must not be before 1970."),
        (USERS, USER, {"created_at": "2999-01-01"}, "created_at: Must not be in the future."),
        (USERS, USER, {"created_at": "0001-01-01T00:00:00+09:00"}, "created_at: Must be a time"),
        (USERS, USER, {"colour": "red"}, "there is no field 'colour'"),
        (USERS, USER, {"username": "ada"}, "username: is that of user 1 already"),
        (USERS, USER, {"username": "\uff21DA"}, "username: is that of user 1 already"),
        (USERS, USER, {"email": "Ada@Example.com"}, "email: is that of user 1 already"),
        # Of a user of release 0.1.0, without keys.
        (USERS, USER, {"email": "Old@Example.com"}, "email: is that of user 2 already"),
        (USERS, USER, {"id": 1}, "id: is that of user 1 already"),
        (PRODUCTS, PRODUCT, {"slug": None}, "slug: Missing data"),
        (PRODUCTS, PRODUCT, {"slug": "gym"}, "slug: is that of product 1 already"),
        (PRODUCTS, PRODUCT, {"slug": "\u200b"}, "slug: "),
        (PRODUCTS, PRODUCT, {"slug": "Bike"}, "slug: Must have 1 to 100 characters of a-z"),
        (PRODUCTS, PRODUCT, {"name": ""}, "name: "),
        (PRODUCTS, PRODUCT, {"price": -1}, f"price: {CENTS}"),
        (PRODUCTS, PRODUCT, {"price": 10**12 + 1}, f"price: {CENTS}"),
        (PRODUCTS, PRODUCT, {"price": 1e300}, f"price: {CENTS}"),
        (SERVICES, SERVICE, {"name": " "}, "name: Must have a visible character."),
        (SERVICES, SERVICE, {"id": 5}, "id: is that of service 5 already"),
        (SERVICES, SERVICE, {"name": "Test"}, "name: is that of service 5 already"),
        (INVOICES, INVOICE, {"username": None}, "username: Must be given, or else user_id"),
        (INVOICES, INVOICE, {"user_id": 1}, "username: Must be given, or else user_id"),
        (INVOICES, INVOICE, {"username": "bob"}, "username: there is no user 'bob'"),
        (INVOICES, INVOICE, {"username": None, "user_id": 9}, "user_id: there is no such user"),
        (INVOICES, INVOICE, {"amount": 0}, f"amount: {CENTS}"),
        (INVOICES, INVOICE, {"amount": None}, "amount: Missing data"),
        (INVOICES, INVOICE, {"label": "x" * 501}, "label: Length must be between "),
        (INVOICES, INVOICE, {"label": "a\0b"}, "label: Must not contain control characters"),
        (INVOICES, INVOICE, {"status": "paid"}, "status: Must be pending: what was paid is part"),
        (INVOICES, INVOICE, {"status": 5}, "status: Not a valid string."),
        (INVOICES, INVOICE, {"reference": "x" * 101}, "reference: Length must be between "),
        (INVOICES, INVOICE, {"reference": "A-1"}, "reference: is that of invoice 1 already"),
        (PROJECTS, PROJECT, {"owner": None}, "owner: Must be given, or else user_id"),
        (PROJECTS, PROJECT, {"owner": "bob"}, "owner: there is no user 'bob'"),
        (PROJECTS, PROJECT, {"owner": None, "user_id": 9}, "user_id: there is no such user"),
        (PROJECTS, PROJECT, {"id": 3}, "id: is that of project 3 already"),
        (PROJECTS, PROJECT, {"name": "Project 1"}, "name: is that of project 3 already"),
        (PROJECTS, PROJECT, {"app_secret": "whsec_x"}, "app_secret: Must be whsec_ and"),
        (PROJECTS, PROJECT, {"url": "x" * 2001}, "url: Length must be between "),
        (SEED_USERS, {}, {}, "id: Missing data"),
        (SEED_USERS, {}, {"opening_balance": 5}, "id: Missing data"),
        (SEED_PROJECTS, {}, {"owner": "ada"}, "id: Missing data"),
    ],
)
async def test_row__bad__its_line_and_what_is_wrong(
    untouched: Database, tmp_path: Path, kind: Kind, good: Any, change: Any, problem: str
) -> None:
    found = await problems_of(untouched, tmp_path, kind, [good | change])
    assert found[0].startswith(f"item 1 (line 1): {problem}"), found


async def test_csv__bad_rows__lines_and_the_number_of_the_rest(
    untouched: Database, tmp_path: Path
) -> None:
    rows = "".join(f"user-{number},x,\n" for number in range(30))
    content = f'username,opening_balance,email\nada,,\n"bob",5,\nBOB,,\n{rows}'.encode()
    found = await problems_of(untouched, tmp_path, USERS, content)
    assert found[0] == "line 2: username: is that of user 1 already"
    assert found[1] == "line 4: username: is that of line 3 already"
    assert found[2].startswith(f"line 5: opening_balance: {CENTS}")
    assert len(found) == 21
    assert found[-1] == "and 12 more."


@pytest.mark.parametrize(
    ("kind", "rows", "problem"),
    [
        (USERS, [{"username": "Zoé"}, {"username": "ZOE\u0301"}], "username"),
        (USERS, [{"username": "a", "email": "a@b"}, {"username": "b", "email": "A@B"}], "email"),
        (USERS, [{"username": "a", "id": 7}, {"username": "b", "id": 7}], "id"),
        (PRODUCTS, [PRODUCT, PRODUCT], "slug"),
        (SERVICES, [SERVICE, SERVICE], "name"),
        (SERVICES, [SERVICE | {"id": 9}, {"name": "Other", "id": 9}], "id"),
        (INVOICES, [INVOICE | {"reference": "x"}] * 2, "reference"),
        (PROJECTS, [PROJECT, PROJECT], "name"),
        (PROJECTS, [PROJECT | {"id": 9}, {"name": "Other", "owner": "ada", "id": 9}], "id"),
    ],
)
@pytest.mark.parametrize("skips_known", [False, True])
async def test_rows__same_in_one_file__tells_both_places(
    untouched: Database, tmp_path: Path, kind: Kind, rows: Rows, problem: str, skips_known: bool
) -> None:
    found = await problems_of(untouched, tmp_path, kind, rows, skips_known=skips_known)
    assert found == [f"item 2 (line 1): {problem}: is that of item 1 (line 1) already"]


@pytest.mark.parametrize(
    ("kind", "row", "problem"),
    [
        (USERS, {"username": "ada", "id": 7}, "username: is that of user 1 already"),
        (USERS, {"username": "eve", "id": 1}, "id: is that of user 1 already"),
        (USERS, {"username": "eve", "email": "ADA@example.com"}, "email: is that of user 1"),
        (SERVICES, {"name": "Other", "id": 5}, "id: is that of service 5 already"),
        (INVOICES, INVOICE, "reference: Must be given with --skip-existing"),
        (INVOICES, INVOICE | {"reference": "A-1", "amount": 5}, "reference: is that of invoice 1"),
        (PROJECTS, {"name": "x", "user_id": 2, "id": 3}, "id: is that of project 3 already"),
    ],
)
async def test_skip_existing__row_of_another__is_a_problem(
    untouched: Database, tmp_path: Path, kind: Kind, row: dict[str, Any], problem: str
) -> None:
    [found] = await problems_of(untouched, tmp_path, kind, [row], skips_known=True)
    assert found.startswith(f"item 1 (line 1): {problem}")


FILES: dict[Kind, Rows] = {
    USERS: [
        {"username": "Zoe\u0301", "email": "zoe@example.com", "first_name": "Zoë", "id": 7,
         "opening_balance": 12_345, "created_at": "2023-01-01T02:00:00+02:00"},
        {"username": "yan"},
        {"username": "xi", "last_name": "X", "opening_balance": 5, "created_at": "2023-02-01"},
    ],
    PRODUCTS: [PRODUCT, {"slug": "tea", "name": "Tea", "price": 0}],
    SERVICES: [{"name": "Look", "id": 9}, {"name": "Test", "id": 8}, {"name": "Repair"}],
    INVOICES: [
        {"user_id": 1, "amount": 70, "label": "Work\nmore", "reference": "B-1",
         "status": "pending", "created_at": "2023-03-01 10:00:00+00"},
        {"username": "ADA", "amount": 5, "label": "x", "reference": "B-2"},
        {"username": "Old ", "amount": 6, "label": "y", "reference": "B-3"},
    ],
    PROJECTS: [
        {"name": "Zebra", "owner": "Ada", "id": 40, "url": "https://z.example",
         "app_secret": "z-secret", "created_at": "2023-03-01T00:00:00Z"},
        {"name": "Yak", "user_id": 2, "id": 12},
        {"name": "Next", "user_id": 2},
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
async def test_good_file__again_with_skip_existing__changes_nothing(
    filled: Database, connection: Connection, tmp_path: Path, kind: Kind
) -> None:
    rows = FILES[kind]
    before = await contents(connection)
    assert await load_files(filled, tmp_path, (kind, rows), is_dry=True) == [(len(rows), 0)]
    assert await contents(connection) == before
    assert await load_files(filled, tmp_path, (kind, rows)) == [(len(rows), 0)]
    after = await contents(connection)
    assert len(after[kind.name]) == len(before[kind.name]) + len(rows)
    assert len(after["outbox"]) == len(before["outbox"]) + len(rows)
    for is_dry in (True, False):
        again = await load_files(filled, tmp_path, (kind, rows), skips_known=True, is_dry=is_dry)
        assert again == [(0, len(rows))]
    with pytest.raises(InvalidDataFile):
        await load_files(filled, tmp_path, (kind, rows))
    assert await contents(connection) == after
    assert [each async for each in money.differences(filled, lambda *_: None)] == []


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
async def test_good_file__as_csv__the_same_rows(
    filled: Database, connection: Connection, tmp_path: Path, kind: Kind
) -> None:
    lines = [",".join(f'"{name}"' for name in kind.fields)]
    for row in FILES[kind]:
        cells = [str(row.get(name, "")) for name in kind.fields]
        lines.append(",".join(f'"{cell}"' if cell else "" for cell in cells))
    content = "\r\n".join(lines).encode()
    assert await load_files(filled, tmp_path, (kind, content)) == [(len(FILES[kind]), 0)]
    # The same rows: JSON would add none.
    again = await load_files(filled, tmp_path, (kind, FILES[kind]), skips_known=True)
    assert again == [(0, len(FILES[kind]))]


async def test_users__in_the_file__as_they_were_with_opening_entries_and_events(
    filled: Database, connection: Connection, tmp_path: Path
) -> None:
    await connection.execute("DELETE FROM outbox")
    await load_files(filled, tmp_path, (USERS, FILES[USERS]))
    rows = await fetch(
        connection,
        "SELECT id, username, name_key, email, email_key, first_name, last_name, balance "
        "FROM users WHERE id > 2 ORDER BY id",
    )
    assert rows == [
        (7, "Zoé", names.key("Zoé"), "zoe@example.com", "zoe@example.com", "Zoë", "", 12_345),
        (8, "yan", "yan", None, None, "", "", 0),
        (9, "xi", "xi", None, None, "", "X", 5),
    ]
    times = await fetch(connection, "SELECT created_at FROM users WHERE id IN (7, 9) ORDER BY id")
    # A time without an offset is UTC.
    assert times == [(datetime(2023, 1, 1, tzinfo=UTC),), (datetime(2023, 2, 1, tzinfo=UTC),)]
    entries = await fetch(
        connection,
        "SELECT user_id, amount, balance_after, reason, reference, document_kind, document_id, "
        "contra, actor, created_at > now() - interval '1 hour' FROM ledger_entries ORDER BY id",
    )
    assert entries == [
        (7, 12_345, 12_345, "opening_balance", "user:7", "opening", 7, "opening", "cli", True),
        (9, 5, 5, "opening_balance", "user:9", "opening", 9, "opening", "cli", True),
    ]
    events = await events_of(connection)
    assert [event[:3] for event in events] == [
        ("user.created", f"user:{number}", "cli") for number in (7, 8, 9)
    ]
    payloads = [event[3] for event in events]
    assert payloads[0] == {
        "user_id": 7, "balance": 12_345, "user_created_at": "2023-01-01T00:00:00.000000Z",
    }  # fmt: skip
    assert all(set(each) == set(payloads[0]) for each in payloads)  # no name, no address


async def test_others__in_the_file__as_they_were_with_events(
    filled: Database, connection: Connection, tmp_path: Path
) -> None:
    await connection.execute("DELETE FROM outbox")
    for kind in (PRODUCTS, SERVICES, INVOICES, PROJECTS):
        await load_files(filled, tmp_path, (kind, FILES[kind]))
    products = "SELECT id, slug, name, price FROM products WHERE id > 1 ORDER BY id"
    assert await fetch(connection, products) == [(2, "bike", "Bike", 100), (3, "tea", "Tea", 0)]
    services = "SELECT id, name FROM services WHERE id > 5 ORDER BY id"
    assert await fetch(connection, services) == [(8, "Test"), (9, "Look"), (10, "Repair")]
    invoices = await fetch(
        connection,
        "SELECT id, user_id, amount, label, status, reference FROM invoices WHERE id > 1 "
        "ORDER BY id",
    )
    assert invoices == [
        (2, 1, 70, "Work\nmore", "pending", "B-1"),
        (3, 1, 5, "x", "pending", "B-2"),
        (4, 2, 6, "y", "pending", "B-3"),
    ]
    created_at = await connection.fetchval("SELECT created_at FROM invoices WHERE id = 2")
    assert created_at == datetime(2023, 3, 1, 10, tzinfo=UTC)
    projects = await fetch(
        connection,
        "SELECT id, position, name, url, user_id FROM projects WHERE id > 3 ORDER BY position",
    )
    # The list's order is that of the ids, and what had none comes last.
    assert projects == [
        (12, 2, "Yak", None, 2),
        (40, 3, "Zebra", "https://z.example", 1),
        (41, 4, "Next", None, 2),
    ]
    rows = await fetch(connection, "SELECT id, app_secret FROM projects WHERE id > 3")
    secrets: dict[int, str] = dict(rows)
    assert secrets.pop(40) == "z-secret"
    assert len(set(secrets.values())) == 2
    assert all(secret.startswith("whsec_") for secret in secrets.values())
    events = await events_of(connection)
    assert [event[:2] for event in events] == [
        ("product.created", "product:2"), ("product.created", "product:3"),
        ("service.created", "service:9"), ("service.created", "service:8"),
        ("service.created", "service:10"),
        ("invoice.created", "invoice:2"), ("invoice.created", "invoice:3"),
        ("invoice.created", "invoice:4"),
        ("project.created", "project:12"), ("project.created", "project:40"),
        ("project.created", "project:41"),
    ]  # fmt: skip
    assert events[0][3] == {"product_id": 2, "slug": "bike", "name": "Bike", "price": 100}
    assert events[2][3] == {"service_id": 9, "name": "Look"}
    assert events[5][3] == {
        "invoice_id": 2, "user_id": 1, "amount": 70, "label": "Work\nmore",
        "invoice_created_at": "2023-03-01T10:00:00.000000Z",
    }  # fmt: skip
    assert events[9][3].keys() == {
        "project_id", "project_name", "user_id", "url", "project_created_at",
    }  # fmt: skip
    assert not any(secret in str(events) for secret in ("z-secret", *secrets.values()))


async def events_of(connection: Connection) -> list[tuple[Any, ...]]:
    rows = await connection.fetch(
        "SELECT name, subject, actor, payload FROM outbox ORDER BY position"
    )
    return [(*tuple(row)[:3], orjson.loads(row["payload"])) for row in rows]


async def test_skip_existing__rows_differ__are_left_as_they_are(
    filled: Database, connection: Connection, tmp_path: Path
) -> None:
    before = await contents(connection)
    for kind, row in (
        (USERS, {"username": "ADA", "id": 1, "opening_balance": 5, "email": "new@example.com"}),
        (PRODUCTS, {"slug": "gym", "name": "Other", "price": 5}),
        (PROJECTS, {"name": "Other", "owner": "ada", "id": 3, "url": "https://new.example"}),
    ):
        assert await load_files(filled, tmp_path, (kind, [row]), skips_known=True) == [(0, 1)]
    assert await contents(connection) == before


async def test_seed_files__users_and_their_projects__in_one_transaction(
    filled: Database, connection: Connection, tmp_path: Path
) -> None:
    users = [
        {"id": 7, "email": "zoe@example.com", "username": "zoe", "balance": 5,
         "created_at": "2023-01-01T00:00:00Z"},
    ]  # fmt: skip
    project = {
        "id": 40, "name": "Zebra", "url": None, "user_id": 7, "app_secret": "z-secret",
        "created_at": "2023-03-01T00:00:00+02:00",
    }  # fmt: skip
    before = await contents(connection)
    with pytest.raises(InvalidDataFile, match=r"projects.json, item 2 \(line 1\): user_id: there"):
        await load_files(
            filled,
            tmp_path,
            (SEED_USERS, users),
            (SEED_PROJECTS, [project, project | {"id": 41, "user_id": 8}]),
            skips_known=True,
        )
    assert await contents(connection) == before
    for new in (1, 0):
        loaded = await load_files(
            filled, tmp_path, (SEED_USERS, users), (SEED_PROJECTS, [project]), skips_known=True
        )
        assert [each.added for each in loaded] == [new, new]
    assert await connection.fetchval("SELECT balance FROM users WHERE id = 7") == 5


@pytest.mark.parametrize(
    ("drawn", "last_id", "next_id"),
    [(0, 1, 2), (0, 7, 8), (3, 2, 4), (3, 3, 4), (3, 4, 5), (3, LAST_ID, LAST_ID + 1)],
)
async def test_pass_ids__imported_up_to__next_is_beyond(
    connection: Connection, drawn: int, last_id: int, next_id: int
) -> None:
    for kind in (USERS, SERVICES, PROJECTS):
        assert kind.ids is not None
        sequence = f"{kind.name}_id_seq"
        await connection.execute(f"ALTER SEQUENCE {sequence} RESTART")
        for _ in range(drawn):
            await connection.fetchval("SELECT nextval($1)", sequence)
        moved = await kind.ids[1](connection, last_id=last_id)
        # What others draw at this moment would be drawn again after a move that is not needed.
        assert bool(moved) == (last_id > drawn)
        assert await connection.fetchval("SELECT nextval($1)", sequence) == next_id


@pytest.mark.parametrize("kind", [USERS, SERVICES], ids=lambda kind: kind.name)
async def test_pass_ids__others_draw_ids_meanwhile__none_is_drawn_twice(
    connection: Connection, database_url: str, kind: Kind
) -> None:
    assert kind.ids is not None
    sequence = f"{kind.name}_id_seq"

    async def draw() -> list[int]:
        other = await asyncpg.connect(database_url)
        drawn: list[int] = await other.fetchval(
            "SELECT array_agg(nextval($1::regclass)) FROM generate_series(1, 400000)", sequence
        )
        await other.close()
        return drawn

    drawing = asyncio.create_task(draw())
    while not drawing.done():
        last = await connection.fetchval(f"SELECT last_value FROM {sequence}")
        await kind.ids[1](connection, last_id=last + 200)
    drawn = drawing.result()
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("what", ["user", "registered user", "service"])
async def test_import__id_of_the_file_is_drawn_by_a_service_meanwhile__it_draws_another_one(
    filled: Database, settings: Settings, connection: Connection, what: str
) -> None:
    """The import has added its rows, and is not committed; a service had drawn the ids before."""

    async def create() -> Any:
        if what == "service":
            catalogue = Catalogue(filled, settings.batches)
            return await catalogue.create_service.submit(CreateService("Repair"))
        accounts = Accounts(filled, settings.batches)
        if what == "user":
            return await accounts.create.submit(CreateUser("eve", 5))
        return await accounts.register.submit(RegisterUser("eve"))

    async with connection.transaction():
        await connection.execute(
            "INSERT INTO users (id, username) VALUES (3, 'zoe');"
            "INSERT INTO services (id, name) VALUES (6, 'Look')"
        )
        call = asyncio.create_task(create())
        drawn = f"SELECT is_called FROM {'services' if what == 'service' else 'users'}_id_seq"
        await until(lambda: connection.fetchval(drawn))
    made = await call
    if what == "service":
        assert isinstance(made, Service)
        assert made.id == 7
    else:
        assert made is True or isinstance(made, Person)
        assert await connection.fetchval("SELECT id FROM users WHERE username = 'eve'") == 4


async def _equals(connection: Connection, query: str, value: int) -> bool:
    return bool(await connection.fetchval(query) == value)


async def test_import__row_locked_when_the_cause_is_looked_for__busy(
    impatient: Database, connection: Connection, database_url: str, tmp_path: Path
) -> None:
    """A name is taken meanwhile, and then the table is locked: no raw error of the driver."""
    other = await asyncpg.connect(database_url)
    transaction = other.transaction()

    async def add(*arguments: Any, **named: Any) -> Any:
        await connection.execute("INSERT INTO users (username, name_key) VALUES ('yan', 'yan')")
        try:
            return await USERS.add(*arguments, **named)
        except asyncpg.UniqueViolationError:
            await transaction.start()
            locking = asyncio.create_task(other.execute("LOCK users IN ACCESS EXCLUSIVE MODE"))
            await until(lambda: _equals(connection, LOCKED, 1))
            locking_tasks.append(locking)
            raise

    locking_tasks: list[asyncio.Task[Any]] = []
    with pytest.raises(DatabaseBusy):
        await load_files(impatient, tmp_path, (replace(USERS, add=add), [{"username": "yan"}]))
    await asyncio.gather(*locking_tasks)
    await transaction.rollback()
    await other.close()


async def test_import__name_taken_between_check_and_write__its_line_and_nothing_imported(
    filled: Database, connection: Connection, tmp_path: Path
) -> None:
    """The other transaction commits after the check, while the page before is written."""

    async def add(*arguments: Any, **named: Any) -> Any:
        if named["after"] == 1:
            async with filled.transaction() as other:
                assert await create_users(other, [CreateUser("YAN", 0)]) == [True]
        return await USERS.add(*arguments, **named)

    users = replace(USERS, page_rows=1, add=add)
    rows = [{"username": "xi"}, {"username": "yan"}]
    found = await problems_of(filled, tmp_path, users, rows)
    user_id = await connection.fetchval("SELECT id FROM users WHERE username = 'YAN'")
    assert found == [f"item 2 (line 1): username: is that of user {user_id} already"]
    assert await connection.fetchval("SELECT count(*) FROM users") == 3


async def test_import__row_held_by_another_transaction__busy_and_nothing_imported(
    impatient: Database, connection: Connection, tmp_path: Path
) -> None:
    before = await contents(connection)
    async with connection.transaction():
        await connection.execute("INSERT INTO users (username) VALUES ('yan')")
        with pytest.raises(DatabaseBusy):
            await load_files(impatient, tmp_path, (USERS, FILES[USERS]))
        await connection.execute("DELETE FROM users WHERE username = 'yan'")
    assert await contents(connection) == before


async def test_import__not_committed_yet__services_go_on(
    filled: Database, connection: Connection, tmp_path: Path
) -> None:
    """All but what wants the same name, which waits for the import."""
    done: list[int] = []

    async def add(*arguments: Any, **named: Any) -> Any:
        added = await USERS.add(*arguments, **named)
        async with filled.transaction(patience_s=0.1) as other:
            done.append(len(await create_users(other, [CreateUser("someone", 5)])))
            done.append(len(await queries.accounts.lock_users(other, user_ids=[1, 2])))
        with pytest.raises(DatabaseBusy):
            async with filled.transaction(patience_s=0.01) as other:
                await create_users(other, [CreateUser("YAN", 5)])
        return added

    users = replace(USERS, add=add)
    assert await load_files(filled, tmp_path, (users, FILES[USERS])) == [(3, 0)]
    assert done == [1, 2]
    # Ids of the file were passed before any of its rows was added.
    new_id = await connection.fetchval("SELECT id FROM users WHERE username = 'someone'")
    assert new_id > 7


async def test_import__while_the_file_is_read__no_transaction_is_open(
    filled: Database, tmp_path: Path, database_url: str
) -> None:
    """A slow pipe holds back neither vacuum nor the relay, and nothing is locked."""
    states: list[tuple[Any, ...]] = []

    class Looking(Watch):
        def __init__(self, connection: psycopg.Connection) -> None:
            self._connection = connection

        def read(self, *_: Any) -> None:
            states.extend(
                self._connection.execute(
                    "SELECT state, backend_xid, backend_xmin FROM pg_stat_activity "
                    "WHERE datname = current_database() AND application_name = 'rowlock'"
                )
            )

    rows = [{"username": f"user-{number}"} for number in range(12_000)]
    with psycopg.connect(database_url, autocommit=True) as connection:
        watch = Looking(connection)
        assert await load_files(filled, tmp_path, (USERS, rows), watch=watch) == [(12_000, 0)]
    assert states
    assert set(states) == {("idle", None, None)}


async def test_two_imports__of_one_file_at_once__one_wins(
    filled: Database, connection: Connection, tmp_path: Path, database_url: str, settings: Settings
) -> None:
    rows = [{"username": f"user-{number}"} for number in range(2000)]
    async with AsyncExitStack() as stack:
        patient = settings.changed(lock_timeout_s=30.0)
        databases = [
            await stack.enter_async_context(Database(database_url, patient.database, scans=True))
            for _ in range(2)
        ]
        outcomes = await asyncio.gather(
            *(load_files(each, tmp_path, (USERS, rows)) for each in databases),
            return_exceptions=True,
        )
    assert sorted(map(type, outcomes), key=str) == sorted([list, InvalidDataFile], key=str)
    assert await connection.fetchval("SELECT count(*) FROM users") == 2002


BALANCES = st.one_of(st.none(), st.integers(0, 1000), st.just(BALANCE_LIMIT))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
async def test_users__any_balances__ledger_agrees_and_sum_is_that_of_the_file(
    filled: Database, connection: Connection, tmp_path: Path, data: st.DataObject
) -> None:
    before = await connection.fetchval("SELECT count(*) FROM users")
    balances = data.draw(st.lists(BALANCES, max_size=8))
    rows = [
        {"username": f"user-{before}-{number}"}
        | ({} if balance is None else {"opening_balance": balance})
        for number, balance in enumerate(balances)
    ]
    total = await connection.fetchval("SELECT coalesce(sum(balance), 0) FROM users")
    await load_files(filled, tmp_path, (USERS, rows))
    assert await connection.fetchval("SELECT coalesce(sum(balance), 0) FROM users") == (
        total + sum(balance or 0 for balance in balances)
    )
    assert [each async for each in money.differences(filled, lambda *_: None)] == []


async def test_load__user_who_was_anonymised__known_by_the_id_and_not_named_again(
    filled: Database, connection: Connection, tmp_path: Path
) -> None:
    rows = [{"id": 7, "username": "zoe", "email": "zoe@example.com"}, {"id": 8, "username": "yan"}]
    assert await load_files(filled, tmp_path, (USERS, rows)) == [Loaded(2, 0)]
    await connection.execute(
        "UPDATE users SET username = 'anonymous-7', name_key = 'anonymous-7', email = NULL, "
        "email_key = NULL, anonymised_at = now() WHERE id = 7"
    )
    again = await load_files(filled, tmp_path, (USERS, rows), skips_known=True)
    assert again == [Loaded(0, 2)]
    found = await fetch(connection, "SELECT username, email FROM users WHERE id > 6 ORDER BY id")
    assert found == [("anonymous-7", None), ("yan", None)]
