"""`rowlock outbox`: events on their way to the events service."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from rowlock.engine import outbox
from rowlock.engine.database import Database
from rowlock.errors import OutboxStranded, StartRefused
from rowlock.ops.cli.common import console, databases, parse_duration, patient, with_database
from rowlock.settings import Settings

TIME = "%Y-%m-%d %H:%M:%S"
LOOK_S = 0.5  # between two looks at what is sent again
STALL_S = 60.0  # without progress, after which it is left to the relay

app = typer.Typer(help="Show and repair the delivery of events.", no_args_is_help=True)


@app.command("status")
def outbox_status() -> None:
    """Show the backlog, what is kept of what was delivered, and which process delivers."""
    settings = Settings.from_environment()
    with databases(settings) as urls:
        row, leader = with_database(patient(settings), urls["main"], outbox.describe_delivery)
        kept = with_database(patient(settings), urls["main"], outbox.describe_kept)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("undelivered events", str(row["backlog"]))
    table.add_row("of these held back by a running transaction", str(row["held_back"]))
    table.add_row("age of the oldest, seconds", f"{row['oldest_age_s']:.1f}")
    table.add_row("since the last delivery, seconds", f"{row['idle_s']:.1f}")
    table.add_row("refused or parked (dead letters)", str(row["dead"]))
    table.add_row("delivered and kept", str(kept["kept"]))
    since = kept["kept_since"]
    table.add_row(
        "complete since, by the time of delivery",
        "no time" if since is None else f"{since:{TIME}} {since:%Z}",
    )
    if kept["resend"]:
        table.add_row("the relay is asked to go back", "")
    if kept["rewound_at"] is not None:
        table.add_row("the relay last went back", f"{kept['rewound_at']:{TIME}} {kept['reason']}")
    if kept["lost_at"] is not None:
        table.add_row("not all was kept (rowlock doctor)", f"{kept['lost_at']:{TIME}}")
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


@app.command("resend")
def outbox_resend(
    since: Annotated[
        str,
        typer.Option(
            metavar="TIME|DURATION",
            help="When they were delivered: a time such as 2026-11-30T12:00 (UTC unless it says "
            "otherwise), or how long ago, such as 30m.",
        ),
    ],
) -> None:
    """Deliver again what was delivered since a time and is kept; stored events stay as they are."""
    start = parse_start(since, datetime.now(UTC))
    settings = Settings.from_environment()
    columns = (TextColumn("events"), BarColumn(), MofNCompleteColumn())
    with (
        databases(settings) as urls,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task("events", total=None)

        async def resend(database: Database) -> tuple[outbox.Resend, bool]:
            asked = await outbox.ask_resend(database, start)
            bar.update(task, total=asked.events)
            if not asked.is_led:
                return asked, False
            return asked, await _watch(
                database, asked, lambda left: bar.update(task, completed=asked.events - left)
            )

        asked, is_done = with_database(patient(settings), urls["main"], resend)
    if is_done:
        console.print(f"Delivered {asked.events} events again.")
    elif not asked.is_led:
        console.print(
            f"{asked.events} events are delivered again once a process delivers: none does now."
        )
    else:
        raise StartRefused(
            f"The relay has been asked to deliver {asked.events} events again, and makes no "
            "progress: see rowlock outbox status, and its log."
        )


def parse_start(text: str, now: datetime) -> datetime:
    """Return the time that `text` names, or how long ago. Raises StartRefused."""
    try:
        start = datetime.fromisoformat(text)
        start = start.replace(tzinfo=start.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        start = None
    # Digits alone are a date to Python.
    if start is None or text.isdigit():
        try:
            return now - parse_duration(text)
        except StartRefused:
            raise StartRefused(
                f"{text!r} is neither a time such as 2026-11-30T12:00 nor a length of time such "
                "as 30m."
            ) from None
    if start > now:
        raise StartRefused(f"{text} is in the future.")
    return start


async def _watch(database: Database, asked: outbox.Resend, advance: Callable[[int], None]) -> bool:
    """Return whether all is delivered again, once it is; `advance` gets what is left."""
    least, moved_at = asked.events + 1, time.monotonic()
    while time.monotonic() < moved_at + STALL_S:
        row = await outbox.measure_resend(database, asked)
        left = asked.events if row["asked"] else row["remaining"]
        advance(left)
        if not left or (not row["asked"] and not row["remaining"]):
            return True
        if left < least:
            least, moved_at = left, time.monotonic()
        await asyncio.sleep(LOOK_S)
    return False


@app.command("accept")
def outbox_accept() -> None:
    """Let doctor and metrics say no more that events were lost which were no longer kept."""
    settings = Settings.from_environment()
    with databases(settings) as urls:
        count = with_database(patient(settings), urls["main"], outbox.accept_losses)
    console.print(f"Accepted {count} losses.")


@app.command("rebase")
def outbox_rebase() -> None:
    """Renumber the undelivered events as this cluster's own, after a logical restore."""
    settings = Settings.from_environment()
    with databases(settings) as urls:
        count = with_database(patient(settings), urls["main"], outbox.rebase)
    console.print(f"{count} undelivered events were renumbered.")
