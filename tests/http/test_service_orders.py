"""Service orders and services, over real HTTP, beside the sample data."""

import asyncio
from json import loads
from typing import Any

import pytest
from aiohttp import ClientResponse
from pytest_aiohttp.plugin import AiohttpClient
from yarl import URL

from rowlock.engine.database import Database
from rowlock.events.bodies import PAYLOAD_BYTES
from rowlock.http.fields import JsonObject
from rowlock.ops import seed
from rowlock.service_orders.routes import SERVICES_LIMIT
from rowlock.services import COMMERCE
from rowlock.settings import Settings
from tests.support.contract import next_page, within
from tests.support.roles import create_app
from tests.support.services import quiet
from tests.support.types import Client, Connection

INSPECTION = {"id": "123", "name": "Inspection"}
TESTING = {"id": "789", "name": "Testing"}
ANALYSIS = {"id": "456", "name": "Analysis"}

SAMPLE_TIME = "2022-11-01T11:11:11.111Z"
SAMPLE = {"id": "223", "datetime": SAMPLE_TIME, "totalfee": 100, "services": [INSPECTION]}
NOON = "2023-05-01T12:00:00.000Z"


@pytest.fixture
async def client(commerce: Client, database: Database) -> Client:
    await seed.demo(database)
    return commerce


@pytest.fixture
async def refusing(
    aiohttp_client: AiohttpClient, shared_database_urls: dict[str, str], settings: Settings
) -> Client:
    """For requests that are refused before anything is looked up: it has no data."""
    app = create_app(quiet(COMMERCE), settings, shared_database_urls["main"])
    return await aiohttp_client(app)


def body(at: Any = NOON, **changed: Any) -> dict[str, Any]:
    return {"datetime": at, "totalfee": 250, "services": ["123"]} | changed


async def book(client: Client, at: str = NOON, **changed: Any) -> ClientResponse:
    response = await client.post("/service-orders", json=body(at, **changed))
    assert response.status == 201, await response.text()
    return response


async def code(response: ClientResponse) -> tuple[int, str]:
    return response.status, (await response.json())["error"]


async def test_services__all__by_id(client: Client) -> None:
    response = await client.get("/services")
    assert response.status == 200
    assert await response.json() == [INSPECTION, ANALYSIS, TESTING]


async def test_sample_data__as_published(client: Client) -> None:
    response = await client.get("/service-orders/223")
    assert response.status == 200
    assert await response.json() == SAMPLE
    response = await client.get("/service-orders")
    assert await response.json() == [
        SAMPLE,
        SAMPLE | {"id": "224", "services": [TESTING]},
        SAMPLE | {"id": "225", "services": [ANALYSIS]},
    ]


async def test_create__valid__201_with_location_and_tag(client: Client) -> None:
    response = await book(client, services=["789", "123"])
    location = within(client, response.headers["Location"])
    assert location == "/service-orders/226"
    assert response.headers["ETag"] == '"1"'
    created = await response.json()
    assert created == {
        "id": "226",
        "datetime": NOON,
        "totalfee": 250,
        "services": [INSPECTION, TESTING],
    }
    assert await (await client.get(location)).json() == created


KEPT_TIMES = {
    "2023-05-01T14:00:00.007+02:00": "2023-05-01T12:00:00.007Z",
    "2023-05-01T12:00Z": NOON,
    "2023-05-01t12:00:00z": NOON,
    "2023-05-01T12:00:00-00:00": NOON,
    "2023-05-01T12:00:00.1Z": "2023-05-01T12:00:00.100Z",
    "2023-05-01T12:00:00.123999999Z": "2023-05-01T12:00:00.123Z",
    "2023-04-30T23:30:00-12:30": NOON,
    "2024-02-29T00:00:00Z": "2024-02-29T00:00:00.000Z",
    "0001-01-02T00:00:00Z": "0001-01-02T00:00:00.000Z",
    "9999-12-30T00:00:00.000Z": "9999-12-30T00:00:00.000Z",
    "1582-10-10T00:00:00Z": "1582-10-10T00:00:00.000Z",
}


async def test_create__time__kept_as_an_instant_to_the_millisecond(client: Client) -> None:
    for given, kept in KEPT_TIMES.items():
        response = await book(client, given)
        created = await response.json()
        assert created["datetime"] == kept, given
        address = within(client, response.headers["Location"])
        assert await (await client.get(address)).json() == created
        assert created in await (await client.get("/service-orders")).json()
        assert (await client.delete(address)).status == 204


@pytest.mark.parametrize(
    "at",
    [
        "2023-05-01T12:00:00",
        "2023-05-01",
        "2023-05-01 12:00:00Z",
        "2023-05-01T12:00:00+0200",
        "2023-05-01T12:00:00+24:00",
        "2023-05-01T12:00:00 Z",
        "2023-05-01T24:00:00Z",
        "2023-05-01T12:60:00Z",
        "2023-05-01T12:00:60Z",
        "2023-05-01T12:00:00.Z",
        "2023-05-01T12:00:00,5Z",
        "2023-02-29T12:00:00Z",
        "2023-13-01T12:00:00Z",
        "2023-W18-1T12:00:00Z",
        "20230501T120000Z",
        "٢٠٢٣-05-01T12:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "0001-01-01T23:59:59.999Z",
        "9999-12-31T23:59:59-14:00",
        "9999-12-30T00:00:00.001Z",
        "294277-01-01T00:00:00Z",
        "+012023-05-01T12:00:00Z",
        "-0044-03-15T12:00:00Z",
        "infinity",
        "now",
        "",
        " ",
        "2023-05-01T12:00:00Z\n",
        1682942400,
        None,
        True,
        ["2023-05-01T12:00:00Z"],
    ],
)
async def test_create__weird_time__400(refusing: Client, at: Any) -> None:
    response = await refusing.post("/service-orders", json=body(at))
    assert await code(response) == (400, "invalid_request")
    assert "datetime" in (await response.json())["details"]


@pytest.mark.parametrize(
    "changed",
    [
        {"totalfee": -1},
        {"totalfee": 1.5},
        {"totalfee": "100"},
        {"totalfee": True},
        {"totalfee": None},
        {"totalfee": 2**53},
        {"totalfee": 2**63},
        {"services": []},
        {"services": None},
        {"services": "123"},
        {"services": [0]},
        {"services": [123.5]},
        {"services": ["0123"]},
        {"services": [None]},
        {"services": [[]]},
        {"services": ["x"]},
        {"services": [""]},
        {"services": ["-1"]},
        {"services": ["0"]},
        {"services": [str(2**63)]},
        {"services": ["123", "123"]},
        {"services": ["123", {"id": "123"}]},
        {"services": [{}]},
        {"services": [{"name": "Inspection"}]},
        {"services": [{"id": True}]},
        {"services": [{"id": "123", "price": 1}]},
        {"services": [str(number) for number in range(1, 102)]},
        {"id": "0226"},
        {"colour": "red"},
    ],
)
async def test_create__wrong_field__400(refusing: Client, changed: dict[str, Any]) -> None:
    response = await refusing.post("/service-orders", json=body(**changed))
    assert await code(response) == (400, "invalid_request")


@pytest.mark.parametrize("missing", ["datetime", "totalfee", "services"])
async def test_create__field_missing__400(refusing: Client, missing: str) -> None:
    incomplete = body()
    del incomplete[missing]
    assert (await refusing.post("/service-orders", json=incomplete)).status == 400


@pytest.mark.parametrize("fee", [0, 2**53 - 1])
async def test_create__fee_at_a_limit__201(client: Client, fee: int) -> None:
    assert (await (await book(client, totalfee=fee)).json())["totalfee"] == fee


async def test_create__unknown_services__400_naming_them(client: Client) -> None:
    response = await client.post("/service-orders", json=body(services=["123", "124", "125"]))
    assert await code(response) == (400, "services_not_found")
    assert (await response.json())["details"] == {"services": ["124", "125"]}


@pytest.mark.parametrize("at", ["2022-11-01T14:11:11.110Z", "2022-11-01T09:11:11.112+01:00"])
async def test_create__close_to_the_sample_data__409_with_a_way_out(
    client: Client, at: str
) -> None:
    response = await client.post("/service-orders", json=body(at))
    assert await code(response) == (409, "too_close_to_existing_order")
    details = (await response.json())["details"]
    assert details == {
        "order": {"id": "223", "datetime": SAMPLE_TIME},
        "free_before": "2022-11-01T08:11:11.111Z",
        "free_after": "2022-11-01T14:11:11.111Z",
    }
    await book(client, details["free_before"])
    await book(client, details["free_after"])


async def test_create__same_instant_at_another_offset__409(client: Client) -> None:
    await book(client, "2023-05-01T11:00+02:00")
    response = await client.post("/service-orders", json=body("2023-05-01T09:00Z"))
    assert (await response.json())["details"]["order"] == {
        "id": "226",
        "datetime": "2023-05-01T09:00:00.000Z",
    }


async def test_replace__what_get_returned__200_and_unchanged(
    client: Client, connection: Connection
) -> None:
    response = await client.put("/service-orders/223", json=SAMPLE)
    assert (response.status, response.headers["ETag"]) == (200, '"1"')
    assert await response.json() == SAMPLE
    assert not await connection.fetchval(
        "SELECT count(*) FROM outbox WHERE name = 'service_order.updated'"
    )


async def test_replace__everything__200_with_a_new_tag(client: Client) -> None:
    await book(client)
    changed = body("2023-05-01T13:30:00Z", totalfee=1, services=["456", "789"])
    response = await client.put("/service-orders/226", json=changed)
    assert (response.status, response.headers["ETag"]) == (200, '"2"')
    replaced = await response.json()
    assert replaced == {
        "id": "226",
        "datetime": "2023-05-01T13:30:00.000Z",
        "totalfee": 1,
        "services": [ANALYSIS, TESTING],
    }
    assert await (await client.get("/service-orders/226")).json() == replaced


async def test_replace__too_close_to_another__409_and_unchanged(client: Client) -> None:
    await book(client)
    response = await client.put("/service-orders/226", json=body(SAMPLE_TIME))
    assert await code(response) == (409, "too_close_to_existing_order")
    assert (await (await client.get("/service-orders/226")).json())["datetime"] == NOON


async def test_replace__wrong__says_so(client: Client) -> None:
    for path, changed, answer in (
        ("999", {}, (404, "service_order_not_found")),
        ("223", {"id": "224"}, (400, "invalid_request")),
        ("223", {"id": 224}, (400, "invalid_request")),
        ("223", {"services": ["7"]}, (400, "services_not_found")),
        ("x", {}, (404, "service_order_not_found")),
        ("0", {}, (404, "service_order_not_found")),
    ):
        response = await client.put(f"/service-orders/{path}", json=body(**changed))
        assert await code(response) == answer, (path, changed)


async def test_delete__there__204_then_404_and_its_place_is_free(client: Client) -> None:
    await book(client)
    response = await client.delete("/service-orders/226")
    assert (response.status, await response.read()) == (204, b"")
    missing = (404, "service_order_not_found")
    assert await code(await client.get("/service-orders/226")) == missing
    assert await code(await client.delete("/service-orders/226")) == missing
    again = await book(client)
    assert within(client, again.headers["Location"]) == "/service-orders/227"


@pytest.mark.parametrize("if_match", ['"2"', '"1", "2"', '"x,y" ,"2"', "*"])
async def test_if_match__accepts_this_version__done(client: Client, if_match: str) -> None:
    headers = {"If-Match": if_match}
    await book(client)
    await client.put("/service-orders/226", json=body(totalfee=1))
    assert (await client.get("/service-orders/226", headers=headers)).status == 200
    response = await client.put("/service-orders/226", json=body(totalfee=1), headers=headers)
    assert response.status == 200
    assert (await client.delete("/service-orders/226", headers=headers)).status == 204


OTHER_VERSIONS = (
    '"1"',
    'W/"2"',
    "2",
    '"02"',
    '"*"',
    "",
    '"99999999999999999999"',
    '"²"',
    '"x,*,y"',
)


async def test_if_match__other_versions__412_and_unchanged(client: Client) -> None:
    await book(client)
    await client.put("/service-orders/226", json=body(totalfee=1))
    for if_match in OTHER_VERSIONS:
        headers = {"If-Match": if_match}
        for response in (
            await client.put("/service-orders/226", json=body(totalfee=2), headers=headers),
            await client.delete("/service-orders/226", headers=headers),
        ):
            assert await code(response) == (412, "service_order_changed"), if_match
        response = await client.get("/service-orders/226", headers=headers)
        assert await code(response) == (412, "service_order_changed"), if_match
        assert (await client.head("/service-orders/226", headers=headers)).status == 412
    assert (await (await client.get("/service-orders/226")).json())["totalfee"] == 1


async def test_if_match__two_lines__are_one_list(client: Client) -> None:
    headers = [("If-Match", '"7"'), ("If-Match", '"1"')]
    assert (await client.delete("/service-orders/223", headers=headers)).status == 204


async def test_preconditions__no_such_order__404(client: Client) -> None:
    for headers in ({"If-Match": "*"}, {"If-None-Match": "*"}):
        response = await client.delete("/service-orders/999", headers=headers)
        assert response.status == 404


@pytest.mark.parametrize("if_none_match", ['"1"', '"7", W/"1"', "*"])
async def test_if_none_match__has_this_version__304_or_412_and_unchanged(
    client: Client, if_none_match: str
) -> None:
    headers = {"If-None-Match": if_none_match}
    for method in ("GET", "HEAD"):
        response = await client.request(method, "/service-orders/223", headers=headers)
        assert (response.status, response.headers["ETag"]) == (304, '"1"')
        assert await response.read() == b""
    for response in (
        await client.put("/service-orders/223", json=SAMPLE | {"totalfee": 1}, headers=headers),
        await client.delete("/service-orders/223", headers=headers),
    ):
        assert await code(response) == (412, "service_order_changed")
    assert await (await client.get("/service-orders/223")).json() == SAMPLE


@pytest.mark.parametrize("if_none_match", ['"2"', "1", "", '"x,*,y"', "W/1"])
async def test_if_none_match__other_versions__done(client: Client, if_none_match: str) -> None:
    headers = {"If-None-Match": if_none_match}
    response = await client.get("/service-orders/223", headers=headers)
    assert (response.status, await response.json()) == (200, SAMPLE)
    response = await client.put("/service-orders/223", json=SAMPLE, headers=headers)
    assert response.status == 200
    assert (await client.delete("/service-orders/223", headers=headers)).status == 204


async def test_preconditions__both__if_match_comes_first(client: Client) -> None:
    for if_match, if_none_match, status in (
        ('"2"', '"1"', 412),
        ('"1"', '"1"', 304),
        ('"1"', '"2"', 200),
    ):
        headers = {"If-Match": if_match, "If-None-Match": if_none_match}
        assert (await client.get("/service-orders/223", headers=headers)).status == status
        response = await client.put("/service-orders/223", json=SAMPLE, headers=headers)
        assert response.status == (200 if status == 200 else 412)


async def test_if_none_match__many_replace_one_at_once__each_version_once(client: Client) -> None:
    async def replace_it(fee: int) -> int:
        headers = {"If-None-Match": '"2"'}
        changed = SAMPLE | {"totalfee": fee}
        return (await client.put("/service-orders/223", json=changed, headers=headers)).status

    statuses = await asyncio.gather(*map(replace_it, range(10)))
    assert sorted(statuses) == [200] + [412] * 9
    assert (await client.get("/service-orders/223")).headers["ETag"] == '"2"'


async def ids(client: Client, query: str) -> list[str]:
    response = await client.get(f"/service-orders?{query}")
    assert response.status == 200, await response.text()
    return [one["id"] for one in await response.json()]


@pytest.fixture
async def booked(client: Client) -> Client:
    """226 to 229, at 0, 3, 6 and 9 o'clock, not created in that order."""
    for at, services in (("03", ["123"]), ("00", ["456"]), ("09", ["456", "123"]), ("06", ["789"])):
        await book(client, f"2023-05-01T{at}:00:00Z", services=services)
    return client


async def test_list__filtered__by_time(booked: Client) -> None:
    for query, expected in {
        "": "223 224 225 227 226 229 228",
        "from=2023-05-01T03:00:00Z": "226 229 228",
        "from=2023-05-01T03:00:00.001Z": "229 228",
        "from=2023-05-01T05:00:00%2B02:00": "226 229 228",
        "from=2023-05-01T05:00:00+02:00": "226 229 228",
        "to=2023-05-01T03:00:00Z": "223 224 225 227",
        "to=2023-05-01T03:00:00.001Z": "223 224 225 227 226",
        "from=2023-05-01T03:00:00Z&to=2023-05-01T09:00:00Z": "226 229",
        "from=2024-01-01T00:00Z&to=2023-01-01T00:00Z": "",
        "service=456": "225 227 228",
        "service=456&from=2023-01-01T00:00Z": "227 228",
        "service=7": "",
        "limit=2": "223 224",
    }.items():
        assert await ids(booked, query) == expected.split(), query


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("limit=2", "223 224 225 227 226 229 228"),
        ("limit=1&service=456", "225 227 228"),
        ("limit=1&from=2023-05-01T04:00:00+02:00&to=2023-05-01T09:00:00Z", "226 229"),
        ("limit=7", "223 224 225 227 226 229 228"),
    ],
)
async def test_list__page_by_page__each_once_though_orders_come_and_go(
    booked: Client, query: str, expected: str
) -> None:
    found: list[str] = []
    address = URL(f"/service-orders?{query}")
    while True:
        response = await booked.get(address)
        page = await response.json()
        found += [one["id"] for one in page]
        if "next" not in response.links:
            break
        address = next_page(response).relative()
        # The last one that was read goes: the next page starts where it was all the same.
        await booked.delete(f"/service-orders/{page[-1]['id']}")
    assert found == expected.split()


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "service=x",
        "service=0",
        "from=yesterday",
        "from=2023-05-01T00:00:00",
        "to=9999-12-31T00:00:00Z",
        "cursor=",
        "cursor=!",
        "cursor=MTIz",  # 123
        "cursor=MS94",  # 1/x
        "cursor=LTkyMjMzNzIwMzY4NTQ3NzU4MDcvMQ==",  # beyond what a time can be
        "colour=red",
        "limit=1&limit=2",
    ],
)
async def test_list__wrong_query__400(refusing: Client, query: str) -> None:
    assert (await refusing.get(f"/service-orders?{query}")).status == 400


async def test_changes__each__leave_their_events(client: Client, connection: Connection) -> None:
    await book(client)
    await client.put("/service-orders/226", json=body(totalfee=300))
    await client.post("/service-orders", json=body())  # refused
    await client.delete("/service-orders/226")
    rows = await connection.fetch(
        "SELECT name, payload::text FROM outbox WHERE subject = 'service_order:226' "
        "ORDER BY xid, position"
    )
    described = {
        "service_order_id": 226,
        "starts_at": "2023-05-01T12:00:00Z",
        "services": [{"id": 123, "name": "Inspection"}],
        "imported": False,
    }
    first, second = ({"fee": 250, "version": 1}, {"fee": 300, "version": 2})
    assert [(row["name"], loads(row["payload"])) for row in rows] == [
        ("service_order.created", described | first),
        (
            "service_order.updated",
            described | second | {"before": described | first | {"services": [123]}},
        ),
        ("service_order.deleted", described | second),
    ]
    assert (
        await connection.fetchval(
            "SELECT count(*) FROM outbox WHERE name = 'service_order.created'"
        )
        == 4
    )  # the sample data's, too


async def test_change__largest_booking__its_events_are_not_too_large(
    client: Client, connection: Connection
) -> None:
    ids = range(10**17, 10**17 + 2 * SERVICES_LIMIT)
    await connection.executemany(  # a control character takes the most room in JSON
        "INSERT INTO services (id, name) VALUES ($1, repeat(chr(1), 200))", [(id_,) for id_ in ids]
    )
    for chosen in (ids[:SERVICES_LIMIT], ids[SERVICES_LIMIT:]):
        changed = body(totalfee=2**53 - 1, services=[str(id_) for id_ in chosen])
        if chosen[0] == ids[0]:
            assert (await client.post("/service-orders", json=changed)).status == 201
        else:
            assert (await client.put("/service-orders/226", json=changed)).status == 200
    assert (await client.delete("/service-orders/226")).status == 204
    rows = await connection.fetch(
        "SELECT payload::text FROM outbox WHERE subject = 'service_order:226'"
    )
    assert len(rows) == 3
    field = JsonObject(longest=PAYLOAD_BYTES)
    assert all(field.deserialize(loads(row["payload"])) for row in rows)


async def test_seed__again__adds_nothing_even_where_something_was_deleted(
    client: Client, connection: Connection, database: Database
) -> None:
    await client.delete("/service-orders/224")
    await book(client)
    before = await connection.fetchval("SELECT count(*) FROM outbox")
    await seed.demo(database)
    assert await ids(client, "") == ["223", "225", "226"]
    assert await connection.fetchval("SELECT count(*) FROM outbox") == before
    response = await book(client, "2024-01-01T00:00Z")
    assert within(client, response.headers["Location"]) == "/service-orders/227"
