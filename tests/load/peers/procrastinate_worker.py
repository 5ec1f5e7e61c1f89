"""A peer of the order processor: procrastinate, one job per order, the same two writes per job.

Usage: procrastinate_worker.py URL COUNT. Prints the seconds it took to work off COUNT jobs. The
orders that it settles are put off for ever, so that Rowlock's own processor leaves them alone.
"""

import asyncio
import sys
import time

from procrastinate import App, PsycopgConnector
from psycopg_pool import AsyncConnectionPool

CONCURRENCY = 20
CHUNK = 5_000  # jobs deferred by one statement


CREATE = """
    INSERT INTO orders (status, amount, next_attempt_at)
    SELECT 'pending', 100, 'infinity' FROM generate_series(1, %s) RETURNING id"""
SETTLE = """
    UPDATE orders SET status = 'approved', settled_at = now()
    WHERE id = %s AND status = 'pending'"""
APPEND = """
    INSERT INTO outbox (name, subject, payload)
    VALUES ('order.approved', 'order:' || %(id)s::bigint,
            jsonb_build_object('order_id', %(id)s::bigint, 'user_id', NULL, 'amount', 100))"""


async def main(url: str, count: int) -> None:
    """Install procrastinate, defer `count` jobs, and work them off."""
    app = App(connector=PsycopgConnector(conninfo=url, max_size=CONCURRENCY))
    async with AsyncConnectionPool(url, max_size=CONCURRENCY) as pool, app.open_async():
        await app.schema_manager.apply_schema_async()

        @app.task(name="settle")
        async def settle(order_id: int) -> None:
            async with pool.connection() as connection:  # one transaction
                await connection.execute(SETTLE, (order_id,))
                await connection.execute(APPEND, {"id": order_id})

        async with pool.connection() as connection:
            found = await connection.execute(CREATE, (count,))
            ids = [order_id for (order_id,) in await found.fetchall()]
        for first in range(0, count, CHUNK):
            jobs = [{"order_id": order_id} for order_id in ids[first : first + CHUNK]]
            await settle.batch_defer_async(*jobs)
        async with pool.connection() as connection:
            await connection.execute("ANALYZE")

        started = time.perf_counter()
        await app.run_worker_async(
            wait=False, concurrency=CONCURRENCY, listen_notify=False, install_signal_handlers=False
        )
        elapsed_s = time.perf_counter() - started
        async with pool.connection() as connection:
            found = await connection.execute(
                "SELECT count(*) FROM orders WHERE id = ANY(%s) AND status = 'approved'", (ids,)
            )
            row = await found.fetchone()
    assert row == (count,), f"{row} of {count} jobs are done"
    print(elapsed_s)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
