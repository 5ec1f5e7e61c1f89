"""Every block of commands in the documents is run, by a shell or by psql.

Not those of consoles, which test_tour runs, not those of moving in, which test_moving_in runs, not
those of webhooks, which test_subscriptions_page runs, not those of clusters, which `make ha` runs,
not those of examples, which test_examples runs, and not those that are marked as needing what is
not here. Some lines are run by other tests, which are named below.
"""

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import aiohttp
import psycopg
import pytest

from rowlock.ops.drill.processes import environment
from rowlock.services import SERVICES
from tests.support import documents
from tests.support.databases import cloned
from tests.support.documents import (
    EXAMPLE,
    HA,
    HA_OWNER,
    MOVING_IN,
    NOT_RUN,
    RECEIVER,
    ROOT,
    UPGRADE,
    WRK,
    Block,
)
from tests.support.processes import ROWLOCK, Service, doctor, rowlock

BIN = Path(sys.executable).parent
DBA, OPERATING, LOAD_TESTING = (f"docs/{name}.md" for name in ("dba", "operating", "load-testing"))
# Commands that change this repository's files, or take long, and the tests that run them.
TRIED_ELSEWHERE = {
    "pip install rowlock-*.whl": "process/test_wheel.py",
    "python -m tests.support.frozen > migrations/frozen.sha256": "unit/test_release.py",
    "rowlock sql stubs": "sql/test_stubs.py",
    "rowlock sql top": "process/test_top.py",
    "rowlock drill --minutes 10 --postgres": "process/test_drill.py",
    ".venv/bin/python tests/load/attacks.py": "process/test_attacks.py",
    ".venv/bin/python tests/load/calls.py": "http/test_costs.py",
    ".venv/bin/python tests/load/capacity.py": "process/test_capacity.py",
    ".venv/bin/python tests/load/capacity.py --check docs/scaling.md": "unit/test_capacity.py",
}
ELSEWHERE = {
    EXAMPLE,
    HA,
    HA_OWNER,
    MOVING_IN,
    NOT_RUN,
    RECEIVER,
    UPGRADE,
}  # marks of blocks that are not run here
SMALLER = {
    "--seconds 30 heads webhooks": "--seconds 0.5 --scale 0.02 heads webhooks",
    "--seconds 10": "--seconds 0.5 --rounds 1",
    "--entries 1000000": "--entries 10000",
    "--users 100000": "--users 1000",
    "-- 100000": "-- 1000",
    "100004": "1004",
    "-c256 -d10s": "-c16 -d1s",
    "-c256 -d5s": "-c16 -d1s",
}
# locked.py exits with 1 where the rate is lower than it should be: tests share the machine.
MAY_FAIL = "tests/load/locked.py"
SERVE = re.compile(r"((?:ROWLOCK_\w+=\S+ )*)(?:\.venv/bin/)?rowlock serve")
# What make would do, without doing it: `make test` would run these tests, too.
PRELUDE = f'make() {{ command make -n -C {ROOT} "$@" > /dev/null; }}\n'
# Roles belong to the whole server, so these get names of the test's own.
ROLE = re.compile(r"\browlock_(?:commerce|projects|events|console)\b(?=[ ,;'])")
CREATED = [
    f"{role}_{os.getpid()}" for role in re.findall(r"CREATE ROLE (\w+)", documents.read(DBA))
]


def to_run(name: str) -> list[Block]:
    """The blocks of a document that the tests below run."""
    return [
        block
        for block in documents.blocks(name)
        if block.language in {"sh", "sql"} and block.mark not in ELSEWHERE
    ]


def command_of(line: str) -> str:
    """A line without its comment."""
    return line.partition("  #")[0].strip()


class Runner:
    """Runs blocks in a folder that looks like the repository's."""

    def __init__(self, folder: Path, settings: dict[str, object]) -> None:
        self._folder = folder
        self._settings = settings
        (folder / "tests").symlink_to(ROOT / "tests")
        for name in ("sql", "docs/openapi"):
            (folder / name).mkdir(parents=True)
        shutil.copy(ROOT / "docs/api.md", folder / "docs")  # a command renews a part of it

    async def run(self, block: Block) -> str:
        """Run a block, and return what it printed. It must succeed."""
        if block.language == "sql":
            return await self._bash('psql -v ON_ERROR_STOP=1 "$ROWLOCK_DATABASE_URL"', block.text)
        outputs: list[str] = []
        script: list[str] = []
        for line in block.text.splitlines():
            command = command_of(line)
            if SERVE.fullmatch(command) or command == "rowlock doctor":
                outputs.append(await self._bash("\n".join(script)))
                script = []
                await (self._doctor() if "doctor" in command else self._serve(command))
            elif command not in TRIED_ELSEWHERE:
                script.append(f"{line} || true" if MAY_FAIL in line else line)
        outputs.append(await self._bash("\n".join(script)))
        return "".join(outputs)

    async def _bash(self, script: str, given: str = "") -> str:
        for shown, smaller in SMALLER.items():
            script = script.replace(shown, smaller)
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", PRELUDE + script.replace(".venv/bin", str(BIN))),
            cwd=self._folder,
            env=environment(**self._settings)
            | {"PATH": documents.search_path(), "PSQLRC": "/dev/null", "PYTHONPATH": str(ROOT)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate(given.encode())
        assert process.returncode == 0, f"{script}\n{given}\n{output.decode()}"
        return output.decode()

    async def _doctor(self) -> None:
        status, output = await doctor(**self._settings)
        assert status == 0, output

    async def _serve(self, command: str) -> None:
        """Start it as shown, but for its ports, until it is ready."""
        match = SERVE.fullmatch(command)
        assert match is not None
        shown = dict(each.removeprefix("ROWLOCK_").split("=", 1) for each in match[1].split())
        own = {key.lower(): value for key, value in shown.items() if not key.endswith("_PORT")}
        async with Service(**(self._settings | own)):
            pass


@pytest.fixture
def urls(database_url: str, events_database_url: str) -> Iterator[dict[str, object]]:
    """Two migrated databases; roles that were made for them are gone at the end."""
    yield {"database_url": database_url, "events_database_url": events_database_url}
    with (
        psycopg.connect(database_url, autocommit=True) as main,
        psycopg.connect(events_database_url, autocommit=True) as events,
    ):
        made = main.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)", [CREATED])
        for (role,) in made.fetchall():
            events.execute(f"DROP OWNED BY {role}")
            main.execute(f"DROP OWNED BY {role}")
            main.execute(f"DROP ROLE {role}")


# The others start an embedded server, as the documents say, or none.
ON_A_SERVER = {DBA, OPERATING, "docs/seeds.md"}


def is_general(block: Block) -> bool:
    return block.mark != WRK and "ROWLOCK_ENV=production" not in block.text


@pytest.mark.parametrize("name", [name for name in documents.NAMES if to_run(name)])
async def test_document__each_block__works(
    name: str, urls: dict[str, object], tmp_path: Path
) -> None:
    runner = Runner(tmp_path, urls if name in ON_A_SERVER else {})
    outputs = []
    for block in filter(is_general, to_run(name)):
        own = ROLE.sub(rf"\g<0>_{os.getpid()}", block.text)
        outputs.append(await runner.run(block._replace(text=own)))
    if name == DBA:
        assert len(CREATED) == len(SERVICES)
        shown = "benefits/place_orders\t", "-- accounts/lock_users: ", "(actual time=", "LockRows"
        assert all(text in "".join(outputs) for text in shown)


async def test_operating__install_and_start__migrates_and_serves(
    server_url: str, empty_database_url: str
) -> None:
    """The page's settings, with databases and ports of the test's own in place of its hosts."""
    [block] = [block for block in to_run(OPERATING) if not is_general(block)]
    lines = [command_of(line) for line in block.text.splitlines()]
    exports = [line for line in lines if line.startswith("export ")]
    assert [line for line in lines if line not in exports] == [
        "pip install rowlock-*.whl",
        "rowlock migrate up",
        "ROWLOCK_HOST=0.0.0.0 rowlock serve",
    ]
    shown = dict(line.removeprefix("export ").split("=", 1) for line in exports)
    with cloned(server_url, "template1") as events_url:
        settings = {
            name.removeprefix("ROWLOCK_").lower(): f"{name}-value" if value == "…" else value
            for name, value in shown.items()
        } | {"database_url": empty_database_url, "events_database_url": events_url}
        assert settings["env"] == "production"
        status, output = await rowlock("migrate", "up", **settings)
        assert status == 0, output
        del settings["events_url"]
        async with Service(**settings) as service, aiohttp.ClientSession() as session:
            for token, expected in (("ROWLOCK_COMMERCE_TOKEN-value", 200), ("x", 401)):
                headers = {"Authorization": f"Bearer {token}"}
                async with session.get(f"{service.url}/products", headers=headers) as response:
                    assert response.status == expected


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
async def test_load_testing__wrk_scripts__only_answers_that_the_rules_give(tmp_path: Path) -> None:
    [block] = [block for block in to_run(LOAD_TESTING) if block.mark == WRK]
    settings: dict[str, object] = {"data_dir": tmp_path / "data"}
    async with Service(**settings) as service:
        runner = Runner(tmp_path, settings)
        users = "rowlock seed --users 100000\n"
        assert users in documents.read(LOAD_TESTING)
        await runner.run(Block("sh", "", users))
        text = block.text
        for port, url in (
            (4000, service.url),
            (3000, service.projects_url),
            (3001, service.events_url),
        ):
            text = text.replace(f"http://127.0.0.1:{port}", url)
        output = await runner.run(block._replace(text=text))
    rates = [float(rate) for rate in re.findall(r"^Requests/sec: +([\d.]+)", output, re.MULTILINE)]
    assert len(rates) == text.count("\nwrk ")
    assert all(rates), output


def test_tried_elsewhere__each__is_in_a_document_and_in_a_test() -> None:
    lines: Sequence[str] = [
        command_of(line)
        for name in documents.NAMES
        for block in to_run(name)
        for line in block.text.splitlines()
    ]
    assert set(lines) >= set(TRIED_ELSEWHERE)
    assert all((ROOT / "tests" / path).exists() for path in TRIED_ELSEWHERE.values())
    assert Path(ROWLOCK).parent == BIN
