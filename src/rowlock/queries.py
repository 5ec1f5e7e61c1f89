"""The query registry: every statement is a file in sql/, called as a function.

`queries.accounts.find_users(connection, user_ids=[1, 2])` runs `sql/accounts/find_users.sql` and
returns its rows. The header of a file is its contract; it is parsed when the registry loads:

    -- Purpose: read accounts by id
    -- Params:  $1 user_ids bigint[]   unique
    -- Locks:   none
    -- Rows:    id bigint, balance bigint; one per user found
    -- Index:   users_pkey

Params are `$n name type`, a line each, with a note behind two spaces; Rows are columns, then how
many; Index names those that the plan uses. Each of the three may be `none`, Index with a reason.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import asyncpg

from rowlock.exceptions import InvalidQueryFile

FIELDS = ("Purpose", "Params", "Locks", "Rows", "Index")


def packaged_folder(name: str) -> Path:
    """Return a folder of SQL: in the package once installed, else at the top of the checkout."""
    here = Path(__file__).resolve()
    installed = here.parent / "files" / name
    return installed if installed.is_dir() else here.parents[2] / name


class Executor(Protocol):
    """What runs a statement: a connection, never a pool, so that callers say where they are."""

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """Run `query` and return its rows."""


class Param(NamedTuple):
    """A parameter of a statement; its place in the list is its number."""

    name: str
    type: str


class Column(NamedTuple):
    """A column of a statement's rows."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Query:
    """A statement and its contract."""

    name: str  # feature/verb_noun
    sql: str  # the whole file: what PostgreSQL runs
    purpose: str
    params: tuple[Param, ...]
    locks: str
    columns: tuple[Column, ...]
    cardinality: str
    indexes: tuple[str, ...]

    async def __call__(self, connection: Executor, **arguments: Any) -> list[asyncpg.Record]:
        """Run the statement with one keyword argument per parameter and return its rows.

        Raises TypeError if the arguments are not exactly the declared ones, and whatever asyncpg
        raises.
        """
        try:
            values = [arguments[param.name] for param in self.params]
        except KeyError as error:
            raise TypeError(f"{self.name} needs the argument {error}") from None
        if len(arguments) != len(values):
            unknown = set(arguments) - {param.name for param in self.params}
            raise TypeError(f"{self.name} takes no argument {', '.join(sorted(unknown))}")
        return await connection.fetch(self.sql, *values)


class Feature:
    """The statements of one folder, as attributes."""

    def __init__(self, name: str, queries: dict[str, Query]) -> None:
        self.__dict__.update(queries)
        self._name = name

    def __getattr__(self, name: str) -> Query:
        raise AttributeError(f"there is no file sql/{self._name}/{name}.sql")


class Registry:
    """All statements, by folder and file name."""

    def __init__(self, folder: Path) -> None:
        """Load every file below `folder`. Raises InvalidQueryFile for a broken contract."""
        by_feature: dict[str, dict[str, Query]] = {}
        for path in sorted(folder.glob("*/*.sql")):
            by_feature.setdefault(path.parent.name, {})[path.stem] = load(path)
        self._queries = {
            query.name: query for queries in by_feature.values() for query in queries.values()
        }
        self.__dict__.update({name: Feature(name, found) for name, found in by_feature.items()})

    def __getattr__(self, name: str) -> Feature:
        raise AttributeError(f"there is no folder sql/{name}")

    def __iter__(self) -> Iterator[Query]:
        return iter(self._queries.values())

    def find(self, name: str) -> Query | None:
        """Return the statement called `name`, as `feature/verb_noun`, or None."""
        return self._queries.get(name)


def load(path: Path) -> Query:
    """Return the statement in the file `path`. Raises InvalidQueryFile."""
    sql = path.read_text(encoding="utf-8")
    name = f"{path.parent.name}/{path.stem}"
    try:
        contract = _parse_header(sql)
        columns, cardinality = _parse_rows(" ".join(contract["Rows"]))
        query = Query(
            name=name,
            sql=sql,
            purpose=" ".join(contract["Purpose"]),
            params=_parse_params(contract["Params"]),
            locks=" ".join(contract["Locks"]),
            columns=columns,
            cardinality=cardinality,
            indexes=_parse_indexes(" ".join(contract["Index"])),
        )
        _check_statement(query)
    except ValueError as error:
        raise InvalidQueryFile(f"sql/{name}.sql: {error}") from None
    return query


def _parse_header(sql: str) -> dict[str, list[str]]:
    """Return the lines of each field of the leading comment."""
    contract: dict[str, list[str]] = {}
    field = ""
    for line in sql.splitlines():
        if not line.startswith("--"):
            break
        start = re.match(r"-- ([A-Z][a-z]+): +(.+)", line)
        if start:
            field = start[1]
            contract[field] = [start[2].strip()]
        elif field:
            contract[field].append(line.removeprefix("--").strip())
    if tuple(contract) != FIELDS:
        raise ValueError(f"the header must be {', '.join(FIELDS)}, in this order")
    return contract


def _parse_params(lines: list[str]) -> tuple[Param, ...]:
    if lines == ["none"]:
        return ()
    params = []
    for number, line in enumerate(lines, start=1):
        match = re.fullmatch(rf"\${number} (\w+) (\S+)(?:  +.+)?", line)
        if not match:
            raise ValueError(f"{line!r} is not like '${number} name type   note'")
        params.append(Param(match[1], match[2]))
    return tuple(params)


def _parse_rows(text: str) -> tuple[tuple[Column, ...], str]:
    if text == "none":
        return (), "none"
    described, semicolon, cardinality = text.partition(";")
    columns = [re.fullmatch(r"(\w+) (\S+)", column.strip()) for column in described.split(",")]
    if not semicolon or not all(columns):
        raise ValueError(f"Rows {text!r} is not like 'name type, name type; how many'")
    return tuple(Column(match[1], match[2]) for match in columns if match), cardinality.strip()


def _parse_indexes(text: str) -> tuple[str, ...]:
    if re.fullmatch(r"none, .+", text):
        return ()
    names = tuple(name.strip() for name in text.split(","))
    if not all(re.fullmatch(r"\w+", name) for name in names):
        raise ValueError(f"Index {text!r} is not like 'name, name' or 'none, reason'")
    return names


def _check_statement(query: Query) -> None:
    statement = re.sub(r"--[^\n]*", "", query.sql)
    used = {int(number) for number in re.findall(r"\$(\d+)", statement)}
    if used != set(range(1, len(query.params) + 1)):
        raise ValueError("the statement's parameters are not those of the header")
    if ";" in statement:
        raise ValueError("a file holds one statement, without a semicolon")


queries = Registry(packaged_folder("sql"))
