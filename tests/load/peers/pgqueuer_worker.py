"""The peer of the order processor: pgqueuer, one job per order, the same two writes per job.

Usage: pgqueuer_worker.py URL COUNT. Prints the seconds it took to work off COUNT jobs. The orders
that it settles are put off for ever, so that Rowlock's own processor leaves them alone.
"""

import asyncio
import sys
import time

import asyncpg
from pgqueuer import PgQueuer, Queries
from pgqueuer.models import Job
from pgqueuer.types import QueueExecutionMode

BATCH_JOBS = 500
POOL_CONNECTIONS = 20

CREATE = """
    INSERT INTO orders (status, amount, next_attempt_at)
    SELECT 'pending', 100, 'infinity' FROM generate_series(1, $1) RETURNING id"""
SETTLE = """
    UPDATE orders SET status = 'approved', settled_at = now()
    WHERE id = $1 AND status = 'pending'"""
APPEND = """
    INSERT INTO outbox (name, subject, payload)
    VALUES ('order.approved', 'order:' || $1::bigint,
            jsonb_build_object('order_id', $1::bigint, 'user_id', NULL, 'amount', 100))"""


async def main(url: str, count: int) -> None:
    """Install pgqueuer, enqueue `count` jobs, and work them off."""
    async with asyncpg.create_pool(url, max_size=POOL_CONNECTIONS) as pool:
        queries = Queries.from_asyncpg_pool(pool)
        if not await queries.schema_is_installed():
            await queries.install()
        ids = [row["id"] for row in await pool.fetch(CREATE, count)]
        await queries.enqueue(["settle"] * count, [str(i).encode() for i in ids], [0] * count)
        await pool.execute("ANALYZE")
        worker = PgQueuer.from_asyncpg_pool(pool)

        @worker.entrypoint("settle")
        async def settle(job: Job) -> None:
            assert job.payload is not None
            order_id = int(job.payload)
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute(SETTLE, order_id)
                await connection.execute(APPEND, order_id)

        started = time.perf_counter()
        await worker.run(batch_size=BATCH_JOBS, mode=QueueExecutionMode.drain)
        elapsed_s = time.perf_counter() - started
        done = await pool.fetchval(
            "SELECT count(*) FROM orders WHERE id = ANY($1) AND status = 'approved'", ids
        )
    assert done == count, f"{done} of {count} jobs are done"
    print(elapsed_s)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
