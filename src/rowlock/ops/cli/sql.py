"""`rowlock sql`: the SQL files, their plans, the schema and the grants."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Annotated, Any

import typer

from rowlock.engine import contracts, migrations, top
from rowlock.engine.database import Database
from rowlock.engine.statements import Query, queries
from rowlock.errors import StartRefused
from rowlock.ops import embedded, schema_page
from rowlock.ops.cli.common import console, databases, print_table, with_database
from rowlock.settings import Settings
from rowlock.settings.names import DatabaseName, ServiceName

app = typer.Typer(help="List, explain and measure the SQL statements.", no_args_is_help=True)


@app.command("list")
def sql_list() -> None:
    """List every statement with its purpose, locks and indexes."""
    print_table(
        ("name", "purpose", "locks", "index"),
        [
            (query.name, query.purpose, query.locks, ", ".join(query.indexes) or "none")
            for query in queries
        ],
    )


@app.command("show")
def sql_show(name: Annotated[str, typer.Argument(help="As in accounts/find_users.")]) -> None:
    """Print a statement, exactly as PostgreSQL gets it."""
    console.print(_find_query(name).sql, end="", markup=False)


@app.command("explain")
def sql_explain(
    name: Annotated[str, typer.Argument(help="As in accounts/find_users.")],
    params: Annotated[
        list[str] | None,
        typer.Option("--param", help="With --analyze: NAME=TEXT, as in user_ids={1,2}."),
    ] = None,
    analyze: Annotated[
        bool, typer.Option(help="Run it and roll it back: the plan then has times and buffers.")
    ] = False,
) -> None:
    """Print a statement's plan on the live database.

    What --analyze draws from a sequence is not rolled back: those ids stay unused.
    """
    query = _find_query(name)
    if analyze and "setval(" in query.sql:
        raise StartRefused(
            f"{name} moves a sequence, which no rollback undoes: leave out --analyze."
        )
    given = dict(_parse_param(text) for text in params or ())
    unknown = set(given) - {param.name for param in query.params}
    if unknown:
        raise StartRefused(f"{name} has no parameter {', '.join(sorted(unknown))}.")

    options = contracts.ANALYZE if analyze else "VERBOSE"

    async def plan(database: Database) -> str:
        async with database.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                return await contracts.explain(connection, query, options=options, arguments=given)
            finally:
                await transaction.rollback()

    settings = Settings.from_environment()
    with databases(settings) as urls:
        console.print(
            with_database(settings, urls[contracts.databases_of(query)[0]], plan), markup=False
        )


@app.command("top")
def sql_top(
    limit: Annotated[int, typer.Option(min=1, help="Statements to list per database.")] = 20,
) -> None:
    """Show what each statement has cost, most expensive first, from pg_stat_statements.

    The last row of each database, (others), is the sum of all that is not listed.
    """
    settings = Settings.from_environment()
    rows = []
    with databases(settings) as urls:
        for name, url in urls.items():
            costs = with_database(settings, url, partial(top.measure, name=name, limit=limit))
            rows += [_as_texts(name, cost) for cost in costs]
    headers = ("database", "statement", "calls", "total ms", "mean ms", "rows")
    print_table((*headers, "blocks read", "blocks dirtied", "WAL bytes"), rows)


def _as_texts(database: str, cost: top.Cost) -> tuple[str, ...]:
    name, calls, total_ms, *others = cost
    mean_ms = total_ms / max(calls, 1)
    return (database, name, str(calls), f"{total_ms:.1f}", f"{mean_ms:.3f}", *map(str, others))


@app.command("schema")
def sql_schema() -> None:
    """Print the tables of both databases, with what each column means, as Markdown."""

    def describe(name: str) -> Callable[[Database], Coroutine[Any, Any, str]]:
        async def work(database: Database) -> str:
            async with database.transaction() as connection:
                return await schema_page.describe(connection, name)

        return work

    settings = Settings.from_environment()
    with databases(settings) as urls:
        parts = [with_database(settings, url, describe(name)) for name, url in urls.items()]
    typer.echo("\n".join([schema_page.PREFACE, *parts]), nl=False)


@app.command("grants")
def sql_grants(
    service: ServiceName,
    events: Annotated[
        bool, typer.Option("--events", help="The console's rights in the events database.")
    ] = False,
) -> None:
    """Print the psql script that grants a role what it needs to run a service, and no more."""
    if events and service != ServiceName.CONSOLE:
        raise StartRefused(f"{service} has one database: leave out --events.")
    typer.echo(migrations.grants(service, DatabaseName.EVENTS if events else None), nl=False)


@app.command("stubs")
def sql_stubs() -> None:
    """Generate the stubs that tell mypy the statements' types, from the headers in a checkout."""
    embedded.check_installed(alternative="")
    from rowlock.ops import stubs  # noqa: PLC0415 - it knows the drill, which needs the extra

    stubs.write_all()
    console.print("The stubs are up to date.")


def _find_query(name: str) -> Query:
    query = queries.find(name.removesuffix(".sql"))
    if query is None:
        raise StartRefused(f"There is no statement {name}: see rowlock sql list.")
    return query


def _parse_param(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise StartRefused(f"--param {text} is not like NAME=TEXT.")
    return name, value
