"""Orders over HTTP: created at once and pending; nothing here settles them but the test."""

import asyncio
import base64
import itertools
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from yarl import URL

from rowlock.orders.rules import SettleOrder
from rowlock.orders.transactions import postpone_order, settle_orders
from tests.support.contract import INSTANT, next_page, refusal, told, walk, within
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
    """A database with twelve orders, every fourth in each status."""
    with cloned(server_url, template) as url, psycopg.connect(url, autocommit=True) as connection:
        add_catalogue(connection)
        for number in range(12):
            status = ("pending", "approved", "refused", "cancelled")[number % 4]
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
    assert INSTANT.fullmatch(order["createdAt"])
    expected = {
        "id": order["id"],
        "status": "pending",
        "amountCents": amount,
        "items": [
            {
                "id": item_id,
                "productId": product_id,
                "quantity": quantity,
                "unitPriceCents": PRICES[product_id],
            }
            for item_id, (product_id, quantity) in zip(item_ids, items, strict=True)
        ],
        "userId": buyer if user == "buyer" else None,
        "createdAt": order["createdAt"],
        "settledAt": None,
        "refundedCents": 0,
        "reference": None,
        "metadata": None,
    }
    assert order == expected
    assert [*order] == [*expected]
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
    shown = await response.json()
    assert INSTANT.fullmatch(shown["settledAt"])
    expected = order | {"status": status, "settledAt": shown["settledAt"]}
    assert shown == expected | ({"reason": reason} if reason else {})


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


METADATA = {"project": "north", "note": "two\nlines", "größe": ""}


async def test_create__reference_and_metadata__shown_and_found(
    shop: Client, connection: Connection, buyer: int
) -> None:
    more = {"reference": "2026-0042 😀", "metadata": METADATA, "userId": buyer}
    order = await created(shop, (NETFLIX, 1), **more)
    assert (order["reference"], order["metadata"]) == (more["reference"], METADATA)
    assert await (await shop.get(f"/orders/{order['id']}")).json() == order
    found = URL("/orders").with_query(reference=str(more["reference"]))
    assert await walk(shop, str(found)) == [[order]]
    rows = await connection.fetch("SELECT payload::text FROM outbox")
    assert not any("2026-0042" in row[0] for row in rows)  # they are the client's own business


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "taken"}])
async def test_create__reference_taken__409_and_nothing_changed(
    shop: Client, unchanged: Unchanged, headers: dict[str, str]
) -> None:
    reference = f"taken {bool(headers)}"
    await created(shop, (NETFLIX, 1), reference=reference)
    if not headers:  # else the answer is kept
        async with unchanged():
            response = await shop.post("/orders", json=body((GYM, 1), reference=reference))
    else:
        response = await shop.post(
            "/orders", json=body((GYM, 1), reference=reference), headers=headers
        )
    assert await refusal(response) == (409, "reference_taken")
    assert (await response.json())["details"] == {"reference": reference}


async def test_create__one_reference_from_many_at_once__one_gets_it_and_others_are_made(
    shop: Client, serve: Serve, database_url: str, connection: Connection
) -> None:
    other = await serve(database_url)  # another process, whose batches know nothing of these
    responses = await asyncio.gather(
        *(
            one.post("/orders", json=body((NETFLIX, 1), **more))
            for _ in range(10)
            for one in (shop, other)
            for more in ({"reference": "wanted"}, {})
        )
    )
    statuses = [response.status for response in responses]
    assert sorted(statuses) == [201] * 21 + [409] * 19
    count = "SELECT count(*) FROM orders WHERE reference = 'wanted'"
    assert await connection.fetchval(count) == 1


@pytest.mark.parametrize("sent", [None, b"", b"{}"])
async def test_cancel__pending__cancelled_and_told(
    shop: Client, connection: Connection, buyer: int, sent: bytes | None
) -> None:
    order = await created(shop, (NETFLIX, 1), userId=buyer)
    headers = {"Content-Type": "application/json"} if sent else {}
    path = f"/orders/{order['id']}"
    response = await shop.post(f"{path}/cancel", data=sent, headers=headers)
    assert response.status == 200
    cancelled = await response.json()
    assert INSTANT.fullmatch(cancelled["settledAt"])
    assert cancelled["settledAt"] >= order["createdAt"]
    assert cancelled == order | {"status": "cancelled", "settledAt": cancelled["settledAt"]}
    assert await (await shop.get(path)).json() == cancelled
    payloads = dict(await told(connection, "order.cancelled"))
    assert payloads[f"order:{order['id']}"] == {
        "order_id": order["id"],
        "user_id": buyer,
        "amount": 7599,
        "order_created_at": order["createdAt"],
    }
    assert await connection.fetchval("SELECT balance FROM users WHERE id = $1", buyer) == 500_00


@pytest.mark.parametrize("end", ["approved", "refused", "cancelled"])
async def test_cancel__settled__409_and_nothing_changed(
    shop: Client, connection: Connection, unchanged: Unchanged, end: str
) -> None:
    order = await created(shop, (NETFLIX, 1))
    path = f"/orders/{order['id']}/cancel"
    if end == "cancelled":
        assert (await shop.post(path)).status == 200
    async with connection.transaction():
        command = SettleOrder(order["id"], 0.5)
        [settled] = await settle_orders(connection, [command], float(end == "approved"))
    assert (settled is None) == (end == "cancelled")  # the processor leaves what is cancelled
    async with unchanged():
        response = await shop.post(path)
    assert await refusal(response) == (409, "order_not_pending")
    assert (await response.json())["details"] == {"order_id": order["id"], "status": end}


async def test_cancel__many_at_once__once(shop: Client, connection: Connection) -> None:
    order = await created(shop, (NETFLIX, 1))
    path = f"/orders/{order['id']}/cancel"
    responses = await asyncio.gather(*(shop.post(path) for _ in range(10)))
    assert sorted(response.status for response in responses) == [200] + [409] * 9
    subjects = [subject for subject, _ in await told(connection, "order.cancelled")]
    assert subjects.count(f"order:{order['id']}") == 1


async def test_cancel__unknown__404(shop: Client, unchanged: Unchanged) -> None:
    async with unchanged():
        response = await shop.post(f"/orders/{2**53}/cancel")
    assert await refusal(response) == (404, "order_not_found")


async def test_get__unknown__404_not_found(shop: Client) -> None:
    order = await created(shop, (NETFLIX, 1))
    response = await shop.get(f"/orders/{order['id'] + 1}")
    assert await refusal(response) == (404, "order_not_found")
    answer = await response.json()
    assert answer["status"] == "NOT_FOUND"
    assert answer["details"] == {"order_id": order["id"] + 1}


@pytest.mark.parametrize("limit", [None, 1, 3, 4, 5, 12, 100])
@pytest.mark.parametrize("status", [None, "pending", "approved", "refused", "cancelled"])
async def test_list__by_status_in_pages__each_order_once_newest_first(
    serve: Serve, listed_url: str, limit: int | None, status: str | None
) -> None:
    shop = await serve(listed_url)
    orders = [await (await shop.get(f"/orders/{id_}")).json() for id_ in range(12, 0, -1)]
    expected = [order for order in orders if status in {None, order["status"]}]
    assert len(expected) == (12 if status is None else 3)
    asked = {"limit": limit, "status": status}
    query = "&".join(f"{name}={value}" for name, value in asked.items() if value is not None)
    pages = await walk(shop, f"/orders?{query}")
    size = limit or 20
    assert pages == [expected[at : at + size] for at in range(0, len(expected), size)]


@pytest.fixture(scope="module")
def filtered_url(server_url: str, template: str) -> Iterator[str]:
    """A database with orders of two users and of none, whose times are not in the order of ids."""
    with cloned(server_url, template) as url, psycopg.connect(url, autocommit=True) as connection:
        add_catalogue(connection)
        connection.execute("INSERT INTO users (username) VALUES ('ada'), ('grace')")
        for number in range(24):
            status = ("pending", "approved", "refused", "cancelled")[number % 4]
            connection.execute(
                "INSERT INTO orders (user_id, status, amount, reason, settled_at, created_at, "
                "reference) VALUES (%s, %s, 1, %s, %s, %s, %s)",
                (
                    (1, 2, None)[number % 3],
                    status,
                    "not_approved" if status == "refused" else None,
                    None if status == "pending" else "2026-11-21T12:00Z",
                    f"2026-11-{number * 7 % 10 + 1:02}T12:00:00.5Z",  # some at the same time
                    f"order {number}" if number % 2 else None,
                ),
            )
        connection.execute(
            "INSERT INTO order_items (order_id, product_id, quantity, price) "
            "SELECT id, %s, 1, 1 FROM orders",
            (NETFLIX,),
        )
        yield url


@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize("status", [None, "pending", "approved", "cancelled"])
async def test_list__any_filters_in_pages__every_match_once_newest_first(
    serve: Serve, filtered_url: str, limit: int, status: str | None
) -> None:
    shop = await serve(filtered_url)
    [orders] = await walk(shop, "/orders?limit=100")
    assert len(orders) == 24
    newest_first = sorted(orders, key=lambda order: (order["createdAt"], order["id"]))[::-1]
    assert orders == newest_first
    times = [None, "2026-11-01T12:00:00.5Z", "2026-11-05T12:00:00.500001Z", "2026-11-06T00:00:00Z"]
    for user_id, since, until, reference in itertools.product(
        (None, 1, 2, 3), times, times, (None, "order 9", "order 8")
    ):
        query = {
            "user_id": user_id,
            "status": status,
            "from": since,
            "to": until,
            "reference": reference,
        }
        given = {name: str(value) for name, value in query.items() if value is not None}
        path = URL("/orders").with_query({"limit": str(limit), **given})
        expected = [
            order
            for order in orders
            if user_id in {None, order["userId"]}
            and status in {None, order["status"]}
            and reference in {None, order["reference"]}
            and (since is None or instant(since) <= instant(order["createdAt"]))
            and (until is None or instant(order["createdAt"]) < instant(until))
        ]
        pages = await walk(shop, str(path))
        assert [order for page in pages for order in page] == expected, given
        assert all(len(page) == limit for page in pages[:-1])
        assert pages[-1] or not expected  # no link leads to nothing


async def test_list__offset_with_a_plus__read_as_one(shop: Client) -> None:
    order = await created(shop, (NETFLIX, 1), reference="with a plus")
    for offset in ("+01:00", "%2B01:00", "Z"):
        path = f"/orders?reference=with+a+plus&from=2020-01-01T00:00:00{offset}"
        assert await walk(shop, path) == [[order]]


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_list__cursor_of_release_0_2_0__goes_on_after_that_order(
    serve: Serve, listed_url: str
) -> None:
    """It was the id of the last order of the page, too."""
    shop = await serve(listed_url)
    cursor = base64.urlsafe_b64encode(b"9").decode()
    for query, expected in [("", [8, 7]), ("&status=pending", [5, 1])]:
        response = await shop.get(f"/orders?limit=2&cursor={cursor}{query}")
        assert [order["id"] for order in await response.json()] == expected


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
        ("user_id=0", "invalid_request"),
        ("from=2026-11-21", "invalid_request"),
        ("to=yesterday", "invalid_request"),
        ("reference=", "invalid_request"),
    ],
)
async def test_list__wrong_query__400(shop: Client, query: str, code: str) -> None:
    assert await refusal(await shop.get(f"/orders?{query}")) == (400, code)
