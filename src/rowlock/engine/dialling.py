"""Connections to PostgreSQL by each driver, for any URL that the settings take.

asyncpg has no option for TCP keepalives, nor for the names of prepared statements, so two of its
private names are used, `Connection._transport` and `_get_unique_id`; setup.cfg pins asyncpg to its
minor version.
"""

import asyncio
import contextlib
import itertools
import math
import os
import secrets
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import psycopg

from rowlock.engine import clusters
from rowlock.engine.clusters import Cluster, Host, NotPrimary, Sight
from rowlock.engine.statements import queries
from rowlock.errors import DatabaseUnavailable
from rowlock.settings import database_urls
from rowlock.settings.database_urls import Target

PROCESS = secrets.token_hex(4)
_numbers = itertools.count(1)

if TYPE_CHECKING:
    _Base = asyncpg.Connection[asyncpg.Record]
else:
    _Base = asyncpg.Connection

Direct: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
PoolConnection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnection"
Prepare: TypeAlias = Callable[[Any], Awaitable[object]]
Dial: TypeAlias = Callable[..., Awaitable[Direct]]

CONNECT_TIMEOUT_S = 5
# For one of several hosts, where its URL has no connect_timeout.
HOST_TIMEOUT_S = 1.0
# A connection that has not been used for so long is closed: each is a process of the server's, and
# opening another one takes it some milliseconds.
REST_S = 60.0
# By libpq's names, where the system has them.
SOCKET_OPTIONS = {
    "keepalives_idle": "TCP_KEEPIDLE",
    "keepalives_interval": "TCP_KEEPINTVL",
    "keepalives_count": "TCP_KEEPCNT",
    "tcp_user_timeout": "TCP_USER_TIMEOUT",
}
# The host can't be reached, is starting or stopping, or is a standby: the next one may do.
NEXT_HOST = (
    OSError,
    TimeoutError,
    asyncpg.CannotConnectNowError,
    asyncpg.TargetServerAttributeNotMatched,
)


class _Connection(_Base):
    """A connection whose prepared statements have names that no other process uses.

    asyncpg counts from 1 in each process: behind a pooler that mixes up sessions, one process would
    run another's statement.
    """

    __slots__ = ("checks_epoch", "checks_recovery", "is_reading")

    checks_epoch: bool  # whether each BEGIN must check that the epoch of the cluster holds
    checks_recovery: bool  # whether reads must check that no standby answers
    is_reading: bool  # in a transaction of its own, with the savepoint of engine/statements

    def note(self, **states: bool) -> None:
        """Set some of these. What a pool has lent passes on calls, but takes no attributes."""
        for name, is_so in states.items():
            setattr(self, name, is_so)

    def _get_unique_id(self, prefix: str) -> str:
        return f"__rowlock_{prefix}_{PROCESS}_{next(_numbers):x}__"

    def abort(self) -> None:
        """Lose the connection, as if the server had closed it, whatever it is used for now.

        After `terminate` a statement that runs meanwhile may fail with any error.
        """
        transport: Any = self._transport  # type: ignore[attr-defined]
        transport.abort()


async def connect(url: str, *, timeout: float = CONNECT_TIMEOUT_S, **options: Any) -> Direct:  # noqa: ASYNC109
    """Return a connection of asyncpg's, which takes further `options`.

    One host has `timeout` seconds, or the URL's `connect_timeout`. Of several hosts the primary is
    used, unless the URL asks for another kind of server. They are tried one by one, the last
    primary first and those that have failed lately last. Each has a second, or the URL's
    `connect_timeout`, but all of them together no more than `timeout`, or the URL's if that is
    longer: a silent one leaves the others their share. Raises asyncpg's errors, OSError (NotPrimary
    is one) and TimeoutError.
    """
    target = database_urls.target(url)
    first, *others = target.hosts or (None,)
    if not others:
        return await _dial(target, first, target.connect_timeout_s or timeout, options)
    within_s = max(timeout, target.connect_timeout_s or 0)
    term = _Term(within_s, target.connect_timeout_s)
    cluster = cluster_of(url, target)
    if cluster is not None:
        async with asyncio.timeout(within_s):  # the survey is shared: another's may take longer
            return await _dial_primary(target, cluster, term, options)
    failure: Exception
    for left, host in _counted_down(target.hosts):
        try:
            return await _dial(target, host, term.share(left, within_s), options)
        except NEXT_HOST as error:
            failure = error
    raise failure


class _Term:
    """The time that there is to connect to one of several hosts."""

    def __init__(self, within_s: float, each_s: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._ends = self._loop.time() + within_s
        self._each_s = each_s  # the URL's connect_timeout

    @property
    def is_over(self) -> bool:
        return self._loop.time() >= self._ends

    def share(self, hosts: int, default_s: float = HOST_TIMEOUT_S) -> float:
        """Return the seconds for the next one of `hosts` that are left to try."""
        left_s = max(0.0, self._ends - self._loop.time())
        return min(self._each_s or default_s, left_s / hosts)


def _counted_down(hosts: Sequence[Host]) -> Iterator[tuple[int, Host]]:
    """Yield each host, with how many are left, itself included."""
    yield from zip(range(len(hosts), 0, -1), hosts, strict=True)


def cluster_of(url: str, target: Target) -> Cluster | None:
    """Return what is known of the hosts of `url`, or None unless it is for the primary of several.

    `target` is what the URL says.
    """
    return clusters.behind(url, target.hosts) if target.wants_primary else None


async def connect_to(url: str, host: Host, **options: Any) -> Direct:
    """Return a connection to one of the hosts of `url`, primary or not. Raises as `connect`."""
    target = database_urls.target(url)
    return await _dial(target, host, target.connect_timeout_s or HOST_TIMEOUT_S, options)


async def look(connection: Direct) -> Sight:
    """Return what a server says of itself."""
    [row] = await queries.cluster.describe_server(connection)
    return Sight(row["in_recovery"], row["timeline"], row["system_identifier"])


async def _dial_primary(
    target: Target,
    cluster: Cluster,
    term: _Term,
    options: dict[str, Any],
) -> Direct:
    """Return a connection to the primary, wherever it goes meanwhile."""
    # They are asked at once, and the primary must then be dialled.
    each = term.share(2)

    async def ask(host: Host) -> None:
        """Ask one host, whatever the others say meanwhile."""
        try:
            async with asyncio.timeout(each):
                connection, sight = await _greet(target, host, each, options)
        except NEXT_HOST:
            cluster.failed(host)
        except (asyncpg.PostgresError, asyncpg.InterfaceError):
            pass  # it answers, and will say the same to those who need it
        else:
            connection.terminate()
            cluster.saw(host, sight)

    async def ask_all() -> None:
        await asyncio.gather(*(ask(host) for host in cluster.hosts))

    await cluster.survey(ask_all)
    while True:
        changes = cluster.changes
        failure: Exception
        for left, host in _counted_down([*cluster.in_order()]):
            try:
                connection, sight = await _meet(target, cluster, host, term.share(left), options)
            except NEXT_HOST as error:
                failure = error
                continue
            try:
                cluster.admit(host, sight, connection)
            except NotPrimary as error:
                connection.terminate()
                failure = error
            else:
                return connection
        if cluster.changes == changes or term.is_over:
            raise failure


async def _meet(
    target: Target,
    cluster: Cluster,
    host: Host,
    within_s: float,
    options: dict[str, Any],
) -> tuple[_Connection, Sight]:
    """Return a connection to `host` and what that says of itself. Raises as `connect`."""
    changes = cluster.changes
    try:
        async with cluster.patience(host, within_s):
            return await _greet(target, host, within_s, options)
    except NEXT_HOST:
        if cluster.changes == changes:
            cluster.failed(host)
        raise


async def _greet(
    target: Target, host: Host, within_s: float, options: dict[str, Any]
) -> tuple[_Connection, Sight]:
    connection = await _dial(target, host, within_s, options)
    try:
        return connection, await look(connection)
    except BaseException:
        connection.terminate()
        raise


async def open_pool(dial: Dial, url: str, size: int, prepare: Prepare, **options: Any) -> Pool:
    """Return a pool of at most `size` connections; `prepare` is called with each new one.

    `dial` opens them, as `connect` does.
    """
    create: Any = asyncpg.create_pool  # whose stub wants every argument of `connect` named
    pool: Pool = await create(
        url,
        connect=dial,
        min_size=0,
        max_size=size,
        max_inactive_connection_lifetime=REST_S,
        init=prepare,
        reset=_keep_session,
        **options,
    )
    return pool


async def _keep_session(_: object) -> None:
    """Do nothing: asyncpg's RESET ALL costs a round trip, and would undo the timeouts."""


async def _dial(
    target: Target,
    host: Host | None,
    within_s: float,
    options: dict[str, Any],
) -> _Connection:
    own = options.get("server_settings", {})
    arguments = {**target.options, **options, "timeout": within_s, "connection_class": _Connection}
    arguments["server_settings"] = target.options.get("server_settings", {}) | own
    if host is not None:
        arguments["host"], arguments["port"] = host
    connection: _Connection = await asyncpg.connect(**arguments)
    connection.note(checks_epoch=False, checks_recovery=False, is_reading=False)
    _keep_alive(connection, target)
    return connection


def is_closed(connection: Connection) -> bool:
    """Tell whether a connection is closed, perhaps one that its pool has taken back."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True  # it was broken


def discard(connection: Connection) -> None:
    """End a connection at once, if that has not happened. No statement is cancelled."""
    with contextlib.suppress(asyncpg.InterfaceError):
        connection.terminate()


def _keep_alive(connection: Direct, target: Target) -> None:
    """Let the kernel notice a server that is gone, as libpq does unless the URL says otherwise."""
    transport: Any = connection._transport  # type: ignore[attr-defined]
    own = transport.get_extra_info("socket")
    if own.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    with contextlib.suppress(OSError):  # the connection is gone: its first use says so
        own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, target.socket.get("keepalives", 1))
        for name, value in target.socket.items():
            option = getattr(socket, SOCKET_OPTIONS.get(name, ""), None)
            if option is not None and value:  # 0: the system's default
                own.setsockopt(socket.IPPROTO_TCP, option, value)


def connect_psycopg(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    """Return a connection of psycopg's in autocommit mode, to the same server as `connect` does.

    Raises DatabaseUnavailable.
    """
    target = database_urls.target(url)
    cluster = cluster_of(url, target)
    if cluster is None:
        return _open_psycopg(url)
    if not cluster.is_surveyed:
        for host in cluster.hosts:
            with contextlib.suppress(DatabaseUnavailable):
                _meet_psycopg(url, cluster, host)[0].close()
        cluster.is_surveyed = cluster.primary is not None
    failures = []
    for host in [*cluster.in_order()]:
        try:
            connection, sight = _meet_psycopg(url, cluster, host)
        except DatabaseUnavailable as error:
            failures.append(error.message)
            continue
        try:
            cluster.admit(host, sight)
        except NotPrimary as error:
            connection.close()
            failures.append(f"The database can't be reached: {error}")
        else:
            return connection
    raise DatabaseUnavailable("\n".join(failures))


def _meet_psycopg(
    url: str, cluster: Cluster, host: Host
) -> tuple[psycopg.Connection[tuple[Any, ...]], Sight]:
    """Return a connection to `host` and what that says of itself. Raises DatabaseUnavailable."""
    try:
        connection = _open_psycopg(url, host)
        try:
            sight = _look_psycopg(connection)
        except BaseException:
            connection.close()
            raise
    except DatabaseUnavailable:
        cluster.failed(host)
        raise
    cluster.saw(host, sight)
    return connection, sight


def _look_psycopg(connection: psycopg.Connection[tuple[Any, ...]]) -> Sight:
    """Return what a server says of itself. Raises DatabaseUnavailable.

    A server that was frozen after it has let us in says nothing, for ever. The driver has no limit
    for that, so its socket is shut down.
    """
    described = queries.find("cluster/describe_server")
    assert described is not None
    with socket.socket(fileno=os.dup(connection.fileno())) as own:
        alarm = threading.Timer(HOST_TIMEOUT_S, _shut_down, [own])
        alarm.start()
        try:
            row = connection.execute(described.sql.encode()).fetchone()
        except psycopg.Error as error:
            raise DatabaseUnavailable(f"The database can't be reached: {error}") from error
        finally:
            alarm.cancel()
            alarm.join()
    assert row is not None
    return Sight(*row)


def _shut_down(own: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed
        own.shutdown(socket.SHUT_RDWR)


def _open_psycopg(url: str, host: Host | None = None) -> psycopg.Connection[tuple[Any, ...]]:
    timeout = CONNECT_TIMEOUT_S if host is None else math.ceil(HOST_TIMEOUT_S)
    arguments = database_urls.for_psycopg(url, timeout)
    if host is not None:
        arguments["host"], arguments["port"] = host
    try:
        return psycopg.connect(autocommit=True, **arguments)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"The database can't be reached: {error}") from error
