"""The clients of a drill: they write with idempotency keys, and retry until they get an answer.

They read meanwhile, and note what they were told and when, for `history`.
"""

import asyncio
import random
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from math import inf
from typing import Any, NamedTuple

import aiohttp

from rowlock.ops.drill.journal import (
    DONE,
    Call,
    Effect,
    Entry,
    Journal,
    Opened,
    SawBalance,
    SawDocument,
    SawLedger,
    SawShopper,
    Wrote,
)

REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=10)
RETRY_S = 0.05
GIVE_UP_S = 60.0  # after the first try of a request
PAUSE_S = 0.02  # the longest between two writes of a client

MOVES = ("building", "deploying", "done", "failed")
FIRST_BOOKING = datetime(2030, 1, 1, tzinfo=UTC)
BOOKING_MINUTES = 365 * 24 * 60

NO_ANSWER = 0
# With DONE, the answers that tell a client the outcome of its write.
REFUSED = frozenset({400, 404, 409})
TRY_AGAIN = frozenset({503, NO_ANSWER})
DEMO_USERS = 4  # they are hot
LEDGER_PAGE = 10
READ_BACK = 0.5  # of the writes, right after they are acknowledged


@dataclass(frozen=True, slots=True)
class Grounds:
    """The data that clients work on."""

    product_ids: list[int]
    slugs: list[str]
    service_ids: list[str]
    project_ids: list[int]
    secret: str  # of each of these projects


class Answer(NamedTuple):
    """What a service has answered in the end."""

    call: Call
    status: int
    body: Any = None

    @property
    def is_done(self) -> bool:
        """Whether the write has taken effect."""
        return self.status in DONE


@dataclass(slots=True)
class Client:
    """One client, which sends one request after another."""

    number: int
    service: str  # the service that it writes to; while that is down, clients of others go on
    session: aiohttp.ClientSession
    urls: dict[str, str]  # of the services, by name
    grounds: Grounds
    journal: Journal
    rng: random.Random
    username: str = ""  # of the last account opened

    async def run(self, stop: asyncio.Event) -> None:
        """Write and read until told to stop, and then until the last write has its answer."""
        actions = {
            "commerce": {
                self._open_account: 1,
                self._buy_benefit: 3,
                self._order: 4,
                self._issue_invoice: 3,
                self._pay_invoice: 3,
                self._book: 3,
                self._rebook: 2,
                self._unbook: 1,
                self._see_user: 3,
                self._see_ledger: 3,
                self._see_shopper: 2,
                self._see_order: 2,
                self._see_invoice: 2,
            },
            "projects": {self._deploy: 2, self._cancel: 1, self._report: 6},
            "events": {self._post_event: 1},
        }[self.service]
        await self._open_account()
        while not stop.is_set():
            [act] = self.rng.choices(list(actions), list(actions.values()))
            await act()
            await asyncio.sleep(self.rng.uniform(0, PAUSE_S))

    async def _open_account(self) -> None:
        self.username = username = f"drill-{self.number}-{self.rng.getrandbits(64):x}"
        answer = await self._send("user", "GET", "commerce", f"/api/users/{username}")
        self._note(answer, Opened(username))
        if answer.is_done:
            self.journal.add("usernames", username)
            self._note_shopper(answer, username)

    async def _buy_benefit(self) -> None:
        items = self.rng.sample(self.grounds.slugs, self.rng.randint(1, 2))
        order = {"order": {"items": items, "user_id": self.username}}
        answer = await self._send("benefit order", "POST", "commerce", "/api/orders", order)
        if answer.is_done:
            order_id = int(answer.body["order"]["order_id"])
            self.journal.add("benefit_orders", order_id)
            self._note(answer, Wrote(f"order:{order_id}", "approved", frozenset(items)))
            if self._reads_back():
                await self._see_shopper()

    async def _order(self) -> None:
        product_id = self.rng.choice(self.grounds.product_ids)
        order: dict[str, Any] = {
            "items": [{"productId": product_id, "quantity": self.rng.randint(1, 3)}]
        }
        if self.rng.random() < 0.8:  # noqa: PLR2004
            order["userId"] = self._any_user()
        answer = await self._send("order", "POST", "commerce", "/orders", order)
        if answer.is_done:
            self.journal.add("orders", answer.body["id"])
            self._note(answer, Wrote(f"order:{answer.body['id']}", "pending"))
            if self._reads_back():
                await self._see_order()

    async def _issue_invoice(self) -> None:
        invoice = {
            "user_id": self._any_user(),
            "amount": self.rng.randint(1, 10_000),
            "label": f"Drill {self.number}",
        }
        answer = await self._send("invoice", "POST", "commerce", "/invoices", invoice)
        if answer.is_done:
            self.journal.add("invoices", answer.body["id"])
            self._note(answer, Wrote(f"invoice:{answer.body['id']}", "pending"))

    async def _pay_invoice(self) -> None:
        invoice_id = self._recent("invoices")
        if invoice_id is None:
            return
        answer = await self._send("payment", "POST", "commerce", f"/invoices/{invoice_id}/pay")
        if answer.is_done or answer.status == NO_ANSWER:
            self._note(answer, Wrote(f"invoice:{invoice_id}", "paid"))
        elif answer.body["error"] == "invoice_already_paid":
            self._note(answer, SawDocument(f"invoice:{invoice_id}", "paid"))
        if answer.is_done:
            self.journal.add("paid", invoice_id)
            if self._reads_back():
                await self._see_user(answer.body["user_id"])

    async def _see_user(self, user_id: int | None = None) -> None:
        user_id = user_id or self._any_user()
        answer = await self._ask(f"/user/{user_id}")
        if answer.is_done:
            self._note(answer, SawBalance(user_id, answer.body["balance"]))

    async def _see_ledger(self) -> None:
        user_id = self._any_user()
        answer = await self._ask(f"/user/{user_id}/ledger?limit={LEDGER_PAGE}")
        if answer.is_done:
            page = tuple(Entry(*(row[name] for name in Entry._fields)) for row in answer.body)
            self._note(answer, SawLedger(user_id, page, LEDGER_PAGE))

    async def _see_shopper(self) -> None:
        if username := self._recent("usernames"):
            self._note_shopper(await self._ask(f"/api/users/{username}"), username)

    async def _see_order(self) -> None:
        if order_id := self._recent(self.rng.choice(("orders", "benefit_orders"))):
            await self._see_document("order", order_id)

    async def _see_invoice(self) -> None:
        if invoice_id := self._recent("invoices"):
            await self._see_document("invoice", invoice_id)

    async def _see_document(self, kind: str, document_id: int) -> None:
        answer = await self._ask(f"/{kind}s/{document_id}")
        if answer.status != NO_ANSWER:
            status = answer.body["status"] if answer.is_done else None
            self._note(answer, SawDocument(f"{kind}:{document_id}", status))

    def _note_shopper(self, answer: Answer, username: str) -> None:
        if answer.is_done:
            data = answer.body["user"]["data"]
            balance = round(data["balance"] * 100)
            self._note(answer, SawShopper(username, balance, frozenset(data["product_ids"])))

    def _note(self, answer: Answer, effect: Effect) -> None:
        self.journal.operations.append((answer.call, effect))

    def _reads_back(self) -> bool:
        return self.rng.random() < READ_BACK

    def _any_user(self) -> int:
        return self.rng.randint(1, DEMO_USERS)

    async def _book(self) -> None:
        path, booking = "/service-orders", self._booking()
        answer = await self._send("booking", "POST", "commerce", path, booking)
        if answer.is_done:
            self.journal.add("bookings", int(answer.body["id"]))

    async def _rebook(self) -> None:
        booking_id = self._recent("bookings")
        path, booking = f"/service-orders/{booking_id}", self._booking()
        if booking_id and (await self._send("rebooking", "PUT", "commerce", path, booking)).is_done:
            self.journal.changes[booking_id] += 1

    async def _unbook(self) -> None:
        booking_id = self._recent("bookings")
        path = f"/service-orders/{booking_id}"
        if booking_id and (await self._send("cancellation", "DELETE", "commerce", path)).is_done:
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
        answer = await self._send("deployment", "POST", "projects", path)
        if answer.is_done:
            self.journal.add("deployments", answer.body["id"])

    async def _cancel(self) -> None:
        deployment_id = self._recent("deployments")
        path = f"/deployments/{deployment_id}/cancel"
        if deployment_id and (await self._send("abort", "POST", "projects", path)).is_done:
            self.journal.moves.add((deployment_id, "cancelled"))

    async def _report(self) -> None:
        deployment_id = self._recent("deployments")
        status = self.rng.choice(MOVES)
        report = {"id": deployment_id, "status": status}
        path = "/deployment/webhook"
        if (
            deployment_id
            and (await self._send("webhook", "POST", "projects", path, report)).is_done
        ):
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
        if (await self._send("event", "POST", "events", "/events", event)).is_done:
            self.journal.posted.add(subject)

    def _recent(self, kind: str) -> Any:
        """Return something recent, so that clients meet; None if there is nothing."""
        recent = self.journal.recent[kind]
        return self.rng.choice(recent) if recent else None

    async def _send(
        self, kind: str, method: str, service: str, path: str, body: dict[str, Any] | None = None
    ) -> Answer:
        """Send a write until its outcome is known; return its answer.

        Its status is NO_ANSWER if there is none after GIVE_UP_S, or one that no service may give.
        """
        key = f"{self.rng.getrandbits(128):032x}"
        headers = {"Idempotency-Key": key, "X-Request-ID": key}
        if service == "events":
            body = {**(body or {}), "request_id": key}
        if path == "/deployment/webhook":
            headers["Authorization"] = self.grounds.secret
        elif service != "commerce":
            headers["Authorization"] = f"Bearer development-{service}-token"
        invoked = asyncio.get_running_loop().time()
        while True:
            answer = await self._request(method, service, path, headers, body)
            call = answer.call._replace(invoked=invoked)
            if answer.status in DONE | REFUSED:
                self.journal.answers[kind, answer.status] += 1
                if answer.is_done:
                    is_report = kind == "webhook"
                    ids = self.journal.repetitions if is_report else self.journal.request_ids
                    ids.add(key)
                return answer._replace(call=call)
            if answer.status not in TRY_AGAIN or answer.call.invoked > invoked + GIVE_UP_S:
                said = f"{answer.status}: {answer.body}" if answer.status else "nothing"
                self.journal.problems.append(f"{method} {path} was answered {said} in the end")
                return Answer(call._replace(responded=inf), NO_ANSWER)
            self.journal.retries += 1
            await asyncio.sleep(RETRY_S)

    async def _ask(self, path: str) -> Answer:
        """Read from commerce, once; there may be no answer while it is down."""
        answer = await self._request("GET", "commerce", path, {}, None)
        if answer.status in TRY_AGAIN:
            await asyncio.sleep(RETRY_S)
            return answer._replace(status=NO_ANSWER)
        if answer.status not in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}:
            self.journal.problems.append(f"GET {path} was answered {answer.status}: {answer.body}")
            return answer._replace(status=NO_ANSWER)
        return answer

    async def _request(
        self, method: str, service: str, path: str, headers: dict[str, str], body: Any
    ) -> Answer:
        """Send a request once."""
        now = asyncio.get_running_loop().time
        invoked = now()
        try:
            async with self.session.request(
                method,
                self.urls[service] + path,
                json=body,
                headers=headers,
                timeout=REQUEST_TIMEOUT,
            ) as response:
                text = await response.read()
                answer = await response.json() if text else None
        except (aiohttp.ClientError, TimeoutError):
            return Answer(Call(f"{method} {path}", invoked, inf), NO_ANSWER)
        self.journal.replays += "Idempotency-Replayed" in response.headers
        call = Call(f"{method} {path}", invoked, now())
        return Answer(call, response.status, answer)
