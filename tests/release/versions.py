"""The version in setup.cfg, the headings of the changelog, and the tag: they must agree."""

import re
from collections.abc import Iterator
from configparser import ConfigParser
from datetime import date

HEADING = re.compile(
    r"^## (?:\[(?P<version>[^\]]+)\] - (?P<date>\S+)|(?P<other>.*))$", re.MULTILINE
)
UNRELEASED = "Unreleased"
VERSION = re.compile(r"\d+\.\d+\.\d+")


def configured(setup: str) -> str:
    """The version that setup.cfg gives."""
    parser = ConfigParser(interpolation=None)
    parser.read_string(setup)
    return parser["metadata"]["version"]


def notes(changelog: str, version: str) -> str:
    """What the changelog says of a version."""
    parts = re.split(r"^## ", changelog, flags=re.MULTILINE)
    [found] = [part for part in parts if part.startswith(f"[{version}]")]
    return found.partition("\n")[2].strip() + "\n"


def problems(setup: str, changelog: str, tags: list[str], today: date) -> Iterator[str]:
    """Yield a line for each disagreement. `tags` are those of this commit."""
    version = configured(setup)
    if not VERSION.fullmatch(version):
        yield f"setup.cfg: the version is {version}, not three numbers"
    headings = list(HEADING.finditer(changelog))
    unreleased = [each for each in headings if each["other"] == UNRELEASED]
    yield from (
        f"CHANGELOG.md: unknown heading: {each[0]}"
        for each in headings
        if each["version"] is None and each not in unreleased
    )
    released = [each for each in headings if each["version"] is not None]
    if not released or released[0]["version"] != version:
        newest = released[0]["version"] if released else "none"
        yield f"setup.cfg has version {version}, but the newest of CHANGELOG.md is {newest}"
    for each in released:
        yield from _date_problems(each["version"], each["date"], today)
    numbers = [_number(each["version"]) for each in released]
    if numbers != sorted(set(numbers), reverse=True):
        yield "CHANGELOG.md: versions are not from the newest to the oldest"
    for tag in tags:
        if tag != f"v{version}":
            yield f"the tag is {tag}, but setup.cfg has version {version}"
    if tags and unreleased and _text_below(changelog, headings, unreleased[0]):
        yield f"CHANGELOG.md: a tagged commit has changes that are {UNRELEASED}"


def _date_problems(version: str, text: str, today: date) -> Iterator[str]:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        yield f"CHANGELOG.md: {version} has no date, but {text}"
        return
    if day > today:
        yield f"CHANGELOG.md: {version} is of {text}, which is yet to come"


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", version))


def _text_below(changelog: str, headings: list[re.Match[str]], heading: re.Match[str]) -> str:
    following = [each.start() for each in headings if each.start() > heading.start()]
    return changelog[heading.end() : min(following, default=len(changelog))].strip()
