"""What `make ha` starts ends with it, however it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.documents import ROOT
from tests.support.polling import until_true

RUN = """
import sys
from tests.ha.folder import run_folder, spawn
with run_folder() as folder:
    child = spawn(["sleep", "600"], folder / "child")
    print(folder, child.pid, flush=True)
    sys.stdin.read()
"""
TIMEOUT_S = 30.0


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT, None])
def test_run_folder__the_run_is_over__its_processes_are_gone_and_so_is_the_folder(
    signum: signal.Signals | None, tmp_path: Path
) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", RUN],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert run.stdout is not None
    folder, pid = run.stdout.readline().split()
    child = psutil.Process(int(pid))
    child.suspend()  # as a frozen one is
    if signum is not None:
        run.send_signal(signum)
    run.communicate(timeout=TIMEOUT_S)
    until_true(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, TIMEOUT_S)
    until_true(lambda: not Path(folder).exists(), TIMEOUT_S)
