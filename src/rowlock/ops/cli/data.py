"""`rowlock seed` and `rowlock projects`: data that the API does not create."""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rowlock import texts
from rowlock.accounts.transactions import lock_users_by_name
from rowlock.engine.database import Database
from rowlock.errors import InvalidDataFile, StartRefused
from rowlock.ops import seed
from rowlock.ops.cli.common import (
    console,
    databases,
    need_session,
    parse_duration,
    patient,
    prepare,
    show_secret,
    with_database,
)
from rowlock.ops.imports.files import Format, opened
from rowlock.ops.imports.kinds import SEED_PROJECTS, SEED_USERS
from rowlock.ops.imports.loading import Loaded, Source, Watch, load
from rowlock.projects.rules import NAME_LENGTH, CreateProject
from rowlock.projects.transactions import create_projects, new_secret, rotate_secret
from rowlock.rejections import UserNotFound
from rowlock.settings import Settings

DEMO_IS_THERE = (
    "The demo data is in this database: load files into an empty one, as rowlock serve --no-demo "
    "leaves it."
)

seed_app = typer.Typer()
projects_app = typer.Typer(help="Create projects, and replace their secrets.", no_args_is_help=True)


@seed_app.command("seed")
def seed_command(
    users: Annotated[
        int | None,
        typer.Option(min=1, max=100_000_000, help="Load-test users instead: load-1 to load-N."),
    ] = None,
    users_file: Annotated[
        Path | None,
        typer.Option(help="Users from a JSON file instead, with their ids and balances."),
    ] = None,
    projects_file: Annotated[
        Path | None, typer.Option(help="Projects from a JSON file instead, with their ids.")
    ] = None,
) -> None:
    """Load the demo data, or many users for load tests, or your own data from files.

    Rows that exist stay as they are. The demo data is never added to other data.
    """
    settings = Settings.from_environment()
    if users_file is not None or projects_file is not None:
        if users is not None:
            raise StartRefused("--users can't be combined with files.")
        _load_files(settings, users_file, projects_file)
        return
    with databases(settings) as urls:
        # Load tests need a catalogue.
        prepare(settings, {"main": urls["main"]}, demo=users is not None)
        if users is None:
            with_database(settings, urls["main"], _load_demo_data)
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
        console.print(f"Created the users load-1 to load-{users}.")


async def _load_demo_data(database: Database) -> None:
    if await seed.has_data(database) and not await seed.has_demo_data(database):
        raise StartRefused("There is other data already: the demo data needs an empty database.")
    await seed.demo(database)


def _load_files(settings: Settings, users_file: Path | None, projects_file: Path | None) -> None:
    paths = {SEED_USERS: users_file, SEED_PROJECTS: projects_file}
    with ExitStack() as files:
        sources = [
            Source(files.enter_context(opened(str(path), Format.JSON)), kind)
            for kind, path in paths.items()
            if path is not None
        ]
        urls = files.enter_context(databases(settings))
        prepare(settings, {"main": urls["main"]})
        need_session(settings, urls["main"], "rowlock seed of files")
        loaded = with_database(
            patient(settings), urls["main"], lambda database: _load(database, sources)
        )
    new = {source.kind.name: each.added for source, each in zip(sources, loaded, strict=True)}
    console.print(f"New: {new.get('users', 0)} users, {new.get('projects', 0)} projects.")


async def _load(database: Database, sources: Sequence[Source]) -> list[Loaded]:
    try:
        return await load(database, sources, Watch(), skips_known=True)
    except InvalidDataFile as error:
        if await seed.has_demo_data(database):
            raise InvalidDataFile(f"{error.message}\n{DEMO_IS_THERE}") from None
        raise


@projects_app.command("create")
def projects_create(
    name: Annotated[str, typer.Argument(help="The name that people see.")],
    owner: Annotated[str, typer.Option(metavar="USERNAME", help="Username of the owner.")],
) -> None:
    """Create a project, and show its secret, once."""
    if not 1 <= len(name) <= NAME_LENGTH or texts.problem(name) is not None:
        raise StartRefused(f"A name has 1 to {NAME_LENGTH} characters, and shows something.")
    secret = new_secret()

    async def create(database: Database) -> int:
        async with database.transaction() as connection:
            users = await lock_users_by_name(connection, [] if texts.problem(owner) else [owner])
            if owner not in users:
                raise UserNotFound(f"There is no user {owner!r}.")
            project = CreateProject(name, users[owner].id, secret)
            [project_id] = await create_projects(connection, [project])
            return project_id

    settings = Settings.from_environment()
    with databases(settings) as urls:
        prepare(settings, {"main": urls["main"]})
        project_id = with_database(settings, urls["main"], create)
    show_secret(f"Project {project_id} created.", secret)


@projects_app.command("rotate-secret")
def projects_rotate_secret(
    project_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=2**63 - 1)],
    overlap: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How long the old secret is still valid, such as 12h."),
    ] = None,
    at_once: Annotated[
        bool, typer.Option("--now", help="Void the old secret at once, as it has leaked.")
    ] = False,
) -> None:
    """Replace a project's secret, and show the new one, once.

    The old secret is valid for 24 h more, or for `--overlap`, or else for
    `ROWLOCK_WEBHOOK_OVERLAP_S`. An older one is void.
    """
    if at_once and overlap is not None:
        raise StartRefused("--now and --overlap can't be combined.")
    secret = new_secret()
    settings = Settings.from_environment()
    length = timedelta(seconds=0 if at_once else settings.projects.webhook_overlap_s)
    if overlap is not None:
        length = parse_duration(overlap)

    async def rotate(database: Database) -> None:
        async with database.transaction() as connection:
            await rotate_secret(connection, project_id, secret, length)

    with databases(settings) as urls:
        prepare(settings, {"main": urls["main"]})
        with_database(settings, urls["main"], rotate)
    show_secret(f"Secret of project {project_id} replaced.", secret)
