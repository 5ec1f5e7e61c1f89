"""rowlock.client where networks, proxies and services fail: each effect once, none in the dark."""

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest

from rowlock.client import (
    Attempt,
    Budget,
    Commerce,
    Event,
    Events,
    OutcomeUnknown,
    Policy,
    Projects,
    Refused,
    Repeat,
    Reset,
    Unavailable,
    until_known,
)
from rowlock.client.retries import LEAST_ATTEMPT_S
from rowlock.settings import Settings
from tests.support.flaky import AFTER, BEFORE, Fault, Flaky, Hang, Instead
from tests.support.polling import until
from tests.support.processes import free_port
from tests.support.types import Client, Connection, Serve

QUICK = Policy(deadline_s=60, first_pause_s=0.001, longest_pause_s=0.01)
BUSY = Instead(503, {"Content-Type": "application/json"}, '{"error":"database_busy"}')
UNKNOWN = Instead(503, {"Content-Type": "application/json"}, '{"error":"outcome_unknown"}')
LIMITED = Instead(429, {"Content-Type": "application/json"}, '{"error":"too_many_requests"}')
BAD_GATEWAY = Instead(502, {"Content-Type": "text/html"}, "<html>")
KEY_GONE = Instead(401, {"Content-Type": "application/json"}, '{"error":"unauthorized"}')
NO_LOSS: list[Fault] = [BUSY, LIMITED, BEFORE]
LOSSES: list[Fault] = [AFTER, UNKNOWN, BAD_GATEWAY]


def url_of(client: Client) -> str:
    return str(client.make_url(""))


@pytest.fixture
async def flaky(commerce: Client) -> AsyncIterator[Flaky]:
    """A way to commerce."""
    async with Flaky.to(url_of(commerce)) as flaky:
        yield flaky


@pytest.fixture
async def shop(flaky: Flaky) -> AsyncIterator[Commerce]:
    """A client that goes this way."""
    async with Commerce(flaky.url, policy=QUICK) as client:
        yield client


async def invoices(connection: Connection) -> int:
    count: int = await connection.fetchval("SELECT count(*) FROM invoices")
    return count


async def issue(shop: Commerce, user_id: int, policy: Policy = QUICK) -> int:
    made = await shop.invoices.create(user_id=user_id, amount=1, label="x", policy=policy)
    return made.id


@pytest.mark.parametrize("faults", [[one] * 2 for one in [*NO_LOSS, *LOSSES]] + [LOSSES])
async def test_write__failures_that_pass__sent_again_with_its_key_and_done_once(
    flaky: Flaky, shop: Commerce, connection: Connection, ada: int, faults: list[Fault]
) -> None:
    flaky.faults.extend(faults)
    await issue(shop, ada)
    assert len(flaky.requests) == len(faults) + 1
    keys = {headers["Idempotency-Key"] for _, _, headers in flaky.requests}
    assert len(keys) == 1
    assert await invoices(connection) == 1


async def test_write__each_call__has_a_key_of_its_own_or_the_callers(
    flaky: Flaky, shop: Commerce, connection: Connection, ada: int
) -> None:
    for _ in range(2):
        await issue(shop, ada)
    for _ in range(2):
        await shop.invoices.create(user_id=ada, amount=1, label="x", idempotency_key="mine")
    keys = [headers["Idempotency-Key"] for _, _, headers in flaky.requests]
    assert len(set(keys)) == 3
    assert keys[2:] == ["mine", "mine"]
    assert await invoices(connection) == 3


@pytest.mark.parametrize("fault", [BUSY, LIMITED])
async def test_write__refused_for_now_each_time__unavailable_without_effect(
    flaky: Flaky, shop: Commerce, connection: Connection, ada: int, fault: Instead
) -> None:
    flaky.always = lambda: fault
    with pytest.raises(Unavailable) as caught:
        await issue(shop, ada, Policy(attempts=3, first_pause_s=0.001))
    assert caught.value.status == fault.status
    assert caught.value.attempts == 3
    assert await invoices(connection) == 0


@pytest.mark.parametrize("fault", LOSSES)
async def test_write__outcome_lost_until_the_deadline__unknown_and_known_by_the_same_key(
    flaky: Flaky, shop: Commerce, connection: Connection, ada: int, fault: Fault
) -> None:
    flaky.always = lambda: fault
    with pytest.raises(OutcomeUnknown) as caught:
        await issue(shop, ada, Policy(deadline_s=2.0, first_pause_s=0.1, longest_pause_s=0.5))
    key = caught.value.idempotency_key
    assert key is not None
    flaky.always = lambda: None
    await shop.invoices.create(user_id=ada, amount=1, label="x", idempotency_key=key)
    assert await invoices(connection) == 1


async def test_write__lost_and_then_refused_for_now__the_outcome_is_still_unknown(
    flaky: Flaky, shop: Commerce, connection: Connection, ada: int
) -> None:
    for last in (BUSY, LIMITED, KEY_GONE):
        flaky.faults.append(AFTER)
        flaky.always = lambda last=last: last  # type: ignore[misc]
        with pytest.raises(OutcomeUnknown) as caught:
            await issue(shop, ada, Policy(attempts=3, first_pause_s=0.001))
        assert caught.value.status == last.status
    assert await invoices(connection) == 3


@pytest.mark.parametrize(
    "last",
    [
        Instead(302, {"Location": "http://elsewhere.example/"}),
        Instead(404, {"Content-Type": "text/html"}, "<html>default backend"),
        # As a process of the release before answers a route, or a field, that it does not know.
        Instead(404, {"Content-Type": "application/json"}, '{"error":"not_found"}'),
        Instead(405, {"Content-Type": "application/json"}, '{"error":"method_not_allowed"}'),
        Instead(400, {"Content-Type": "application/json"}, '{"error":"invalid_request"}'),
    ],
)
async def test_write__lost_and_then_refused_without_a_look__the_outcome_is_still_unknown(
    flaky: Flaky, shop: Commerce, connection: Connection, ada: int, last: Instead
) -> None:
    flaky.faults.extend([AFTER, last])
    with pytest.raises(OutcomeUnknown) as caught:
        await issue(shop, ada)
    assert (caught.value.status, caught.value.attempts) == (last.status, 2)
    assert await invoices(connection) == 1


async def test_write__lost_and_then_refused_by_the_rules__is_refused(
    flaky: Flaky, shop: Commerce, ada: int
) -> None:
    flaky.faults.append(AFTER)
    with pytest.raises(Refused) as caught:
        await issue(shop, 2**40)
    assert (caught.value.code, caught.value.attempts) == ("user_not_found", 2)


async def test_write__internal_error__is_not_repeated_and_unknown(
    flaky: Flaky, shop: Commerce, ada: int
) -> None:
    flaky.faults.append(Instead(500, {"Content-Type": "application/json"}, '{"error":"x"}'))
    with pytest.raises(OutcomeUnknown):
        await issue(shop, ada)
    assert len(flaky.requests) == 1


@pytest.mark.parametrize("fault", LOSSES)
async def test_write_without_a_key__lost__sent_once_and_unknown(
    flaky: Flaky, shop: Commerce, connection: Connection, fault: Fault
) -> None:
    flaky.always = lambda: fault
    with pytest.raises(OutcomeUnknown) as caught:
        await shop.keys.create(name="partner", scopes=["invoices:read"])
    assert len(flaky.requests) == 1
    assert "Idempotency-Key" not in flaky.requests[0][2]
    assert caught.value.idempotency_key is None
    assert await connection.fetchval("SELECT count(*) FROM api_keys") == (fault == AFTER)


@pytest.mark.parametrize("fault", [BUSY, LIMITED])
async def test_write_without_a_key__refused_for_now__sent_once_and_without_effect(
    flaky: Flaky, shop: Commerce, fault: Instead
) -> None:
    flaky.faults.append(fault)
    with pytest.raises(Unavailable):
        await shop.keys.create(name="partner", scopes=["invoices:read"])
    assert len(flaky.requests) == 1


async def test_no_connection__any_call__repeated_and_without_effect() -> None:
    attempts: list[Attempt] = []
    policy = Policy(attempts=3, first_pause_s=0.001)
    url = f"http://127.0.0.1:{free_port()}"
    async with Commerce(url, policy=policy, on_attempt=attempts.append) as shop:
        for call in (shop.keys.create(name="x", scopes=[]), shop.orders.cancel(1)):
            with pytest.raises(Unavailable, match="no connection") as caught:
                await call
            assert caught.value.status == 0
            assert len(attempts) == 3
            attempts.clear()


@pytest.mark.parametrize("fault", [*NO_LOSS, *LOSSES])
async def test_read__any_failure__repeated(flaky: Flaky, shop: Commerce, fault: Fault) -> None:
    flaky.faults.extend([fault, fault])
    assert await shop.orders.products() == ()
    assert len(flaky.requests) == 3


async def test_read__in_vain__unavailable(flaky: Flaky, shop: Commerce) -> None:
    for fault in LOSSES:
        flaky.always = lambda fault=fault: fault  # type: ignore[misc]
        with pytest.raises(Unavailable):
            await shop.orders.products(policy=Policy(attempts=2, first_pause_s=0.001))


async def test_hanging_service__each_attempt__has_its_time_and_the_call_its_deadline(
    flaky: Flaky, shop: Commerce, connection: Connection, ada: int
) -> None:
    flaky.faults.append(Hang())
    await issue(shop, ada, Policy(attempt_timeout_s=2, first_pause_s=0.01))
    assert (len(flaky.requests), await invoices(connection)) == (2, 1)
    flaky.always = Hang
    began = asyncio.get_running_loop().time()
    with pytest.raises(OutcomeUnknown, match="no answer in time"):
        await issue(shop, ada, Policy(deadline_s=0.5, attempt_timeout_s=60))
    assert asyncio.get_running_loop().time() - began < 30


async def test_deadline__event_loop_is_busy_until_it_is_over__still_holds(
    flaky: Flaky, ada: int
) -> None:
    flaky.faults.append(BUSY)
    flaky.always = Hang

    def block(attempt: Attempt) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(time.sleep, max(0.0, attempt.began + policy.deadline_s - loop.time()))

    policy = Policy(deadline_s=1.0, first_pause_s=0.001)
    async with Commerce(flaky.url, policy=policy, on_attempt=block) as shop, asyncio.timeout(30):
        with pytest.raises(Unavailable):
            await issue(shop, ada, policy)
    assert len(flaky.requests) == 1


async def test_retry_after__longer_than_the_deadline__fails_at_once(
    flaky: Flaky, shop: Commerce, ada: int
) -> None:
    flaky.always = lambda: BUSY._replace(headers={**BUSY.headers, "Retry-After": "3600"})
    with pytest.raises(Unavailable):
        await issue(shop, ada)
    assert len(flaky.requests) == 1


async def test_retry_after__until_just_before_the_deadline__leaves_no_attempt_cut_short(
    flaky: Flaky, shop: Commerce, ada: int
) -> None:
    flaky.faults.append(BUSY._replace(headers={**BUSY.headers, "Retry-After": "60"}))
    flaky.always = Hang
    with pytest.raises(Unavailable):  # the second attempt would have made it OutcomeUnknown
        await issue(shop, ada, Policy(deadline_s=60 + LEAST_ATTEMPT_S, first_pause_s=0))
    assert len(flaky.requests) == 1


async def test_retry_after__short__is_waited_for_unless_a_tester_calls(
    flaky: Flaky, shop: Commerce, ada: int
) -> None:
    now = asyncio.get_running_loop().time
    began = now()
    flaky.faults.append(BUSY._replace(headers={**BUSY.headers, "Retry-After": "60"}))
    await issue(shop, ada, until_known(120, 0.01))
    at_once = now()
    assert at_once - began < 60
    flaky.faults.append(BUSY._replace(headers={**BUSY.headers, "Retry-After": "1"}))
    await issue(shop, ada)
    assert now() - at_once >= 1


async def test_budget__a_service_that_is_down__gets_few_more_requests_than_calls(
    flaky: Flaky, ada: int
) -> None:
    flaky.always = lambda: BUSY
    budget = Budget(ratio=0.1, per_second=0, reserve=5)
    async with Commerce(flaky.url, policy=QUICK, budget=budget) as shop:
        for _ in range(100):
            with pytest.raises(Unavailable):
                await issue(shop, ada)
        assert 100 + 5 <= len(flaky.requests) <= 100 + 5 + 10
    flaky.requests.clear()
    async with Commerce(flaky.url, policy=QUICK, budget=Budget(reserve=math.inf)) as shop:
        with pytest.raises(Unavailable):
            await issue(shop, ada, replace(until_known(60, 0.001), attempts=25))
        assert len(flaky.requests) == 25


async def test_on_attempt__a_call_that_is_repeated__told_of_each_attempt(
    flaky: Flaky, ada: int
) -> None:
    attempts: list[Attempt] = []
    flaky.faults.extend([BEFORE, UNKNOWN, AFTER])
    async with Commerce(
        flaky.url, policy=QUICK, on_attempt=attempts.append, rng=random.Random(1)
    ) as shop:
        await issue(shop, ada)
    assert [one.number for one in attempts] == [1, 2, 3, 4]
    assert [one.answer.status if one.answer else 0 for one in attempts] == [0, 503, 0, 201]
    assert all(one.problem for one in attempts if one.answer is None)
    assert attempts[-1].answer is not None
    assert attempts[-1].answer.headers["Idempotency-Replayed"] == "true"


async def test_headers__of_a_call__are_passed_on(flaky: Flaky, shop: Commerce) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await shop.orders.products(traceparent=trace, request_id="look-1", fresh=True)
    [(_, _, headers)] = flaky.requests
    assert headers["traceparent"] == trace
    assert headers["X-Request-ID"] == "look-1"
    assert headers["Cache-Control"] == "no-cache"
    assert headers["User-Agent"].startswith("rowlock-client/")


@pytest.mark.parametrize(
    "answer",
    [
        Instead(200, {"Content-Type": "text/html"}, "<html>Sign in to the wireless network"),
        Instead(200, {"Content-Type": "application/json"}, "[]"),
        Instead(200, {"Content-Type": "application/json"}, '{"id": 1}'),
        Instead(200, {"Content-Type": "application/json"}, ""),
    ],
)
async def test_answers__of_something_else__are_not_believed(
    flaky: Flaky, shop: Commerce, answer: Instead
) -> None:
    flaky.faults.extend([answer, answer])
    with pytest.raises(OutcomeUnknown, match="not one of Rowlock's"):
        await shop.orders.cancel(1)
    with pytest.raises(Unavailable, match="not one of Rowlock's"):
        await shop.orders.get(1)


async def test_secrets__of_calls_that_fail_or_show_some__are_in_no_message_or_repr(
    commerce: Client,
) -> None:
    async def talk_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(talk_nonsense, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        broken = Commerce(f"http://127.0.0.1:{port}", token="my-token", policy=Policy(attempts=1))
        async with broken:
            with pytest.raises(Unavailable, match="no answer") as caught:
                await broken.orders.get(1)
    assert "my-token" not in f"{caught.value} {caught.value!r}"
    attempts: list[Attempt] = []
    async with Commerce(url_of(commerce), on_attempt=attempts.append) as shop:
        made = await shop.keys.create(name="partner", scopes=["invoices:read"])
        rotated = await shop.keys.rotate("partner")
    for secret in (made.secret, rotated.secret):
        assert secret not in f"{made} {rotated} {attempts}"


async def test_redirects__are_not_followed_with_the_token(flaky: Flaky, shop: Commerce) -> None:
    flaky.faults.append(Instead(302, {"Location": "http://elsewhere.example/"}))
    with pytest.raises(Refused) as caught:
        await shop.orders.products()
    assert caught.value.status == 302


async def test_pages__next_link_to_another_host__only_its_query_is_taken(
    serve: Serve, ada: int
) -> None:
    elsewhere = await serve(public_commerce_url="https://elsewhere.example/shop")
    async with Commerce(url_of(elsewhere)) as shop:
        for _ in range(3):
            await issue(shop, ada)
        answer = await shop.request("GET", "/invoices", query={"limit": "1"})
        assert "elsewhere.example" in answer.headers["Link"]
        assert len([one async for one in shop.invoices.list(limit=1)]) == 3


async def test_request__routes_without_keys_and_others__sent_once_or_by_key(
    flaky: Flaky, shop: Commerce, connection: Connection, ada: int
) -> None:
    body = {"user_id": ada, "amount": 1, "label": "x"}
    flaky.faults.append(AFTER)
    with pytest.raises(OutcomeUnknown):
        await shop.request("POST", "/invoices", json=body, repeat=Repeat.NEVER)
    flaky.faults.append(AFTER)
    with pytest.raises(OutcomeUnknown):
        await shop.request("POST", "/keys", json={"name": "x", "scopes": ["invoices:read"]})
    assert len(flaky.requests) == 2
    flaky.faults.append(AFTER)
    await shop.request("POST", "/invoices", json=body)
    assert (len(flaky.requests), await invoices(connection)) == (4, 2)


async def test_request__method_in_lower_case__repeated_as_the_same_route_in_upper_case(
    flaky: Flaky, shop: Commerce
) -> None:
    flaky.faults.append(AFTER)
    with pytest.raises(OutcomeUnknown):
        await shop.request("post", "/keys", json={"name": "x", "scopes": ["invoices:read"]})
    await shop.request("get", "/products")
    assert [method for method, _, _ in flaky.requests] == ["POST", "GET"]
    assert not any("Idempotency-Key" in headers for _, _, headers in flaky.requests)


@pytest.mark.parametrize("path", ["products", "@elsewhere.example/", ".elsewhere.example/", ""])
async def test_request__path_without_a_slash__sends_the_token_nowhere(path: str) -> None:
    async with Commerce("http://localhost", token="mine") as shop:
        with pytest.raises(ValueError, match="begins with a slash"):
            await shop.request("GET", path)


async def test_options__misspelt_or_empty_key__is_a_mistake_and_sends_nothing(
    flaky: Flaky, shop: Commerce, ada: int
) -> None:
    misspelt = {"idempotency_kye": "order-1"}
    with pytest.raises(TypeError, match="idempotency_kye"):
        await shop.invoices.create(user_id=ada, amount=1, label="x", **misspelt)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is empty"):
        await shop.invoices.create(user_id=ada, amount=1, label="x", idempotency_key="")
    assert flaky.requests == []


@pytest.mark.parametrize("url", ["localhost:3001", "", "ftp://localhost", "http://", "/events"])
def test_url__not_of_http__is_a_mistake_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="begins with http"):
        Events(url)  # its streams would try again for ever


async def test_session__of_the_caller__stays_open(flaky: Flaky, shop: Commerce) -> None:
    await shop.orders.products()
    async with Projects(flaky.url, session=shop.session) as other:
        await other.request("GET", "/products")
    assert not shop.session.closed
    await shop.close()
    await shop.close()
    assert await shop.orders.products() == ()  # it makes another one


# --- the stream and consumers -------------------------------------------------------------------


@pytest.fixture
async def log(events: Client) -> AsyncIterator[Flaky]:
    """A way to the events service."""
    async with Flaky.to(url_of(events)) as flaky:
        yield flaky


@pytest.fixture
async def feed(log: Flaky, settings: Settings) -> AsyncIterator[Events]:
    """A client that goes this way."""
    token = settings.addresses.events_token
    async with Events(log.url, token=token, policy=QUICK) as client:
        yield client


Collect = Callable[..., AbstractAsyncContextManager[list[Event | Reset]]]


async def post(feed: Events, count: int) -> list[int]:
    return [(await feed.log.post("it.happened", {"n": n})).id for n in range(count)]


async def take(feed: Events, count: int, after: int | None) -> tuple[list[Event | Reset], int]:
    """Read so many messages of a stream; return these, and the stream's position."""
    stream = feed.log.stream(after=after)
    found: list[Event | Reset] = []
    async with asyncio.timeout(20):
        async for message in stream:
            found.append(message)
            if len(found) == count:
                break
    assert stream.position is not None
    return found, stream.position


async def test_stream__from_an_id__in_order_and_with_its_position(feed: Events) -> None:
    ids = await post(feed, 3)
    found, position = await take(feed, 3, 0)
    assert [one.id for one in found if isinstance(one, Event)] == ids
    assert position == ids[-1]
    found, _ = await take(feed, 1, ids[1])
    assert isinstance(found[0], Event)
    assert (found[0].id, found[0].payload) == (ids[2], {"n": 2})


async def test_stream__cut_again_and_again__resumes_without_a_gap(log: Flaky, feed: Events) -> None:
    ids = await post(feed, 1)
    found: list[int] = []

    async def follow() -> None:
        stream = feed.log.stream(after=0)
        stream._retry_s = 0.01
        async for message in stream:
            assert isinstance(message, Event)
            stream._retry_s = 0.01
            found.append(message.id)

    following = asyncio.create_task(follow())
    for _ in range(5):
        await until(lambda: found[-1:] == ids[-1:])
        log.faults.extend([BEFORE, BUSY])
        log.cut_streams()
        await until(lambda: not log.faults)
        ids.extend(await post(feed, 2))
    await until(lambda: found[-1:] == ids[-1:])
    following.cancel()
    assert found == ids
    streams = [headers for _, path, headers in log.requests if "stream" in path]
    assert streams[-1]["Last-Event-ID"] == str(ids[-3])


async def test_stream__from_now_on_and_cut_before_it_tells_anything__misses_nothing(
    log: Flaky, feed: Events
) -> None:
    assert (await feed.log.list().first_page()) == ()
    asked = len(log.requests)
    log.always = lambda: (
        Instead(200, {"Content-Type": "text/event-stream"})
        if "stream" in log.requests[-1][1]
        else None
    )
    following = asyncio.create_task(take(feed, 2, None))
    await until(lambda: any("stream" in path for _, path, _ in log.requests[asked:]))
    ids = await post(feed, 2)
    log.always = lambda: None
    found, _ = await following
    assert [one.id for one in found if isinstance(one, Event)] == ids


async def test_stream__position_beyond_the_log__told_as_a_reset(feed: Events) -> None:
    ids = await post(feed, 2)
    [reset], position = await take(feed, 1, 10**12)
    assert reset == Reset(last_valid_id=ids[-1], first_id_after=None)
    assert position == ids[-1]


async def test_stream__refused_or_never_open__raises(log: Flaky, feed: Events) -> None:
    async with Events(log.url, token="wrong") as stranger:
        with pytest.raises(Refused) as caught:
            await take(stranger, 1, 0)
    assert caught.value.status == 401
    log.always = lambda: BUSY
    with pytest.raises(Unavailable):
        await take(feed, 1, 0)


async def test_consumer__handler_fails_and_connections_break__every_event_at_least_once(
    log: Flaky, feed: Events
) -> None:
    await feed.consumers.put("warehouse")
    ids = await post(feed, 5)
    handled: list[list[int]] = []

    async def handle(page: tuple[Event, ...]) -> None:
        handled.append([event.id for event in page])
        if len(handled) == 2:
            raise ValueError("out of paper")

    rng = random.Random(7)
    log.always = lambda: rng.choice([None, None, AFTER, BUSY, BEFORE])
    with pytest.raises(ValueError, match="out of paper"):
        await feed.consumers.run("warehouse", handle, limit=2)
    running = asyncio.create_task(feed.consumers.run("warehouse", handle, limit=2))
    await until(lambda: bool(handled) and handled[-1][-1] == ids[-1], timeout_s=30)
    log.always = lambda: None

    async def acknowledged() -> bool:
        return (await feed.consumers.get("warehouse")).position == ids[-1]

    await until(acknowledged, timeout_s=30)
    running.cancel()
    seen = [event for page in handled for event in page]
    assert set(ids) <= set(seen)
    assert handled[1] == handled[2]  # what was not acknowledged came again


async def test_consumer__position_lost__is_told(feed: Events) -> None:
    with pytest.raises(Refused) as caught:
        await feed.consumers.run("nowhere", handle=lambda _: asyncio.sleep(0))
    assert caught.value.code == "consumer_not_found"
