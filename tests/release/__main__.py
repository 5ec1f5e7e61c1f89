"""`make release-check`: all that must hold of a release, and the files that it consists of.

It exits with 1 if something does not hold. Otherwise `dist/` has the wheel, the sdist, the list of
all parts (an SBOM, by CycloneDX) and their checksums.
"""

import argparse
import asyncio
import shutil
import sys
import sysconfig
import tempfile
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from rowlock.ops import embedded  # noqa: F401  # before the wheel, to keep a warning of its quiet
from tests.release import installed, licences, versions
from tests.release.artefacts import Failed, build, run
from tests.support.documents import ROOT

TOOLS = ROOT / ".venv-release/bin"
# Each lock file with the environment that is installed from it. The last one is there only where
# `make ha` has run.
LOCKS = {
    "requirements-dev.lock": Path(sysconfig.get_path("purelib")),
    "tests/release/requirements.txt": TOOLS.parent,
    "docker/ha/requirements.txt": ROOT / ".venv-ha",
}


def main() -> int:
    """Check, and leave what is to be released in dist/."""
    parser = argparse.ArgumentParser(prog="make release-check", description=__doc__)
    parser.add_argument("--notes", action="store_true", help="print what the changelog says, only")
    chosen = parser.parse_args()
    setup, changelog = ((ROOT / name).read_text("utf-8") for name in ("setup.cfg", "CHANGELOG.md"))
    version = versions.configured(setup)
    if chosen.notes:
        print(versions.notes(changelog, version), end="")
        return 0
    try:
        tags = run("git", "-C", ROOT, "tag", "--points-at", "HEAD").split()
        stop_at(list(versions.problems(setup, changelog, tags, datetime.now(UTC).date())))
        print(f"Version {version}: changelog{' and tag agree' if tags else ' agrees; no tag'}.")
        check_licences()
        with tempfile.TemporaryDirectory(prefix="rowlock-release-") as folder:
            release(version, Path(folder))
    except Failed as error:
        print(f"failed: {error}")
        return 1
    return 0


def check_licences() -> None:
    """Raise Failed, with a line for each package whose licence is not allowed."""
    names: set[str] = set()
    folders = []
    for lock, environment in LOCKS.items():
        if environment.exists():
            names |= set(licences.pins((ROOT / lock).read_text()))
            folders += [environment, *environment.glob("lib/python*/site-packages")]
    stop_at(list(licences.problems(names, licences.installed(folders), licences.policy())))
    print(f"Licences: {len(names)} locked packages, all allowed.")


def release(version: str, folder: Path) -> None:
    """Build in `folder`, try what was built, and copy it to dist/."""
    if run("git", "-C", ROOT, "status", "--porcelain"):
        print("Changes that are not committed are not in what is built.")
    wheel, sdist = build(TOOLS / "python", folder)
    print(f"Built twice, the same bytes: {wheel.name}, {sdist.name}.")
    run(TOOLS / "python", "-m", "twine", "--no-color", "check", "--strict", wheel, sdist)
    python = installed.install(wheel, version, folder / "venv")
    parts = wheel.with_name(f"rowlock-{version}.cdx.json")
    listed = installed.describe(TOOLS / "cyclonedx-py", python, version, parts)
    stop_at(installed.missing(listed, version))
    print(f"{parts.name}: {len(listed['components'])} parts.")
    (folder / "empty").mkdir()
    asyncio.run(installed.try_out(python, folder / "empty"))
    print("Installed from the lock; served an order and its event, and stopped.")
    dist = ROOT / "dist"
    dist.mkdir(exist_ok=True)
    sums = []
    for file in (wheel, sdist, parts):
        shutil.copyfile(file, dist / file.name)
        sums.append(f"{sha256(file.read_bytes()).hexdigest()}  {file.name}\n")
    (dist / "SHA256SUMS").write_text("".join(sums))
    print("".join(sums), end="")


def stop_at(problems: list[str]) -> None:
    """Raise Failed if there are problems."""
    if problems:
        raise Failed("\n".join(problems))


if __name__ == "__main__":
    sys.exit(main())
