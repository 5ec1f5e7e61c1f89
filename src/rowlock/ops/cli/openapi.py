"""`rowlock openapi`."""

import orjson
import typer

from rowlock.settings import Settings
from rowlock.settings.names import ServiceName

app = typer.Typer()


@app.command()
def openapi(service: ServiceName) -> None:
    """Print a service's OpenAPI document with default settings, as in docs/openapi.

    A running service answers /openapi.json with the document for its own settings and address.
    """
    # Imported here, as the other commands start faster without HTTP.
    from rowlock.http.app import create_app  # noqa: PLC0415
    from rowlock.http.openapi.routes import DOCUMENTS  # noqa: PLC0415
    from rowlock.services import SERVICES  # noqa: PLC0415

    described, nowhere = SERVICES[service], "postgresql://"
    app = create_app(described, Settings(), nowhere, dict.fromkeys(described.also, nowhere))
    document = app[DOCUMENTS].openapi
    text = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    typer.echo(text.decode(), nl=False)
