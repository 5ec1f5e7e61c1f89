"""The catalogue over HTTP: what is added, changed, retired and restored, and what that does."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.support.contract import INSTANT, next_page, refusal, told, walk, within
from tests.support.types import Client, Connection, OpenAccount, Serve, Unchanged

LAPTOP = {"slug": "laptop", "name": "Laptop", "price": 129900}
NOON = "2030-05-01T12:00:00.000Z"
KINDS = ("products", "services")


@pytest.fixture(autouse=True)
async def stocked(connection: Connection, catalogue: dict[str, int]) -> None:
    """Three products, as of a time before times were noted, and two services."""
    await connection.execute(
        "UPDATE products SET created_at = NULL;"
        "INSERT INTO services (name) VALUES ('Inspection'), ('Analysis')"
    )


async def ok(client: Client, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """What a request is answered that is taken."""
    response = await client.request(method, path, json=body, headers=headers)
    assert response.status in {200, 201}, await response.text()
    return await response.json()


async def test_create_product__good__201_in_both_shops_and_told(
    commerce: Client, connection: Connection
) -> None:
    response = await commerce.post("/catalogue/products", json=LAPTOP)
    assert response.status == 201
    assert within(commerce, response.headers["Location"]) == "/catalogue/products/4"
    product = await response.json()
    assert INSTANT.fullmatch(product["created_at"])
    assert product == {
        "id": 4,
        **LAPTOP,
        "created_at": product["created_at"],
        "retired_at": None,
    }
    assert list(product) == ["id", "slug", "name", "price", "created_at", "retired_at"]
    assert await ok(commerce, "GET", "/catalogue/products/4") == product
    shown = {"id": 4, "name": "Laptop", "priceCents": 129900}
    assert (await ok(commerce, "GET", "/products"))[-1] == shown
    benefit = {"id": "laptop", "name": "Laptop", "price": 1299}
    assert (await ok(commerce, "GET", "/api/products"))["products"][-1] == benefit
    assert await told(connection, "product.created") == [("product:4", {"product_id": 4, **LAPTOP})]


@pytest.mark.parametrize(
    "body",
    [
        {"slug": "x", "name": "x", "price": 0},
        {"slug": "9" * 100, "name": "\N{GRINNING FACE}" * 200, "price": 10**12},
        {"slug": "a.b_c-d", "name": " '; DROP TABLE products -- \\u0000", "price": 1},
    ],
)
async def test_create_product__extremes__read_back_as_given(
    commerce: Client, body: dict[str, Any]
) -> None:
    created = await ok(commerce, "POST", "/catalogue/products", body)
    assert created.items() >= body.items()
    assert await ok(commerce, "GET", f"/catalogue/products/{created['id']}") == created


@pytest.mark.parametrize("slug", ["Laptop", "lap top", "-laptop", "l\u0430ptop", "x" * 101])
async def test_create_product__slug_of_no_new_product__400_naming_it_and_nothing_changed(
    commerce: Client, unchanged: Unchanged, slug: str
) -> None:
    async with unchanged():
        response = await commerce.post("/catalogue/products", json=LAPTOP | {"slug": slug})
    assert await refusal(response) == (400, "invalid_request")
    assert list((await response.json())["details"]) == ["slug"]


async def test_create_product__slug_taken__409_and_nothing_changed(
    commerce: Client, unchanged: Unchanged
) -> None:
    await ok(commerce, "POST", "/catalogue/products/2/retire")
    async with unchanged():
        for slug in ("netflix", "spotify"):
            response = await commerce.post("/catalogue/products", json=LAPTOP | {"slug": slug})
            assert await refusal(response) == (409, "slug_taken")
            assert (await response.json())["details"] == {"slug": slug}


async def test_create_product__one_slug_many_times_at_once__one_201_and_the_others_409(
    commerce: Client, serve: Serve, connection: Connection
) -> None:
    clients = [commerce, await serve()]

    async def create(number: int) -> int:
        body = {"slug": f"new-{number % 5}", "name": "New", "price": number}
        response = await clients[number % 2].post("/catalogue/products", json=body)
        return response.status

    statuses = Counter(await asyncio.gather(*map(create, range(60))))
    assert statuses == {201: 5, 409: 55}
    assert len(await told(connection, "product.created")) == 5


async def test_change_product__name_and_price__200_and_told(
    commerce: Client, connection: Connection
) -> None:
    before = await ok(commerce, "GET", "/catalogue/products/1")
    assert before["created_at"] is None
    changed = await ok(commerce, "PATCH", "/catalogue/products/1", {"price": 8999})
    assert changed == before | {"price": 8999}
    renamed = await ok(commerce, "PATCH", "/catalogue/products/1", {"name": "N", "price": 8999})
    assert renamed == changed | {"name": "N"}
    assert await ok(commerce, "GET", "/catalogue/products/1") == renamed
    facts = {"product_id": 1, "slug": "netflix"}
    assert await told(connection, "product.changed") == [
        ("product:1", facts | {"name": "Netflix", "price": 8999, "before": {"price": 7599}}),
        ("product:1", facts | {"name": "N", "price": 8999, "before": {"name": "Netflix"}}),
    ]


@pytest.mark.parametrize("kind", KINDS)
async def test_change__nothing_new__200_and_nothing_changed(
    commerce: Client, unchanged: Unchanged, kind: str
) -> None:
    item = await ok(commerce, "GET", f"/catalogue/{kind}/1")
    async with unchanged():
        body = {"name": item["name"]}
        assert await ok(commerce, "PATCH", f"/catalogue/{kind}/1", body) == item
        assert await ok(commerce, "POST", f"/catalogue/{kind}/1/restore") == item


@pytest.mark.parametrize(("kind", "names"), [("products", "name, price"), ("services", "name")])
async def test_change__nothing_at_all__400_that_says_so(
    commerce: Client, unchanged: Unchanged, kind: str, names: str
) -> None:
    async with unchanged():
        response = await commerce.patch(f"/catalogue/{kind}/1", json={})
    assert await refusal(response) == (400, "invalid_request")
    problem = f"Must have something to change, of: {names}."
    assert (await response.json())["message"] == f"The request is not valid: {problem}"


@pytest.mark.parametrize("kind", KINDS)
async def test_change__what_can_not_be_changed__400_and_nothing_changed(
    commerce: Client, unchanged: Unchanged, kind: str
) -> None:
    async with unchanged():
        for body in (
            *({"slug": "x"}, {"slug": "netflix", "name": "x"}, {"id": 1}, {"retired_at": None}),
            *({"name": None}, {"price": None}, {"price": -1}, {"price": 10**12 + 1}),
            *({"price": 1.5}, {"price": "1"}, {"price": True}, {"name": "x" * 201}, {"name": 1}),
        ):
            response = await commerce.patch(f"/catalogue/{kind}/1", json=body)
            assert await refusal(response) == (400, "invalid_request"), body


@pytest.mark.parametrize(
    ("method", "suffix", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"name": "x"}),
        ("POST", "/retire", None),
        ("POST", "/restore", None),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
async def test_item__unknown__404_and_nothing_changed(
    commerce: Client, unchanged: Unchanged, kind: str, method: str, suffix: str, body: Any
) -> None:
    async with unchanged():
        for unknown in (9, 2**63 - 1):
            url = f"/catalogue/{kind}/{unknown}{suffix}"
            response = await commerce.request(method, url, json=body)
            noun = kind.removesuffix("s")
            assert await refusal(response) == (404, f"{noun}_not_found")
            assert (await response.json())["details"] == {f"{noun}_id": unknown}


@pytest.mark.parametrize("kind", KINDS)
async def test_retire_and_restore__twice_each__the_same_answer_and_told_once(
    commerce: Client, connection: Connection, kind: str
) -> None:
    noun = kind.removesuffix("s")
    live = await ok(commerce, "GET", f"/catalogue/{kind}/1")
    retired = await ok(commerce, "POST", f"/catalogue/{kind}/1/retire")
    assert INSTANT.fullmatch(retired["retired_at"])
    assert retired == live | {"retired_at": retired["retired_at"]}
    assert await ok(commerce, "POST", f"/catalogue/{kind}/1/retire") == retired
    assert await ok(commerce, "GET", f"/catalogue/{kind}/1") == retired
    for _ in range(2):
        assert await ok(commerce, "POST", f"/catalogue/{kind}/1/restore") == live
    names = {"products": ("slug", "name", "price"), "services": ("name",)}[kind]
    facts = {f"{noun}_id": 1} | {name: live[name] for name in names}
    for name in ("retired", "restored"):
        assert await told(connection, f"{noun}.{name}") == [(f"{noun}:1", facts)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [None, 1, 5, 100])
async def test_list__retired_or_not_in_pages__every_match_once(
    commerce: Client, connection: Connection, kind: str, limit: int | None
) -> None:
    slug = "'p-' || n AS slug, 1 AS price," if kind == "products" else ""
    columns = "slug, price, name" if kind == "products" else "name"
    await connection.execute(
        f"INSERT INTO {kind} ({columns}) SELECT {slug} 'x' FROM generate_series(1, 20) AS n;"
        f"UPDATE {kind} SET retired_at = now() WHERE id % 3 = 0"
    )
    total = await connection.fetchval(f"SELECT count(*) FROM {kind}")
    for retired in (None, "true", "false"):
        query = {"retired": retired, "limit": limit}
        given = "&".join(f"{name}={value}" for name, value in query.items() if value is not None)
        pages = await walk(commerce, f"/catalogue/{kind}?{given}")
        found = [item["id"] for page in pages for item in page]
        assert found == [
            number
            for number in range(total, 0, -1)
            if retired is None or (number % 3 == 0) == (retired == "true")
        ]
        assert all(len(page) == (limit or 20) for page in pages[:-1])


async def test_list__next_page__link_keeps_the_filter(commerce: Client) -> None:
    response = await commerce.get("/catalogue/products?retired=false&limit=2")
    following = next_page(response)
    assert following.path == "/catalogue/products"
    assert (following.query["retired"], following.query["limit"]) == ("false", "2")


# --- Retired products ---------------------------------------------------------------------------


async def test_retired_product__in_neither_shop__as_if_unknown(
    commerce: Client, open_account: OpenAccount, unchanged: Unchanged
) -> None:
    ada = await open_account("ada", 500_00)
    buy = {"order": {"items": ["netflix"], "user_id": "ada"}}
    bought = await ok(commerce, "POST", "/api/orders", buy)
    ordered = await ok(
        commerce, "POST", "/orders", {"items": [{"productId": 1, "quantity": 2}], "userId": ada}
    )
    await ok(commerce, "POST", "/catalogue/products/1/retire")
    assert [each["id"] for each in await ok(commerce, "GET", "/products")] == [2, 3]
    benefits = (await ok(commerce, "GET", "/api/products"))["products"]
    assert [each["id"] for each in benefits] == ["spotify", "gym"]
    async with unchanged():
        for items in (["netflix"], ["gym", "netflix"]):
            response = await commerce.post(
                "/api/orders", json={"order": {"items": items, "user_id": "ada"}}
            )
            assert await refusal(response) == (400, "products_not_found")
        lines = [{"productId": 1, "quantity": 1}, {"productId": 2, "quantity": 1}]
        response = await commerce.post("/orders", json={"items": lines, "userId": ada})
        assert await refusal(response) == (400, "products_not_found")
        assert (await response.json())["details"] == {"products": [1]}
    # What was bought stays.
    assert await ok(commerce, "GET", f"/orders/{ordered['id']}") == ordered
    order = await ok(commerce, "GET", f"/orders/{bought['order']['order_id']}")
    assert [item["productId"] for item in order["items"]] == [1]
    user = (await ok(commerce, "GET", "/api/users/ada"))["user"]
    assert user["data"]["product_ids"] == ["netflix"]
    # And it comes back as it was.
    await ok(commerce, "POST", "/catalogue/products/1/restore")
    assert [each["id"] for each in await ok(commerce, "GET", "/products")] == [1, 2, 3]
    response = await commerce.post("/api/orders", json=buy)
    assert await refusal(response) == (400, "products_already_purchased")


async def test_price__changed__holds_for_orders_placed_afterwards(
    commerce: Client, connection: Connection, ada: int
) -> None:
    body = {"items": [{"productId": 1, "quantity": 2}], "userId": ada}
    before = await ok(commerce, "POST", "/orders", body)
    await ok(commerce, "PATCH", "/catalogue/products/1", {"price": 10})
    after = await ok(commerce, "POST", "/orders", body)
    assert (before["amountCents"], after["amountCents"]) == (2 * 7599, 20)
    assert await ok(commerce, "GET", f"/orders/{before['id']}") == before
    bought = await ok(
        commerce, "POST", "/api/orders", {"order": {"items": ["netflix"], "user_id": "ada"}}
    )
    assert bought["order"]["data"]["total"] == 0.1
    prices = await connection.fetch("SELECT price FROM order_items ORDER BY order_id")
    assert [row["price"] for row in prices] == [7599, 10, 10]


# --- Services in bookings -----------------------------------------------------------------------


async def book(client: Client, *services: str, at: str = NOON) -> tuple[str, dict[str, Any], str]:
    """Book some services; return the path, the booking and its ETag."""
    body = {"datetime": at, "totalfee": 250, "services": [*services]}
    response = await client.post("/service-orders", json=body)
    assert response.status == 201
    path = within(client, response.headers["Location"])
    return path, await response.json(), response.headers["ETag"]


async def test_retired_service__booking_that_has_it__keeps_it_and_may_be_moved(
    commerce: Client, unchanged: Unchanged
) -> None:
    path, booking, _ = await book(commerce, "1")
    other, _, _ = await book(commerce, "2", at="2030-06-01T12:00:00.000Z")
    await ok(commerce, "POST", "/catalogue/services/1/retire")
    assert await ok(commerce, "GET", "/services") == [{"id": "2", "name": "Analysis"}]
    assert await ok(commerce, "GET", path) == booking
    async with unchanged():
        for method, url, services in (
            ("POST", "/service-orders", ["1"]),
            ("POST", "/service-orders", ["2", "1"]),
            ("PUT", other, ["1"]),
            ("PUT", other, ["1", "2"]),
        ):
            body = {"datetime": "2030-07-01T12:00:00Z", "totalfee": 1, "services": services}
            response = await commerce.request(method, url, json=body)
            assert await refusal(response) == (400, "services_not_found")
            assert (await response.json())["details"] == {"services": ["1"]}
    moved = booking | {"datetime": "2030-05-02T12:00:00.000Z"}
    assert await ok(commerce, "PUT", path, moved) == moved
    wider = await ok(commerce, "PUT", path, moved | {"services": ["1", "2"]})
    assert [each["name"] for each in wider["services"]] == ["Inspection", "Analysis"]
    # Once it is left out, it is gone.
    await ok(commerce, "PUT", path, moved | {"services": ["2"]})
    response = await commerce.put(path, json=moved)
    assert await refusal(response) == (400, "services_not_found")
    await ok(commerce, "POST", "/catalogue/services/1/restore")
    assert await ok(commerce, "PUT", path, moved) == moved


async def test_renamed_service__bookings_that_have_it__another_tag_and_no_write(
    commerce: Client, connection: Connection
) -> None:
    path, booking, tag = await book(commerce, "1", "2")
    apart, _, other_tag = await book(commerce, "2", at="2030-06-01T12:00:00.000Z")
    assert tag == other_tag == '"1"'
    rows = "SELECT xmin::text, id, version FROM service_orders ORDER BY id"
    before = await connection.fetch(rows)
    await ok(commerce, "PATCH", "/catalogue/services/1", {"name": "Check"})
    assert await connection.fetch(rows) == before
    response = await commerce.get(path, headers={"If-None-Match": tag})
    assert (response.status, response.headers["ETag"]) == (200, '"1-1"')
    shown = await response.json()
    assert shown["services"] == [{"id": "1", "name": "Check"}, {"id": "2", "name": "Analysis"}]
    assert (await commerce.get(path, headers={"If-None-Match": '"1-1"'})).status == 304
    assert (await commerce.get(apart, headers={"If-None-Match": '"1"'})).status == 304
    for method in ("PUT", "DELETE"):
        stale = await commerce.request(
            method, path, json=booking if method == "PUT" else None, headers={"If-Match": tag}
        )
        assert await refusal(stale) == (412, "service_order_changed")
        assert "it is in version 1-1 now" in (await stale.json())["message"]
    # Nothing but the name has changed: the same booking is no change.
    response = await commerce.put(path, json=booking, headers={"If-Match": '"1-1"'})
    assert (response.status, response.headers["ETag"]) == (200, '"1-1"')
    response = await commerce.put(path, json=booking | {"totalfee": 1, "services": ["2"]})
    assert response.headers["ETag"] == '"2"'
    assert (await commerce.get(path)).headers["ETag"] == '"2"'


async def test_renamed_service__back_and_by_hand__no_tag_comes_back(
    commerce: Client, connection: Connection
) -> None:
    path, booking, tag = await book(commerce, "1")
    tags = {tag}
    for name in ("Check", "Inspection", "Check", "Inspection"):
        await connection.execute("UPDATE services SET name = $1 WHERE id = 1", name)
        response = await commerce.get(path)
        assert response.headers["ETag"] not in tags
        tags.add(response.headers["ETag"])
    assert await ok(commerce, "GET", path) == booking
    await ok(commerce, "PATCH", "/catalogue/services/1", {"name": "Inspection"})
    await ok(commerce, "POST", "/catalogue/services/1/retire")
    assert (await commerce.get(path)).headers["ETag"] in tags


async def test_create_service__good__201_can_be_booked_and_told(
    commerce: Client, connection: Connection
) -> None:
    response = await commerce.post("/catalogue/services", json={"name": "Testing"})
    assert response.status == 201
    assert within(commerce, response.headers["Location"]) == "/catalogue/services/3"
    service = await response.json()
    assert list(service) == ["id", "name", "created_at", "retired_at"]
    assert (service["id"], service["name"], service["retired_at"]) == (3, "Testing", None)
    assert await ok(commerce, "GET", "/catalogue/services/3") == service
    assert (await ok(commerce, "GET", "/services"))[-1] == {"id": "3", "name": "Testing"}
    _, booking, _ = await book(commerce, "3")
    assert booking["services"] == [{"id": "3", "name": "Testing"}]
    payload = {"service_id": 3, "name": "Testing"}
    assert await told(connection, "service.created") == [("service:3", payload)]


async def test_change_service__name__told_with_the_one_before(
    commerce: Client, connection: Connection
) -> None:
    await ok(commerce, "PATCH", "/catalogue/services/1", {"name": "Check"})
    payload = {"service_id": 1, "name": "Check", "before": {"name": "Inspection"}}
    assert await told(connection, "service.changed") == [("service:1", payload)]
