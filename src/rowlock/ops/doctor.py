"""`rowlock doctor`: checks the databases; each check yields its findings."""

import time
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

import asyncpg

from rowlock.accounts import lookalikes
from rowlock.engine import dialling, migrations, outbox, poolers
from rowlock.engine.database import Database
from rowlock.engine.statements import queries
from rowlock.errors import OutboxStranded, RowlockError
from rowlock.ops import contracts, money
from rowlock.settings import Settings

OLDEST_POSTGRESQL = 15
NEWEST_POSTGRESQL = 18
DURABLE = {"on", "remote_apply"}


class Finding(NamedTuple):
    """What one check found."""

    check: str
    problem: str | None  # None: the check passed
    note: str = ""
    warns: bool = False  # the check passed, with something to know


async def examine(
    database: Database,
    urls: Mapping[str, str],
    settings: Settings,
    advance: money.Advance = lambda *_: None,
) -> AsyncIterator[Finding]:
    """Yield the findings of every check; stop early where the rest could not be checked.

    `advance` is called as `money.differences` goes on.
    """
    try:
        for url in urls.values():
            await poolers.check(url, settings.database)
        async with database.connection() as connection:
            version = connection.get_server_version()
    except RowlockError as error:
        yield Finding("database", error.message)
        return
    supported = OLDEST_POSTGRESQL <= version.major <= NEWEST_POSTGRESQL
    yield Finding(
        "database",
        None if supported else f"PostgreSQL {version.major} is not supported",
        f"PostgreSQL {version.major}.{version.micro}",  # asyncpg reads 18.6 as 18.0.6
    )
    for name, url in urls.items():
        yield await _durability(name, url)
    complete = True
    for name, url in urls.items():
        try:
            status = migrations.status(url, name)
        except RowlockError as error:
            yield Finding(f"{name} database", error.message)
            return
        yield Finding(f"{name} encoding", status.encoding_problem, status.encoding)
        complete = complete and not status.missing
        missing = f"missing: {', '.join(status.missing)}; run rowlock migrate up"
        yield Finding(
            f"{name} migrations",
            missing if status.missing else None,
            f"{len(status.applied)} applied, none missing",
        )
    if not complete:
        return
    async for finding in _sql_contracts(urls):
        yield finding
    async for finding in _outbox(database):
        yield finding
    yield await _partitions(urls["events"])
    async for finding in _money(database, advance):
        yield finding
    async for finding in _names(database):
        yield finding


async def _durability(name: str, url: str) -> Finding:
    """Return whether what is acknowledged survives a crash."""
    connection = await dialling.connect(url, statement_cache_size=0)
    [row] = await queries.database.describe_durability(connection)
    await connection.close()
    found = {
        "fsync": row["fsync"],
        "full_page_writes": row["full_page_writes"],
        "synchronous_commit": row["synchronous_commit"],  # a pooler may lose what a session sets
    }
    off = [f"{each} is {value}" for each, value in found.items() if value not in DURABLE]
    problem = f"{', '.join(off)}: a crash loses acknowledged writes; set it to on"
    note = "what is acknowledged is on disk"
    return Finding(f"{name} durability", problem if off else None, note)


async def _sql_contracts(urls: Mapping[str, str]) -> AsyncIterator[Finding]:
    statements, sound = list(queries), 0
    connections = {
        name: await dialling.connect(url, statement_cache_size=0)  # as a pooler could lose them
        for name, url in urls.items()
    }
    indexes = {name: await contracts.valid_indexes(each) for name, each in connections.items()}
    for query in statements:
        found = []
        for name in contracts.databases_of(query):
            try:
                found += await contracts.problems(connections[name], query, indexes[name])
            except asyncpg.PostgresError as error:
                found.append(str(error))
        sound += not found
        for problem in found:
            yield Finding("sql contracts", f"{query.name}: {problem}")
    for connection in connections.values():
        await connection.close()
    if sound == len(statements):
        yield Finding("sql contracts", None, f"{sound} statements are as their headers say")


async def _outbox(database: Database) -> AsyncIterator[Finding]:
    row = await outbox.describe_backlog(database)
    yield Finding(
        "outbox",
        OutboxStranded().message if row["stranded"] else None,
        f"{row['backlog']} events undelivered, {row['dead']} refused",
    )


async def _partitions(url: str) -> Finding:
    """Compare the bounds of the partitions with the months in their names."""
    # The bounds are shown as the session's settings say.
    session = {"timezone": "UTC", "datestyle": "ISO, YMD"}
    connection = await dialling.connect(url, server_settings=session, statement_cache_size=0)
    try:
        rows = await queries.events.list_partitions(connection)
    finally:
        await connection.close()
    wrong = [row["partition"] for row in rows if row["bounds"] != _bounds(row["partition"])]
    return Finding(
        "partitions",
        f"{', '.join(wrong)}: the bounds are not those of the month (docs/dba.md says what to do)"
        if wrong
        else None,
        f"{len(rows)} partitions have the bounds of their months",
    )


def _bounds(partition: str) -> str:
    """Return the bounds of the partition events_YYYY_MM, as PostgreSQL shows them."""
    year, month = map(int, partition.removeprefix("events_").split("_"))
    next_year, next_month = divmod(year * 12 + month, 12)
    starts, ends = f"{year:04}-{month:02}-01", f"{next_year:04}-{next_month + 1:02}-01"
    return f"FOR VALUES FROM ('{starts} 00:00:00+00') TO ('{ends} 00:00:00+00')"


async def _money(database: Database, advance: money.Advance) -> AsyncIterator[Finding]:
    started = time.monotonic()
    sound = {
        "money": "every user's ledger adds up to the balance",
        "documents": "each that moved money has its ledger entry, and each entry its document",
    }
    async for check, difference in money.differences(database, advance):
        sound.pop(check, None)
        yield Finding(check, difference)
    for check, note in sound.items():
        yield Finding(check, None, note)
    duration_s = time.monotonic() - started
    yield Finding("duration", None, f"the money and its documents took {duration_s:.1f} s")


async def _names(database: Database) -> AsyncIterator[Finding]:
    twins, waiting = 0, 0
    async with database.connection() as connection:
        async for each in lookalikes.find_unkeyed(connection):
            waiting += not each.is_final
            twins += each.is_final
            if each.is_final and twins <= money.SHOWN:
                same = (
                    ""
                    if each.owner is None
                    else ", the same as {1!r} of user {0}".format(*each.owner)
                )
                note = f"user {each.user_id}: {each.text!r} is found by this spelling alone{same}"
                yield Finding("names", None, note, warns=True)
    if twins > money.SHOWN:
        yield Finding("names", None, f"and {twins - money.SHOWN} more", warns=True)
    if waiting:
        note = f"{waiting} names and addresses have no key yet: run rowlock migrate up"
        yield Finding("names", None, note, warns=True)
    if not twins + waiting:
        yield Finding("names", None, "no two users' names or addresses are the same")
