"""Which imports there are, beyond what the contracts in setup.cfg hold."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
# Layers below the services that may know HTTP, or have nothing to do with it.
NOT_FEATURES = {
    "client",
    "console",
    "currencies",
    "errors",
    "http",
    "origin",
    "pages",
    "rejections",
    "settings",
    "shop",
    "texts",
}
WITHOUT_HTTP = """
import sys
sys.modules["aiohttp"] = None
import rowlock.ops.cli
"""


def imported_names(path: Path) -> Iterator[str]:
    """The full names of what a module imports: modules, and what is taken from them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_tests__none__imports_another() -> None:
    pairs = [(path.name, name) for path in TESTS for name in imported_names(path)]
    ours = [(file, name) for file, name in pairs if name.startswith("tests.")]
    assert ours
    assert [(file, name) for file, name in ours if ".test_" in name] == []


def test_contract_on_http__features__are_all_of_those_in_the_layers() -> None:
    setup = ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    layers = setup["importlinter:contract:layers"]["layers"].replace("|", " ").split()
    below_services = layers[layers.index("services") + 1 :]
    held = setup["importlinter:contract:only-routes-know-http"]["source_modules"].split()
    assert sorted(held) == sorted(
        f"rowlock.{name}" for name in below_services if name not in NOT_FEATURES
    )


def test_command_line__starts_without_http() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_HTTP], check=True)
