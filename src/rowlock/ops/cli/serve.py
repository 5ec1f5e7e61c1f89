"""`rowlock serve`."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from rowlock.ops import embedded
from rowlock.ops.cli.common import console, databases, prepare
from rowlock.process import logs
from rowlock.settings import Settings
from rowlock.settings.groups import DEVELOPMENT_TOKENS
from rowlock.settings.names import ServiceName, server_url

if TYPE_CHECKING:
    from rowlock.http.service import Service

app = typer.Typer()

logger = structlog.get_logger(__name__)


@app.command()
def serve(
    names: Annotated[
        list[ServiceName] | None,
        typer.Argument(metavar="SERVICE", help="All by default."),
    ] = None,
    migrate: Annotated[
        bool, typer.Option(help="Apply missing migrations to a configured database first.")
    ] = False,
    no_demo: Annotated[
        bool, typer.Option("--no-demo", help="Leave an empty embedded database empty.")
    ] = False,
    processes: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Processes that serve; ROWLOCK_WORKERS by default."),
    ] = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM. With several workers, SIGHUP replaces them one by one.

    On the embedded database, migrations are applied automatically, and if it is empty, the demo
    data is loaded.
    """
    # Imported here, as the other commands start faster without HTTP.
    from rowlock.process import listeners, server, workers  # noqa: PLC0415
    from rowlock.services import SERVICES  # noqa: PLC0415

    serving = names or list(ServiceName)
    settings = Settings.from_environment(serving)
    if processes is not None:
        settings = settings.changed(workers=processes)
    logs.configure(settings)
    services = [SERVICES[name] for name in serving]
    own = settings.database.database_url is None
    tell = console.print if settings.env == "development" else logger.info
    if own:
        embedded.check_installed()
        tell(f"Starting PostgreSQL with its data in {settings.embedded.data_dir} …")
    with databases(settings) as urls:
        needed = {service.database: urls[service.database] for service in services}
        prepare(settings, needed, may_migrate=migrate, demo=not no_demo, tell=tell)
        places = listeners.listen(services, settings)

        def welcome() -> None:
            _welcome(services, settings)

        keeping = embedded.kept_running(
            settings.embedded.data_dir, settings.embedded.embedded_start_timeout_s
        )
        with keeping if own else nullcontext():
            if settings.process.workers == 1:
                server.run(services, settings, urls, places[0], welcome)
            else:
                workers.run(services, settings, urls, places, welcome)


def _welcome(services: "Sequence[Service]", settings: Settings) -> None:
    """Say where the services are: in production to the log, else with lines to try."""
    for service in services:
        base = server_url(settings.addresses.host, service.port(settings))
        if settings.env == "production":
            logger.info("listening", service=service.name, url=base)
        else:
            _show(service, base, settings)
    if settings.env != "production":
        console.print("Ctrl-C stops everything.")


def _show(service: "Service", base: str, settings: Settings) -> None:
    """Print where `service` is, and lines to try with its token."""
    console.print(f"[bold]{service.name}[/bold] listens on {base}, its API is at {base}/docs")
    token = service.token(settings)
    if token is not None and token not in DEVELOPMENT_TOKENS:
        token = f"$ROWLOCK_{service.name.upper()}_TOKEN"  # a secret is not printed
    header = f'-H "Authorization: Bearer {token}" ' if token else ""
    for example in service.examples:
        console.print(f"  curl -s {header}'{base}{example}'")
