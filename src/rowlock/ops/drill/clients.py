"""The clients of a drill: they write with idempotency keys, and retry until they get an answer."""

import asyncio
import random
import uuid
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=10)
RETRY_S = 0.05
GIVE_UP_S = 60.0  # after the first try of a request
RECENT = 20  # clients work on the latest of each kind, so that they meet
PAUSE_S = 0.02  # the longest between two writes of a client

MOVES = ("building", "deploying", "done", "failed")
FIRST_BOOKING = datetime(2030, 1, 1, tzinfo=UTC)
BOOKING_MINUTES = 365 * 24 * 60

NO_ANSWER = 0
# The answers that tell a client the outcome of its write.
DONE = frozenset({200, 201, 204})
REFUSED = frozenset({400, 404, 409})
TRY_AGAIN = frozenset({503, NO_ANSWER})


@dataclass(frozen=True, slots=True)
class Grounds:
    """The data that clients work on."""

    product_ids: list[int]
    slugs: list[str]
    service_ids: list[str]
    project_ids: list[int]
    secret: str  # of each of these projects


@dataclass(slots=True)
class Journal:
    """What the services have acknowledged, and what no service may answer."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)  # kind of write, status
    retries: int = 0
    replays: int = 0  # answers that had been lost
    problems: list[str] = field(default_factory=list)

    usernames: set[str] = field(default_factory=set)
    benefit_orders: set[int] = field(default_factory=set)
    orders: set[int] = field(default_factory=set)
    invoices: set[int] = field(default_factory=set)
    paid: set[int] = field(default_factory=set)
    bookings: set[int] = field(default_factory=set)
    changes: Counter[int] = field(default_factory=Counter)  # of bookings
    deleted: set[int] = field(default_factory=set)
    deployments: set[int] = field(default_factory=set)
    moves: set[tuple[int, str]] = field(default_factory=set)  # deployment, status
    posted: set[str] = field(default_factory=set)  # subjects of events sent past the outbox
    request_ids: set[str] = field(default_factory=set)  # of writes, each of which left an event
    repetitions: set[str] = field(default_factory=set)  # request ids of reports; some are no news

    recent: dict[str, deque[int]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=RECENT))
    )

    @property
    def acknowledged(self) -> int:
        """Writes that took effect."""
        return sum(count for (_, status), count in self.answers.items() if status in DONE)

    def add(self, kind: str, new: int) -> None:
        """Note what the write with a key created. No other key may have created the same."""
        known = getattr(self, kind)
        if new in known:
            self.problems.append(f"{kind}: {new} was acknowledged twice")
        known.add(new)
        self.recent[kind].append(new)


@dataclass(slots=True)
class Client:
    """One client, which sends one write after another."""

    number: int
    service: str  # that it writes to: while it is down, clients of other services go on
    session: aiohttp.ClientSession
    urls: dict[str, str]  # of the services, by name
    grounds: Grounds
    journal: Journal
    rng: random.Random
    username: str = ""  # of the last account opened

    async def run(self, stop: asyncio.Event) -> None:
        """Write until told to stop, and then until the last write has its answer."""
        writes = {
            "commerce": {
                self._open_account: 1,
                self._buy_benefit: 3,
                self._order: 4,
                self._issue_invoice: 3,
                self._pay_invoice: 3,
                self._book: 3,
                self._rebook: 2,
                self._unbook: 1,
            },
            "projects": {self._deploy: 2, self._cancel: 1, self._report: 6},
            "events": {self._post_event: 1},
        }[self.service]
        await self._open_account()
        while not stop.is_set():
            [write] = self.rng.choices(list(writes), list(writes.values()))
            await write()
            await asyncio.sleep(self.rng.uniform(0, PAUSE_S))

    async def _open_account(self) -> None:
        self.username = f"drill-{self.number}-{self.rng.getrandbits(64):x}"
        if await self._send("user", "GET", "commerce", f"/api/users/{self.username}"):
            self.journal.usernames.add(self.username)

    async def _buy_benefit(self) -> None:
        items = self.rng.sample(self.grounds.slugs, self.rng.randint(1, 2))
        order = {"order": {"items": items, "user_id": self.username}}
        if body := await self._send("benefit order", "POST", "commerce", "/api/orders", order):
            order_id = int(body["order"]["order_id"])
            self.journal.add("benefit_orders", order_id)

    async def _order(self) -> None:
        product_id = self.rng.choice(self.grounds.product_ids)
        order: dict[str, Any] = {
            "items": [{"productId": product_id, "quantity": self.rng.randint(1, 3)}]
        }
        if self.rng.random() < 0.8:  # noqa: PLR2004
            order["userId"] = self.rng.randint(1, 4)  # the demo users are hot
        if body := await self._send("order", "POST", "commerce", "/orders", order):
            self.journal.add("orders", body["id"])

    async def _issue_invoice(self) -> None:
        invoice = {
            "user_id": self.rng.randint(1, 4),
            "amount": self.rng.randint(1, 10_000),
            "label": f"Drill {self.number}",
        }
        if body := await self._send("invoice", "POST", "commerce", "/invoices", invoice):
            self.journal.add("invoices", body["id"])

    async def _pay_invoice(self) -> None:
        invoice_id = self._recent("invoices")
        path = f"/invoices/{invoice_id}/pay"
        if invoice_id and await self._send("payment", "POST", "commerce", path):
            self.journal.add("paid", invoice_id)

    async def _book(self) -> None:
        path, booking = "/service-orders", self._booking()
        if body := await self._send("booking", "POST", "commerce", path, booking):
            self.journal.add("bookings", int(body["id"]))

    async def _rebook(self) -> None:
        booking_id = self._recent("bookings")
        path, booking = f"/service-orders/{booking_id}", self._booking()
        if booking_id and await self._send("rebooking", "PUT", "commerce", path, booking):
            self.journal.changes[booking_id] += 1

    async def _unbook(self) -> None:
        booking_id = self._recent("bookings")
        path = f"/service-orders/{booking_id}"
        if booking_id and await self._send("cancellation", "DELETE", "commerce", path):
            self.journal.add("deleted", booking_id)

    def _booking(self) -> dict[str, Any]:
        at = FIRST_BOOKING + timedelta(minutes=self.rng.randrange(BOOKING_MINUTES))
        return {
            "datetime": at.isoformat(),
            "totalfee": self.rng.getrandbits(48),  # no rebooking leaves it as it was
            "services": [self.rng.choice(self.grounds.service_ids)],
        }

    async def _deploy(self) -> None:
        project_id = self.rng.choice(self.grounds.project_ids)
        path = f"/projects/{project_id}/deployment"
        if body := await self._send("deployment", "POST", "projects", path):
            self.journal.add("deployments", body["id"])

    async def _cancel(self) -> None:
        deployment_id = self._recent("deployments")
        path = f"/deployments/{deployment_id}/cancel"
        if deployment_id and await self._send("abort", "POST", "projects", path):
            self.journal.moves.add((deployment_id, "cancelled"))

    async def _report(self) -> None:
        deployment_id = self._recent("deployments")
        status = self.rng.choice(MOVES)
        report = {"id": deployment_id, "status": status}
        path = "/deployment/webhook"
        if deployment_id and await self._send("webhook", "POST", "projects", path, report):
            self.journal.moves.add((deployment_id, status))

    async def _post_event(self) -> None:
        event_id = str(uuid.UUID(int=self.rng.getrandbits(128)))
        subject = f"drill:{event_id}"
        event = {
            "name": "drill.posted",
            "subject": subject,
            "payload": {"client": self.number},
            "event_id": event_id,
        }
        if await self._send("event", "POST", "events", "/events", event):
            self.journal.posted.add(subject)

    def _recent(self, kind: str) -> int | None:
        """Return something recent, so that clients meet; None if there is nothing."""
        recent = self.journal.recent[kind]
        return self.rng.choice(recent) if recent else None

    async def _send(
        self, kind: str, method: str, service: str, path: str, body: dict[str, Any] | None = None
    ) -> Any:
        """Send a write until its outcome is known; return the answer, or None if it was refused."""
        key = f"{self.rng.getrandbits(128):032x}"
        headers = {"Idempotency-Key": key, "X-Request-ID": key}
        if service == "events":
            body = {**(body or {}), "request_id": key}
        if path == "/deployment/webhook":
            headers["Authorization"] = self.grounds.secret
        elif service != "commerce":
            headers["Authorization"] = f"Bearer development-{service}-token"
        loop = asyncio.get_running_loop()
        give_up = loop.time() + GIVE_UP_S
        while loop.time() < give_up:
            try:
                async with self.session.request(
                    method,
                    self.urls[service] + path,
                    json=body,
                    headers=headers,
                    timeout=REQUEST_TIMEOUT,
                ) as response:
                    status = response.status
                    text = await response.read()
                    answer = await response.json() if text else True
            except (aiohttp.ClientError, TimeoutError):
                status = NO_ANSWER
            if status in DONE or status in REFUSED:
                self.journal.answers[kind, status] += 1
                self.journal.replays += "Idempotency-Replayed" in response.headers
                if status not in DONE:
                    return None
                ids = self.journal.repetitions if kind == "webhook" else self.journal.request_ids
                ids.add(key)
                return answer
            if status not in TRY_AGAIN:
                self.journal.problems.append(f"{method} {path} was answered {status}: {answer}")
                return None
            self.journal.retries += 1
            await asyncio.sleep(RETRY_S)
        self.journal.problems.append(f"{method} {path} has no answer after {GIVE_UP_S:.0f} s")
        return None
