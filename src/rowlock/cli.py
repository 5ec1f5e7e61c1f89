"""The command line: serve, migrate, seed, projects, sql, outbox, settings, doctor, drill."""

import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from uuid import UUID

import asyncpg
import psycopg
import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from rowlock import (
    __version__,
    contracts,
    doctor,
    embedded,
    logs,
    migrations,
    outbox,
    reference,
    schema,
    seed,
)
from rowlock.accounts.commands import lock_users_by_name
from rowlock.database import Database
from rowlock.exceptions import OutboxStranded, RowlockError, StartRefused, UserNotFound
from rowlock.projects import commands as project_commands
from rowlock.projects.rules import NAME_LENGTH, CreateProject
from rowlock.queries import Query, queries
from rowlock.settings import DEVELOPMENT_TOKENS, Settings

if TYPE_CHECKING:
    from rowlock.drill import Report

T = TypeVar("T")

app = typer.Typer(
    help="A back office on PostgreSQL whose concurrent requests commit together.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
migrate_app = typer.Typer(help="Apply, undo and show migrations.", no_args_is_help=True)
sql_app = typer.Typer(help="The SQL files: catalogue, text and plans.", no_args_is_help=True)
app.add_typer(migrate_app, name="migrate")
outbox_app = typer.Typer(help="Events on their way to the events service.", no_args_is_help=True)
projects_app = typer.Typer(help="Projects: what the API leaves out.", no_args_is_help=True)
app.add_typer(sql_app, name="sql")
app.add_typer(outbox_app, name="outbox")
app.add_typer(projects_app, name="projects")

console = Console(highlight=False, soft_wrap=True)
logger = structlog.get_logger("rowlock.cli")

PATIENCE_S = 3600.0


class DatabaseName(StrEnum):
    """The databases, by the folders of their migrations."""

    MAIN = "main"
    EVENTS = "events"


class ServiceName(StrEnum):
    """The services, by their scripts in migrations/grants."""

    COMMERCE = "commerce"
    PROJECTS = "projects"
    EVENTS = "events"


def main() -> None:
    """Run the command line. An error that Rowlock knows is one line and exit status 1."""
    # A terminated command leaves its contexts, and so stops the embedded server.
    for signum in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(signum, lambda number, _: sys.exit(128 + number))
    try:
        app()
    except (RowlockError, asyncpg.PostgresError, psycopg.Error) as error:
        print(f"rowlock: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


@contextmanager
def databases(settings: Settings) -> Iterator[dict[str, str]]:
    """Lend the URLs of the databases: the configured ones, or those of the embedded server."""
    if settings.database_url is not None:
        events = settings.events_database_url or _beside(settings.database_url, "rowlock_events")
        yield {"main": settings.database_url, "events": events}
        return
    with embedded.running(settings.data_dir, settings.embedded_start_timeout_s) as urls:
        yield {
            "main": urls["rowlock"],
            "events": settings.events_database_url or urls["rowlock_events"],
        }


def _beside(url: str, database: str) -> str:
    """Return the URL of another database on the server of `url`."""
    # By hand: urllib loses the empty host of postgresql:///rowlock.
    scheme, _, rest = url.partition("://")
    server, _, path = rest.partition("/")
    _, mark, options = path.partition("?")
    return f"{scheme}://{server}/{database}{mark}{options}"


def with_database(
    settings: Settings, url: str, work: Callable[[Database], Coroutine[Any, Any, T]]
) -> T:
    """Return what `work` returns for the database at `url`."""

    async def run() -> T:
        async with Database(url, settings) as database:
            return await work(database)

    return asyncio.run(run())


def patient(settings: Settings) -> Settings:
    """Return `settings` for statements that go through whole tables or files."""
    return replace(settings, statement_timeout_s=PATIENCE_S)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Print the version if asked to."""
    if show:
        console.print(f"rowlock {__version__}")
        raise typer.Exit


@app.command()
def serve(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[SERVICE]...", help="Which; all by default.")
    ] = None,
    migrate: Annotated[
        bool, typer.Option(help="Apply missing migrations to a configured database first.")
    ] = False,
    processes: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Processes that serve; ROWLOCK_WORKERS by default."),
    ] = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM. With several workers, SIGHUP replaces them one by one.

    On the embedded database, migrations are applied and the demo data is loaded by itself.
    """
    # Imported here, as the other commands can do without the web.
    from rowlock import workers  # noqa: PLC0415
    from rowlock.services import SERVICES  # noqa: PLC0415
    from rowlock.web import server  # noqa: PLC0415

    unknown = set(names or ()) - set(SERVICES)
    if unknown:
        raise StartRefused(
            f"There is no service {', '.join(sorted(unknown))}: there is {', '.join(SERVICES)}."
        )
    settings = Settings.from_environment()
    if processes is not None:
        settings = replace(settings, workers=processes)
    settings.check_production(names or list(SERVICES))
    logs.configure(settings)
    services = [SERVICES[name] for name in names or SERVICES]
    with databases(settings) as urls:
        needed = {service.database: urls[service.database] for service in services}
        _prepare(settings, needed, migrate=migrate)
        places = server.listen(services, settings)

        def welcome() -> None:
            _welcome(services, settings)

        own = settings.database_url is None
        keeping = embedded.kept_running(settings.data_dir, settings.embedded_start_timeout_s)
        with keeping if own else nullcontext():
            if settings.workers == 1:
                server.run(services, settings, urls, places[0], welcome)
            else:
                workers.run(services, settings, urls, places, welcome)


def _prepare(settings: Settings, urls: dict[str, str], *, migrate: bool, demo: bool = True) -> None:
    own = settings.database_url is None
    for name, url in urls.items():
        if own or migrate:
            migrations.up(url, name)
        elif missing := migrations.status(url, name).missing:
            raise StartRefused(
                f"The {name} database lacks the migrations {', '.join(missing)}: "
                "run rowlock migrate up, or start with --migrate."
            )
    if own and demo and "main" in urls:

        async def seed_once(database: Database) -> None:
            if not await seed.is_seeded(database):
                await seed.demo(database)

        with_database(settings, urls["main"], seed_once)


def _welcome(services: list[Any], settings: Settings) -> None:
    """Say where the services are: in production to the log, else with lines to try."""
    for service in services:
        base = f"http://{settings.host}:{service.port(settings)}"
        if settings.env == "production":
            logger.info("listening", service=service.name, url=base)
        else:
            _show(service, base, settings)
    if settings.env != "production":
        console.print("Ctrl-C stops everything.")


def _show(service: Any, base: str, settings: Settings) -> None:
    """Print where `service` is, and lines to try with its token."""
    console.print(f"[bold]{service.name}[/bold] listens on {base}")
    token = service.token(settings)
    if token is not None and token not in DEVELOPMENT_TOKENS:
        token = f"$ROWLOCK_{service.name.upper()}_TOKEN"  # it is nobody else's business
    header = f'-H "Authorization: Bearer {token}" ' if token else ""
    for example in service.examples:
        console.print(f"  curl -s {header}'{base}{example}'")


@migrate_app.command("up")
def migrate_up(
    only: Annotated[DatabaseName | None, typer.Option("--database")] = None,
) -> None:
    """Apply the migrations that are missing."""
    with databases(Settings.from_environment()) as urls:
        for name in [only.value] if only else urls:
            applied = migrations.up(urls[name], name)
            console.print(f"{name}: {', '.join(applied) if applied else 'nothing to apply'}")


@migrate_app.command("down")
def migrate_down(
    only: Annotated[DatabaseName, typer.Option("--database")] = DatabaseName.MAIN,
    steps: Annotated[int, typer.Option(min=1, help="How many to undo.")] = 1,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask: the tables' rows are lost.")
    ] = False,
) -> None:
    """Undo the last migrations. The rows of the tables that they made are lost."""
    if not yes:
        typer.confirm("This drops tables and all their rows. Go on?", abort=True)
    with databases(Settings.from_environment()) as urls:
        undone = migrations.down(urls[only.value], only.value, steps)
        console.print(f"{only.value}: {', '.join(undone) if undone else 'nothing to undo'}")


@migrate_app.command("status")
def migrate_status() -> None:
    """Show which migrations each database has; exit status 1 if any is missing."""
    missing = False
    with databases(Settings.from_environment()) as urls:
        for name, url in urls.items():
            status = migrations.status(url, name)
            for migration in status.applied:
                console.print(f"{name} {migration} applied")
            for migration in status.missing:
                console.print(f"{name} {migration} [red]missing[/red]")
            missing = missing or bool(status.missing)
    raise typer.Exit(int(missing))


@app.command("seed")
def seed_command(
    users: Annotated[
        int | None,
        typer.Option(min=1, max=100_000_000, help="Instead: load-test users, load-1 to load-N."),
    ] = None,
    users_file: Annotated[
        Path | None, typer.Option(help="Instead: users from a JSON file, with their ids.")
    ] = None,
    projects_file: Annotated[
        Path | None, typer.Option(help="Instead: projects from a JSON file, with their ids.")
    ] = None,
) -> None:
    """Load the demo data, or many users for load tests, or data of your own from files.

    Running it again adds nothing twice.
    """
    settings = Settings.from_environment()
    if users_file is not None or projects_file is not None:
        if users is not None:
            raise StartRefused("--users does not go with files.")
        _load_files(settings, users_file, projects_file)
        return
    with databases(settings) as urls:
        _prepare(settings, {"main": urls["main"]}, migrate=False)
        if users is None:
            with_database(settings, urls["main"], seed.demo)
            console.print("The demo data is loaded.")
            return
        columns = (TextColumn("users"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("users", total=users)
            with_database(
                patient(settings),
                urls["main"],
                lambda database: seed.load_users(
                    database, users, lambda count: progress.advance(task, count)
                ),
            )
        console.print(f"The users load-1 to load-{users} are there.")


def _load_files(settings: Settings, users_file: Path | None, projects_file: Path | None) -> None:
    # Imported here, as the other commands can do without the web.
    from rowlock.projects import files  # noqa: PLC0415

    users = files.read_users(users_file) if users_file else None
    projects = files.read_projects(projects_file) if projects_file else None

    async def load(database: Database) -> files.Loaded:
        async with database.transaction() as connection:
            return await files.load(connection, users, projects)

    with databases(settings) as urls:
        # No demo data: its ids may be those in the files.
        _prepare(settings, {"main": urls["main"]}, migrate=False, demo=False)
        loaded = with_database(patient(settings), urls["main"], load)
    console.print(f"New: {loaded.users} users, {loaded.projects} projects.")


@projects_app.command("create")
def projects_create(
    name: Annotated[str, typer.Argument(help="As shown to people.")],
    owner: Annotated[str, typer.Option(metavar="USERNAME", help="Whose it is.")],
) -> None:
    """Create a project, and show its secret, once."""
    if not (1 <= len(name) <= NAME_LENGTH and name.isprintable()):
        raise StartRefused(f"A name has 1 to {NAME_LENGTH} characters, all of them printable.")
    secret = project_commands.new_secret()

    async def create(database: Database) -> int:
        async with database.transaction() as connection:
            users = await lock_users_by_name(connection, [owner] if owner.isprintable() else [])
            if owner not in users:
                raise UserNotFound(f"There is no user {owner!r}.")
            project = CreateProject(name, users[owner].id, secret)
            [project_id] = await project_commands.create_projects(connection, [project])
            return project_id

    settings = Settings.from_environment()
    with databases(settings) as urls:
        _prepare(settings, {"main": urls["main"]}, migrate=False)
        project_id = with_database(settings, urls["main"], create)
    _show_secret(f"Project {project_id} is there.", secret)


@projects_app.command("rotate-secret")
def projects_rotate_secret(
    project_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=2**63 - 1)],
) -> None:
    """Replace a project's secret, and show the new one, once. The old one is void at once."""
    secret = project_commands.new_secret()

    async def rotate(database: Database) -> None:
        async with database.transaction() as connection:
            await project_commands.rotate_secret(connection, project_id, secret)

    settings = Settings.from_environment()
    with databases(settings) as urls:
        _prepare(settings, {"main": urls["main"]}, migrate=False)
        with_database(settings, urls["main"], rotate)
    _show_secret(f"Project {project_id} has a new secret.", secret)


def _show_secret(message: str, secret: str) -> None:
    console.print(f"{message} This secret is not shown again:")
    console.print(secret, markup=False)


@sql_app.command("list")
def sql_list() -> None:
    """List every statement with its purpose, locks and indexes."""
    _print_table(
        ("name", "purpose", "locks", "index"),
        [
            (query.name, query.purpose, query.locks, ", ".join(query.indexes) or "none")
            for query in queries
        ],
    )


@sql_app.command("show")
def sql_show(name: Annotated[str, typer.Argument(help="As in accounts/find_users.")]) -> None:
    """Print a statement, exactly as PostgreSQL gets it."""
    console.print(_find_query(name).sql, end="", markup=False)


@sql_app.command("explain")
def sql_explain(
    name: Annotated[str, typer.Argument(help="As in accounts/find_users.")],
    params: Annotated[
        list[str] | None,
        typer.Option("--param", help="With --analyze: NAME=TEXT, as in user_ids={1,2}."),
    ] = None,
    analyze: Annotated[
        bool, typer.Option(help="Run it, and roll back: the plan with times and buffers.")
    ] = False,
) -> None:
    """Print a statement's plan on the live database.

    What --analyze draws from a sequence is not rolled back: those ids stay unused.
    """
    query = _find_query(name)
    if analyze and "setval(" in query.sql:
        raise StartRefused(f"{name} moves a sequence for good: it is not run to be explained.")
    given = dict(_parse_param(text) for text in params or ())
    unknown = set(given) - {param.name for param in query.params}
    if unknown:
        raise StartRefused(f"{name} has no parameter {', '.join(sorted(unknown))}.")

    async def plan(database: Database) -> str:
        async with database.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                return await contracts.explain(connection, query, analyze=analyze, arguments=given)
            finally:
                await transaction.rollback()

    settings = Settings.from_environment()
    with databases(settings) as urls:
        console.print(
            with_database(settings, urls[contracts.database_of(query)], plan), markup=False
        )


@sql_app.command("schema")
def sql_schema() -> None:
    """Print the tables of both databases, with what each column means, as Markdown."""

    def describe(name: str) -> Callable[[Database], Coroutine[Any, Any, str]]:
        async def work(database: Database) -> str:
            async with database.transaction() as connection:
                return await schema.describe(connection, name)

        return work

    settings = Settings.from_environment()
    with databases(settings) as urls:
        parts = [with_database(settings, url, describe(name)) for name, url in urls.items()]
    typer.echo("\n".join([schema.PREFACE, *parts]), nl=False)


@sql_app.command("grants")
def sql_grants(service: ServiceName) -> None:
    """Print the psql script that lets a role run a service, and do no more."""
    typer.echo(migrations.grants(service.value), nl=False)


@outbox_app.command("status")
def outbox_status() -> None:
    """Show the backlog, the age of its oldest event, and how many events were refused."""
    settings = Settings.from_environment()
    with databases(settings) as urls:
        row = with_database(patient(settings), urls["main"], outbox.describe_backlog)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("undelivered events", str(row["backlog"]))
    table.add_row("of these held back by a running transaction", str(row["held_back"]))
    table.add_row("age of the oldest, seconds", f"{row['oldest_age_s']:.1f}")
    table.add_row("since the last delivery, seconds", f"{row['idle_s']:.1f}")
    table.add_row("refused (dead letters)", str(row["dead"]))
    console.print(table)
    if row["stranded"]:
        raise OutboxStranded


@outbox_app.command("dead")
def outbox_dead(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 100,
) -> None:
    """List the events that the events service refused, and why."""
    settings = Settings.from_environment()
    with databases(settings) as urls:
        rows = with_database(
            patient(settings), urls["main"], lambda database: outbox.list_dead(database, limit)
        )
    for row in rows:
        console.print(
            f"{row['event_id']} {row['refused_at']:%Y-%m-%d %H:%M:%S} {row['name']} "
            f"{row['subject']} request {row['request_id'] or 'unknown'} "
            f"HTTP {row['status']}: {row['error']}",
            markup=False,
        )
    if not rows:
        console.print("No event was refused.")


@outbox_app.command("replay")
def outbox_replay(
    event_ids: Annotated[list[UUID] | None, typer.Argument(metavar="[EVENT_ID]...")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that were refused.")] = False,
) -> None:
    """Send refused events again."""
    if bool(event_ids) == every:
        raise StartRefused("Name the events to replay, or say --all.")
    settings = Settings.from_environment()
    columns = (TextColumn("events"), BarColumn(), MofNCompleteColumn())
    with (
        databases(settings) as urls,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task("events", total=None)

        def replay(database: Database) -> Coroutine[Any, Any, int]:
            if event_ids:
                return outbox.replay(database, event_ids)
            return outbox.replay_all(database, lambda count: bar.advance(task, count))

        count = with_database(patient(settings), urls["main"], replay)
    console.print(f"{count} events are back in the log.")


@outbox_app.command("rebase")
def outbox_rebase() -> None:
    """After a logical restore: renumber the undelivered events as this cluster's own."""
    settings = Settings.from_environment()
    with databases(settings) as urls:
        count = with_database(patient(settings), urls["main"], outbox.rebase)
    console.print(f"{count} undelivered events were renumbered.")


@app.command("settings")
def settings_command() -> None:
    """List the settings: what each takes, its default, what it is set to; exit 1 on a wrong one.

    Tokens and URLs are not shown.
    """
    _print_table(
        ("variable", "takes", "default", "set to", "meaning"), reference.describe(os.environ)
    )
    Settings.from_environment()


@app.command("doctor")
def doctor_command() -> None:
    """Check settings, database, migrations, SQL contracts and the money; exit 1 on a problem."""
    settings = Settings.from_environment()
    console.print(f"[green]ok[/green]   settings: {settings.env}")

    async def examine(database: Database) -> int:
        found = 0
        async for finding in doctor.examine(database, urls):
            _show_finding(finding)
            found += finding.problem is not None
        return found

    with databases(settings) as urls:
        problems = with_database(patient(settings), urls["main"], examine)
    raise typer.Exit(int(problems > 0))


@app.command("drill")
def drill_command(
    minutes: Annotated[float, typer.Option(min=0.05, max=1440, help="How long to kill.")] = 1.0,
    postgres: Annotated[bool, typer.Option("--postgres", help="Kill PostgreSQL, too.")] = False,
    clients: Annotated[int, typer.Option(min=1, max=256, help="That write at once.")] = 8,
    random_seed: Annotated[
        int | None, typer.Option("--seed", help="For the same choices as another drill.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="An empty folder to keep; else one for this drill only.")
    ] = None,
) -> None:
    """Kill -9 services under load, and check that nothing is lost and nothing there twice.

    Runs on an embedded database of its own. Exits with 1 on any difference.
    """
    # Imported here, as the other commands can do without.
    from rowlock import drill  # noqa: PLC0415

    settings = Settings.from_environment()
    if settings.database_url is not None or settings.events_database_url is not None:
        raise StartRefused("A drill never runs on a configured database: unset its URL first.")
    if data_dir is not None and data_dir.exists() and any(data_dir.iterdir()):
        raise StartRefused(f"{data_dir} is not empty: a drill needs a folder of its own.")
    chosen = random.randrange(2**32) if random_seed is None else random_seed  # noqa: S311
    folder = data_dir or Path(tempfile.mkdtemp(prefix="rowlock-drill-"))
    plan = drill.Plan(folder, minutes * 60, clients, postgres, chosen)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("starting", total=plan.duration_s)
        report = drill.run(
            plan,
            lambda seconds, writes, kills: progress.update(
                task, completed=seconds, description=f"{writes} writes, {kills} kills"
            ),
        )
    problems = _show_report(report, chosen)
    if data_dir is None and not problems:
        shutil.rmtree(folder)
    else:
        console.print(f"Data and logs are in {folder}.")
    raise typer.Exit(int(problems > 0))


def _show_report(report: "Report", chosen: int) -> int:
    """Print what a drill did and found; return how many problems that is."""
    journal = report.journal
    kills = ", ".join(f"{name} {count}" for name, count in sorted(report.kills.items()))
    console.print(f"Killed -9: {kills or 'nothing'} (--seed {chosen}).")
    console.print(
        f"Writes acknowledged: {journal.acknowledged}; sent again {journal.retries} times; "
        f"{journal.replays} answers had been lost and were replayed."
    )
    for (kind, status), count in sorted(journal.answers.items()):
        console.print(f"  {kind}: {count} times {status}")
    for finding in report.findings:
        _show_finding(finding)
    return sum(finding.problem is not None for finding in report.findings)


def _show_finding(finding: doctor.Finding) -> None:
    if finding.problem is None:
        console.print(f"[green]ok[/green]   {finding.check}: {finding.note}")
    else:
        console.print(f"[red]FAIL[/red] {finding.check}: ", end="")
        console.print(finding.problem, markup=False)


def _print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
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


def _find_query(name: str) -> Query:
    query = queries.find(name.removesuffix(".sql"))
    if query is None:
        raise StartRefused(f"There is no statement {name}: see rowlock sql list.")
    return query


def _parse_param(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise StartRefused(f"--param {text} is not like NAME=TEXT.")
    return name, value
