"""`rowlock doctor`: checks the databases; each check yields its findings."""

from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

import asyncpg

from rowlock.engine import dialling, migrations, outbox, poolers
from rowlock.engine.database import Database
from rowlock.engine.statements import queries
from rowlock.errors import OutboxStranded, RowlockError
from rowlock.ops import contracts
from rowlock.settings import Settings

OLDEST_POSTGRESQL = 15
NEWEST_POSTGRESQL = 18
DIFFERENCES_SHOWN = 100
DURABLE = {"on", "remote_apply"}


class Finding(NamedTuple):
    """What one check found."""

    check: str
    problem: str | None  # None: the check passed
    note: str = ""


async def examine(
    database: Database, urls: Mapping[str, str], settings: Settings
) -> AsyncIterator[Finding]:
    """Yield the findings of every check; stop early where the rest could not be checked."""
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
        yield await _durability(name, url, production=settings.env == "production")
    complete = True
    for name, url in urls.items():
        try:
            status = migrations.status(url, name)
        except RowlockError as error:
            yield Finding(f"{name} database", error.message)
            return
        complete = complete and not status.missing
        problem = f"missing: {', '.join(status.missing)}; run rowlock migrate up"
        yield Finding(
            f"{name} migrations",
            problem if status.missing else None,
            f"{len(status.applied)} applied, none missing",
        )
    if not complete:
        return
    async for finding in _sql_contracts(urls):
        yield finding
    async for finding in _outbox(database):
        yield finding
    async for finding in _money(database):
        yield finding


async def _durability(name: str, url: str, *, production: bool) -> Finding:
    """Return whether what is acknowledged survives a crash; in development that is only told."""
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
    check = f"{name} durability"
    if off and production:
        return Finding(check, problem)
    return Finding(check, None, problem if off else "what is acknowledged is on disk")


async def _sql_contracts(urls: Mapping[str, str]) -> AsyncIterator[Finding]:
    statements, sound = list(queries), 0
    connections = {
        name: await dialling.connect(url, statement_cache_size=0)  # as a pooler could lose them
        for name, url in urls.items()
    }
    indexes = {name: await contracts.valid_indexes(each) for name, each in connections.items()}
    for query in statements:
        name = contracts.database_of(query)
        try:
            found = await contracts.problems(connections[name], query, indexes[name])
        except asyncpg.PostgresError as error:
            found = [str(error)]
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


async def _money(database: Database) -> AsyncIterator[Finding]:
    async with database.connection() as connection:
        rows = await queries.accounts.find_unbalanced_users(connection, page_size=DIFFERENCES_SHOWN)
    for row in rows:
        yield Finding(
            "money",
            f"user {row['id']} ({row['username']}): the balance is {row['balance']}, "
            f"the ledger adds up to {row['ledger_total']}",
        )
    if not rows:
        yield Finding("money", None, "every user's ledger adds up to the balance")
