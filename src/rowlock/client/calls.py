"""One call: a request that is sent until its outcome is known, as often as its policy allows."""

import asyncio
import math
import random
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, Self, TypedDict, Unpack

import aiohttp
import orjson
from yarl import URL

from rowlock import __version__
from rowlock.client.failures import Answer, OutcomeUnknown, Refused, Sent, Unavailable
from rowlock.client.retries import LEAST_ATTEMPT_S, Budget, Policy, read_retry_after

READS = frozenset({"GET", "HEAD"})
SUCCESSES = range(200, 300)
NOT_MODIFIED = 304
INTERNAL_ERROR = 500
RETRIED = frozenset({429, 502, 503, 504})
# Answers after which Rowlock, and not a proxy before it, has done nothing; but for one code.
UNTOUCHED = frozenset({429, 503})
OUTCOME_UNKNOWN = "outcome_unknown"
# Refusals that an idempotency key does not keep: they say nothing of an attempt before, which may
# have met another process, of another release.
NOT_KEPT = frozenset({401, 403, 405, 413, 415, 429, 431})
NOT_KEPT_CODES = frozenset({"invalid_json", "invalid_request", "not_found"})
# What is posted there has no key, in any service.
UNKEPT = re.compile(r"/events|/events/batch|/keys|/keys/[^/]+/rotate")
HTTP_URL = re.compile(r"https?://[^/]", re.IGNORECASE)
JSON = "application/json"


class Repeat(Enum):
    """Why a request may be sent again; or that it may not."""

    READ = "it changes nothing"
    BY_KEY = "its idempotency key lets it take effect once"
    BY_NATURE = "to do it twice is to do it once"
    NEVER = "the service keeps no key of it"


def default_repeat(method: str, path: str) -> Repeat:
    """Return why a request may be sent again, by its route alone."""
    if method in READS:
        return Repeat.READ
    is_kept = method != "POST" or not UNKEPT.fullmatch(path.partition("?")[0])
    return Repeat.BY_KEY if is_kept else Repeat.NEVER


class Options(TypedDict, total=False):
    """What every call takes. All may be left out."""

    idempotency_key: str  # of a write: your own, such as an order's number; else one is made
    request_id: str  # is in the service's log, and in the event
    traceparent: str  # of W3C Trace Context, is passed on
    policy: Policy  # in place of the client's
    fresh: bool  # a list that may come from a standby must have all that was acknowledged


OPTIONS = frozenset(Options.__annotations__)


class Attempt(NamedTuple):
    """One attempt of a call, for a client's `on_attempt`. Times are the event loop's."""

    sent: Sent
    number: int  # from 1 on
    began: float
    ended: float
    answer: Answer | None
    problem: str  # in place of an answer


class _Outcome(NamedTuple):
    """What became of one attempt."""

    answer: Answer | None
    problem: str = ""
    may_have_acted: bool = False
    is_final: bool = False  # sent again, it would fare no better

    @property
    def was_sent(self) -> bool:
        """Whether the request may have got as far as the service."""
        return self.answer is not None or self.may_have_acted


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent each time."""

    sent: Sent
    url: URL
    headers: Mapping[str, str] = field(repr=False)  # the token is among them
    body: bytes | None = field(repr=False)
    repeat: Repeat


class Caller:
    """A service of Rowlock at a URL, and the calls to it. A context, which closes its session.

    `token` is the service's, or an API key. `budget` bounds the retries of all calls. A `session`
    of the caller's stays open. `on_attempt` is told of each attempt. Raises ValueError for a `url`
    that is none of HTTP.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        policy: Policy | None = None,
        budget: Budget | None = None,
        session: aiohttp.ClientSession | None = None,
        on_attempt: Callable[[Attempt], None] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        if not HTTP_URL.match(url):
            raise ValueError(f"The URL of a service begins with http:// or https://, not as {url}.")
        self.policy = policy or Policy()
        self._url = url.rstrip("/")
        self._budget = budget or Budget()
        self._session = session
        self._owns_session = session is None
        self._on_attempt = on_attempt
        self._rng = rng or random.Random()  # noqa: S311
        self._headers = {"Accept": JSON, "User-Agent": f"rowlock-client/{__version__}"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the session, unless it is the caller's."""
        if self._owns_session and self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session, made when it is first used. It keeps no cookies."""
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        repeat: Repeat | None = None,
        **options: Unpack[Options],
    ) -> Answer:
        """Make any call of the API, and return its answer of 2xx or 304. Raises CallFailed.

        A write gets an idempotency key, and one that the service keeps no key of is sent once,
        unless `repeat` says otherwise. `path` is percent-encoded. A body that is not JSON is
        returned as bytes.
        """
        request = self.prepare(
            method, path, options, json=json, query=query, headers=headers, repeat=repeat
        )
        return await self.perform(request, options.get("policy") or self.policy)

    def prepare(
        self,
        method: str,
        path: str,
        options: Options,
        *,
        json: Any = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        repeat: Repeat | None = None,
    ) -> Request:
        """Return a request as it is sent each time. Raises TypeError and ValueError."""
        if unknown := options.keys() - OPTIONS:
            raise TypeError(f"No call takes {', '.join(sorted(unknown))}.")
        if not path.startswith("/"):  # it could be a part of the host, which gets the token
            raise ValueError(f"A path begins with a slash, not as {path}.")
        method = method.upper()  # as it is sent
        if repeat is None:
            repeat = default_repeat(method, path)
        key = options.get("idempotency_key")
        if key is not None and not key:
            raise ValueError(f"The idempotency key of {method} {path} is empty.")
        if repeat is Repeat.BY_KEY:
            key = key or str(uuid.uuid4())
        elif key is not None:
            raise ValueError(f"{method} {path} takes no idempotency key: {repeat.value}.")
        request_id, traceparent = options.get("request_id"), options.get("traceparent")
        own = {
            **({"Content-Type": JSON} if json is not None else {}),
            **({"Idempotency-Key": key} if key else {}),
            **({"X-Request-ID": request_id} if request_id else {}),
            **({"traceparent": traceparent} if traceparent else {}),
            **({"Cache-Control": "no-cache"} if options.get("fresh") else {}),
        }
        url = URL(self._url + path, encoded=True)
        return Request(
            Sent(method, path, key, request_id),
            url.update_query(query) if query else url,
            {**self._headers, **own, **(headers or {})},
            None if json is None else orjson.dumps(json),
            repeat,
        )

    async def perform(self, request: Request, policy: Policy) -> Answer:
        """Send a request until its outcome is known, or `policy` ends it. Raises CallFailed."""

        async def once(limits: aiohttp.ClientTimeout) -> Answer:
            async with await self._open(request, limits) as response:
                return Answer(
                    response.status, response.headers, _read(response, await response.read())
                )

        return await self._repeat(request, policy, once)

    @asynccontextmanager
    async def opened(
        self, request: Request, policy: Policy, silence_s: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Lend the answer to a read, whose body comes bit by bit, once there is one of 200.

        It may be silent for `silence_s` at most. Raises CallFailed, but for what happens later.
        """
        found: list[aiohttp.ClientResponse] = []

        async def once(limits: aiohttp.ClientTimeout) -> Answer:
            patient = aiohttp.ClientTimeout(
                total=None, sock_connect=limits.sock_connect, sock_read=silence_s
            )
            async with asyncio.timeout(limits.total):
                response = await self._open(request, patient)
            if response.status in SUCCESSES:
                found.append(response)
                return Answer(response.status, response.headers)
            async with response, asyncio.timeout(limits.total):
                return Answer(
                    response.status, response.headers, _read(response, await response.read())
                )

        await self._repeat(request, policy, once)
        [response] = found
        try:
            yield response
        finally:
            response.close()

    async def _repeat(
        self,
        request: Request,
        policy: Policy,
        once: Callable[[aiohttp.ClientTimeout], Awaitable[Answer]],
    ) -> Answer:
        now = asyncio.get_running_loop().time
        deadline = now() + policy.deadline_s
        last_start = deadline - LEAST_ATTEMPT_S
        self._budget.call()
        may_have_acted = False
        number = 0
        while True:
            number += 1
            began = now()
            outcome = await _attempt(once, policy, deadline - began)
            if self._on_attempt is not None:
                answer, problem = outcome.answer, outcome.problem
                self._on_attempt(Attempt(request.sent, number, began, now(), answer, problem))
            if outcome.answer is not None and _is_done(outcome.answer):
                return outcome.answer
            may_have_acted |= outcome.may_have_acted and request.repeat is not Repeat.READ
            told = outcome.answer.headers.get("Retry-After") if outcome.answer else None
            pause_s = policy.pause_s(number, read_retry_after(told), self._rng)
            if (
                outcome.is_final
                or (request.repeat is Repeat.NEVER and outcome.was_sent)
                or number == policy.attempts
                or now() + pause_s >= last_start
                or not self._budget.retry()
            ):
                _fail(request, outcome, number, may_have_acted=may_have_acted)
            await asyncio.sleep(pause_s)
            if now() >= last_start:  # a busy event loop has slept for longer
                _fail(request, outcome, number, may_have_acted=may_have_acted)

    async def _open(
        self, request: Request, limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        return await self.session.request(
            request.sent.method,
            request.url,
            data=request.body,
            headers=request.headers,
            timeout=limits,
            allow_redirects=False,  # Rowlock sends none, and the token is not for others
        )


async def _attempt(
    once: Callable[[aiohttp.ClientTimeout], Awaitable[Answer]], policy: Policy, left_s: float
) -> _Outcome:
    """Send a request once; return what came of it."""
    timeout = aiohttp.ClientTimeout(
        total=min(policy.attempt_timeout_s, left_s),
        sock_connect=policy.connect_timeout_s,
        ceil_threshold=math.inf,  # or more than 5 s would end with a whole second of the clock
    )
    try:
        answer = await once(timeout)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        return _Outcome(None, f"no connection: {error}")
    except TimeoutError:
        return _Outcome(None, "no answer in time", may_have_acted=True)
    except aiohttp.InvalidURL:
        raise
    except (aiohttp.ClientError, OSError, orjson.JSONDecodeError) as error:
        # Not its repr: that of aiohttp may have the headers, and so the token.
        return _Outcome(None, f"no answer: {type(error).__name__}: {error}", may_have_acted=True)
    if _is_done(answer):
        return _Outcome(answer)
    is_told = answer.status in UNTOUCHED and bool(answer.error)
    may_have_acted = answer.status >= INTERNAL_ERROR and (
        not is_told or answer.error["error"] == OUTCOME_UNKNOWN
    )
    is_final = answer.status not in RETRIED
    return _Outcome(answer, may_have_acted=may_have_acted, is_final=is_final)


def _fail(request: Request, outcome: _Outcome, number: int, *, may_have_acted: bool) -> NoReturn:
    """Raise what a call ends with that is not done."""
    answer = outcome.answer
    is_refusal = answer is not None and answer.status < INTERNAL_ERROR
    kind: type[Refused | Unavailable | OutcomeUnknown]
    if may_have_acted and not (is_refusal and answer is not None and _is_kept(answer)):
        kind = OutcomeUnknown
    elif is_refusal and outcome.is_final:
        kind = Refused
    else:
        kind = Unavailable
    raise kind(request.sent, answer, outcome.problem, number)


def _is_kept(refusal: Answer) -> bool:
    """Tell whether a refusal is Rowlock's, and what its key would get for any attempt."""
    code = refusal.error.get("error")
    return bool(code) and refusal.status not in NOT_KEPT and code not in NOT_KEPT_CODES


def _is_done(answer: Answer) -> bool:
    return answer.status in SUCCESSES or answer.status == NOT_MODIFIED


def _read(response: aiohttp.ClientResponse, body: bytes) -> Any:
    if not body:
        return None
    return orjson.loads(body) if response.content_type.endswith("json") else body
