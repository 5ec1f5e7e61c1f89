"""The events service's intake, as the relay sees it: what it answers to a delivery."""

import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import orjson
import structlog

from rowlock.errors import EpochOutdated, LeaseLost
from rowlock.http.request_ids import REQUEST_ID
from rowlock.http.senders import EPOCH, SOURCE
from rowlock.settings import Settings

if TYPE_CHECKING:
    from uuid import UUID

    from rowlock.engine.typed.outbox import ReadEventsRow

OK = 200
BAD_REQUEST = 400
CONFLICT = 409
TOO_LARGE = 413
# Statuses that reject the events themselves, not our request, the network or the service's state.
REFUSALS = frozenset({BAD_REQUEST, TOO_LARGE, 422})
UNAUTHORIZED = frozenset({401, 403})
ANSWER_LENGTH = 1000  # of what is kept of an answer


class Stored(NamedTuple):
    """The events service has the events."""

    conflicts: Collection[str]  # ids of those that it has with another content
    duration_s: float


class Refused(NamedTuple):
    """The events service refuses the events for their content."""

    status: int
    answer: str


class Failed(NamedTuple):
    """The delivery has failed, for a reason that may pass."""

    reason: str  # unreachable, or http_ and the status
    problem: str
    status: int = 0  # 0: there was no answer


class Parcel(NamedTuple):
    """Events of the log `source`, packed for one delivery."""

    source: "UUID"
    events: Sequence["ReadEventsRow"]
    body: bytes

    @classmethod
    def of(
        cls, source: "UUID", events: Sequence["ReadEventsRow"], *, with_actors: bool = True
    ) -> "Parcel":
        """Pack events."""
        describe = _describe_with_actor if with_actors else _describe
        # A position is drawn under the lock of the event's subject. So positions give the order of
        # two transactions that changed one subject, whichever got its transaction id first.
        in_order = sorted(events, key=itemgetter("position"))
        # Payloads are passed on as PostgreSQL holds them.
        body = orjson.dumps({"events": [describe(event) for event in in_order]})
        return cls(source, events, body)


class Intake:
    """Posts events in one term of the relay's lease."""

    def __init__(self, session: aiohttp.ClientSession, url: str, epoch: int) -> None:
        self._session = session
        self._url = url
        self._epoch = str(epoch)

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: Settings, epoch: int) -> AsyncIterator["Intake"]:
        """Lend an intake with a session of its own."""
        addresses = settings.addresses
        headers = {
            "Authorization": f"Bearer {addresses.events_token}",
            "Content-Type": "application/json",
        }
        timeout = aiohttp.ClientTimeout(total=settings.delivery.relay_timeout_s)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            yield cls(session, f"{addresses.events_address}/events/batch", epoch)

    async def post(self, parcel: Parcel) -> Stored | Refused | Failed:
        """Post a parcel. Raises LeaseLost if a later leader has posted.

        An events service of release 0.1.0 refuses the field `actor`. So events that are refused
        with their actors are posted once more without: there an event is worth more than its actor.
        """
        outcome = await self._post(parcel)
        has_actors = any(event["actor"] is not None for event in parcel.events)
        if isinstance(outcome, Refused) and outcome.status == BAD_REQUEST and has_actors:
            return await self._post(Parcel.of(parcel.source, parcel.events, with_actors=False))
        return outcome

    async def _post(self, parcel: Parcel) -> Stored | Refused | Failed:
        headers = {
            SOURCE: str(parcel.source),
            EPOCH: self._epoch,
            # Sent so that the events service's log lines carry this delivery's id.
            REQUEST_ID: structlog.contextvars.get_contextvars()["delivery_id"],
        }
        started = time.perf_counter()
        try:
            async with self._session.post(
                self._url, data=parcel.body, headers=headers, allow_redirects=False
            ) as response:
                answer = await response.text(errors="replace")
        except (aiohttp.ClientError, TimeoutError) as error:
            return Failed("unreachable", f"{type(error).__name__}: {error}")
        conflicts = _read_conflicts(answer, parcel.events) if response.status == OK else None
        if conflicts is not None:
            return Stored(conflicts, time.perf_counter() - started)
        return _judge(response.status, answer)


def _judge(status: int, answer: str) -> Refused | Failed:
    """Return what an answer means that does not say that the events are stored."""
    code = _read(answer).get("error")
    if status == CONFLICT and code == EpochOutdated.code:
        raise LeaseLost
    # A 413 may also be a proxy's: smaller batches help there, too.
    if status == TOO_LARGE or (status in REFUSALS and code is not None):
        return Refused(status, answer[:ANSWER_LENGTH])
    problem = f"HTTP {status}: {answer[:ANSWER_LENGTH]}"
    if status in UNAUTHORIZED:
        problem = f"ROWLOCK_EVENTS_TOKEN is not accepted there ({problem})"
    return Failed(f"http_{status}", problem, status)


def _read_conflicts(answer: str, events: Sequence["ReadEventsRow"]) -> Collection[str] | None:
    """Return the conflicts that an answer names; None if it does not say that all are stored.

    A bare 200 may come from a proxy, such as its login page.
    """
    match _read(answer):
        case {"accepted": int(accepted), "duplicates": int(duplicates), **others}:
            conflicts = others.get("conflicts", [])
            ids = {str(event["event_id"]) for event in events}
            if accepted + duplicates == len(events) and isinstance(conflicts, list):
                return ids.intersection(each for each in conflicts if isinstance(each, str))
    return None


def _read(answer: str) -> dict[str, Any]:
    """Return the JSON object in `answer`; an empty one if there is none."""
    try:
        read = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return {}
    return read if isinstance(read, dict) else {}


def _describe(event: "ReadEventsRow") -> dict[str, Any]:
    return {
        "event_id": str(event["event_id"]),
        "name": event["name"],
        "subject": event["subject"],
        "payload": orjson.Fragment(event["payload"]),
        "request_id": event["request_id"],
        "created_at": event["created_at"],
    }


def _describe_with_actor(event: "ReadEventsRow") -> dict[str, Any]:
    described = _describe(event)
    if event["actor"] is not None:
        described["actor"] = event["actor"]
    return described
