"""How the relay learns of events: by commits here and elsewhere, without looking all the time."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from operator import eq
from typing import Any, TypeAlias

import asyncpg
import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient, AiohttpServer

from rowlock.engine.statements import Query, queries
from rowlock.http.service import Parts
from rowlock.orders import Orders
from rowlock.orders.rules import CreateOrder, Item
from rowlock.origin import Origin
from rowlock.services import COMMERCE, EVENTS, PROJECTS
from rowlock.settings import Settings
from tests.support.delivery import TEN, write
from tests.support.leases import epoch_of
from tests.support.polling import until
from tests.support.roles import create_app
from tests.support.services import feature_of, spied_on, with_tasks
from tests.support.settling import NETFLIX, NEVER
from tests.support.types import Connection

# Creates an order in a commerce process, which appends an event.
Order: TypeAlias = Callable[[], Awaitable[None]]
Process: TypeAlias = Callable[..., Awaitable[Order]]


class Taker:
    """An events service that takes everything, once it may."""

    def __init__(self) -> None:
        self.url = ""
        self.deliveries: list[int] = []  # how many events each has
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def take(self, request: web.Request) -> web.Response:
        count = len((await request.json())["events"])
        self.deliveries.append(count)
        await self.may_answer.wait()
        return web.json_response({"accepted": count, "duplicates": 0})


@pytest.fixture
async def taker(aiohttp_server: AiohttpServer) -> Taker:
    taker = Taker()
    app = web.Application()
    app.router.add_post("/events/batch", taker.take)
    taker.url = str((await aiohttp_server(app)).make_url("/"))
    return taker


@pytest.fixture
def process(
    aiohttp_client: AiohttpClient,
    database_url: str,
    settings: Settings,
    catalogue: dict[str, int],
    taker: Taker,
) -> Process:
    """Start a commerce process with some of its tasks, whose relay looks only when woken."""

    async def start(*tasks: str, **changes: object) -> Order:
        seen: list[Parts] = []
        changed = settings.changed(events_url=taker.url, relay_poll_s=NEVER, **changes)
        service = spied_on(with_tasks(COMMERCE, *tasks), seen)
        await aiohttp_client(create_app(service, changed, database_url))
        orders = feature_of(seen[-1], Orders)

        async def order() -> None:
            await orders.create.submit(
                CreateOrder(None, (Item(NETFLIX, 1),), Origin("r-1", "token"))
            )

        return order

    return start


@pytest.fixture
async def leads(connection: Connection) -> Callable[[], Awaitable[None]]:
    """Wait until a relay leads, and has seen that there is nothing to deliver."""

    async def wait() -> None:
        await until(lambda: epoch_of(connection))
        looks = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE query LIKE '-- outbox/read_cursor%' AND state = 'idle'"
        )
        await until(lambda: connection.fetchval(looks))

    return wait


async def test_relay__command_committed_in_its_process__delivered_without_another_look(
    process: Process, taker: Taker, leads: Order
) -> None:
    order = await process("event_relay")
    await leads()
    for deliveries in ([1], [1, 1], [1, 1, 1]):
        await order()
        await until(partial(eq, taker.deliveries, deliveries))


async def test_features__commit_of_any_lane__wakes_what_the_feature_leads_to(
    settings: Settings,
) -> None:
    seen: list[Parts] = []
    for service in (COMMERCE, PROJECTS):
        create_app(spied_on(service, seen), settings, "postgresql://nowhere/none")
    features = [feature for parts in seen for feature in parts.features]
    for feature in features:
        for lane in feature.lanes:
            lane.committed.set()
            await asyncio.wait_for(feature.committed.wait(NEVER), 60)


async def test_relay__command_committed_in_another_process__delivered_without_another_look(
    process: Process, taker: Taker, leads: Order, connection: Connection
) -> None:
    heard: list[str] = []
    await connection.add_listener("events_appended", lambda *_: heard.append("notified"))
    own = await process("event_relay", "wakes")
    other = await process("wakes")
    await leads()
    await other()
    await until(lambda: taker.deliveries)
    await until(lambda: heard)
    told = len(heard)
    # What the leader commits itself, no other process has to know.
    await own()
    await until(lambda: sum(taker.deliveries) == 2)
    await connection.execute("SELECT 1")
    assert len(heard) == told


async def test_relay__events_held_back_by_another_transaction__delivered_once_that_is_over(
    process: Process, taker: Taker, leads: Order, database_url: str
) -> None:
    order = await process("event_relay", relay_gather_s=0.01)
    await leads()
    holder = await asyncpg.connect(database_url)
    async with holder.transaction():
        await holder.execute("SELECT pg_current_xact_id()")
        await order()
    await until(lambda: taker.deliveries)  # the end of that transaction wakes no relay
    await holder.close()


async def test_relay__many_commits_one_after_the_other__few_deliveries(
    process: Process, taker: Taker, leads: Order
) -> None:
    order = await process("event_relay", relay_gather_s=1.0)
    await leads()
    for _ in range(20):
        await order()
    await until(lambda: sum(taker.deliveries) == 20)
    assert len(taker.deliveries) < 10


async def test_relay__full_page__the_next_one_is_read_meanwhile_and_posted_after_it(
    process: Process,
    taker: Taker,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = queries.outbox.read_events
    reads: list[int] = []

    async def note(connection: Connection, **arguments: Any) -> Any:
        rows = await read(connection, **arguments)
        reads.append(len(rows))
        return rows

    monkeypatch.setattr(queries.outbox, "read_events", note)
    taker.may_answer.clear()
    await write(connection, *TEN)
    await process("event_relay", relay_batch_events=4)
    await until(lambda: len(reads) == 2 and taker.deliveries)
    assert taker.deliveries == [4]
    assert reads == [4, 4]
    taker.may_answer.set()
    await until(lambda: taker.deliveries == [4, 4, 2])


async def test_services__at_rest__few_statements(
    aiohttp_client: AiohttpClient,
    database_url: str,
    events_database_url: str,
    settings: Settings,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for service in (COMMERCE, PROJECTS, EVENTS):
        url = events_database_url if service is EVENTS else database_url
        await aiohttp_client(create_app(service, settings, url))
    await until(lambda: epoch_of(connection))
    count = 0
    call = Query.__call__

    async def note(self: Query, *arguments: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        return await call(self, *arguments, **named)

    monkeypatch.setattr(Query, "__call__", note)

    async def rests() -> bool:
        """Whether there are few in 4 s; before, each task does what it does first."""
        nonlocal count
        count = 0
        await asyncio.sleep(4)
        return count < 40  # the relay alone had 160

    await until(rests)
