"""Services as they should run: on connections with the rights of migrations/grants, no others."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from aiohttp import web
from psycopg import sql

from rowlock.engine import migrations
from rowlock.http import app
from rowlock.http.service import Service
from rowlock.services import SERVICES
from rowlock.settings import Settings


def role_of(service: str) -> str:
    """The role that a service's connections have here."""
    return f"rowlock_test_{service}_{os.getpid()}"


@contextmanager
def created(server_url: str) -> Iterator[None]:
    """The roles of all services; at the end no database may be left in which they have grants."""
    roles = [sql.Identifier(role_of(service)) for service in SERVICES]
    with psycopg.connect(server_url, autocommit=True) as connection:
        for role in roles:
            connection.execute(sql.SQL("CREATE ROLE {}").format(role))
    yield
    with psycopg.connect(server_url, autocommit=True) as connection:
        for role in roles:
            connection.execute(sql.SQL("DROP ROLE {}").format(role))


def grant(url: str, database: str) -> None:
    """Give the roles of the services what they may do in a migrated database, main or events."""
    with psycopg.connect(url, autocommit=True) as connection:
        for service in SERVICES.values():
            if service.database == database:
                run(connection, migrations.grants(service.name), role_of(service.name))
            elif database in service.also:
                run(connection, migrations.grants(service.name, database), role_of(service.name))


def run(connection: "psycopg.Connection[tuple[object, ...]]", script: str, role: str) -> None:
    """Run a service's psql script of grants for `role`."""
    commands = re.sub(r"^\\.*$", "", script, flags=re.MULTILINE)  # psql's own
    for name, value in {"role": role, "DBNAME": connection.info.dbname}.items():
        commands = commands.replace(f':"{name}"', f'"{value}"')
    connection.execute(commands.encode())


def confined(database_url: str, service: str) -> str:
    """The URL for connections that have the role of a service."""
    return with_role(database_url, role_of(service))


def with_role(database_url: str, role: str) -> str:
    """The URL for connections that have this role."""
    mark = "&" if "?" in database_url else "?"
    return f"{database_url}{mark}options=-c%20role%3D{role}"


def create_app(
    service: Service, settings: Settings, database_url: str, events_url: str | None = None
) -> web.Application:
    """The application of `service`, confined to its role.

    The console's further database is at `events_url`; where there is none, nothing may ask for it.
    """
    url = confined(database_url, service.name)
    others = {name: confined(events_url or "postgresql://", service.name) for name in service.also}
    return app.create_app(service, settings, url, others)  # noqa: TID251
