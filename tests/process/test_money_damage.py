"""What a hand at psql can break with the triggers disabled: `rowlock doctor` tells of each."""

import psycopg
import pytest

from rowlock.accounts.rules import CreateUser
from rowlock.benefits.rules import PlaceOrder
from rowlock.engine.database import Database
from rowlock.invoices.rules import CreateInvoice, PayInvoice, ReverseInvoice, VoidInvoice
from rowlock.ops import money
from rowlock.orders.rules import CancelOrder, CreateOrder, Item, SettleOrder
from rowlock.refunds.rules import RefundOrder
from rowlock.transfers.rules import MakeTransfer
from tests.support.equivalence import History
from tests.support.histories import EXECUTORS, add_products
from tests.support.types import Connection

# One of each document in each state.
HISTORY: History = [
    [CreateUser("ada", 25_000)],  # entry 1
    [CreateUser("edsger", 9_000)],  # entry 2
    [PlaceOrder("ada", ("netflix",))],  # order 1, entry 3
    [RefundOrder(1, None)],  # refund 1, entry 4
    [CreateOrder(1, (Item(2, 2),)), CreateOrder(2, (Item(2, 1),)), CreateOrder(2, (Item(1, 1),))],
    [SettleOrder(2, 0.0)],  # entry 5
    [RefundOrder(2, 100)],  # refund 2, entry 6
    [CancelOrder(3)],
    [CreateInvoice(2, amount, "Work") for amount in (700, 800, 900, 950)],
    [PayInvoice(1), PayInvoice(2)],  # entries 7 and 8
    [ReverseInvoice(2)],  # entry 9
    [VoidInvoice(3)],
    [MakeTransfer(1, 2, 1_000, "Lunch")],  # entries 10 and 11
    [PlaceOrder("ada", ("spotify",))],  # order 5, entry 12
]
ENTRY = """INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference,
    document_kind, document_id, contra)
    SELECT {user}, {amount}, balance + {amount}, '{kind}', '{kind}:{id}', '{kind}', {id}, '{contra}'
    FROM users WHERE id = {user};
    UPDATE users SET balance = balance + {amount} WHERE id = {user};"""
DAMAGE: dict[str, tuple[str, list[str]]] = {
    "nothing": ("SELECT", []),
    "refund above its order": (
        "UPDATE refunds SET amount = 9000 WHERE id = 1",
        [
            "order 1: 7599 is refunded, its refunds add up to 9000",
            "refund 1 over 9000: entry 4 of user 1, over 7599",
            "the contra account sales: its entries add up to -7700, its documents to -6299",
        ],
    ),
    "refunds above their order": (
        "INSERT INTO refunds (id, order_id, user_id, amount) VALUES (3, 1, 1, 7599);"
        + ENTRY.format(user=1, amount=7599, kind="refund", id=3, contra="sales"),
        ["order 1: 7599 is refunded, its refunds add up to 15198"],
    ),
    "refund of a cancelled order": (
        "INSERT INTO refunds (id, order_id, user_id, amount) VALUES (3, 3, 2, 10);"
        + ENTRY.format(user=2, amount=10, kind="refund", id=3, contra="sales"),
        ["order 3: 0 is refunded, its refunds add up to 10"],
    ),
    "refunded too low": (
        "UPDATE orders SET refunded = 40 WHERE id = 2",
        ["order 2: 40 is refunded, its refunds add up to 100"],
    ),
    "refunded too high": (
        "UPDATE orders SET refunded = 5200 WHERE id = 2",
        ["order 2: 5200 is refunded, its refunds add up to 100"],
    ),
    "refund without entry": (
        "DELETE FROM ledger_entries WHERE id = 6",
        [
            "user 1 (ada): the balance is 16300, the ledger adds up to 16200",
            "user 1 (ada): entry 10 does not go on from the balance before it",
            "refund 2 of user 1, over 100: the ledger has no entry",
            "the contra account sales: its entries add up to -7800, its documents to -7700",
        ],
    ),
    "entry without refund": (
        "DELETE FROM refunds WHERE id = 2",
        [
            "order 2: 100 is refunded, its refunds add up to 0",
            "entry 6 of user 1, over 100: there is no such refund 2 of that user",
            "the contra account sales: its entries add up to -7700, its documents to -7800",
        ],
    ),
    "refund to another user": (
        "UPDATE refunds SET user_id = 2 WHERE id = 2",
        [
            "order 2: 1 refunds are of another user",
            "entry 6 of user 1, over 100: there is no such refund 2 of that user",
            "refund 2 of user 2, over 100: the ledger has no entry",
        ],
    ),
    "transfer with one leg": (
        "DELETE FROM ledger_entries WHERE id = 11",
        [
            "user 2 (edsger): the balance is 10700, the ledger adds up to 9700",
            "transfer 1 of user 2, over 1000: the ledger has no entry",
            "the contra account transfers: its entries add up to -1000, its documents to 0",
        ],
    ),
    "transfer without legs": (
        "DELETE FROM ledger_entries WHERE id IN (10, 11)",
        [
            "user 1 (ada): the balance is 16300, the ledger adds up to 17300",
            "user 1 (ada): entry 12 does not go on from the balance before it",
            "user 2 (edsger): the balance is 10700, the ledger adds up to 9700",
            "transfer 1 of user 1, over -1000: the ledger has no entry",
            "transfer 1 of user 2, over 1000: the ledger has no entry",
        ],
    ),
    "unequal legs": (
        "UPDATE ledger_entries SET amount = 900, balance_after = balance_after - 100 WHERE id = 11;"
        "UPDATE users SET balance = balance - 100 WHERE id = 2",
        [
            "transfer 1 over 1000: entry 11 of user 2, over 900",
            "the contra account transfers: its entries add up to -100, its documents to 0",
        ],
    ),
    "legs of another amount": (
        "UPDATE transfers SET amount = 1001",
        [
            "transfer 1 over -1001: entry 10 of user 1, over -1000",
            "transfer 1 over 1001: entry 11 of user 2, over 1000",
        ],
    ),
    "transfer the other way": (
        "UPDATE transfers SET from_user_id = 2, to_user_id = 1",
        [
            "transfer 1 over 1000: entry 10 of user 1, over -1000",
            "transfer 1 over -1000: entry 11 of user 2, over 1000",
        ],
    ),
    "transfer deleted": (
        "DELETE FROM transfers",
        [
            "entry 10 of user 1, over -1000: there is no such transfer 1 of that user",
            "entry 11 of user 2, over 1000: there is no such transfer 1 of that user",
        ],
    ),
    "reversed without its entry": (
        "DELETE FROM ledger_entries WHERE id = 9",
        [
            "user 2 (edsger): the balance is 10700, the ledger adds up to 11500",
            "user 2 (edsger): entry 11 does not go on from the balance before it",
            "reversal of invoice 2 of user 2, over 800: the ledger has no entry",
            "the contra account payables: its entries add up to 1500, its documents to 700",
        ],
    ),
    "reversed set back to paid": (
        "UPDATE invoices SET status = 'paid', reversed_at = NULL WHERE id = 2",
        [
            "entry 9 of user 2, over -800: there is no such reversal of invoice 2 of that user",
            "the contra account payables: its entries add up to 700, its documents to 1500",
        ],
    ),
    "void with an entry": (
        ENTRY.format(user=2, amount=900, kind="invoice", id=3, contra="payables"),
        [
            "entry 13 of user 2, over 900: there is no paid invoice 3 of that user",
            "the contra account payables: its entries add up to 1600, its documents to 700",
        ],
    ),
    "paid made void": (
        "UPDATE invoices SET status = 'void', paid_at = NULL, voided_at = now() WHERE id = 1",
        [
            "entry 7 of user 2, over 700: there is no paid invoice 1 of that user",
            "the contra account payables: its entries add up to 700, its documents to 0",
        ],
    ),
    "pending made paid": (
        "UPDATE invoices SET status = 'paid', paid_at = now() WHERE id = 4",
        [
            "invoice 4 of user 2, over 950: the ledger has no entry",
            "the contra account payables: its entries add up to 700, its documents to 1650",
        ],
    ),
    "invoice deleted": (
        "DELETE FROM invoices WHERE id = 1",
        [
            "entry 7 of user 2, over 700: there is no paid invoice 1 of that user",
            "the contra account payables: its entries add up to 700, its documents to 0",
        ],
    ),
    "cancelled with an entry": (
        ENTRY.format(user=2, amount=-2600, kind="order", id=3, contra="sales"),
        [
            "entry 13 of user 2, over -2600: there is no approved order 3 of that user",
            "the contra account sales: its entries add up to -10300, its documents to -7700",
        ],
    ),
    "approved made cancelled": (
        "UPDATE orders SET status = 'cancelled' WHERE id = 5",
        [
            "user 1 owns product 2, which no benefit order has bought",
            "entry 12 of user 1, over -2600: there is no approved order 5 of that user",
            "the contra account sales: its entries add up to -7700, its documents to -5100",
        ],
    ),
    "pending made approved": (
        "UPDATE orders SET status = 'approved', settled_at = now() WHERE id = 4",
        [
            "order 4 of user 2, over 7599: the ledger has no entry",
            "the contra account sales: its entries add up to -7700, its documents to -15299",
        ],
    ),
    "order deleted": (
        "DELETE FROM orders WHERE id = 5",
        [
            "user 1 owns product 2, which no benefit order has bought",
            "entry 12 of user 1, over -2600: there is no approved order 5 of that user",
            "the contra account sales: its entries add up to -7700, its documents to -5100",
        ],
    ),
    "price changed": (
        "UPDATE order_items SET price = 1 WHERE order_id = 5",
        ["order 5: the amount is 2600, its items add up to 1"],
    ),
    "given back but owned": (
        "INSERT INTO owned_products VALUES (1, 1)",
        ["order 1 was refunded, but user 1 still owns product 1"],
    ),
    "bought but not owned": (
        "DELETE FROM owned_products",
        ["order 5 has bought product 2, but user 1 does not own it"],
    ),
    "bought for nothing but not owned": (
        "INSERT INTO orders (id, user_id, status, amount, created_at, settled_at) "
        "VALUES (9, 2, 'approved', 0, now(), now());"
        "INSERT INTO order_items (order_id, product_id, quantity, price) VALUES (9, 1, 1, 0)",
        ["order 9 has bought product 1, but user 2 does not own it"],
    ),
    "owned but not bought": (
        "INSERT INTO owned_products VALUES (2, 1)",
        ["user 2 owns product 1, which no benefit order has bought"],
    ),
    "owned but bought otherwise": (  # order 2 is of the other shop, which hands nothing over
        "UPDATE order_items SET product_id = 1 WHERE order_id = 5;"
        "DELETE FROM order_items WHERE order_id = 1",
        [
            "user 1 owns product 2, which no benefit order has bought",
            "order 1: the amount is 7599, its items add up to 0",
            "order 5 has bought product 1, but user 1 does not own it",
        ],
    ),
    "balance off": (
        "UPDATE users SET balance = balance + 1 WHERE id = 2",
        ["user 2 (edsger): the balance is 10701, the ledger adds up to 10700"],
    ),
    "balance and last entry off": (
        "UPDATE users SET balance = balance + 1 WHERE id = 2;"
        "UPDATE ledger_entries SET balance_after = balance_after + 1 WHERE id = 11",
        [
            "user 2 (edsger): the balance is 10701, the ledger adds up to 10700",
            "user 2 (edsger): entry 11 does not go on from the balance before it",
        ],
    ),
    "opening entry deleted": (
        "DELETE FROM ledger_entries WHERE id = 2",
        [
            "user 2 (edsger): the balance is 10700, the ledger adds up to 1700",
            "user 2 (edsger): entry 7 does not go on from the balance before it",
        ],
    ),
    "user deleted": (
        "DELETE FROM users WHERE id = 2",
        ["user 2: there is no such user, the ledger adds up to 10700"],
    ),
}


@pytest.mark.parametrize(("statement", "told"), DAMAGE.values(), ids=[*DAMAGE])
async def test_audit__one_thing_damaged__told(
    database: Database, database_url: str, connection: Connection, statement: str, told: list[str]
) -> None:
    await add_products(database, connection)
    for batch in HISTORY:
        async with database.transaction() as transaction:
            await EXECUTORS[type(batch[0])](transaction, batch)
    with psycopg.connect(database_url) as session:
        session.execute("SET session_replication_role = replica")
        session.execute(statement.encode())
    found = [sentence async for _, sentence in money.differences(database, lambda *_: None)]
    assert found == told
