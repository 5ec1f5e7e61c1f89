"""rowlock.client against the real services: what it sends, reads and raises."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from rowlock.client import (
    KEEP,
    Attempt,
    Commerce,
    Events,
    Line,
    NewEvent,
    NewInvoice,
    Projects,
    Refused,
)
from rowlock.rejections import InsufficientBalance
from rowlock.settings import Settings
from tests.support.panel import SECRET, add_projects
from tests.support.types import Client, Connection

NOW = datetime.now(UTC)


def url_of(client: Client) -> str:
    return str(client.make_url(""))


@pytest.fixture
async def shop(commerce: Client) -> AsyncIterator[Commerce]:
    async with Commerce(url_of(commerce)) as client:
        yield client


@pytest.fixture
async def panel(projects: Client, settings: Settings) -> AsyncIterator[Projects]:
    token = settings.addresses.projects_token
    async with Projects(url_of(projects), token=token) as client:
        yield client


@pytest.fixture
async def feed(events: Client, settings: Settings) -> AsyncIterator[Events]:
    async with Events(url_of(events), token=settings.addresses.events_token) as client:
        yield client


async def test_orders__from_placing_to_refund__as_records(
    shop: Commerce, connection: Connection, catalogue: dict[str, int], ada: int
) -> None:
    products = await shop.orders.products()
    assert {product.price_cents for product in products} == set(catalogue.values())
    order = await shop.orders.place(
        [Line(products[0].id, 2)], user_id=ada, reference="A-1", metadata={"till": "3"}
    )
    assert (order.status, order.amount_cents) == ("pending", 2 * products[0].price_cents)
    assert order.items[0].product_id == products[0].id
    assert (order.user_id, order.reference, order.metadata) == (ada, "A-1", {"till": "3"})
    assert order.created_at.utcoffset() == timedelta(0)
    assert (order.settled_at, order.reason) == (None, None)
    assert await shop.orders.get(order.id) == order
    assert [one async for one in shop.orders.list(reference="A-1")] == [order]
    assert [one async for one in shop.orders.list(until=order.created_at)] == []
    assert (await shop.orders.cancel(order.id)).status == "cancelled"
    await connection.execute(
        "INSERT INTO orders (user_id, status, amount, settled_at) "
        "VALUES ($1, 'approved', 500, now())",
        ada,
    )
    await connection.execute(
        "INSERT INTO order_items (order_id, product_id, quantity, price) "
        "SELECT max(id), $1, 1, 500 FROM orders",
        products[0].id,
    )
    refund = await shop.orders.refund(order.id + 1, amount_cents=200)
    assert (refund.order_id, refund.amount_cents) == (order.id + 1, 200)
    assert (await shop.orders.refund(order.id + 1)).amount_cents == 300
    assert await shop.orders.get_refund(order.id + 1, refund.id) == refund
    listed = [one.amount_cents async for one in shop.orders.refunds(order.id + 1)]
    assert listed == [300, 200]


async def test_benefits__bought__in_major_units(
    shop: Commerce, catalogue: dict[str, int], ada: int
) -> None:
    assert (await shop.benefits.user("ada")).data.balance == Decimal(500)
    prices = {benefit.id: benefit.price for benefit in await shop.benefits.products()}
    assert prices["netflix"] == Decimal("75.99")
    bought = await shop.benefits.buy(user_id="ada", items=["netflix"])
    assert (bought.data.total, bought.data.items) == (Decimal("75.99"), ("netflix",))
    shopper = await shop.benefits.user("ada")
    assert (shopper.data.balance, shopper.data.product_ids) == (Decimal("424.01"), ("netflix",))
    with pytest.raises(Refused) as caught:
        await shop.benefits.buy(user_id="ada", items=["netflix"])
    assert (caught.value.status, caught.value.code) == (400, "products_already_purchased")
    assert (await shop.benefits.user("dot/../ted?")).user_id == "dot/../ted?"


async def test_users__created_changed_and_anonymised__null_removes_and_keep_keeps(
    shop: Commerce,
) -> None:
    person = await shop.users.create(
        username="grace", email="grace@example.com", first_name="Grace", opening_balance=5
    )
    assert (person.username, person.balance, person.last_name) == ("grace", 5, "")
    changed = await shop.users.change(person.user_id, email=None, last_name="Hopper")
    assert (changed.email, changed.first_name, changed.last_name) == (None, "Grace", "Hopper")
    again = await shop.users.change(person.user_id, email=KEEP, first_name="G.")
    assert (again.first_name, again.last_name) == ("G.", "Hopper")
    assert [one.user_id async for one in shop.users.list(username="GR")] == [person.user_id]
    assert (await shop.users.get(person.user_id)).balance == 5
    assert (await shop.users.balance(person.user_id, at=NOW - timedelta(days=1))).balance == 0
    assert (await shop.users.anonymise(person.user_id)).anonymised_at is not None


async def test_invoices_and_transfers__paid_and_reversed__the_ledger_has_it(
    shop: Commerce, ada: int
) -> None:
    invoice = await shop.invoices.create(user_id=ada, amount=113_50, label="Work")
    paid = await shop.invoices.pay(invoice.id)
    assert paid.status == "paid"
    assert paid.paid_at is not None
    assert (await shop.invoices.reverse(invoice.id)).status == "reversed"
    other = await shop.invoices.create(user_id=ada, amount=1, label="Typo")
    assert (await shop.invoices.void(other.id)).status == "void"
    assert (await shop.invoices.get(other.id)).status == "void"
    grace = await shop.users.create(username="grace")
    moved = await shop.transfers.make(
        from_user_id=ada, to_user_id=grace.user_id, amount=2500, label="Lunch"
    )
    assert await shop.transfers.get(moved.id) == moved
    assert [one async for one in shop.transfers.list(user_id=ada)] == [moved]
    entries = [entry async for entry in shop.users.ledger(ada, limit=1)]
    assert [entry.amount for entry in entries[:3]] == [-2500, -11350, 11350]
    statement = await shop.users.statement(ada)
    assert [entry.amount for entry in statement.entries] == [
        entry.amount for entry in reversed(entries)
    ]
    assert statement.closing_balance == 500_00 - 2500
    assert statement.opening_balance == 0


async def test_invoices__batch__an_outcome_for_each(shop: Commerce, ada: int) -> None:
    outcomes = await shop.invoices.create_batch(
        [NewInvoice(ada, 100, "Work", reference="W-1"), NewInvoice(2**40, 100, "Work")]
    )
    assert outcomes[0].invoice is not None
    assert outcomes[0].invoice.reference == "W-1"
    assert outcomes[1].invoice is None
    assert outcomes[1].error is not None
    assert (outcomes[1].error.error, outcomes[1].error.details) == (
        "user_not_found",
        {"user_id": 2**40},
    )


async def test_pages__more_than_one__each_item_once_and_pages_as_asked(
    shop: Commerce, ada: int
) -> None:
    await shop.invoices.create_batch([NewInvoice(ada, n, "Work") for n in range(1, 8)])
    listed = [one.amount async for one in shop.invoices.list(user_id=ada, limit=3)]
    assert listed == [7, 6, 5, 4, 3, 2, 1]
    sizes = [len(page) async for page in shop.invoices.list(user_id=ada, limit=3).pages()]
    assert sizes == [3, 3, 1]
    assert len(await shop.invoices.list(user_id=ada, limit=2).first_page()) == 2
    since = NOW - timedelta(days=1)
    assert len([one async for one in shop.invoices.list(since=since, status="pending")]) == 7
    assert [one async for one in shop.invoices.list(since=NOW + timedelta(days=1))] == []


async def test_statement__in_pages_and_as_csv__the_same_entries(
    shop: Commerce, connection: Connection, ada: int
) -> None:
    batch = [NewInvoice(ada, n, "Work") for n in range(1, 251)]
    for outcome in await shop.invoices.create_batch(batch):
        assert outcome.invoice is not None
        await shop.invoices.pay(outcome.invoice.id)
    since = await connection.fetchval("SELECT max(created_at) FROM users")
    statement = await shop.users.statement(ada, since=since)
    pieces = [piece async for piece in shop.users.statement_csv(ada, since=since)]
    rows = list(csv.DictReader(io.StringIO(b"".join(pieces).decode(), newline="")))
    assert [int(row["amount"]) for row in rows] == [one.amount for one in statement.entries]
    assert len(rows) >= 250
    with pytest.raises(Refused) as caught:
        [piece async for piece in shop.users.statement_csv(2**40)]
    assert caught.value.code == "user_not_found"


async def test_bookings__changed_elsewhere__refused_by_the_tag(
    shop: Commerce, connection: Connection
) -> None:
    service = await shop.services.create(name="Inspection")
    at = datetime(2030, 5, 1, 12, tzinfo=UTC)
    services = [str(service.id)]
    booking = await shop.bookings.book(at=at, totalfee=250, services=services)
    assert (booking.at, booking.services[0].name) == (at, "Inspection")
    with pytest.raises(Refused) as caught:
        await shop.bookings.book(at=at, totalfee=1, services=services)
    assert caught.value.code == "too_close_to_existing_order"
    assert datetime.fromisoformat(caught.value.details["free_after"]) == at + timedelta(hours=3)
    seen = await shop.bookings.get(booking.id)
    assert seen.etag is not None
    moved = await shop.bookings.replace(
        booking.id, at=at, totalfee=1, services=services, if_match=seen.etag
    )
    assert moved.totalfee == 1
    with pytest.raises(Refused) as caught:
        await shop.bookings.delete(booking.id, if_match=seen.etag)
    assert (caught.value.status, caught.value.code) == (412, "service_order_changed")
    assert [one.id async for one in shop.bookings.list(since=at)] == [booking.id]
    await shop.bookings.delete(booking.id)
    assert [one async for one in shop.bookings.list()] == []


async def test_catalogue__added_changed_and_retired__as_the_shop_shows(shop: Commerce) -> None:
    product = await shop.products.create(slug="tea", name="Tea", price=250)
    assert (await shop.products.change(product.id, price=300)).price == 300
    retired = await shop.products.retire(product.id)
    assert retired.retired_at is not None
    assert [one async for one in shop.products.list(retired=False)] == []
    assert [one.id async for one in shop.products.list(retired=True)] == [product.id]
    assert (await shop.products.restore(product.id)).retired_at is None
    assert (await shop.products.get(product.id)).name == "Tea"


async def test_keys__created_rotated_and_revoked__open_what_their_scopes_say(
    commerce: Client, shop: Commerce, ada: int
) -> None:
    key = await shop.keys.create(name="partner", scopes=["invoices:read"])
    async with Commerce(url_of(commerce), token=key.secret) as partner:
        assert [one async for one in partner.invoices.list()] == []
        with pytest.raises(Refused) as caught:
            await partner.invoices.create(user_id=ada, amount=1, label="x")
        assert (caught.value.status, caught.value.code) == (403, "scope_missing")
        assert (await shop.keys.get("partner")).scopes == ("invoices:read",)
        assert (await shop.keys.rotate("partner", overlap_s=0)).secret != key.secret
        assert [one.name async for one in shop.keys.list()] == ["partner"]
        await shop.keys.revoke("partner")
    with pytest.raises(Refused) as caught:
        await shop.keys.get("partner")
    assert caught.value.code == "key_not_found"


async def test_projects__deployed__reported_and_counted(
    panel: Projects, connection: Connection
) -> None:
    await connection.execute("INSERT INTO users (username) VALUES ('ada')")
    [project_id, *_] = await add_projects(connection, 9)
    listed = [project async for project in panel.projects.list()]
    assert len(listed) == 9
    assert listed[0].owner.username == "ada"
    assert await panel.projects.get(project_id) == listed[0]
    deployment = await panel.projects.deploy(project_id, branch="main")
    assert (deployment.status, deployment.branch, deployment.commit) == ("pending", "main", None)
    reported = await panel.deployments.report(id=deployment.id, status="building", secret=SECRET)
    assert reported.status == "building"
    assert (await panel.deployments.cancel(deployment.id)).status == "cancelled"
    assert [one.id async for one in panel.deployments.list()] == [deployment.id]
    assert (await panel.deployments.stats(listed[0].owner.id)).deployments == 1


async def test_errors__refusals__tell_code_details_and_request(shop: Commerce, ada: int) -> None:
    grace = await shop.users.create(username="grace")
    with pytest.raises(Refused) as caught:
        await shop.transfers.make(
            from_user_id=ada,
            to_user_id=grace.user_id,
            amount=500_01,
            label="Lunch",
            request_id="till-3",
            idempotency_key="lunch-1",
        )
    error = caught.value
    assert (error.status, error.code, error.attempts) == (409, InsufficientBalance.code, 1)
    assert error.details == {"balance": 500_00, "amount": 500_01}
    assert error.message == "The balance does not cover the amount."
    assert (error.request_id, error.idempotency_key) == ("till-3", "lunch-1")
    assert str(error) == "POST /transfers: 409 The balance does not cover the amount."


async def test_arguments__that_no_service_could_take__refused_before_they_are_sent(
    shop: Commerce,
) -> None:
    with pytest.raises(ValueError, match="needs a time zone"):
        await shop.users.balance(1, at=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="takes no idempotency key"):
        await shop.keys.create(name="x", scopes=[], idempotency_key="x")
    with pytest.raises(TypeError):
        await shop.invoices.pay()  # type: ignore[call-arg]


async def test_request__any_route__is_sent_and_answered(commerce: Client) -> None:
    attempts: list[Attempt] = []
    async with Commerce(url_of(commerce) + "/", on_attempt=attempts.append) as client:
        answer = await client.request("GET", "/products", request_id="look-1", fresh=True)
        assert (answer.status, answer.body) == (200, [])
        assert answer.headers["X-Request-ID"] == "look-1"
        page = await client.request("GET", "/docs", headers={"Accept": "text/html"})
        assert b"<html" in page.body
        with pytest.raises(Refused) as caught:
            await client.request("POST", "/orders", json={"items": []}, query={"x": "1"})
        assert caught.value.code == "invalid_request"
    assert [(one.sent.method, one.number) for one in attempts] == [
        ("GET", 1),
        ("GET", 1),
        ("POST", 1),
    ]
    assert attempts[0].began < attempts[0].ended <= attempts[1].began
    assert attempts[2].answer is not None
    assert attempts[2].answer.status == 400


async def test_events__posted_twice_and_in_a_batch__stored_once(feed: Events) -> None:
    event = await feed.log.post("it.happened", {"x": 1}, subject="it:1")
    again = await feed.log.post("it.happened", {"x": 1}, subject="it:1", event_id=event.event_id)
    assert again.id == event.id
    others = [NewEvent("it.happened", {"n": n}) for n in range(3)]
    counts = await feed.log.post_batch(others)
    assert (counts.accepted, counts.duplicates) == (3, 0)
    assert (await feed.log.post_batch(others)).duplicates == 3
    listed = [one async for one in feed.log.list(after=0, name="it.happened", limit=2)]
    assert [one.event_id for one in listed] == [event.event_id, *(one.event_id for one in others)]
    assert await feed.log.get(event.id) == listed[0]
    names = {kind.name for kind in await feed.log.types()}
    assert "invoice.paid" in names
    assert (await feed.log.schema("invoice.paid"))["type"] == "object"


async def test_subscriptions__created_and_changed__with_the_secret_once(feed: Events) -> None:
    made = await feed.subscriptions.create(
        url="https://example.com/hooks", names=["invoice.*"], description="Books"
    )
    assert made.secret.startswith("whsec_")
    seen = await feed.subscriptions.change(made.id, names=["*"], description=None)
    assert (seen.names, seen.description, seen.url) == (("*",), None, made.url)
    assert (await feed.subscriptions.rotate_secret(made.id)).secret != made.secret
    delivery = await feed.subscriptions.test(made.id)
    assert delivery.subscription_id == made.id
    assert [one.id async for one in feed.subscriptions.deliveries(made.id)] == [delivery.id]
    assert (await feed.subscriptions.disable(made.id)).status == "disabled"
    assert (await feed.subscriptions.enable(made.id)).status == "active"
    assert [one.id async for one in feed.subscriptions.list()] == [made.id]
    await feed.subscriptions.delete(made.id)


async def test_consumers__read_and_acknowledged__as_records(feed: Events) -> None:
    consumer = await feed.consumers.put("warehouse")
    assert consumer.position == 0
    event = await feed.log.post("it.happened", {})
    page = await feed.consumers.read("warehouse")
    assert page[-1].id == event.id
    assert (await feed.consumers.acknowledge("warehouse", id=event.id)).position == event.id
    assert await feed.consumers.read("warehouse") == ()
    assert (await feed.consumers.get("warehouse")).lag_events == 0
    assert (await feed.consumers.put("warehouse", start=event.created_at)).position < event.id
    assert [one.name async for one in feed.consumers.list()] == ["warehouse"]
    await feed.consumers.delete("warehouse")
