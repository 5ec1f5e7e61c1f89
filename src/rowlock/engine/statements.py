"""The query registry: every statement is a file in sql/, called as a function.

`queries.accounts.find_users(connection, user_ids=[1, 2])` runs `sql/accounts/find_users.sql` and
returns its rows. The header of a file is its contract; it is parsed when the registry loads:

    -- accounts/find_users: read accounts by id
    -- Params:  $1 user_ids bigint[]   unique
    -- Locks:   none
    -- Rows:    id bigint, first_name text, balance bigint; one per user found
    -- Index:   users_pkey

The first line is the statement's name and purpose. Params are `$n name type`, one a line, with a
note after two spaces. Rows are the columns, then how many rows there are. Index names the indexes
that the plan uses. Each of the three may be `none`; Index then gives a reason. A `?` after a type
says that the value may be null, as in `paid_at timestamptz?`; `text?[]` is an array that may hold
nulls.

mypy knows each statement's arguments and rows from the stubs in `typed/`, which
`rowlock sql stubs` generates. At run time the rows are asyncpg's records. The stubs show only
their columns by name, so mypy refuses a row that is iterated, unpacked or read by position.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, cast

import asyncpg

from rowlock.errors import DatabaseBusy, InvalidQueryFile

if TYPE_CHECKING:
    from rowlock.engine.typed import Queries

FIELDS = ("Params", "Locks", "Rows", "Index")
SAVEPOINT = "SAVEPOINT reading"  # of reads that have a transaction: see engine/sessions

T_co = TypeVar("T_co", covariant=True)


def packaged_folder(name: str) -> Path:
    """Return a folder of SQL: in the package once installed, else at the top of the checkout."""
    here = Path(__file__).resolve()
    installed = here.parents[1] / "files" / name
    return installed if installed.is_dir() else here.parents[3] / name


class Executor(Protocol):
    """What runs a statement: a connection, never a pool, so that callers name their transaction."""

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        """Run `query` and return its rows."""

    def is_in_transaction(self) -> bool:
        """Return whether a transaction is open."""

    async def execute(self, query: str, /) -> str:
        """Run `query`, which returns no rows."""

    async def reload_schema_state(self) -> None:
        """Forget all prepared statements and types, of all connections of the pool."""


class Array(Protocol[T_co]):
    """What asyncpg takes for an array: a list, a tuple, a set, but not a str."""

    def __iter__(self) -> Iterator[T_co]: ...
    def __len__(self) -> int: ...
    def __contains__(self, value: object, /) -> bool: ...


class Type(NamedTuple):
    """A PostgreSQL type by its SQL name, and where it may be null."""

    name: str  # bigint, text[]
    nullable: bool = False  # the value itself
    holds_nulls: bool = False  # an array's elements


class Param(NamedTuple):
    """A parameter of a statement; `$1` is the first of `Statement.params`."""

    name: str
    type: Type


class Column(NamedTuple):
    """A column of a statement's rows."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement's text and contract."""

    name: str  # feature/verb_noun
    sql: str  # the whole file: what PostgreSQL runs
    purpose: str
    params: tuple[Param, ...]
    locks: str
    columns: tuple[Column, ...]
    cardinality: str
    indexes: tuple[str, ...]


def is_stale(error: BaseException) -> bool:
    """Return whether a statement has failed as it was prepared before a change of the schema.

    The driver raises it once for each statement, and nothing is wrong with the next attempt.
    """
    if isinstance(error, asyncpg.InvalidCachedStatementError | asyncpg.OutdatedSchemaCacheError):
        return True
    if isinstance(error, asyncpg.InternalServerError):  # internal messages are not translated
        return str(error).startswith("cache lookup failed for ")
    if isinstance(error, asyncpg.UndefinedObjectError):  # type with OID … does not exist
        return getattr(error, "server_source_function", None) == "lookup_type_cache"
    # A pooler or an administrator has dropped the statement: DISCARD ALL, DEALLOCATE ALL.
    return isinstance(error, asyncpg.InvalidSQLStatementNameError)


class Query(Statement):
    """A statement as a function."""

    __slots__ = ()

    async def __call__(self, connection: Executor, **arguments: Any) -> list[asyncpg.Record]:
        """Run the statement with one keyword argument for each parameter; return its rows.

        Outside a transaction it runs again, once, if the schema has changed since it was prepared.
        Raises TypeError if the arguments are not exactly the declared ones, DatabaseBusy if a
        pooler loses the statement twice, and what asyncpg raises.
        """
        try:
            values = [arguments[param.name] for param in self.params]
        except KeyError as error:
            raise TypeError(f"{self.name} needs the argument {error}") from None
        if len(arguments) != len(values):
            unknown = set(arguments) - {param.name for param in self.params}
            raise TypeError(f"{self.name} takes no argument {', '.join(sorted(unknown))}")
        try:
            return await connection.fetch(self.sql, *values)
        except (asyncpg.PostgresError, asyncpg.InternalClientError) as error:
            if not is_stale(error):
                raise
            await connection.reload_schema_state()
            if connection.is_in_transaction():
                if not getattr(connection, "is_reading", False):  # it has to run again as a whole
                    raise
                await connection.execute(f"ROLLBACK TO {SAVEPOINT}")
        try:
            return await connection.fetch(self.sql, *values)
        except asyncpg.InvalidSQLStatementNameError as error:  # a pooler has come in between
            raise DatabaseBusy from error


class Folder:
    """The statements of one folder, as attributes."""

    def __init__(self, name: str, queries: dict[str, Query]) -> None:
        self.__dict__.update(queries)
        self._name = name

    if not TYPE_CHECKING:  # to mypy, what the stubs do not name is an error

        def __getattr__(self, name: str) -> Query:
            raise AttributeError(f"there is no file {self._name}/{name}.sql")


class Registry:
    """All statements below a folder, as attributes: `registry.folder.file`."""

    def __init__(self, folder: Path) -> None:
        """Load every file below `folder`. Raises InvalidQueryFile for a broken contract."""
        folders: dict[str, dict[str, Query]] = {}
        for path in sorted(folder.glob("*/*.sql")):
            folders.setdefault(path.parent.name, {})[path.stem] = load(path)
        self._queries = {
            query.name: query for queries in folders.values() for query in queries.values()
        }
        self.__dict__.update({name: Folder(name, found) for name, found in folders.items()})

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Folder:
            raise AttributeError(f"there is no folder {name}")

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
        purpose, contract = _parse_header(sql, name)
        columns, cardinality = _parse_rows(" ".join(contract["Rows"]))
        query = Query(
            name=name,
            sql=sql,
            purpose=purpose,
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


def _parse_header(sql: str, name: str) -> tuple[str, dict[str, list[str]]]:
    """Return the purpose, and the lines of each field of the leading comment."""
    purpose: list[str] = []
    contract: dict[str, list[str]] = {}
    lines = purpose
    for number, line in enumerate(sql.splitlines()):
        if not line.startswith("--"):
            break
        text = line.removeprefix("--").strip()
        start = re.match(r"-- ([A-Z][a-z]+): +(.+)", line)
        if number == 0:
            stated, _, text = text.partition(": ")
            if stated != name or not text:
                raise ValueError(f"the first line must be '-- {name}: what it is for'")
        elif start:
            lines = contract[start[1]] = []
            text = start[2].strip()
        lines.append(text)
    if not purpose or tuple(contract) != FIELDS:
        raise ValueError(f"below the first line, the header must be {', '.join(FIELDS)}")
    return " ".join(purpose), contract


def _parse_type(text: str) -> Type:
    match = re.fullmatch(r"(\w+)((\??)\[\])?(\??)", text)
    if not match:
        raise ValueError(f"{text!r} is not a type, with ? where it may be null")
    name = f"{match[1]}[]" if match[2] else match[1]
    return Type(name, nullable=bool(match[4]), holds_nulls=bool(match[3]))


def _parse_params(lines: list[str]) -> tuple[Param, ...]:
    if lines == ["none"]:
        return ()
    params = []
    for number, line in enumerate(lines, start=1):
        match = re.fullmatch(rf"\${number} (\w+) (\S+)(?:  +.+)?", line)
        if not match:
            raise ValueError(f"{line!r} is not like '${number} name type   note'")
        params.append(Param(match[1], _parse_type(match[2])))
    return tuple(params)


def _parse_rows(text: str) -> tuple[tuple[Column, ...], str]:
    if text == "none":
        return (), "none"
    described, semicolon, cardinality = text.partition(";")
    columns = [re.fullmatch(r"(\w+) (\S+)", column.strip()) for column in described.split(",")]
    if not semicolon or not all(columns):
        raise ValueError(f"Rows {text!r} is not like 'name type, name type; how many'")
    found = tuple(Column(match[1], _parse_type(match[2])) for match in columns if match)
    return found, cardinality.strip()


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


_registry = Registry(packaged_folder("sql"))
queries = cast("Queries", _registry)
