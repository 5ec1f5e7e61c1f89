"""Documents are in plain English. codespell, in `make check`, finds misspelt words."""

import pytest

from tests.support import documents, wording

SOURCES = sorted((documents.ROOT / "src").rglob("*.py"))


@pytest.mark.parametrize("name", documents.NAMES)
def test_document__phrases_to_avoid__not_in_it(name: str) -> None:
    assert wording.find(documents.read(name)) == []


def test_sources__phrases_to_avoid__not_in_them() -> None:
    found = {
        str(path.relative_to(documents.ROOT)): wording.find(path.read_text("utf-8"))
        for path in SOURCES
    }
    assert SOURCES
    assert {path: phrases for path, phrases in found.items() if phrases} == {}


def test_find__phrase_to_avoid__with_its_line_and_what_to_write() -> None:
    assert wording.find("Fine.\nNobody waits.") == [
        "line 2: 'Nobody': name the actor: a client, another transaction, a user"
    ]
