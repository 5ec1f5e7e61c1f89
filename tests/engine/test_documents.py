"""A document moves a user's money once, whatever is done to it at psql."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from rowlock.benefits.rules import PlacedOrder, PlaceOrder
from rowlock.benefits.transactions import place_orders
from rowlock.engine.database import Database
from rowlock.invoices.rules import CreateInvoice, Invoice
from rowlock.invoices.transactions import create_invoices
from rowlock.orders.rules import SettleOrder
from tests.support.contract import refusal
from tests.support.money import assert_money_conserved
from tests.support.polling import until
from tests.support.settling import APPROVED, NEVER, PRICE, UNPAYABLE, Start, ledger, settled
from tests.support.types import Client, Connection, OpenAccount

RESET_INVOICE = "UPDATE invoices SET status = 'pending', paid_at = NULL WHERE id = $1"
RESET_ORDER = """
    UPDATE orders SET status = 'pending', settled_at = NULL, next_attempt_at = NULL WHERE id = $1"""


async def without_triggers(connection: Connection, statement: str, *arguments: Any) -> None:
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(statement, *arguments)


async def issue(database: Database, user_id: int, count: int) -> list[Invoice]:
    async with database.transaction() as connection:
        issued = await create_invoices(
            connection, [CreateInvoice(user_id, 100, "Work") for _ in range(count)]
        )
    return [invoice for invoice in issued if isinstance(invoice, Invoice)]


@pytest.fixture
async def documents(
    connection: Connection,
    commerce: Client,
    database: Database,
    catalogue: dict[str, int],
    open_account: OpenAccount,
) -> None:
    """A benefit order and a paid invoice, both 1, of user 1; other documents in other states.

    Order 2 is refused, 3 pending, 4 cancelled, and 5 refunded in part. Invoice 2 is void, and 3
    reversed. There is a transfer.
    """
    user_id = await open_account("ada", 10 * PRICE)
    async with database.transaction() as writer:
        [placed] = await place_orders(writer, [PlaceOrder("ada", ("netflix",))])
    assert isinstance(placed, PlacedOrder)
    await issue(database, user_id, 3)
    for change in ("1/pay", "2/void", "3/pay", "3/reverse"):
        assert (await commerce.post(f"/invoices/{change}")).status == 200
    other_id = await open_account("alan", 0)
    lunch = {"from_user_id": user_id, "to_user_id": other_id, "amount": 1, "label": "Lunch"}
    assert (await commerce.post("/transfers", json=lunch)).status == 201
    await connection.execute(
        "INSERT INTO orders (user_id, status, reason, settled_at, amount, refunded) "
        "VALUES (1, 'refused', 'x', now(), 5, 0), (1, 'pending', NULL, NULL, 5, 0), "
        "(1, 'cancelled', NULL, now(), 5, 0), (1, 'approved', NULL, now(), 5, 2)"
    )
    await connection.execute("INSERT INTO refunds (order_id, user_id, amount) VALUES (5, 1, 2)")
    await connection.execute(
        "INSERT INTO order_items (order_id, product_id, quantity, price) VALUES (3, 1, 1, 5)"
    )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE invoices SET status = 'pending', paid_at = NULL WHERE id = 1",
        "UPDATE invoices SET amount = 1",
        "UPDATE invoices SET user_id = 2",
        "UPDATE invoices SET id = 7 WHERE id = 1",
        "UPDATE invoices SET paid_at = now() WHERE id = 1",
        "DELETE FROM invoices",
        "TRUNCATE invoices",
        "UPDATE invoices SET status = 'void', paid_at = NULL, voided_at = now() WHERE id = 1",
        "UPDATE invoices SET status = 'reversed', reversed_at = now(), amount = 1 WHERE id = 1",
        "UPDATE invoices SET status = 'reversed', reversed_at = now(), user_id = 2 WHERE id = 1",
        "UPDATE invoices SET status = 'paid', voided_at = NULL, paid_at = now() WHERE id = 2",
        "UPDATE invoices SET status = 'pending', voided_at = NULL WHERE id = 2",
        "UPDATE invoices SET voided_at = now() WHERE id = 2",
        "UPDATE invoices SET amount = 1 WHERE id = 2",
        "DELETE FROM invoices WHERE id = 2",
        "UPDATE invoices SET status = 'paid', reversed_at = NULL WHERE id = 3",
        "UPDATE invoices SET status = 'pending', paid_at = NULL, reversed_at = NULL WHERE id = 3",
        "UPDATE invoices SET reversed_at = now() WHERE id = 3",
        "DELETE FROM invoices WHERE id = 3",
        "UPDATE transfers SET label = 'Dinner'",
        "DELETE FROM transfers",
        "TRUNCATE transfers",
        "UPDATE orders SET status = 'pending', settled_at = NULL WHERE id = 1",
        "UPDATE orders SET status = 'refused', reason = 'x' WHERE id = 1",
        "UPDATE orders SET status = 'pending', settled_at = NULL, reason = NULL WHERE id = 2",
        "UPDATE orders SET amount = 1 WHERE id = 1",
        "UPDATE orders SET user_id = NULL WHERE id = 1",
        "UPDATE orders SET status = 'cancelled' WHERE id = 1",
        "UPDATE orders SET status = 'pending', settled_at = NULL WHERE id = 4",
        "UPDATE orders SET status = 'approved' WHERE id = 4",
        "UPDATE orders SET refunded = 1 WHERE id = 5",
        "UPDATE refunds SET amount = 1",
        "DELETE FROM refunds",
        "TRUNCATE refunds",
        "DELETE FROM orders WHERE id = 2",
        "TRUNCATE orders CASCADE",
        "UPDATE order_items SET price = 1 WHERE order_id = 1",
        "DELETE FROM order_items WHERE order_id = 1",
        "TRUNCATE order_items",
        "UPDATE ledger_entries SET document_id = 7",
        "UPDATE ledger_entries SET reason = reason",
    ],
)
async def test_settled_document__changed_at_psql__refused(
    connection: Connection, open_account: OpenAccount, documents: None, statement: str
) -> None:
    await open_account("grace", 0)
    with pytest.raises(asyncpg.RestrictViolationError):
        await connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE invoices SET label = 'Play'",
        "UPDATE invoices SET status = 'paid' WHERE id = 1",
        "UPDATE invoices SET status = 'reversed', reversed_at = now() WHERE id = 1",
        "UPDATE invoices SET metadata = '{}', reference = 'x' WHERE id = 1",
        "UPDATE orders SET amount = 6 WHERE id = 3",
        "UPDATE orders SET attempts = 1, next_attempt_at = now()",
        "UPDATE orders SET refunded = 3 WHERE id = 5",
        "DELETE FROM order_items WHERE order_id = 3",
    ],
)
async def test_document__change_that_moves_no_money__made(
    connection: Connection, documents: None, statement: str
) -> None:
    assert not (await connection.execute(statement)).endswith(" 0")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE orders SET refunded = 6 WHERE id = 5",
        "UPDATE orders SET refunded = -1 WHERE id = 3",
        "UPDATE orders SET refunded = 1 WHERE id = 2",
        "UPDATE orders SET refunded = 1 WHERE id = 3",
        "INSERT INTO refunds (order_id, user_id, amount) VALUES (5, 1, -1)",
        "INSERT INTO refunds (order_id, user_id, amount, reference) VALUES (5, 1, 1, '')",
        "INSERT INTO refunds (order_id, user_id, amount, metadata) VALUES (5, 1, 1, '[]')",
        "UPDATE orders SET status = 'lost' WHERE id = 3",
    ],
)
async def test_refunded__not_between_nothing_and_all_of_an_approved_order__refused(
    connection: Connection, documents: None, statement: str
) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute(statement)


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "again"}])
async def test_pay__invoice_was_set_back__409_and_the_others_are_paid(
    commerce: Client,
    connection: Connection,
    database: Database,
    open_account: OpenAccount,
    headers: dict[str, str],
) -> None:
    invoices = await issue(database, await open_account("ada", 0), 20)
    guilty, *others = [invoice.id for invoice in invoices]
    assert (await commerce.post(f"/invoices/{guilty}/pay")).status == 200
    await without_triggers(connection, RESET_INVOICE, guilty)

    async def pay(ids: Sequence[int]) -> list[int]:
        # All in one batch, behind the first.
        answers = await asyncio.gather(
            *(
                commerce.post(
                    f"/invoices/{id_}/pay",
                    headers={name: f"{value} {id_}" for name, value in headers.items()},
                )
                for id_ in ids
            )
        )
        return [answer.status for answer in answers]

    assert await pay([*others[:5], guilty, *others[5:]]) == [200] * 5 + [409] + [200] * 14
    response = await commerce.post(f"/invoices/{guilty}/pay")
    assert await refusal(response) == (409, "invoice_already_paid")
    assert len(await ledger(connection, invoices[0].user_id)) == 20
    await assert_money_conserved(connection)


@pytest.mark.parametrize("left", [0, 99 * PRICE])
async def test_settle__order_was_set_back__waits_longer_each_time_while_others_go_on(
    start: Start, connection: Connection, open_account: OpenAccount, left: int
) -> None:
    """Whether the user could pay for it again or not."""
    quiet = await start(processor=False, approval_rate=1.0)
    good = await open_account("ada", 100 * PRICE)
    bad = await open_account("grace", PRICE + left)
    guilty = await quiet.order(bad)
    await quiet.orders.settle.submit(SettleOrder(guilty, 0.5))
    assert await settled(connection, guilty) == [APPROVED]
    await without_triggers(connection, RESET_ORDER, guilty)
    # Begun after that: a process does not look again, for an hour, at orders that it saw settled.
    process = await start(
        approval_rate=1.0,
        processor_poll_s=0.01,
        processor_attempts=1,
        processor_retry_s=0.01,
        processor_retry_limit_s=NEVER,
    )
    with capture_logs() as lines:
        others = [await quiet.order(user_id) for user_id in (good, bad, None) for _ in range(5)]
        of_bad = [APPROVED if left else UNPAYABLE] * 5
        assert await settled(connection, *others) == [APPROVED] * 5 + of_bad + [APPROVED] * 5
        attempts = "SELECT attempts FROM orders WHERE id = $1 AND status = 'pending'"

        async def tried_again() -> bool:
            return (await connection.fetchval(attempts, guilty) or 0) >= 4

        await until(tried_again)
        assert await settled(connection, await process.order(good)) == [APPROVED]
    tried, pause = await connection.fetchrow(
        "SELECT attempts, next_attempt_at - statement_timestamp() FROM orders WHERE id = $1", guilty
    ) or (0, None)
    assert tried < 20, pause  # 0.01 s doubles to minutes
    assert len(await ledger(connection, bad)) == (6 if left else 1)
    await assert_money_conserved(connection)
    told = [line for line in lines if line["event"] == "order_posted_already"]
    assert {(line["order_id"], line["log_level"]) for line in told} == {(guilty, "error")}
    assert "task_failed" not in {line["event"] for line in lines}


async def test_ledger__second_entry_of_a_document__refused(
    connection: Connection, open_account: OpenAccount
) -> None:
    user_id = await open_account("ada", 1)
    old = (
        "INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference) "
        "VALUES ($1, 1, 2, $2, $3)"
    )
    await connection.execute(old, user_id, "order", "order:7")
    for reason, reference in (
        ("order", "order:7"),
        ("benefit_order", "order:7"),
        ("opening_balance", "user:1"),
    ):
        with pytest.raises(asyncpg.UniqueViolationError, match="ledger_entries_document_key"):
            await connection.execute(old, user_id, reason, reference)
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute(
            "INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference, "
            "document_kind, document_id, contra) "
            "VALUES ($1, 1, 2, 'invoice', 'invoice:1', 'invoice', 1, 'sales')",
            user_id,
        )


async def test_ledger__entry_of_the_previous_release__names_its_document(
    connection: Connection, open_account: OpenAccount
) -> None:
    user_id = await open_account("ada", 0)
    rows = await connection.fetch(
        "INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference) "
        "VALUES ($1, 9, 9, 'opening_balance', 'user:1'), ($1, -1, 8, 'order', 'order:7'), "
        "($1, -1, 7, 'benefit_order', 'order:8'), ($1, 1, 8, 'invoice', 'invoice:7') "
        "RETURNING document_kind, document_id, contra",
        user_id,
    )
    assert [tuple(row) for row in rows] == [
        ("opening", user_id, "opening"),
        ("order", 7, "sales"),
        ("order", 8, "sales"),
        ("invoice", 7, "payables"),
    ]
    with pytest.raises(asyncpg.NotNullViolationError):
        await connection.execute(
            "INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference) "
            "VALUES ($1, 9, 9, 'order', 'nothing')",
            user_id,
        )
