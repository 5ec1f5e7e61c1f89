"""`rowlock events`: what events say."""

from typing import Annotated

import orjson
import typer

from rowlock.rejections import EventTypeNotFound

app = typer.Typer(help="Tell what events say.", no_args_is_help=True)


@app.command("describe")
def events_describe() -> None:
    """Print what each event says, as in docs/events.md."""
    # Imported here, as the other commands start faster without the features.
    from rowlock.ops import events_page  # noqa: PLC0415

    typer.echo(events_page.describe(), nl=False)


@app.command("schema")
def events_schema(
    name: Annotated[str, typer.Argument(help="Such as invoice.paid.")],
    version: Annotated[
        int | None, typer.Option(help="The latest one by default.", show_default=False)
    ] = None,
) -> None:
    """Print the JSON Schema of an event's payload."""
    # As above.
    from rowlock.services import EVENT_TYPES  # noqa: PLC0415

    kind = EVENT_TYPES.find(name, version)
    if kind is None:
        raise EventTypeNotFound.of(name)
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    typer.echo(orjson.dumps(kind.schema(), option=options).decode(), nl=False)
