"""The folder of a run, and the end of every process that runs in it, whatever happens.

Each process of a run starts in a folder below, and so do those that it starts: PostgreSQL's run in
their data directory. That tells them from all others of the machine. A keeper, which waits for the
end of the run's own process, ends what that one could not end itself, as after kill -9.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from rowlock.ops import embedded  # noqa: F401  # before the wheel, to keep a warning of its quiet
from rowlock.ops.drill.cluster import OWNER

PLACE = "/var/tmp"  # a disk: a commit waits for it
ORDERLY_S = 5.0
POSTMASTER = "postmaster.pid"


@contextmanager
def run_folder(*, keep: bool = False) -> Iterator[Path]:
    """Lend a folder; at the end nothing runs in it any more, and it is gone unless `keep`."""
    folder = Path(tempfile.mkdtemp(prefix="rowlock-ha-", dir=os.environ.get("TMPDIR", PLACE)))
    folder.chmod(0o755)
    keeper = subprocess.Popen(
        [sys.executable, "-P", "-m", "tests.ha.folder", str(folder), str(int(keep))],
        stdin=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        start_new_session=True,  # Ctrl-C is not for it
    )
    try:
        yield folder
    finally:
        keeper.communicate()  # it sees the end of its input
    if keep:
        print(f"The logs are in {folder}.")


def spawn(
    command: Sequence[str],
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    as_owner: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a process in a folder of its own, which has its output in `log`.

    `as_owner` is for PostgreSQL and what starts it: neither runs as root.
    """
    folder.mkdir(exist_ok=True)
    owner = OWNER if as_owner else None
    if owner is not None:
        shutil.chown(folder, owner, owner)
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"HOME": str(folder)} | dict(environment or {}),
            user=owner,
            group=owner,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def processes_below(folder: Path) -> list[psutil.Process]:
    """Return the processes whose working directory is in a folder, backends of PostgreSQL last."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
    return sorted(found, key=_is_backend)


def _is_backend(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.name().startswith("postgres") and "-D" not in process.cmdline()
    return False


def end_all(folder: Path) -> None:
    """End every process below a folder, frozen ones, too.

    PostgreSQL is first told to stop at once, as a killed one leaves its shared memory behind.
    """
    processes = processes_below(folder)
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(signal.SIGCONT)
            if not process.name().startswith("postgres"):
                process.kill()
    for pid_file in folder.rglob(POSTMASTER):
        with suppress(OSError, ValueError, psutil.Error):
            postmaster = psutil.Process(int(pid_file.read_text().split()[0]))
            if postmaster in processes:
                postmaster.send_signal(signal.SIGQUIT)
    deadline = time.monotonic() + ORDERLY_S
    while (remaining := processes_below(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in remaining:
        with suppress(psutil.Error):
            process.kill()


def _keep_watch() -> None:
    """Wait until the run is over, then end what is left of it."""
    folder, keep = Path(sys.argv[1]), sys.argv[2] != "0"
    sys.stdin.read()
    end_all(folder)
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _keep_watch()
