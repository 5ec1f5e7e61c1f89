"""`rowlock settings`, `rowlock doctor` and `rowlock drill`: checks of an installation."""

import json
import random
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from rowlock.engine.database import Database
from rowlock.errors import InvalidSettings, StartRefused
from rowlock.ops import doctor, embedded
from rowlock.ops.cli.common import (
    console,
    databases,
    patient,
    print_table,
    show_finding,
    with_database,
)
from rowlock.ops.doctor import Finding
from rowlock.settings import Settings, table
from rowlock.settings.names import ServiceName

if TYPE_CHECKING:
    from rowlock.ops.drill import Report

app = typer.Typer()


ServicesServed = Annotated[
    list[ServiceName] | None,
    typer.Argument(
        help="The services that this machine serves: all by default.", metavar="SERVICE"
    ),
]


@app.command("settings")
def settings_command(names: ServicesServed = None) -> None:
    """List the settings: what each takes, its default, what it is set to, and what is wrong.

    Tokens and URLs are not shown. Exits with 1 on a problem; in production that includes what the
    services lack.
    """
    print_table(("variable", "takes", "default", "set to", "meaning"), table.describe())
    Settings.from_environment(names or None)


@app.command("doctor")
def doctor_command(
    names: ServicesServed = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print findings, and how far it is, as lines of JSON.")
    ] = False,
) -> None:
    """Check settings, database, migrations, SQL contracts and the money; exit 1 on a problem."""
    # Imported here, as the other commands start faster without HTTP.
    from rowlock.services import SERVICES  # noqa: PLC0415

    show = _print_json if as_json else show_finding
    settings, wrong = _check_settings(names, show)
    serving = names or settings.services

    async def examine(database: Database) -> int:
        found = 0
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        with Progress(
            *columns, console=console, transient=True, disable=as_json or not console.is_terminal
        ) as bar:
            task = bar.add_task("checking", total=None)

            def advance(noun: str, done: int, total: int) -> None:
                bar.update(task, description=noun, completed=done, total=total)
                if as_json:
                    typer.echo(json.dumps({"checking": noun, "done": done, "total": total}))

            async for finding in doctor.examine(
                database,
                urls,
                settings,
                advance,
                Counter(each for name in serving for each in SERVICES[name].databases),
            ):
                show(finding)
                found += finding.problem is not None
        return found

    with databases(settings) as urls:
        problems = with_database(patient(settings), urls["main"], examine)
    raise typer.Exit(int(wrong + problems > 0))


def _print_json(finding: Finding) -> None:
    typer.echo(json.dumps(finding._asdict()))


def _check_settings(
    names: Sequence[ServiceName] | None, show: Callable[[Finding], None]
) -> tuple[Settings, int]:
    """Show what is wrong with the settings; return them, and the number of problems.

    In production, that includes what the services with these `names`, or all, lack.
    Ends the command where the settings don't even say which databases to check.
    """
    try:
        settings = Settings.from_environment(names or None)
    except InvalidSettings as error:
        problems = error.message.splitlines()
        for problem in problems:
            show(Finding("settings", problem))
        try:
            return Settings.from_environment(), len(problems)
        except InvalidSettings:
            raise typer.Exit(1) from None
    show(Finding("settings", None, settings.env))
    return settings, 0


@app.command("drill")
def drill_command(  # noqa: PLR0917  # each is an option of the command
    minutes: Annotated[
        float, typer.Option(min=0.05, max=1440, help="How long to kill processes.")
    ] = 1.0,
    postgres: Annotated[bool, typer.Option("--postgres", help="Kill PostgreSQL, too.")] = False,
    replicas: Annotated[
        int,
        typer.Option(
            min=0,
            max=4,
            help="Make this many standbys, and kill, freeze and switch over their primary instead.",
        ),
    ] = 0,
    clients: Annotated[int, typer.Option(min=1, max=256, help="Number of concurrent clients.")] = 8,
    random_seed: Annotated[
        int | None, typer.Option("--seed", help="Repeats the random choices of another drill.")
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="An empty folder, which is kept; a temporary one by default."),
    ] = None,
) -> None:
    """Kill -9 services under load, and check that nothing is lost and nothing is stored twice.

    Runs on an embedded database of its own. Exits with 1 on any difference.
    """
    settings = Settings.from_environment()
    if settings.database.database_url or settings.database.events_database_url:
        raise StartRefused("A drill never runs on a configured database: unset its URL first.")
    if postgres and replicas:
        raise StartRefused("--replicas kills PostgreSQL anyway: leave out --postgres.")
    if data_dir is not None and data_dir.exists() and any(data_dir.iterdir()):
        raise StartRefused(f"{data_dir} is not empty: a drill needs a folder of its own.")
    embedded.check_installed(alternative="")
    # Not above: it needs that extra, and HTTP, without which the other commands start faster.
    from rowlock.ops import drill  # noqa: PLC0415

    chosen = random.randrange(2**32) if random_seed is None else random_seed  # noqa: S311
    folder = data_dir or Path(tempfile.mkdtemp(prefix="rowlock-drill-"))
    plan = drill.Plan(
        folder, minutes * 60, clients, kills_postgres=postgres, seed=chosen, replicas=replicas
    )
    # As Ctrl-C, so that all is cleared away.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("starting", total=plan.duration_s)
            report = drill.run(
                plan,
                lambda seconds, writes, kills: progress.update(
                    task, completed=seconds, description=f"{writes} writes, {kills} kills"
                ),
            )
    except KeyboardInterrupt:
        if data_dir is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    problems = _show_report(report, chosen, is_cluster=replicas > 0)
    if data_dir is None and not problems:
        shutil.rmtree(folder)
    else:
        console.print(f"Data and logs are in {folder}.")
    raise typer.Exit(int(problems > 0))


def _show_report(report: "Report", chosen: int, *, is_cluster: bool) -> int:
    """Print what a drill did and found; return how many problems that is."""
    journal = report.journal
    kills = ", ".join(f"{name} {count}" for name, count in sorted(report.kills.items()))
    what = "Done to the cluster" if is_cluster else "Killed -9"
    console.print(f"{what}: {kills or 'nothing'} (--seed {chosen}).")
    console.print(
        f"Writes acknowledged: {journal.acknowledged}; sent again {journal.retries} times; "
        f"{journal.replays} answers had been lost and were replayed."
    )
    for (kind, status), count in sorted(journal.answers.items()):
        console.print(f"  {kind}: {count} times {status}")
    for finding in report.findings:
        show_finding(finding)
    return sum(finding.problem is not None for finding in report.findings)
