"""`rowlock import`: users, products, services, invoices and projects from files."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from types import FrameType
from typing import Annotated, Never

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from rowlock.ops.cli.common import (
    console,
    databases,
    need_session,
    patient,
    prepare,
    with_database,
)
from rowlock.ops.imports.files import Format, Input, opened
from rowlock.ops.imports.kinds import INVOICES, KINDS, PRODUCTS, PROJECTS, SERVICES, USERS
from rowlock.ops.imports.loading import Source, Watch, load
from rowlock.settings import Settings

LINE_ROWS = 100_000  # between two lines where there is no terminal
INTERRUPTED = 128 + signal.SIGINT

app = typer.Typer()


class KindName(StrEnum):
    """What the rows of a file are."""

    USERS = USERS.name
    PRODUCTS = PRODUCTS.name
    SERVICES = SERVICES.name
    INVOICES = INVOICES.name
    PROJECTS = PROJECTS.name


@app.command("import")
def import_command(
    kind: Annotated[KindName, typer.Argument(metavar="|".join(KindName), help="What it holds.")],
    file: Annotated[str, typer.Argument(help="The file; - reads standard input.")],
    format_: Annotated[
        Format | None,
        typer.Option("--format", help="How it is written, if its name does not tell."),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Check everything, and change nothing.")] = False,
    skip_existing: Annotated[
        bool, typer.Option(help="Leave rows alone that are there already.")
    ] = False,
) -> None:
    """Add users, products, services, invoices or projects from a file: all of its rows, or none.

    JSON (an array of objects, or objects one after another) or CSV (a header, commas, UTF-8). Each
    problem is told with its line. Rowlock may go on serving. docs/moving-in.md shows the fields.
    """
    settings = Settings.from_environment()
    with opened(file, format_) as source, databases(settings) as urls, _watch() as watch:
        prepare(settings, {"main": urls["main"]})
        need_session(settings, urls["main"], "rowlock import")
        [loaded] = with_database(
            patient(settings),
            urls["main"],
            lambda database: load(
                database,
                [Source(source, KINDS[kind])],
                watch,
                skips_known=skip_existing,
                is_dry=dry_run,
            ),
        )
    known = f"; {loaded.known:,} were there already" if skip_existing else ""
    if dry_run:
        console.print(f"Nothing was changed: {loaded.added:,} {kind} can be imported{known}.")
    else:
        console.print(f"Imported {loaded.added:,} {kind}{known}.")


@contextmanager
def _watch() -> Iterator["_Shown"]:
    """Show how far an import is, and end it when the operator says so."""
    # asyncio would wait for the present read to end, which on a pipe may be never.
    before = signal.signal(signal.SIGINT, _stop)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rows]}"))
    progress = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
    watch = _Shown(progress)
    try:
        with progress if console.is_terminal else nullcontext():
            yield watch
    except KeyboardInterrupt:
        if watch.commits:
            typer.echo("rowlock: stopped during COMMIT: --dry-run tells what was done.", err=True)
        else:
            typer.echo("rowlock: stopped: nothing was changed.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGINT, before)


def _stop(_signal: int, _frame: FrameType | None) -> Never:
    raise KeyboardInterrupt


class _Shown(Watch):
    """A bar on a terminal; to anything else a line for every so many rows."""

    def __init__(self, progress: Progress) -> None:
        self.commits = False
        self._progress = progress
        self._task: TaskID | None = None
        self._doing = ""
        self._lines = 0

    def read(self, file: Input, rows: int) -> None:
        self._show("read", file, rows, done=file.bytes_read, total=file.size)

    def check(self, file: Input) -> None:
        self._show("checked", file, None, done=0, total=None)

    def write(self, file: Input, rows: int, total: int) -> None:
        self._show("written", file, rows, done=rows, total=total)

    def commit(self) -> None:
        self.commits = True

    def _show(
        self, doing: str, file: Input, rows: int | None, *, done: int, total: int | None
    ) -> None:
        shown = "" if rows is None else f"{rows:,} rows"
        if not console.is_terminal:
            lines = (rows or 0) // LINE_ROWS
            if doing == self._doing and lines > self._lines:
                console.print(f"{file.name}: {shown} {doing}", markup=False)
            self._doing, self._lines = doing, lines
            return
        if doing != self._doing or self._task is None:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._doing = doing
            self._task = self._progress.add_task(doing, total=None, rows="")
        self._progress.update(self._task, completed=done, total=total, rows=shown)
