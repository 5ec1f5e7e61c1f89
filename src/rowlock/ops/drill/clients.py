"""The clients of a drill: they write with idempotency keys, and retry until they get an answer.

They read meanwhile, and note what they were told and when, for `history`.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from math import inf
from typing import Any, NamedTuple

import aiohttp
from yarl import URL

from rowlock.client import Answer as Told
from rowlock.client import Attempt, Budget, Caller, CallFailed, Options, Repeat, until_known
from rowlock.client.declared import find_next
from rowlock.ops.drill.journal import DONE, Call, Effect, Journal, Leg

RETRY_S = 0.05
GIVE_UP_S = 60.0  # after the first try of a request
PAUSE_S = 0.02  # the longest between two writes of a client

NO_ANSWER = 0
# With DONE, the answers that tell a client the outcome of its write.
REFUSED = frozenset({400, 404, 409})
TRY_AGAIN = frozenset({503, NO_ANSWER})
DEMO_USERS = 4  # they are hot
NEW_USERS = 0.2  # of the users: one that a client has created
READ_BACK = 0.5  # of the writes, right after they are acknowledged
REFERENCES = 0.3  # of the documents that may have one
TAKEN_REFERENCES = 0.1  # of those: one that another document has


@dataclass(frozen=True, slots=True)
class Grounds:
    """The data that clients work on."""

    prices: dict[int, int]  # of products, by id
    slugs: dict[str, int]  # the same, by slug
    service_ids: list[str]
    project_ids: list[int]
    secret: str  # of each of these projects


class Request(NamedTuple):
    """What a client sends."""

    kind: str  # for the report
    method: str
    service: str
    path: str
    key: str | None = None  # of idempotency, and the request's id; None: it is a read
    headers: Mapping[str, str] = {}
    body: dict[str, Any] | None = None


class Answer(NamedTuple):
    """What a service has answered in the end."""

    call: Call
    status: int
    body: Any = None
    next_page: str | None = None
    request: Request | None = None  # of a write

    @property
    def is_done(self) -> bool:
        """Whether the write has taken effect."""
        return self.status in DONE

    @property
    def is_refused(self) -> bool:
        """Whether it has not, and never will."""
        return self.status in REFUSED


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
    give_up_s: float = GIVE_UP_S
    username: str = ""  # of the last account opened
    own: dict[str, Any] = field(default_factory=dict)  # what no other client changes
    _callers: dict[str, Caller] = field(init=False)

    def __post_init__(self) -> None:
        self._callers = {
            name: Caller(
                url,
                session=self.session,
                policy=until_known(self.give_up_s, RETRY_S),
                budget=Budget(reserve=inf),  # it asks again, however many others do
                on_attempt=self._count,
            )
            for name, url in self.urls.items()
        }

    async def run(self, stop: asyncio.Event, acts: "Mapping[Act, int]") -> None:
        """Write and read until told to stop, and then until the last write has its answer.

        `acts` are what it does, and how often.
        """
        while not stop.is_set():
            [act] = self.rng.choices(list(acts), list(acts.values()))
            await act(self)
            await asyncio.sleep(self.rng.uniform(0, PAUSE_S))

    async def send(
        self,
        kind: str,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        service: str = "commerce",
    ) -> Answer:
        """Send a write until its outcome is known; return its answer.

        Its status is NO_ANSWER if there is none after `give_up_s`, or one that no service may give.
        """
        key = f"{self.rng.getrandbits(128):032x}"
        headers = {}
        if service == "events":
            body = {**(body or {}), "request_id": key}
        if path == "/deployment/webhook":
            headers["Authorization"] = self.grounds.secret
        elif service != "commerce":
            headers["Authorization"] = f"Bearer development-{service}-token"
        return await self.repeat(Request(kind, method, service, path, key, headers, body))

    async def repeat(self, request: Request) -> Answer:
        """Send a write, with the key that it has, until its outcome is known."""
        answer, failure = await self._request(request)
        if answer.status in DONE | REFUSED:
            self.journal.answers[request.kind, answer.status] += 1
            if answer.is_done and request.key:
                self.journal.caused_by(request.key, request.kind)
            return answer._replace(request=request)
        at = self.urls[request.service]
        self.journal.problems.append(f"{failure} at {at} in the end, request {request.key}")
        return Answer(answer.call._replace(responded=inf), NO_ANSWER)

    async def ask(self, path: str) -> Answer:
        """Read from commerce, once; there may be no answer while it is down."""
        answer, failure = await self._request(Request("look", "GET", "commerce", path))
        if answer.status in TRY_AGAIN:
            await asyncio.sleep(RETRY_S)
            return answer._replace(status=NO_ANSWER)
        if answer.status not in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}:
            at = self.urls["commerce"]
            self.journal.problems.append(f"{failure} at {at}: {answer.body}")
            return answer._replace(status=NO_ANSWER)
        return answer

    def note(self, answer: Answer, effect: Effect) -> None:
        """Note what an answer tells."""
        self.journal.operations.append((answer.call, effect))

    def doubt(self, answer: Answer, *legs: Leg) -> None:
        """Note what a write may have done to balances, if its outcome is unknown."""
        if answer.status == NO_ANSWER:
            self.journal.doubts.extend(legs)

    def expect(self, is_so: bool, answer: Answer, what: str) -> None:
        """Note a problem if the answer is not as it must be."""
        if not is_so:
            told = f"{answer.call} was answered {answer.status} {answer.body}: {what}"
            self.journal.problems.append(told)

    def reads_back(self) -> bool:
        """Tell whether to look at what was just written."""
        return self.rng.random() < READ_BACK

    def any_user(self) -> int:
        """Return one of the users that every client works on."""
        if self.rng.random() < NEW_USERS and (user_id := self.recent("users")):
            return int(user_id)
        return self.rng.randint(1, DEMO_USERS)

    def recent(self, kind: str) -> Any:
        """Return something recent, so that clients meet; None if there is nothing."""
        recent = self.journal.recent[kind]
        return self.rng.choice(recent) if recent else None

    def reference(self, kind: str) -> dict[str, str]:
        """Return the part of a body with the client's own name for a document, or nothing.

        Some are names that another document has: those must be refused.
        """
        if self.rng.random() > REFERENCES:
            return {}
        if self.rng.random() < TAKEN_REFERENCES and (taken := self.recent(f"{kind} references")):
            return {"reference": taken}
        return {"reference": f"drill-{self.rng.getrandbits(64):x}"}

    async def _request(self, request: Request) -> tuple[Answer, CallFailed | None]:
        """Send a write until its outcome is known, a read once; return the last answer."""
        caller = self._callers[request.service]
        # Only what is fresh fits the history, also where lists may come from a standby.
        options = Options(fresh=True, policy=replace(caller.policy, attempts=1))
        repeat = None
        if request.key is not None:
            options = Options(request_id=request.key)
            if request.service == "events":
                repeat = Repeat.BY_NATURE  # by the event's id
            elif request.method != "GET":
                options["idempotency_key"] = request.key
        now = asyncio.get_running_loop().time
        invoked = now()
        answered: Told | None
        failure = None
        try:
            answered = await caller.request(
                request.method,
                request.path,
                json=request.body,
                headers=request.headers,
                repeat=repeat,
                **options,
            )
        except CallFailed as error:
            failure = error
            answered = error.answer
        call = Call(f"{request.method} {request.path}", invoked, now())
        if answered is None:
            return Answer(call._replace(responded=inf), NO_ANSWER), failure
        following = find_next(answered.headers)
        next_page = URL(following, encoded=True).raw_path_qs if following else None
        return Answer(call, answered.status, answered.body, next_page), failure

    def _count(self, attempt: Attempt) -> None:
        self.journal.retries += attempt.number > 1
        if attempt.answer is not None:
            self.journal.replays += "Idempotency-Replayed" in attempt.answer.headers


Act = Callable[[Client], Awaitable[None]]
