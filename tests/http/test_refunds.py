"""Refunds over HTTP: of orders of both shops, in parts and whole."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rowlock.orders.rules import SettleOrder
from rowlock.orders.transactions import settle_orders
from tests.support.contract import INSTANT, refusal, stored, told, walk, within
from tests.support.money import assert_money_conserved
from tests.support.types import Client, Connection, OpenAccount, Serve, Unchanged

MAXIMUM = 2**53 - 1
NETFLIX = 1  # the product's id
PRICES = {"netflix": 7599, "spotify": 4599}

# Places an order that is settled, of so many netflix; returns it.
Order = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def order(commerce: Client, connection: Connection, catalogue: dict[str, int]) -> Order:
    async def order_some(
        user_id: int | None, quantity: int = 1, *, rate: float = 1.0, settle: bool = True
    ) -> dict[str, Any]:
        items = [{"productId": NETFLIX, "quantity": quantity}]
        response = await commerce.post("/orders", json={"items": items, "userId": user_id})
        created: dict[str, Any] = await response.json()
        if settle:
            async with connection.transaction():
                await settle_orders(connection, [SettleOrder(created["id"], 0.5)], rate)
        response = await commerce.get(f"/orders/{created['id']}")
        shown: dict[str, Any] = await response.json()
        return shown

    return order_some


async def buy(commerce: Client, username: str, *slugs: str) -> int:
    body = {"order": {"items": slugs, "user_id": username}}
    response = await commerce.post("/api/orders", json=body)
    assert response.status == 200, await response.text()
    return int((await response.json())["order"]["order_id"])


async def owned(commerce: Client, username: str) -> list[str]:
    shopper = await (await commerce.get(f"/api/users/{username}")).json()
    found: list[str] = shopper["user"]["data"]["product_ids"]
    return found


async def balance(commerce: Client, user_id: int) -> int:
    found: int = (await (await commerce.get(f"/user/{user_id}")).json())["balance"]
    return found


async def refund(commerce: Client, order_id: int, **body: object) -> dict[str, Any]:
    response = await commerce.post(f"/orders/{order_id}/refunds", json=body)
    assert response.status == 201, await response.text()
    made: dict[str, Any] = await response.json()
    location = within(commerce, response.headers["Location"])
    assert location == f"/orders/{order_id}/refunds/{made['id']}"
    assert await (await commerce.get(location)).json() == made
    return made


@pytest.mark.parametrize("sent", [None, b"", b"{}", b'{"amountCents": null}'])
async def test_refund__nothing_said__all_that_is_left_is_paid_back_and_told(
    commerce: Client, connection: Connection, ada: int, order: Order, sent: bytes | None
) -> None:
    bought = await order(ada, 2)
    headers = {"Content-Type": "application/json"} if sent else {}
    path = f"/orders/{bought['id']}/refunds"
    response = await commerce.post(path, data=sent, headers=headers)
    assert response.status == 201
    made = await response.json()
    assert INSTANT.fullmatch(made["createdAt"])
    expected = {
        "id": 1,
        "orderId": bought["id"],
        "amountCents": 15198,
        "createdAt": made["createdAt"],
        "reference": None,
        "metadata": None,
    }
    assert made == expected
    assert [*made] == [*expected]
    shown = await (await commerce.get(f"/orders/{bought['id']}")).json()
    assert shown == bought | {"refundedCents": 15198}
    assert await balance(commerce, ada) == 500_00
    [entry, *_] = await (await commerce.get(f"/user/{ada}/ledger")).json()
    assert (entry["amount"], entry["balance_after"]) == (15198, 500_00)
    assert (entry["reason"], entry["reference"]) == ("refund", "refund:1")
    assert entry["created_at"] == made["createdAt"]
    assert await told(connection, "order.refunded") == [
        (
            f"order:{bought['id']}",
            {
                "refund_id": 1,
                "order_id": bought["id"],
                "user_id": ada,
                "amount": 15198,
                "refunded": 15198,
                "balance_after": 500_00,
            },
        )
    ]


async def test_refund__in_parts__up_to_what_is_left(
    commerce: Client, connection: Connection, ada: int, order: Order, unchanged: Unchanged
) -> None:
    bought = await order(ada)
    path = f"/orders/{bought['id']}"
    first = await refund(commerce, bought["id"], amountCents=1)
    second = await refund(commerce, bought["id"], amountCents=7000)
    assert (await (await commerce.get(path)).json())["refundedCents"] == 7001
    async with unchanged():
        response = await commerce.post(f"{path}/refunds", json={"amountCents": 599})
    assert await refusal(response) == (409, "refund_exceeds_order")
    details = (await response.json())["details"]
    assert details == {"order_id": bought["id"], "amount": 599, "left": 598}
    third = await refund(commerce, bought["id"])
    assert third["amountCents"] == 598
    async with unchanged():
        for body in ({}, {"amountCents": 1}):
            response = await commerce.post(f"{path}/refunds", json=body)
            assert await refusal(response) == (409, "order_not_refundable")
    assert await walk(commerce, f"{path}/refunds") == [[third, second, first]]
    assert await walk(commerce, f"{path}/refunds?limit=2") == [[third, second], [first]]
    assert await balance(commerce, ada) == 500_00
    await assert_money_conserved(connection)


async def test_refund__reference_and_metadata__shown_and_no_second_one(
    commerce: Client, ada: int, order: Order, unchanged: Unchanged
) -> None:
    bought = await order(ada)
    more = {"reference": "credit 1", "metadata": {"why": "broken"}}
    made = await refund(commerce, bought["id"], amountCents=1, **more)
    assert {name: made[name] for name in more} == more
    async with unchanged():
        response = await commerce.post(
            f"/orders/{bought['id']}/refunds", json={"reference": "credit 1"}
        )
    assert await refusal(response) == (409, "reference_taken")


@pytest.mark.parametrize("state", ["pending", "refused", "cancelled", "without a user"])
async def test_refund__nothing_was_paid__409_and_nothing_changed(
    commerce: Client, ada: int, order: Order, unchanged: Unchanged, state: str
) -> None:
    quantity = 10 if state == "refused" else 1  # too dear
    user_id = None if state == "without a user" else ada
    placed = await order(user_id, quantity, settle=state in {"refused", "without a user"})
    if state == "cancelled":
        assert (await commerce.post(f"/orders/{placed['id']}/cancel")).status == 200
    async with unchanged():
        response = await commerce.post(f"/orders/{placed['id']}/refunds")
    assert await refusal(response) == (409, "order_not_refundable")
    answer = await response.json()
    status = "approved" if state == "without a user" else state
    assert answer["details"] == {"order_id": placed["id"], "status": status}


async def test_refund__order_that_cost_nothing__409_and_nothing_changed(
    commerce: Client, connection: Connection, ada: int, order: Order, unchanged: Unchanged
) -> None:
    await connection.execute("UPDATE products SET price = 0")
    bought = await order(ada)
    assert (bought["status"], bought["amountCents"]) == ("approved", 0)
    async with unchanged():
        response = await commerce.post(f"/orders/{bought['id']}/refunds")
    assert await refusal(response) == (409, "order_not_refundable")


@pytest.mark.parametrize("path", ["", "/1"])
@pytest.mark.parametrize("order_id", [1, MAXIMUM])
async def test_refunds__unknown_order__404(
    commerce: Client, unchanged: Unchanged, path: str, order_id: int
) -> None:
    async with unchanged():
        for method in ("GET",) if path else ("GET", "POST"):
            response = await commerce.request(method, f"/orders/{order_id}/refunds{path}")
            expected = "refund_not_found" if path else "order_not_found"
            assert await refusal(response) == (404, expected)


async def test_get_refund__of_another_order__404(commerce: Client, ada: int, order: Order) -> None:
    bought, other = await order(ada), await order(ada)
    made = await refund(commerce, bought["id"])
    response = await commerce.get(f"/orders/{other['id']}/refunds/{made['id']}")
    assert await refusal(response) == (404, "refund_not_found")
    assert await walk(commerce, f"/orders/{other['id']}/refunds") == [[]]


async def test_refund__balance_over_the_limit__409_and_nothing_changed(
    commerce: Client, connection: Connection, ada: int, order: Order, unchanged: Unchanged
) -> None:
    bought = await order(ada)
    await connection.execute(
        "INSERT INTO invoices (user_id, amount, label) VALUES ($1, $2, 'x')",
        ada,
        MAXIMUM - 500_00 + 1,
    )
    assert (await commerce.post("/invoices/1/pay")).status == 200
    async with unchanged():
        response = await commerce.post(f"/orders/{bought['id']}/refunds")
    assert await refusal(response) == (409, "balance_limit_exceeded")


@pytest.mark.parametrize("body", [{}, {"amountCents": 12198}])
async def test_refund__benefit_order__its_products_can_be_bought_again(
    commerce: Client,
    connection: Connection,
    catalogue: dict[str, int],
    ada: int,
    body: dict[str, int],
) -> None:
    await connection.execute("UPDATE products SET price = 1 WHERE slug = 'gym'")
    bought = await buy(commerce, "ada", "netflix", "spotify")
    other = await buy(commerce, "ada", "gym")
    await owned(commerce, "grace")  # opens an account
    await buy(commerce, "grace", "netflix")
    before = await balance(commerce, ada)
    made = await refund(commerce, bought, **body)
    assert made["amountCents"] == sum(PRICES.values())
    assert await balance(commerce, ada) == before + sum(PRICES.values())
    assert await owned(commerce, "ada") == ["gym"]
    assert await owned(commerce, "grace") == ["netflix"]
    again = await buy(commerce, "ada", "netflix")
    assert again not in {bought, other}
    assert await owned(commerce, "ada") == ["netflix", "gym"]
    response = await commerce.post(f"/orders/{bought}/refunds")
    assert await refusal(response) == (409, "order_not_refundable")
    assert await owned(commerce, "ada") == ["netflix", "gym"]
    await assert_money_conserved(connection)


@pytest.mark.parametrize(
    ("amount", "code"), [(7598, "order_not_refundable"), (7600, "refund_exceeds_order")]
)
async def test_refund__another_amount_of_a_benefit_order__409_and_nothing_changed(
    commerce: Client,
    catalogue: dict[str, int],
    ada: int,
    unchanged: Unchanged,
    amount: int,
    code: str,
) -> None:
    bought = await buy(commerce, "ada", "netflix")
    async with unchanged():
        response = await commerce.post(f"/orders/{bought}/refunds", json={"amountCents": amount})
    assert await refusal(response) == (409, code)


async def test_refund__benefit_order_that_cost_nothing__given_back_once_each_time(
    commerce: Client,
    serve: Serve,
    database_url: str,
    connection: Connection,
    catalogue: dict[str, int],
    ada: int,
) -> None:
    await connection.execute("UPDATE products SET price = 0")
    other = await serve(database_url)  # another process
    for _ in range(3):
        bought = await buy(commerce, "ada", "netflix")
        responses = await asyncio.gather(
            *(one.post(f"/orders/{bought}/refunds") for _ in range(4) for one in (commerce, other))
        )
        statuses = sorted(response.status for response in responses)
        assert statuses == [201] + [409] * 7
        assert await owned(commerce, "ada") == []
        [[made]] = await walk(commerce, f"/orders/{bought}/refunds")
        assert made["amountCents"] == 0
        bought = await buy(commerce, "ada", "netflix")
        # The first order's refund must not take back what the second one has bought.
        again = await commerce.post(f"/orders/{bought - 1}/refunds")
        assert again.status == 409
        assert await owned(commerce, "ada") == ["netflix"]
        await refund(commerce, bought)
    assert len(await told(connection, "order.refunded")) == 6
    entries = "SELECT count(*) FROM ledger_entries WHERE document_kind = 'refund'"
    assert await connection.fetchval(entries) == 0


async def test_refund__parts_from_two_processes_at_once__exactly_as_many_as_there_are(
    commerce: Client,
    serve: Serve,
    database_url: str,
    connection: Connection,
    ada: int,
    order: Order,
) -> None:
    await connection.execute("UPDATE products SET price = 1000")
    bought = await order(ada)
    other = await serve(database_url)
    responses = await asyncio.gather(
        *(
            one.post(f"/orders/{bought['id']}/refunds", json={"amountCents": 100})
            for _ in range(10)
            for one in (commerce, other)
        )
    )
    codes = [(await refusal(one))[1] for one in responses if one.status != 201]
    assert codes == ["order_not_refundable"] * 10
    assert await balance(commerce, ada) == 500_00
    pages = await walk(commerce, f"/orders/{bought['id']}/refunds?limit=3")
    assert [len(page) for page in pages] == [3, 3, 3, 1]
    refunded = [payload["refunded"] for _, payload in await told(connection, "order.refunded")]
    assert sorted(refunded) == [100 * number for number in range(1, 11)]
    await assert_money_conserved(connection)


async def test_refund__same_key_from_two_processes_at_once__once(
    commerce: Client,
    serve: Serve,
    database_url: str,
    connection: Connection,
    order: Order,
    ada: int,
) -> None:
    bought = await order(ada)
    other = await serve(database_url)
    responses = await asyncio.gather(
        *(
            one.post(
                f"/orders/{bought['id']}/refunds",
                json={"amountCents": 100},
                headers={"Idempotency-Key": "once"},
            )
            for _ in range(5)
            for one in (commerce, other)
        )
    )
    answers = {(response.status, await response.text()) for response in responses}
    assert len(answers) == 1
    assert [status for status, _ in answers] == [201]
    assert await balance(commerce, ada) == 500_00 - 7599 + 100


async def test_refund__batch_of_many_orders_and_users__each_its_own(
    commerce: Client,
    connection: Connection,
    open_account: OpenAccount,
    order: Order,
    catalogue: dict[str, int],
) -> None:
    users = [await open_account(f"user-{number}", 100_000) for number in range(5)]
    orders = [await order(users[number % 5], number % 3 + 1) for number in range(15)]
    benefits = [await buy(commerce, f"user-{number}", "spotify") for number in range(5)]
    before = await stored(connection)
    responses = await asyncio.gather(
        *(commerce.post(f"/orders/{one['id']}/refunds") for one in orders),
        *(commerce.post(f"/orders/{one}/refunds") for one in benefits),
    )
    assert {response.status for response in responses} == {201}
    made = [await response.json() for response in responses]
    assert [one["orderId"] for one in made] == [*(one["id"] for one in orders), *benefits]
    assert [one["amountCents"] for one in made] == [
        *(one["amountCents"] for one in orders),
        *[4599] * 5,
    ]
    for user_id in users:
        assert await balance(commerce, user_id) == 100_000
    after = await stored(connection)
    assert len(after["ledger_entries"]) == len(before["ledger_entries"]) + 20
    assert after["owned_products"] == []
    await assert_money_conserved(connection)
