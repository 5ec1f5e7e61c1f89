"""The commands of the README and of the tour, run in order, and what they are shown to print."""

import asyncio
import os
import re
from pathlib import Path

import pytest

from rowlock.ops.drill.processes import environment
from tests.support import documents
from tests.support.polling import until
from tests.support.processes import ROWLOCK, Service

CONSOLES = [
    name
    for name in documents.NAMES
    if any(block.language == "console" for block in documents.blocks(name))
]
MARK = "--- end of the output"
PORTS = {
    "4000": "commerce_port",
    "3001": "events_port",
    "3000": "projects_port",
    "4001": "console_port",
}


def commands(name: str) -> list[tuple[str, str]]:
    """The commands of a document in order, each with the output that is shown."""
    found: list[tuple[str, str]] = []
    texts = [block.text for block in documents.blocks(name) if block.language == "console"]
    for line in "".join(texts).splitlines():
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


@pytest.mark.parametrize("name", CONSOLES)
async def test_document__commands__answer_as_shown(name: str, tmp_path: Path) -> None:
    """On the demo data of a first start. … in the page stands for anything."""
    data_dir = tmp_path / ".rowlock"
    async with Service(data_dir=data_dir) as service, Shell(tmp_path, service) as shell:
        for command, shown in commands(name):
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
                await until(matches)
            except TimeoutError:
                raise AssertionError(f"{command}\n{printed[-1]}") from None
