"""Connections to PostgreSQL by asyncpg, for any URL that the settings take.

asyncpg has no option for TCP keepalives, nor for the names of prepared statements, so two of its
private names are used, `Connection._transport` and `_get_unique_id`; setup.cfg pins asyncpg to its
minor version.
"""

import asyncio
import contextlib
import itertools
import math
import secrets
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from rowlock.engine import clusters
from rowlock.engine.clusters import Cluster, Host, Sight
from rowlock.engine.statements import queries
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
    used, unless the URL asks for another kind of server. The last primary is tried first, and those
    that have failed lately are last. Each next one is tried once those before have said nothing for
    a second; what they say later counts, too. All of them together have `timeout` seconds, or as
    many as the URL's `connect_timeout` if that is longer. Raises asyncpg's errors, OSError
    (NotPrimary is one) and TimeoutError.
    """
    target = database_urls.target(url)
    first, *others = target.hosts or (None,)
    if not others:
        return await _dial(target, first, target.connect_timeout_s or timeout, options)
    within_s = max(timeout, target.connect_timeout_s or 0)
    term = _Term(within_s, target.connect_timeout_s)
    cluster = cluster_of(url, target)
    if cluster is not None:
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

    @property
    def rest(self) -> float:
        """The seconds for a host beside which others are tried."""
        return self.share(1, math.inf)


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
    return await _dial(target, host, target.connect_timeout_s or CONNECT_TIMEOUT_S, options)


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

    async with asyncio.timeout(term.rest):  # it is shared: another's may take longer
        await cluster.survey(ask_all)
    while True:
        changes = cluster.changes
        try:
            return await _race(target, cluster, term, options)
        except NEXT_HOST:
            if cluster.changes == changes or term.is_over:
                raise


async def _race(target: Target, cluster: Cluster, term: _Term, options: dict[str, Any]) -> Direct:
    """Return the first connection to the primary. The next host is dialled after each second."""
    hosts = deque(cluster.in_order())
    dials: dict[asyncio.Task[tuple[_Connection, Sight]], Host] = {}
    failure: Exception | None = None
    try:
        while hosts or dials:
            if hosts:
                host = hosts.popleft()
                meeting = _meet(target, cluster, host, term.rest, options)
                dials[asyncio.create_task(meeting)] = host
            done, _ = await asyncio.wait(
                dials,
                timeout=HOST_TIMEOUT_S if hosts else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not done:
                cluster.failed(host)
            for dial in done:
                try:
                    connection, sight = await dial
                    cluster.admit(dials[dial], sight, connection)
                except NEXT_HOST as error:
                    failure = error
                else:
                    del dials[dial]
                    return connection
                _drop(dial)
                del dials[dial]
    finally:
        for dial in dials:
            dial.cancel()
            dial.add_done_callback(_drop)
    assert failure is not None
    raise failure


def _drop(dial: asyncio.Task[tuple[_Connection, Sight]]) -> None:
    """Close the connection that a dial has opened, if it has."""
    if not dial.cancelled() and dial.exception() is None:
        dial.result()[0].terminate()


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
