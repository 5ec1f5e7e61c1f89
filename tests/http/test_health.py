"""Whether the process is alive, and whether it can do its work."""

import asyncio

import pytest

from rowlock.engine import migrations
from rowlock.http.service import DRAINING
from tests.support import roles
from tests.support.databases import RESTORER, rename
from tests.support.polling import until
from tests.support.types import Client, Connection, Serve


async def readiness(client: Client) -> tuple[int, dict[str, str]]:
    """The status and the checks, once the headers and the verdict fit them."""
    response = await client.get("/readyz")
    body = await response.json()
    ready = response.status == 200
    assert body["status"] == ("ready" if ready else "not ready")
    assert ("Retry-After" in response.headers) == (not ready)
    assert "X-Request-ID" in response.headers
    return response.status, body["checks"]


async def test_healthz__alive__200(commerce: Client) -> None:
    response = await commerce.get("/healthz")
    assert response.status == 200
    assert await response.json() == {"status": "alive"}


async def test_readyz__all_well__200(commerce: Client) -> None:
    assert await readiness(commerce) == (200, {"database": "ok", "shutdown": "ok"})


async def test_readyz__its_connection__named_after_the_service(
    commerce: Client, connection: Connection
) -> None:
    await readiness(commerce)
    names = await connection.fetch(
        "SELECT DISTINCT application_name FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() "
        f"AND application_name <> '{RESTORER}'"
    )
    assert [name for (name,) in names] == ["rowlock-commerce"]


async def test_readyz__no_migrations__503_and_which(serve: Serve, empty_database_url: str) -> None:
    status, checks = await readiness(await serve(empty_database_url))
    assert status == 503
    assert checks["database"] == f"migrations are missing: {', '.join(migrations.known('main'))}"


async def test_readyz__last_migration_missing__503_until_it_is_there(
    serve: Serve, empty_database_url: str
) -> None:
    migrations.up(empty_database_url, "main")
    roles.grant(empty_database_url, "main")
    [last] = migrations.down(empty_database_url, "main", 1)
    commerce = await serve(empty_database_url)
    status, checks = await readiness(commerce)
    assert (status, checks["database"]) == (503, f"migrations are missing: {last}")
    migrations.up(empty_database_url, "main")
    roles.grant(empty_database_url, "main")  # what it has made has no grants

    async def is_ready() -> bool:
        return (await readiness(commerce))[0] == 200

    await until(is_ready)


async def test_readyz__role_without_grants__503_and_what_to_do(
    serve: Serve, empty_database_url: str
) -> None:
    migrations.up(empty_database_url, "main")
    status, checks = await readiness(await serve(empty_database_url))
    assert (status, checks["database"]) == (
        503,
        "the database role lacks grants: see rowlock sql grants",
    )


@pytest.mark.parametrize("place", ["port", "database", "user"])
async def test_readyz__database_out_of_reach__503_while_healthz_is_200(
    serve: Serve, server_url: str, unused_tcp_port: int, place: str
) -> None:
    urls = {
        "port": f"postgresql://127.0.0.1:{unused_tcp_port}/x",
        "database": rename(server_url, "nowhere"),
        "user": rename(server_url, "postgres").replace("//postgres", "//nobody", 1),
    }
    commerce = await serve(urls[place])
    status, checks = await readiness(commerce)
    assert (status, checks["database"]) == (503, "the database can't be reached")
    assert (await commerce.get("/healthz")).status == 200


async def test_readyz__database_does_not_answer__503_in_time(serve: Serve) -> None:
    async def never_answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    release = asyncio.Event()
    silent = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    long = {"connect_timeout_s": 60.0, "acquire_timeout_s": 60.0}
    commerce = await serve(f"postgresql://127.0.0.1:{port}/x", readiness_timeout_s=0.1, **long)
    async with asyncio.timeout(10):
        status, checks = await readiness(commerce)
    assert (status, checks["database"]) == (503, "the database can't be reached")
    release.set()
    silent.close()


async def test_readyz__draining__503(commerce: Client) -> None:
    commerce.app[DRAINING].set()
    status, checks = await readiness(commerce)
    assert (status, checks["shutdown"]) == (503, "the service is draining")
    assert checks["database"] == "ok"
