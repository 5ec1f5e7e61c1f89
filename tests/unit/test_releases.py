"""Which release is taken for the previous one by the tests of upgrades."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support import releases

ROOT = Path(__file__).parents[2]
RELEASED = re.compile(r"^## \[(.+)\] - \d{4}-\d{2}-\d{2}$", re.MULTILINE)


def test_previous__changelog__is_its_latest_release(tmp_path: Path) -> None:
    """The one before in the commit that makes a release: nothing has changed since."""
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    released = RELEASED.findall(changelog)
    is_being_made = "## Unreleased\n\n## " in changelog
    assert releases.previous(tmp_path).version in released[: 2 if is_being_made else 1]
    assert released[-1] == releases.oldest(tmp_path).version


@pytest.mark.parametrize("release", [releases.previous, releases.oldest])
def test_release__commit__has_that_version(release: releases.Past, tmp_path: Path) -> None:
    past = release(tmp_path)
    if not past.is_available:
        pytest.skip("the repository's history is not here")
    command = ["git", "-C", str(ROOT), "show", f"{past.commit}:setup.cfg"]
    configured = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert f"version = {past.version}" in configured.splitlines()
