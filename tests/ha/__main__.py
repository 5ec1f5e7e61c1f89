"""`make ha`: a real cluster loses its primary under load, in turn by each way there is.

It prints the tables of docs/high-availability.md. It exits with 1 if a write was lost or doubled, a
request was answered 500, nothing recovered, or a command of the page failed. What was only slow is
printed: the machine may be busy. Every process that it starts ends with it.
"""

import argparse
import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack

from rowlock.engine.database import Database
from rowlock.ops import drill
from rowlock.settings import Settings
from tests.ha import price, report, runbook
from tests.ha.cluster import Cluster, Unavailable, check
from tests.ha.folder import run_folder
from tests.ha.rounds import DIALLED, FAULTS, SETTLE_S, Result, Rounds
from tests.ha.rowlocks import Rowlock, rowlocks

LIMIT_S = 1800.0  # a run takes four minutes, and then the commands of the page


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="make ha", description=__doc__)
    parser.add_argument(
        "faults", nargs="*", metavar="FAULT", help=f"{', '.join(FAULTS)}, or none: the page alone"
    )
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    chosen = parser.parse_args()
    faults = [] if chosen.faults == ["none"] else chosen.faults or list(FAULTS)
    if unknown := set(faults) - FAULTS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    try:
        check()
    except Unavailable as error:
        print(f"make ha is skipped: {error}.")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with run_folder(keep=chosen.keep) as folder:
        cluster = Cluster(folder)
        results, served = asyncio.run(asyncio.wait_for(run(cluster, faults), LIMIT_S))
        prices = price.measure(cluster)
        say("The commands of the page.")
        missed = runbook.run(cluster)
    load = ", ".join(f"{each:.0f}" for each in os.getloadavg())
    say(f"\nLoad average (1, 5, 15 minutes): {load}; {os.cpu_count()} processors.")
    say(f"\n{report.table(results)}\n\n{prices}\n\n{report.lists(served)}\n")
    for line in report.slow(results):
        print(f"slow: {line}")
    missed += report.missed(results)
    for line in missed:
        print(f"missed: {line}")
    return int(bool(missed))


async def run(cluster: Cluster, faults: list[str]) -> tuple[list[Result], list[Rowlock]]:
    """Start everything, and run the rounds."""
    say("The cluster starts.")
    await asyncio.to_thread(cluster.start)
    settings = Settings().database
    async with AsyncExitStack() as stack:
        main, events = [
            await stack.enter_async_context(Database(cluster.by_hosts(name), settings))
            for name in ("rowlock", "rowlock_events")
        ]
        grounds = await drill.prepare(main)
        served = rowlocks(cluster)
        for rowlock in served:
            # A problem of the audit names one of the addresses.
            say(f"Rowlock starts, {DIALLED[rowlock.way]}: {' '.join(rowlock.urls.values())}")
            await stack.enter_async_context(rowlock.running())
        await drill.settle(main, SETTLE_S)
        rounds = Rounds(cluster, served, (main, events))
        results = []
        for name in faults:
            say(f"{FAULTS[name].name}.")
            results.append(await rounds.run(FAULTS[name], grounds))
            say(report.summary(results[-1]))
    return results, served


def say(text: str) -> None:
    """Tell a person what goes on."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
