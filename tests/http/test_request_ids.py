"""X-Request-ID on the events that a request leads to."""

import asyncpg
import pytest

from tests.support.contract import WRITES, send
from tests.support.types import Client, Connection


async def caused(connection: asyncpg.Connection, request_id: str) -> list[str]:
    """The names of the events in the outbox that the request has caused, sorted."""
    rows = await connection.fetch(
        "SELECT name FROM outbox WHERE request_id = $1 ORDER BY name", request_id
    )
    return [row["name"] for row in rows]


@pytest.mark.parametrize("route", WRITES, ids=" ".join)
async def test_request_id__any_write__on_all_its_events(
    clients: dict[str, Client], connection: Connection, route: tuple[str, str, str]
) -> None:
    service, method, path = route
    before = await connection.fetchval("SELECT count(*) FROM outbox")
    headers = {"X-Request-ID": "mine-1"}
    response = await send(clients[service], method, path, WRITES[route], key=None, **headers)
    assert response.status < 300
    after = await connection.fetchval("SELECT count(*) FROM outbox")
    assert after > before
    assert len(await caused(connection, "mine-1")) == after - before


async def test_request_id__new_user__on_the_event(commerce: Client, connection: Connection) -> None:
    response = await commerce.get("/api/users/grace", headers={"X-Request-ID": "mine-1"})
    assert response.status == 200
    assert await caused(connection, "mine-1") == ["user.created"]


async def test_request_id__none_sent__the_one_in_the_answer(
    commerce: Client, connection: Connection
) -> None:
    response = await commerce.get("/api/users/grace")
    assert await caused(connection, response.headers["X-Request-ID"]) == ["user.created"]
