"""The dispatcher, against a real receiver: what is posted, tried again, given up, and bounded."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import asyncpg
import pytest
from pytest_aiohttp.plugin import AiohttpClient, AiohttpServer
from standardwebhooks.webhooks import WebhookVerificationError

from rowlock.services import EVENTS
from rowlock.settings import Settings
from rowlock.subscriptions.queues import QUEUED
from tests.support.delivery import TRACEPARENT
from tests.support.leases import epoch_of, take_over
from tests.support.polling import until
from tests.support.receiver import (
    Receiver,
    answer,
    answer_hugely,
    answer_with_a_huge_head,
    close_at_once,
)
from tests.support.roles import create_app
from tests.support.services import with_tasks
from tests.support.types import Client, Connection

QUICK: dict[str, object] = {
    "webhooks_private": True,
    "dispatch_poll_s": 0.02,
    "dispatch_gather_s": 0.005,
    "dispatch_retry_s": 0.02,
    "dispatch_pause_limit_s": 0.05,
    "dispatch_aside_s": 0.2,
    "dispatch_timeout_s": 5.0,
    "relay_lead_poll_s": 0.02,
    "task_retry_s": 0.01,
    "task_healthy_s": 0.05,
}

Dispatch: TypeAlias = Callable[..., Awaitable[Client]]


@pytest.fixture
async def receiver(aiohttp_server: AiohttpServer) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    receiver.url = str((await aiohttp_server(receiver.app)).make_url("")).rstrip("/")
    yield receiver
    receiver.released.set()


@pytest.fixture
def dispatch(
    aiohttp_client: AiohttpClient, events_database_url: str, settings: Settings
) -> Dispatch:
    """Start an events service with some settings changed, and only its dispatcher."""

    async def start(*tasks: str, **changes: object) -> Client:
        service = with_tasks(EVENTS, *(tasks or ("dispatcher",)))
        app = create_app(service, settings.changed(**(QUICK | changes)), events_database_url)
        token = settings.addresses.events_token
        return await aiohttp_client(app, headers={"Authorization": f"Bearer {token}"})

    return start


@pytest.fixture
async def log(events_database_url: str) -> AsyncIterator[Connection]:
    """A connection to the events database."""
    connection = await asyncpg.connect(events_database_url)
    yield connection
    await connection.close()


async def post(client: Client, path: str, body: object = None, status: int = 201) -> Any:
    response = await client.post(path, json={} if body is None else body)
    assert response.status == status, await response.text()
    return await response.json()


async def get(client: Client, path: str) -> Any:
    response = await client.get(path)
    assert response.status == 200, await response.text()
    return await response.json()


async def subscribe(client: Client, url: str, *names: str, **options: object) -> dict[str, Any]:
    body = {"url": url, "names": names or ("invoice.*",), **options}
    made: dict[str, Any] = await post(client, "/subscriptions", body)
    return made


async def store(
    client: Client, *names: str, subject: str | None = None, size: int = 0
) -> list[str]:
    """Store an event of each name; return their ids, as webhooks have them."""
    ids = []
    for name in names:
        event = {"name": name, "subject": subject, "payload": {"n": 1, "x": "x" * size}}
        ids.append(str((await post(client, "/events", event))["id"]))
    return ids


async def deliveries(client: Client, subscription: dict[str, Any], status: str = "") -> Any:
    query = f"?limit=100&status={status}" if status else "?limit=100"
    return await get(client, f"/subscriptions/{subscription['id']}/deliveries{query}")


async def state(client: Client, subscription: dict[str, Any]) -> Any:
    return await get(client, f"/subscriptions/{subscription['id']}")


async def settled(
    client: Client, subscription: dict[str, Any], status: str, count: int = 1
) -> Sequence[Any]:
    """The subscription's deliveries of a status, once there are so many."""

    async def find() -> Any:
        found = await deliveries(client, subscription, status)
        return found if len(found) >= count else None

    found: Sequence[Any] = await until(find)
    return found


async def test_delivery__event_that_matches__posted_as_the_official_library_verifies_it(
    dispatch: Dispatch, receiver: Receiver
) -> None:
    client = await dispatch()
    made = await subscribe(client, f"{receiver.url}/hook?key=1", "invoice.*", "order.paid")
    other = await subscribe(client, f"{receiver.url}/other", "nothing")
    [one, _two, three] = await store(client, "invoice.paid", "order.cancelled", "order.paid")

    found = await settled(client, made, "delivered", 2)

    assert receiver.ids("/hook") == {one, three}
    assert len(receiver.received) == 2
    [posted] = [each for each in receiver.received if each.id == one]
    assert posted.verified_by(made["secret"]) == posted.json
    with pytest.raises(WebhookVerificationError):
        posted.verified_by(other["secret"])
    stored = await get(client, f"/events/{one}")
    assert posted.json == {
        "type": "invoice.paid",
        "timestamp": stored["created_at"],
        "data": stored["payload"],
    }
    assert {(each["attempts"], each["problem"]) for each in found} == {(1, None)}
    assert (await state(client, made))["delivered"] == 2


async def test_delivery__event_in_a_trace__each_attempt_carries_it_on(
    dispatch: Dispatch, receiver: Receiver
) -> None:
    client = await dispatch()
    made = await subscribe(client, f"{receiver.url}/hook")
    receiver.behaviours["/hook"] = answer(500)
    event = {"name": "invoice.paid", "payload": {}}
    await post(client, "/events", event | {"traceparent": TRACEPARENT})
    await until(lambda: len(receiver.received) >= 2)
    receiver.behaviours.clear()
    await post(client, "/events", event)
    await settled(client, made, "delivered", 2)
    [one, two] = sorted(receiver.ids("/hook"), key=int)
    carried = {each.id: each.headers.get("traceparent") for each in receiver.received}
    assert carried == {one: TRACEPARENT, two: None}


async def test_delivery__event_right_after_its_subscription__not_missed_by_a_busy_dispatcher(
    dispatch: Dispatch, receiver: Receiver
) -> None:
    client = await dispatch()
    await subscribe(client, f"{receiver.url}/first", "*")
    expected = {}
    for number in range(20):
        await subscribe(client, f"{receiver.url}/{number}", f"kind{number}.*")
        expected[f"/{number}"] = set(await store(client, f"kind{number}.made"))

    await until(lambda: all(receiver.ids(path) for path in expected))

    assert {path: receiver.ids(path) for path in expected} == expected


async def test_delivery__of_a_subject_and_of_all_names__only_what_is_asked_for(
    dispatch: Dispatch, receiver: Receiver
) -> None:
    client = await dispatch()
    made = await subscribe(client, f"{receiver.url}/seven", "*", subject="invoice:7")
    [seven] = await store(client, "invoice.paid", subject="invoice:7")
    await store(client, "invoice.paid", subject="invoice:8")
    [again] = await store(client, "any", subject="invoice:7")

    await settled(client, made, "delivered", 2)

    assert receiver.ids("/seven") == {seven, again}


@pytest.mark.parametrize(
    ("behave", "problem"),
    [
        (answer(500), "http_500"),
        (answer(404), "http_404"),
        (answer(302, Location="/elsewhere"), "http_302"),
        (answer(304), "http_304"),
        (answer(503, Retry_After="nonsense"), "http_503"),
        (close_at_once, "disconnected"),
        (answer_with_a_huge_head, "malformed_answer"),
    ],
)
async def test_failure__of_each_kind__tried_again_with_the_same_id_until_it_succeeds(
    dispatch: Dispatch, receiver: Receiver, behave: Any, problem: str
) -> None:
    client = await dispatch()
    made = await subscribe(client, f"{receiver.url}/hook")
    receiver.behaviours["/hook"] = behave
    [event] = await store(client, "invoice.paid")
    [waiting] = await settled(client, made, "pending")
    assert waiting["problem"] in {problem, None}

    await until(lambda: len(receiver.at("/hook")) >= 2)
    failing = await state(client, made)
    assert failing["last_problem"] == problem
    assert failing["failing_since"] is not None
    del receiver.behaviours["/hook"]
    [done] = await settled(client, made, "delivered")

    assert receiver.ids("/hook") == {event}
    assert receiver.at("/elsewhere") == []
    assert done["attempts"] == len(receiver.at("/hook"))
    recovered = await state(client, made)
    assert (recovered["failing_since"], recovered["last_problem"]) == (None, None)
    assert recovered["failed"] == done["attempts"] - 1


async def test_failure__no_answer__timeout(dispatch: Dispatch, receiver: Receiver) -> None:
    client = await dispatch(dispatch_timeout_s=0.3)
    made = await subscribe(client, f"{receiver.url}/hook")
    receiver.behaviours["/hook"] = receiver.never
    await store(client, "invoice.paid")

    await until(lambda: len(receiver.at("/hook")) >= 2)

    assert (await state(client, made))["last_problem"] == "timeout"


async def test_failure__nothing_listens__not_connected(
    dispatch: Dispatch, receiver: Receiver, unused_tcp_port: int
) -> None:
    client = await dispatch()
    made = await subscribe(client, f"http://127.0.0.1:{unused_tcp_port}/hook")
    await store(client, "invoice.paid")

    async def failed() -> Any:
        return (await state(client, made))["last_problem"]

    assert await until(failed) == "not_connected"


async def test_success__answer_is_huge__delivered_and_not_read(
    dispatch: Dispatch, receiver: Receiver
) -> None:
    client = await dispatch()
    made = await subscribe(client, f"{receiver.url}/hook")
    receiver.behaviours["/hook"] = answer_hugely
    await store(client, "invoice.paid")

    [done] = await settled(client, made, "delivered")

    assert done["attempts"] == 1


async def test_failure__for_ever__given_up_after_the_last_pause(
    dispatch: Dispatch, receiver: Receiver, log: Connection
) -> None:
    client = await dispatch(dispatch_retry_s=0.01)
    made = await subscribe(client, f"{receiver.url}/hook")
    receiver.behaviours["/hook"] = answer(500)
    await store(client, "invoice.paid")
    await settled(client, made, "pending")

    async def hurry() -> bool:
        await log.execute(
            "UPDATE deliveries SET attempts = 10, due_at = now() WHERE status = 'pending'"
        )
        await log.execute("UPDATE dispatch_cursor SET version = version + 1")
        return bool(await deliveries(client, made, "failed"))

    await until(hurry)
    [failed] = await settled(client, made, "failed")

    assert failed["attempts"] == 11
    assert failed["due_at"] is None
    assert failed["finished_at"] is not None
    assert (await state(client, made))["status"] == "active"


async def test_retry_after__429__neither_it_nor_another_event_is_posted_before(
    dispatch: Dispatch, receiver: Receiver
) -> None:
    client = await dispatch()
    made = await subscribe(client, f"{receiver.url}/hook")
    receiver.behaviours["/hook"] = answer(429, Retry_After="1")
    [first] = await store(client, "invoice.paid")
    await until(lambda: receiver.at("/hook"))
    del receiver.behaviours["/hook"]
    [second] = await store(client, "invoice.paid")

    await settled(client, made, "delivered", 2)

    [refused, *later] = receiver.at("/hook")
    assert {each.id for each in later} == {first, second}
    assert min(each.at for each in later) - refused.at >= 1


async def test_410__ends_the_subscription__with_an_event_and_nothing_more_is_posted(
    dispatch: Dispatch, receiver: Receiver, log: Connection
) -> None:
    client = await dispatch()
    made = await subscribe(client, f"{receiver.url}/hook")
    other = await subscribe(client, f"{receiver.url}/other", "*")
    receiver.behaviours["/hook"] = answer(410)
    await store(client, "invoice.paid")
    await settled(client, made, "failed")
    await store(client, "invoice.paid")

    await settled(client, other, "delivered", 4)

    ended = await state(client, made)
    assert (ended["status"], ended["reason"]) == ("ended", "gone")
    assert len(receiver.at("/hook")) == 1
    told = await log.fetchrow(
        "SELECT subject, payload, actor FROM events WHERE name = 'subscription.disabled'"
    )
    assert told is not None
    assert told["subject"] == f"subscription:{made['id']}"
    assert told["actor"] == "system"
    response = await client.post(f"/subscriptions/{made['id']}/enable", json={})
    assert (response.status, (await response.json())["error"]) == (409, "subscription_ended")


async def test_failing__for_five_days__disabled_with_an_event_and_its_deliveries_have_failed(
    dispatch: Dispatch, receiver: Receiver, log: Connection
) -> None:
    client = await dispatch()
    made = await subscribe(client, f"{receiver.url}/hook")
    receiver.behaviours["/hook"] = answer(500)
    await store(client, "invoice.paid")
    await settled(client, made, "pending")
    await log.execute("UPDATE subscriptions SET failing_since = now() - interval '5 days'")

    await settled(client, made, "failed")

    stopped = await state(client, made)
    assert (stopped["status"], stopped["reason"]) == ("disabled", "failing")
    assert await deliveries(client, made, "pending") == []
    reasons = await log.fetch(
        "SELECT payload ->> 'reason' AS reason FROM events WHERE name = 'subscription.disabled'"
    )
    assert [row["reason"] for row in reasons] == ["failing"]


async def test_backlog__more_waits_than_may__disabled(
    dispatch: Dispatch, receiver: Receiver
) -> None:
    client = await dispatch(dispatch_pending=5, dispatch_retry_s=60)
    made = await subscribe(client, f"{receiver.url}/hook")
    receiver.behaviours["/hook"] = answer(500)
    await store(client, *["invoice.paid"] * 8)

    async def stopped() -> Any:
        now = await state(client, made)
        return now if now["status"] != "active" else None

    assert (await until(stopped))["reason"] == "backlog"


async def test_slow_receivers__hundreds_that_never_answer__delay_no_other_and_are_bounded(
    dispatch: Dispatch, receiver: Receiver
) -> None:
    client = await dispatch(dispatch_requests=20, dispatch_requests_each=4, dispatch_timeout_s=30)
    dead = [await subscribe(client, f"{receiver.url}/dead{number}") for number in range(40)]
    for number in range(40):
        receiver.behaviours[f"/dead{number}"] = receiver.never
    good = await subscribe(client, f"{receiver.url}/good")

    ids = await store(client, *["invoice.paid"] * 30)
    await settled(client, good, "delivered", 30)

    assert receiver.ids("/good") == set(ids)
    assert sum(receiver.under_way.values()) <= 20 + len(dead) + 1
    assert max(receiver.most_under_way.values()) <= 4
    # What has not been answered is noted, so that the cursor goes on.
    for each in (dead[0], dead[-1]):
        await settled(client, each, "pending", 30)


async def test_slow_receiver__more_waits_than_it_can_take__others_go_on_and_it_gets_all(
    dispatch: Dispatch, receiver: Receiver, log: Connection
) -> None:
    client = await dispatch(
        dispatch_requests_each=1, dispatch_page_events=100, dispatch_timeout_s=60.0
    )
    slow = await subscribe(client, f"{receiver.url}/slow")
    receiver.behaviours["/slow"] = receiver.never
    good = await subscribe(client, f"{receiver.url}/good")
    count = 3 * QUEUED
    event = {"name": "invoice.paid", "payload": {}}
    for _ in range(3):
        response = await client.post("/events/batch", json={"events": [event] * QUEUED})
        assert response.status == 200

    await until(lambda: len(receiver.ids("/good")) == count)
    assert len(receiver.at("/slow")) == 1
    del receiver.behaviours["/slow"]
    receiver.released.set()
    await until(lambda: receiver.ids("/slow") == receiver.ids("/good"))

    async def are_delivered() -> bool:
        found = [await state(client, each) for each in (slow, good)]
        return [each["delivered"] for each in found] == [count, len(receiver.at("/good"))]

    # Each once: what is noted while it is under way is not posted again.
    await until(are_delivered)
    assert len(receiver.at("/slow")) == count

    async def is_posted_at_once() -> bool:
        [event_id] = await store(client, "invoice.paid")
        found = (
            "SELECT created_at, finished_at FROM deliveries WHERE (subscription_id, event_id) = "
        )
        found += "($1, $2) AND status = 'delivered'"
        row = await until(lambda: log.fetchrow(found, slow["id"], int(event_id)))
        return bool(row["created_at"] == row["finished_at"])

    # It has caught up: what comes now waits in no row any more.
    await until(is_posted_at_once)


@pytest.mark.parametrize("action", ["disable", "delete"])
async def test_subscription__disabled_or_deleted_while_a_post_hangs__holds_nothing_up(
    dispatch: Dispatch, receiver: Receiver, log: Connection, action: str
) -> None:
    client = await dispatch(dispatch_aside_s=60)
    made = await subscribe(client, f"{receiver.url}/hook")
    await subscribe(client, f"{receiver.url}/other", "*")
    receiver.behaviours["/hook"] = receiver.never
    await store(client, "invoice.paid")
    await until(lambda: receiver.at("/hook"))
    if action == "delete":
        assert (await client.delete(f"/subscriptions/{made['id']}")).status == 204
    else:
        await post(client, f"/subscriptions/{made['id']}/disable", status=200)
    [last] = await store(client, "invoice.paid")

    async def is_passed() -> bool:
        return bool(await log.fetchval("SELECT position >= $1 FROM dispatch_cursor", int(last)))

    await until(is_passed)
    assert last in receiver.ids("/other")
    receiver.released.set()
    if action == "disable":
        [done] = await settled(client, made, "delivered")
        assert done["attempts"] == 1
    assert len(receiver.at("/hook")) == 1


async def test_takeover__receiver_answers_after_the_lease_is_lost__written_by_the_successor_alone(
    dispatch: Dispatch, receiver: Receiver, log: Connection
) -> None:
    client = await dispatch(lease_s=30.0, lease_renew_s=20.0, dispatch_gather_s=0.2)
    made = await subscribe(client, f"{receiver.url}/hook")
    receiver.behaviours["/hook"] = receiver.never
    [event] = await store(client, "invoice.paid")
    await until(lambda: receiver.at("/hook"))
    # It does not know yet: it only hears when it writes, or renews the lease.
    await take_over(log, "dispatcher")
    receiver.behaviours.clear()
    receiver.released.set()
    receiver.released = asyncio.Event()
    await log.execute("UPDATE leases SET expires = clock_timestamp() WHERE name = 'dispatcher'")

    [done] = await settled(client, made, "delivered")

    assert str(done["event_id"]) == event
    assert (await state(client, made))["delivered"] == 1
    assert len(receiver.at("/hook")) == 2


async def test_takeover__lease_lost_while_posts_hang__the_successor_posts_what_was_under_way(
    dispatch: Dispatch, receiver: Receiver, log: Connection
) -> None:
    client = await dispatch(lease_s=1.0, lease_renew_s=0.1)
    made = await subscribe(client, f"{receiver.url}/hook")
    receiver.behaviours["/hook"] = receiver.never
    ids = await store(client, *["invoice.paid"] * 3)
    await until(lambda: receiver.ids("/hook") == set(ids))
    before = await epoch_of(log, "dispatcher")
    await take_over(log, "dispatcher")
    receiver.behaviours.clear()
    receiver.received.clear()
    await log.execute("UPDATE leases SET expires = clock_timestamp()")

    found = await settled(client, made, "delivered", 3)

    assert receiver.ids("/hook") == set(ids)
    assert {str(each["event_id"]) for each in found} == set(ids)
    assert await epoch_of(log, "dispatcher") > before + 1


async def test_rotation__overlap__signed_with_both_secrets_and_then_with_the_new_one(
    dispatch: Dispatch, receiver: Receiver, log: Connection
) -> None:
    client = await dispatch()
    made = await subscribe(client, f"{receiver.url}/hook")
    rotated = await post(client, f"/subscriptions/{made['id']}/rotate-secret", status=200)
    [both] = await store(client, "invoice.paid")
    await settled(client, made, "delivered")
    await log.execute("UPDATE subscriptions SET old_secret_until = now()")
    changed = {"description": "wakes the dispatcher"}
    assert (await client.patch(f"/subscriptions/{made['id']}", json=changed)).status == 200
    [one] = await store(client, "invoice.paid")
    await settled(client, made, "delivered", 2)

    [first] = [each for each in receiver.received if each.id == both]
    [second] = [each for each in receiver.received if each.id == one]
    first.verified_by(made["secret"])
    first.verified_by(rotated["secret"])
    second.verified_by(rotated["secret"])
    with pytest.raises(WebhookVerificationError):
        second.verified_by(made["secret"])


async def test_disabled_and_enabled__missed_events__posted_when_they_are_recovered(
    dispatch: Dispatch, receiver: Receiver, log: Connection
) -> None:
    client = await dispatch()
    made = await subscribe(client, f"{receiver.url}/hook")
    path = f"/subscriptions/{made['id']}"
    [before] = await store(client, "invoice.paid")
    await settled(client, made, "delivered")
    since = await log.fetchval("SELECT clock_timestamp()")
    assert (await post(client, f"{path}/disable", status=200))["reason"] == "by_hand"
    missed = await store(client, "invoice.paid", "order.paid", "invoice.voided")
    assert (await post(client, f"{path}/enable", status=200))["status"] == "active"
    [after] = await store(client, "invoice.paid")
    await settled(client, made, "delivered", 2)
    assert receiver.ids("/hook") == {before, after}

    await post(client, f"{path}/recover", {"since": since.isoformat()}, status=202)
    await settled(client, made, "delivered", 4)

    # What comes after it was asked for is posted in any case, and may be posted twice.
    assert receiver.ids("/hook") == {before, after, missed[0], missed[2]}

    async def is_over() -> bool:
        return (await state(client, made))["recovers_since"] is None

    await until(is_over)


async def test_resend__delivered_and_failed__posted_again_with_the_same_id(
    dispatch: Dispatch, receiver: Receiver, log: Connection
) -> None:
    client = await dispatch()
    made = await subscribe(client, f"{receiver.url}/hook")
    [event] = await store(client, "invoice.paid")
    [done] = await settled(client, made, "delivered")

    again = await post(client, f"/deliveries/{done['id']}/resend", status=202)
    assert (again["status"], again["attempts"]) == ("pending", 0)
    await until(lambda: len(receiver.at("/hook")) == 2)
    [done] = await settled(client, made, "delivered")

    assert receiver.ids("/hook") == {event}


async def test_test__asked_for__posted_signed_and_shown_among_the_deliveries(
    dispatch: Dispatch, receiver: Receiver
) -> None:
    client = await dispatch()
    made = await subscribe(client, f"{receiver.url}/hook")

    asked = await post(client, f"/subscriptions/{made['id']}/test", status=202)
    [done] = await settled(client, made, "delivered")

    assert (done["id"], done["event_id"]) == (asked["id"], None)
    [posted] = receiver.received
    assert posted.verified_by(made["secret"])["type"] == "subscription.test"
    assert posted.id == f"test_{asked['id']}"


async def test_private_addresses__name_and_literal_that_lead_inside__not_dialled(
    dispatch: Dispatch, receiver: Receiver, log: Connection
) -> None:
    # As if its name had led elsewhere when it was made: DNS rebinding.
    client = await dispatch()
    port = receiver.url.rpartition(":")[2]
    hosts = ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]")
    made = [await subscribe(client, f"http://{host}:{port}/hook") for host in hosts]
    await client.close()
    client = await dispatch(webhooks_private=False)
    await store(client, "invoice.paid")

    for each in made:

        async def failed(each: dict[str, Any] = each) -> Any:
            return (await state(client, each))["last_problem"]

        assert await until(failed) == "address_refused"
    assert receiver.received == []


async def test_purges__old_failures_and_all_but_the_last_successes__removed(
    dispatch: Dispatch, receiver: Receiver, log: Connection
) -> None:
    client = await dispatch(
        "dispatcher", "failed_deliveries_purge", "deliveries_purge",
        deliveries_purge_s=0.05, deliveries_keep_delivered=3,
    )  # fmt: skip
    made = await subscribe(client, f"{receiver.url}/hook")
    ids = await store(client, *["invoice.paid"] * 6)
    await until(lambda: receiver.ids("/hook") == set(ids))
    await log.execute(
        "INSERT INTO deliveries (subscription_id, name, status, attempts, finished_at) "
        "SELECT $1, 'old', 'failed', 1, now() - $2 * interval '1 day' FROM generate_series(1, 2)",
        made["id"],
        31,
    )
    await log.execute(
        "INSERT INTO deliveries (subscription_id, name, status, attempts, finished_at) "
        "VALUES ($1, 'young', 'failed', 1, now() - interval '29 days')",
        made["id"],
    )

    async def is_purged() -> bool:
        kept = await deliveries(client, made)
        if (await state(client, made))["delivered"] < 6:
            return False
        return sorted(each["status"] for each in kept) == ["delivered"] * 3 + ["failed"]

    await until(is_purged)
    [failed] = await deliveries(client, made, "failed")
    assert failed["name"] == "young"
    assert (await state(client, made))["delivered"] == 6
