"""`rowlock migrate`."""

from typing import Annotated

import typer

from rowlock.engine import migrations
from rowlock.ops.cli.common import console, databases, migrate
from rowlock.settings import Settings
from rowlock.settings.names import DatabaseName

app = typer.Typer(help="Apply, undo and show migrations.", no_args_is_help=True)


@app.command("up")
def migrate_up(
    only: Annotated[
        DatabaseName | None, typer.Option("--database", help="Both by default.")
    ] = None,
) -> None:
    """Apply the migrations that are missing, and give users of an earlier release their keys.

    A database where another program has tables of these names is refused; nothing is changed.
    """
    settings = Settings.from_environment()
    with databases(settings) as urls:
        names = [only] if only else list(urls)
        for name in names:  # before anything is applied anywhere
            migrations.check(urls[name], name)
        for name in names:
            applied = migrate(settings, name, urls[name])
            console.print(f"{name}: {', '.join(applied) if applied else 'nothing to apply'}")


@app.command("down")
def migrate_down(
    only: Annotated[
        DatabaseName, typer.Option("--database", help="The one to undo them in.")
    ] = DatabaseName.MAIN,
    steps: Annotated[int, typer.Option(min=1, help="How many to undo.")] = 1,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask: the tables' rows are lost.")
    ] = False,
) -> None:
    """Undo the last migrations. The rows of the tables that they made are lost."""
    if not yes:
        typer.confirm("This drops tables and all their rows. Go on?", abort=True)
    with databases(Settings.from_environment()) as urls:
        undone = migrations.down(urls[only], only, steps)
        console.print(f"{only}: {', '.join(undone) if undone else 'nothing to undo'}")


@app.command("status")
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
