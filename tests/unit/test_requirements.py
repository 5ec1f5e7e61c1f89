"""What setup.cfg declares against what the code imports: a test's environment has far more."""

import ast
import sys
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def imported() -> set[str]:
    """The packages that any module under src imports, by their top level's name."""
    names = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module)
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"rowlock"}


def test_requirements__each_import__belongs_to_one_of_them():
    setup = ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup["options"]["install_requires"].split("\n")
    declared = {canonicalize_name(Requirement(line).name) for line in lines if line}
    owners = packages_distributions()
    missing = {
        package
        for package in imported()
        if not declared & {canonicalize_name(name) for name in owners.get(package, ())}
    }
    assert missing == set()
