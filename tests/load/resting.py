"""What an installation costs that nobody uses: the figure of `idle.py`."""

import re
import subprocess
import sys

from background import Figure
from harness import HERE, BenchFailed

GOAL = 1.0  # % of a core


def measure(seconds: int) -> Figure:
    """Return the share of a core that all services and PostgreSQL use at rest."""
    command = [sys.executable, str(HERE / "idle.py"), "--rest", str(seconds), "--connections", "0"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"at rest: ([\d.]+) % of a core", run.stdout)
    if run.returncode or not found:
        raise BenchFailed(f"idle.py failed: {' '.join(run.stderr.split()[-40:])}")
    share = float(found[1])
    title = "all services and PostgreSQL at rest"
    return Figure("idle", title, share, "% of a core", None, f"≤ {GOAL:g}", share <= GOAL)
