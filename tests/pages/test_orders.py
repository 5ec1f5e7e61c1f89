"""The console's orders, which show how a place is made and tested."""

import asyncio
import csv
import io
import re

import pytest

from rowlock.console.sign_in import COOKIE
from tests.support.console import HTML, KEY, Visitor, text_of
from tests.support.statements import counted
from tests.support.types import Connection

EVIL = "<script>alert('x')</script>"


@pytest.fixture
async def orders(connection: Connection, catalogue: dict[str, int]) -> None:
    """Order 1 is approved and user 1 has paid for it, order 2 is pending, order 3 was refused."""
    await connection.execute(
        """
        INSERT INTO users (username, balance) VALUES ('ada', 0);
        INSERT INTO orders (status, amount, user_id, settled_at, reason, reference) VALUES
        ('approved', 7599, 1, now(), NULL, NULL),
        ('pending', 4599, 1, NULL, NULL, $x$<script>alert('x')</script>$x$),
        ('refused', 49000, NULL, now(), 'not_approved', NULL);
        INSERT INTO order_items (order_id, product_id, quantity, price) VALUES
        (1, 1, 1, 7599), (2, 2, 1, 4599), (3, 3, 1, 49000);
        """
    )


def ids(page: str) -> list[int]:
    """The ids of the orders that a list shows."""
    return [int(found) for found in re.findall(r'<tr id="order-(\d+)"', page)]


async def test_list__no_filters__newest_first(operator: Visitor, orders: None) -> None:
    page = await operator.page("/orders")
    assert ids(page) == [3, 2, 1]
    assert "490.00" in page
    assert EVIL not in page
    assert "&lt;script&gt;alert" in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("sort=oldest+first", [1, 2, 3]),
        ("sort=oldest+first&user=1&from=2020-01-01", [1, 2]),
        ("sort=oldest+first&reference=unknown", []),
        ("status=pending", [2]),
        ("user=1", [2, 1]),
        ("user=1&status=approved", [1]),
        ("from=2020-01-01&to=2020-12-31", []),
        ("to=2020-01-01&from=", []),
        ("reference=unknown", []),
        ("reference=%3Cscript%3Ealert('x')%3C/script%3E&status=pending", [2]),
        ("reference=%3Cscript%3Ealert('x')%3C/script%3E&status=approved", []),
        ("status=&user=&reference=", [3, 2, 1]),
    ],
)
async def test_list__filters_of_the_url__applied_and_kept(
    operator: Visitor, orders: None, query: str, found: list[int]
) -> None:
    page = await operator.page(f"/orders?{query}")
    assert ids(page) == found
    if not found:
        assert "No order matches" in page
    if "status=pending" in query:
        assert "<option selected>pending</option>" in page


@pytest.mark.parametrize(
    "query",
    ["user=x", "status=odd", "from=yesterday", "other=1", "to=9999-12-31", "user=-1", "sort=odd"],
)
async def test_list__bad_filters__400_and_what_is_wrong(operator: Visitor, query: str) -> None:
    page = await operator.page(f"/orders?{query}", status=400)
    assert 'class="problem"' in page
    assert "The filters can't be read" in text_of(page)


async def test_list__a_cursor_of_our_own_making__400(operator: Visitor) -> None:
    assert "The cursor is not from this list" in await operator.page("/orders?cursor=%3F", 400)


async def test_list__nothing_there__says_what_would_be(operator: Visitor) -> None:
    assert "No orders yet" in await operator.page("/orders")


async def test_list__many__pages_by_key_and_csv_of_all(
    operator: Visitor, connection: Connection, catalogue: dict[str, int]
) -> None:
    await add_orders(connection, 1203)
    first = await operator.page("/orders?status=pending")
    assert ids(first) == [*range(1203, 1153, -1)]
    assert "Orders 1,000+" in text_of(first)
    older = re.search(r'href="([^"]*)" rel="next"', first)
    assert older is not None
    second = await operator.page(older[1].replace("&amp;", "&"))
    assert ids(second) == [*range(1153, 1103, -1)]
    response = await operator.get("/orders?status=pending&format=csv")
    assert response.content_type == "text/csv"
    rows = [*csv.reader(io.StringIO(await response.text()))]
    assert rows[0][:2] == ["id", "status"]
    assert [int(row[0]) for row in rows[1:]] == [*range(1203, 0, -1)]


async def test_pages__statements__few_and_as_many_for_fifty_as_for_one(
    operator: Visitor, connection: Connection, orders: None
) -> None:
    for path in ("/orders", "/orders/1"):
        await operator.page(path)  # connections are opened
    with counted() as few:
        await operator.page("/orders")
    await add_orders(connection, 90)
    with counted() as many:
        await operator.page("/orders")
    rail = {"console/count_waiting": 1, "subscriptions/count_failing": 1}
    own = {"orders/list_orders": 1, "orders/find_orders": 1, "console/find_usernames": 1}
    assert few == many == {**rail, **own}
    with counted() as one:
        await operator.page("/orders/1")
    assert one == {
        **rail,
        "orders/find_orders": 1,
        "catalogue/find_products": 1,
        "refunds/list_refunds": 1,
        "console/find_attempts": 1,
        "console/find_usernames": 1,
        "console/find_entries": 1,
        "events/list_newest_events_by_subject": 1,
        "subscriptions/find_cursor": 1,
    }


async def add_orders(connection: Connection, how_many: int) -> None:
    """Add pending orders, the later the higher their ids."""
    await connection.execute(
        "WITH added AS (INSERT INTO orders (status, amount, created_at) SELECT 'pending', 7599, "
        "'2026-01-01'::timestamptz + make_interval(secs => n) FROM generate_series(1, $1) AS n "
        "RETURNING id) INSERT INTO order_items (order_id, product_id, quantity, price) "
        "SELECT id, 1, 1, 7599 FROM added",
        how_many,
    )


async def test_order__its_page__facts_items_and_story(operator: Visitor, orders: None) -> None:
    page = text_of(await operator.page("/orders/1"))
    assert "Order 1" in page
    assert "75.99" in page
    assert "Approved" in page
    assert "Refund…" in page
    assert "Cancel…" not in page
    assert "Cancel…" in text_of(await operator.page("/orders/2"))


async def test_order__a_retired_product__by_its_name(
    operator: Visitor, orders: None, connection: Connection
) -> None:
    await connection.execute("UPDATE products SET retired_at = now() WHERE id = 1")
    assert "Netflix 1 75.99" in text_of(await operator.page("/orders/1"))


async def test_order__its_events__in_the_story(
    operator: Visitor, orders: None, log: Connection
) -> None:
    await log.execute(
        "INSERT INTO events (event_id, name, subject, payload, actor, created_at) "
        "VALUES (gen_random_uuid(), 'order.created', 'order:2', '{}', $1, now())",
        EVIL,
    )
    page = await operator.page("/orders/2")
    assert "order.created" in page
    assert EVIL not in page


async def test_order__events_and_deliveries__one_story_with_who_and_when(
    operator: Visitor, orders: None, connection: Connection, log: Connection
) -> None:
    await connection.execute("UPDATE orders SET request_id = 'req-7' WHERE id = 2")
    await log.execute(
        """
        INSERT INTO events (event_id, name, subject, payload, actor, request_id, created_at)
        VALUES (gen_random_uuid(), 'order.created', 'order:2', '{}', 'key:shop', 'req-7', now());
        INSERT INTO subscriptions (url, names, secret, created_by, starts_after)
        VALUES ('https://hooks.example/', '{*}', 's', 'token', 0);
        INSERT INTO deliveries
        (subscription_id, event_id, name, status, attempts, finished_at, problem)
        SELECT 1, max(id), 'order.created', 'failed', 9, now() + '1 s', 'http_410' FROM events;
        INSERT INTO deliveries (subscription_id, event_id, name, status, attempts, finished_at)
        SELECT 1, max(id) + 1, 'other.event', 'delivered', 1, now() FROM events
        """
    )
    page = text_of(await operator.page("/orders/2"))
    assert "Created by key:shop request req-7 order.created, event 1 in the log" in page
    assert "Delivery given up to https://hooks.example/" in page
    assert "9 attempts · http_410" in page
    assert "other.event" not in page
    assert page.index("Created by") < page.index("Delivery given up") < page.index("Waits to be")


async def test_retry__a_postponed_order__due_at_once_with_actor_and_event(
    operator: Visitor, orders: None, connection: Connection
) -> None:
    assert "Settle now…" not in text_of(await operator.page("/orders/2"))
    await connection.execute(
        "UPDATE orders SET attempts = 3, next_attempt_at = now() + '1 h' WHERE id = 2"
    )
    page = text_of(await operator.page("/orders/2"))
    assert "Settle now…" in page
    assert "Waits to be settled after 3 failed tries" in page
    for _ in range(2):  # the second one has nothing to do, and leaves no event
        assert "Order 2 will be settled at once." in await operator.act("/orders/2/retry")
    row = await connection.fetchrow("SELECT attempts, next_attempt_at FROM orders WHERE id = 2")
    assert row is not None
    assert tuple(row) == (3, None)
    [event] = await connection.fetch("SELECT name, actor FROM outbox")
    assert tuple(event) == ("order.retried", "console:ada")


async def test_retry__a_settled_or_unknown_order__refused(operator: Visitor, orders: None) -> None:
    assert "Order 1 is approved." in await operator.act("/orders/1/retry")
    await operator.page("/orders/99/retry", status=404)


async def test_refund__more_than_is_left__the_form_again(operator: Visitor, orders: None) -> None:
    found = KEY.search(await operator.page("/orders/1/refund"))
    assert found is not None
    fields = {"key": found[1], "amount": "76"}
    response = await operator.post("/orders/1/refund", fields)
    page = await response.text()
    assert response.status == 409
    assert 'value="76"' in page
    assert 'role="alert"' in page


@pytest.mark.parametrize("given", ["99", "x", "0", "01", "-1", "9" * 30, "%00", "1%2F2"])
async def test_order__unknown__a_page_with_404(operator: Visitor, given: str) -> None:
    page = await operator.page(f"/orders/{given}", status=404)
    assert "To the overview" in page


async def test_order__unknown_for_a_script__json(operator: Visitor) -> None:
    cookie = f"{COOKIE}={operator.cookies[COOKIE]}"
    response = await operator.client.get("/orders/99", headers={"Cookie": cookie})
    assert (response.status, (await response.json())["error"]) == (404, "order_not_found")


async def test_cancel__a_pending_order__done_with_actor_and_event(
    operator: Visitor, orders: None, connection: Connection
) -> None:
    page = await operator.act("/orders/2/cancel")
    assert "Order 2 was cancelled." in page
    assert await connection.fetchval("SELECT status FROM orders WHERE id = 2") == "cancelled"
    [event] = await connection.fetch("SELECT name, actor FROM outbox")
    assert (event["name"], event["actor"]) == ("order.cancelled", "console:ada")
    assert "Order 2 was cancelled." not in await operator.page("/orders/2")  # it is said once


async def test_cancel__a_settled_order__refused_in_words(operator: Visitor, orders: None) -> None:
    page = await operator.act("/orders/1/cancel")
    assert "Order 1 is approved." in page


async def test_form__sent_twice__acts_once_with_one_outcome(
    operator: Visitor, orders: None, connection: Connection
) -> None:
    found = KEY.search(await operator.page("/orders/1/refund"))
    assert found is not None
    fields = {"key": found[1], "amount": "5.99"}
    for _ in range(2):
        page = await operator.follow(await operator.post("/orders/1/refund", fields))
        assert "Refunded 5.99 EUR of order 1." in page
    assert await connection.fetchval("SELECT refunded FROM orders WHERE id = 1") == 599
    other = await operator.post("/orders/1/refund", fields | {"amount": "6"})
    assert other.status == 422
    name_space = await connection.fetchval("SELECT service FROM idempotency_keys")
    assert name_space == "console"


@pytest.mark.parametrize(
    "amount", ["0", "-1", "x", "1.234", "1e99", "NaN", "9" * 40, "5,99", "1,0,0", ",5"]
)
async def test_refund__a_bad_amount__the_form_again_with_what_was_entered(
    operator: Visitor, orders: None, amount: str
) -> None:
    found = KEY.search(await operator.page("/orders/1/refund"))
    assert found is not None
    response = await operator.post("/orders/1/refund", {"key": found[1], "amount": amount})
    page = await response.text()
    assert response.status == 400
    assert f'value="{amount}"' in page
    assert found[1] in page


@pytest.mark.parametrize("fields", [{}, {"key": ""}, {"key": "x"}])
async def test_form__without_a_key__400(
    operator: Visitor, orders: None, fields: dict[str, str]
) -> None:
    response = await operator.post("/orders/2/cancel", fields)
    assert response.status == 400


async def test_form__not_a_form__415(operator: Visitor, orders: None) -> None:
    headers = {**HTML, "Sec-Fetch-Site": "same-origin", "Cookie": _cookies(operator)}
    response = await operator.client.post("/orders/2/cancel", json={}, headers=headers)
    assert response.status == 415


def _cookies(visitor: Visitor) -> str:
    return "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())


async def test_live_part__alone__without_the_page_around(operator: Visitor, orders: None) -> None:
    part = await operator.page("/orders?part=list&status=pending")
    assert part.lstrip().startswith("<section")
    assert ids(part) == [2]
    whole = await operator.page("/orders?part=unknown")
    assert "<!doctype html>" in whole


async def test_viewer__an_order__no_buttons(viewer: Visitor, orders: None) -> None:
    page = text_of(await viewer.page("/orders/1"))
    assert "Refund…" not in page
    assert "(looking)" in page


async def test_rail__what_waits__counted(operator: Visitor, orders: None) -> None:
    rail = text_of(await operator.page("/rail?place=orders"))
    assert "Orders 1" in rail


async def test_rail__counts_that_do_not_come__not_waited_for(
    operator: Visitor, orders: None, connection: Connection
) -> None:
    await connection.execute(
        """
        ALTER TABLE outbox_dead_letters RENAME TO away;
        CREATE VIEW outbox_dead_letters AS
        SELECT away.* FROM pg_sleep(60) LEFT JOIN away ON true;
        GRANT SELECT ON outbox_dead_letters TO public;
        """
    )
    async with asyncio.timeout(4):
        assert "Orders" in await operator.page("/orders")
    await connection.execute(
        "DROP VIEW outbox_dead_letters; ALTER TABLE away RENAME TO outbox_dead_letters"
    )
    assert "Orders 1" in text_of(await operator.page("/rail"))
