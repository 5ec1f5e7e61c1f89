"""The README's commands, run as they stand, and what it shows of their output."""

import asyncio
import os
import re
from pathlib import Path

from tests.polling import until
from tests.process.harness import ROWLOCK, Service, environment

README = (Path(__file__).parents[2] / "README.md").read_text()
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
        lines = []
        while (line := (await self._process.stdout.readline()).decode()) != f"{MARK}\n":
            assert line, f"the shell has ended: {lines}"
            lines.append(line.replace("\r", ""))
        return "".join(lines).strip()


async def test_readme__tour__answers_as_shown(tmp_path):
    """On the demo data of a first start. … in the page stands for anything."""
    data_dir = tmp_path / ".rowlock"
    async with Service(data_dir=data_dir) as service, Shell(tmp_path, service) as shell:
        for command, shown in commands():
            expected = re.compile(".*".join(map(re.escape, shown.strip().split("…"))), re.DOTALL)
            printed = []

            async def matches(command=command, expected=expected, printed=printed) -> bool:
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
