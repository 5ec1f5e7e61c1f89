"""Migrations: up, down and up again; killed half-way; what the schema itself refuses."""

import asyncio
from contextlib import ExitStack
from hashlib import sha256

import asyncpg
import psycopg
import pytest
from yoyo import read_migrations

from rowlock.engine import migrations
from rowlock.errors import StartRefused
from tests.support.databases import rolled_back
from tests.support.polling import until
from tests.support.pooler import Pooler
from tests.support.types import Connection

DATABASES = ["main", "events"]
FOLDER = migrations.folder("main").parent

# A partition's columns are its parent's.
UNCOMMENTED = """
WITH relation AS (
    SELECT oid, relname, relispartition FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
        AND relname !~ 'yoyo'
)
SELECT relname AS uncommented FROM relation WHERE obj_description(oid, 'pg_class') IS NULL
UNION ALL
SELECT relname || '.' || attname FROM relation
JOIN pg_attribute ON attrelid = relation.oid AND attnum > 0 AND NOT attisdropped
WHERE NOT relispartition AND col_description(relation.oid, attnum) IS NULL
UNION ALL
SELECT tgname FROM pg_trigger JOIN relation ON tgrelid = relation.oid
WHERE NOT tgisinternal AND obj_description(pg_trigger.oid, 'pg_trigger') IS NULL
UNION ALL
SELECT proname FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL
UNION ALL
SELECT typname FROM pg_type
WHERE typnamespace = 'public'::regnamespace AND typtype NOT IN ('b', 'c')
    AND obj_description(oid, 'pg_type') IS NULL"""


def schema(url: str) -> list[tuple[str, ...]]:
    """All columns, constraints and indexes, but yoyo's."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            """
            SELECT 'column', table_name::text, column_name::text, data_type::text
            FROM information_schema.columns WHERE table_schema = 'public'
            UNION ALL
            SELECT 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid)
            FROM pg_constraint WHERE connamespace = 'public'::regnamespace
            UNION ALL
            SELECT 'index', tablename::text, indexname::text, indexdef
            FROM pg_indexes WHERE schemaname = 'public'
            UNION ALL
            SELECT 'function', '', proname::text, prosrc
            FROM pg_proc WHERE pronamespace = 'public'::regnamespace
            ORDER BY 1, 2, 3, 4"""
        ).fetchall()


def files(migration: str) -> tuple[str, str]:
    return f"{migration}.sql", f"{migration}.rollback.sql"


def own(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [row for row in rows if "yoyo" not in row[1]]


@pytest.mark.parametrize("name", DATABASES)
def test_migrations__up_down_up__same_schema(empty_database_url: str, name: str) -> None:
    known = migrations.known(name)
    assert migrations.status(empty_database_url, name).missing == known
    assert migrations.up(empty_database_url, name) == known
    full = own(schema(empty_database_url))
    assert migrations.up(empty_database_url, name) == ()
    assert migrations.down(empty_database_url, name) == tuple(reversed(known))
    assert own(schema(empty_database_url)) == []
    assert migrations.up(empty_database_url, name) == known
    assert own(schema(empty_database_url)) == full
    assert migrations.status(empty_database_url, name).missing == ()


def test_migrations__one_step_down__last_one_is_missing(empty_database_url: str) -> None:
    migrations.up(empty_database_url, "main")
    known = migrations.known("main")
    assert migrations.down(empty_database_url, "main", 1) == known[-1:]
    status = migrations.status(empty_database_url, "main")
    assert (status.applied, status.missing) == (known[:-1], known[-1:])


EVERYTHING = """
    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace"""

# Made by another application; main and events each have all that are of their names.
OTHERS = {
    "main": [
        ("CREATE TABLE users (id int)", "users"),
        ("CREATE TABLE products (id int); CREATE TABLE orders (id int)", "orders, products"),
        ("CREATE TABLE leases (id int)", "leases"),
        ("CREATE VIEW projects AS SELECT 1 AS id", "projects"),
        ("CREATE TYPE invoices AS ENUM ('a')", "invoices"),
        ("CREATE SEQUENCE services", "services"),
        ("CREATE TABLE mine (id int); CREATE INDEX orders_approved_idx ON mine (id)",
         "orders_approved_idx"),
        ("CREATE FUNCTION refuse_ledger_change() RETURNS int LANGUAGE sql AS 'SELECT 1'",
         "refuse_ledger_change"),
    ],
    "events": [
        ("CREATE TABLE events (id int)", "events"),
        ("CREATE TABLE mine (id int); CREATE INDEX events_name_idx ON mine (id)",
         "events_name_idx"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "statement", "taken"),
    [(name, *other) for name, others in OTHERS.items() for other in others],
)
def test_migrations__names_taken_by_another_application__refused_and_nothing_left(
    empty_database_url: str, name: str, statement: str, taken: str
) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(statement.encode())
        before = sorted(connection.execute(EVERYTHING).fetchall())
        for refuse in (migrations.check, migrations.up):
            with pytest.raises(StartRefused) as refused:
                refuse(empty_database_url, name)
            assert refused.value.message == (
                f"The {name} database already has {taken}, which Rowlock's migrations would make. "
                "Nothing was changed: give Rowlock a database of its own."
            )
            assert sorted(connection.execute(EVERYTHING).fetchall()) == before


@pytest.mark.parametrize("name", DATABASES)
def test_migrations__name_taken_that_a_later_one_makes__refused_before_the_others(
    empty_database_url: str, name: str
) -> None:
    migrations.up(empty_database_url, name)
    migrations.down(empty_database_url, name)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE leases (id int); CREATE TABLE event_keys (id int)")
    with pytest.raises(StartRefused, match=r"already has .*, which Rowlock.s migrations would"):
        migrations.up(empty_database_url, name)
    assert migrations.status(empty_database_url, name).applied == ()


def test_migrations__same_names_in_another_schema__applied(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA shop; CREATE TABLE shop.users (id int)")
    migrations.up(empty_database_url, "main")


@pytest.mark.parametrize("name", DATABASES)
def test_migrations__everything_that_they_make__is_looked_for(
    shared_database_urls: dict[str, str], name: str
) -> None:
    looked_for = {
        made for known in migrations.known(name) for _, made in migrations._makes(name, known)
    }
    with psycopg.connect(shared_database_urls[name]) as connection:
        made = connection.execute(
            """
            SELECT relname FROM pg_class LEFT JOIN pg_constraint ON conindid = pg_class.oid
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'i', 'v')
                AND NOT relispartition AND relname !~ 'yoyo' AND conindid IS NULL
            UNION SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"""
        ).fetchall()
    assert {name for [name] in made} <= looked_for


def test_migrations__lock_row_of_a_killed_process__is_no_obstacle(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, now(), 1)")
    assert migrations.up(database_url, "main") == ()


def go_back_to(url: str, name: str) -> None:
    """Roll back all migrations after the one called `name`."""
    known = migrations.known("main")
    migrations.down(url, "main", len(known) - known.index(name) - 1)


def test_migrations__table_in_use__give_up_and_leave_no_trace(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_back_to(database_url, "0021_request_ids")
    missing = migrations.status(database_url, "main").missing
    monkeypatch.setattr(migrations, "TABLE_LOCK_TIMEOUT_S", 0.05)
    with psycopg.connect(database_url) as connection:
        connection.execute("TABLE outbox")  # in a transaction that goes on
        with pytest.raises(psycopg.errors.LockNotAvailable):
            migrations.down(database_url, "main", 1)
    assert migrations.status(database_url, "main").missing == missing


def test_migrations__index_not_finished__built_anew_by_the_next_run(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_back_to(database_url, "0021_request_ids")
    with psycopg.connect(database_url) as connection, monkeypatch.context() as impatience:
        impatience.setattr(migrations, "TABLE_LOCK_TIMEOUT_S", 0.05)
        connection.execute("INSERT INTO orders (status, amount) VALUES ('pending', 1)")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            migrations.up(database_url, "main")
    assert "0022_list_indexes" in migrations.status(database_url, "main").missing
    migrations.up(database_url, "main")
    with psycopg.connect(database_url) as connection:
        invalid = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
        assert connection.execute(invalid).fetchall() == []


async def test_migrations__order_being_written__it_goes_on_and_the_migration_waits(
    database_url: str, connection: Connection
) -> None:
    go_back_to(database_url, "0020_projects")
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("INSERT INTO orders (status, amount) VALUES ('pending', 1)")
    migration = asyncio.create_task(asyncio.to_thread(migrations.up, database_url, "main"))
    waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'orders'::regclass AND NOT granted"
    await until(lambda: connection.fetchval(waiting))
    # As requests do: the document first, the outbox last.
    await connection.execute("SET LOCAL lock_timeout = '100ms'")
    await connection.execute(
        "INSERT INTO outbox (name, subject, payload) VALUES ('x', 'x:1', '{}')"
    )
    await transaction.commit()
    await migration
    assert migrations.status(database_url, "main").missing == ()


@pytest.mark.parametrize("name", DATABASES)
def test_migrations__each__has_its_rollback(name: str) -> None:
    names = {path.name for path in migrations.folder(name).glob("*.sql")}
    assert names == {file for known in migrations.known(name) for file in files(known)}


@pytest.mark.parametrize("name", DATABASES)
def test_migrations__each__depends_on_the_one_before_it_and_no_other(name: str) -> None:
    known = migrations.known(name)
    depends = {
        migration.id: [other.id for other in migration.depends]
        for migration in read_migrations(str(migrations.folder(name)))
    }
    assert depends == {migration: [*known[:number][-1:]] for number, migration in enumerate(known)}


def test_migrations__applied__known_by_their_names_alone(database_url: str) -> None:
    # So that a database does not notice that the comments in a file are others now.
    with psycopg.connect(database_url) as connection:
        applied = connection.execute("SELECT migration_id, migration_hash FROM _yoyo_migration")
        assert dict(applied.fetchall()) == {
            name: sha256(name.encode()).hexdigest() for name in migrations.known("main")
        }


# What `sha256sum` says of each file of a released version, run in migrations/. A release adds its
# own; until then they may change.
FROZEN = {
    name: digest
    for line in (FOLDER / "frozen.sha256").read_text().splitlines()
    for digest, name in [line.split("  ")]
}


def test_migrations__released_files__have_not_changed_and_never_may() -> None:
    changed = [
        name
        for name, digest in FROZEN.items()
        if not (FOLDER / name).exists()
        or sha256((FOLDER / name).read_bytes()).hexdigest() != digest
    ]
    assert changed == [], "databases have these already: write a new migration instead"


@pytest.mark.parametrize("name", DATABASES)
def test_migrations__released_files__are_the_first_ones(name: str) -> None:
    listed = [each for each in FROZEN if each.startswith(f"{name}/")]
    assert listed
    first = migrations.known(name)[: len(listed) // 2]
    assert set(listed) == {f"{name}/{file}" for known in first for file in files(known)}


@pytest.mark.parametrize("name", DATABASES)
async def test_schema__everything_in_it__has_a_comment(
    shared_database_urls: dict[str, str], name: str
) -> None:
    async with rolled_back(shared_database_urls[name]) as connection:
        rows = await connection.fetch(UNCOMMENTED)
    assert [row["uncommented"] for row in rows] == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entries SET amount = 2",
        "DELETE FROM ledger_entries",
        "TRUNCATE ledger_entries",
    ],
)
async def test_ledger__anything_but_insert__refused(connection: Connection, statement: str) -> None:
    await connection.execute("INSERT INTO users (username, balance) VALUES ('ada', 1)")
    await connection.execute(
        "INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference) "
        "VALUES (1, 1, 1, 'opening_balance', 'user:1')"
    )
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await connection.execute(statement)


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("INSERT INTO users (username, balance) VALUES ('b', -1)", "users_balance_check"),
        ("INSERT INTO users (username) VALUES ('ada')", "users_username_key"),
        ("INSERT INTO owned_products VALUES (1, 1), (1, 1)", "owned_products_pkey"),
        ("INSERT INTO owned_products VALUES (99, 1)", "owned_products_user_id_fkey"),
        ("INSERT INTO invoices (user_id, amount, label) VALUES (1, 0, 'x')", "amount_check"),
        ("INSERT INTO invoices (user_id, amount, label) VALUES (99, 1, 'x')", "user_id_fkey"),
        (
            "INSERT INTO invoices (user_id, amount, label, status) VALUES (1, 1, 'x', 'paid')",
            "invoices_times_check",
        ),
        (
            "INSERT INTO invoices (user_id, amount, label, status) VALUES (1, 1, 'x', 'void')",
            "invoices_times_check",
        ),
        (
            "INSERT INTO invoices (user_id, amount, label, status, paid_at) "
            "VALUES (1, 1, 'x', 'reversed', now())",
            "invoices_times_check",
        ),
        (
            "INSERT INTO invoices (user_id, amount, label, status) VALUES (1, 1, 'x', 'lost')",
            "invoices_statuses_check",
        ),
        (
            "INSERT INTO transfers (from_user_id, to_user_id, amount, label, created_at) "
            "VALUES (1, 1, 1, 'x', now())",
            "transfers_users_check",
        ),
        ("INSERT INTO orders (status, amount) VALUES ('approved', 1)", "orders_settled_at_check"),
        (
            "INSERT INTO orders (status, amount, settled_at) VALUES ('lost', 1, now())",
            "orders_statuses_check",
        ),
        ("INSERT INTO products (slug, name, price) VALUES ('a', 'A', -1)", "products_price_check"),
    ],
)
async def test_schema__what_the_rules_forbid__refused_by_the_database_too(
    connection: Connection, statement: str, error: str
) -> None:
    await connection.execute("INSERT INTO users (username) VALUES ('ada')")
    await connection.execute("INSERT INTO products (slug, name, price) VALUES ('x', 'X', 1)")
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match=error):
        await connection.execute(statement)


@pytest.mark.parametrize("in_turn", [False, True])
@pytest.mark.parametrize("busy", [0, 1, 3])
@pytest.mark.parametrize("name", DATABASES)
def test_migrations__behind_a_transaction_pooler__refused_and_nothing_locked(
    empty_database_url: str, name: str, *, busy: int, in_turn: bool
) -> None:
    with Pooler.before(empty_database_url, in_turn=in_turn) as pooler, ExitStack() as others:
        for number in range(busy):  # sessions that other clients have used
            other = others.enter_context(psycopg.connect(pooler.url, autocommit=True))
            others.enter_context(other.transaction())
            other.execute(f"SELECT {number}".encode())
        others.close()
        for migrate in (migrations.up, migrations.down):
            with pytest.raises(StartRefused, match="leads to PostgreSQL directly"):
                migrate(pooler.url, name)
        with psycopg.connect(empty_database_url) as connection:
            locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            assert connection.execute(locks).fetchone() == (0,)
    assert migrations.status(empty_database_url, name).applied == ()
    assert migrations.up(empty_database_url, name) == migrations.known(name)
