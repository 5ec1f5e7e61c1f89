"""Clients that are generated from docs/openapi: few types, sound ones, and of use at once.

The generators are installed by `make clients`, which `make test-slow` runs before.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rowlock.services import SERVICES
from tests.support.documents import ROOT
from tests.support.processes import Service

CLIENTS = ROOT / "tests/clients"
PYTHON_TOOLS = ROOT / ".venv-clients/bin"
NODE_TOOLS = CLIENTS / "node_modules/.bin"
MOST_MODELS = 80
TOKENS = {"commerce_token": "c-token", "projects_token": "p-token", "events_token": "e-token"}

needs_python_tools = pytest.mark.skipif(
    not (PYTHON_TOOLS / "openapi-python-client").exists(), reason="make clients was not run"
)
needs_node_tools = pytest.mark.skipif(
    shutil.which("node") is None or not (NODE_TOOLS / "tsc").exists(),
    reason="node is missing, or make clients was not run",
)
each_document = pytest.mark.parametrize("name", SERVICES)


def document(name: str) -> Path:
    return ROOT / f"docs/openapi/{name}.json"


async def run(*command: str | Path, folder: Path) -> str:
    """Run a command, which must succeed; return what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={"PATH": f"{PYTHON_TOOLS}:{os.environ['PATH']}", "HOME": str(folder)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[list[str]]:
    """All services with the demo data: a URL and a token for each of the three."""
    async with Service(data_dir=tmp_path / "data", **TOKENS) as service:
        yield [
            *(service.url, TOKENS["commerce_token"]),
            *(service.projects_url, TOKENS["projects_token"]),
            *(service.events_url, TOKENS["events_token"]),
        ]


@needs_node_tools
@each_document
async def test_document__linted__no_problems(name: str, tmp_path: Path) -> None:
    await run(
        *(NODE_TOOLS / "redocly", "lint", document(name)),
        *("--config", CLIENTS / "redocly.yaml", "--max-problems=1", "--format=stylish"),
        folder=tmp_path,
    )


async def generate_python(folder: Path) -> dict[str, int]:
    """Make a package of each document; return how many models each has."""
    for name in SERVICES:
        await run(
            *(PYTHON_TOOLS / "openapi-python-client", "generate", "--fail-on-warning"),
            *("--path", document(name), "--output-path", folder / name, "--meta", "none"),
            *("--config", CLIENTS / "generator.yaml"),
            folder=folder,
        )
    return {name: len([*(folder / name / "models").glob("[!_]*.py")]) for name in SERVICES}


@needs_python_tools
async def test_python_client__generated__few_models_typed_and_used(
    services: list[str], tmp_path: Path
) -> None:
    counts = await generate_python(tmp_path)
    print(f"\nmodels of the generated Python clients: {counts}")
    assert max(counts.values()) <= MOST_MODELS
    shutil.copy(CLIENTS / "use.py", tmp_path)
    await run(PYTHON_TOOLS / "mypy", "--config-file=", "use.py", *SERVICES, folder=tmp_path)
    assert await run(PYTHON_TOOLS / "python", "use.py", *services, folder=tmp_path) == "used\n"


@needs_node_tools
async def test_typescript_client__generated__strict_types_and_used(
    services: list[str], tmp_path: Path
) -> None:
    for name in SERVICES:
        await run(
            *(NODE_TOOLS / "openapi-typescript", document(name), "--output", f"{name}.ts"),
            folder=tmp_path,
        )
    for file in ("use.ts", "tsconfig.json", "package.json"):
        shutil.copy(CLIENTS / file, tmp_path)
    (tmp_path / "node_modules").symlink_to(CLIENTS / "node_modules")
    await run(NODE_TOOLS / "tsc", folder=tmp_path)
    assert await run("node", "made/use.js", *services, folder=tmp_path) == "used\n"
