"""Settings as a process with another environment has them."""

import os
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from unittest.mock import patch

from rowlock.settings import Settings
from rowlock.settings.names import ServiceName


def environment(variables: Mapping[str, str]) -> AbstractContextManager[object]:
    """Within it, the environment is `variables` and nothing else."""
    return patch.dict(os.environ, variables, clear=True)


def settings_from(variables: Mapping[str, str], serving: Collection[ServiceName] = ()) -> Settings:
    """The settings of a process that has these variables, and serves. Raises InvalidSettings."""
    with environment(variables):
        return Settings.from_environment(serving)
