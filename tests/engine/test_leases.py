"""Leases: one process leads at a time, and one that has been replaced can write nothing."""

import asyncio
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, TypeAlias

import asyncpg
import psycopg
import pytest

from rowlock.engine.database import Database
from rowlock.engine.leases import lead
from rowlock.engine.statements import queries
from rowlock.errors import LeaseLost
from rowlock.settings import Settings
from tests.support.delivery import write
from tests.support.leases import (
    ADVANCE_OF_PREVIOUS_RELEASE,
    RELAY,
    epoch_of,
    expire,
    take_over,
)
from tests.support.polling import until
from tests.support.proxy import Proxy
from tests.support.sessions import count_waiting, end_others
from tests.support.types import Connection

LONG = timedelta(hours=1)
NEVER = {"lease_s": 3600, "lease_renew_s": 3600}  # neither expires nor is renewed


class Contender:
    """What leads, or waits for the lead, as a process of its own would: on a pool of its own."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.epochs: list[int] = []
        self.cancelled = False
        self.mishap: Exception | None = None  # what the work raises at its end
        self.told_to_end = asyncio.Event()
        leading = lead(RELAY, database, self._work, poll_s=0.01, settings=settings.tasks)
        self.task = asyncio.create_task(leading)

    async def _work(self, epoch: int) -> None:
        self.epochs.append(epoch)
        try:
            await self.told_to_end.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self.mishap is not None:
            raise self.mishap

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


Contend: TypeAlias = Callable[..., Awaitable[Contender]]


@pytest.fixture
async def contend(database_url: str, settings: Settings) -> AsyncIterator[Contend]:
    """Let another process contend for the relay's lease, with some settings changed."""
    async with AsyncExitStack() as stack, asyncio.timeout(60):

        async def start(url: str = database_url, **changes: object) -> Contender:
            changed = settings.changed(**changes)
            database = await stack.enter_async_context(Database(url, changed.database))
            contender = Contender(database, changed)
            stack.push_async_callback(contender.stop)
            return contender

        yield start


async def expires(connection: Connection) -> float:
    """For how long the lease was held, or will have been if it is not renewed, in seconds."""
    held: float = await connection.fetchval(
        "SELECT extract(epoch FROM expires - since)::float8 FROM leases"
    )
    return held


# --- Leading ----------------------------------------------------------------------------------


def end_well(leader: Contender) -> None:
    leader.told_to_end.set()


def end_badly(leader: Contender) -> None:
    leader.mishap = RuntimeError("mishap")
    leader.told_to_end.set()


def cancel(leader: Contender) -> None:
    leader.task.cancel()


@pytest.mark.parametrize(
    ("end", "error"),
    [(end_well, None), (end_badly, RuntimeError), (cancel, asyncio.CancelledError)],
)
async def test_lead__two_contend__the_second_takes_over_at_once_when_the_first_ends(
    contend: Contend,
    connection: Connection,
    end: Callable[[Contender], None],
    error: type[BaseException] | None,
) -> None:
    first = await contend(**NEVER)
    await until(lambda: first.epochs)
    second = await contend(**NEVER)
    await asyncio.sleep(0.1)  # over many polls
    assert (first.epochs, second.epochs) == ([1], [])
    assert await connection.fetchval("SELECT holder FROM leases") == (
        f"{socket.gethostname()}:{os.getpid()}"
    )
    end(first)
    await until(lambda: second.epochs, timeout_s=10)
    assert (first.epochs, second.epochs) == ([1], [2])
    [outcome] = await asyncio.gather(first.task, return_exceptions=True)
    assert type(outcome) is (type(None) if error is None else error)
    assert not second.task.done()


async def test_lead__many_contend_again_and_again__one_at_a_time_and_each_epoch_once(
    contend: Contend, database_url: str, settings: Settings
) -> None:
    rng = random.Random(1)
    epochs: list[int] = []
    leading: list[int] = []

    async def work(epoch: int) -> None:
        assert leading == []
        leading.append(epoch)
        epochs.append(epoch)
        try:
            await asyncio.sleep(rng.random() * 0.005)
            if rng.random() < 0.5:
                raise RuntimeError
        finally:
            leading.remove(epoch)

    # One that is stopped while it takes the lease does not release it: soon, it expires.
    quick = settings.changed(lease_s=0.3, lease_renew_s=0.1).tasks

    async def keep_leading() -> None:
        async with Database(database_url, settings.database) as database:
            while len(epochs) < 30:
                poll_s = rng.random() * 0.005
                turn = asyncio.create_task(
                    lead(RELAY, database, work, poll_s=poll_s, settings=quick)
                )
                await asyncio.wait([turn], timeout=rng.random() * 0.05)
                turn.cancel()
                [outcome] = await asyncio.gather(turn, return_exceptions=True)
                ends = (type(None), RuntimeError, LeaseLost, asyncio.CancelledError)
                assert isinstance(outcome, ends)

    await asyncio.gather(*(keep_leading() for _ in range(4)))
    assert epochs == sorted(set(epochs))


async def test_lead__renewed__goes_on(contend: Contend, connection: Connection) -> None:
    leader = await contend(lease_s=30, lease_renew_s=0.01)
    await until(lambda: leader.epochs)
    for longer in (30.1, 30.2):

        async def is_renewed(longer: float = longer) -> bool:
            return await expires(connection) > longer

        await until(is_renewed)
        # Its sessions end; the next renewal opens another one.
        await end_others(connection)
    assert (leader.epochs, leader.cancelled, leader.task.done()) == ([1], False, False)


# --- Losing the lease -------------------------------------------------------------------------


@asynccontextmanager
async def database_lost(_: Connection, proxy: Proxy) -> AsyncIterator[None]:
    proxy.cut()
    yield


@asynccontextmanager
async def row_locked(connection: Connection, _: Proxy) -> AsyncIterator[None]:
    async with connection.transaction():
        await connection.execute("SELECT FROM leases FOR NO KEY UPDATE")
        yield


@pytest.mark.parametrize("renewals_fail", [database_lost, row_locked])
async def test_lead__renewals_fail__work_is_cancelled_and_the_next_one_gets_a_higher_epoch(
    contend: Contend, connection: Connection, database_url: str, renewals_fail: Any
) -> None:
    async with Proxy.to(database_url) as proxy:
        first = await contend(proxy.url, lease_s=0.3, lease_renew_s=0.02, lock_timeout_s=0.05)
        await until(lambda: first.epochs)
        async with renewals_fail(connection, proxy):
            with pytest.raises(LeaseLost):
                await first.task
        assert first.cancelled
        second = await contend()
        await until(lambda: second.epochs)
        assert (first.epochs, second.epochs) == ([1], [2])


async def test_lead__database_lost__replaced_only_after_the_work_was_cancelled(
    contend: Contend, database_url: str
) -> None:
    async with Proxy.to(database_url) as proxy:
        first = await contend(proxy.url, lease_s=0.2, lease_renew_s=0.02)
        await until(lambda: first.epochs)
        second = await contend()
        proxy.cut()
        while not second.epochs:
            assert first.cancelled or not second.epochs
            await asyncio.sleep(0)
        assert first.cancelled


async def test_lead__taken_by_another__lost_with_the_next_renewal_and_left_to_it(
    contend: Contend, connection: Connection
) -> None:
    leader = await contend(lease_s=3600, lease_renew_s=0.02)
    await until(lambda: leader.epochs)
    assert await take_over(connection) == 2
    theirs = await connection.fetchrow("SELECT * FROM leases")
    async with asyncio.timeout(10):
        with pytest.raises(LeaseLost):
            await leader.task
    assert leader.cancelled
    assert await connection.fetchrow("SELECT * FROM leases") == theirs


async def test_lead__frozen_past_its_lease__what_it_was_about_to_write_changes_nothing(
    database: Database, connection: Connection, database_url: str, settings: Settings
) -> None:
    await write(connection, "x:1")
    writes: list[bool] = []

    async def work(epoch: int) -> None:
        with psycopg.connect(database_url, autocommit=True) as another:
            while not another.execute(
                "UPDATE leases SET epoch = epoch + 1, expires = now() + interval '1 hour' "
                "WHERE expires <= clock_timestamp()"
            ).rowcount:
                time.sleep(0.01)  # noqa: ASYNC251, the process stands still
        writing = asyncio.create_task(advance(connection, epoch))
        try:
            await asyncio.shield(writing)
        finally:  # by now it is cancelled
            writes.append(await writing)

    quick = settings.changed(lease_s=0.2, lease_renew_s=0.05).tasks
    with pytest.raises(LeaseLost):
        await lead(RELAY, database, work, poll_s=0.01, settings=quick)
    assert writes == [False]
    assert await state(connection) == NOTHING
    assert await epoch_of(connection) == 2


# --- Writing by an epoch ----------------------------------------------------------------------


async def advance(connection: Connection, epoch: int) -> bool:
    """Note the first event as delivered; tell whether the epoch allows it."""
    [event] = await queries.outbox.read_events(connection, xid=0, position=0, page_size=1)
    [row] = await queries.outbox.advance_cursor(
        connection,
        epoch=epoch,
        xid=event["xid"],
        position=event["position"],
        last_position=event["position"],
    )
    return row["leads"]


async def park(connection: Connection, epoch: int) -> bool:
    """Park the first event; tell whether the epoch allows it."""
    [event] = await queries.outbox.read_events(connection, xid=0, position=0, page_size=1)
    [row] = await queries.outbox.park_event(
        connection,
        epoch=epoch,
        xid=event["xid"],
        position=event["position"],
        status=400,
        error="no",
    )
    return row["leads"]


async def state(connection: Connection) -> tuple[int, list[str]]:
    """The place of the cursor, and the subjects that are parked."""
    place: int = await connection.fetchval("SELECT position FROM outbox_cursor")
    parked = await connection.fetch("SELECT subject FROM outbox_dead_letters ORDER BY refused_at")
    return place, [row["subject"] for row in parked]


Writes: TypeAlias = Callable[[Connection, int], Coroutine[Any, Any, bool]]
NOTHING: tuple[int, list[str]] = (0, [])
DONE: Mapping[Writes, tuple[int, list[str]]] = {advance: (1, []), park: (0, ["x:1"])}
both_writes = pytest.mark.parametrize("writes", [advance, park])


@both_writes
async def test_write__epoch_of_another_holder__changes_nothing(
    connection: Connection, writes: Writes
) -> None:
    await write(connection, "x:1")
    assert not await writes(connection, 1)  # there is no lease yet
    first, second = [await take_over(connection) for _ in range(2)]
    assert not await writes(connection, first)
    assert not await writes(connection, second + 1)
    assert await state(connection) == NOTHING
    assert await writes(connection, second)
    assert await state(connection) == DONE[writes]


@both_writes
async def test_write__lease_has_expired_but_is_nobody_else_s__goes_through(
    connection: Connection, writes: Writes
) -> None:
    await write(connection, "x:1")
    epoch = await take_over(connection)
    await expire(connection)
    assert await writes(connection, epoch)
    assert await state(connection) == DONE[writes]


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Connection]:
    """A connection of the leader that is to be replaced."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@both_writes
@pytest.mark.parametrize("ends", ["commit", "rollback"])
async def test_takeover__leader_s_transaction_is_open__waits_for_it_and_sees_what_it_did(
    contend: Contend, connection: Connection, other: Connection, writes: Writes, ends: str
) -> None:
    await write(connection, "x:1")
    epoch = await take_over(connection)
    await expire(connection)
    transaction = other.transaction()
    await transaction.start()
    assert await writes(other, epoch)
    # Before it has the lease, another process can't read the cursor where it will not stay.
    successor = await contend(lock_timeout_s=60, statement_timeout_s=60)

    async def is_waiting() -> bool:
        return await count_waiting(connection) == 1

    await until(is_waiting)
    assert successor.epochs == []
    await getattr(transaction, ends)()
    await until(lambda: successor.epochs)
    assert successor.epochs == [epoch + 1]
    assert await state(connection) == (DONE[writes] if ends == "commit" else NOTHING)


@both_writes
@pytest.mark.parametrize("ends", ["commit", "rollback"])
async def test_write__takeover_is_under_way__waits_for_it(
    connection: Connection, other: Connection, database: Database, writes: Writes, ends: str
) -> None:
    await write(connection, "x:1")
    epoch = await take_over(connection)
    transaction = connection.transaction()
    await transaction.start()
    await take_over(connection)
    writing = asyncio.create_task(writes(other, epoch))

    async def is_waiting() -> bool:
        async with database.connection() as watcher:
            return await count_waiting(watcher) == 1

    await until(is_waiting)
    await getattr(transaction, ends)()
    assert await writing is (ends == "rollback")
    assert await state(connection) == (DONE[writes] if ends == "rollback" else NOTHING)


async def test_take__held_and_its_row_locked__refused_without_waiting(
    connection: Connection, other: Connection
) -> None:
    await take_over(connection)
    async with connection.transaction(), asyncio.timeout(10):
        await connection.execute("SELECT FROM leases FOR UPDATE")
        taken = await queries.leases.take(other, name=RELAY, holder="other", duration=LONG)
    assert taken == []


@pytest.mark.parametrize("is_ahead", [False, True])
@pytest.mark.parametrize("is_first", [False, True])
async def test_advance__leader_of_the_previous_release_at_the_same_time__never_moved_back(
    connection: Connection, other: Connection, database: Database, *, is_ahead: bool, is_first: bool
) -> None:
    """It asks for no epoch: its lead is an advisory lock."""
    await write(connection, "x:1", "x:2")
    epoch = await take_over(connection)
    near, far = await queries.outbox.read_events(connection, xid=0, position=0, page_size=2)
    theirs, ours = (far, near) if is_ahead else (near, far)

    async def advance_as_before(own: Connection) -> None:
        xid, position = theirs["xid"], theirs["position"]
        await own.execute(ADVANCE_OF_PREVIOUS_RELEASE, xid, position, position)

    async def advance_now(own: Connection) -> None:
        xid, position = ours["xid"], ours["position"]
        [row] = await queries.outbox.advance_cursor(
            own, epoch=epoch, xid=xid, position=position, last_position=position
        )
        assert row["leads"]

    async def is_waiting() -> bool:
        async with database.connection() as watcher:
            return await count_waiting(watcher) == 1

    first, second = (
        (advance_as_before, advance_now) if is_first else (advance_now, advance_as_before)
    )
    async with connection.transaction():
        await first(connection)
        waiting = asyncio.create_task(second(other))
        await until(is_waiting)
    await waiting
    [cursor] = await queries.outbox.read_cursor(connection)
    assert (cursor["xid"], cursor["position"]) == (far["xid"], far["position"])
