"""Reading lists from standbys, as long as one is near enough to the primary.

A process stays with one standby for as long as that works, so that time does not run backwards for
its readers. Each service asks the primary and each standby every `watch_s` how far they are
(`engine/replication`); all of its reads share the answers.
"""

import asyncio
import contextvars
import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import WeakSet

import structlog

from rowlock.engine import dialling
from rowlock.engine.clusters import SHUN_S, Host, name_of
from rowlock.engine.dialling import (
    HOST_TIMEOUT_S,
    Connection,
    Direct,
    Pool,
    Prepare,
    discard,
    is_closed,
)
from rowlock.engine.faults import DRIVER_ERRORS, RETRYABLE, forget_values, is_lost
from rowlock.engine.replication import Facts, Follower, Progress, describe
from rowlock.engine.slots import Slots
from rowlock.engine.tasks import Task
from rowlock.errors import DatabaseBusy, Overloaded
from rowlock.origin import FRESH
from rowlock.settings import database_urls
from rowlock.settings.groups import DatabaseSettings

T = TypeVar("T")

# A standby that was left, or never used, must be nearer than one that is in use: else reads would
# switch back and forth.
NEAR = 0.5
TIMED_OUT = "57014"  # statement_timeout

PRIMARY, STANDBY = "primary", "standby"  # what was read from
NEAR_ENOUGH = "near"  # why from a standby
# Why from the primary: the client has asked for it, or no standby was near enough; or the read was
# begun on a standby, and replay was in its way, the standby went, it failed, or did not suffice.
ASKED, BEHIND = "asked", "behind"
CONFLICT, LOST, FAILED, INCOMPLETE = "conflict", "lost", "failed", "incomplete"

logger = structlog.get_logger(__name__)


class AnotherServer(ConnectionError):
    """A connection leads to another server than the one that is watched under this name."""


class Found(NamedTuple, Generic[T]):
    """What was read on a standby."""

    value: T


class _Failure(Exception):
    """The read has failed, and is to be done on the primary."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Standby:
    """One host of the URL for reads, and a pool of connections to it."""

    def __init__(
        self,
        url: str,
        host: Host,
        settings: DatabaseSettings,
        size: int,
        options: Mapping[str, Any],
    ) -> None:
        self.host = host
        self.problem: str | None = "it has not answered yet"
        self.as_of = -math.inf  # it has all that was acknowledged before, by the loop's clock
        self._slots = Slots(size, settings.pool_queue, settings.acquire_timeout_s)
        self._url = url
        self._settings = settings
        self._size = size
        self._options = dict(options)
        self._name: str = options["server_settings"]["application_name"]
        self._follower = Follower()
        self._other: Facts | None = None  # of a server that was met under this name, if another
        self._shunned_until = -math.inf  # by the loop's clock
        self._connections: WeakSet[Any] = WeakSet()
        self._pool: Pool | None = None

    async def open(self, prepare: Prepare) -> None:
        """Make the pool, which connects on first use."""
        self._pool = await dialling.open_pool(
            self._dial, self._url, self._size, prepare, **self._options
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._pool is not None:
            await self._pool.close()

    def judge(self, facts: Facts, progress: Progress) -> None:
        """Take in what the server says of itself.

        Raises AnotherServer if the name has led to two that are both up; it is not used for a while
        then, as each new connection would lead to one or the other.
        """
        before, other, self._other = self._follower.facts, self._other, None
        problem = self._follower.problem(facts, progress)
        if before is not None and before.started != facts.started:
            self._end_connections()  # they lead to the server that was watched before
        if other is not None and other.started != facts.started and other.asked < facts.asked:
            self._shunned_until = facts.asked + SHUN_S
            raise AnotherServer(f"{name_of(self.host)} leads to several servers")
        if facts.asked < self._shunned_until:
            return
        as_of = progress.as_of(facts.position)
        self._note(problem, -math.inf if as_of is None else as_of)

    def fail(self, error: BaseException) -> None:
        """Note that the server has not answered. If that goes on, all its connections end."""
        self._note(f"{type(error).__name__}: {error}", -math.inf)
        now = asyncio.get_running_loop().time()
        facts = self._follower.facts
        if facts is not None and now - facts.asked >= HOST_TIMEOUT_S:
            # It may be frozen: then its connections stay open, and what waits for them waits on. A
            # primary gets more time: here nothing is lost but a read, which is done there instead.
            self._end_connections()

    def _end_connections(self) -> None:
        for connection in [*self._connections]:
            connection.abort()

    def _note(self, problem: str | None, as_of: float) -> None:
        if (problem is None) != (self.problem is None):
            # The reasons change as a server restarts; one line says that it is of no use.
            if problem is None:
                _log(logger.info, "standby_answers", self._name, self.host)
            else:
                _log(logger.warning, "standby_not_usable", self._name, self.host, error=problem)
        self.problem, self.as_of = problem, as_of

    async def _dial(self, url: str, **options: Any) -> Direct:
        """Return a connection to the very server that is watched, so that its answers hold for it.

        Raises AnotherServer if it is not: that one was restarted, or its name leads to several.
        """
        connection = await dialling.connect_to(url, self.host, **options)
        try:
            facts, watched = await describe(connection), self._follower.facts
            if watched is None or facts.started != watched.started:
                self._other = facts
                raise AnotherServer(f"{name_of(self.host)} leads to another server")
        except BaseException:
            connection.terminate()
            raise
        self._connections.add(connection)
        return connection

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._slots.taken())
            except Overloaded:
                # The primary need not bear what is too much for a standby.
                if self.problem is None and not self._is_silent():
                    raise
                raise _Failure(LOST) from None
            if self.problem is not None:  # it went while this waited
                raise _Failure(LOST)
            yield

    def _is_silent(self) -> bool:
        """Whether it owes an answer to its watcher, which has a connection of its own."""
        facts = self._follower.facts
        now = asyncio.get_running_loop().time()
        return facts is None or now - facts.asked > max(HOST_TIMEOUT_S, 2 * self._settings.watch_s)

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Connection]:
        """Lend a connection. Raises _Failure if that, or what is done meanwhile, fails.

        Raises DatabaseBusy if a statement took too long, and Overloaded as `Database.reader` does.
        """
        assert self._pool is not None
        async with self._slot():
            try:
                async with asyncio.timeout(self._settings.acquire_timeout_s):
                    connection = await self._pool.acquire()
            except DRIVER_ERRORS as error:
                self._note(f"{type(error).__name__}: {error}", -math.inf)  # until it answers again
                raise _Failure(LOST) from error
            try:
                yield connection
            except DRIVER_ERRORS as error:
                forget_values(error)
                lost = is_lost(error) or is_closed(connection)
                if lost:
                    discard(connection)
                raise _failure(error, lost=lost) from error
            except DatabaseBusy as error:  # a pooler has lost a prepared statement
                raise _Failure(FAILED) from error
            except asyncio.CancelledError:
                discard(connection)
                raise
            finally:
                try:
                    await self._pool.release(connection, timeout=self._settings.acquire_timeout_s)
                except DRIVER_ERRORS:
                    discard(connection)


def _log(
    write: Callable[..., None], event: str, database: str, host: Host, **fields: object
) -> None:
    """Log an event, not as the request that happened to notice. Never raises."""
    with suppress(Exception):
        contextvars.Context().run(write, event, database=database, host=name_of(host), **fields)


def _failure(error: BaseException, *, lost: bool) -> Exception:
    """Return what a driver's error means to a read on a standby."""
    sqlstate = getattr(error, "sqlstate", None)
    if sqlstate == TIMED_OUT:
        return DatabaseBusy()  # it would take the primary as long
    if sqlstate in RETRYABLE:  # replay needs what the statement holds or reads
        return _Failure(CONFLICT)
    return _Failure(LOST if lost else FAILED)


class Standbys:
    """The standbys of a database: one of them is read from while it is near enough."""

    def __init__(
        self,
        urls: tuple[str, str],
        settings: DatabaseSettings,
        size: int,
        prepare: Prepare,
        options: Mapping[str, Any],
    ) -> None:
        """`urls` lead to the primary and to the standbys, each of which gets `size` connections."""
        self._url, self._read_url = urls
        # How long ago a time must be for all that was written with it to be on each standby that is
        # read: it may be behind, and a transaction takes a while from its times to its COMMIT.
        self.settled_s = settings.read_lag_s + settings.statement_timeout_s
        self._settings = settings
        self._prepare = prepare
        self._name: str = options["server_settings"]["application_name"]
        self._look_options: dict[str, Any] = {
            "server_settings": {"application_name": f"{self._name}-lag"},
            "statement_cache_size": 0,  # a pooler may lose them
        }
        hosts = [*dict.fromkeys(database_urls.target(self._read_url).hosts)]
        random.shuffle(hosts)  # processes share the load
        self._standbys = [Standby(self._read_url, host, settings, size, options) for host in hosts]
        self._progress = Progress(settings.read_lag_s)
        self._current: Standby | None = None
        self.tasks = [
            Task("standbys", partial(self._keep_looking, self._dial_primary, self._progress.note)),
            *(
                Task(f"standby {name_of(each.host)}", partial(self._watch, each))
                for each in self._standbys
            ),
        ]
        self.reads: Counter[tuple[str, str]] = Counter()  # by the target, and the reason

    async def open(self) -> None:
        """Make the pools."""
        for standby in self._standbys:
            await standby.open(self._prepare)

    async def close(self) -> None:
        """Close all connections of the pools."""
        for standby in self._standbys:
            await standby.close()

    @property
    def lag(self) -> tuple[Host, float] | None:
        """The standby that is read from, and how many seconds it is behind at most; else None."""
        current = self._choose()
        if current is None:
            return None
        return current.host, asyncio.get_running_loop().time() - current.as_of

    async def read(
        self, work: Callable[[Connection], Awaitable[T]], suffices: Callable[[T], bool]
    ) -> Found[T] | None:
        """Return what `work` reads on a standby; None if it is to be read on the primary."""
        if FRESH.get():
            self.reads[PRIMARY, ASKED] += 1
            return None
        standby = self._choose()
        if standby is None:
            self.reads[PRIMARY, BEHIND] += 1
            return None
        try:
            async with standby.lend() as connection:
                value = await work(connection)
        except _Failure as failure:
            self.reads[PRIMARY, failure.reason] += 1
            return None
        if not suffices(value):
            self.reads[PRIMARY, INCOMPLETE] += 1
            return None
        self.reads[STANDBY, NEAR_ENOUGH] += 1
        return Found(value)

    def _choose(self) -> Standby | None:
        """Return the standby to read from: the last one while it will do, else any."""
        now, limit = asyncio.get_running_loop().time(), self._settings.read_lag_s
        current = self._current
        if current is not None and current.problem is None and now - current.as_of <= limit:
            return current
        self._current = next(
            (
                each
                for each in self._standbys
                if each.problem is None and now - each.as_of <= limit * NEAR
            ),
            None,
        )
        if self._current is not None:
            _log(logger.info, "lists_from_standby", self._name, self._current.host)
        elif current is not None:
            reason = current.problem or f"more than {limit:g} s behind"
            _log(logger.warning, "lists_from_primary", self._name, current.host, reason=reason)
        return self._current

    async def _dial_primary(self) -> Direct:
        return await dialling.connect(
            self._url, timeout=self._settings.connect_timeout_s, **self._look_options
        )

    async def _watch(self, standby: Standby) -> None:
        async def dial() -> Direct:
            return await dialling.connect_to(self._read_url, standby.host, **self._look_options)

        def judge(facts: Facts) -> None:
            standby.judge(facts, self._progress)

        # Half a turn after the primary, whose last answer most standbys then have replayed.
        await asyncio.sleep(self._settings.watch_s / 2)
        await self._keep_looking(dial, judge, standby.fail)

    async def _keep_looking(
        self,
        dial: Callable[[], Awaitable[Direct]],
        tell: Callable[[Facts], None],
        fail: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        """Ask a server again and again, over a connection that is for this alone."""
        connection: Direct | None = None
        try:
            while True:
                try:
                    if connection is None or connection.is_closed():
                        connection = await dial()
                    async with asyncio.timeout(HOST_TIMEOUT_S):
                        facts = await describe(connection)
                    tell(facts)
                except DRIVER_ERRORS as error:
                    if connection is not None:
                        discard(connection)
                        connection = None
                    fail(error)
                await asyncio.sleep(self._settings.watch_s)
        except Exception as error:
            fail(error)
            raise
        finally:
            if connection is not None:
                discard(connection)
