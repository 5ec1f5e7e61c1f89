"""A column's type changes under running services: no request fails."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from rowlock.engine.database import Database
from rowlock.engine.lanes import WriteLane
from rowlock.engine.statements import is_stale, queries
from rowlock.invoices.rules import Invoice, PayInvoice
from rowlock.invoices.transactions import pay_invoices
from rowlock.settings import Settings
from tests.support.contract import BOOKING
from tests.support.panel import SECRET, add_projects
from tests.support.types import Client, Connection

# Every text of the tables that requests use, and back.
COLUMNS = """
    SELECT format(
        'ALTER TABLE %I ALTER COLUMN %I TYPE %s', relname, attname,
        CASE WHEN atttypid = 'text'::regtype THEN 'varchar(500)' ELSE 'text' END
    )
    FROM pg_attribute INNER JOIN pg_class ON attrelid = pg_class.oid
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname !~ '^_?yoyo'
    AND atttypid IN ('text'::regtype, 'varchar'::regtype) AND attnum > 0
    -- PostgreSQL refuses to change what a policy or a trigger names.
    AND NOT EXISTS (
        SELECT FROM pg_depend
        WHERE classid IN ('pg_policy'::regclass, 'pg_trigger'::regclass)
        AND refobjid = attrelid AND refobjsubid = attnum
    )
    ORDER BY 1"""


@pytest.fixture
async def use(
    commerce: Client, projects: Client, connection: Connection, catalogue: dict[str, int]
) -> Callable[[], Awaitable[None]]:
    """Use every kind of route, alone and several at once."""
    await connection.execute(
        "INSERT INTO users (username) SELECT 'user-' || n FROM generate_series(1, 9) n"
    )
    await connection.execute("INSERT INTO services (id, name) VALUES (1, 'Inspection')")
    await add_projects(connection, 2)
    calls = 0

    async def expect(client: Client, method: str, path: str, body: object = None) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        headers = {"Idempotency-Key": f"k{calls}"} if method == "POST" else {}
        if path.endswith("webhook"):
            headers["Authorization"] = SECRET
        response = await client.request(method, path, json=body, headers=headers)
        answer: dict[str, Any] = await response.json()
        assert response.status < 300 or answer["error"] == "too_close_to_existing_order", answer
        return answer

    async def use_all(user: int) -> None:
        name = f"shopper-{calls}-{user}"
        await expect(commerce, "GET", f"/api/users/{name}")
        await expect(commerce, "GET", "/api/products")
        order = {"order": {"items": ["netflix"], "user_id": name}}
        await expect(commerce, "POST", "/api/orders", order)
        items = {"items": [{"productId": 1, "quantity": 1}], "userId": user}
        created = await expect(commerce, "POST", "/orders", items)
        await expect(commerce, "GET", f"/orders/{created['id']}")
        for path in ("/products", "/services", "/orders", "/invoices", "/service-orders"):
            await expect(commerce, "GET", path)
        await expect(commerce, "GET", "/orders?status=pending")
        invoice = {"user_id": user, "amount": 100, "label": "Work"}
        issued = await expect(commerce, "POST", "/invoices", invoice)
        await expect(commerce, "POST", f"/invoices/{issued['id']}/pay")
        await expect(commerce, "GET", f"/invoices/{issued['id']}")
        await expect(commerce, "GET", f"/invoices?user_id={user}")
        await expect(commerce, "GET", f"/user/{user}")
        await expect(commerce, "GET", f"/user/{user}/ledger")
        await expect(commerce, "POST", "/service-orders", BOOKING)
        await expect(projects, "GET", "/projects")
        await expect(projects, "GET", "/projects/1")
        started = await expect(projects, "POST", "/projects/1/deployment")
        report = {"id": started["id"], "status": "done"}
        await expect(projects, "POST", "/deployment/webhook", report)
        await expect(projects, "GET", f"/deployments/{started['id']}")
        await expect(projects, "GET", "/deployments")

    async def use_each() -> None:
        await use_all(1)
        await asyncio.gather(*(use_all(user) for user in range(1, 6)))

    return use_each


async def test_types_changed__every_route__as_before(
    use: Callable[[], Awaitable[None]], connection: Connection
) -> None:
    await use()
    for _ in range(2):  # there and back
        changes = [row[0] for row in await connection.fetch(COLUMNS)]
        assert len(changes) > 10
        await connection.execute(";".join(changes))
        await use()


async def test_statements_dropped__by_a_pooler__run_again(
    database: Database, connection: Connection, settings: Settings
) -> None:
    """DEALLOCATE ALL takes the driver's statements; in a transaction, all of it runs again."""
    await connection.execute("INSERT INTO users (username) VALUES ('ada')")
    await connection.execute(
        "INSERT INTO invoices (user_id, amount, label) VALUES (1, 1, 'a'), (1, 2, 'b')"
    )
    lane = WriteLane("test", database, pay_invoices, settings.batches)
    assert isinstance(await lane.submit(PayInvoice(1)), Invoice)
    async with database.connection() as lent:
        await lent.execute("DEALLOCATE ALL")
        [row] = await queries.accounts.find_users(lent, user_ids=[1])
        assert row["balance"] == 1
        await lent.execute("DEALLOCATE ALL")
    assert isinstance(await lane.submit(PayInvoice(2)), Invoice)


async def test_is_stale__of_what_the_server_says(connection: Connection) -> None:
    for sqlstate, message, expected in [
        ("XX000", "cache lookup failed for type 16413", True),
        ("XX000", "unexpected chunk number", False),
        ("26000", "prepared statement does not exist", True),
        ("0A000", "not supported", False),
        ("42704", "there is no such type", False),
    ]:
        with pytest.raises(asyncpg.PostgresError) as raised:
            await connection.execute(
                f"DO $$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '{sqlstate}'; END $$"
            )
        assert is_stale(raised.value) is expected, message
