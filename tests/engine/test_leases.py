"""Leases: one process leads at a time, and one that can't renew its lease is replaced."""

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import TypeAlias

import pytest

from rowlock.engine.database import Database
from rowlock.engine.leases import lead
from rowlock.engine.statements import queries
from rowlock.settings import Settings
from tests.support.databases import rolled_back
from tests.support.leases import RELAY, Contend, Contender, expire, take_over
from tests.support.polling import until
from tests.support.proxy import Proxy
from tests.support.sessions import count_waiting, end_others
from tests.support.types import Connection

NEVER = {"lease_s": 3600, "lease_renew_s": 3600}  # neither expires nor is renewed


async def term_s(connection: Connection) -> float:
    """For how long the holder has the lease, from when it took it, if it is not renewed again."""
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
    await until(lambda: second.epochs)
    assert (first.epochs, second.epochs) == ([1], [2])
    [outcome] = await asyncio.gather(first.task, return_exceptions=True)
    assert type(outcome) is (type(None) if error is None else error)
    assert not second.task.done()


async def test_lead__many_contend_again_and_again__one_at_a_time_and_each_epoch_once(
    database_url: str, settings: Settings
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
    quick = settings.changed(lease_s=0.3, lease_renew_s=0.1)

    async def keep_leading() -> None:
        async with Database(database_url, settings.database) as database:
            while len(epochs) < 30:
                leases = quick.changed(relay_lead_poll_s=rng.random() * 0.005).leases
                turn = asyncio.create_task(lead(RELAY, database, work, leases))
                await asyncio.wait([turn], timeout=rng.random() * 0.05)
                turn.cancel()
                [outcome] = await asyncio.gather(turn, return_exceptions=True)
                ends = (type(None), RuntimeError, asyncio.CancelledError)
                assert isinstance(outcome, ends)

    await asyncio.gather(*(keep_leading() for _ in range(4)))
    assert epochs == sorted(set(epochs))


async def test_lead__renewed__goes_on(contend: Contend, connection: Connection) -> None:
    leader = await contend(lease_s=30, lease_renew_s=0.2)
    await until(lambda: leader.epochs)
    for longer in (30.1, 30.2):

        async def is_renewed(longer: float = longer) -> bool:
            return await term_s(connection) > longer

        await until(is_renewed)
        # Its sessions end; the next renewal opens another one.
        await end_others(connection)
    assert (leader.epochs, leader.cancelled, leader.task.done()) == ([1], False, False)


async def test_lead__renewals_fail_for_a_while__goes_on(
    contend: Contend, connection: Connection, database_url: str
) -> None:
    leader = await contend(lease_s=30, lease_renew_s=0.5, lock_timeout_s=0.05)
    await until(lambda: leader.epochs)

    async def is_waiting() -> bool:
        return await count_waiting(connection) > 0

    async def has_given_up() -> bool:
        return not await is_waiting()

    async with rolled_back(database_url) as another:
        await another.execute("SELECT FROM leases FOR NO KEY UPDATE")
        await until(is_waiting)
        await until(has_given_up)
    held = await term_s(connection)

    async def is_renewed() -> bool:
        return await term_s(connection) > held

    await until(is_renewed)
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


Fault: TypeAlias = Callable[[Connection, Proxy], AbstractAsyncContextManager[None]]


@pytest.mark.parametrize("renewals_fail", [database_lost, row_locked])
async def test_lead__renewals_fail__work_is_cancelled_and_the_next_one_gets_a_higher_epoch(
    contend: Contend, connection: Connection, database_url: str, renewals_fail: Fault
) -> None:
    async with Proxy.to(database_url) as proxy:
        first = await contend(proxy.url, lease_s=2.0, lease_renew_s=0.2, lock_timeout_s=0.05)
        await until(lambda: first.epochs)
        async with renewals_fail(connection, proxy):
            await until(lambda: first.cancelled)
            await first.stop()
        second = await contend()
        await until(lambda: second.epochs)
        assert (first.epochs, second.epochs) == ([1], [2])


async def test_lead__database_lost__replaced_only_after_the_work_was_cancelled(
    contend: Contend, database_url: str
) -> None:
    async with Proxy.to(database_url) as proxy:
        first = await contend(proxy.url, lease_s=2.0, lease_renew_s=0.2)
        await until(lambda: first.epochs)
        second = await contend()
        proxy.cut()
        await until(lambda: second.epochs)
        assert first.cancelled
        assert first.ended_at <= second.began_at


async def test_lead__taken_by_another__lost_with_the_next_renewal_and_left_to_it(
    contend: Contend, connection: Connection
) -> None:
    leader = await contend(lease_s=3600, lease_renew_s=0.2)
    await until(lambda: leader.epochs)
    assert await take_over(connection) == 2
    theirs = await connection.fetchrow("SELECT * FROM leases")
    await until(lambda: leader.cancelled)
    assert await connection.fetchrow("SELECT * FROM leases") == theirs
    await expire(connection)
    await until(lambda: len(leader.epochs) == 2)
    assert leader.epochs == [1, 3]


async def test_lead__a_renewal_hangs__the_next_one_comes_in_time(
    contend: Contend, connection: Connection, database_url: str
) -> None:
    lost: list[bytes] = []

    def loses(data: bytes) -> bool:
        if leader is None or not leader.epochs or lost:
            return False
        lost.append(data)
        return True

    leader: Contender | None = None
    async with Proxy.to(database_url, loses) as proxy:
        leader = await contend(proxy.url, lease_s=5, lease_renew_s=0.5)
        await until(lambda: lost)
        held = await term_s(connection)

        async def is_renewed() -> bool:
            return await term_s(connection) > held

        await until(is_renewed)
        assert (leader.epochs, leader.cancelled) == ([1], False)


async def test_renew__comes_after_the_release__does_not_bring_the_lease_back(
    connection: Connection,
) -> None:
    epoch = await take_over(connection)
    await queries.leases.release(connection, name=RELAY, epoch=epoch)
    renewed = await queries.leases.renew(
        connection, name=RELAY, epoch=epoch, duration=timedelta(hours=1)
    )
    assert renewed == []
