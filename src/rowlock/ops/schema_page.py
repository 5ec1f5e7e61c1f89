"""The schema as a page for people: from the catalogue, and from the headers of the SQL files."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from rowlock.engine import contracts
from rowlock.engine.database import Connection
from rowlock.engine.statements import queries

if TYPE_CHECKING:
    from rowlock.engine.typed.database import (
        ListColumnsRow,
        ListConstraintsRow,
        ListFunctionsRow,
        ListIndexesRow,
        ListTablesRow,
        ListTriggersRow,
    )

PREFACE = """\
# The schema

Made by `rowlock sql schema > sql/SCHEMA.md`; a test compares. Every table is in schema `public`;
yoyo's own are left out, and so are the partitions of `events`, which are as it is. What uses an
index is what the headers of the SQL files say, and other tests hold those to the plans.
"""
TITLES = {"main": "Main database", "events": "Events database"}


class _OfTable(Protocol):
    def __getitem__(self, key: Literal["table_name"], /) -> str: ...


RowOfTable = TypeVar("RowOfTable", bound=_OfTable)


async def describe(connection: Connection, database: str) -> str:
    """Return the schema of a migrated database, main or events, as Markdown.

    `connection` must be inside a transaction, which keeps some settings until its end.
    """
    await queries.database.pin_format(connection)
    columns = _by_table(await queries.database.list_columns(connection))
    constraints = _by_table(await queries.database.list_constraints(connection))
    indexes = _by_table(await queries.database.list_indexes(connection))
    triggers = _by_table(await queries.database.list_triggers(connection))
    parts = [f"## {TITLES[database]}\n"]
    for table in await queries.database.list_tables(connection):
        name = table["name"]
        parts += [
            _heading(table),
            _columns(columns[name]),
            _constraints(constraints[name]),
            _indexes(indexes[name], _users_of_indexes(database)),
            _triggers(triggers[name]),
        ]
    parts += [_function(row) for row in await queries.database.list_functions(connection)]
    return "\n".join(part for part in parts if part)


def _by_table(rows: Iterable[RowOfTable]) -> dict[str, list[RowOfTable]]:
    found = defaultdict(list)
    for row in rows:
        found[row["table_name"]].append(row)
    return found


def _users_of_indexes(database: str) -> dict[str, list[str]]:
    """Return the names of the statements whose plans use each index."""
    found = defaultdict(list)
    for query in queries:
        if database in contracts.databases_of(query):
            for index in query.indexes:
                found[index].append(query.name)
    return found


def _heading(table: "ListTablesRow") -> str:
    facts = [f"A {table['kind']}."] if table["kind"] != "table" else []
    if table["partition_key"]:
        facts.append(f"Partitioned by {_code(table['partition_key'])}.")
    if table["default_partition"]:
        facts.append(f"Rows without a partition are in {_code(table['default_partition'])}.")
    if table["options"]:
        facts.append(f"With {_code(', '.join(table['options']))}.")
    return f"### {table['name']}\n\n{' '.join([table['comment'] or '', *facts])}\n"


def _columns(rows: Iterable["ListColumnsRow"]) -> str:
    return _grid(
        ("column", "type", "null", "default", "meaning"),
        (
            (
                _code(row["name"]),
                row["type"],
                "null" if row["is_nullable"] else "not null",
                _code(row["default_value"]),
                row["comment"] or "",
            )
            for row in rows
        ),
    )


def _constraints(rows: Iterable["ListConstraintsRow"]) -> str:
    return _grid(
        ("constraint", "says"),
        (
            (_code(row["name"]), " ".join([_code(row["definition"]), row["comment"] or ""]).strip())
            for row in rows
        ),
    )


def _indexes(rows: Iterable["ListIndexesRow"], users: dict[str, list[str]]) -> str:
    return _grid(
        ("index", "on", "used by"),
        (
            (
                _code(row["name"]),
                _code(row["definition"]),
                ", ".join(users[row["name"]]) or "its constraint",
            )
            for row in rows
        ),
    )


def _triggers(rows: Iterable["ListTriggersRow"]) -> str:
    return _grid(
        ("trigger", "fires", "to"),
        ((_code(row["name"]), _code(row["definition"]), row["comment"] or "") for row in rows),
    )


def _function(row: "ListFunctionsRow") -> str:
    signature = f"{row['name']}({row['arguments']}) returns {row['result']}"
    facts = ["Security definer."] if row["is_definers"] else []
    if row["settings"]:
        facts.append(f"With {_code(', '.join(row['settings']))}.")
    return f"### {_code(signature)}\n\n{' '.join([row['comment'] or '', *facts])}\n"


def _code(text: str | None) -> str:
    return f"`{' '.join(text.split())}`" if text else ""


def _grid(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; nothing without rows."""
    lines = [" | ".join(cell.replace("|", r"\|") for cell in row) for row in rows]
    if not lines:
        return ""
    head = [" | ".join(headers), " | ".join("---" for _ in headers)]
    return "\n".join(f"| {line} |" for line in [*head, *lines]) + "\n"
