"""`rowlock shop`: what operators do for the visitors of the shop."""

from datetime import timedelta
from typing import Annotated

import typer

from rowlock.accounts.transactions import lock_users_by_name
from rowlock.engine.database import Database
from rowlock.errors import StartRefused
from rowlock.ops.cli.common import (
    databases,
    parse_duration,
    prepare,
    show_secret,
    with_database,
)
from rowlock.rejections import UserNotFound
from rowlock.settings import Settings
from rowlock.settings.names import server_url
from rowlock.shop import links
from rowlock.shop.links import Link

app = typer.Typer(help="Let people into the shop.", no_args_is_help=True)

TIME = "%Y-%m-%d %H:%M:%S%z"


@app.callback()
def shop() -> None:
    """Let people into the shop."""


@app.command("link")
def shop_link(
    username: str,
    expires: Annotated[
        str | None,
        typer.Option(metavar="LENGTH", help="Such as 24h or 30m; ROWLOCK_SHOP_LINK_S by default."),
    ] = None,
) -> None:
    """Print a link that signs a user in to the shop, once."""
    settings = Settings.from_environment()
    lifetime = (
        timedelta(seconds=settings.pages.shop_link_s)
        if expires is None
        else parse_duration(expires)
    )
    if lifetime <= timedelta():
        raise StartRefused("A link that expires at once is of no use.")

    async def make(database: Database) -> Link | None:
        async with database.transaction() as connection:
            found = await lock_users_by_name(connection, {username})
        if username not in found:
            return None
        return await links.make(database, found[username].id, lifetime)

    with databases(settings) as urls:
        prepare(settings, {"main": urls["main"]})
        link = with_database(settings, urls["main"], make)
    if link is None:
        raise UserNotFound.of(username)
    addresses = settings.addresses
    base = addresses.public_commerce_url or server_url(addresses.host, addresses.commerce_port)
    show_secret(
        f"It signs {username} in once, until {link.expires_at:{TIME}}.",
        base.rstrip("/") + link.path,
    )
