"""What pages have from npm: `make vendor` fetches it again, and notes its checksums."""

import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.support.documents import ROOT

FOLDER = ROOT / "src/rowlock/pages/static/vendor"
NOTES = FOLDER / "vendor.json"


def fetch() -> None:
    """Fetch the versions that the notes name, and note the checksums of what came."""
    notes = json.loads(NOTES.read_text())
    for name, note in notes.items():
        with tempfile.TemporaryDirectory() as folder:
            package = f"{name}@{note['version']}"
            subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True)
            [archive] = Path(folder).glob("*.tgz")
            with tarfile.open(archive) as files:
                files.extractall(folder, filter="data")
            for source in note["files"]:
                target = FOLDER / Path(source).name
                shutil.copyfile(Path(folder, "package", source), target)
                note["files"][source] = digest(target)
            shutil.copyfile(Path(folder, "package", "LICENSE"), FOLDER / f"licenses/{name}.txt")
    NOTES.write_text(json.dumps(notes, indent=2) + "\n")


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    fetch()
