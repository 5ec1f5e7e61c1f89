"""From a file to the database: stage the rows, find what is wrong, add them in one transaction."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg

from rowlock.accounts import names
from rowlock.engine.database import Connection, Database
from rowlock.engine.faults import BUSY, is_retryable
from rowlock.engine.statements import queries
from rowlock.errors import DatabaseBusy, InvalidDataFile
from rowlock.ops.imports.files import Input, Row
from rowlock.ops.imports.kinds import Kind, Values
from rowlock.ops.imports.problems import SHOWN, Problem, Problems
from rowlock.origin import CLI

if TYPE_CHECKING:
    from rowlock.ops.imports.typed.imports import FindUserProblemsRow

STAGED_ROWS = 5000  # at a time

NEEDS_IDENTITY = "Must be given with --skip-existing: rows that are there are known by it."
RACED = (
    "nothing was changed: another transaction has used a name or an id of {} meanwhile. "
    "Run it again."
)


class Source(NamedTuple):
    """A file, and what its rows are."""

    file: Input
    kind: Kind


class Loaded(NamedTuple):
    """How many rows of a file are new, and how many were there already."""

    added: int
    known: int


class Watch:
    """Is told how far an import is. This one ignores it."""

    def read(self, file: Input, rows: int) -> None:
        """Hear that so many rows were read; `file` knows how many bytes."""

    def check(self, file: Input) -> None:
        """Hear that the rows are being compared with what the database has."""

    def write(self, file: Input, rows: int, total: int) -> None:
        """Hear that so many rows were written, of so many."""

    def commit(self) -> None:
        """Hear that COMMIT is sent: until it is answered, the outcome is unknown."""


async def load(
    database: Database,
    sources: Sequence[Source],
    watch: Watch,
    *,
    skips_known: bool = False,
    is_dry: bool = False,
) -> list[Loaded]:
    """Add the rows of all files, or none. What the first file adds, the next one may refer to.

    With `skips_known`, rows that are there already are left alone. With `is_dry`, nothing is
    added: the result says what would be. Raises InvalidDataFile if a row can't be taken,
    DatabaseBusy if a lock can't be had, and OutcomeUnknown if the connection is lost during COMMIT.
    """
    async with database.dedicated() as connection:
        staged = [await _Staged.read(connection, source, watch, skips_known) for source in sources]
        try:
            loaded = await _load_all(database, connection, staged, watch, is_dry)
        except asyncpg.PostgresError as error:
            if error.sqlstate in BUSY or is_retryable(error):
                raise DatabaseBusy from error
            raise
    return loaded


async def _load_all(
    database: Database,
    connection: Connection,
    staged: "Sequence[_Staged]",
    watch: Watch,
    is_dry: bool,
) -> list[Loaded]:
    """Add the rows of all files in one transaction. Raises what `load` and the driver raise."""
    try:
        async with database.transaction_on(connection):
            loaded = [await each.load(connection, watch, is_dry) for each in staged]
            watch.commit()
    except asyncpg.UniqueViolationError:
        if len(staged) == 1:  # what is new there has its line, too
            async with database.transaction_on(connection):
                await staged[0].load(connection, watch, is_dry=True)
        raise InvalidDataFile(RACED.format(staged[0].file.name)) from None
    return loaded


class _Staged:
    """A file whose rows are in a temporary table."""

    def __init__(self, source: Source, skips_known: bool) -> None:
        self.file, self._kind = source
        self._skips_known = skips_known
        self._problems = Problems(self.file.name)
        self._rows = self._last = 0  # how many were staged, and the last one's ordinal

    @classmethod
    async def read(
        cls, connection: Connection, source: Source, watch: Watch, skips_known: bool
    ) -> "_Staged":
        """Read the file into its table, without a transaction: the file may be a slow pipe."""
        staged = cls(source, skips_known)
        await staged._kind.stage(connection)
        page: list[tuple[Row, Values]] = []
        for found in staged.file.rows(staged._kind.header):
            if isinstance(found, Problem):
                staged._problems.add([found])
                continue
            values, problems = staged._kind.check(found.values)
            if skips_known and values.get(staged._kind.identity or "", problems) is None:
                problems = [f"{staged._kind.identity}: {NEEDS_IDENTITY}"]
            if problems:
                staged._problems.add(staged._problem(found, problem) for problem in problems)
                continue
            page.append((found, values))
            if len(page) == STAGED_ROWS:
                await staged._stage(connection, page)
                watch.read(staged.file, staged._rows)
                page.clear()
        await staged._stage(connection, page)
        watch.read(staged.file, staged._rows)
        return staged

    def _problem(self, row: Row, text: str) -> Problem:
        return self.file.problem(row.ordinal, row.line, text)

    async def _stage(self, connection: Connection, page: Sequence[tuple[Row, Values]]) -> None:
        if self._kind.owner is not None:
            page = await self._resolve(connection, self._kind.owner, page)
        records: list[tuple[Any, ...]] = [
            (row.ordinal, row.line, *self._kind.record(values)) for row, values in page
        ]
        if records:
            columns = ["ordinal", "line", *self._kind.columns]
            await connection.copy_records_to_table(
                self._kind.table, records=records, columns=columns
            )
            self._rows += len(records)
            self._last = records[-1][0]

    async def _resolve(
        self, connection: Connection, field: str, page: Sequence[tuple[Row, Values]]
    ) -> list[tuple[Row, Values]]:
        """Return the rows with the ids of the users that they name; note who is unknown."""
        wanted = {values[field] for _, values in page if values[field] is not None}
        spellings, name_keys = names.search_terms(wanted)
        found = await queries.accounts.find_users_by_name(
            connection, usernames=spellings, name_keys=name_keys
        )
        users = names.match(
            wanted, [(row["username"], row["name_key"], row["id"]) for row in found]
        )
        resolved = []
        for row, values in page:
            name = values[field]
            if name is not None and name not in users:
                self._problems.add([self._problem(row, f"{field}: there is no user {name!r}")])
                continue
            resolved.append((row, values if name is None else values | {"user_id": users[name]}))
        return resolved

    async def load(self, connection: Connection, watch: Watch, is_dry: bool) -> Loaded:
        """Add the rows. Raises InvalidDataFile if there is any problem, and then adds none."""
        watch.check(self.file)
        known = 0
        if self._skips_known:
            [forgotten] = await self._kind.forget_known(connection)
            known = forgotten["forgotten"]
        await self._check(connection)
        total = self._rows - known
        return Loaded(total if is_dry else await self._add(connection, watch, total), known)

    async def _check(self, connection: Connection) -> None:
        """Raise InvalidDataFile if a value is wrong, or can't be beside what the database has."""
        rows = await self._kind.find_problems(connection, page_size=SHOWN)
        if rows:
            self._problems.add(map(self._describe, rows), rows[0]["total"])
        self._problems.check()

    def _describe(self, row: "FindUserProblemsRow") -> Problem:
        first, line, holder = row["first_ordinal"], row["first_line"], row["holder_id"]
        if first is not None and line is not None:
            text = f"is that of {self.file.where(first, line)} already"
        elif holder is not None:
            text = f"is that of {self._kind.noun} {holder} already"
        else:
            text = "there is no such user"
        return self.file.problem(row["ordinal"], row["line"], f"{row['field']}: {text}")

    async def _add(self, connection: Connection, watch: Watch, total: int) -> int:
        kind = self._kind
        if kind.lock is not None:
            await kind.lock(connection)
        if kind.ids is not None:
            find_last_id, pass_ids = kind.ids
            [row] = await find_last_id(connection)
            if row["last_id"] is not None:  # before any is added: services draw ids meanwhile
                await pass_ids(connection, last_id=row["last_id"])
        added = 0
        for after in range(0, self._last, kind.page_rows):
            [page] = await kind.add(
                connection, after=after, upto=after + kind.page_rows, actor=CLI.actor
            )
            added += page["added"]
            watch.write(self.file, added, total)
        return added
