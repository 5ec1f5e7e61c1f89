"""What pages have from npm is what the notes say, with its licences, and nothing else."""

import json

from rowlock.pages import static
from tests.support.vendor import FOLDER, NOTES, digest

VENDORED = json.loads(NOTES.read_text())


def test_vendored__each_file__is_the_one_that_was_noted() -> None:
    noted = {
        source.rpartition("/")[2]: checksum
        for note in VENDORED.values()
        for source, checksum in note["files"].items()
    }
    found = {path.name: digest(path) for path in FOLDER.iterdir() if path.is_file()}
    found.pop(NOTES.name)
    assert found == noted
    assert noted.keys() <= static.load().keys()


def test_vendored__each_package__with_a_version_and_its_license() -> None:
    for name, note in VENDORED.items():
        assert note["version"].count(".") == 2
        assert note["license"] in {"0BSD", "MIT", "Apache-2.0"}
        assert (FOLDER / f"licenses/{name}.txt").read_text()
