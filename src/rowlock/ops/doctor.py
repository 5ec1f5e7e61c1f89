"""`rowlock doctor`: checks the databases; each check yields its findings."""

import time
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import asyncpg

from rowlock.accounts import lookalikes
from rowlock.engine import contracts, dialling, migrations, outbox, poolers
from rowlock.engine.database import Database
from rowlock.engine.epochs import Epochs, find_epochs
from rowlock.engine.statements import queries
from rowlock.errors import OutboxStranded, RowlockError
from rowlock.ops import budget, money, replicas
from rowlock.ops.replicas import State
from rowlock.settings import Settings
from rowlock.sinks import jetstream
from rowlock.subscriptions.rules import BY_HAND, MOST_SUBSCRIPTIONS

if TYPE_CHECKING:
    from rowlock.engine.typed.outbox import DescribeKeptRow

OLDEST_POSTGRESQL = 15
NEWEST_POSTGRESQL = 18
NAMED = 5  # of many that fail
DURABLE = {"on", "remote_apply"}
RECENT = timedelta(days=7)
TIME = "%Y-%m-%d %H:%M:%S %Z"


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
    services: Mapping[str, int] | None = None,
) -> AsyncIterator[Finding]:
    """Yield the findings of every check; stop early where the rest could not be checked.

    `services` says how many services of this machine use each database, by the database's name.
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
    yield _currency(settings)
    for name, url in urls.items():
        yield await _durability(name, url)
    async for finding in _servers(urls, services or {}, settings):
        yield finding
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
    async for finding in _epochs(urls):
        yield finding
    async for finding in _sql_contracts(urls):
        yield finding
    async for finding in _delivery(database, urls["events"], settings):
        yield finding
    async for finding in _money(database, advance):
        yield finding
    async for finding in _names(database):
        yield finding


def _currency(settings: Settings) -> Finding:
    money = settings.money
    note = f"amounts are in {money.currency}, with {money.decimals} decimals"
    return Finding("currency", None, note)


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


async def _servers(
    urls: Mapping[str, str], services: Mapping[str, int], settings: Settings
) -> AsyncIterator[Finding]:
    """Compare what the services of this machine open with what the servers give."""
    async for limit in budget.limits(urls, services, settings):
        note = f"up to {limit.need.most} of {limit.allowed}{limit.place}"
        warning = None if limit.problem else limit.warning
        yield Finding("connections", limit.problem, warning or note, warns=warning is not None)
    for setting, problem in replicas.foreign_hosts(urls):
        yield Finding(setting, f"{problem}: take it out")
    async for finding in _standbys(urls, settings):
        yield finding


async def _standbys(urls: Mapping[str, str], settings: Settings) -> AsyncIterator[Finding]:
    """Look at what lists are read from, where that is set."""
    async for replica in replicas.examine(urls, settings, measure=True):
        is_well = replica.state in {State.NEAR, State.UNUSED}
        yield Finding(
            replica.name,
            None if is_well else replica.text,
            replica.text,
            warns=replica.state is State.UNUSED,
        )


async def _delivery(
    database: Database, events_url: str, settings: Settings
) -> AsyncIterator[Finding]:
    """Follow the events: the outbox, the log, and who gets them."""
    async for finding in _outbox(database):
        yield finding
    yield await _partitions(events_url)
    yield await _subscriptions(events_url)
    async for finding in examine_nats(settings):
        yield finding


async def examine_nats(settings: Settings) -> AsyncIterator[Finding]:
    """Look at the stream that events are published to, if they are."""
    if settings.nats.nats_url is None:
        return
    timeout_s = settings.nats.nats_timeout_s
    try:
        jetstream.check_installed()
        async with jetstream.connected(settings.nats) as client:
            info = await jetstream.find_stream(client, timeout_s)
            place = None if info is None else await jetstream.find_place(client, info, timeout_s)
    except RowlockError as error:
        yield Finding("nats", error.message)
        return
    if info is None or place is None:
        yield Finding("nats", None, "the stream is not there yet: the sink makes it")
        return
    replicas, wanted = info.config.num_replicas, settings.nats.nats_replicas
    note = f"{info.state.messages:,} messages, {replicas} replica(s), up to event {place.position}"
    if replicas != wanted:
        note += f"; ROWLOCK_NATS_REPLICAS is {wanted}: change the stream's own setting"
    yield Finding("nats", None, note, warns=replicas != wanted)


async def _epochs(urls: Mapping[str, str]) -> AsyncIterator[Finding]:
    """Name the last cut, where what was written last may be lost; warn of it for a week."""
    for name, url in urls.items():
        connection = await dialling.connect(url, statement_cache_size=0)
        try:
            epochs = Epochs(await find_epochs(connection))
            [session] = await queries.epochs.describe_session(connection)
        finally:
            await connection.close()
        last = epochs.describe_last()
        if last is not None:
            yield Finding(f"{name} epochs", None, last, warns=epochs.is_cut_since(RECENT))
        if not session["holds"]:
            note = "this server is on another timeline: the next write begins an epoch"
            yield Finding(f"{name} epochs", None, note, warns=True)


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
    kept = await outbox.describe_kept(database)
    yield Finding("delivered events", *_judge_kept(kept))


def _judge_kept(kept: "DescribeKeptRow") -> tuple[str | None, str]:
    """Return the problem with what the events service has taken, if any, and a note."""
    problem = None
    if kept["lost_at"] is not None:
        since = kept["lost_before"]
        problem = (
            f"at {kept['lost_at']:{TIME}} the events service had lost more than is kept: "
            + (
                f"what was delivered before {since:{TIME}} may be missing there"
                if since is not None
                else "nothing was kept of what it had taken"
            )
            + "; rowlock outbox accept once that is known"
        )
    since = kept["kept_since"]
    note = f"{kept['kept']} kept" + (f", all since {since:{TIME}}" if since is not None else "")
    if kept["rewound_at"] is not None:
        note += f"; the relay went back at {kept['rewound_at']:{TIME}} ({kept['reason']})"
    return problem, note


async def _subscriptions(url: str) -> Finding:
    """Name the subscriptions that fail, or were stopped as they failed."""
    connection = await dialling.connect(url, statement_cache_size=0)
    try:
        rows = await queries.subscriptions.list(
            connection, before=2**63 - 1, page_size=MOST_SUBSCRIPTIONS
        )
    finally:
        await connection.close()
    failing = [
        f"{row['id']} ({row['reason'] or row['last_problem']})"
        for row in rows
        if row["failing_since"] is not None or row["reason"] not in {None, BY_HAND}
    ]
    note = f"{len(rows)} subscriptions"
    if failing:
        named = ", ".join(failing[:NAMED]) + (", …" if len(failing) > NAMED else "")
        note += f", {len(failing)} of them fail: {named}; see rowlock subscriptions list"
    return Finding("subscriptions", None, note, warns=bool(failing))


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
