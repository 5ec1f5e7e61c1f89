"""The connection budget: what the processes of this machine may open, and what the servers give."""

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from rowlock.engine import dialling
from rowlock.engine.clusters import name_of
from rowlock.engine.dialling import Direct
from rowlock.engine.faults import DRIVER_ERRORS
from rowlock.engine.statements import queries
from rowlock.errors import DatabaseUnavailable
from rowlock.settings import Settings, database_urls

LISTENING = 1  # for LISTEN and NOTIFY
PROBING = 1  # for /readyz/writes
WATCHING = 1  # for how far a server is, or whether it is the primary
LEAST_POOL = 1


class Need(NamedTuple):
    """How many connections all processes need: at least, to do anything, and at most."""

    least: int
    most: int

    def plus(self, other: "Need") -> "Need":
        """Return what both need together."""
        return Need(self.least + other.least, self.most + other.most)


class Limit(NamedTuple):
    """A limit on connections, what it is on, and what it is to be compared with."""

    name: str
    allowed: int
    need: Need
    place: str = ""  # " at the standby …", unless it is the primary's

    @property
    def problem(self) -> str | None:
        """Why the services can't work with this limit; None if they can."""
        if self.need.least <= self.allowed:
            return None
        return (
            f"the services need at least {self.need.least} connections, and {self.name} gives "
            f"{self.allowed}: raise it, or lower ROWLOCK_WORKERS"
        )

    @property
    def warning(self) -> str | None:
        """What happens under load; None if there are enough."""
        if self.need.most <= self.allowed:
            return None
        return (
            f"the services open up to {self.need.most} connections, and {self.name} gives "
            f"{self.allowed}: under load some are refused. Raise it, or lower "
            "ROWLOCK_POOL_CONNECTIONS or ROWLOCK_WORKERS"
        )


def need(services: int, settings: Settings, *, watching: int) -> Need:
    """Return what so many services need at a primary, in all workers.

    Each has so many connections for `watching` it. While workers are replaced, there is one more of
    them.
    """
    workers, apart = settings.process.workers, LISTENING + watching
    most = settings.database.pool_connections + apart + PROBING
    return Need(
        least=workers * services * (LEAST_POOL + apart),
        most=(workers + (workers > 1)) * services * most,
    )


def need_for_lists(services: int, settings: Settings) -> Need:
    """Return what so many services need at a standby. None is vital: the primary has lists, too."""
    workers = settings.process.workers
    most = max(1, settings.database.pool_connections // 2) + WATCHING
    return Need(least=0, most=(workers + (workers > 1)) * services * most)


async def limits(
    urls: Mapping[str, str], services: Mapping[str, int], settings: Settings
) -> AsyncIterator[Limit]:
    """Yield the limits on what the services open; `services` says how many each database has.

    Databases with the same hosts share a server. One that is reached through a pooler has none, as
    the pooler shares the server's connections. Raises DatabaseUnavailable.
    """
    on_server: dict[object, Limit] = {}
    for name, count in services.items():
        target = database_urls.target(urls[name])
        reads = name in settings.database.read_urls
        watching = WATCHING * (target.wants_primary + reads)
        needed = need(count, settings, watching=watching)
        try:
            connection = await dialling.connect(urls[name], statement_cache_size=0)
            found = await _describe(connection, name, needed)
        except DRIVER_ERRORS as error:
            raise DatabaseUnavailable(f"The database can't be reached: {error}") from error
        for limit in found[:-1]:
            yield limit
        _add(on_server, target.hosts, found)
    async for place, found in _on_standbys(services, settings):
        for limit in found[:-1]:
            yield limit
        _add(on_server, place, found)
    for limit in on_server.values():
        yield limit


async def _on_standbys(
    services: Mapping[str, int], settings: Settings
) -> AsyncIterator[tuple[object, list[Limit]]]:
    """Yield each standby that can be reached, and the limits there."""
    for name, url in settings.database.read_urls.items():
        if name not in services:
            continue
        for host in dict.fromkeys(database_urls.target(url).hosts):
            place = f" at the standby {name_of(host)}"
            with suppress(*DRIVER_ERRORS):  # others say that it is away
                connection = await dialling.connect_to(url, host, statement_cache_size=0)
                needed = need_for_lists(services[name], settings)
                yield place, await _describe(connection, name, needed, place)


async def _describe(connection: Direct, name: str, needed: Need, place: str = "") -> list[Limit]:
    """Return the limits that a server has for the database called `name`, its own one last.

    None behind a pooler. Closes the connection.
    """
    try:
        [row] = await queries.cluster.describe_connections(connection)
        # A pooler can't tell its clients the server's process: it would be another one.
        if row["backend_pid"] != connection.get_server_pid():
            return []
    finally:
        await connection.close()
    own = (("database", row["database_limit"]), ("role", row["role_limit"]))
    limits = [
        Limit(f"the CONNECTION LIMIT of the {name} {kind}{place}", allowed, needed, place)
        for kind, allowed in own
        if allowed >= 0
    ]
    server = f"max_connections without the reserved ones{place}"
    return [*limits, Limit(server, row["most"] - row["reserved"], needed, place)]


def _add(on_server: dict[object, Limit], server: object, found: list[Limit]) -> None:
    """Add the last one of these limits to what is needed of the server."""
    if found:
        limit, so_far = found[-1], on_server.get(server)
        needed = limit.need if so_far is None else so_far.need.plus(limit.need)
        on_server[server] = limit._replace(need=needed)
