"""The machine that a benchmark runs on: what it is, what processes use of it, who else is busy."""

import os
import platform
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

BUSY_LOAD = 0.5  # processes that want to run, before anything is measured
BUSY_SHARE = 0.03  # of the machine, used by others while something is measured


def describe(folder: Path, postgresql: str) -> dict[str, str | int | float]:
    """Return what the numbers depend on. PostgreSQL has its data in `folder`."""
    return {
        "cores": psutil.cpu_count() or 0,
        "cpu": _cpu_model(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average": round(os.getloadavg()[0], 2),
        "kernel": f"{platform.system()} {platform.release()}",
        "file_system": _file_system(folder),
        "sync_ms": round(_measure_sync(folder), 3),
        "postgresql": postgresql,
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _file_system(folder: Path) -> str:
    """Return the type of the file system that holds `folder`."""
    path = str(folder.resolve())
    mounts = [
        each
        for each in psutil.disk_partitions(all=True)
        if path.startswith(each.mountpoint.rstrip("/") + "/")
    ]
    return max(mounts, key=lambda each: len(each.mountpoint)).fstype if mounts else "unknown"


def _measure_sync(folder: Path) -> float:
    """Return the median time in milliseconds to write a page of 8 kB to the disk and sync it."""
    times = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(100):
            started = time.perf_counter()
            file.seek(0)
            file.write(bytes(8192))
            os.fsync(file.fileno())
            times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


# --- CPU time -----------------------------------------------------------------------------------


def used_s(process: psutil.Process) -> float:
    """Return the CPU time of a process and of all that it has started, also of what has ended."""
    while True:
        # It fails if a child ends just then, which counts as its parent's from then on.
        with suppress(psutil.NoSuchProcess, OSError):
            tree = (process, *process.children(recursive=True))
            return sum(map(_own_s, tree))
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            raise psutil.NoSuchProcess(process.pid)


def _own_s(process: psutil.Process) -> float:
    """Return the CPU time of a process, and of those of its children that have ended."""
    times = process.cpu_times()
    ended = times.children_user + times.children_system
    if sys.platform != "linux":
        return float(times.user + times.system + ended)
    # The clock of clock_getcpuclockid(3) counts nanoseconds. /proc has hundredths of a second,
    # which is too coarse for the dozens of processes of PostgreSQL.
    return float(time.clock_gettime((~process.pid << 3) | 2) + ended)


class Watch:
    """Tells how much of the machine others than the benchmark use, from when it is made."""

    def __init__(self, own: Sequence[int]) -> None:
        """Watch the machine; `own` are the process ids at the roots of the benchmark."""
        self._own = [psutil.Process(pid) for pid in own]
        self._load = os.getloadavg()[0]
        self._started = time.monotonic()
        self._before = self._read()

    def _read(self) -> tuple[float, float, float]:
        """Return the processor time used on the machine, that stolen from it, and our own."""
        times = psutil.cpu_times()
        stolen = getattr(times, "steal", 0.0)
        idle = times.idle + getattr(times, "iowait", 0.0)
        # Time of guests is in that of users, too.
        guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        return sum(times) - idle - stolen - guests, stolen, sum(map(used_s, self._own))

    def complaints(self) -> list[str]:
        """Return what has spoilt the figures, a line each; none on a machine of one's own."""
        busy, stolen, own = (
            now - before for now, before in zip(self._read(), self._before, strict=True)
        )
        whole = (time.monotonic() - self._started) * (psutil.cpu_count() or 1)
        found = []
        if self._load > BUSY_LOAD:
            found.append(f"the load average was {self._load:.1f} before")
        if (busy - own) / whole > BUSY_SHARE:
            found.append(f"other processes used {(busy - own) / whole:.0%} of the processors")
        if stolen / whole > BUSY_SHARE:
            found.append(f"the host took {stolen / whole:.0%} of the processors away (steal)")
        return found
