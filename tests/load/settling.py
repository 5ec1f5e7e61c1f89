"""The peers of the order processor: a job per order, with the writes of settling one."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import BenchFailed
from servers import PEERS, missing_modules, missing_node


@dataclass(frozen=True, slots=True)
class Worker:
    """A program that works off so many jobs, and prints the seconds that it took."""

    name: str
    command: Sequence[str | Path]
    lacks: str | None  # why it can't run here

    def rate(self, url: str, jobs: int) -> float:
        """Return its jobs per second."""
        run = subprocess.run(
            [*self.command, url, str(jobs)], capture_output=True, text=True, check=False
        )
        if run.returncode:
            last = " ".join(run.stderr.strip().splitlines()[-1:])
            raise BenchFailed(f"The worker of {self.name} failed: {last}")
        return jobs / float(run.stdout)


def workers() -> tuple[Worker, ...]:
    """Return all of them, the fastest one first."""
    return (
        _python("pgqueuer"),
        Worker(
            "graphile-worker", ("node", PEERS / "graphile" / "worker.js"), missing_node("graphile")
        ),
        _python("procrastinate"),
    )


def _python(name: str) -> Worker:
    script = PEERS / f"{name}_worker.py"
    return Worker(name, (sys.executable, script), missing_modules(name))
