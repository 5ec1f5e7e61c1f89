"""Two processes, 200 clients and somebody at psql book, move and cancel in one week."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta

import aiohttp
import asyncpg

from rowlock.engine.database import Database
from rowlock.ops import seed
from tests.support.processes import Service
from tests.support.types import Connection

CLIENTS = 200
REQUESTS = 12  # of each client
WEEK_START = seed.SERVICE_ORDERS[0].starts_at - timedelta(days=3.5)
WEEK_MS = 7 * 24 * 60 * 60 * 1000


def some_time(rng: random.Random) -> str:
    return (WEEK_START + timedelta(milliseconds=rng.randrange(WEEK_MS))).isoformat()


@dataclass
class Bookings:
    """What the clients have been told."""

    statuses: Counter[int] = field(default_factory=Counter)
    # Versions by id: one for the booking, one for each change.
    versions: Counter[str] = field(
        default_factory=lambda: Counter({str(order.id): 1 for order in seed.SERVICE_ORDERS})
    )
    deleted: list[str] = field(default_factory=list)
    numbers: int = 0  # a fee of its own for each request, so that every PUT changes something

    async def client(self, session: aiohttp.ClientSession, url: str, number: int) -> None:
        rng = random.Random(number)
        for _ in range(REQUESTS):
            self.numbers += 1
            body = {"datetime": some_time(rng), "totalfee": self.numbers, "services": ["123"]}
            order_id = rng.choice(
                [one for one in self.versions if one not in self.deleted] or ["1"]
            )
            tag = rng.choice(["*", "*", '"1"', '"1", "2"'])
            method = rng.choices(["POST", "PUT", "DELETE"], [5, 4, 1])[0]
            async with session.request(
                method,
                f"{url}/service-orders" + ("" if method == "POST" else f"/{order_id}"),
                json=None if method == "DELETE" else body,
                headers={} if method == "POST" else {"If-Match": tag},
            ) as response:
                self.statuses[response.status] += 1
                if response.status == 201:
                    self.versions[(await response.json())["id"]] += 1
                elif response.status == 200:
                    self.versions[order_id] += 1
                elif response.status == 204:
                    self.deleted.append(order_id)


async def insert_by_hand(url: str) -> None:
    """Write past Rowlock for as long as it takes."""
    rng = random.Random(0)
    connection = await asyncpg.connect(url)
    try:
        while True:
            await connection.execute("DELETE FROM service_orders WHERE fee = 0")
            try:
                await connection.execute(
                    "INSERT INTO service_orders (starts_at, fee) VALUES ($1::text::timestamptz, 0)",
                    some_time(rng),
                )
            except (asyncpg.ExclusionViolationError, asyncpg.DeadlockDetectedError):
                continue
    finally:
        connection.terminate()


async def test_one_week__two_processes_200_clients_and_psql__nobody_crowds_nothing_is_lost(
    database_url: str, database: Database, connection: Connection
) -> None:
    await seed.demo(database)
    bookings = Bookings()
    async with (
        Service("commerce", database_url=database_url) as one,
        Service("commerce", database_url=database_url) as two,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CLIENTS)) as session,
    ):
        by_hand = asyncio.create_task(insert_by_hand(database_url))
        await asyncio.gather(
            *(
                bookings.client(session, (one, two)[number % 2].url, number)
                for number in range(CLIENTS)
            )
        )
        assert not by_hand.done()
        by_hand.cancel()
        await asyncio.wait([by_hand])
    statuses = bookings.statuses
    assert statuses.total() == CLIENTS * REQUESTS
    assert set(statuses) <= {200, 201, 204, 404, 409, 412}
    assert min(statuses[201], statuses[200], statuses[204], statuses[409]) > 10, statuses

    assert not await connection.fetch(
        """
        SELECT one.id, other.id FROM service_orders AS one, service_orders AS other
        WHERE one.id < other.id AND NOT (one.imported AND other.imported)
            AND one.starts_at - other.starts_at < interval '3 hours'
            AND other.starts_at - one.starts_at < interval '3 hours'"""
    )
    rows = await connection.fetch(
        "SELECT id::text, version FROM service_orders WHERE fee <> 0 OR version > 1"
    )
    assert len(set(bookings.deleted)) == len(bookings.deleted)
    assert {row["id"]: row["version"] for row in rows} == {
        order_id: version
        for order_id, version in bookings.versions.items()
        if order_id not in bookings.deleted
    }
    events = await connection.fetch(
        "SELECT name, count(*) FROM outbox WHERE name ~ '^service_order' GROUP BY name"
    )
    assert dict(map(tuple, events)) == {
        "service_order.created": statuses[201] + len(seed.SERVICE_ORDERS),
        "service_order.updated": statuses[200],
        "service_order.deleted": statuses[204],
    }
