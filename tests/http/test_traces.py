"""The header traceparent: which ones name a trace, and what carries it on."""

import re
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest
from multidict import CIMultiDict

from tests.support.contract import WRITES, send
from tests.support.types import Client, Connection

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SENT = f"00-{TRACE}-{PARENT}-01"
CARRIED = re.compile(rf"00-{TRACE}-([0-9a-f]{{16}})-([0-9a-f]{{2}})")

# What names a trace, and the flags that are carried on.
VALID = {
    SENT: "01",
    f"00-{TRACE}-{PARENT}-00": "00",
    f"00-{TRACE}-{PARENT}-03": "03",
    f"00-{TRACE}-{PARENT}-ff": "03",  # those without a meaning are set to zero
    f"00-{TRACE}-{PARENT}-fc": "00",
    f" \t{SENT} ": "01",  # blanks around a header are no part of it
    # Of later versions, the beginning is read, and of the flags the one that the first one knows.
    f"01-{TRACE}-{PARENT}-01": "01",
    f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like": "01",
    f"fe-{TRACE}-{PARENT}-02-": "00",
}
INVALID = [
    "",
    "00",
    "-",
    "---",
    TRACE,
    f"00-{TRACE}",
    f"00-{TRACE}-{PARENT}",
    f"00-{TRACE}-{PARENT}-",
    f"00-{TRACE}-{PARENT}-1",
    f"00-{TRACE}-{PARENT}-1g",
    f"00-{TRACE}-{PARENT}-001",
    f"00-{TRACE}-{PARENT}-01-",
    f"00-{TRACE}-{PARENT}-01-more",
    f"00-{TRACE}-{PARENT}-01.",
    f"00-{TRACE.upper()}-{PARENT}-01",
    f"00-{TRACE}-{PARENT.upper()}-01",
    f"00-{TRACE}-{PARENT}-0A",
    f"00-{'0' * 32}-{PARENT}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE[1:]}-{PARENT}-01",
    f"00-{TRACE}0-{PARENT}-01",
    f"00-{TRACE}-{PARENT[1:]}-01",
    f"00-{TRACE[:-1]}g-{PARENT}-01",
    f"00_{TRACE}_{PARENT}_01",
    f"0-{TRACE}-{PARENT}-01",
    f"000-{TRACE}-{PARENT}-01",
    f"0A-{TRACE}-{PARENT}-01",
    f"ff-{TRACE}-{PARENT}-01",
    f"01-{TRACE}-{PARENT}-01what",
    f"01-{TRACE}-{PARENT}",
    f"00 -{TRACE}-{PARENT}-01",
    f'"{SENT}"',
    f"{SENT},{SENT}",
    f"00-{TRACE}-{PARENT}-\u0660\u0661",
    "x" * 4000,
]
INVOICE = {"user_id": 1, "amount": 100, "label": "Lunch"}


async def caused(connection: Connection, request_id: str) -> list[str | None]:
    """What the events of a request carry on."""
    rows = await connection.fetch(
        "SELECT traceparent FROM outbox WHERE request_id = $1", request_id
    )
    return [row["traceparent"] for row in rows]


async def invoice(commerce: Client, *sent: str) -> str:
    """Issue an invoice by a request with these headers; return the id of the request."""
    headers = CIMultiDict([("traceparent", each) for each in sent])
    response = await commerce.post("/invoices", json=INVOICE, headers=headers)
    assert response.status == 201, await response.text()
    return response.headers["X-Request-ID"]


@pytest.mark.parametrize("sent", VALID)
async def test_traceparent__names_a_trace__carried_on_with_a_span_of_our_own(
    commerce: Client, connection: Connection, ada: int, sent: str
) -> None:
    [carried] = await caused(connection, await invoice(commerce, sent))
    found = CARRIED.fullmatch(carried or "")
    assert found is not None, carried
    assert found[1] not in {PARENT, "0" * 16}
    assert found[2] == VALID[sent]


@pytest.mark.parametrize("sent", [[each] for each in INVALID] + [[SENT, SENT], [SENT, "x"]])
async def test_traceparent__names_none__ignored(
    commerce: Client, connection: Connection, ada: int, sent: Sequence[str]
) -> None:
    assert await caused(connection, await invoice(commerce, *sent)) == [None]


async def test_traceparent__two_requests_of_a_trace__each_has_its_own_span(
    commerce: Client, connection: Connection, ada: int
) -> None:
    requests = [await invoice(commerce, SENT) for _ in range(2)]
    carried = {str(*await caused(connection, each)) for each in requests}
    assert len(carried) == 2


@pytest.mark.parametrize("route", WRITES, ids=" ".join)
async def test_traceparent__any_write__on_all_its_events(
    clients: dict[str, Client], connection: Connection, route: tuple[str, str, str]
) -> None:
    service, method, path = route
    before = await connection.fetchval("SELECT count(*) FROM outbox")
    headers = {"X-Request-ID": "mine-1", "traceparent": SENT}
    response = await send(clients[service], method, path, WRITES[route], key=None, **headers)
    assert response.status < 300
    carried = await caused(connection, "mine-1")
    assert len(carried) == await connection.fetchval("SELECT count(*) FROM outbox") - before
    assert len(set(carried)) == 1
    assert CARRIED.fullmatch(carried[0] or "")


async def test_traceparent__repetition_of_a_request__its_events_are_of_the_first(
    commerce: Client, connection: Connection, ada: int
) -> None:
    other = SENT.replace(TRACE, TRACE[::-1])
    answers = [
        await commerce.post(
            "/invoices", json=INVOICE, headers={"Idempotency-Key": "k", "traceparent": each}
        )
        for each in (SENT, other)
    ]
    assert [answer.status for answer in answers] == [201, 201]
    assert await answers[0].read() == await answers[1].read()
    [carried] = await connection.fetch(
        "SELECT traceparent FROM outbox WHERE name = 'invoice.created'"
    )
    assert CARRIED.fullmatch(carried["traceparent"])


EVENT: dict[str, Any] = {"name": "it.happened", "payload": {}}


async def test_store__event_in_a_trace__shown_everywhere(events: Client) -> None:
    event = EVENT | {"traceparent": SENT}
    stored = await (await events.post("/events", json=event)).json()
    assert stored["traceparent"] == SENT
    response = await events.post("/events/batch", json={"events": [event, EVENT]})
    assert response.status == 200
    listed = await (await events.get("/events", params={"after": stored["id"] - 1})).json()
    assert [each.get("traceparent") for each in listed] == [SENT, SENT, None]
    shown = await (await events.get(f"/events/{stored['id']}")).json()
    assert shown == stored


@pytest.mark.parametrize("path", ["/events", "/events/batch"])
async def test_store__by_a_request_in_a_trace__the_event_carries_it_on(
    events: Client, path: str
) -> None:
    event = EVENT | {"event_id": str(uuid4())}
    body = event if path == "/events" else {"events": [event]}
    response = await events.post(path, json=body, headers={"traceparent": SENT})
    assert response.status in {200, 201}
    [stored] = await (await events.get("/events?order=newest&limit=1")).json()
    found = CARRIED.fullmatch(stored["traceparent"])
    assert found is not None
    assert found[1] != PARENT


async def test_store__known_event_in_another_trace__the_same_event(events: Client) -> None:
    event = EVENT | {"event_id": str(uuid4())}
    first = await events.post("/events", json=event | {"traceparent": SENT})
    again = await events.post("/events", json=event, headers={"traceparent": SENT})
    assert (first.status, again.status) == (201, 200)
    assert await again.json() == await first.json()
