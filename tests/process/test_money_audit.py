"""The audit of `rowlock doctor`: what does not agree is told, each once, in whole numbers."""

import re

import psycopg
import pytest

from rowlock.engine.database import Database
from rowlock.ops import money, seed
from tests.support.processes import doctor

NO_ENTRY = "the ledger has no entry"
SALES = "documents: the contra account sales: its entries"


# A benefit order, refunded; an order in two halves, of which one is; and one that is cancelled.
REFUNDED = """
    INSERT INTO products (id, slug, name, price) VALUES (97, 'y', 'Y', 500);
    INSERT INTO orders (id, user_id, status, amount, refunded, settled_at) VALUES
        (1, 1, 'approved', 500, 500, now()), (2, 1, 'approved', 500, 250, now()),
        (3, 1, 'cancelled', 500, 0, now());
    INSERT INTO order_items (order_id, product_id, quantity, price)
        SELECT id, 97, 1, 500 FROM orders;
    INSERT INTO refunds (id, order_id, user_id, amount) VALUES (1, 1, 1, 500), (2, 2, 1, 250);
    INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference, document_kind,
        document_id, contra) VALUES
        (1, -500, 261317, 'benefit_order', 'order:1', 'order', 1, 'sales'),
        (1, -500, 260817, 'order', 'order:2', 'order', 2, 'sales'),
        (1, 500, 261317, 'refund', 'refund:1', 'refund', 1, 'sales'),
        (1, 250, 261567, 'refund', 'refund:2', 'refund', 2, 'sales');
    UPDATE users SET balance = 261567 WHERE id = 1;"""
OWNED = "INSERT INTO owned_products (user_id, product_id) VALUES (1, 97);"
REFUND_CASES: list[tuple[str, list[str]]] = [
    ("", []),
    (
        "UPDATE orders SET refunded = 0 WHERE id = 1",
        ["documents: order 1: 0 is refunded, its refunds add up to 500"],
    ),
    (
        "DELETE FROM refunds WHERE id = 2",
        [
            "documents: order 2: 250 is refunded, its refunds add up to 0",
            "documents: entry 10 of user 1, over 250: there is no such refund 2 of that user",
            f"{SALES} add up to -250, its documents to -500",
        ],
    ),
    (
        "INSERT INTO refunds (id, order_id, user_id, amount) VALUES (3, 2, 1, 10)",
        [
            "documents: order 2: 250 is refunded, its refunds add up to 260",
            f"documents: refund 3 of user 1, over 10: {NO_ENTRY}",
            f"{SALES} add up to -250, its documents to -240",
        ],
    ),
    (
        "UPDATE refunds SET user_id = 2 WHERE id = 2",
        [
            "documents: order 2: 1 refunds are of another user",
            "documents: entry 10 of user 1, over 250: there is no such refund 2 of that user",
            f"documents: refund 2 of user 2, over 250: {NO_ENTRY}",
        ],
    ),
    (
        "INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference, "
        "document_kind, document_id, contra) "
        "VALUES (1, -500, 261067, 'order', 'order:3', 'order', 3, 'sales');"
        "UPDATE users SET balance = 261067 WHERE id = 1",
        [
            "documents: entry 11 of user 1, over -500: there is no approved order 3 of that user",
            f"{SALES} add up to -750, its documents to -250",
        ],
    ),
    (OWNED, ["documents: order 1 was refunded, but user 1 still owns product 97"]),
    (  # Bought again, and for nothing.
        OWNED + "INSERT INTO orders (id, user_id, status, amount, settled_at) "
        "VALUES (4, 1, 'approved', 0, now());"
        "INSERT INTO order_items (order_id, product_id, quantity, price) VALUES (4, 97, 1, 0)",
        [],
    ),
    (  # And that was refunded, too.
        OWNED + "INSERT INTO orders (id, user_id, status, amount, settled_at) "
        "VALUES (4, 1, 'approved', 0, now());"
        "INSERT INTO order_items (order_id, product_id, quantity, price) VALUES (4, 97, 1, 0);"
        "INSERT INTO refunds (id, order_id, user_id, amount) VALUES (3, 4, 1, 0)",
        [
            "documents: order 1 was refunded, but user 1 still owns product 97",
            "documents: order 4 was refunded, but user 1 still owns product 97",
        ],
    ),
]


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
        (
            "UPDATE invoices SET status = 'reversed', reversed_at = now() WHERE id = 2",
            [
                f"documents: reversal of invoice 2 of user 1, over 20000: {NO_ENTRY}",
                "documents: the contra account payables: its entries add up to 27500, "
                "its documents to 7500",
            ],
        ),
        (
            "INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference, "
            "document_kind, document_id, contra) VALUES (1, -20000, 241817, 'reversal', "
            "'reversal:2', 'reversal', 2, 'payables');"
            "UPDATE users SET balance = balance - 20000 WHERE id = 1",
            [
                "documents: entry 7 of user 1, over -20000: "
                "there is no such reversal of invoice 2 of that user",
                "documents: the contra account payables: its entries add up to 7500, "
                "its documents to 27500",
            ],
        ),
        (  # Both as it should be.
            "UPDATE invoices SET status = 'reversed', reversed_at = now() WHERE id = 2;"
            "INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference, "
            "document_kind, document_id, contra) VALUES (1, -20000, 241817, 'reversal', "
            "'reversal:2', 'reversal', 2, 'payables');"
            "UPDATE users SET balance = balance - 20000 WHERE id = 1",
            [],
        ),
        (
            "UPDATE invoices SET status = 'void', voided_at = now(), paid_at = NULL WHERE id = 2",
            [
                "documents: entry 5 of user 1, over 20000: there is no paid invoice 2 of that user",
                "documents: the contra account payables: its entries add up to 27500, "
                "its documents to 7500",
            ],
        ),
        (
            "INSERT INTO transfers (from_user_id, to_user_id, amount, label, created_at) "
            "VALUES (1, 2, 17, 'Lunch', now());"
            "INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference, "
            "document_kind, document_id, contra) VALUES (1, -17, 261800, 'transfer', "
            "'transfer:1', 'transfer', 1, 'transfers');"
            "UPDATE users SET balance = balance - 17 WHERE id = 1",
            [
                f"documents: transfer 1 of user 2, over 17: {NO_ENTRY}",
                "documents: the contra account transfers: its entries add up to -17, "
                "its documents to 0",
            ],
        ),
        (
            "INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference, "
            "document_kind, document_id, contra) VALUES (1, -17, 261800, 'transfer', "
            "'transfer:9', 'transfer', 9, 'transfers');"
            "UPDATE users SET balance = balance - 17 WHERE id = 1",
            [
                "documents: entry 7 of user 1, over -17: there is no such transfer 9 of that user",
                "documents: the contra account transfers: its entries add up to -17, "
                "its documents to 0",
            ],
        ),
        *((REFUNDED + more, told) for more, told in REFUND_CASES),
        (  # These move no money.
            "INSERT INTO products (id, slug, name, price) VALUES (98, 'x', 'X', 0);"
            "INSERT INTO orders (id, user_id, status, amount, settled_at, reason) VALUES "
            "(1, 1, 'approved', 0, now() + interval '1 s', NULL), "
            "(2, NULL, 'approved', 10, now(), NULL), "
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
