"""Orders over HTTP: created at once and pending; nothing here settles them but the test."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from rowlock.orders.rules import SettleOrder
from rowlock.orders.transactions import postpone_order, settle_orders
from tests.support.contract import next_page, refusal, walk, within
from tests.support.databases import cloned
from tests.support.types import Client, Connection, OpenAccount, Serve, Unchanged

NETFLIX, SPOTIFY, GYM = 1, 2, 3  # the catalogue's ids
PRICES = {NETFLIX: 7599, SPOTIFY: 4599, GYM: 49000}


def body(*items: tuple[int, int], **more: object) -> dict[str, Any]:
    return {"items": [{"productId": id_, "quantity": quantity} for id_, quantity in items], **more}


@pytest.fixture(scope="module")
def database_url(server_url: str, template: str) -> Iterator[str]:
    """One database for all cases: each looks at orders and users of its own only."""
    with cloned(server_url, template) as url, psycopg.connect(url, autocommit=True) as connection:
        add_catalogue(connection)
        yield url


@pytest.fixture(scope="module")
def listed_url(server_url: str, template: str) -> Iterator[str]:
    """A database with twelve orders, every third pending, approved, refused."""
    with cloned(server_url, template) as url, psycopg.connect(url, autocommit=True) as connection:
        add_catalogue(connection)
        for number in range(12):
            status = ("pending", "approved", "refused")[number % 3]
            connection.execute(
                "INSERT INTO orders (status, amount, reason, settled_at) VALUES (%s, 1, %s, %s)",
                (
                    status,
                    "not_approved" if status == "refused" else None,
                    None if status == "pending" else "2026-11-21T12:00Z",
                ),
            )
        connection.execute(
            "INSERT INTO order_items (order_id, product_id, quantity, price) "
            "SELECT id, %s, 1, 1 FROM orders",
            (NETFLIX,),
        )
        yield url


def add_catalogue(connection: psycopg.Connection) -> None:
    for slug, price in (("netflix", 7599), ("spotify", 4599), ("gym", 49000)):
        connection.execute(
            "INSERT INTO products (slug, name, price) VALUES (%s, %s, %s)",
            (slug, slug.title(), price),
        )


@pytest.fixture
async def shop(commerce: Client) -> Client:
    """A client of a shop with a catalogue."""
    return commerce


numbers = itertools.count(1)


@pytest.fixture
async def buyer(open_account: OpenAccount) -> int:
    """The id of a user with a balance of 500.00."""
    return await open_account(f"buyer-{next(numbers)}", 500_00)


async def created(shop: Client, *items: tuple[int, int], **more: object) -> dict[str, Any]:
    response = await shop.post("/orders", json=body(*items, **more))
    assert response.status == 201
    order: dict[str, Any] = await response.json()
    return order


async def test_products__catalogue__all_in_minor_units(shop: Client) -> None:
    response = await shop.get("/products")
    assert response.status == 200
    assert await response.json() == [
        {"id": NETFLIX, "name": "Netflix", "priceCents": 7599},
        {"id": SPOTIFY, "name": "Spotify", "priceCents": 4599},
        {"id": GYM, "name": "Gym", "priceCents": 49000},
    ]


@pytest.mark.parametrize(
    "items",
    [
        [(NETFLIX, 1)],
        [(GYM, 10_000)],
        [(SPOTIFY, 2), (NETFLIX, 1), (SPOTIFY, 3)],
        [(NETFLIX, 1)] * 100,
    ],
)
@pytest.mark.parametrize("user", ["buyer", None, "left out"])
async def test_create__good__pending_with_total_and_items(
    shop: Client, connection: Connection, buyer: int, items: list[tuple[int, int]], user: str | None
) -> None:
    owners: dict[str | None, dict[str, Any]] = {
        "buyer": {"userId": buyer},
        None: {"userId": None},
        "left out": {},
    }
    response = await shop.post("/orders", json=body(*items, **owners[user]))
    assert response.status == 201
    order = await response.json()
    location = within(shop, response.headers["Location"])
    assert location == f"/orders/{order['id']}"
    item_ids = [item["id"] for item in order["items"]]
    assert item_ids == sorted(set(item_ids))
    amount = sum(PRICES[product_id] * quantity for product_id, quantity in items)
    assert order == {
        "id": order["id"],
        "status": "pending",
        "amountCents": amount,
        "items": [
            {"id": item_id, "productId": product_id, "quantity": quantity}
            for item_id, (product_id, quantity) in zip(item_ids, items, strict=True)
        ],
    }
    response = await shop.get(location)
    assert (response.status, await response.json()) == (200, order)
    [row] = await connection.fetch("SELECT * FROM orders WHERE id = $1", order["id"])
    assert (row["user_id"], row["amount"]) == (buyer if user == "buyer" else None, amount)
    balance = await connection.fetchval("SELECT balance FROM users WHERE id = $1", buyer)
    assert balance == 500_00


async def test_create__together__each_gets_its_own_order_and_event(
    shop: Client, connection: Connection, buyer: int
) -> None:
    wanted = [
        [(product_id, quantity), (SPOTIFY, 1)] for product_id in PRICES for quantity in range(1, 21)
    ]
    orders = await asyncio.gather(*(created(shop, *items, userId=buyer) for items in wanted))
    assert len({order["id"] for order in orders}) == len(wanted)
    for order, items in zip(orders, wanted, strict=True):
        assert [(item["productId"], item["quantity"]) for item in order["items"]] == items
    rows = await connection.fetch(
        "SELECT subject, payload FROM outbox WHERE name = 'order.created' "
        "AND payload->>'user_id' = $1",
        str(buyer),
    )
    events = {row["subject"]: json.loads(row["payload"]) for row in rows}
    assert len(rows) == len(events)
    assert events == {
        f"order:{order['id']}": {
            "order_id": order["id"],
            "user_id": buyer,
            "amount": order["amountCents"],
            "items": [
                {"product_id": product_id, "quantity": quantity, "price": PRICES[product_id]}
                for product_id, quantity in items
            ],
        }
        for order, items in zip(orders, wanted, strict=True)
    }


async def test_create__price_changes_later__order_keeps_the_old_one(
    shop: Client, connection: Connection
) -> None:
    order = await created(shop, (NETFLIX, 2))
    await connection.execute("UPDATE products SET price = price + 1")
    response = await shop.get(f"/orders/{order['id']}")
    await connection.execute("UPDATE products SET price = price - 1")
    assert await response.json() == order
    price = "SELECT price FROM order_items WHERE order_id = $1"
    assert await connection.fetchval(price, order["id"]) == 7599


ITEM = {"productId": NETFLIX, "quantity": 1}
NO_QUANTITIES: list[Any] = [
    0,
    -1,
    10_001,
    2**31,
    2**63,
    2.0**53,
    1.5,
    "1",
    True,
    False,
    None,
    [],
    {},
]


@pytest.mark.parametrize(
    ("wrong", "code", "where"),
    [
        ({}, "invalid_request", "items"),
        ({"items": []}, "invalid_request", "items"),
        ({"items": None}, "invalid_request", "items"),
        ({"items": ITEM}, "invalid_request", "items"),
        ({"items": [ITEM] * 101}, "invalid_request", "items"),
        ({"items": [{"productId": 1}]}, "invalid_request", "items.0.quantity"),
        ({"items": [{"quantity": 1}]}, "invalid_request", "items.0.productId"),
        ({"items": [ITEM, {**ITEM, "price": 0}]}, "invalid_request", "items.1.price"),
        ({"items": [ITEM], "user_id": 1}, "invalid_request", "user_id"),
        ({"items": [ITEM], "userId": "1"}, "invalid_request", "userId"),
        ({"items": [ITEM], "userId": True}, "invalid_request", "userId"),
        ({"items": [ITEM], "userId": 0}, "invalid_request", "userId"),
        ({"items": [ITEM], "userId": 2**63}, "invalid_request", "userId"),
        ({"items": [ITEM], "userId": 999}, "unknown_user", "user_id"),
        ({"items": [ITEM], "userId": 2**63 - 1}, "unknown_user", "user_id"),
        *(
            ({"items": [{**ITEM, "quantity": quantity}]}, "invalid_request", "items.0.quantity")
            for quantity in NO_QUANTITIES
        ),
        *(
            ({"items": [{**ITEM, "productId": id_}]}, "invalid_request", "items.0.productId")
            for id_ in (0, -1, 2**63, 1.5, "1", True, None)
        ),
        *(
            ({"items": [ITEM, {**ITEM, "productId": id_}]}, "products_not_found", "products")
            for id_ in (4, 2**63 - 1)
        ),
        ({"items": [{**ITEM, "productId": 4}], "userId": 9}, "products_not_found", "products"),
    ],
)
async def test_create__wrong__400_naming_it_and_nothing_changed(
    shop: Client, unchanged: Unchanged, *, wrong: dict[str, Any], code: str, where: str
) -> None:
    async with unchanged():
        response = await shop.post("/orders", json=wrong)
    assert await refusal(response) == (400, code)
    assert where in (await response.json())["details"]


async def test_create__unknown_products__named_once_in_order(shop: Client) -> None:
    response = await shop.post("/orders", json=body((9, 1), (1, 1), (8, 1), (9, 2)))
    assert await refusal(response) == (400, "products_not_found")
    assert (await response.json())["details"] == {"products": [8, 9]}


async def test_create__wrong_ones_among_good_ones__only_they_are_refused(
    shop: Client, connection: Connection, buyer: int
) -> None:
    bodies = [
        body((NETFLIX, 1), userId=buyer),
        body((9, 1), userId=buyer),
        body((NETFLIX, 1), userId=999),
        body((SPOTIFY, 1)),
    ] * 10
    responses = await asyncio.gather(*(shop.post("/orders", json=one) for one in bodies))
    assert [response.status for response in responses] == [201, 400, 400, 201] * 10
    amounts = [(await response.json()).get("amountCents") for response in responses]
    assert amounts == [7599, None, None, 4599] * 10
    paid_by_user = "SELECT count(*) FROM orders WHERE user_id = $1"
    assert await connection.fetchval(paid_by_user, buyer) == 10


@pytest.mark.parametrize(
    ("rate", "status", "reason"), [(1.0, "approved", {}), (0.0, "refused", "not_approved")]
)
async def test_get__settled__status_and_reason(
    shop: Client, connection: Connection, rate: float, status: str, reason: dict[str, Any] | str
) -> None:
    order = await created(shop, (NETFLIX, 1))
    async with connection.transaction():
        await settle_orders(connection, [SettleOrder(order["id"], 0.5)], rate)
    response = await shop.get(f"/orders/{order['id']}")
    expected = order | {"status": status} | ({"reason": reason} if reason else {})
    assert (response.status, await response.json()) == (200, expected)


async def test_get__put_off__still_pending_and_without_reason(
    shop: Client, connection: Connection
) -> None:
    order = await created(shop, (NETFLIX, 1))
    async with connection.transaction():
        await postpone_order(
            connection, order["id"], failures=1, attempts_limit=2, retry_s=60, retry_limit_s=60
        )
    delay = await connection.fetchval(
        "SELECT next_attempt_at - now() FROM orders WHERE id = $1", order["id"]
    )
    assert timedelta(seconds=50) < delay <= timedelta(seconds=60)
    assert await (await shop.get(f"/orders/{order['id']}")).json() == order


async def test_get__unknown__404_not_found(shop: Client) -> None:
    order = await created(shop, (NETFLIX, 1))
    response = await shop.get(f"/orders/{order['id'] + 1}")
    assert await refusal(response) == (404, "order_not_found")
    answer = await response.json()
    assert answer["status"] == "NOT_FOUND"
    assert answer["details"] == {"order_id": order["id"] + 1}


@pytest.mark.parametrize("limit", [None, 1, 3, 4, 5, 12, 100])
@pytest.mark.parametrize("status", [None, "pending", "approved", "refused"])
async def test_list__by_status_in_pages__each_order_once_newest_first(
    serve: Serve, listed_url: str, limit: int | None, status: str | None
) -> None:
    shop = await serve(listed_url)
    orders = [await (await shop.get(f"/orders/{id_}")).json() for id_ in range(12, 0, -1)]
    expected = [order for order in orders if status in {None, order["status"]}]
    assert len(expected) == (12 if status is None else 4)
    asked = {"limit": limit, "status": status}
    query = "&".join(f"{name}={value}" for name, value in asked.items() if value is not None)
    pages = await walk(shop, f"/orders?{query}")
    size = limit or 20
    assert pages == [expected[at : at + size] for at in range(0, len(expected), size)]


async def test_lists__nothing_there__empty(serve: Serve, template: str, server_url: str) -> None:
    with cloned(server_url, template) as url:
        shop = await serve(url)
        for path in ("/orders", "/orders?status=approved", "/products"):
            assert await walk(shop, path) == [[]]
        await shop.close()


async def test_list__order_created_between_pages__following_pages_unmoved(shop: Client) -> None:
    ids = [(await created(shop, (NETFLIX, 1)))["id"] for _ in range(5)]
    first = await shop.get("/orders?limit=2")
    await created(shop, (GYM, 1))
    following = await walk(shop, next_page(first).path_qs)
    listed = [order["id"] for page in (await first.json(), *following) for order in page]
    assert listed[:5] == ids[::-1]
    assert listed == sorted(listed, reverse=True)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("status=paid", "invalid_request"),
        ("status=", "invalid_request"),
        ("status=PENDING", "invalid_request"),
        ("limit=0", "invalid_request"),
        ("limit=101", "invalid_request"),
        ("limit=x", "invalid_request"),
        ("limit=1&limit=2", "invalid_request"),
        ("cursor=1", "invalid_cursor"),
        ("cursor=MA==", "invalid_cursor"),
        ("cursor=%00", "invalid_cursor"),
        ("page=1", "invalid_request"),
        ("userId=1", "invalid_request"),
    ],
)
async def test_list__wrong_query__400(shop: Client, query: str, code: str) -> None:
    assert await refusal(await shop.get(f"/orders?{query}")) == (400, code)
