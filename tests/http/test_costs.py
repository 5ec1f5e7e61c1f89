"""What a request costs without the database, in function calls: the same on every machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CALLS = Path(__file__).parents[1] / "load" / "calls.py"
# As counted with Python 3.11, the oldest: later ones need fewer.
MOST = {"GET /user/{id}": 136, "POST /api/orders": 187}
ROOM = 1.05


@pytest.fixture(scope="module")
def counted() -> dict[str, dict[str, float]]:
    """The calls of each request, by the side: the service, and aiohttp alone."""
    run = subprocess.run(
        [sys.executable, CALLS, "--counts"],
        capture_output=True,
        text=True,
        check=False,
        env={name: text for name, text in os.environ.items() if not name.startswith("ROWLOCK_")},
    )
    assert run.returncode == 0, run.stderr
    counted: dict[str, dict[str, float]] = json.loads(run.stdout)
    return counted


@pytest.mark.parametrize("request_", MOST)
def test_request__without_the_database__no_more_calls_than_before(
    counted: dict[str, dict[str, float]], request_: str
) -> None:
    calls, plain = counted["empty"][request_], counted["plain"][request_]
    assert calls <= MOST[request_] * ROOM, (
        f"{request_} takes {calls:.0f} calls, {plain:.0f} of them aiohttp's own; {MOST[request_]} "
        "were enough. Look things up when a route is made, not at each request, and do what few "
        "requests need where they need it. tests/load/calls.py shows calls and CPU time. If these "
        "calls have to be, change MOST, and say in the commit what they are for."
    )


@pytest.mark.parametrize("request_", MOST)
def test_request__fewer_calls_than_noted__noted(
    counted: dict[str, dict[str, float]], request_: str
) -> None:
    """What is won is noted, so that it is not lost again. Only for the Python of MOST."""
    if sys.version_info[:2] == (3, 11):
        assert counted["empty"][request_] >= MOST[request_] / ROOM, "Lower the number in MOST."
