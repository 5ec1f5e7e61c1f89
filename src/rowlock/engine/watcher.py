"""The watcher: asks each of several hosts, all the time, whether it is the primary.

A server that is frozen or cut off does not say so, and its connections stay open: the kernel goes
on acknowledging packets. So the connections themselves don't tell, and neither do keepalives.
"""

import asyncio
import time
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import asyncpg
import structlog

from rowlock.engine import dialling
from rowlock.engine.clusters import Cluster, Host, Sight, name_of
from rowlock.engine.dialling import HOST_TIMEOUT_S, NEXT_HOST, Direct
from rowlock.engine.faults import DRIVER_ERRORS, is_lost
from rowlock.engine.tasks import Task
from rowlock.settings import database_urls

# A connection is replaced after so long: its host's name may lead to another server by now, while
# the former one still answers.
FRESH_S = 30.0

logger = structlog.get_logger(__name__)


class _Line(NamedTuple):
    """A connection to a host, and when it was opened, by time.monotonic()."""

    connection: Direct
    opened: float


class Watcher:
    """Tells a cluster what its hosts say, over a connection to each that is for this alone.

    A host that does not answer within a second counts as failed. It is asked again over another
    connection, once the silent one is closed: a silent host never has two.

    News count only from a new connection. The name of a host, or a virtual address, may have moved
    to another server since the old one was opened.
    """

    def __init__(self, url: str, cluster: Cluster, name: str, every_s: float) -> None:
        """`name` is the application_name of the connections."""
        self.cluster = cluster
        self.tasks = [
            Task(f"watcher {name_of(host)}", partial(self._watch, host)) for host in cluster.hosts
        ]
        self._url = url
        self._every_s = every_s
        self._options: dict[str, Any] = {
            "server_settings": {"application_name": name},
            "statement_cache_size": 0,  # a pooler may lose them
        }

    @classmethod
    def of(cls, url: str, name: str, every_s: float) -> "Watcher | None":
        """Return a watcher of the hosts of `url`; None unless it is for the primary of several."""
        cluster = dialling.cluster_of(url, database_urls.target(url))
        return None if cluster is None else cls(url, cluster, name, every_s)

    async def _watch(self, host: Host) -> None:
        with self.cluster.watched():
            await self._keep_asking(host)

    async def _keep_asking(self, host: Host) -> None:
        line: _Line | None = None
        is_refused = False
        try:
            while True:
                try:
                    line, sight = await self._ask(host, line)
                except DRIVER_ERRORS as error:
                    _end(line)
                    line = None
                    if isinstance(error, NEXT_HOST) or is_lost(error):
                        self.cluster.failed(host)
                    elif not is_refused:  # it answers, but not this question
                        logger.warning("host_not_watched", host=name_of(host), error=str(error))
                        is_refused = True
                else:
                    is_refused = False
                    self.cluster.saw(host, sight)
                await asyncio.sleep(self._every_s)
        finally:
            _end(line)

    async def _ask(self, host: Host, line: _Line | None) -> tuple[_Line, Sight]:
        """Return what `host` says, and the connection over which it does: `line`, or a new one.

        Raises one of DRIVER_ERRORS; the old connection is then the caller's to close.
        """
        said = None
        if line is not None and not line.connection.is_closed():
            said = line, await self._look(line.connection)
            is_fresh = time.monotonic() - line.opened < FRESH_S
            if is_fresh and self.cluster.agrees(host, said[1]):
                return said
        try:
            # For as long as the URL's connect_timeout says: TLS may take its time.
            connection = await dialling.connect_to(self._url, host, **self._options)
        except asyncpg.PostgresError as error:
            if said is None or is_lost(error):
                raise
            return said  # it has no room for another connection
        try:
            sight = await self._look(connection)
        except BaseException:
            connection.terminate()
            raise
        _end(line)
        return _Line(connection, time.monotonic()), sight

    async def _look(self, connection: Direct) -> Sight:
        async with asyncio.timeout(HOST_TIMEOUT_S):
            return await dialling.look(connection)


def _end(line: _Line | None) -> None:
    if line is not None:
        with suppress(asyncpg.InterfaceError):
            line.connection.terminate()
