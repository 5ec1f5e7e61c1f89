"""Fifty at once: one wins, the others learn of it, and no money is lost or made."""

import asyncio
from collections import Counter
from collections.abc import Awaitable

from aiohttp import ClientResponse

from tests.support.contract import refusal, told
from tests.support.money import assert_money_conserved
from tests.support.types import Client, Connection

CLIENTS = 50


async def at_once(*requests: Awaitable[ClientResponse]) -> list[ClientResponse]:
    return await asyncio.gather(*requests)


async def outcomes(responses: list[ClientResponse]) -> Counter[int | tuple[int, str]]:
    """How many were answered with 200, and with each error."""
    return Counter(
        [200 if response.status == 200 else await refusal(response) for response in responses]
    )


async def test_get_user__many_at_once__one_is_created(
    commerce: Client, connection: Connection
) -> None:
    responses = await at_once(*(commerce.get("/api/users/ada") for _ in range(CLIENTS)))
    assert {response.status for response in responses} == {200}
    assert len({await response.read() for response in responses}) == 1
    for table in ("users", "ledger_entries", "outbox"):
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 1
    await assert_money_conserved(connection)


async def test_place_order__same_product_many_at_once__one_is_placed(
    commerce: Client, connection: Connection, catalogue: dict[str, int], ada: int
) -> None:
    body = {"order": {"items": ["netflix"], "user_id": "ada"}}
    responses = await at_once(*(commerce.post("/api/orders", json=body) for _ in range(CLIENTS)))
    assert await outcomes(responses) == {
        200: 1,
        (400, "products_already_purchased"): CLIENTS - 1,
    }
    assert await connection.fetchval("SELECT balance FROM users") == 500_00 - 75_99
    for table in ("orders", "order_items", "owned_products"):
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 1
    await assert_money_conserved(connection)


async def test_place_order__more_than_the_balance_covers__stops_in_time(
    commerce: Client, connection: Connection, ada: int
) -> None:
    await connection.execute(
        "INSERT INTO products (slug, name, price) "
        "SELECT 'p' || n, 'P', 3000 FROM generate_series(1, $1::int) AS n",
        CLIENTS,
    )
    responses = await at_once(
        *(
            commerce.post("/api/orders", json={"order": {"items": [f"p{n}"], "user_id": "ada"}})
            for n in range(1, CLIENTS + 1)
        )
    )
    assert await outcomes(responses) == {200: 16, (400, "insufficient_balance"): CLIENTS - 16}
    assert await connection.fetchval("SELECT balance FROM users") == 500_00 - 16 * 30_00
    await assert_money_conserved(connection)


async def test_pay_invoice__many_at_once__each_paid_once(
    commerce: Client, connection: Connection, ada: int
) -> None:
    body = {"user_id": ada, "amount": 100, "label": "x"}
    for _ in range(2):
        assert (await commerce.post("/invoices", json=body)).status == 201
    # The first to come is a batch of its own; the second invoice is many times in the next one.
    addresses = ("/invoices/1/pay", "/invoices/2/pay") * CLIENTS
    responses = await at_once(*(commerce.post(address) for address in addresses))
    assert await outcomes(responses) == {200: 2, (409, "invoice_already_paid"): 2 * CLIENTS - 2}
    assert await connection.fetchval("SELECT balance FROM users") == 502_00
    assert len(await told(connection, "invoice.paid")) == 2
    await assert_money_conserved(connection)


async def test_everything__at_once__money_is_conserved(
    commerce: Client, connection: Connection, catalogue: dict[str, int]
) -> None:
    names = [f"user-{number}" for number in range(10)]
    responses = await at_once(*(commerce.get(f"/api/users/{name}") for name in names * 5))
    assert await outcomes(responses) == {200: 50}
    ids = [row["id"] for row in await connection.fetch("SELECT id FROM users")]
    bodies = [{"user_id": user_id, "amount": 100, "label": "x"} for user_id in ids]
    responses = await at_once(*(commerce.post("/invoices", json=body) for body in bodies * 2))
    invoices = [(await response.json())["id"] for response in responses]
    order = {slug: {"items": [slug]} for slug in ("netflix", "spotify")}
    responses = await at_once(
        *(commerce.post(f"/invoices/{invoice}/pay") for invoice in invoices * 2),
        *(
            commerce.post("/api/orders", json={"order": order[slug] | {"user_id": name}})
            for slug in order
            for name in names * 2
        ),
    )
    assert await outcomes(responses) == {
        200: 20 + 20,
        (409, "invoice_already_paid"): 20,
        (400, "products_already_purchased"): 20,
    }
    balances = await connection.fetch("SELECT balance FROM users")
    assert {row["balance"] for row in balances} == {500_00 + 200 - 75_99 - 45_99}
    await assert_money_conserved(connection)
