"""Connections to PostgreSQL by each driver, for any URL that the settings take.

asyncpg has no option for TCP keepalives, nor for the names of prepared statements, so two of its
private names are used, `Connection._transport` and `_get_unique_id`; setup.cfg pins asyncpg to its
minor version.
"""

import contextlib
import itertools
import secrets
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import psycopg

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
Prepare: TypeAlias = Callable[[Any], Awaitable[None]]

CONNECT_TIMEOUT_S = 5
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

    __slots__ = ()

    def _get_unique_id(self, prefix: str) -> str:
        return f"__rowlock_{prefix}_{PROCESS}_{next(_numbers):x}__"


async def connect(url: str, *, timeout: float = CONNECT_TIMEOUT_S, **options: Any) -> Direct:  # noqa: ASYNC109
    """Return a connection of asyncpg's, which takes further `options`.

    Hosts are tried one by one, and with several of them the first that takes writes is used. They
    share `timeout`, in seconds, unless the URL gives each a `connect_timeout` of its own. Raises
    asyncpg's errors, OSError and TimeoutError.
    """
    target = database_urls.target(url)
    settings = target.options.get("server_settings", {}) | options.pop("server_settings", {})
    arguments = {**target.options, **options, "server_settings": settings}
    arguments["connection_class"] = _Connection
    if not target.hosts:
        return await _dial(target, timeout=target.connect_timeout_s or timeout, **arguments)
    each = target.connect_timeout_s or timeout / len(target.hosts)
    failure: Exception
    for host, port in target.hosts:
        try:
            return await _dial(target, timeout=each, host=host, port=port, **arguments)
        except NEXT_HOST as error:
            failure = error
    raise failure


async def open_pool(
    url: str, size: int, prepare: Prepare, **options: Any
) -> "asyncpg.Pool[asyncpg.Record]":
    """Return a pool of at most `size` connections; `prepare` is called with each new one."""
    create: Any = asyncpg.create_pool  # whose stub wants every argument of `connect` named
    pool: asyncpg.Pool[asyncpg.Record] = await create(
        url,
        connect=connect,
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


async def _dial(target: Target, **arguments: Any) -> Direct:
    connection: Direct = await asyncpg.connect(**arguments)
    _keep_alive(connection, target)
    return connection


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
    """Return a connection of psycopg's in autocommit mode. Raises DatabaseUnavailable."""
    arguments = database_urls.for_psycopg(url, CONNECT_TIMEOUT_S)
    try:
        return psycopg.connect(autocommit=True, **arguments)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"The database can't be reached: {error}") from error
