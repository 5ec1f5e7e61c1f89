"""The wheel and the sdist, of a commit: the same bytes wherever and whenever they are built."""

import gzip
import io
import os
import subprocess
import tarfile
from pathlib import Path

from tests.support.documents import ROOT

# What differs between the two builds: it must not show in what they make.
SURROUNDINGS = (
    {"PYTHONHASHSEED": "1", "TZ": "Pacific/Auckland", "LC_ALL": "C"},
    {"PYTHONHASHSEED": "2", "TZ": "America/Lima", "LC_ALL": "C.UTF-8"},
)


class Failed(Exception):
    """What is to be released is not right."""


def run(*command: str | Path, **variables: str) -> str:
    """Run a command; return what it printed. Raises Failed with its output."""
    done = subprocess.run(
        command,
        check=False,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise Failed(f"{command[0]} {command[1]}: {done.stdout.strip()[-3000:]}")
    return done.stdout.strip()


def time_of_commit() -> int:
    """When the last commit was made, in seconds since 1970."""
    return int(run("git", "-C", ROOT, "log", "-1", "--format=%ct"))


def build(python: Path, folder: Path) -> list[Path]:
    """Build the last commit twice, in other places; return the wheel and the sdist.

    `python` is one that has the package `build`. Raises Failed if the builds differ.
    """
    when = time_of_commit()
    made = [_build_once(python, folder / f"build-{name}", when, name) for name in range(2)]
    for first, second in zip(*made, strict=True):
        if first.name != second.name or first.read_bytes() != second.read_bytes():
            raise Failed(f"{first} and {second} differ: the build can't be reproduced")
    return made[0]


def _build_once(python: Path, folder: Path, when: int, number: int) -> list[Path]:
    source, dist = folder / ("source" * (number + 1)), folder / "dist"
    source.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "-C", ROOT, "archive", "HEAD"], check=True, capture_output=True
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(source, filter="data")
    variables = SURROUNDINGS[number] | {"SOURCE_DATE_EPOCH": str(when)}
    options = ("--no-isolation", "--outdir", str(dist), str(source))
    run(python, "-m", "build", *options, **variables)
    [sdist] = dist.glob("*.tar.gz")
    [wheel] = dist.glob("*.whl")
    settle(sdist, when)
    return [wheel, sdist]


def settle(sdist: Path, when: int) -> None:
    """Write a sdist anew, without what tells of its build: times, owners, the order of files.

    Neither tar nor setuptools goes by SOURCE_DATE_EPOCH.
    """
    content = io.BytesIO()
    with (
        tarfile.open(sdist) as old,
        tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            member.mtime, member.uid, member.gid = when, 0, 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isreg() else None)
    with sdist.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=when) as packed:
        packed.write(content.getvalue())
