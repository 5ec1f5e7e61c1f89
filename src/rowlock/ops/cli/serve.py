"""`rowlock serve`."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from rowlock.errors import StartRefused
from rowlock.ops import budget, embedded, replicas
from rowlock.ops.cli.common import console, databases, prepare
from rowlock.ops.replicas import State
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
        typer.Argument(
            metavar="SERVICE",
            help="All by default; in production the console only where it has a token.",
        ),
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

    settings = Settings.from_environment(names or None)
    serving = names or settings.services
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
        needed = {name: urls[name] for service in services for name in service.databases}
        prepare(settings, needed, may_migrate=migrate, demo=not no_demo, tell=tell)
        _check_servers(settings, needed)
        _check_budget(services, settings, needed)
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


def _check_budget(
    services: "Sequence[Service]",
    settings: Settings,
    urls: Mapping[str, str],
) -> None:
    """Warn if the databases may refuse connections under load.

    Raises StartRefused if they would even refuse those without which nothing works.
    """

    async def check() -> None:
        counts = Counter(name for service in services for name in service.databases)
        async for limit in budget.limits(urls, counts, settings):
            if limit.problem is not None:
                raise StartRefused(f"{_sentence(limit.problem)}.")
            if limit.warning is not None:
                logger.warning("connections_may_be_refused", reason=limit.warning)

    asyncio.run(check())


def _check_servers(settings: Settings, urls: Mapping[str, str]) -> None:
    """Warn of standbys that can't be read from now: lists then read the primary.

    Raises StartRefused for one of another database: what it shows would be wrong. So it does for
    hosts of two clusters in one URL: which one is written to would be left to chance.
    """
    for setting, problem in replicas.foreign_hosts(urls):
        raise StartRefused(f"{setting}: {problem}. Take it out.")

    async def check() -> None:
        async for replica in replicas.examine(urls, settings, measure=False):
            if replica.state is State.WRONG:
                raise StartRefused(f"{replica.name}: {replica.text}.")
            if replica.state is State.AWAY:
                logger.warning("standby_not_usable", host=replica.name, error=replica.text)

    asyncio.run(check())


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


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
    if service.name == ServiceName.CONSOLE:
        own = settings.addresses.console_token
        shown = own if own in DEVELOPMENT_TOKENS else "ROWLOCK_CONSOLE_TOKEN"
        console.print(f"[bold]console[/bold] is at {base}, for browsers; its token is {shown}")
        return
    console.print(f"[bold]{service.name}[/bold] listens on {base}, its API is at {base}/docs")
    token = service.token(settings)
    if token is not None and token not in DEVELOPMENT_TOKENS:
        token = f"$ROWLOCK_{service.name.upper()}_TOKEN"  # a secret is not printed
    header = f'-H "Authorization: Bearer {token}" ' if token else ""
    for example in service.examples:
        console.print(f"  curl -s {header}'{base}{example}'")
