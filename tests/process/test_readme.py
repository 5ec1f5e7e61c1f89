"""The README's commands, run as they stand, and what it shows of their output."""

import asyncio
import os
import re
import shlex
from functools import partial
from pathlib import Path

import aiohttp

from rowlock.ops.drill.processes import environment
from tests.support.databases import cloned
from tests.support.polling import until
from tests.support.processes import ROWLOCK, Service, doctor, rowlock

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "--- end of the output"
PORTS = {"4000": "commerce_port", "3001": "events_port", "3000": "projects_port"}


def commands() -> list[tuple[str, str]]:
    """The commands of the page in order, each with the output that is shown."""
    found: list[tuple[str, str]] = []
    for line in "".join(BLOCK.findall(README)).splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), ""))
            continue
        command, output = found[-1]
        if command.endswith("\\") and not output:
            found[-1] = (f"{command}\n{line}", "")
        else:
            found[-1] = (command, f"{output}{line}\n")
    return found


class Shell:
    """One bash for all commands, so that variables stay. `rowlock` is the one under test."""

    def __init__(self, folder: Path, service: Service) -> None:
        self._folder = folder
        self._service = service

    async def __aenter__(self) -> "Shell":
        path = f"{Path(ROWLOCK).parent}:{os.environ['PATH']}"
        self._process = await asyncio.create_subprocess_exec(
            "bash",
            cwd=self._folder,
            env=environment(**self._service.settings) | {"PATH": path},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.kill()
        await self._process.wait()

    async def run(self, command: str) -> str:
        for published, name in PORTS.items():
            command = command.replace(
                f"localhost:{published}", f"localhost:{self._service.settings[name]}"
            )
        command = command.replace(".venv/bin/rowlock", "rowlock")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\necho; echo '{MARK}'\n".encode())
        lines: list[str] = []
        while (line := (await self._process.stdout.readline()).decode()) != f"{MARK}\n":
            assert line, f"the shell has ended: {lines}"
            lines.append(line.replace("\r", ""))
        return "".join(lines).strip()


async def test_readme__tour__answers_as_shown(tmp_path: Path) -> None:
    """On the demo data of a first start. … in the page stands for anything."""
    data_dir = tmp_path / ".rowlock"
    async with Service(data_dir=data_dir) as service, Shell(tmp_path, service) as shell:
        for command, shown in commands():
            expected = re.compile(".*".join(map(re.escape, shown.strip().split("…"))), re.DOTALL)
            printed: list[str] = []

            async def matches(
                command: str = command,
                expected: re.Pattern[str] = expected,
                printed: list[str] = printed,
            ) -> bool:
                printed.append(await shell.run(command))
                return expected.fullmatch(printed[-1]) is not None

            # What happens in the background may take a moment; a read may be repeated.
            is_read = command.startswith("curl") and " -d" not in command and "-X" not in command
            if not is_read:
                assert await matches(), (command, printed)
                continue
            try:
                await until(matches, timeout_s=10)
            except TimeoutError:
                raise AssertionError(f"{command}\n{printed[-1]}") from None


SCRIPT = [
    line.partition("  #")[0].strip()
    for block in re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
TRIED_ELSEWHERE = {
    "rowlock seed --users-file users.json --projects-file projects.json": "test_projects_cli",
    "rowlock serve": "here",
    "pip install rowlock-*.whl": "test_wheel",
    "cp docker/.env.example docker/.env": "test_docker",
    "docker compose -f docker/compose.yml up --build --detach": "make compose-config",
    "docker compose -f docker/compose.yml --profile monitoring up --build --detach": "the same",
    "docker compose -f docker/compose.yml run --rm migrate seed": "test_docker",
    "rowlock sql top": "test_top",
}


async def test_readme__for_dbas__each_command_works(shared_database_urls: dict[str, str]) -> None:
    urls = {
        "database_url": shared_database_urls["main"],
        "events_database_url": shared_database_urls["events"],
    }
    commands = [
        line
        for line in SCRIPT
        if line.startswith(("rowlock sql", "rowlock doctor")) and line not in TRIED_ELSEWHERE
    ]
    assert len(commands) >= 4
    for command in commands:
        arguments = shlex.split(command)[1:]
        run = doctor if arguments == ["doctor"] else partial(rowlock, *arguments)
        status, output = await run(**urls)
        assert status == 0, output


async def test_readme__in_production__migrates_and_serves(
    server_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    """The page's settings, with databases and ports of the test's own in place of its hosts."""
    exports = [line for line in SCRIPT if line.startswith("export ")]
    shown = dict(line.removeprefix("export ").split("=", 1) for line in exports)
    with cloned(server_url, "template1") as events_url:
        settings = {
            name.removeprefix("ROWLOCK_").lower(): f"{name}-value" if value == "…" else value
            for name, value in shown.items()
        } | {"database_url": empty_database_url, "events_database_url": events_url}
        assert settings["env"] == "production"
        assert "rowlock migrate up" in SCRIPT
        status, output = await rowlock("migrate", "up", **settings)
        assert status == 0, output
        assert "ROWLOCK_HOST=0.0.0.0 rowlock serve" in SCRIPT
        del settings["events_url"]
        async with Service(**settings) as service, aiohttp.ClientSession() as session:
            for name, status in (("ROWLOCK_COMMERCE_TOKEN-value", 200), ("x", 401)):
                headers = {"Authorization": f"Bearer {name}"}
                async with session.get(f"{service.url}/products", headers=headers) as response:
                    assert response.status == status


async def test_readme__make_targets__exist() -> None:
    targets = {line.split()[1] for line in SCRIPT if line.startswith("make ")}
    targets |= set(re.findall(r"`make ([a-z]+)", README))
    assert targets >= {"run", "test", "bench"}
    for target in targets:
        process = await asyncio.create_subprocess_exec(
            "make", "-n", target, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL
        )
        assert await process.wait() == 0, target


def test_readme__every_command__is_tried_somewhere() -> None:
    tried = ("make ", "export ", "rowlock sql", "rowlock doctor", "rowlock migrate up")
    for line in SCRIPT:
        command = line.removeprefix("ROWLOCK_HOST=0.0.0.0 ")
        assert command.startswith(tried) or command in TRIED_ELSEWHERE, line
