"""What a borrower did to a database, the next one must not meet."""

import psycopg
import pytest

from tests.support.databases import TABLES, Databases


def rows(url: str) -> dict[str, list[tuple[str, ...]]]:
    with psycopg.connect(url) as connection:
        return {
            table: connection.execute(f"SELECT t::text FROM {table} AS t ORDER BY 1").fetchall()
            for [table] in connection.execute(TABLES).fetchall()
        }


def test_lent_again__rows_numbers_and_sessions__as_if_new(main_databases: Databases) -> None:
    with main_databases.lent() as url:
        new = rows(url)
        with psycopg.connect(url) as connection:
            connection.execute("INSERT INTO products (slug, name, price) VALUES ('x', 'X', 1)")
            connection.execute("UPDATE outbox_cursor SET position = 7")
        left_open = psycopg.connect(url)
        left_open.execute("INSERT INTO users (username) VALUES ('ada')")
    with pytest.raises(psycopg.OperationalError):
        left_open.execute("SELECT 1")
    left_open.close()
    with main_databases.lent() as again:
        assert again == url
        assert rows(again) == new
        with psycopg.connect(again) as connection:
            added = connection.execute("INSERT INTO users (username) VALUES ('eve') RETURNING id")
            assert added.fetchone() == (1,)


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE more ()",
        "ALTER TABLE users ADD CHECK (balance < 5) NOT VALID",
        "ALTER TABLE users ALTER balance SET DEFAULT 5",
        "DROP INDEX invoices_status_created_at_idx",
        "ALTER TABLE ledger_entries DISABLE TRIGGER ALL",
        "GRANT SELECT ON users TO PUBLIC",
        "CREATE OR REPLACE FUNCTION refuse_ledger_change() RETURNS trigger "
        "LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    ],
)
def test_lent__schema_changed__not_again(main_databases: Databases, change: str) -> None:
    with main_databases.lent() as url, psycopg.connect(url) as connection:
        connection.execute(change)
    with main_databases.lent() as another:
        assert another != url
