"""tests/load/capacity.py, run small: it measures every request, and writes a page that holds."""

import asyncio
import re
import shutil
import sys
from pathlib import Path

from tests.support.documents import ROOT

CAPACITY = ROOT / "tests/load/capacity.py"
REQUESTS = ["POST /api/orders", "GET /user/{id}"]  # a write and a read
MEASURED = re.compile(r"^\| ((?:GET|POST) [^|]+?) \| [\d.]+ \| .*;", re.MULTILINE)


async def capacity(*arguments: object) -> tuple[int | None, str]:
    """Run the script; return its status and what it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(CAPACITY), *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_capacity__run_small__writes_a_page_whose_derived_columns_hold(
    tmp_path: Path,
) -> None:
    page = tmp_path / "scaling.md"
    shutil.copy(ROOT / "docs/scaling.md", page)
    few = [option for request in REQUESTS for option in ("--only", request)]
    status, output = await capacity("--write", page, "--scale", 0.02, "--users", 2_000, *few)
    assert status == 0, output
    written = page.read_text(encoding="utf-8")
    assert MEASURED.findall(written) == REQUESTS
    assert re.search(r"^Measured: \d{4}-\d\d-\d\d, \d+ cores", written, re.MULTILINE)
    assert written != (ROOT / "docs/scaling.md").read_text(encoding="utf-8")
    assert await capacity("--check", page) == (0, output_of_a_page_that_holds(page))


def output_of_a_page_that_holds(page: Path) -> str:
    return f"{page.name}: the derived columns are those of the formulas\n"
