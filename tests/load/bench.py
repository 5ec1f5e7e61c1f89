"""`make bench`: how fast the service is, by ratios to what bounds it, on this machine.

Each row measures its sides in turn, round after round, so that a machine that drifts drifts for
all of them; a ratio is the median of the rounds' ratios. The result is a table, and JSON and a
chart in bench-results/. With --scaling, it is how the cost of a request grows. Speed is shown, not
tested: the exit status is 1 only if something did not run, or what it wrote does not add up.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

import audit
import background
import chart
import data
import machine
import report
import resting
import rows
import scaling
import servers
import settling
from harness import BenchFailed, Stage, stage
from report import Memory, Outcome, Result, console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from sides import Row, Side
from tools import Measurement

from rowlock.errors import RowlockError

BACKGROUND = "background"
BACKLOG = 100_000  # orders to settle, events to relay
DEPLOYMENTS = 5_000_000
REST_S = 60
WARM_UP_S = 1

QUICK_BACKLOG = 20_000
QUICK_DEPLOYMENTS = 250_000
QUICK_REST_S = 10


class ProgressBar:
    """Shows what is being done, and how much of the measuring is over."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        self._bar = Bar(
            *columns,
            console=console,
            transient=True,
            refresh_per_second=2,
            speed_estimate_period=60,
        )
        self._task: TaskID = self._bar.add_task("starting PostgreSQL", total=None)

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def expect(self, seconds: float | None) -> None:
        self._bar.update(self._task, total=seconds)

    def doing(self, what: str) -> None:
        self._bar.update(self._task, description=what)
        if not console.is_terminal:
            console.print(what)

    def passed(self, seconds: float) -> None:
        self._bar.advance(self._task, seconds)


def measure(options: argparse.Namespace) -> Outcome:
    """Return what all the rows asked for come to."""
    quick = options.quick
    many = QUICK_DEPLOYMENTS if quick else DEPLOYMENTS
    chosen = [each for each in rows.rows(many) if not options.only or each.name in options.only]
    if quick:
        chosen = [each.without_goals() for each in chosen]
    skipped: list[str] = []
    with ProgressBar() as progress, stage(servers.specs(many), progress) as ready:
        described = ready.describe_machine()
        watch = machine.Watch([os.getpid(), ready.postgres.pid])
        measurable = [each for each in (_measurable(row, ready, skipped) for row in chosen) if each]
        if measurable:
            data.load(ready)
            data.load_peers(ready)
            audit.check_answers(ready, _audited(measurable))
        sides = sum(len(row.sides) for row in measurable)
        progress.expect(sides * (WARM_UP_S + options.rounds * options.seconds))
        results = [_measure(row, ready, options) for row in measurable]
        if results:
            audit.check_books(ready, audit.BOOKS | audit.TRANSFERS)
        progress.expect(None)
        is_used = any("rowlock" in row.servers for row in measurable)
        memory = Memory.of(ready.server("rowlock")) if is_used else None
        figures: list[background.Figure] = []
        if not options.only or BACKGROUND in options.only:
            progress.doing("background")
            ready.stop_all_but(())
            skipped += [
                f"settling by {worker.name}: {worker.lacks}"
                for worker in settling.workers()
                if worker.lacks
            ]
            figures = background.measure(ready, QUICK_BACKLOG if quick else BACKLOG)
            progress.doing("rest")
            figures.append(resting.measure(QUICK_REST_S if quick else REST_S))
        complaints = watch.complaints()
    return Outcome(
        described,
        options.rounds,
        options.seconds,
        results,
        [figure if not quick else replace(figure, target="", reached=None) for figure in figures],
        memory,
        skipped,
        complaints,
        judged=not quick,
    )


def check() -> None:
    """Tell whether the sides that run here, without wrk, do what the service does."""
    with ProgressBar() as progress, stage(servers.specs(0), progress) as ready:
        data.load(ready)
        data.load_peers(ready)
        lacking = {name: ready.specs[name].missing() for name in servers.AUDITED}
        present = [name for name, reason in lacking.items() if reason is None]
        audit.check_answers(ready, present)
        for row in rows.rows(0):
            for side in row.sides:
                if side.server is None and not row.settings:
                    progress.doing(f"{row.name} · {side.name}")
                    side.measure(ready, WARM_UP_S)
        audit.check_books(ready, audit.BOOKS | audit.TRANSFERS)
    for name, reason in lacking.items():
        console.print(f"{name}: {reason or 'answers and writes as rowlock does'}")


def _measurable(row: Row, ready: Stage, skipped: list[str]) -> Row | None:
    """Return the row with those sides that can be measured here; say which can't, and why."""
    left: list[Side] = []
    for side in row.sides:
        reason = side.missing(ready)
        if reason is None:
            left.append(side)
            continue
        skipped.append(f"{row.name}, side {side.name}: {reason}")
        if side is row.sides[0]:
            return None
    return row.with_sides(left) if len(left) > 1 else None


def _audited(measurable: Sequence[Row]) -> list[str]:
    named = {name for row in measurable for name in row.servers}
    return [peer for peer in servers.AUDITED if peer in named]


def _measure(row: Row, ready: Stage, options: argparse.Namespace) -> Result:
    # The service stays, as its memory is watched over all rows.
    ready.stop_all_but({*row.servers, "rowlock"})
    runs: dict[str, list[Measurement]] = {side.name: [] for side in row.sides}
    with ready.postgres.changed(row.settings):
        for side in row.sides:
            ready.progress.doing(f"{row.name} · {side.name} · warm-up")
            side.measure(ready, WARM_UP_S)
        for number in range(1, options.rounds + 1):
            for side in row.sides:
                doing = f"{row.name} · {side.name} · round {number} of {options.rounds}"
                ready.progress.doing(doing)
                runs[side.name].append(side.measure(ready, options.seconds))
    return Result(row, runs)


# --- the command line ---------------------------------------------------------------------------


def parse_options() -> argparse.Namespace:
    names = [*(row.name for row in rows.rows(DEPLOYMENTS)), BACKGROUND]
    parser = argparse.ArgumentParser(description="Measure Rowlock on this machine.")
    parser.add_argument("--rounds", type=_count, default=3, help="of each row (default 3)")
    parser.add_argument("--seconds", type=_count, default=5, help="of each run (default 5)")
    parser.add_argument(
        "--quick", action="store_true", help="1 round of 2 seconds, less data, no verdicts"
    )
    parser.add_argument("--scaling", action="store_true", help="how cost grows, instead")
    parser.add_argument(
        "--minutes",
        type=float,
        default=scaling.MINUTES,
        help="for --scaling: larger sizes are left out when they are over (default %(default)s)",
    )
    parser.add_argument("--check", action="store_true", help="only whether all do the same")
    parser.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        help="only this row or this table of --scaling; may be repeated: "
        + ", ".join([*names, *scaling.TABLES]),
    )
    options = parser.parse_args()
    unknown = set(options.only or ()) - set(scaling.TABLES if options.scaling else names)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    if options.quick:
        options.rounds, options.seconds = 1, 2
    return options


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("it must be a whole number from 1")
    return int(text)


def interrupt(*_: object) -> NoReturn:
    """Stop everything once; another Ctrl-C must not leave a server behind."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
    raise KeyboardInterrupt


def run(options: argparse.Namespace) -> None:
    started = time.monotonic()
    if options.scaling:
        with ProgressBar() as progress:
            machine, growths = scaling.measure(
                progress, quick=options.quick, only=options.only, minutes=options.minutes
            )
        scaling.show(machine, growths)
    elif options.check:
        check()
    else:
        outcome = measure(options)
        report.show(outcome)
        report.write_json(outcome)
        report.write("bench.svg", chart.draw(outcome))
    console.print(f"It took {(time.monotonic() - started) / 60:.0f} minutes.")


def main() -> int:
    options = parse_options()
    # The settings of the shell are not those of the benchmark.
    for name in [name for name in os.environ if name.startswith(("ROWLOCK_", "PG"))]:
        del os.environ[name]
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, interrupt)
    try:
        run(options)
    except (BenchFailed, RowlockError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted, everything is stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
