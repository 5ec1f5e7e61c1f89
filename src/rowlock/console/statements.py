"""Statements: each SQL file with its header, its plan here and now, and what it has cost.

And the locks that sessions wait for, with the transactions that hold them.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
from aiohttp import web
from marshmallow import fields, validate

from rowlock.console import Features
from rowlock.engine.contracts import databases_of, explain, has_plan
from rowlock.engine.database import Connection, Database
from rowlock.engine.statements import Query, queries
from rowlock.engine.top import Cost, name_query_ids, read_costs
from rowlock.errors import NotFound, StartRefused, Unavailable
from rowlock.http.fields import Text
from rowlock.http.outbound import Outbound
from rowlock.pages.declaring import Pages, page
from rowlock.pages.frames import Frame
from rowlock.pages.lists import FormatQuery, none_of, page_of, read_filters, send_pages
from rowlock.settings.names import DatabaseName

if TYPE_CHECKING:
    from rowlock.engine.typed.activity import ListTransactionsRow, ListWaitsRow

OLD = timedelta(seconds=30)  # transactions that are shown even if no session waits for them
SORTS = ("name", "total", "mean", "calls", "rows")
COLUMNS = ("name", "database", "calls", "total_ms", "mean_ms", "rows", "locks", "index", "purpose")


class StatementsQuery(FormatQuery):
    """The filters of the list."""

    name = Text(longest=100, load_default=None)
    sort = fields.String(validate=validate.OneOf(SORTS), load_default="name")


QUERY = StatementsQuery()


class Line(NamedTuple):
    """A statement in a database, and what it has cost there."""

    query: Query
    database: str
    cost: Cost | None  # None: it has not run, or that is not known

    @property
    def mean_ms(self) -> float | None:
        """Milliseconds of a call."""
        return None if self.cost is None else self.cost.total_ms / max(self.cost.calls, 1)


@dataclass
class Figures:
    """What statements have cost in a database, by pg_stat_statements.

    By which ids PostgreSQL knows them is found out once, beside the request that asks first.
    """

    name: str
    database: Database
    names: Mapping[int | None, str] | None = None
    costs: Mapping[str, Cost] | None = None
    problem: str | None = None

    async def learn(self) -> None:
        """Find out the ids of the statements."""

        async def find(connection: Connection) -> Mapping[int | None, str]:
            await read_costs(connection, self.name, {})  # if it has none, ids are of no use
            return await name_query_ids(connection, self.name)

        try:
            self.names = await self.database.read(find, is_fresh=True)
            self.problem = None
        except (StartRefused, Unavailable) as error:
            self.problem = error.message
        except asyncpg.PostgresError as error:
            self.problem = str(error)

    async def renew(self) -> None:
        """Read what the statements have cost until now."""
        names = self.names
        if names is None:
            return
        try:
            found = await self.database.read(
                lambda connection: read_costs(connection, self.name, names), is_fresh=True
            )
        except (StartRefused, Unavailable) as error:
            self.names, self.problem = None, error.message
            return
        self.costs = {cost.name: cost for cost in found}


class Activity(NamedTuple):
    """What the sessions on a database wait for, and which transactions are old."""

    waits: "Sequence[ListWaitsRow]"
    transactions: "Sequence[ListTransactionsRow]"
    sees_all: bool  # what other roles do, too


class StatementPages(Pages):
    """The SQL files, and the sessions that run them."""

    def __init__(self, frame: Frame, features: Features) -> None:
        self._frame = frame
        self._outbound: Outbound = features.outbound
        self._databases: Mapping[str, Database] = {
            DatabaseName.MAIN: features.main, DatabaseName.EVENTS: features.log
        }  # fmt: skip
        self._figures = {name: Figures(name, each) for name, each in self._databases.items()}

    @page("GET", "/statements")
    async def list_statements(self, request: web.Request) -> web.StreamResponse:
        """List all statements, with what each has cost."""
        asked = read_filters(request, QUERY)
        if asked.errors:
            return await self._frame.show(
                request, "console/sql_statements.html", status=400, place="statements",
                listing=none_of(asked), sorts=SORTS, figures=self._figures,
            )  # fmt: skip
        for figures in self._figures.values():
            await figures.renew()
            if figures.names is None:
                self._outbound.later(f"figures_{figures.name}", figures.learn)
        lines = _sorted(self._lines(asked.values["name"]), asked.values["sort"])
        if asked.wants_csv:
            return await send_pages(request, "statements", COLUMNS, _one_page(lines), _texts)
        return await self._frame.show(
            request, "console/sql_statements.html", place="statements",
            listing=page_of(asked, lines, None), sorts=SORTS, figures=self._figures,
        )  # fmt: skip

    def _lines(self, part: str | None) -> Iterable[Line]:
        for query in queries:
            if part is not None and part.lower() not in f"{query.name} {query.purpose}".lower():
                continue
            for database in databases_of(query):
                costs = self._figures[database].costs or {}
                yield Line(query, database, costs.get(query.name))

    @page("GET", "/statements/activity")
    async def show_activity(self, request: web.Request) -> web.StreamResponse:
        """Show the locks that sessions wait for, and old transactions."""
        found = {name: await _look(database) for name, database in self._databases.items()}
        return await self._frame.show(
            request, "console/activity.html", place="statements", databases=found, old=OLD
        )

    @page("GET", "/statements/{folder}/{name}")
    async def show_statement(self, request: web.Request) -> web.StreamResponse:
        """Show a statement: its header, its text, and its plan now."""
        query = queries.find("{folder}/{name}".format_map(request.match_info))
        if query is None:
            raise NotFound("There is no such statement.")
        plans, costs = {}, {}
        for name in databases_of(query):
            plans[name] = await _plan(self._databases[name], query)
            costs[name] = (self._figures[name].costs or {}).get(query.name)
        return await self._frame.show(
            request, "console/sql_statement.html", place="statements", query=query,
            text=_without_header(query.sql), plans=plans, costs=costs,
        )  # fmt: skip


async def _look(database: Database) -> Activity | str:
    """Return what happens on a database, or why it can't be asked."""

    async def read(connection: Connection) -> Activity:
        waits = await queries.activity.list_waits(connection)
        holders = {pid for row in waits for pid in (*(row["holders"] or ()), row["pid"])}
        transactions = await queries.activity.list_transactions(
            connection, pids=sorted(holders), older=OLD
        )
        [sight] = await queries.activity.describe_sight(connection)
        return Activity(waits, transactions, sight["sees_all"])

    try:
        return await database.read(read, is_fresh=True)
    except Unavailable as error:
        return error.message


async def _plan(database: Database, query: Query) -> str:
    """Return the generic plan of a statement as the console's role gets it, or why there is none.

    Nothing is run: EXPLAIN only plans.
    """
    if not has_plan(query):
        return "PostgreSQL has no plan for it: it takes a lock, and reads nothing."

    async def read(connection: Connection) -> str:
        async with connection.transaction(readonly=True):
            return await explain(connection, query, options="COSTS")

    try:
        return await database.read(read, is_fresh=True)
    except asyncpg.InsufficientPrivilegeError as error:
        return f"The console's role may not run it: {error}."
    except asyncpg.PostgresError as error:
        return f"PostgreSQL refuses to plan it: {error}."
    except Unavailable as error:
        return error.message


def _sorted(lines: Iterable[Line], sort: str) -> Sequence[Line]:
    """Return lines by their names, or those first that have most."""
    if sort == "name":
        return sorted(lines, key=lambda line: (line.query.name, line.database))

    def value(line: Line) -> float:
        if line.cost is None:
            return -1
        return {
            "total": line.cost.total_ms,
            "mean": line.mean_ms or 0,
            "calls": line.cost.calls,
            "rows": line.cost.rows,
        }[sort]

    return sorted(lines, key=value, reverse=True)


def _without_header(sql: str) -> str:
    lines = sql.splitlines()
    while lines and lines[0].startswith("--"):
        lines.pop(0)
    return "\n".join(lines)


async def _one_page(lines: Sequence[Line]) -> AsyncIterator[Sequence[Line]]:
    yield lines


def _texts(line: Line) -> Sequence[str | int]:
    cost = line.cost
    figures: tuple[str | int, ...] = ("", "", "", "")
    if cost is not None:
        figures = (cost.calls, f"{cost.total_ms:.3f}", f"{line.mean_ms or 0:.3f}", cost.rows)
    query = line.query
    index = ", ".join(query.indexes) or "none"
    return (query.name, line.database, *figures, query.locks, index, query.purpose)
