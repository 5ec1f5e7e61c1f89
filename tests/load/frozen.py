"""The statements of release 0.1.0, as they were: `frozen/`.

pgbench and the bare client run these. Leaner statements of the service must not move the yardstick
that it is measured by.
"""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parent / "frozen"
PARAM = re.compile(r"^--[ \w:]{10}\$\d+ (\w+) (\S+)", re.MULTILINE)


class Statement(NamedTuple):
    """A statement, and the types of its parameters by their names, in their order."""

    sql: str
    params: dict[str, str]


@cache
def statement(name: str) -> Statement:
    """Return the statement frozen/`name`.sql."""
    text = (FOLDER / f"{name}.sql").read_text(encoding="ascii")
    return Statement(text, dict(PARAM.findall(text)))
