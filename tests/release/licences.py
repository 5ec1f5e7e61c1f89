"""The licences of the packages in the lock files, as their metadata tells them."""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name

FILE = Path(__file__).with_name("licences.toml")
PIN = re.compile(r"^([\w.-]+)==(\S+)(?: ; ([^\\\n]*[^\\\s]))?", re.MULTILINE)
# What older metadata says, in the names of SPDX.
CLASSIFIERS = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "LicenseRef-BSD",
    "License :: OSI Approved :: ISC License (ISCL)": "ISC",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "License :: OSI Approved :: Python Software Foundation License": "PSF-2.0",
}
NAMES = {
    "Apache 2.0": "Apache-2.0",
    "BSD": "LicenseRef-BSD",
    "MIT License": "MIT",
    "The MIT License": "MIT",
}
TOKEN = re.compile(r"[()]|[^\s()]+")


@dataclass(frozen=True)
class Policy:
    """Which licences may be there, and which packages may have others."""

    allowed: frozenset[str]
    exceptions: Mapping[str, str]  # the licence of each


def policy() -> Policy:
    """Read the table of licences.toml."""
    table = tomllib.loads(FILE.read_text("utf-8"))
    exceptions = {name: entry["licence"] for name, entry in table["exceptions"].items()}
    return Policy(frozenset(table["allowed"]), exceptions)


def pins(text: str) -> dict[str, str]:
    """The versions of a lock file's packages that are for this machine and this Python."""
    return {
        canonicalize_name(name): version
        for name, version, marker in PIN.findall(text)
        if not marker or Marker(marker).evaluate()
    }


def installed(folders: Collection[Path]) -> dict[str, Distribution]:
    """The distributions of environments, by name; `folders` are their site-packages."""
    return {
        canonicalize_name(each.metadata["Name"]): each
        for each in distributions(path=[str(folder) for folder in folders])
    }


def licence_of(distribution: Distribution) -> str | None:
    """Return a package's licence as an expression of SPDX; None if it says none that is known."""
    metadata = distribution.metadata
    if expressions := metadata.get_all("License-Expression", []):
        return str(expressions[0])
    found = metadata.get_all("Classifier", [])
    if names := [CLASSIFIERS[each] for each in found if each in CLASSIFIERS]:
        # Several may be a choice, or hold for different parts: then all of them must be allowed.
        return " AND ".join(names)
    text = "".join(metadata.get_all("License", [])).strip()
    return NAMES.get(text, text) if text and len(text.splitlines()) == 1 else None


def allows(expression: str, allowed: Collection[str]) -> bool:
    """Whether an expression of SPDX can be met by the allowed licences. Raises ValueError."""
    tokens = iter([*TOKEN.findall(expression), ""])
    met, rest = _either(tokens, allowed)
    if rest:
        raise ValueError(expression)
    return met


def _either(tokens: Iterator[str], allowed: Collection[str]) -> tuple[bool, str]:
    met, rest = _all(tokens, allowed)
    while rest == "OR":
        other, rest = _all(tokens, allowed)
        met = met or other
    return met, rest


def _all(tokens: Iterator[str], allowed: Collection[str]) -> tuple[bool, str]:
    met, rest = _one(tokens, allowed)
    while rest == "AND":
        other, rest = _one(tokens, allowed)
        met = met and other
    return met, rest


def _one(tokens: Iterator[str], allowed: Collection[str]) -> tuple[bool, str]:
    name = next(tokens)
    if name == "(":
        met, rest = _either(tokens, allowed)
        if rest != ")":
            raise ValueError(name)
        return met, next(tokens)
    if name in {"", ")", "AND", "OR"}:
        raise ValueError(name)
    rest = next(tokens)
    if rest == "WITH":
        return f"{name} WITH {next(tokens)}" in allowed, next(tokens)
    return name in allowed, rest


def problems(
    names: Collection[str], present: Mapping[str, Distribution], policy: Policy
) -> Iterator[str]:
    """Yield a line for each package whose licence is not known, or not allowed."""
    for name in sorted(names):
        if name not in present:
            yield f"{name} is locked but not installed, so its licence is not known"
            continue
        licence = licence_of(present[name])
        if name in policy.exceptions:
            if licence != policy.exceptions[name]:
                yield f"{name}: excepted as {policy.exceptions[name]}, but says {licence}"
        elif licence is None:
            yield f"{name} says no licence that is known"
        elif not _is_met(licence, policy.allowed):
            yield f"{name}: {licence} is not allowed"
    for name in sorted(policy.exceptions.keys() - set(names)):
        yield f"{name} has an exception, but is not locked"


def _is_met(licence: str, allowed: Collection[str]) -> bool:
    try:
        return allows(licence, allowed)
    except ValueError:
        return False  # words, not an expression
