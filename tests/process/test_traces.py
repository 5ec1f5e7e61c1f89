"""A trace, from a request over HTTP to everything that it leads to."""

import re
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
from pytest_aiohttp.plugin import AiohttpServer

from tests.support import nats
from tests.support.contract import bearer
from tests.support.delivery import TRACEPARENT
from tests.support.polling import until
from tests.support.processes import Service
from tests.support.receiver import Receiver

TRACE = TRACEPARENT.split("-")[1]
PARENT = TRACEPARENT.split("-")[2]
EVENTS = bearer("development-events-token")
PROJECTS = bearer("development-projects-token")
FIELD = re.compile(r"(\w+)=(\S+)")
ORDER = {"items": [{"productId": 1, "quantity": 1}], "userId": 1}


def lines(service: Service, event: str) -> list[dict[str, str]]:
    """The fields of the log lines of that event which belong to the trace."""
    found = [
        dict(FIELD.findall(line)) for line in service.printed.splitlines() if f" {event} " in line
    ]
    return [each for each in found if each.get("trace_id") == TRACE]


async def test_trace__of_an_order__on_log_lines_events_webhooks_and_in_nats(
    tmp_path: Path, database_url: str, events_database_url: str, aiohttp_server: AiohttpServer
) -> None:
    """Its settlement by the background task belongs to it, too."""
    receiver = Receiver()
    hook = str((await aiohttp_server(receiver.app)).make_url("/hook"))
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO products (slug, name, price) VALUES ('x', 'X', 5)")
        connection.execute("INSERT INTO users (username, balance) VALUES ('ada', 500)")
    async with (
        nats.serving(tmp_path) as server,
        Service(
            database_url=database_url,
            events_database_url=events_database_url,
            log_requests=1,
            log_level="debug",
            webhooks_private=1,
            nats_url=server.url,
        ) as service,
        aiohttp.ClientSession() as session,
    ):

        async def post(url: str, body: dict[str, Any], **headers: str) -> None:
            async with session.post(url, json=body, headers=headers) as response:
                assert response.status == 201, await response.text()

        orders = {"url": hook, "names": ["order.*"]}
        await post(f"{service.events_url}/subscriptions", orders, **EVENTS)
        await post(f"{service.url}/orders", ORDER, traceparent=TRACEPARENT)

        await until(lambda: len(receiver.received) == 2)
        carried = {each.json["type"]: each.headers.get("traceparent") for each in receiver.received}
        assert carried.keys() == {"order.created", "order.approved"}
        [traceparent] = set(carried.values())
        assert traceparent is not None

        url = f"{service.events_url}/events?subject=order:1"
        async with session.get(url, headers=EVENTS) as response:
            listed = await response.json()
        assert [each["traceparent"] for each in listed] == [traceparent] * 2

        async def is_published() -> bool:
            return await nats.last_sequence(server.url) >= int(listed[-1]["id"])

        await until(is_published)
        published = {
            message.subject: message.headers.get("traceparent")
            for message in await nats.read_stream(server.url)
        }
        assert published["rowlock.order.created"] == traceparent
        assert published["rowlock.order.approved"] == traceparent
        assert published["rowlock.subscription.created"] is None

        await until(lambda: lines(service, "order_settled"))
        [request] = [each for each in lines(service, "request") if each["path"] == "/orders"]
        assert request["parent_span_id"] == PARENT
        assert traceparent == f"00-{TRACE}-{request['span_id']}-01"
        assert len(lines(service, "event_delivered")) == 2
        assert len(lines(service, "event_received")) == 2


async def test_trace__of_a_feed__the_events_service_continues_the_request_of_the_other(
    database_url: str, events_database_url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO users (username) VALUES ('ada')")
        connection.execute(
            "INSERT INTO projects (position, name, user_id, app_secret) VALUES (1, 'p', 1, 's')"
        )
    urls = {"database_url": database_url, "events_database_url": events_database_url}
    async with (
        Service(**urls, log_requests=1) as service,
        aiohttp.ClientSession(headers=PROJECTS) as session,
    ):
        headers = {"traceparent": TRACEPARENT}
        url = f"{service.projects_url}/projects/1/activity"
        async with session.get(url, headers=headers) as response:
            assert response.status == 200, await response.text()
        await until(lambda: len(lines(service, "request")) == 2)
        by_service = {each["service"]: each for each in lines(service, "request")}
        assert by_service["projects"]["parent_span_id"] == PARENT
        assert by_service["events"]["parent_span_id"] == by_service["projects"]["span_id"]
