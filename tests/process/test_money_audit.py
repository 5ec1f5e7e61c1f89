"""The audit of `rowlock doctor`: what does not agree is told, each once, in whole numbers."""

import re

import psycopg
import pytest

from rowlock.engine.database import Database
from rowlock.ops import money, seed
from tests.support.processes import doctor

NO_ENTRY = "the ledger has no entry"


async def audit(database: Database) -> list[str]:
    return [
        f"{check}: {told}" async for check, told in money.differences(database, lambda *_: None)
    ]


def break_(database_url: str, statement: str) -> None:
    """Do what the triggers refuse."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(statement.encode())


@pytest.mark.parametrize("page", [1, money.PAGE])
@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("SELECT", []),
        (
            "DELETE FROM ledger_entries WHERE reference = 'invoice:2'",
            [
                "money: user 1 (ada): the balance is 261817, the ledger adds up to 241817",
                f"documents: invoice 2 of user 1, over 20000: {NO_ENTRY}",
                "documents: the contra account payables: its entries add up to 7500, "
                "its documents to 27500",
            ],
        ),
        (
            "UPDATE invoices SET status = 'pending', paid_at = NULL WHERE id = 2",
            [
                "documents: entry 5 of user 1, over 20000: there is no paid invoice 2 of that user",
                "documents: the contra account payables: its entries add up to 27500, "
                "its documents to 7500",
            ],
        ),
        (
            "DELETE FROM invoices WHERE id = 4",
            [
                "documents: entry 6 of user 3, over 7500: there is no paid invoice 4 of that user",
                "documents: the contra account payables: its entries add up to 27500, "
                "its documents to 20000",
            ],
        ),
        (
            "UPDATE invoices SET amount = 180000 WHERE id = 2",
            [
                "documents: invoice 2 over 180000: entry 5 of user 1, over 20000",
                "documents: the contra account payables: its entries add up to 27500, "
                "its documents to 187500",
            ],
        ),
        (
            "UPDATE invoices SET user_id = 2 WHERE id = 2",
            [
                "documents: entry 5 of user 1, over 20000: there is no paid invoice 2 of that user",
                f"documents: invoice 2 of user 2, over 20000: {NO_ENTRY}",
            ],
        ),
        (
            "INSERT INTO orders (user_id, status, amount, settled_at) "
            "VALUES (1, 'approved', 5, now())",
            [
                f"documents: order 1 of user 1, over 5: {NO_ENTRY}",
                "documents: order 1: the amount is 5, its items add up to 0",
                "documents: the contra account sales: its entries add up to 0, its documents to -5",
            ],
        ),
        (
            "INSERT INTO orders (status, amount) VALUES ('pending', 180000)",
            ["documents: order 1: the amount is 180000, its items add up to 0"],
        ),
        (
            "UPDATE users SET balance = 180000 WHERE id = 2; "
            "UPDATE users SET balance = 200000 WHERE id = 1",
            ["money: user 1 (ada): the balance is 200000, the ledger adds up to 261817"],
        ),
        (
            "UPDATE ledger_entries SET balance_after = 180000 WHERE id = 5",
            ["money: user 1 (ada): entry 5 does not go on from the balance before it"],
        ),
        (
            "INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference, "
            "document_kind, document_id, contra) VALUES (1, -17, 261800, 'order', 'order:9', "
            "'order', 9223372036854775807, 'sales');"
            "UPDATE users SET balance = balance - 17 WHERE id = 1",
            [
                "documents: entry 7 of user 1, over -17: "
                "there is no approved order 9223372036854775807 of that user",
                "documents: the contra account sales: its entries add up to -17, "
                "its documents to 0",
            ],
        ),
        (  # These move no money.
            "INSERT INTO products (id, slug, name, price) VALUES (98, 'x', 'X', 0);"
            "INSERT INTO orders (id, user_id, status, amount, settled_at, reason) VALUES "
            "(1, 1, 'approved', 0, now(), NULL), (2, NULL, 'approved', 10, now(), NULL), "
            "(3, 1, 'refused', 10, now(), 'x'), (4, 1, 'pending', 10, NULL, NULL);"
            "INSERT INTO order_items (order_id, product_id, quantity, price) VALUES "
            "(1, 98, 3, 0), (2, 1, 2, 5), (3, 1, 2, 5), (4, 1, 1, 5), (4, 1, 1, 5)",
            [],
        ),
    ],
)
async def test_audit__as_it_is__told(
    database: Database,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
    told: list[str],
    page: int,
) -> None:
    monkeypatch.setattr(money, "PAGE", page)
    await seed.demo(database)
    break_(database_url, statement)
    assert await audit(database) == told


async def test_audit__many_differences__those_of_a_page_at_most(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(money, "PAGE", 80)
    break_(
        database_url,
        "INSERT INTO users (username, balance) "
        "SELECT 'u' || n, 1 FROM generate_series(1, 999) AS n",
    )
    assert len(await audit(database)) == 160


async def test_doctor__money_differs__fails_and_says_how_long_it_took(
    database: Database, database_url: str, events_database_url: str
) -> None:
    urls = {"database_url": database_url, "events_database_url": events_database_url}
    await seed.demo(database)
    status, output = await doctor(**urls)
    assert status == 0, output
    assert "\nok   documents: each " in output
    assert re.search(r"^ok   duration: .* \d+\.\d s$", output, re.MULTILINE)
    break_(database_url, "UPDATE users SET balance = 180000 WHERE id = 1")
    status, output = await doctor(**urls)
    assert status == 1
    told = "FAIL money: user 1 (ada): the balance is 180000, the ledger adds up to 261817"
    assert told in output.splitlines()
