"""A lone asyncpg connection that places benefit orders, by the statements of 0.1.0."""

import random
import time

import asyncpg
import orjson
import uvloop
from frozen import statement


def place_orders(url: str, users: int, products: int, seconds: float) -> list[float]:
    """Place random orders one after the other; return how long each took, in milliseconds."""

    async def run() -> list[float]:
        connection = await asyncpg.connect(url)
        latencies_ms = []
        deadline = time.perf_counter() + seconds
        while (started := time.perf_counter()) < deadline:
            username = f"load-{random.randint(1, users)}"
            slug = f"load-product-{random.randint(1, products)}"
            if await _place_order(connection, username, slug):
                latencies_ms.append((time.perf_counter() - started) * 1000)
        await connection.close()
        return latencies_ms

    return uvloop.run(run())


async def _place_order(
    connection: "asyncpg.Connection[asyncpg.Record]", username: str, slug: str
) -> bool:
    """Place the order, as benefits.transactions does; return False if the user owns the product."""
    async with connection.transaction():
        [user] = await connection.fetch(LOCK_USERS, [username])
        user_id, balance = user["id"], user["balance"]
        [wanted] = await connection.fetch(FIND_WANTED, [user_id], [slug])
        product_id, price = wanted["id"], wanted["price"]
        if wanted["owned"]:
            return False
        [placed] = await connection.fetch(
            PLACE_ORDERS, [user_id], [price], [REQUEST_ID], [1], [product_id], [price]
        )
        order_id = placed["id"]
        reference = f"order:{order_id}"
        balance_after = balance - price
        await connection.execute(
            POST_ENTRIES,
            [user_id],
            [-price],
            [balance_after],
            ["benefit_order"],
            [reference],
        )
        payload = {
            "order_id": order_id,
            "user_id": user_id,
            "items": [{"product_id": product_id, "slug": slug, "price": price}],
            "total": price,
            "balance_after": balance_after,
        }
        await connection.execute(
            APPEND_EVENTS,
            ["benefit_order.placed"],
            [reference],
            [orjson.dumps(payload).decode()],
            [REQUEST_ID],
        )
    return True


REQUEST_ID = "3f1c9a0b7d2e4f68"  # as long as the service's own

LOCK_USERS = statement("accounts/lock_users_by_name").sql
FIND_WANTED = statement("benefits/find_wanted").sql
PLACE_ORDERS = statement("benefits/place_orders").sql
POST_ENTRIES = statement("accounts/post_entries").sql
APPEND_EVENTS = statement("outbox/append_events").sql
