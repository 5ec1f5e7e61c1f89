"""Epochs: a leader that has been replaced, and may not know it, can write nothing."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, TypeAlias

import asyncpg
import psycopg
import pytest

from rowlock.engine.database import Database
from rowlock.engine.leases import lead
from rowlock.engine.statements import queries
from rowlock.settings import Settings
from tests.support.delivery import write
from tests.support.leases import (
    ADVANCE_OF_PREVIOUS_RELEASE,
    RELAY,
    Contend,
    epoch_of,
    expire,
    take_over,
)
from tests.support.polling import until
from tests.support.sessions import count_waiting
from tests.support.types import Connection

HOUR = timedelta(hours=1)


async def advance(connection: Connection, epoch: int) -> bool:
    """Note the first event as delivered; tell whether the epoch allows it."""
    [event] = await queries.outbox.read_events(connection, xid=0, position=0, page_size=1)
    [row] = await queries.outbox.advance_cursor(
        connection,
        lease=RELAY,
        epoch=epoch,
        xid=event["xid"],
        position=event["position"],
        last_position=event["position"],
        log=None,
    )
    return row["leads"]


async def park(connection: Connection, epoch: int) -> bool:
    """Park the first event; tell whether the epoch allows it."""
    [event] = await queries.outbox.read_events(connection, xid=0, position=0, page_size=1)
    [row] = await queries.outbox.park_event(
        connection,
        lease=RELAY,
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
        taken = await queries.leases.take(other, name=RELAY, holder="other", duration=HOUR)
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
            own,
            lease=RELAY,
            epoch=epoch,
            xid=xid,
            position=position,
            last_position=position,
            log=None,
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

    quick = settings.changed(lease_s=0.2, lease_renew_s=0.05, relay_lead_poll_s=0.01).leases
    leading = asyncio.create_task(lead(RELAY, database, work, quick))
    await until(lambda: writes)
    leading.cancel()
    await asyncio.wait([leading])
    assert writes == [False]
    assert await state(connection) == NOTHING
    assert await epoch_of(connection) == 2
