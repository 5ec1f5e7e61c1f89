"""Advisory locks have one scheme, and one table: in docs/dba.md."""

import re
from pathlib import Path

from rowlock.engine.migrations import LOCK
from rowlock.engine.statements import queries

ROOT = Path(__file__).parents[2]
CLASS = int.from_bytes(b"Rowl")
TABLE = (ROOT / "docs/dba.md").read_text().partition("| number | lets ")[2].partition("\n\n")[0]
LISTED = re.findall(r"^\| (\d+) \| (.+) \| (.+) \|$", TABLE, re.M)
MIGRATIONS = "".join(path.read_text() for path in (ROOT / "migrations").rglob("*.sql"))
TAKEN = re.compile(r"pg_(?:try_)?advisory_\w+\(([^)]*)\)")
OURS = re.compile(rf"{CLASS}, (\d)")


def test_table__numbers__each_once_from_1() -> None:
    assert [int(number) for number, _, _ in LISTED] == list(range(1, len(LISTED) + 1))


def test_locks__each_taken__is_in_the_table_and_in_its_header() -> None:
    taken = []
    for query in queries:
        locks = TAKEN.findall(query.sql)
        numbers = [match[1] for match in map(OURS.fullmatch, locks) if match]
        assert len(numbers) == len(locks), query.name
        for number in numbers:
            assert query.locks.startswith(f"advisory lock {number}, "), query.name
            taken.append(number)
    migration = OURS.fullmatch(LOCK)
    assert migration
    by_functions = set(OURS.findall(MIGRATIONS)).difference(taken)
    assert sorted([migration[1], *taken, *by_functions]) == [number for number, _, _ in LISTED]


def test_source__advisory_locks__are_taken_by_statements_alone() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        if path.name != "migrations.py":
            assert "advisory" not in path.read_text().replace("advisory lock", ""), path
