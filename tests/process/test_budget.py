"""The connections that services open, and those that the server gives them."""

import psycopg
import pytest
from psycopg import sql

from tests.support.poolers import needs_pgbouncer, pgbouncer
from tests.support.processes import Service, doctor, rowlock


@pytest.fixture
def urls(database_url: str, events_database_url: str) -> dict[str, str]:
    return {"database_url": database_url, "events_database_url": events_database_url}


def limit_connections(url: str, most: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(
            sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(name, sql.Literal(most))
        )


def allowed(server_url: str) -> int:
    with psycopg.connect(server_url) as connection:
        query = "SELECT current_setting('max_connections')::int - 3"
        row = connection.execute(query).fetchone()
        assert row is not None
        return int(row[0])


async def test_doctor__enough_connections__said_with_their_numbers(
    urls: dict[str, str], server_url: str
) -> None:
    status, output = await doctor(**urls)
    assert status == 0, output
    # Three services with 12 connections each, one for LISTEN and one that tries to write. The
    # console has as many in each of two databases.
    assert f"ok   connections: up to 70 of {allowed(server_url)}\n" in output


async def test_doctor__services_of_this_machine__they_alone_are_counted(
    urls: dict[str, str], server_url: str
) -> None:
    _, output = await rowlock("doctor", "commerce", workers=4, pool_connections=4, **urls)
    # Four workers, and one more while they are replaced.
    assert f"ok   connections: up to 30 of {allowed(server_url)}\n" in output


async def test_doctor__too_few_under_load__a_warning(urls: dict[str, str]) -> None:
    status, output = await doctor(pool_connections=100, **urls)
    assert status == 0, output
    [line] = [line for line in output.splitlines() if " connections: " in line]
    assert line.startswith("warn connections: the services open up to 510 connections, and max_con")


async def test_doctor__too_few_for_anything__a_failure(urls: dict[str, str]) -> None:
    status, output = await doctor(workers=1000, **urls)
    assert status == 1
    assert "FAIL connections: the services need at least 10000 connections, and max_" in output


async def test_serve__too_few_under_load__warns_and_serves(urls: dict[str, str]) -> None:
    async with Service("commerce", pool_connections=1000, **urls) as service:
        assert service.printed.count("connections_may_be_refused") == 1
        assert "up to 1002 connections" in service.printed


async def test_serve__database_gives_too_few__refused_with_the_numbers(
    urls: dict[str, str],
) -> None:
    limit_connections(urls["database_url"], 3)
    status, output = await rowlock("serve", "commerce", "--workers", "2", **urls)
    limit_connections(urls["database_url"], -1)
    assert status == 1
    wanted = (
        "rowlock: The services need at least 4 connections, and the CONNECTION LIMIT of the main "
        "database gives 3: raise it, or lower ROWLOCK_WORKERS.\n"
    )
    assert output.endswith(wanted)


@needs_pgbouncer
async def test_serve__behind_a_pooler__its_own_affair(database_url: str) -> None:
    async with (
        pgbouncer(database_url, "session") as url,
        Service("commerce", pool_connections=1000, database_url=url) as service,
    ):
        assert "connections_may_be_refused" not in service.printed
