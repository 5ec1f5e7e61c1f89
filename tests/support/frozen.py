"""Prints migrations/frozen.sha256: every migration there is, as `sha256sum` has it."""

from hashlib import sha256
from pathlib import Path

from tests.support.documents import ROOT

FOLDER = ROOT / "migrations"


def lines(folder: Path = FOLDER) -> list[str]:
    """A line for each migration's file, in order."""
    found = sorted(path for name in ("events", "main") for path in (folder / name).glob("*.sql"))
    return [
        f"{sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}" for path in found
    ]


if __name__ == "__main__":
    print(*lines(), sep="\n")
