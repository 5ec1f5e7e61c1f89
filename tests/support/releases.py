"""Releases before this one, installed from the repository's history."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rowlock.ops.drill.processes import environment

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Release:
    """A release that was made from `commit`; it runs on this one's dependencies."""

    version: str
    commit: str
    folder: Path  # an empty one
    ends_silent_deployments: bool = True  # has the setting deployment_timeout_s

    @property
    def is_available(self) -> bool:
        """Whether the history is there: an export of the sources has none."""
        command = ["git", "-C", str(ROOT), "cat-file", "-e", f"{self.commit}^{{commit}}"]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    @cached_property
    def _packages(self) -> Path:
        """Where its wheel is unpacked, which is built when it is first needed."""
        source, dist, packages = (self.folder / name for name in ("source", "dist", "packages"))
        source.mkdir()
        archive = ["git", "-C", str(ROOT), "archive", self.commit]
        exported = subprocess.run(archive, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", source], input=exported, check=True)
        pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel")
        options = ("--no-deps", "--no-build-isolation", "--wheel-dir", str(dist), str(source))
        subprocess.run([*pip, *options], check=True, capture_output=True)
        [wheel] = dist.glob(f"rowlock-{self.version}-*.whl")
        with zipfile.ZipFile(wheel) as file:
            file.extractall(packages)
        return packages

    def grants(self, service: str) -> str:
        """The psql script that grants `service` its rights, as `rowlock sql grants` prints it."""
        folder = self._packages / "rowlock" / "files" / "migrations" / "grants"
        return (folder / f"{service}.sql").read_text("utf-8")

    def environment(self, **settings: object) -> dict[str, str]:
        """An environment in which `python -P -m rowlock` is that release."""
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


Past = Callable[[Path], Release]  # by an empty folder


def previous(folder: Path) -> Release:
    """The release before this one, beside whose processes this one's must run."""
    return Release("0.2.0", "ed3eae34323ddbfaf51d47d89d142f6aa1f16df3", folder)


def oldest(folder: Path) -> Release:
    """The first release: its databases are migrated, but none of its processes runs meanwhile."""
    return Release("0.1.0", "940698475013719dcdd129301d21363dce68c4cc", folder, False)
