"""The statements of imports: most need the temporary tables that the first of them make."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from rowlock.engine.statements import Registry

if TYPE_CHECKING:
    from rowlock.ops.imports.typed import Queries

statements = cast("Queries", Registry(Path(__file__).with_name("sql")))
