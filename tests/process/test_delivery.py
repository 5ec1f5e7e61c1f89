"""Orders, outbox and events under kill -9: ten times in a row, each part in turn."""

import asyncio
import contextlib
import random
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import psycopg
import pytest

from rowlock.engine import migrations
from rowlock.ops import embedded
from tests.support.polling import until
from tests.support.processes import Service

KILLS = 10
CLIENTS = 8
EAGER_S, CALM_S = 0.005, 0.05  # between two orders of a client
USERS = 5
LEASE = {"lease_s": 1, "lease_renew_s": 0.2}  # the lease of a killed leader ends soon


@dataclass
class Stack:
    """A PostgreSQL, a commerce and an events process of the test's own."""

    data_dir: Path
    urls: dict[str, str]
    commerce: Service
    events: Service

    async def kill(self, victim: str) -> None:
        if victim == "postgres":
            pid_file = self.data_dir / "postgres" / "postmaster.pid"
            psutil.Process(int(pid_file.read_text().split()[0])).kill()
        else:
            await getattr(self, victim).kill()

    async def revive(self, victim: str) -> None:
        if victim == "postgres":
            await asyncio.to_thread(self._start_postgres)
        else:
            await getattr(self, victim).__aenter__()

    def _start_postgres(self) -> None:
        # The fixture's own use of the server keeps it running when this one is over.
        with embedded.running(self.data_dir, start_timeout_s=60):
            pass


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with embedded.running(tmp_path, start_timeout_s=60) as urls:
        migrations.up(urls["rowlock"], "main")
        migrations.up(urls["rowlock_events"], "events")
        with psycopg.connect(urls["rowlock"]) as connection:
            connection.execute("INSERT INTO products (slug, name, price) VALUES ('x', 'X', 100)")
            for number in range(USERS):
                connection.execute(
                    "INSERT INTO users (username, balance) VALUES (%s, 30000)", (f"user-{number}",)
                )
            connection.execute(
                "INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference) "
                "SELECT id, balance, balance, 'opening_balance', 'user:' || id FROM users"
            )
        settings = {
            "database_url": urls["rowlock"],
            "events_database_url": urls["rowlock_events"],
            "relay_batch_events": 20,  # many deliveries, so that kills hit them
            "processor_poll_s": 0.5,
            "task_retry_limit_s": 0.5,
            "relay_retry_limit_s": 0.5,
            **LEASE,
        }
        events = Service("events", **settings)
        commerce = Service("commerce", events_url=events.events_url, **settings)
        yield Stack(tmp_path, urls, commerce, events)


@dataclass
class Orders:
    """Clients that order; every answer is counted, every 201 remembered."""

    acknowledged: list[int] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    pause_s: float = EAGER_S

    @contextlib.contextmanager
    def calm(self) -> Iterator[None]:
        """Leave the processor to what is being started."""
        self.pause_s = CALM_S
        yield
        self.pause_s = EAGER_S

    @contextlib.asynccontextmanager
    async def running(self, url: str) -> AsyncIterator[None]:
        async with aiohttp.ClientSession() as session:
            clients = [asyncio.create_task(self._client(session, url)) for _ in range(CLIENTS)]
            try:
                yield
            finally:
                for client in clients:
                    client.cancel()
                await asyncio.gather(*clients, return_exceptions=True)

    async def more(self, count: int) -> None:
        """Return once `count` more orders are acknowledged."""
        wanted = len(self.acknowledged) + count
        await until(lambda: len(self.acknowledged) >= wanted, timeout_s=60)

    async def _client(self, session: aiohttp.ClientSession, url: str) -> None:
        while True:
            body: dict[str, Any] = {"items": [{"productId": 1, "quantity": random.randint(1, 3)}]}
            user_id = random.randint(0, USERS)
            if user_id:
                body["userId"] = user_id
            try:
                async with session.post(f"{url}/orders", json=body) as response:
                    order = await response.json()
            except aiohttp.ClientError:
                await asyncio.sleep(0.02)
            else:
                self.statuses[response.status] += 1
                if response.status == 201:
                    self.acknowledged.append(order["id"])
                await asyncio.sleep(self.pause_s)


@pytest.mark.parametrize("victim", ["commerce", "events", "postgres"])
async def test_kill_9__ten_times_in_a_row__all_settled_and_delivered_once(
    stack: Stack, victim: str
) -> None:
    rng = random.Random(victim)
    orders = Orders()
    async with stack.events, stack.commerce:
        async with orders.running(stack.commerce.url):
            for _ in range(KILLS):
                await orders.more(rng.randint(5, 60))
                await stack.kill(victim)
                with orders.calm():
                    await stack.revive(victim)
            await orders.more(1)
        await until(lambda: all_settled_and_delivered(stack.urls), timeout_s=60)
    assert set(orders.statuses) <= {201, 503}, stack.commerce.printed
    assert_orders_settled_once(stack.urls["rowlock"], orders.acknowledged)
    assert_events_complete_and_in_order(stack.urls)


def all_settled_and_delivered(urls: dict[str, str]) -> bool:
    with psycopg.connect(urls["rowlock"]) as connection:
        row = connection.execute(
            """
            SELECT count(*) FILTER (WHERE status = 'pending'),
                (SELECT count(*) FROM outbox, outbox_cursor AS last
                 WHERE (outbox.xid, outbox.position) > (last.xid, last.position))
            FROM orders"""
        ).fetchone()
    return row == (0, 0)


def assert_orders_settled_once(url: str, acknowledged: list[int]) -> None:
    with psycopg.connect(url) as connection:
        stored = {
            row[0]: row[1:]
            for row in connection.execute("SELECT id, status, user_id, amount FROM orders")
        }
        paid = Counter(
            row[0]
            for row in connection.execute("SELECT reference FROM ledger_entries WHERE amount < 0")
        )
        unbalanced = connection.execute(
            "SELECT 1 FROM users JOIN ledger_entries ON users.id = user_id "
            "GROUP BY users.id HAVING balance <> sum(amount)"
        ).fetchall()
    assert len(set(acknowledged)) == len(acknowledged)
    assert set(acknowledged) <= set(stored)
    assert paid == {
        f"order:{order_id}": 1
        for order_id, (status, user_id, _) in stored.items()
        if status == "approved" and user_id is not None
    }
    assert unbalanced == []


def assert_events_complete_and_in_order(urls: dict[str, str]) -> None:
    with psycopg.connect(urls["rowlock"]) as connection:
        expected = {
            f"order:{order_id}": ["order.created", f"order.{status}"]
            for order_id, status in connection.execute("SELECT id, status FROM orders")
        }
        assert connection.execute("SELECT count(*) FROM outbox_dead_letters").fetchone() == (0,)
    delivered = defaultdict(list)
    with psycopg.connect(urls["rowlock_events"]) as connection:
        for subject, name in connection.execute("SELECT subject, name FROM events ORDER BY id"):
            delivered[subject].append(name)
    assert delivered == expected


async def test_serve__commerce_without_events__relay_waits_and_nothing_is_lost(
    stack: Stack,
) -> None:
    orders = Orders()
    async with stack.commerce:
        async with orders.running(stack.commerce.url):
            await orders.more(100)
        await until(lambda: "relay_waits" in stack.commerce.printed)
        async with stack.events:
            await until(lambda: all_settled_and_delivered(stack.urls))
    assert_events_complete_and_in_order(stack.urls)


async def test_relay__wrong_token__logged_clearly_and_recovers_when_corrected(stack: Stack) -> None:
    orders = Orders()
    wrong = Service(
        "commerce",
        database_url=stack.urls["rowlock"],
        events_url=stack.events.events_url,
        events_token="wrong",
        **LEASE,
    )
    async with stack.events:
        async with wrong, orders.running(wrong.url):
            await orders.more(20)
            await until(lambda: "ROWLOCK_EVENTS_TOKEN is not accepted there" in wrong.printed)
        async with stack.commerce:
            await until(lambda: all_settled_and_delivered(stack.urls))
    assert_events_complete_and_in_order(stack.urls)


async def test_serve__two_commerce_processes__one_relay_and_each_order_settled_once(
    stack: Stack,
) -> None:
    orders = Orders()
    second = Service(
        "commerce",
        database_url=stack.urls["rowlock"],
        events_url=stack.events.events_url,
        **LEASE,
    )
    async with stack.events, stack.commerce, second:
        async with orders.running(stack.commerce.url), orders.running(second.url):
            await orders.more(300)
            await until(lambda: has_led(stack.commerce) or has_led(second))
            leads_first = has_led(stack.commerce)
            leader, other = (stack.commerce, second) if leads_first else (second, stack.commerce)
            await leader.kill()
            await until(lambda: has_led(other))
            await orders.more(100)
        await until(lambda: all_settled_and_delivered(stack.urls))
    assert_orders_settled_once(stack.urls["rowlock"], orders.acknowledged)
    assert_events_complete_and_in_order(stack.urls)


def has_led(service: Service) -> bool:
    """Whether the process has ever held the lease of the relay."""
    return re.search(r"lease_taken .*\blease=relay\b", service.printed) is not None
