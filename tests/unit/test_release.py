"""What `make release-check` compares: versions, licences, and the bytes of an sdist."""

import os
import re
import tarfile
from datetime import date
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from tests.release import artefacts, licences, versions
from tests.support import frozen
from tests.support.documents import ROOT

TODAY = date(2026, 6, 1)
SETUP = "[metadata]\nversion = 1.1.0\n"
CHANGELOG = """# Changelog

## Unreleased

## [1.1.0] - 2026-05-31

- This.

## [1.0.0] - 2026-01-01
"""
POLICY = licences.Policy(frozenset({"MIT", "Apache-2.0"}), {"odd": "GPL-2.0-only"})


def test_versions__they_agree__no_problem() -> None:
    assert list(versions.problems(SETUP, CHANGELOG, [], TODAY)) == []
    assert list(versions.problems(SETUP, CHANGELOG, ["v1.1.0"], TODAY)) == []
    assert versions.notes(CHANGELOG, "1.1.0") == "- This.\n"


def test_versions__changes_since__are_a_problem_only_of_a_tagged_commit() -> None:
    changed = CHANGELOG.replace("Unreleased\n", "Unreleased\n\n- That.\n")
    assert list(versions.problems(SETUP, changed, [], TODAY)) == []
    [problem] = versions.problems(SETUP, changed, ["v1.1.0"], TODAY)
    assert "a tagged commit has changes that are Unreleased" in problem


@pytest.mark.parametrize(
    ("old", "new", "tags", "words"),
    [
        ("[1.1.0]", "[1.2.0]", [], "setup.cfg has version 1.1.0, but the newest"),
        ("[1.0.0]", "[1.3.0]", [], "not from the newest to the oldest"),
        ("2026-05-31", "2026-06-02", [], "yet to come"),
        ("2026-05-31", "soon", [], "1.1.0 has no date, but soon"),
        ("## Unreleased", "## Later", [], "unknown heading: ## Later"),
        ("", "", ["v1.1.1"], "the tag is v1.1.1, but setup.cfg has version 1.1.0"),
        ("", "", ["1.1.0"], "the tag is 1.1.0"),
    ],
)
def test_versions__they_disagree__say_how(old: str, new: str, tags: list[str], words: str) -> None:
    problems = list(versions.problems(SETUP, CHANGELOG.replace(old, new), tags, TODAY))
    assert any(words in problem for problem in problems), problems


def test_versions__of_this_commit__agree() -> None:
    setup, changelog = ((ROOT / name).read_text("utf-8") for name in ("setup.cfg", "CHANGELOG.md"))
    assert list(versions.problems(setup, changelog, [], date.max)) == []


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only AND MIT", False),
        ("GPL-3.0-only AND MIT OR Apache-2.0", True),
        ("GPL-3.0-only AND (MIT OR Apache-2.0)", False),
        ("(Apache-2.0 OR GPL-3.0-only) AND MIT", True),
        ("Apache-2.0 WITH LLVM-exception", False),
    ],
)
def test_allows__expression__as_it_can_be_met(expression: str, allowed: bool) -> None:
    assert licences.allows(expression, POLICY.allowed) is allowed


@pytest.mark.parametrize("expression", ["", "MIT AND", "(MIT", "MIT)", "OR MIT", "The MIT one"])
def test_allows__no_expression__refused(expression: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        licences.allows(expression, POLICY.allowed)


def distribution(folder: Path, name: str, *headers: str) -> PathDistribution:
    place = folder / f"{name}-1.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text("\n".join([f"Name: {name}", "Version: 1", *headers, "", ""]))
    return PathDistribution(place)


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        (["License-Expression: MIT OR GPL-2.0-only"], None),
        (["License: MIT License"], None),
        (["Classifier: License :: OSI Approved :: Apache Software License"], None),
        (["License: MIT", "License-Expression: GPL-2.0-only"], "x: GPL-2.0-only is not allowed"),
        (["License: Ask me"], "x: Ask me is not allowed"),
        (["License: A long text\n        of a licence"], "x says no licence that is known"),
        ([], "x says no licence that is known"),
    ],
)
def test_licences__metadata__allowed_or_named(
    headers: list[str], problem: str | None, tmp_path: Path
) -> None:
    present = {"x": distribution(tmp_path, "x", *headers)}
    policy = licences.Policy(POLICY.allowed, {})
    assert list(licences.problems({"x"}, present, policy)) == ([problem] if problem else [])


def test_licences__exception__only_while_it_is_needed_and_true(tmp_path: Path) -> None:
    odd = {"odd": distribution(tmp_path, "odd", "License-Expression: GPL-2.0-only")}
    assert list(licences.problems({"odd"}, odd, POLICY)) == []
    assert list(licences.problems(set(), odd, POLICY)) == [
        "odd has an exception, but is not locked"
    ]
    other = {"odd": distribution(tmp_path / "other", "odd", "License-Expression: AGPL-3.0-only")}
    [problem] = licences.problems({"odd"}, other, POLICY)
    assert problem == "odd: excepted as GPL-2.0-only, but says AGPL-3.0-only"


def test_licences__locked_and_not_installed__named() -> None:
    [problem] = licences.problems({"gone"}, {}, licences.Policy(frozenset(), {}))
    assert problem.startswith("gone is locked but not installed")


def test_pins__lock_file__those_for_this_machine() -> None:
    text = (
        "a-b==1.2 \\\n    --hash=sha256:00\n"
        "c==3 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n"
        "D.e==4 ; python_full_version >= '3.11' \\\n    --hash=sha256:00\n"
    )
    assert licences.pins(text) == {"a-b": "1.2", "d-e": "4"}
    production = (ROOT / "requirements-production.lock").read_text()
    assert "aiohttp" in licences.pins(production)


def test_exceptions__in_the_file__have_reasons() -> None:
    text = licences.FILE.read_text()
    assert text.count("reason = ") == len(licences.policy().exceptions) > 0


def test_settle__sdists_of_two_times_and_owners__same_bytes(tmp_path: Path) -> None:
    made = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in ("b", "a")[:: 1 if number == 1 else -1]:
            (folder / name).write_text(name)
            (folder / name).chmod(0o600 if number == 1 else 0o664)
            os.utime(folder / name, (number, number))
        sdist = tmp_path / f"{number}.tar.gz"
        with tarfile.open(sdist, "w:gz") as archive:
            for path in folder.iterdir():
                archive.add(path, path.name)
        artefacts.settle(sdist, 1_000_000_000)
        made.append(sdist.read_bytes())
    assert made[0] == made[1]
    with tarfile.open(tmp_path / "1.tar.gz") as archive:
        assert archive.getnames() == ["a", "b"]
        assert archive.extractfile("a").read() == b"a"  # type: ignore[union-attr]
        assert {(each.mtime, each.uid, each.mode) for each in archive} == {
            (1_000_000_000, 0, 0o644)
        }


def test_frozen__lines__begin_with_those_of_the_file() -> None:
    kept = (ROOT / "migrations/frozen.sha256").read_text().splitlines()
    assert set(kept) <= set(frozen.lines())
    assert all(re.fullmatch(r"[0-9a-f]{64}  (main|events)/\S+\.sql", line) for line in kept)
