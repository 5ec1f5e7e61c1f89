"""The audit's own statements: nothing for the DBAs of an installation, so they are kept here."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from rowlock.engine.statements import Registry

if TYPE_CHECKING:
    from rowlock.ops.drill.typed import Queries

queries = cast("Queries", Registry(Path(__file__).with_name("sql")))
