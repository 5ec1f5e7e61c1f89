"""The documents against each other and against the code: sizes, links, names, tables."""

import re
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.main import get_command

from rowlock.ops.cli import app
from rowlock.settings import FOREIGN, all_settings, variable_of
from tests.support import documents, routes_table, settings_table
from tests.support.documents import (
    COMMANDS,
    EXAMPLE,
    HA,
    HA_OWNER,
    MOVING_IN,
    NOT_RUN,
    RECEIVER,
    ROOT,
    UPGRADE,
    WRK,
)

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
NOT_COMMANDS = {"", "text", "json", "mermaid", "python"}
FIRST_WORDS = ("$", "rowlock", "make", "docker", "curl", "psql", "wrk", "pip", "npm", "git")
DECISIONS = [name for name in documents.NAMES if name.startswith("docs/decisions/")]
SETTINGS = {variable_of(setting) for setting in all_settings()}
# Targets and variables of make.
MAKEFILE = (ROOT / "Makefile").read_text()


def anchors(path: Path) -> set[str]:
    """The anchors that a forge gives the headings of a document."""
    headings = HEADING.findall(documents.BLOCK.sub("", path.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme__a_stranger__reads_it_in_three_minutes() -> None:
    lines = documents.read("README.md").splitlines()
    assert len(lines) <= 200
    assert max(map(len, lines)) <= 100
    assert 400 <= len(" ".join(lines).split()) <= 900


@pytest.mark.parametrize("name", documents.NAMES)
def test_document__each_link__leads_somewhere(name: str) -> None:
    for target in LINK.findall(documents.prose(name)):
        if re.match(r"[a-z]+:", target):
            continue
        address, _, anchor = target.partition("#")
        path = (ROOT / name).parent / address if address else ROOT / name
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@pytest.mark.parametrize("name", documents.NAMES)
def test_document__each_block__is_run_or_marked_or_no_commands(name: str) -> None:
    assert documents.read(name).count("```") == 2 * len(documents.blocks(name))
    for block in documents.blocks(name):
        assert block.language in COMMANDS | NOT_COMMANDS, block
        marks = {"", EXAMPLE, HA, HA_OWNER, MOVING_IN, NOT_RUN, RECEIVER, UPGRADE, WRK}
        assert block.mark in marks, block
        if block.language in NOT_COMMANDS:
            for line in block.text.splitlines():
                assert not line.startswith(tuple(f"{word} " for word in FIRST_WORDS)), line


@pytest.mark.parametrize("name", documents.NAMES)
def test_document__commands_in_sentences__exist(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    for code in CODE.findall(documents.prose(name)):
        words = code.split()
        if words[0] == "make" and len(words) > 1:
            assert words[1] in targets, code
        elif words[0] == "rowlock":
            command = get_command(app)
            for word in words[1:]:
                known = getattr(command, "commands", {})
                if not known or not re.fullmatch("[a-z-]+", word):
                    break
                assert word in known, code
                command = known[word]


@pytest.mark.parametrize(
    "name", [name for name in documents.NAMES if name not in {"CHANGELOG.md", *DECISIONS}]
)
def test_document__settings_that_it_names__exist(name: str) -> None:
    named = set(re.findall(r"\bROWLOCK_[A-Z0-9_]+", documents.read(name)))
    assert named <= SETTINGS | FOREIGN | {"ROWLOCK_"}


def test_architecture__files_that_it_names__exist() -> None:
    named = [
        code
        for code in CODE.findall(documents.prose("docs/architecture.md"))
        if re.fullmatch(r"[\w./]+\.(?:py|sql|md)|[\w/]+/", code)
    ]
    assert len(named) > 40
    for path in named:
        assert (ROOT / path).exists() or [*ROOT.glob(f"src/rowlock/**/{path}")], path


@pytest.mark.parametrize("name", DECISIONS)
def test_decision__form__number_and_four_parts(name: str) -> None:
    first, *parts = HEADING.findall(documents.prose(name))
    assert first.startswith(f"{Path(name).name[:4]}: ")
    assert parts == ["Context", "Decision", "Rejected", "Consequences"]


def test_decisions__numbers__each_once() -> None:
    numbers = [Path(name).name[:4] for name in DECISIONS]
    assert len(set(numbers)) == len(numbers)


def test_settings_page__settings__as_the_code_has_them() -> None:
    again = "run: python -m tests.support.settings_table > docs/settings.md"
    assert documents.read("docs/settings.md") == settings_table.page(), again


def test_api_page__routes__as_the_code_has_them() -> None:
    page = documents.read("docs/api.md")
    assert page == routes_table.renewed(page), "run: python -m tests.support.routes_table"


def test_dependencies_page__packages__those_of_the_setup_and_of_releases_each_with_a_reason() -> (
    None
):
    setup = ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    tools = (ROOT / "tests/release/requirements.in").read_text()
    lists = [setup["options"]["install_requires"], *setup["options.extras_require"].values(), tools]
    declared = {
        canonicalize_name(Requirement(line).name)
        for text in lists
        for line in text.split("\n")
        if line
    }
    rows = re.findall(
        r"^\| ([\w-]+) \| (.+) \|$", documents.read("docs/dependencies.md"), re.MULTILINE
    )
    named = {canonicalize_name(package) for package, reason in rows if package != "package"}
    assert named == declared - {"rowlock"}
