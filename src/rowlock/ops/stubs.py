"""Stubs for mypy, made of the headers of SQL files: each statement's arguments and rows.

One stub for each folder of statements, and one for all of them: `Queries`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from rowlock.engine import statements
from rowlock.engine.statements import Query, Registry, Type
from rowlock.ops import top
from rowlock.ops.drill import statements as drill

# What asyncpg makes of a type, and where that is from.
PYTHON = {
    "bigint": "int",
    "integer": "int",
    "smallint": "int",
    "xid8": "int",
    "float8": "float",
    "numeric": "Decimal",
    "boolean": "bool",
    "text": "str",
    "jsonb": "str",
    "bytea": "bytes",
    "uuid": "UUID",
    "date": "date",
    "timestamptz": "datetime",
    "interval": "timedelta",
    "void": "object",
}
IMPORTS = {
    "Decimal": "decimal",
    "UUID": "uuid",
    "date": "datetime",
    "datetime": "datetime",
    "timedelta": "datetime",
}
NOTE = "# Made by `rowlock sql stubs` of the headers in {}\n# A test compares.\n"
LINE_LENGTH = 100


def render_all() -> Iterator[tuple[Path, str]]:
    """Yield the path and the text of every stub: of the services' statements and the drill's."""
    for registry, module, source in (
        (statements.queries, statements, "sql"),
        (drill.queries, drill, "src/rowlock/ops/drill/sql"),
        (top.statements, top, "src/rowlock/ops/top/sql"),
    ):
        assert module.__file__ is not None
        folder = Path(module.__file__).with_name("typed")
        package = f"{module.__spec__.parent}.typed" if module.__spec__ else ""
        for name, text in _render_registry(registry, package, source).items():
            yield folder / name, text


def _render_registry(registry: Registry, package: str, source: str) -> dict[str, str]:
    """Return the stubs of `registry`, which is `source` in the checkout, by their files' names."""
    by_folder = groupby(registry, key=lambda query: query.name.partition("/")[0])
    folders = {name: [*found] for name, found in by_folder}
    lines = [NOTE.format(f"{source}/"), "from rowlock.engine.statements import Registry"]
    lines += [f"from {package}.{name} import {_class_name(name)}" for name in folders]
    lines += ["", "class Queries(Registry):"]
    lines += [f"    {name}: {_class_name(name)}" for name in folders]
    stubs = {f"{name}.pyi": _render(name, found, source) for name, found in folders.items()}
    return stubs | {"__init__.pyi": "\n".join(lines) + "\n"}


def _render(name: str, found: Sequence[Query], source: str) -> str:
    body = "\n".join(_statement(query) for query in found)
    attributes = [
        f"    {query.name.partition('/')[2]}: {_class_name(query.name)}" for query in found
    ]
    body += "\n" + "\n".join([f"class {_class_name(name)}:", *attributes]) + "\n"
    return f"{NOTE.format(f'{source}/{name}/')}\n{_imports(body)}\n{body}"


def _imports(body: str) -> str:
    """Return the imports of the names that `body` uses."""
    used: dict[str, list[str]] = {}
    sources: Mapping[str, str] = IMPORTS | {
        "Never": "typing",
        "TypedDict": "typing",
        "Array": "rowlock.engine.statements",
        "Executor": "rowlock.engine.statements",
        "Statement": "rowlock.engine.statements",
    }
    for imported, module in sources.items():
        if re.search(rf"\b{imported}\b", body):
            used.setdefault(module, []).append(imported)
    own = used.pop("rowlock.engine.statements")
    lines = [
        f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(used.items())
    ]
    return "\n".join([*lines, "", f"from rowlock.engine.statements import {', '.join(own)}", ""])


def _statement(query: Query) -> str:
    """Return the class of a row, if there are rows, and that of the statement."""
    name = _class_name(query.name)
    lines = []
    row = "Never"
    if query.columns:
        row = f"{name}Row"
        lines = [f"class {row}(TypedDict):"]
        lines += [f"    {column.name}: {_python(column.type, 'list')}" for column in query.columns]
        lines += [""]
    params = [f"{param.name}: {_python(param.type, 'Array')}" for param in query.params]
    arguments = ["self", "connection: Executor", *(["*"] if params else []), *params]
    call = f"    async def __call__({', '.join(arguments)}) -> list[{row}]: ..."
    if len(call) > LINE_LENGTH:
        inner = "".join(f"        {argument},\n" for argument in arguments)
        call = f"    async def __call__(\n{inner}    ) -> list[{row}]: ..."
    return "\n".join([*lines, f"class {name}(Statement):", call, ""])


def _python(kind: Type, array: str) -> str:
    name = kind.name.removesuffix("[]")
    found = PYTHON[name]
    if name != kind.name:
        found = f"{array}[{found} | None]" if kind.holds_nulls else f"{array}[{found}]"
    return f"{found} | None" if kind.nullable else found


def _class_name(name: str) -> str:
    return name.rpartition("/")[2].title().replace("_", "")
