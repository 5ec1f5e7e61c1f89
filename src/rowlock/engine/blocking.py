"""Connections to PostgreSQL by psycopg, for what may block: migrations and commands.

They lead to the same server as those of `dialling`, by the same knowledge of its hosts.
"""

import contextlib
import math
import os
import socket
import threading
from typing import Any

import psycopg

from rowlock.engine.clusters import Cluster, Host, NotPrimary, Sight
from rowlock.engine.dialling import CONNECT_TIMEOUT_S, HOST_TIMEOUT_S, cluster_of
from rowlock.engine.statements import queries
from rowlock.errors import DatabaseUnavailable
from rowlock.settings import database_urls


def connect(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    """Return a connection of psycopg's in autocommit mode.

    Raises DatabaseUnavailable.
    """
    target = database_urls.target(url)
    cluster = cluster_of(url, target)
    if cluster is None:
        return _open(url)
    if not cluster.is_surveyed:
        for host in cluster.hosts:
            with contextlib.suppress(DatabaseUnavailable):
                _meet(url, cluster, host)[0].close()
        cluster.is_surveyed = cluster.primary is not None
    failures = []
    for host in [*cluster.in_order()]:
        try:
            connection, sight = _meet(url, cluster, host)
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


def _meet(
    url: str, cluster: Cluster, host: Host
) -> tuple[psycopg.Connection[tuple[Any, ...]], Sight]:
    """Return a connection to `host` and what that says of itself. Raises DatabaseUnavailable."""
    try:
        connection = _open(url, host)
        try:
            sight = _look(connection)
        except BaseException:
            connection.close()
            raise
    except DatabaseUnavailable:
        cluster.failed(host)
        raise
    cluster.saw(host, sight)
    return connection, sight


def _look(connection: psycopg.Connection[tuple[Any, ...]]) -> Sight:
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


def _open(url: str, host: Host | None = None) -> psycopg.Connection[tuple[Any, ...]]:
    timeout = CONNECT_TIMEOUT_S if host is None else math.ceil(HOST_TIMEOUT_S)
    arguments = database_urls.for_psycopg(url, timeout)
    if host is not None:
        arguments["host"], arguments["port"] = host
    try:
        return psycopg.connect(autocommit=True, **arguments)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"The database can't be reached: {error}") from error
