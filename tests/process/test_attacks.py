"""The attacks of tests/load, run small against real processes: the service answers on."""

import asyncio
import re
import sys
from pathlib import Path

ATTACKS = Path(__file__).parents[1] / "load" / "attacks.py"
NAMES = ("heads", "packed", "names", "batches", "webhooks", "slow", "crowd")


async def test_attacks__each_run_small__memory_and_the_other_client_are_measured() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ATTACKS), "--seconds", "0.5", "--scale", "0.02"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    rows = re.findall(
        r"^(\w+) +(\d+) MB +\d+ ms +(\d+) +(OK|FAIL) +{.*}$", output.decode(), re.MULTILINE
    )
    assert [name for name, *_ in rows] == [*NAMES], output.decode()
    for name, memory_mb, failures, _ in rows:  # the p99 is left out: tests share the machine
        assert (int(memory_mb) <= 200, failures) == (True, "0"), name
