"""The command line: a module for each group of commands."""

import signal
import sys
from typing import Annotated

import asyncpg
import psycopg
import typer

from rowlock import __version__
from rowlock.errors import RowlockError
from rowlock.ops.cli import (
    checks,
    data,
    epochs,
    events,
    imports,
    keys,
    migrate,
    openapi,
    outbox,
    serve,
    shop,
    sql,
    subscriptions,
)
from rowlock.ops.cli.common import console

app = typer.Typer(
    help="A back office on PostgreSQL whose concurrent requests commit together.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(serve.app)
app.add_typer(data.seed_app)
app.add_typer(imports.app)
app.add_typer(checks.app)
app.add_typer(openapi.app)
app.add_typer(migrate.app, name="migrate")
app.add_typer(sql.app, name="sql")
app.add_typer(keys.app, name="keys")
app.add_typer(shop.app, name="shop")
app.add_typer(subscriptions.app, name="subscriptions")
app.add_typer(events.app, name="events")
app.add_typer(outbox.app, name="outbox")
app.add_typer(epochs.app, name="epoch")
app.add_typer(data.projects_app, name="projects")


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Print the version if asked to."""
    if show:
        console.print(f"rowlock {__version__}")
        raise typer.Exit


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
