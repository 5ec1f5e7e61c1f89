"""The events service over HTTP: what it takes, once, and how it is read."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import psycopg
import pytest
from pytest_aiohttp.plugin import AiohttpClient
from yarl import URL

from rowlock.events.bodies import PAYLOAD_BYTES
from rowlock.services import EVENTS
from rowlock.settings import Settings
from tests.support.contract import bearer, next_page, refusal, walk, within
from tests.support.databases import cloned
from tests.support.roles import create_app
from tests.support.services import quiet
from tests.support.types import Client, Connection, Serve

numbers = itertools.count(1)


@pytest.fixture(scope="module")
def events_database_url(server_url: str, events_template: str) -> Iterator[str]:
    """One database for all cases: each looks at events of its own only."""
    with cloned(server_url, events_template) as url:
        yield url


@pytest.fixture
def name() -> str:
    """The name of events that only this test stores."""
    return f"test.{next(numbers)}"


@pytest.fixture
async def log(events_database_url: str) -> AsyncIterator[Connection]:
    """A connection to the events database."""
    connection = await asyncpg.connect(events_database_url, server_settings={"timezone": "UTC"})
    yield connection
    await connection.close()


@pytest.fixture
def serve(aiohttp_client: AiohttpClient, events_database_url: str, settings: Settings) -> Serve:
    """Start an events service with some settings changed; return its client."""

    async def start(**changes: object) -> Client:
        service = quiet(EVENTS)
        return await aiohttp_client(
            create_app(service, settings.changed(**changes), events_database_url),
            headers={"Authorization": f"Bearer {settings.addresses.events_token}"},
        )

    return start


async def stored(events: Client, name: str) -> list[dict[str, Any]]:
    """All events of that name, by the API."""
    return [event for page in await walk(events, f"/events?name={name}") for event in page]


def batch(name: str, ids: list[int]) -> list[dict[str, Any]]:
    """Events with ids that depend on the name, and of equal contents if they have one id."""
    return [
        {"event_id": str(UUID(bytes=name.encode().ljust(12)[:12] + id_.to_bytes(4))), "name": name}
        | {"payload": {"id": id_}}
        for id_ in ids
    ]


# --- POST /events -----------------------------------------------------------------------------


async def test_store__everything_given__201_and_found_at_its_location(
    events: Client, name: str
) -> None:
    given = {
        "event_id": "8a6e0804-2bd0-4672-b79d-d97027f9071a",
        "name": name,
        "subject": "invoice:7",
        "payload": {"amount": 5, "nested": {"list": [1, 2.5, None, True, "é\u2028"]}, "": ""},
        "created_at": f"{datetime.now(UTC):%Y-%m-%d}T09:30:00.250000Z",
        "request_id": "é" * 128,
        "actor": "é" * 300,
    }
    response = await events.post("/events", json=given)
    assert response.status == 201
    event = await response.json()
    location = within(events, response.headers["Location"])
    assert location == f"/events/{event['id']}"
    assert event == {"id": event["id"], **given}
    response = await events.get(location)
    assert (response.status, await response.json()) == (200, event)
    assert await stored(events, name) == [event]


async def test_store__only_what_is_required__rest_is_filled_in(events: Client, name: str) -> None:
    before = datetime.now(UTC)
    response = await events.post("/events", json={"name": name, "payload": {}})
    assert response.status == 201
    event = await response.json()
    assert (event["name"], event["subject"], event["payload"]) == (name, None, {})
    assert str(UUID(event["event_id"])) == event["event_id"]
    assert "request_id" not in event
    assert event["actor"] == "token"
    assert before <= datetime.fromisoformat(event["created_at"]) <= datetime.now(UTC)
    assert await stored(events, name) == [event]


@pytest.mark.parametrize("spelling", [str, str.upper, lambda text: text.replace("-", "")])
async def test_store__known_id__200_with_the_first_one(
    events: Client, name: str, spelling: Callable[[str], str]
) -> None:
    event_id = str(uuid4())
    event = {"name": name, "payload": {"a": 1}, "subject": "x:1"}
    first = await events.post("/events", json={"event_id": event_id} | event)
    again = await events.post("/events", json={"event_id": spelling(event_id)} | event)
    assert (first.status, again.status) == (201, 200)
    assert "Location" not in again.headers
    assert await again.json() == await first.json()
    assert len(await stored(events, name)) == 1


async def test_store__same_id_many_times_at_once__one_is_created(events: Client, name: str) -> None:
    event = {"event_id": str(uuid4()), "name": name, "payload": {}}
    responses = await asyncio.gather(
        *(events.post("/events", json=event | {"request_id": f"r-{n}"}) for n in range(20))
    )
    assert sorted(response.status for response in responses) == [200] * 19 + [201]
    answers = [await response.json() for response in responses]
    assert all(answer == answers[0] for answer in answers)
    assert await stored(events, name) == [answers[0]]


@pytest.mark.parametrize("size", [1, 2])
async def test_batch__at_once_in_two_processes__each_id_is_accepted_once(
    aiohttp_client: AiohttpClient,
    events: Client,
    events_database_url: str,
    settings: Settings,
    *,
    name: str,
    size: int,
) -> None:
    other = await aiohttp_client(
        create_app(EVENTS, settings, events_database_url), headers=dict(events.session.headers)
    )
    ids = [n // 2 for n in range(60)]
    deliveries = [batch(name, ids[at : at + size]) for at in range(0, len(ids), size)]
    responses = await asyncio.gather(
        *(
            client.post("/events/batch", json={"events": delivery})
            for delivery in deliveries
            for client in (events, other)
        )
    )
    counts = [await response.json() for response in responses]
    assert sum(count["accepted"] for count in counts) == 30
    assert sum(count["duplicates"] for count in counts) == 90
    found = await stored(events, name)
    assert len({event["event_id"] for event in found}) == len(found) == 30


@pytest.mark.parametrize(
    ("created_at", "utc"),
    [
        ("2026-11-21T09:30:00Z", "2026-11-21T09:30:00Z"),
        ("2026-11-21T09:30:00+05:30", "2026-11-21T04:00:00Z"),
        ("2026-11-21 09:30:00.5-00:45", "2026-11-21T10:15:00.500000Z"),
        ("2025-12-31T23:59:59.999999-00:01", "2026-01-01T00:00:59.999999Z"),
        ("0001-01-01T00:00:00.000001Z", "0001-01-01T00:00:00.000001Z"),
        ("0001-01-01T00:01:01+00:01", "0001-01-01T00:00:01Z"),
        ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59Z"),
        ("2000-02-29T00:00:00Z", "2000-02-29T00:00:00Z"),
        ("9999-12-31T23:59:59.999998Z", "9999-12-31T23:59:59.999998Z"),
    ],
)
@pytest.mark.parametrize("path", ["/events", "/events/batch"])
async def test_store__any_instant_of_time__taken_in_utc(
    serve: Serve, name: str, created_at: str, utc: str, path: str
) -> None:
    events = await serve(events_retention_months=12 * 9999, events_ahead_s=1e15)
    event = {"name": name, "payload": {}, "created_at": created_at}
    body = event if path == "/events" else {"events": [event]}
    assert (await events.post(path, json=body)).status in {200, 201}
    [found] = await stored(events, name)
    assert found["created_at"] == utc


async def test_store__before_the_retention__400_naming_it_and_nothing_stored(
    serve: Serve, log: Connection, name: str
) -> None:
    events = await serve(events_retention_months=3)
    start = await log.fetchval(
        "SELECT date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' "
        "- interval '3 months'"
    )
    old, kept = (
        {"name": name, "payload": {}, "created_at": instant.isoformat()}
        for instant in (start - timedelta(microseconds=1), start)
    )
    response = await events.post("/events", json=old)
    assert await refusal(response) == (400, "invalid_request")
    assert list((await response.json())["details"]) == ["created_at"]
    response = await events.post("/events/batch", json={"events": [kept, old, kept, old]})
    assert await refusal(response) == (400, "invalid_request")
    details = (await response.json())["details"]
    assert list(details) == ["events.1.created_at", "events.3.created_at"]
    assert start.strftime("%Y-%m-%dT") in details["events.1.created_at"][0]
    assert await stored(events, name) == []
    assert (await events.post("/events", json=kept)).status == 201
    response = await events.post("/events/batch", json={"events": [kept, kept]})
    assert await response.json() == {"accepted": 2, "duplicates": 0}
    assert len(await stored(events, name)) == 3


DEEP = {"a": json.loads('{"a":' * 300 + "1" + "}" * 300)}
NO_INSTANTS: list[Any] = [
    None,
    "",
    0,
    1.5,
    True,
    {},
    "now",
    "infinity",
    "2026-11-21",
    "2026-11-21T09:30:00",
    "2026-11-21T09:30:00 Europe/Berlin",
    "2026-11-21T09:30:00+24:00",
    "2026-11-21T25:30:00Z",
    "2026-02-29T00:00:00Z",
    "2026-11-21T09:30:60Z",
    "2026-11-21T09:30:00Z\u0001",
    "0000-01-01T00:00:00Z",
    "10000-01-01T00:00:00Z",
    "-2026-01-01T00:00:00Z",
    "0001-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59-00:01",
    "0001-01-01T00:00:00Z",  # asyncpg's -infinity
    "9999-12-31T23:59:59.999999Z",  # and infinity
    "\uff12026-11-21T09:30:00Z",
    "9" * 5000,
]
WRONG_EVENTS: list[tuple[str, Any]] = [
    ("name", None),
    ("name", ""),
    ("name", 1),
    ("name", "x" * 201),
    ("name", "a\nb"),
    ("name", "a\x85b"),
    ("subject", ""),
    ("subject", 1),
    ("subject", "x" * 201),
    ("subject", "a\rb"),
    ("payload", None),
    ("payload", []),
    ("payload", "{}"),
    ("payload", DEEP),
    ("event_id", None),
    ("event_id", ""),
    ("event_id", 1),
    ("event_id", "8a6e0804"),
    ("event_id", "8a6e0804-2bd0-4672-b79d-d97027f9071g"),
    ("event_id", ["8a6e0804-2bd0-4672-b79d-d97027f9071a"]),
    ("request_id", ""),
    ("request_id", 1),
    ("request_id", "x" * 129),
    ("request_id", "a\nb"),
    ("actor", ""),
    ("actor", " "),
    ("actor", 1),
    ("actor", "x" * 301),
    ("actor", "a\nb"),
    ("traceparent", ""),
    ("traceparent", 1),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g"),
    ("traceparent", "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"),
    ("traceparent", f"00-{'0' * 32}-b7ad6b7169203331-00"),
    ("id", 1),
    ("extra", 1),
    *(("created_at", instant) for instant in NO_INSTANTS),
]


@pytest.mark.parametrize(("field", "value"), WRONG_EVENTS)
async def test_store__wrong_field__400_naming_it(
    events: Client, log: Connection, field: str, value: Any
) -> None:
    before = await log.fetchval("SELECT count(*) FROM events")
    event = {"name": "x", "payload": {}} | {field: value}
    response = await events.post("/events", json=event)
    assert await refusal(response) == (400, "invalid_request")
    assert list((await response.json())["details"]) == [field]
    response = await events.post("/events/batch", json={"events": [event, event]})
    assert await refusal(response) == (400, "invalid_request")
    assert list((await response.json())["details"]) == [f"events.{at}.{field}" for at in (0, 1)]
    assert await log.fetchval("SELECT count(*) FROM events") == before


@pytest.mark.parametrize("event", [{"name": "x"}, {"payload": {}}, {}, [], None, 1, "x"])
async def test_store__no_event__400(events: Client, event: Any) -> None:
    headers = {"Content-Type": "application/json"}
    response = await events.post("/events", data=json.dumps(event), headers=headers)
    assert await refusal(response) == (400, "invalid_request")


@pytest.mark.parametrize(
    "event",
    [
        '{"name":"x","payload":{"a":"\\u0000"}}',
        '{"name":"x","payload":{"\\u0000":1}}',
        '{"name":"\\u0000","payload":{}}',
        '{"name":"x","payload":{"a":"\\ud800"}}',
        '{"name":"x","payload":{"a":1e999}}',
        '{"name":"x","payload":{"a":NaN}}',
        '{"name":"x","payload":' + '{"a":' * 2000 + "1" + "}" * 2001,
        '{"name":"x","payload":{}',
        "{",
    ],
)
@pytest.mark.parametrize("path", ["/events", "/events/batch"])
async def test_store__what_json_or_postgresql_has_not__400(
    events: Client, path: str, event: str
) -> None:
    body = event if path == "/events" else '{"events":[' + event + "]}"
    response = await events.post(path, data=body, headers={"Content-Type": "application/json"})
    status, code = await refusal(response)
    assert (status, code) in {(400, "invalid_json"), (400, "invalid_request")}


@pytest.mark.parametrize(
    "payload",
    [
        {"n": [0, 0.0, -1, 2**63 - 1, -(2**63), 0.1, 1e-20, -1.2345678901234567e-20, 9.2e18]},
        {"text": "\u0001\u2028\U0001f600 \\ \" '"},
        {"deep": json.loads("[" * 200 + "]" * 200)},
        {"long": "x" * (PAYLOAD_BYTES - len('{"long":""}'))},
        {str(number): {} for number in range(5000)},
    ],
    ids=["numbers", "text", "deep", "long", "wide"],
)
async def test_store__any_payload__comes_back_as_it_was(
    events: Client, name: str, payload: dict[str, Any]
) -> None:
    response = await events.post("/events", json={"name": name, "payload": payload})
    assert response.status == 201
    assert (await response.json())["payload"] == payload
    assert [event["payload"] for event in await stored(events, name)] == [payload]


FAR_NUMBERS = [
    str(2**63),
    str(-(2**63) - 1),
    str(2**64 - 1),
    "1" + "0" * 300,
    "9.3e18",
    "-1e19",
    "1e308",
    "9.9e-21",
    "-5e-324",
    "0." + "0" * 20 + "9",
]


@pytest.mark.parametrize("number", FAR_NUMBERS)
async def test_store__number_far_off__400_naming_it(events: Client, name: str, number: str) -> None:
    event = f'{{"name": "{name}", "payload": {{"a": [0, {{"b.c": [0.5, {number}]}}]}}}}'
    for path, body, at in (
        ("/events", event, "payload.a.1.b.c.1"),
        ("/events/batch", f'{{"events": [{event}]}}', "events.0.payload.a.1.b.c.1"),
    ):
        response = await events.post(path, data=body, headers={"Content-Type": "application/json"})
        assert await refusal(response) == (400, "invalid_request")
        problem = "Must be 0, or between 1e-20 and 2^63 in absolute value."
        assert (await response.json())["details"] == {at: [problem]}
    assert await stored(events, name) == []


@pytest.mark.parametrize("number", ["9e18", "-9e18", "1e-20", "-1e-20", "9.1e18", "1.1e-20", "0"])
async def test_store__numbers_printed_longest__five_times_the_compact_text_at_most(
    events: Client, log: Connection, name: str, number: str
) -> None:
    payload = f'{{"n":[{",".join([number] * 1000)}]}}'
    body = f'{{"name": "{name}", "payload": {payload}}}'
    response = await events.post("/events", data=body, headers={"Content-Type": "application/json"})
    assert response.status == 201
    printed = "SELECT length(payload::text) FROM events WHERE name = $1"
    assert await log.fetchval(printed, name) < 5 * len(payload)


async def test_list__numbers_stored_before_there_was_a_limit__readable(
    events: Client, log: Connection, name: str
) -> None:
    await log.execute(
        "INSERT INTO events (event_id, name, payload, created_at) "
        "VALUES (gen_random_uuid(), $1, '{\"n\": [1e308, 1e-300]}', now())",
        name,
    )
    [event] = await stored(events, name)
    assert event["payload"] == {"n": [10**308, 1e-300]}


@pytest.mark.parametrize(
    ("event", "at"),
    [
        ('{"name": "x", "payload": {"a": [1, {"b": "\\u0000"}]}}', "payload.a.1.b"),
        ('{"name": "x", "payload": {"a": {"b\\u0000": 1}}}', "payload.a.b\0"),
        ('{"name": "x", "payload": {}, "subject": "\\u0000"}', "subject"),
    ],
)
async def test_store__nul__400_naming_it(events: Client, event: str, at: str) -> None:
    for path, body, where in (
        ("/events", event, at),
        ("/events/batch", f'{{"events": [{event}]}}', f"events.0.{at}"),
    ):
        response = await events.post(path, data=body, headers={"Content-Type": "application/json"})
        assert await refusal(response) == (400, "invalid_request")
        assert (await response.json())["details"] == {where: ["Must not contain a NUL character."]}


async def test_store__name_twice_in_a_payload__400_naming_it(events: Client, name: str) -> None:
    body = f'{{"name": "{name}", "payload": {{"a": [1, {{"b": ":", "c": 1, "b": ":"}}]}}}}'
    response = await events.post("/events", data=body, headers={"Content-Type": "application/json"})
    assert await refusal(response) == (400, "invalid_request")
    assert (await response.json())["details"] == {"payload.a.1.b": ["Must not be given twice."]}
    assert await stored(events, name) == []


@pytest.mark.parametrize("depth", range(245, 260))
async def test_store__name_twice_as_deep_as_may_be__400(events: Client, depth: int) -> None:
    payload = '{"a":' * depth + '{"b":1,"b":2}' + "}" * depth
    response = await events.post(
        "/events",
        data=f'{{"name":"x","payload":{payload}}}',
        headers={"Content-Type": "application/json"},
    )
    assert await refusal(response) == (400, "invalid_request")


@pytest.mark.parametrize("depth", [300, 900, 1000, 1020])
async def test_store__name_twice_and_the_first_too_deep__400(events: Client, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    response = await events.post(
        "/events",
        data=f'{{"name":"x","payload":{{"a":{deep},"a":1}}}}',
        headers={"Content-Type": "application/json"},
    )
    assert await refusal(response) in {(400, "invalid_request"), (400, "invalid_json")}


# --- POST /events/batch -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deliveries", "counts", "kept"),
    [
        ([[]], [(0, 0)], []),
        ([[1]], [(1, 0)], [1]),
        ([[3, 1, 2]], [(3, 0)], [3, 1, 2]),
        ([[1, 1, 2, 1]], [(2, 2)], [1, 2]),
        ([[1, 2], [2, 3], [3, 1]], [(2, 0), (1, 1), (0, 2)], [1, 2, 3]),
        ([list(range(1000)), list(range(1, 1001))], [(1000, 0), (1, 999)], list(range(1001))),
    ],
    ids=["empty", "one", "order", "same id inside", "same id across", "most"],
)
async def test_batch__new_and_known__counted_and_stored_in_order(
    events: Client,
    name: str,
    deliveries: list[list[int]],
    counts: list[tuple[int, int]],
    kept: list[int],
) -> None:
    for delivery, (accepted, duplicates) in zip(deliveries, counts, strict=True):
        response = await events.post("/events/batch", json={"events": batch(name, delivery)})
        assert response.status == 200
        assert await response.json() == {"accepted": accepted, "duplicates": duplicates}
    expected = [event["event_id"] for event in batch(name, kept)]
    assert [event["event_id"] for event in await stored(events, name)] == expected


FIRST: dict[str, Any] = {
    "subject": "x:1",
    "payload": {"a": 1, "b": [1.5, {"c": None, "d": True}], "e": "é"},
    "created_at": "2026-11-21T09:30:00.25Z",
}
SAME: list[dict[str, Any]] = [
    {},
    {"payload": {"e": "\u00e9", "b": [1.5, {"d": True, "c": None}], "a": 1}},
    {"payload": FIRST["payload"] | {"a": 1.0}},
    {"payload": FIRST["payload"] | {"b": [15e-1, {"c": None, "d": True}]}},
    {"created_at": "2026-11-21T10:30:00.250000+01:00"},
    {"created_at": None},  # left out
    {"request_id": "another"},
    {"actor": "another"},
    {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"},
]
OTHER: list[dict[str, Any]] = [
    {"name": "other"},
    {"subject": "x:2"},
    {"subject": None},
    {"payload": {}},
    {"payload": FIRST["payload"] | {"a": "1"}},
    {"payload": FIRST["payload"] | {"a": True}},
    {"payload": FIRST["payload"] | {"b": [{"c": None, "d": True}, 1.5]}},
    {"payload": FIRST["payload"] | {"f": None}},
    {"payload": FIRST["payload"] | {"e": "e\u0301"}},
    {"created_at": "2026-11-21T09:30:00.250001Z"},
]


def varied(event: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """The event with some fields changed; a time of None is left out."""
    changed = event | change
    if changed["created_at"] is None:
        del changed["created_at"]
    return changed


@pytest.mark.parametrize("change", SAME, ids=str)
async def test_store__known_id_and_the_same_content__200_with_the_first_one(
    events: Client, name: str, change: dict[str, Any]
) -> None:
    event = {"event_id": str(uuid4()), "name": name} | FIRST
    first = await events.post("/events", json=event)
    again = await events.post("/events", json=varied(event, change))
    assert (first.status, again.status) == (201, 200)
    assert await again.json() == await first.json()
    response = await events.post("/events/batch", json={"events": [varied(event, change)] * 2})
    assert await response.json() == {"accepted": 0, "duplicates": 2}


@pytest.mark.parametrize("change", OTHER, ids=str)
async def test_store__known_id_and_another_content__409_and_the_first_one_stays(
    events: Client, name: str, change: dict[str, Any]
) -> None:
    event = {"event_id": str(uuid4()), "name": name} | FIRST
    first = await (await events.post("/events", json=event)).json()
    response = await events.post("/events", json=event | change)
    assert await refusal(response) == (409, "event_id_conflict")
    assert (await response.json())["details"] == {"event_id": event["event_id"]}
    assert await stored(events, name) == [first]


async def test_store__no_time_given__another_payload_is_a_conflict_the_same_one_is_not(
    events: Client, name: str
) -> None:
    event = {"event_id": str(uuid4()), "name": name, "payload": {"a": 1}}
    assert (await events.post("/events", json=event)).status == 201
    assert (await events.post("/events", json=event)).status == 200
    assert (await events.post("/events", json=event | {"payload": {}})).status == 409


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("change", OTHER, ids=str)
async def test_batch__ids_with_another_content__named_and_the_others_stored(
    events: Client, name: str, change: dict[str, Any], *, together: bool
) -> None:
    first, second, third = ({"event_id": str(uuid4()), "name": name} | FIRST for _ in range(3))
    deliveries = [[first, second], [third, second, first | change, first, first | change]]
    if together:
        deliveries = [deliveries[0] + deliveries[1]]
    for delivery in deliveries:
        response = await events.post("/events/batch", json={"events": delivery})
        assert response.status == 200
    answer = await response.json()
    assert answer["accepted"] + answer["duplicates"] == len(delivery)
    assert answer["conflicts"] == [first["event_id"]]
    found = await stored(events, name)
    assert [event["event_id"] for event in found] == [
        event["event_id"] for event in (first, second, third)
    ]
    assert [event["payload"] for event in found] == [FIRST["payload"]] * 3


async def test_batch__same_id_at_once_with_other_contents__one_is_stored_the_others_are_told(
    events: Client, name: str
) -> None:
    event = {"event_id": str(uuid4()), "name": name}
    responses = await asyncio.gather(
        *(events.post("/events", json=event | {"payload": {"n": n}}) for n in range(20))
    )
    assert sorted(response.status for response in responses) == [201] + [409] * 19


async def test_store__event_is_gone_and_its_key_is_not__a_repetition(
    events: Client, log: Connection, name: str
) -> None:
    event = {"event_id": str(uuid4()), "name": name, "payload": {}}
    await events.post("/events", json=event)
    await log.execute("DELETE FROM events WHERE name = $1", name)
    response = await events.post("/events/batch", json={"events": [event | {"name": "other"}]})
    assert await response.json() == {"accepted": 0, "duplicates": 1}


# --- Epochs -----------------------------------------------------------------------------------


SOURCE = "0b6a6a0e-7d9f-4a55-8f0e-2f6f9a1c3b57"


async def send(events: Client, event: dict[str, Any], source: str, epoch: object) -> Any:
    """Send an event as a leader; return the response."""
    headers = {"Rowlock-Source": source, "Rowlock-Epoch": str(epoch)}
    return await events.post("/events/batch", json={"events": [event]}, headers=headers)


async def test_batch__epoch_lower_than_the_last__409_and_nothing_stored(
    events: Client, log: Connection, name: str
) -> None:
    source, other = str(uuid4()), str(uuid4())
    for at, (epoch, status) in enumerate([(3, 200), (3, 200), (2, 409), (7, 200), (3, 409)]):
        response = await send(events, {"name": name, "payload": {"at": at}}, source, epoch)
        assert response.status == status
        if status != 200:
            assert (await response.json())["error"] == "epoch_outdated"
            latest = 3 if at == 2 else 7
            details = {"epoch": epoch, "latest_epoch": latest}
            assert (await response.json())["details"] == details
    assert (await send(events, {"name": name, "payload": {"at": 5}}, other, 1)).status == 200
    old = await events.post("/events/batch", json={"events": [{"name": name, "payload": {}}]})
    assert old.status == 200  # release 0.1.0 names none
    found = [event["payload"] for event in await stored(events, name)]
    assert found == [{"at": 0}, {"at": 1}, {"at": 3}, {"at": 5}, {}]
    assert await log.fetchval("SELECT epoch FROM event_sources WHERE source = $1", source) == 7


async def test_batch__epochs_at_once__none_is_stored_after_a_later_one(
    events: Client, name: str
) -> None:
    source = str(uuid4())
    epochs = [n % 7 + 1 for n in range(60)]
    responses = await asyncio.gather(
        *(send(events, {"name": name, "payload": {"epoch": n}}, source, n) for n in epochs)
    )
    assert {response.status for response in responses} == {200, 409}
    taken = [event["payload"]["epoch"] for event in await stored(events, name)]
    assert taken == sorted(taken)
    assert taken[-1] == 7


@pytest.mark.parametrize(
    "headers",
    [
        {"Rowlock-Epoch": "1"},
        {"Rowlock-Source": SOURCE},
        {"Rowlock-Source": "x", "Rowlock-Epoch": "1"},
        {"Rowlock-Source": "", "Rowlock-Epoch": ""},
        *(
            {"Rowlock-Source": SOURCE, "Rowlock-Epoch": epoch}
            for epoch in ("", "0", "-1", "1.0", "x", "9" * 19, "9" * 5000, "\uff11")
        ),
        {"Rowlock-Mark": "1/2"},
        {"Rowlock-Log": "log"},
        *(
            {"Rowlock-Source": SOURCE, "Rowlock-Epoch": "1", "Rowlock-Log": "log", header: place}
            for header in ("Rowlock-Mark", "Rowlock-Log-Mark")
            for place in (
                *("", "1", "1/", "/2", "-1/2", "1/2/3", "1/x", "01/2", "1/02"),
                *(f"{2**64}/1", f"{10**20}/1", f"1/{2**63}", f"1/{10**19}"),
            )
        ),
        *(
            {"Rowlock-Source": SOURCE, "Rowlock-Epoch": "1", "Rowlock-Log": log}
            for log in ("", "a b", "x" * 201, "\u00e9")
        ),
        {"Rowlock-Source": SOURCE, "Rowlock-Epoch": "1", "Rowlock-Log-Mark": "1/2"},
    ],
    ids=str,
)
async def test_batch__half_a_sender_or_none__400(
    events: Client, name: str, headers: dict[str, str]
) -> None:
    body = {"events": [{"name": name, "payload": {}}]}
    response = await events.post("/events/batch", json=body, headers=headers)
    assert await refusal(response) == (400, "invalid_request")
    assert await stored(events, name) == []


async def test_batch__mark_and_log__told_and_only_what_is_known_is_taken(
    events: Client, name: str
) -> None:
    sender = {"Rowlock-Source": str(uuid4()), "Rowlock-Epoch": "1"}

    async def send_as(at: int, **headers: str) -> tuple[int, Any]:
        given = sender | {f"Rowlock-{key.replace('_', '-')}": text for key, text in headers.items()}
        body = {"events": [{"name": name, "payload": {"at": at}}]}
        response = await events.post("/events/batch", json=body, headers=given)
        return response.status, await response.json()

    assert await send_as(0) == (200, {"accepted": 1, "duplicates": 0})  # release 0.2.0
    status, answer = await send_as(1, Mark="7/9")
    log = answer["log"]
    assert (status, answer["mark"]) == (200, "7/9")
    status, answer = await send_as(2, Mark="8/1", Log=log, Log_Mark="7/9")
    assert (status, answer["log"], answer["mark"]) == (200, log, "8/1")
    for wrong in ({"Log": log, "Log_Mark": "8/2"}, {"Log": log}, {"Log": "another"}):
        status, answer = await send_as(3, Mark="9/1", **wrong)
        assert (status, answer["error"]) == (409, "log_moved")
        assert answer["details"] == {"log": log, "mark": "8/1"}
    sender["Rowlock-Source"] = str(uuid4())
    status, answer = await send_as(3, Mark="9/1", Log=log, Log_Mark="8/1")
    assert (status, answer["details"]) == (409, {"log": log})  # nothing is known of this source
    assert [event["payload"]["at"] for event in await stored(events, name)] == [0, 1, 2]


# --- What only the database refuses -----------------------------------------------------------


REFUSING = {
    "check": "ALTER TABLE events ADD CONSTRAINT no_bad CHECK (payload ->> 'is' <> 'bad') NOT VALID",
    "domain": """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF new.payload ->> 'is' = 'bad' THEN
                RAISE EXCEPTION 'out of range: bad' USING ERRCODE = '22003';
            END IF;
            RETURN new;
        END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse()""",
}


@pytest.mark.parametrize("how", REFUSING)
async def test_store__database_refuses_it__422_and_the_others_are_stored(
    aiohttp_client: AiohttpClient,
    server_url: str,
    events_template: str,
    settings: Settings,
    *,
    how: str,
) -> None:
    with cloned(server_url, events_template) as url:
        with psycopg.connect(url) as connection:
            connection.execute(REFUSING[how].encode())
        client = await aiohttp_client(
            create_app(quiet(EVENTS), settings, url),
            headers=bearer(settings.addresses.events_token),
        )
        good, bad = ({"name": "x", "payload": {"is": kind}} for kind in ("good", "bad"))
        for path, body in (("/events", bad), ("/events/batch", {"events": [good, bad]})):
            responses = await asyncio.gather(
                client.post(path, json=body), client.post("/events", json=good)
            )
            assert await refusal(responses[0]) == (422, "event_refused")
            answer = await responses[0].json()
            assert answer["details"] == (
                {"sqlstate": "23514", "constraint": "no_bad"}
                if how == "check"
                else {"sqlstate": "22003"}
            )
            assert "bad" not in answer["message"].replace("no_bad", "")
            assert responses[1].status == 201
        found = await stored(client, "x")
        assert [event["payload"]["is"] for event in found] == ["good", "good"]
        await client.close()


# --- Times ahead ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/events", "/events/batch"])
async def test_store__too_far_ahead__400_naming_it_and_nothing_stored(
    events: Client, name: str, path: str
) -> None:
    ahead = datetime.now(UTC) + timedelta(days=1, minutes=1)
    for created_at in (ahead.isoformat(), "9999-12-31T23:59:59.999998Z"):
        event = {"name": name, "payload": {}, "created_at": created_at}
        body = event if path == "/events" else {"events": [event]}
        response = await events.post(path, json=body)
        assert await refusal(response) == (400, "invalid_request")
        [(at, [problem])] = (await response.json())["details"].items()
        assert at == ("created_at" if path == "/events" else "events.0.created_at")
        assert "too far ahead" in problem
    assert await stored(events, name) == []
    soon = (datetime.now(UTC) + timedelta(hours=23)).isoformat()
    event = {"name": name, "payload": {}, "created_at": soon}
    assert (await events.post("/events", json=event)).status == 201


@pytest.mark.parametrize(("at", "of"), [(0, 1), (0, 1000), (500, 1000), (999, 1000)])
async def test_batch__one_wrong__400_naming_it_and_nothing_stored(
    events: Client, name: str, at: int, of: int
) -> None:
    given = batch(name, list(range(of)))
    given[at] |= {"created_at": "2026-11-21T09:30:00"}
    response = await events.post("/events/batch", json={"events": given})
    assert await refusal(response) == (400, "invalid_request")
    answer = await response.json()
    assert list(answer["details"]) == [f"events.{at}.created_at"]
    assert f"events.{at}.created_at" in answer["message"]
    assert await stored(events, name) == []
    del given[at]["created_at"]
    response = await events.post("/events/batch", json={"events": given})
    assert await response.json() == {"accepted": of, "duplicates": 0}


@pytest.mark.parametrize(
    "body", [{}, {"events": None}, {"events": {}}, {"events": [None]}, {"events": [], "x": 1}, []]
)
async def test_batch__no_batch__400(events: Client, body: dict[str, Any] | list[Any]) -> None:
    assert await refusal(await events.post("/events/batch", json=body)) == (400, "invalid_request")


async def test_batch__more_than_it_may_hold__400(events: Client, name: str) -> None:
    response = await events.post("/events/batch", json={"events": batch(name, list(range(1001)))})
    assert await refusal(response) == (400, "invalid_request")
    assert await stored(events, name) == []


@pytest.mark.parametrize("path", ["/events", "/events/batch"])
@pytest.mark.parametrize(("excess", "status"), [(0, 200), (1, 413)])
async def test_store__body_at_and_over_the_limit__413_when_over(
    serve: Serve, name: str, path: str, excess: int, status: int
) -> None:
    client = await serve(events_body_bytes=2000)
    body = json.dumps({"events": batch(name, [1])} if path != "/events" else batch(name, [1])[0])
    body += " " * (2000 + excess - len(body))
    response = await client.post(path, data=body, headers={"Content-Type": "application/json"})
    if status == 413:
        assert await refusal(response) == (413, "body_too_large")
    assert response.status // 100 == status // 100
    assert len(await stored(client, name)) == 1 - excess


# --- GET /events and /events/{id} -------------------------------------------------------------

NAMES = ["a.made", "b.made"]
SUBJECTS = ["x:1", "x:2", None]
NO_TIMES = ["", "x", "1", "2023-05-01", "2023-05-01T12:00:00", "2023-05-01T12:00Z", "%00", "%FF"]
NO_TIMES += ["20230501T120000Z", "2023-13-01T00:00:00Z", "2023-05-01T24:00:00Z", "now", "infinity"]
NO_TIMES += ["10000-01-01T00:00:00Z", "0001-01-01T00:00:00%2B00:01", "2023-05-01T12:00:00.1234567Z"]


@pytest.fixture(scope="module")
def listed_url(server_url: str, events_template: str) -> Iterator[str]:
    """A database with 24 events: every name with every subject, four times."""
    with cloned(server_url, events_template) as url, psycopg.connect(url) as connection:
        for number in range(24):
            # By time in no order: the log goes by what was stored first.
            connection.execute(
                "INSERT INTO events (event_id, name, subject, payload, created_at) VALUES "
                "(gen_random_uuid(), %s, %s, '{}', now() - make_interval(days => %s))",
                (NAMES[number % 2], SUBJECTS[number % 3], number * 7 % 24 * 10),
            )
        connection.commit()
        yield url


@pytest.fixture
async def reader(aiohttp_client: AiohttpClient, settings: Settings, listed_url: str) -> Client:
    """A client of an events service that has events."""
    return await aiohttp_client(
        create_app(quiet(EVENTS), settings, listed_url),
        headers={"Authorization": f"Bearer {settings.addresses.events_token}"},
    )


@pytest.mark.parametrize("limit", [None, 1, 3, 100])
@pytest.mark.parametrize("order", [None, "oldest", "newest"])
async def test_list__every_combination__each_event_once_in_order(
    reader: Client, limit: int | None, order: str | None
) -> None:
    everything = await (await reader.get("/events?limit=100")).json()
    assert len(everything) == 24
    ids = [event["id"] for event in everything]
    starts = [None] if order == "newest" else [None, 0, ids[0], ids[9], ids[-2], ids[-1]]
    for name, subject, after in itertools.product(
        [None, *NAMES, "none"], [None, "x:1", "x:2", "none"], starts
    ):
        query = {"name": name, "subject": subject, "after": after, "limit": limit, "order": order}
        url = URL("/events").with_query({k: v for k, v in query.items() if v is not None})
        expected = [
            event
            for event in everything
            if name in {None, event["name"]}
            and subject in {None, event["subject"]}
            and event["id"] > (after or 0)
        ]
        if order == "newest":
            expected.reverse()
        size = limit or 20
        pages = [expected[at : at + size] for at in range(0, len(expected), size)]
        assert await walk(reader, str(url)) == (pages or [[]]), query


@pytest.mark.parametrize("limit", [1, 5, 100])
@pytest.mark.parametrize("order", ["oldest", "newest"])
async def test_list__between_times__those_from_the_first_up_to_the_last_in_order(
    reader: Client, limit: int, order: str
) -> None:
    everything = await (await reader.get("/events?limit=100")).json()
    times = sorted(event["created_at"] for event in everything)
    ids = [event["id"] for event in everything]
    bounds = [None, "0001-01-02T00:00:00Z", times[0], times[7], times[-1], "9999-12-30T00:00:00Z"]
    for since, until, name, subject, after in itertools.product(
        bounds, bounds, [None, "a.made"], [None, "x:1"], [None, ids[9]]
    ):
        query = {"from": since, "to": until, "name": name, "subject": subject, "after": after}
        if order == "newest" and after is not None:
            continue
        expected = [
            event
            for event in everything
            if (since or "0") <= event["created_at"] < (until or "x")
            and name in {None, event["name"]}
            and subject in {None, event["subject"]}
            and event["id"] > (after or 0)
        ]
        if order == "newest":
            expected.reverse()
        given = {key: value for key, value in query.items() if value is not None}
        url = URL("/events").with_query(given | {"order": order, "limit": limit})
        pages = [expected[at : at + limit] for at in range(0, len(expected), limit)]
        assert await walk(reader, str(url)) == (pages or [[]]), query


async def test_list__times_in_another_offset__the_same_instants(reader: Client) -> None:
    everything = await (await reader.get("/events?limit=100")).json()
    at = everything[3]["created_at"]
    shifted = datetime.fromisoformat(at).astimezone(timezone(timedelta(hours=5, minutes=30)))
    texts = [at, at.lower(), shifted.isoformat(), shifted.isoformat().replace("+", "%2B")]
    for text in texts:
        response = await reader.get(URL(f"/events?limit=100&from={text}", encoded=True))
        assert await response.json() == [e for e in everything if e["created_at"] >= at], text


@pytest.mark.parametrize(
    "filters",
    [{"name": "a b&c=d/é+%"}, {"subject": "a b&c=d/é+%"}, {"name": "q\"'\\", "subject": "#?"}],
)
@pytest.mark.parametrize("order", ["oldest", "newest"])
async def test_list__filter_that_needs_quoting__link_keeps_it(
    events: Client, name: str, filters: dict[str, str], order: str
) -> None:
    event = {"name": name, "payload": {}} | filters
    before = await events.get("/events", params=filters | {"limit": 100})
    known = [event["id"] for event in await before.json()]
    for _ in range(3):
        await events.post("/events", json=event)
    url = URL("/events").with_query(filters | {"limit": 1, "order": order})
    pages = await walk(events, str(url))
    assert [len(page) for page in pages] == [1] * (len(known) + 3)


async def test_list__stored_between_pages__oldest_goes_on_to_it_and_newest_does_not(
    events: Client, name: str
) -> None:
    await events.post("/events/batch", json={"events": batch(name, [1, 2, 3])})
    following = {}
    for order in ("oldest", "newest"):
        response = await events.get(f"/events?name={name}&limit=2&order={order}")
        following[order] = next_page(response).path_qs
    await events.post("/events/batch", json={"events": batch(name, [4])})
    pages = {order: await walk(events, url) for order, url in following.items()}
    assert [len(page) for page in pages["oldest"]] == [2]
    assert [len(page) for page in pages["newest"]] == [1]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("order=newest&after=1", "invalid_request"),
        ("order=oldest&cursor=MQ==", "invalid_request"),
        ("cursor=MQ==", "invalid_request"),
        ("order=newest&cursor=MA==", "invalid_cursor"),
        ("order=newest&cursor=x", "invalid_cursor"),
        ("order=random", "invalid_request"),
        ("order=", "invalid_request"),
        ("after=-1", "invalid_request"),
        ("after=x", "invalid_request"),
        (f"after={2**63}", "invalid_request"),
        ("limit=0", "invalid_request"),
        ("limit=101", "invalid_request"),
        ("name=%00", "invalid_request"),
        ("name=", "invalid_request"),
        ("name=" + "x" * 201, "invalid_request"),
        ("subject=%00", "invalid_request"),
        ("subject=a%0Ab", "invalid_request"),
        ("subject=", "invalid_request"),
        ("name=a&name=b", "invalid_request"),
        ("event_id=1", "invalid_request"),
        *((f"{name}={time}", "invalid_request") for name in ("from", "to") for time in NO_TIMES),
        ("from=2026-11-21T00:00:00Z&from=2026-11-22T00:00:00Z", "invalid_request"),
        ("since=2026-11-21T00:00:00Z", "invalid_request"),
    ],
)
async def test_list__wrong_query__400(reader: Client, query: str, code: str) -> None:
    assert await refusal(await reader.get(URL(f"/events?{query}", encoded=True))) == (400, code)


@pytest.mark.parametrize(
    "id_",
    [
        "999999",
        str(2**63 - 1),
        "0",
        "01",
        "-1",
        "x",
        str(2**63),
        "8a6e0804-2bd0-4672-b79d-d97027f9",
    ],
)
async def test_get__no_event__404(reader: Client, id_: str) -> None:
    assert await refusal(await reader.get(f"/events/{id_}")) == (404, "event_not_found")


# --- Access -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer development-projects-token",
        "Bearer commerce-token",
        "Bearer development-events-toke",
        "Bearer development-events-token2",
        "Bearer Development-Events-Token",
        "Basic development-events-token",
        "development-events-token",
        "Bearer é",
    ],
)
async def test_access__not_its_token__401_before_all_else(
    aiohttp_client: AiohttpClient,
    events_database_url: str,
    settings: Settings,
    authorization: str | None,
) -> None:
    client = await aiohttp_client(
        create_app(
            quiet(EVENTS),
            settings.changed(commerce_token="commerce-token"),
            events_database_url,
        )
    )
    headers = {} if authorization is None else {"Authorization": authorization}
    for method, path in (
        ("POST", "/events"),
        ("POST", "/events/batch"),
        ("GET", "/events"),
        ("GET", "/events/1"),
        ("GET", "/events/stream"),
        ("GET", "/nothing"),
    ):
        response = await client.request(method, path, headers=headers)
        assert await refusal(response) == (401, "unauthorized"), path
        assert response.headers["WWW-Authenticate"].startswith("Bearer ")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_access__health__open(events: Client, path: str) -> None:
    assert "Authorization" in events.session.headers
    del events.session.headers["Authorization"]
    assert (await events.get(path)).status == 200


async def test_store__payload_over_the_limit__400(events: Client) -> None:
    payload = {"long": "x" * PAYLOAD_BYTES}
    response = await events.post("/events", json={"name": "a", "payload": payload})
    assert await refusal(response) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/events/batch", "POST"),
        ("HEAD", "/events/batch", "POST"),
        ("HEAD", "/events/stream", "GET"),
        ("POST", "/events/stream", "GET"),
        ("DELETE", "/events/1", "GET,HEAD"),
    ],
)
async def test_events__method_of_no_route__405_with_allow(
    events: Client, method: str, path: str, allowed: str
) -> None:
    response = await events.request(method, path)
    assert (response.status, response.headers["Allow"]) == (405, allowed)
