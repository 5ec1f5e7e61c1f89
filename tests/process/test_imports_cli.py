"""`rowlock import` as an operator runs it: what it prints, and how it is stopped."""

import asyncio
import os
import pty
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rowlock.ops.drill.processes import environment
from tests.support.polling import until
from tests.support.poolers import needs_pgbouncer, pgbouncer
from tests.support.processes import ROWLOCK, doctor, rowlock

USERS = "username,email,opening_balance\nzoe,zoe@example.com,100\nyan,,\n"
MANY = "username\n" + "".join(f"user-{number}\n" for number in range(1, 50_001))
WAITING = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
STAGED = "SELECT count(*) FROM pg_class WHERE relname = 'import_users'"
SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND application_name = 'rowlock'"
)


def count(connection: psycopg.Connection, query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


@asynccontextmanager
async def importing(
    database_url: str, *arguments: str, **options: Any
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`rowlock import` as a process, killed in the end if need be."""
    process = await asyncio.create_subprocess_exec(
        ROWLOCK,
        "import",
        *arguments,
        env=environment(database_url=database_url),
        **({"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.STDOUT} | options),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_import__good_file__says_what_it_did(
    database_url: str, events_database_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "users.csv"
    path.write_text(USERS)

    async def run(*arguments: str) -> str:
        status, output = await rowlock("import", "users", *arguments, database_url=database_url)
        assert status == 0, output
        return output

    assert await run(str(path), "--dry-run") == ("Nothing was changed: 2 users can be imported.\n")
    assert await run(str(path)) == "Imported 2 users.\n"
    assert await run(str(path), "--skip-existing") == ("Imported 0 users; 2 were there already.\n")
    assert await run(str(path), "--skip-existing", "--dry-run") == (
        "Nothing was changed: 0 users can be imported; 2 were there already.\n"
    )
    # So this was all done once.
    settings = {"database_url": database_url, "events_database_url": events_database_url}
    assert (await doctor(**settings))[0] == 0
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT username, email, balance FROM users ORDER BY id")
        assert rows.fetchall() == [("zoe", "zoe@example.com", 100), ("yan", None, 0)]


async def test_import__bad_file__lines_and_status(database_url: str, tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_text(f"{USERS}ZOE,,\nx y,[bold]x,1\n")
    status, output = await rowlock("import", "users", str(path), database_url=database_url)
    assert (status, output.splitlines()) == (
        1,
        [
            f"rowlock: nothing was changed: {path} has 2 problems.",
            f"{path}, line 4: username: is that of line 2 already",
            f"{path}, line 5: email: Must be an address, such as ada@example.com.",
        ],
    )
    with psycopg.connect(database_url) as connection:
        assert count(connection, "SELECT count(*) FROM users") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["users", "none.csv"], "none.csv can't be read: No such file or directory."),
        (["users", "-"], "Say how standard input is written: --format json or --format csv."),
        (["users", "/dev/null", "--format", "csv"], "the names of the columns are missing"),
        (["users", "/dev/null", "--format", "json"], "line 1: is empty"),
        (["orders", "x.csv"], "'orders' is not one of 'users', 'products', 'services'"),
    ],
)
async def test_import__can_not_begin__says_why(
    database_url: str, arguments: list[str], message: str
) -> None:
    status, output = await rowlock("import", *arguments, database_url=database_url)
    assert status != 0
    assert message in output


async def test_import__large_pipe__lines_of_progress(database_url: str) -> None:
    content = "username\n" + "".join(f"user-{number}\n" for number in range(100_000))
    pipe = asyncio.subprocess.PIPE
    async with importing(database_url, "users", "-", "--format", "csv", stdin=pipe) as process:
        output, _ = await process.communicate(content.encode())
    assert output.decode().splitlines() == [
        "standard input: 100,000 rows read",
        "standard input: 100,000 rows written",
        "Imported 100,000 users.",
    ]


async def test_import__on_a_terminal__a_bar_and_the_result(
    database_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "users.csv"
    path.write_text(MANY)
    ours, theirs = pty.openpty()
    seen = bytearray()
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            seen.extend(os.read(ours, 2**16))
        except OSError:  # the other end is closed
            loop.remove_reader(ours)

    loop.add_reader(ours, read)
    terminal = {"stdout": theirs, "stderr": theirs}
    async with importing(database_url, "users", str(path), **terminal) as process:
        os.close(theirs)
        assert await process.wait() == 0
        await until(lambda: b"Imported 50,000 users." in seen)
    loop.remove_reader(ours)
    os.close(ours)
    assert b"written" in seen
    assert b"50,000 rows" in seen


@pytest.mark.parametrize(
    ("signum", "status", "said"),
    [
        (signal.SIGINT, 130, "rowlock: stopped: nothing was changed.\n"),
        (signal.SIGTERM, 143, ""),
        (signal.SIGKILL, -signal.SIGKILL, ""),
    ],
)
@pytest.mark.parametrize("moment", ["reading", "writing"])
async def test_import__stopped__nothing_was_changed(
    database_url: str, tmp_path: Path, signum: int, status: int, said: str, moment: str
) -> None:
    """While a pipe keeps it waiting, or in its second page, which waits for another session."""
    path = tmp_path / "users.csv"
    path.write_text(MANY)
    arguments = ["users", "-", "--format", "csv"] if moment == "reading" else ["users", str(path)]
    with (
        psycopg.connect(database_url) as other,
        psycopg.connect(database_url, autocommit=True) as watcher,
    ):
        other.execute("INSERT INTO users (username) VALUES ('user-30000')")
        async with importing(database_url, *arguments, stdin=asyncio.subprocess.PIPE) as process:
            assert process.stdin is not None
            process.stdin.write(b"username\nzoe\n")
            sign = STAGED if moment == "reading" else WAITING
            await until(lambda: count(watcher, sign) == 1)
            process.send_signal(signum)
            assert process.stdout is not None
            output = (await process.stdout.read()).decode()
            assert (await process.wait(), output) == (status, said)
        other.rollback()
        await until(lambda: count(watcher, SESSIONS) == 0)
        for table in ("users", "ledger_entries", "outbox"):
            assert count(watcher, f"SELECT count(*) FROM {table}") == 0
        assert count(watcher, STAGED) == 0


@needs_pgbouncer
async def test_import__behind_a_transaction_pooler__refused(
    database_url: str, tmp_path: Path
) -> None:
    """A table of a session would be left to another client, or be another client's."""
    path = tmp_path / "users.csv"
    path.write_text(USERS)
    arguments = "import", "users", str(path)
    for mode, expected in (("transaction", 1), ("session", 0)):
        async with pgbouncer(database_url, mode) as url:
            status, output = await rowlock(*arguments, database_url=url, prepared_statements=0)
        assert status == expected, output
        assert ("leads to PostgreSQL directly" in output) == bool(expected)
