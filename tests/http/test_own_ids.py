"""Service orders with ids of the client's choice, and the list of all of them."""

import asyncio
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rowlock.service_orders import routes
from tests.support.contract import refusal, stored, told, within
from tests.support.types import Client, Connection, Unchanged

LAST = 2**62
TIMES: Iterator[datetime] = (
    datetime(2030, 1, 1, tzinfo=UTC) + n * timedelta(hours=3) for n in itertools.count()
)


@pytest.fixture(autouse=True)
async def services(connection: Connection) -> None:
    await connection.execute(
        "INSERT INTO services (id, name) VALUES (123, 'Inspection'), (789, 'Testing')"
    )


def body(**more: Any) -> dict[str, Any]:
    at = next(TIMES).isoformat()
    return {"datetime": at, "totalfee": 100, "services": ["123"]} | more


async def create(client: Client, **more: Any) -> tuple[int, str]:
    response = await client.post("/service-orders", json=body(**more))
    answer = await response.json()
    if response.status != 201:
        return await refusal(response)
    location = within(client, response.headers["Location"])
    assert location == f"/service-orders/{answer['id']}"
    return response.status, answer["id"]


async def test_create__published_sample__as_it_stands(commerce: Client) -> None:
    sample = {
        "id": 223,
        "datetime": "2022-11-01T11:11:11.111Z",
        "totalfee": 100,
        "services": [{"id": 123}, {"id": 789, "name": "Testing"}],
    }
    response = await commerce.post("/service-orders", json=sample)
    assert response.status == 201
    order = await response.json()
    assert (order["id"], [one["id"] for one in order["services"]]) == ("223", ["123", "789"])
    response = await commerce.put("/service-orders/223", json=sample | {"totalfee": 7.0})
    assert (response.status, (await response.json())["totalfee"]) == (200, 7)
    for wrong in (224, "224", 0, True, 223.5):
        response = await commerce.put("/service-orders/223", json=sample | {"id": wrong})
        assert await refusal(response) == (400, "invalid_request"), wrong


@pytest.mark.parametrize("own", [500, "500", 500.0, 1, LAST, str(LAST)])
async def test_create__own_id__used_and_later_ones_are_beyond(
    commerce: Client, connection: Connection, own: Any
) -> None:
    assert await create(commerce, id=own) == (201, str(int(own)))
    assert await create(commerce) == (201, str(int(own) + 1))
    assert [subject for subject, _ in await told(connection, "service_order.created")] == [
        f"service_order:{int(own)}",
        f"service_order:{int(own) + 1}",
    ]


@pytest.mark.parametrize("wrong", [0, -1, LAST + 1, str(LAST + 1), "x", "", 1.5, True, [], {}])
async def test_create__no_id__400_and_nothing_changed(
    commerce: Client, unchanged: Unchanged, wrong: Any
) -> None:
    async with unchanged():
        assert await create(commerce, id=wrong) == (400, "invalid_request")


async def test_create__id_that_was_used__409_and_nothing_changed(
    commerce: Client, connection: Connection
) -> None:
    assert await create(commerce, id=500) == (201, "500")
    assert await create(commerce, id=400) == (201, "400")  # below, but never used
    assert await create(commerce) == (201, "501")
    for gone in (400, 501):
        assert (await commerce.delete(f"/service-orders/{gone}")).status == 204
    # As release 0.1.0 does, and whoever is at psql.
    await connection.execute(
        "INSERT INTO service_orders (id, starts_at, fee) VALUES (7, '2029-01-01Z', 0)"
    )
    await connection.execute("DELETE FROM service_orders WHERE id = 7")
    before = await stored(connection)
    for used in (500, 400, 501, 7):
        assert await create(commerce, id=used) == (409, "id_taken")
    assert await stored(connection) == before
    assert await create(commerce) == (201, "502")


async def test_create__one_id_many_times_at_once__one_order(commerce: Client) -> None:
    answers = await asyncio.gather(*(create(commerce, id=77) for _ in range(20)))
    assert sorted(answers) == [(201, "77")] + [(409, "id_taken")] * 19


async def test_create__refused_for_its_time__its_id_is_still_free(commerce: Client) -> None:
    at = body()["datetime"]
    assert await create(commerce, datetime=at) == (201, "1")
    assert await create(commerce, datetime=at, id=50) == (409, "too_close_to_existing_order")
    assert await create(commerce, id=50) == (201, "50")


# --- The whole list -----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 28])
async def test_list__without_a_limit__all_in_order(
    commerce: Client, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(routes, "PAGE_OF_ALL", 2)
    expected = [(await create(commerce, id=900 - n))[1] for n in range(count)]
    response = await commerce.get("/service-orders")
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert response.headers["X-Request-ID"]
    assert "Link" not in response.headers
    assert [order["id"] for order in await response.json()] == expected
    response = await commerce.get("/service-orders?service=789")
    assert await response.json() == []
    response = await commerce.head("/service-orders")
    assert (response.status, await response.read()) == (200, b"")
    response = await commerce.get("/service-orders?limit=2")
    assert [order["id"] for order in await response.json()] == expected[:2]
    assert ("Link" in response.headers) == (count > 2)
