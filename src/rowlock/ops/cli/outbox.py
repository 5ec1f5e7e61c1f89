"""`rowlock outbox`: events on their way to the events service."""

from collections.abc import Coroutine
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from rowlock.engine import outbox
from rowlock.engine.database import Database
from rowlock.errors import OutboxStranded, StartRefused
from rowlock.ops.cli.common import console, databases, patient, with_database
from rowlock.settings import Settings

TIME = "%Y-%m-%d %H:%M:%S"

app = typer.Typer(help="Show and repair the delivery of events.", no_args_is_help=True)


@app.command("status")
def outbox_status() -> None:
    """Show the backlog, the age of its oldest event, and which process delivers since when."""
    settings = Settings.from_environment()
    with databases(settings) as urls:
        row, leader = with_database(patient(settings), urls["main"], outbox.describe_delivery)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("undelivered events", str(row["backlog"]))
    table.add_row("of these held back by a running transaction", str(row["held_back"]))
    table.add_row("age of the oldest, seconds", f"{row['oldest_age_s']:.1f}")
    table.add_row("since the last delivery, seconds", f"{row['idle_s']:.1f}")
    table.add_row("refused or parked (dead letters)", str(row["dead"]))
    if leader is not None:
        held = "delivers" if leader["is_held"] else "delivered last; no process leads now"
        table.add_row(
            f"{leader['holder']} {held}", f"epoch {leader['epoch']}, since {leader['since']:{TIME}}"
        )
    else:
        table.add_row("no process has delivered yet", "")
    console.print(table)
    if row["stranded"]:
        raise OutboxStranded


@app.command("dead")
def outbox_dead(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 100,
) -> None:
    """List the events that were refused or parked, and why."""
    settings = Settings.from_environment()
    with databases(settings) as urls:
        rows = with_database(
            patient(settings), urls["main"], lambda database: outbox.list_dead(database, limit)
        )
    for row in rows:
        console.print(
            f"{row['event_id']} {row['refused_at']:{TIME}} {row['name']} "
            f"{row['subject']} request {row['request_id'] or 'unknown'} "
            f"by {row['actor'] or 'unknown'} "
            + (f"HTTP {row['status']}: " if row["status"] else "")
            + row["error"],
            markup=False,
        )
    if not rows:
        console.print("No event was refused.")


@app.command("park")
def outbox_park(
    event_ids: Annotated[list[UUID], typer.Argument(metavar="EVENT_ID")],
) -> None:
    """Set undelivered events aside, so that others are delivered; replay sends them again."""
    settings = Settings.from_environment()
    with databases(settings) as urls:
        count = with_database(
            patient(settings), urls["main"], lambda database: outbox.park(database, event_ids)
        )
    console.print(f"Parked {count} events.")
    if count < len(set(event_ids)):
        raise StartRefused("The others are delivered, or are not in the outbox.")


@app.command("replay")
def outbox_replay(
    event_ids: Annotated[list[UUID] | None, typer.Argument(metavar="EVENT_ID")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that were refused.")] = False,
) -> None:
    """Send refused events again."""
    if bool(event_ids) == every:
        raise StartRefused("Name the events to replay, or use --all.")
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
    console.print(f"Replayed {count} events.")


@app.command("rebase")
def outbox_rebase() -> None:
    """Renumber the undelivered events as this cluster's own, after a logical restore."""
    settings = Settings.from_environment()
    with databases(settings) as urls:
        count = with_database(patient(settings), urls["main"], outbox.rebase)
    console.print(f"{count} undelivered events were renumbered.")
