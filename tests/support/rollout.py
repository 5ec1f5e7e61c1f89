"""What the tests of upgrades send to two releases, and what they read from both."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NamedTuple

import aiohttp
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.contract import bearer
from tests.support.delivery import TRACEPARENT
from tests.support.polling import until
from tests.support.tenant import AUDIENCE, DOMAIN, KeyServer, public, token
from tests.support.types import Connection

TOKENS = {
    "commerce": "a-commerce-token-of-the-tests",
    "projects": "development-projects-token",
    "events": "development-events-token",
}
ANN, BEN = "auth0|ann", "auth0|ben"

# How things are without what the tests do; they are read before and after an upgrade.
READS = [
    *(("commerce", path) for path in ("/api/users/ada", "/api/products", "/products", "/services")),
    *(("commerce", path) for path in ("/user/1", "/user/1/ledger", "/orders", "/orders/1")),
    *(("commerce", path) for path in ("/orders?status=approved", "/orders?status=refused")),
    *(("commerce", path) for path in ("/invoices/1", "/invoices/2", "/invoices?user_id=1")),
    *(("commerce", path) for path in ("/invoices?status=paid", "/invoices?status=pending")),
    *(("commerce", path) for path in ("/service-orders", "/service-orders/223")),
    *(("projects", path) for path in ("/projects", "/projects/1", "/projects/1/activity")),
    *(("projects", path) for path in ("/deployments", "/users/1/deployment-stats")),
    *(("events", path) for path in ("/events?limit=100", "/events?subject=invoice:1")),
]


class Answer(NamedTuple):
    """What a service answers: its status and its JSON, None for an empty body."""

    status: int
    body: Any


@dataclass(frozen=True)
class Call:
    """A request. Without `secret` it has the token of the service."""

    service: str
    method: str
    path: str
    body: Any = None
    key: str | None = None  # of idempotency
    secret: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        headers = bearer(self.secret or TOKENS[self.service])
        if self.path == "/deployment/webhook":
            headers = {"Authorization": str(self.secret)}
        headers["traceparent"] = TRACEPARENT
        return headers | ({"Idempotency-Key": self.key} if self.key else {})


BOOKING = {"datetime": "2031-05-01T12:00:00Z", "totalfee": 1, "services": ["123"]}
# Writes that succeed on the demo data, with a key each; every release knows them.
WRITES = [
    Call(service, method, path, body, f"{method} {path}")
    for service, method, path, body in (
        (
            "commerce",
            "POST",
            "/api/orders",
            {"order": {"items": ["netflix", "gym"], "user_id": "ada"}},
        ),
        ("commerce", "POST", "/orders", {"items": [{"productId": 2, "quantity": 3}], "userId": 2}),
        ("commerce", "POST", "/invoices", {"user_id": 1, "amount": 700, "label": "Upgrade"}),
        ("commerce", "POST", "/invoices/3/pay", None),
        ("commerce", "POST", "/service-orders", BOOKING),
        ("commerce", "PUT", "/service-orders/223", BOOKING | {"datetime": "2031-06-01T12:00:00Z"}),
        ("commerce", "DELETE", "/service-orders/225", None),
        ("projects", "POST", "/projects/1/deployment", None),
    )
]


class Site:
    """The services of one release, at these URLs."""

    def __init__(self, session: aiohttp.ClientSession, urls: Mapping[str, str]) -> None:
        self.urls = urls
        self._session = session

    async def send(self, call: Call) -> Answer:
        """Send a request once."""
        async with self._session.request(
            call.method,
            self.urls[call.service] + call.path,
            json=call.body,
            headers=call.headers,
        ) as response:
            text = await response.read()
            return Answer(response.status, await response.json() if text else None)

    async def write(self, path: str, body: Any = None, **options: Any) -> Answer:
        """POST to the commerce service, or to another one by the option `service`."""
        service = options.pop("service", "commerce")
        return await self.send(Call(service, "POST", path, body, **options))

    async def read(self, path: str, service: str = "commerce", **options: Any) -> Answer:
        """GET from the commerce service, or another one."""
        return await self.send(Call(service, "GET", path, **options))

    async def create(self, path: str, body: Any) -> Any:
        """Return what a POST has made."""
        answer = await self.write(path, body)
        assert answer.status == HTTPStatus.CREATED, answer
        return answer.body

    async def show(self, path: str) -> Any:
        """Return what a GET of the commerce service shows."""
        answer = await self.read(path)
        assert answer.status == HTTPStatus.OK, answer
        return answer.body

    async def balances(self, *user_ids: int) -> list[int]:
        """Return the balance of each user."""
        return [(await self.show(f"/user/{user_id}"))["balance"] for user_id in user_ids]

    async def read_all(self) -> dict[str, Any]:
        """Return what is answered to READS, by path."""
        answers = {path: await self.read(path, service) for service, path in READS}
        assert statuses(answers.values()) == {200}, answers
        return {path: answer.body for path, answer in answers.items()}


def assert_continues(before: Any, after: Any, at: str = "") -> None:
    """Fail unless `after` has all that `before` has.

    Objects may have more fields, and lists more items. What both have is in the same order.
    """
    if isinstance(before, dict):
        assert isinstance(after, dict), at
        for name, value in before.items():
            assert name in after, f"{at}.{name} is gone"
            assert_continues(value, after[name], f"{at}.{name}")
    elif isinstance(before, list) and all(isinstance(one, dict) and "id" in one for one in before):
        ids = [one["id"] for one in before]
        kept = [one for one in after if one["id"] in ids]
        assert [one["id"] for one in kept] == ids, at
        for old, new in zip(before, kept, strict=True):
            assert_continues(old, new, f"{at}[id={old['id']}]")
    else:
        assert after == before, at


class Tenant:
    """An Auth0 tenant with users."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        self.keys = KeyServer()
        self.keys.entries = [public(self._key, "one")]

    def token(self, subject: str) -> str:
        """What one of its users sends."""
        return token(self._key, sub=subject)

    def settings(self, url: str) -> dict[str, str]:
        """Those of a service that takes its tokens; its keys are served at `url`."""
        return {"auth0_domain": DOMAIN, "auth0_audience": AUDIENCE, "auth0_url": url}


def deployment(key: str, secret: str, project_id: int = 1) -> Call:
    """Start a deployment, as a user of the tenant."""
    path = f"/projects/{project_id}/deployment"
    return Call("projects", "POST", path, None, key, secret)


def report(deployment_id: int, status: str, secret: str) -> Call:
    """A webhook of a project's builder, with a key."""
    body = {"id": deployment_id, "status": status}
    key = f"{status} {deployment_id}"
    return Call("projects", "POST", "/deployment/webhook", body, key, secret)


async def is_settled(connection: Connection) -> bool:
    """Whether no order is pending and no event undelivered."""
    return not await connection.fetchval(
        "SELECT exists(SELECT FROM orders WHERE status = 'pending') OR exists("
        "SELECT FROM outbox, outbox_cursor AS last "
        "WHERE (outbox.xid, outbox.position) > (last.xid, last.position))"
    )


async def assert_events_stored_once(connection: Connection, events: Connection) -> None:
    """Each order, invoice and deployment has left its event, once."""
    rows = await events.fetch(
        "SELECT name, count(*) AS events, count(DISTINCT event_id) AS distinct "
        "FROM events GROUP BY name"
    )
    stored = Counter({row["name"]: row["events"] for row in rows})
    assert all(row["events"] == row["distinct"] for row in rows)
    for table, names in {
        "invoices": ["invoice.created"],
        "deployments": ["deployment.created"],
        "orders": ["order.created", "benefit_order.placed"],
    }.items():
        rows_there = await connection.fetchval(f"SELECT count(*) FROM {table}")
        assert sum(stored[name] for name in names) == rows_there, table


@dataclass
class Load:
    """Clients that write to a site until they are told to stop; each write has a key.

    What is answered 503 is sent again: such an answer says that nothing was changed, or that the
    key will tell.
    """

    site: Site
    statuses: Counter[int] = field(default_factory=Counter)
    problems: list[tuple[Call, Answer]] = field(default_factory=list)
    invoices: int = 0  # that were issued
    _is_over: bool = False
    _clients: Sequence["asyncio.Task[None]"] = ()

    def start(self) -> None:
        """Begin."""
        self._clients = [
            asyncio.create_task(self._write(calls)) for calls in (_invoices(), _mixed())
        ]

    async def stop(self) -> None:
        """End, once what was begun is answered."""
        self._is_over = True
        await asyncio.gather(*self._clients)

    async def reach(self, count: int) -> None:
        """Wait until `count` more writes are answered."""
        goal = self.statuses.total() + count
        await until(lambda: self.statuses.total() >= goal)

    async def _write(self, calls: Iterator[Call]) -> None:
        while not self._is_over:
            call = next(calls)
            while True:
                answer = await self.site.send(call)
                self.statuses[answer.status] += 1
                if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
                    break
            if answer.status not in {200, 201}:
                self.problems.append((call, answer))
            elif call.path == "/invoices":
                self.invoices += 1


def _invoices() -> Iterator[Call]:
    for number in itertools.count(1):
        invoice = {"user_id": 1, "amount": number, "label": "load"}
        yield Call("commerce", "POST", "/invoices", invoice, f"load {number}")


def _mixed() -> Iterator[Call]:
    """Yield writes of each feature that may wait for the others' locks and lists."""
    for number in itertools.count(1):
        order = {"items": [{"productId": 5, "quantity": 1}], "userId": 1 + number % 3}
        benefit = {"order": {"items": ["audible"], "user_id": f"load-{number}"}}
        at = f"{2040 + number // 12}-{1 + number % 12:02}-01T12:00:00Z"
        yield Call("commerce", "POST", "/orders", order, f"order {number}")
        yield Call("commerce", "GET", f"/api/users/load-{number}")  # opens the account
        yield Call("commerce", "POST", "/api/orders", benefit, f"benefit {number}")
        booking = {"datetime": at, "totalfee": number, "services": ["123"]}
        yield Call("commerce", "POST", "/service-orders", booking, f"booking {number}")
        yield Call("projects", "POST", "/projects/2/deployment", None, f"deployment {number}")


def statuses(answers: Collection[Answer]) -> set[int]:
    """The statuses that there are among these."""
    return {answer.status for answer in answers}
