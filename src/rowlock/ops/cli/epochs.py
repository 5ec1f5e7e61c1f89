"""`rowlock epoch`: when the cluster may have lost what it wrote last."""

from typing import Annotated

import typer

from rowlock.engine.database import Database
from rowlock.engine.epochs import TIME, Epoch, Epochs, find_epochs
from rowlock.engine.statements import queries
from rowlock.ops.cli.common import console, databases, prepare, print_table, with_database
from rowlock.settings import Settings
from rowlock.settings.names import DatabaseName

app = typer.Typer(
    help="Show where the databases may have lost writes, or declare it.", no_args_is_help=True
)


@app.command("list")
def epoch_list(
    only: Annotated[
        DatabaseName | None, typer.Option("--database", help="Both by default.")
    ] = None,
) -> None:
    """List the epochs of each database, oldest first: where it was written, and how ids jumped."""
    settings = Settings.from_environment()
    rows = []
    with databases(settings) as urls:
        names = [only] if only else [*DatabaseName]
        prepare(settings, {name: urls[name] for name in names})
        for name in names:
            epochs = with_database(settings, urls[name], _find)
            rows += [_as_texts(name, epoch) for epoch in epochs]
    print_table(("database", "epoch", "timeline", "cluster", "since", "declared", "ids"), rows)


@app.command("new")
def epoch_new(
    name: Annotated[
        DatabaseName, typer.Argument(metavar="DATABASE", help="The one that was restored.")
    ],
) -> None:
    """Let all ids of a database jump ahead, and tell readers of events that some may be lost.

    For after a restore that leaves the timeline as it is, such as that of a disk's snapshot. Else
    the services do it themselves, before they write.
    """
    settings = Settings.from_environment()
    with databases(settings) as urls:
        prepare(settings, {name: urls[name]})
        epochs = with_database(settings, urls[name], _declare)
    console.print(f"{name}: {epochs.describe_last()}", markup=False)


async def _find(database: Database) -> list[Epoch]:
    async with database.connection() as connection:
        return await find_epochs(connection)


async def _declare(database: Database) -> Epochs:
    async with database.transaction() as connection:
        [row] = await queries.epochs.declare(connection)
    epochs = await _find(database)
    return Epochs([epoch for epoch in epochs if epoch.number <= row["number"]])


def _as_texts(name: DatabaseName, epoch: Epoch) -> tuple[str, ...]:
    jumps = (
        f"{table} {jump.last or 'unused'} → {jump.first}" for table, jump in epoch.jumps.items()
    )
    return (
        name,
        str(epoch.number),
        str(epoch.timeline),
        str(epoch.system_identifier),
        f"{epoch.since:{TIME}}",
        epoch.declared,
        ", ".join(jumps),
    )
