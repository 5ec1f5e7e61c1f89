"""The settings as an operator sees them: variables, accepted values, defaults and meanings."""

import os
from typing import NamedTuple

from rowlock.settings import all_settings, variable_of
from rowlock.settings.kinds import kind_of, meaning_of, show

HIDDEN = "(not shown)"


class Setting(NamedTuple):
    """One setting, as text."""

    variable: str
    takes: str
    default: str
    set_to: str  # "" if it is not set
    meaning: str


def describe() -> list[Setting]:
    """Return every setting with its value in the environment; secrets are hidden."""
    found = []
    for setting in all_settings():
        kind, variable = kind_of(setting), variable_of(setting)
        set_to = os.environ.get(variable, "")
        if set_to and kind.is_secret:
            set_to = HIDDEN
        default = show(setting.default)
        found.append(Setting(variable, kind.takes, default, set_to, meaning_of(setting)))
    return found
