"""`rowlock keys`: API keys, as the routes of each service manage them, too."""

from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import typer

from rowlock.errors import StartRefused
from rowlock.keys import Keys
from rowlock.keys.credentials import hash_of, new_secret
from rowlock.keys.rules import (
    LONGEST_OVERLAP,
    MOST_SCOPES,
    NAME_RULE,
    RATE_LIMIT,
    CreateKey,
    Key,
    RevokeKey,
    RotateKey,
    is_name,
    unknown_scopes,
)
from rowlock.ops.cli.common import (
    console,
    databases,
    parse_duration,
    prepare,
    print_table,
    show_secret,
    with_database,
)
from rowlock.origin import CLI
from rowlock.rejections import Rejection
from rowlock.settings import Settings
from rowlock.settings.names import ServiceName

Result = TypeVar("Result")

PAGE = 1000
BEYOND = 2**63 - 1
TIME = "%Y-%m-%d %H:%M"

app = typer.Typer(
    help="API keys: callers with a name, scopes, a rate and an end.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="The key's name, in lower case.")]


def _taking_keys(service: ServiceName | None) -> ServiceName | None:
    if service == ServiceName.CONSOLE:
        raise StartRefused("The console takes no API keys, but its tokens.")
    return service


OfService = Annotated[
    ServiceName,
    typer.Option("--service", help="The service that takes it.", callback=_taking_keys),
]


@app.command("create")
def keys_create(
    name: Name,
    service: OfService,
    scope: Annotated[
        list[str], typer.Option(help="What it may do, such as invoices:write; may be repeated.")
    ],
    rate: Annotated[
        int | None,
        typer.Option(min=1, max=RATE_LIMIT, help="Requests a second, in each process."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="After how long it ends, such as 90d.")
    ] = None,
) -> None:
    """Create an API key, and show its secret, once."""
    # Imported here, as the other commands start faster without HTTP.
    from rowlock.services import SCOPES  # noqa: PLC0415

    if not is_name(name):
        raise StartRefused(f"{name!r} can't be a name. {NAME_RULE}")
    scopes = list(dict.fromkeys(scope))
    for at, problem in unknown_scopes(scopes, SCOPES[service]).items():
        raise StartRefused(f"The service {service} has no scope {scopes[at]!r}. {problem}")
    if len(scopes) > MOST_SCOPES:
        raise StartRefused(f"A key has at most {MOST_SCOPES} scopes.")
    valid_for = None if expires is None else parse_duration(expires)
    if valid_for == timedelta():
        raise StartRefused("A key that expires at once is of no use. Leave --expires out for none.")
    expires_at = None if valid_for is None else datetime.now(UTC) + valid_for
    secret = new_secret()
    command = CreateKey(name, scopes, hash_of(secret), rate, expires_at, CLI)
    _run(service, lambda keys: keys.create.submit(command))
    show_secret(f"API key {name} of {service} created.", secret)


@app.command("list")
def keys_list(
    service: Annotated[
        ServiceName | None,
        typer.Option(help="Only those of one service.", callback=_taking_keys),
    ] = None,
) -> None:
    """List the API keys, newest first, those that have expired included."""
    rows = []
    keyed = [name for name in ServiceName if name != ServiceName.CONSOLE]
    for one in [service] if service is not None else keyed:
        rows += [_as_texts(one, key) for key in _run(one, _list)]
    headers = ("service", "name", "scopes", "rate", "created", "by", "expires", "old secret until")
    print_table(headers, rows)


@app.command("rotate")
def keys_rotate(
    name: Name,
    service: OfService,
    overlap: Annotated[
        str, typer.Option(metavar="TIME", help="How long the old secret is still valid.")
    ] = "24h",
) -> None:
    """Give an API key a new secret, and show it, once. --overlap 0 voids the old one at once."""
    length = parse_duration(overlap)
    if length > LONGEST_OVERLAP:
        raise StartRefused(f"An overlap lasts {LONGEST_OVERLAP.days} days at most.")
    secret = new_secret()
    command = RotateKey(name, hash_of(secret), length, origin=CLI)
    _run(service, lambda keys: keys.rotate.submit(command))
    show_secret(f"API key {name} of {service} rotated.", secret)


@app.command("revoke")
def keys_revoke(name: Name, service: OfService) -> None:
    """End an API key. All processes refuse it within a few seconds."""
    _run(service, lambda keys: keys.revoke.submit(RevokeKey(name, CLI)))
    console.print(f"API key {name} of {service} revoked.")


@app.command("scopes")
def keys_scopes() -> None:
    """Print which scope each route needs, as in docs/scopes.md."""
    # As above.
    from rowlock.ops import scopes_page  # noqa: PLC0415

    typer.echo(scopes_page.describe(), nl=False)


def _run(
    service: ServiceName, work: Callable[[Keys], Coroutine[Any, Any, Result | Rejection]]
) -> Result:
    """Return what `work` does with the keys of a service. Raises what it is refused for."""
    # As above.
    from rowlock.services import SERVICES, open_keys  # noqa: PLC0415

    settings = Settings.from_environment()
    database_name = SERVICES[service].database
    with databases(settings) as urls:
        prepare(settings, {database_name: urls[database_name]})
        outcome = with_database(
            settings,
            urls[database_name],
            lambda database: work(open_keys(service, database, settings.batches)),
        )
    if isinstance(outcome, Rejection):
        raise outcome
    return outcome


async def _list(keys: Keys) -> Sequence[Key]:
    found: list[Key] = []
    while True:
        before = found[-1].id if found else BEYOND
        page = await keys.list_page(before=before, page_size=PAGE)
        found += page
        if len(page) < PAGE:
            return found


def _as_texts(service: ServiceName, key: Key) -> tuple[str, ...]:
    def show(time: datetime | None) -> str:
        return "" if time is None else f"{time:{TIME}}"

    return (
        service,
        key.name,
        " ".join(key.scopes),
        str(key.rate or ""),
        show(key.created_at),
        key.created_by,
        show(key.expires_at),
        show(key.old_secret_until),
    )
