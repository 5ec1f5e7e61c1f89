"""The previous release, installed from the repository's history."""

import subprocess
import sys
import zipfile
from pathlib import Path

from rowlock.ops.drill.processes import environment

ROOT = Path(__file__).parents[2]
PREVIOUS = "0.1.0"
COMMIT = "940698475013719dcdd129301d21363dce68c4cc"


def is_available() -> bool:
    """Whether the history is there: an export of the sources has none."""
    command = ["git", "-C", str(ROOT), "cat-file", "-e", f"{COMMIT}^{{commit}}"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


class Release:
    """An installation of the previous release, which shares this one's dependencies."""

    def __init__(self, folder: Path) -> None:
        """Build its wheel in `folder`, and unpack it there."""
        source, dist, self._packages = (folder / name for name in ("source", "dist", "packages"))
        source.mkdir()
        archive = ["git", "-C", str(ROOT), "archive", COMMIT]
        exported = subprocess.run(archive, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", source], input=exported, check=True)
        pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel")
        options = ("--no-deps", "--no-build-isolation", "--wheel-dir", str(dist), str(source))
        subprocess.run([*pip, *options], check=True, capture_output=True)
        [wheel] = dist.glob("rowlock-*.whl")
        with zipfile.ZipFile(wheel) as file:
            file.extractall(self._packages)

    def environment(self, **settings: object) -> dict[str, str]:
        """An environment in which `python -m rowlock` is that release."""
        variables = environment(**settings) | {"PYTHONPATH": str(self._packages)}
        # Its package has this one's name, and would count as code that no test covers.
        return {
            name: value for name, value in variables.items() if not name.startswith("COVERAGE_")
        }

    def run(self, *arguments: str, **settings: object) -> str:
        """Run a command; return what it printed."""
        return subprocess.run(
            [sys.executable, "-P", "-m", "rowlock", *arguments],
            check=True,
            capture_output=True,
            text=True,
            env=self.environment(**settings),
        ).stdout
