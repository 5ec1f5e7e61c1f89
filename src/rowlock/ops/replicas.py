"""The servers behind the databases' URLs: whether those of each are one cluster's.

And the standbys that lists are read from: whether each is a copy of the database, and how near.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from typing import NamedTuple

import asyncpg

from rowlock.engine import dialling
from rowlock.engine.clusters import Host, name_of
from rowlock.engine.dialling import Direct
from rowlock.engine.faults import DRIVER_ERRORS
from rowlock.engine.replication import OTHER_DATABASE, Facts, describe
from rowlock.engine.statements import queries
from rowlock.errors import DatabaseUnavailable
from rowlock.settings import Settings, database_urls
from rowlock.settings.kinds import variable_named

LOOK_S = 0.05
PRIMARIES = {"main": "database_url", "events": "events_database_url"}
SETTINGS = {"main": "read_database_url", "events": "events_read_database_url"}


class State(Enum):
    """Whether lists can be read from a host."""

    NEAR = "near"
    UNUSED = "unused"  # it is the primary: all is well, and it takes no lists off it
    AWAY = "away"  # not now
    WRONG = "wrong"  # never


class Replica(NamedTuple):
    """A host of a URL for reads, and what is to be said of it."""

    name: str  # of the host, with the setting where that is wrong
    state: State
    text: str


def foreign_hosts(urls: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the setting of each URL whose hosts are not one cluster's, and what is wrong.

    The hosts must have been asked, as a connection to the URL does.
    """
    for name, url in urls.items():
        cluster = dialling.cluster_of(url, database_urls.target(url))
        for host in () if cluster is None else cluster.foreign:
            problem = f"{name_of(host)} belongs to another cluster than the primary"
            yield variable_named(PRIMARIES[name]), problem


async def examine(
    urls: Mapping[str, str], settings: Settings, *, measure: bool
) -> AsyncIterator[Replica]:
    """Yield what each host is that lists of the databases at `urls` may be read from.

    With `measure`, wait until each has replayed all that the primary had, for as long as it may be
    behind. Raises DatabaseUnavailable if a primary can't be reached.
    """
    for name, read_url in settings.database.read_urls.items():
        if name not in urls:
            continue
        primary = await _ask_primary(urls[name])
        for host in dict.fromkeys(database_urls.target(read_url).hosts):
            limit_s = settings.database.read_lag_s if measure else 0
            try:
                connection = await dialling.connect_to(read_url, host, statement_cache_size=0)
                try:
                    state, text = await _examine(connection, primary, limit_s)
                finally:
                    connection.terminate()
            except asyncpg.InsufficientPrivilegeError:
                state, text = State.WRONG, "the role may not read there: see rowlock sql grants"
            except asyncpg.InvalidCatalogNameError as error:
                state, text = State.WRONG, str(error)
            except DRIVER_ERRORS as error:
                state, text = State.AWAY, f"it can't be reached: {type(error).__name__}: {error}"
            yield Replica(_name(name, host, state), state, text)


def _name(database: str, host: Host, state: State) -> str:
    if state is State.WRONG:
        return f"{variable_named(SETTINGS[database])}: {name_of(host)}"
    return f"{database} standby {name_of(host)}"


async def _ask_primary(url: str) -> Facts:
    try:
        connection = await dialling.connect(url, statement_cache_size=0)
        try:
            return await describe(connection)
        finally:
            connection.terminate()
    except DRIVER_ERRORS as error:
        raise DatabaseUnavailable(f"The database can't be reached: {error}") from error


async def _examine(connection: Direct, primary: Facts, limit_s: float) -> tuple[State, str]:
    facts = await describe(connection)
    if facts.is_about != primary.is_about:
        return State.WRONG, OTHER_DATABASE
    await queries.database.list_applied_migrations(connection)
    if not facts.in_recovery:
        return State.UNUSED, "it is the primary: lists are read from it only as such"
    with suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            while facts.position < primary.position:
                await asyncio.sleep(LOOK_S)
                facts = await describe(connection)
    behind = primary.position - facts.position
    if behind > 0 and limit_s:
        return State.AWAY, f"it is {behind} bytes behind, and was not near within {limit_s:g} s"
    return State.NEAR, f"lists are read from it; all was replayed within {limit_s:g} s"
