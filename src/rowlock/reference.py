"""The settings as an operator meets them: variables, what they take, and what they are for."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

from rowlock.settings import PREFIX, Cents, Settings

TAKES = {
    bool: "1 or 0",
    int: "a whole number",
    float: "a number",
    Cents: "an amount such as 500.00",
    Path: "a path",
}
SECRETS = ("_token", "_url")  # a URL may have a password in it
HIDDEN = "(not shown)"
EXPLAINED = re.compile(r" {4}(\w+): .+  # (?!noqa)(.+)")


class Setting(NamedTuple):
    """One setting, as texts."""

    variable: str
    takes: str
    default: str
    set_to: str  # "" if it is not set
    meaning: str


def describe(environ: Mapping[str, str]) -> list[Setting]:
    """Return every setting, with what `environ` sets it to, but no secret."""
    # What a setting means is said once: by the comment beside it.
    lines = inspect.getsource(Settings).splitlines()
    meanings = {match[1]: match[2] for match in map(EXPLAINED.fullmatch, lines) if match}
    found = []
    for field in fields(Settings):
        variable = f"{PREFIX}{field.name.upper()}"
        set_to = environ.get(variable, "")
        if set_to and field.name.endswith(SECRETS):
            set_to = HIDDEN
        meaning = meanings.get(field.name, "")
        found.append(Setting(variable, _takes(field.type), _text(field.default), set_to, meaning))
    return found


def _takes(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    return TAKES.get(kind, "a text")


def _text(value: Any) -> str:
    """Return `value` as the environment would have it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, Cents):
        return str(Decimal(value).scaleb(-2))
    return str(value).removesuffix(".0")
