"""The benefits shop: users, products and orders, in major units."""

from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
from yarl import URL

from tests.support.contract import refusal, told
from tests.support.types import Client, Connection, OpenAccount, Serve, Unchanged

NAMES = [
    "é",
    "山田 太郎",
    "a/b",
    "/",
    "100%",
    "%2F",
    "{x}",
    "a+b",
    "a b",
    "?x=1#y",
    "..x",
]
NAMES += ["'; DROP TABLE users --", '"', "\\", "<b>", "self", "null", "\uffff", "Ада", "ß"]
NAMES += ["x" * 100, "\N{GRINNING FACE}" * 100]


def order(username: str, *items: str) -> dict[str, Any]:
    return {"order": {"items": items, "user_id": username}}


@pytest.fixture
async def spotify_owner(
    commerce: Client, catalogue: dict[str, int], open_account: OpenAccount
) -> Client:
    """A client of a shop where ada has 500.00, and spotify."""
    await open_account("ada", 500_00 + catalogue["spotify"])
    assert (await commerce.post("/api/orders", json=order("ada", "spotify"))).status == 200
    return commerce


async def test_get_user__unknown__created_with_the_opening_balance(
    commerce: Client, connection: Connection
) -> None:
    for _ in range(2):  # the second time there is one
        response = await commerce.get("/api/users/johndoe")
        assert response.status == 200
        assert await response.json() == {
            "user": {"user_id": "johndoe", "data": {"balance": 500, "product_ids": []}}
        }
    [user] = await connection.fetch("SELECT * FROM users")
    assert (user["username"], user["balance"]) == ("johndoe", 500_00)
    [entry] = await connection.fetch("SELECT * FROM ledger_entries")
    assert (entry["user_id"], entry["amount"], entry["balance_after"], entry["reason"]) == (
        (user["id"], 500_00, 500_00, "opening_balance")
    )
    assert entry["reference"] == f"user:{user['id']}"
    assert await told(connection, "user.created") == [
        (
            f"user:{user['id']}",
            {"user_id": user["id"], "balance": 500_00},
        )
    ]


async def test_get_user__opening_balance_of_nothing__no_ledger_entry(
    serve: Serve, connection: Connection
) -> None:
    commerce = await serve(opening_balance=Decimal(0))
    answer = await (await commerce.get("/api/users/johndoe")).json()
    assert answer["user"]["data"] == {"balance": 0, "product_ids": []}
    assert await connection.fetchval("SELECT count(*) FROM ledger_entries") == 0
    assert len(await told(connection, "user.created")) == 1


@pytest.mark.parametrize("username", NAMES)
async def test_get_user__any_text__is_a_name(
    commerce: Client, connection: Connection, username: str
) -> None:
    url = URL(f"/api/users/{quote(username, safe='')}", encoded=True)
    response = await commerce.get(url)
    assert response.status == 200
    assert (await response.json())["user"]["user_id"] == username
    assert await connection.fetchval("SELECT username FROM users") == username


async def test_get_user__head__as_get_without_a_body(commerce: Client, ada: int) -> None:
    response = await commerce.head("/api/users/ada")
    assert (response.status, await response.read()) == (200, b"")


async def test_get_products__none__empty_list(commerce: Client) -> None:
    response = await commerce.get("/api/products")
    assert await response.read() == b'{"products":[]}'


async def test_get_products__some__exact_major_units(
    commerce: Client, connection: Connection, catalogue: dict[str, int]
) -> None:
    await connection.execute(
        "INSERT INTO products (slug, name, price) VALUES "
        "('free', 'Free', 0), ('cent', 'Cent', 1), ('yacht', 'Yacht', 999999999999)"
    )
    response = await commerce.get("/api/products")
    assert response.status == 200
    assert await response.read() == (
        b'{"products":['
        b'{"id":"netflix","name":"Netflix","price":75.99},'
        b'{"id":"spotify","name":"Spotify","price":45.99},'
        b'{"id":"gym","name":"Gym","price":490},'
        b'{"id":"free","name":"Free","price":0},'
        b'{"id":"cent","name":"Cent","price":0.01},'
        b'{"id":"yacht","name":"Yacht","price":9999999999.99}]}'
    )


async def test_place_order__affordable__paid_owned_and_told(
    commerce: Client, connection: Connection, catalogue: dict[str, int], ada: int
) -> None:
    response = await commerce.post("/api/orders", json=order("ada", "spotify", "netflix"))
    assert response.status == 200
    assert await response.json() == {
        "order": {"order_id": "1", "data": {"items": ["spotify", "netflix"], "total": 121.98}}
    }
    [placed] = await connection.fetch("SELECT * FROM orders")
    assert (placed["user_id"], placed["status"], placed["amount"]) == (ada, "approved", 121_98)
    assert placed["settled_at"] is not None
    items = await connection.fetch("SELECT * FROM order_items ORDER BY id")
    assert [(i["order_id"], i["product_id"], i["quantity"], i["price"]) for i in items] == [
        (1, 2, 1, 45_99),
        (1, 1, 1, 75_99),
    ]
    owned = await connection.fetch("SELECT * FROM owned_products ORDER BY product_id")
    assert [tuple(row) for row in owned] == [(ada, 1), (ada, 2)]
    [entry] = await connection.fetch("SELECT * FROM ledger_entries ORDER BY id DESC LIMIT 1")
    assert (entry["amount"], entry["balance_after"]) == (-121_98, 378_02)
    assert (entry["reason"], entry["reference"]) == ("benefit_order", "order:1")
    assert await told(connection, "benefit_order.placed") == [
        (
            "order:1",
            {
                "order_id": 1,
                "user_id": ada,
                "items": [
                    {"product_id": 2, "slug": "spotify", "price": 45_99},
                    {"product_id": 1, "slug": "netflix", "price": 75_99},
                ],
                "total": 121_98,
                "balance_after": 378_02,
            },
        )
    ]
    user = (await (await commerce.get("/api/users/ada")).json())["user"]
    assert user["data"] == {"balance": 378.02, "product_ids": ["netflix", "spotify"]}


async def test_place_order__by_a_generic_plan__lines_in_the_order_of_its_items(
    generic_plans: None,
    commerce: Client,
    connection: Connection,
    catalogue: dict[str, int],
    ada: int,
) -> None:
    response = await commerce.post("/api/orders", json=order("ada", "spotify", "netflix"))
    assert response.status == 200
    lines = await connection.fetch("SELECT price FROM order_items ORDER BY id")
    assert [line["price"] for line in lines] == [catalogue["spotify"], catalogue["netflix"]]


@pytest.mark.parametrize(
    ("username", "items", "expected"),
    [
        # ada has 500.00 and owns spotify
        ("nobody", ["netflix"], (404, "user_not_found")),
        ("nobody", ["unknown"], (404, "user_not_found")),
        ("adá", ["netflix"], (404, "user_not_found")),
        ("ada ", ["netflix"], (400, "invalid_request")),
        ("a\u200bda", ["netflix"], (400, "invalid_request")),
        ("ada", ["unknown"], (400, "products_not_found")),
        ("ada", ["Netflix"], (400, "products_not_found")),
        ("ada", ["netflix "], (400, "products_not_found")),
        ("ada", ["netflix", "unknown"], (400, "products_not_found")),
        ("ada", ["spotify", "unknown"], (400, "products_not_found")),
        ("ada", ["netflix", "gym", "unknown"], (400, "products_not_found")),
        ("ada", ["spotify"], (400, "products_already_purchased")),
        ("ada", ["netflix", "netflix"], (400, "products_already_purchased")),
        ("ada", ["netflix"] * 100, (400, "products_already_purchased")),
        ("ada", ["spotify", "netflix", "gym"], (400, "products_already_purchased")),
        ("ada", ["netflix", "gym"], (400, "insufficient_balance")),
        ("ada", ["netflix"] * 101, (400, "invalid_request")),
        ("ada", [], (400, "invalid_request")),
    ],
)
async def test_place_order__refused__says_why_and_changes_nothing(
    spotify_owner: Client,
    unchanged: Unchanged,
    username: str,
    items: list[str],
    expected: tuple[int, str],
) -> None:
    async with unchanged():
        response = await spotify_owner.post("/api/orders", json=order(username, *items))
    assert await refusal(response) == expected


async def test_place_order__whole_balance__nothing_left(
    commerce: Client, connection: Connection, catalogue: dict[str, int], open_account: OpenAccount
) -> None:
    await open_account("ada", catalogue["netflix"])
    assert (await commerce.post("/api/orders", json=order("ada", "netflix"))).status == 200
    assert await connection.fetchval("SELECT balance FROM users") == 0


async def test_place_order__free_product__owned_without_a_ledger_entry(
    commerce: Client, connection: Connection, open_account: OpenAccount
) -> None:
    await open_account("ada")
    await connection.execute("INSERT INTO products (slug, name, price) VALUES ('free', 'F', 0)")
    response = await commerce.post("/api/orders", json=order("ada", "free"))
    assert (await response.json())["order"]["data"] == {"items": ["free"], "total": 0}
    assert await connection.fetchval("SELECT count(*) FROM owned_products") == 1
    assert await connection.fetchval("SELECT count(*) FROM ledger_entries") == 0
    assert len(await told(connection, "benefit_order.placed")) == 1
