"""What the command groups share: the console, the databases, and how results are shown."""

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from rowlock.accounts import lookalikes
from rowlock.engine import migrations, poolers
from rowlock.engine.database import Database
from rowlock.engine.dialling import connect_psycopg
from rowlock.errors import StartRefused
from rowlock.ops import embedded, seed
from rowlock.ops.doctor import Finding
from rowlock.settings import Settings, database_urls
from rowlock.settings.groups import EVENTS_DATABASE
from rowlock.settings.names import DatabaseName

T = TypeVar("T")

PATIENCE_S = 3600.0
LOCK_PATIENCE_S = 30.0

UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
LONGEST = timedelta(days=36_500)

console = Console(highlight=False, soft_wrap=True)


@contextmanager
def databases(settings: Settings) -> Iterator[dict[str, str]]:
    """Lend the URLs of the databases: the configured ones, or those of the embedded server."""
    if settings.database.database_url is not None:
        events = settings.database.events_database_url or database_urls.beside(
            settings.database.database_url, EVENTS_DATABASE
        )
        yield {"main": settings.database.database_url, "events": events}
        return
    with embedded.running(
        settings.embedded.data_dir, settings.embedded.embedded_start_timeout_s
    ) as urls:
        yield {
            "main": urls["rowlock"],
            "events": settings.database.events_database_url or urls["rowlock_events"],
        }


def with_database(
    settings: Settings, url: str, work: Callable[[Database], Coroutine[Any, Any, T]]
) -> T:
    """Return what `work` returns for the database at `url`."""

    async def run() -> T:
        async with Database(url, settings.database, scans=True) as database:
            return await work(database)

    return asyncio.run(run())


def need_session(settings: Settings, url: str, command: str) -> None:
    """Raise StartRefused if a pooler lends another session for each transaction."""
    if settings.database.database_url is not None:
        with connect_psycopg(url) as connection:
            migrations.refuse_pooler(connection, url, command)


def patient(settings: Settings) -> Settings:
    """Return `settings` for statements that go through whole tables or files."""
    return settings.changed(statement_timeout_s=PATIENCE_S, lock_timeout_s=LOCK_PATIENCE_S)


def migrate(settings: Settings, name: str, url: str) -> tuple[str, ...]:
    """Apply the missing migrations to a database, and give old names keys; return their ids."""
    applied = migrations.up(url, name)
    if name == DatabaseName.MAIN:
        _assign_keys(settings, url)
    return applied


def _assign_keys(settings: Settings, url: str) -> None:
    """Give keys to the names and addresses of release 0.1.0 that have none yet."""
    with_database(patient(settings), url, lookalikes.assign_keys)


def prepare(
    settings: Settings,
    urls: Mapping[str, str],
    *,
    may_migrate: bool = False,
    demo: bool = False,
    tell: Callable[[str], object] = lambda _: None,
) -> None:
    """Bring the databases at `urls` up to date, or raise StartRefused if they are not.

    The embedded ones are migrated, configured ones only if told so. With `demo`, an embedded one
    that is empty gets the demo data. `tell` is called with each step that takes a while.
    """
    own = settings.database.database_url is None
    if not own:
        for url in urls.values():  # the services' driver, which is not that of the migrations
            asyncio.run(poolers.check(url, settings.database))
    if own or may_migrate:
        for name, url in urls.items():  # before anything is applied anywhere
            migrations.check(url, name)
    for name, url in urls.items():
        missing = migrations.status(url, name).missing
        if missing and (own or may_migrate):
            tell(f"Applying {len(missing)} migrations to the {name} database …")
            migrate(settings, name, url)
        elif own or may_migrate:
            if name == DatabaseName.MAIN:  # an earlier process may have stopped before this
                _assign_keys(settings, url)
        elif missing:
            raise StartRefused(
                f"The {name} database lacks the migrations {', '.join(missing)}: "
                "run rowlock migrate up, or start with --migrate."
            )
    if own and demo and "main" in urls:

        async def seed_once(database: Database) -> None:
            if not await seed.has_data(database):
                tell("Loading the demo data …")
                await seed.demo(database)

        with_database(settings, urls["main"], seed_once)


def parse_duration(text: str) -> timedelta:
    """Return a length of time: 90d, 24h, 30m or 45s; 0 needs no unit. Raises StartRefused."""
    match = re.fullmatch(r"(0)|([0-9]{1,9})([dhms])", text)
    if match is not None:
        length = timedelta() if match[1] else timedelta(**{UNITS[match[3]]: int(match[2])})
        if length <= LONGEST:
            return length
    raise StartRefused(
        f"{text!r} is no length of time: it is a whole number of d, h, m or s, such as 90d, of "
        f"{LONGEST.days} days at most."
    )


def show_secret(message: str, secret: str) -> None:
    """Print a new secret, in a line of its own."""
    console.print(f"{message} This secret is not shown again:")
    console.print(secret, markup=False)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table to a terminal; to anything else a line per row, with tabs between columns."""
    if not console.is_terminal:
        for row in rows:
            typer.echo("\t".join(row))
        return
    first, *others = headers
    columns = [Column(first, no_wrap=True), *(Column(each, overflow="fold") for each in others)]
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table, soft_wrap=False)


def show_finding(finding: Finding) -> None:
    """Print what a check found."""
    if finding.problem is None:
        verdict = "[yellow]warn[/yellow]" if finding.warns else "[green]ok[/green]  "
        console.print(f"{verdict} {finding.check}: ", end="")
        console.print(finding.note, markup=False)
    else:
        console.print(f"[red]FAIL[/red] {finding.check}: ", end="")
        console.print(finding.problem, markup=False)
