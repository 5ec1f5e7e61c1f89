"""A ledger of release 0.1.0 gets its documents, unless one of them has moved money twice."""

from collections.abc import Iterator

import psycopg
import pytest

from rowlock.engine import migrations
from rowlock.errors import StartRefused

POST = (
    "INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference) "
    "VALUES (%s, %s, %s, %s, %s)"
)
LAST_BEFORE = "0023_leases"


def down_to(database_url: str, last: str) -> None:
    """Undo the migrations after `last`."""
    known = migrations.known("main")
    migrations.down(database_url, "main", len(known) - known.index(last) - 1)
    assert migrations.status(database_url, "main").applied[-1] == last


@pytest.fixture
def old(database_url: str) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """A connection to a database as 0.1.0 has it, with three users."""
    down_to(database_url, LAST_BEFORE)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO users (username) VALUES ('ada'), ('grace'), ('alan')")
        yield connection


def test_up__ledger_of_the_previous_release__documents_named(
    database_url: str, old: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    old.execute(POST, (1, 9, 9, "opening_balance", "user:1"))
    old.execute(POST, (1, -1, 8, "order", "order:7"))
    old.execute(POST, (1, -1, 7, "benefit_order", "order:8"))
    old.execute(POST, (2, 1, 1, "invoice", "invoice:7"))
    # More than the pages of disk that are named together.
    old.execute(
        "INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference) "
        "SELECT 3, 1, n, 'invoice', 'invoice:' || n FROM generate_series(100, 150099) AS n"
    )
    before = (
        "SELECT md5(string_agg((id, created_at, balance_after, reference)::text, '' ORDER BY id))"
    )
    digest = old.execute(f"{before} FROM ledger_entries".encode()).fetchall()
    migrations.up(database_url, "main")
    rows = old.execute(
        "SELECT document_kind, document_id, contra FROM ledger_entries "
        "WHERE user_id < 3 ORDER BY id"
    )
    assert rows.fetchall() == [
        ("opening", 1, "opening"),
        ("order", 7, "sales"),
        ("order", 8, "sales"),
        ("invoice", 7, "payables"),
    ]
    named = old.execute(
        "SELECT count(*) FROM ledger_entries WHERE user_id = 3 "
        "AND (document_kind, document_id, contra) = ('invoice', balance_after, 'payables')"
    )
    assert named.fetchall() == [(150_000,)]
    assert old.execute(f"{before} FROM ledger_entries".encode()).fetchall() == digest
    with pytest.raises(psycopg.errors.RestrictViolation):
        old.execute("UPDATE ledger_entries SET reason = reason")


def test_up__documents_posted_twice__refused_with_a_list_and_nothing_is_changed(
    database_url: str, old: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    for reason in ("order", "benefit_order"):
        old.execute(POST, (1, -1, 8, reason, "order:7"))
    for _ in range(3):
        old.execute(POST, (2, 1, 1, "invoice", "invoice:7"))
    for reference in ("user:3", "user:03"):
        old.execute(POST, (3, 1, 1, "opening_balance", reference))
    old.execute(POST, (3, 1, 1, "invoice", "order:7"))
    old.execute(POST, (1, 1, 1, "invoice", "invoice:7"))  # another user's: no fault of its own
    with pytest.raises(StartRefused) as refused:
        migrations.up(database_url, "main")
    assert refused.value.message.splitlines() == [
        "The ledger has 4 documents that it should not have:",
        "entry 8 of user 3 names no document, but 'order:7'",
        "invoice 7 moved money of user 2 by the entries 3, 4, 5",
        "opening 3 moved money of user 3 by the entries 6, 7",
        "order 7 moved money of user 1 by the entries 1, 2",
        'docs/dba.md, "Documents posted twice", says how to correct them. Then migrate again.',
    ]
    assert migrations.status(database_url, "main").applied[-1] == LAST_BEFORE
    column = "SELECT 1 FROM information_schema.columns WHERE column_name = 'document_id'"
    assert old.execute(column).fetchall() == []


def test_up__many_documents_posted_twice__counted_and_twenty_listed(
    database_url: str, old: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    for _ in range(2):
        for number in range(100):
            old.execute(POST, (2, 1, 1, "invoice", f"invoice:{number + 1}"))
    with pytest.raises(StartRefused) as refused:
        migrations.up(database_url, "main")
    first, *listed, _ = refused.value.message.splitlines()
    assert first == "The ledger has 100 documents that it should not have:"
    assert len(listed) == 20


def test_up__stopped_while_documents_are_named__the_next_run_goes_on(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    down_to(database_url, "0024_documents")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO users (username) VALUES ('ada')")
        connection.execute(
            "INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference) "
            "SELECT 1, 1, n, 'invoice', 'invoice:' || n FROM generate_series(1, 150000) AS n"
        )
        # As they are when 0024 has just run.
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_document_check"
        )
        connection.execute(
            "UPDATE ledger_entries SET document_kind = NULL, document_id = NULL, contra = NULL"
        )
        connection.execute(
            "ALTER TABLE ledger_entries ADD CONSTRAINT ledger_entries_document_check CHECK ("
            "document_kind IS NOT NULL AND document_id IS NOT NULL AND contra IS NOT NULL) "
            "NOT VALID"
        )
        connection.execute("SET session_replication_role = origin")
        with psycopg.connect(database_url) as other, monkeypatch.context() as impatience:
            impatience.setattr(migrations, "TABLE_LOCK_TIMEOUT_S", 0.05)
            other.execute("SELECT 1 FROM ledger_entries WHERE balance_after = 150000 FOR UPDATE")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                migrations.up(database_url, "main")
        [[named]] = connection.execute("SELECT count(document_id) FROM ledger_entries")
        assert 0 < named < 150_000
        for statement in (
            b"UPDATE ledger_entries SET amount = amount + 1",
            b"UPDATE ledger_entries SET document_id = 1",
            b"DELETE FROM ledger_entries",
        ):
            with pytest.raises(psycopg.errors.RestrictViolation):
                connection.execute(statement)
        migrations.up(database_url, "main")
        assert list(connection.execute("SELECT count(document_id) FROM ledger_entries")) == [
            (150_000,)
        ]
