"""The events service's intake, as the relay sees it: what it answers to a delivery."""

import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import orjson
import structlog

from rowlock.delivery.places import Mark, Place
from rowlock.errors import LeaseLost
from rowlock.http.request_ids import REQUEST_ID
from rowlock.http.senders import EPOCH, LOG, LOG_MARK, MARK, SOURCE
from rowlock.rejections import EpochOutdated, LogMoved
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
LOG_LENGTH = 200  # of a log's name at most


class Stored(NamedTuple):
    """The events service has the events."""

    conflicts: Collection[str]  # ids of those that it has with another content
    duration_s: float
    log: str | None = None  # what it calls its log; None: it doesn't say, as release 0.2.0


class Moved(NamedTuple):
    """The events service has not stored the events: its log is not the one that is known."""

    told: Mark


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

    @property
    def end(self) -> Place:
        """The place of its last event."""
        return Place(self.events[-1]["xid"], self.events[-1]["position"])

    @classmethod
    def of(
        cls, source: "UUID", events: Sequence["ReadEventsRow"], *, with_traces: bool = True
    ) -> "Parcel":
        """Pack events, which are in the order of the log."""
        describe = _describe_with_trace if with_traces else _describe
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

    async def post(
        self, parcel: Parcel, known: Mark | None, *, out_of_turn: bool = False
    ) -> Stored | Refused | Moved | Failed:
        """Post a parcel to the log that is `known`, or to any if None is.

        What is posted out of turn leaves the log's mark where it is. Raises LeaseLost if a later
        leader has posted.

        An events service of release 0.2.0 refuses the field `traceparent`. So events that are
        refused with it are posted once more without: an event is worth more than its trace.
        """
        headers = self._headers(parcel, known, out_of_turn=out_of_turn)
        outcome = await self._post(parcel, headers)
        has_traces = any(event["traceparent"] is not None for event in parcel.events)
        if isinstance(outcome, Refused) and outcome.status == BAD_REQUEST and has_traces:
            without = Parcel.of(parcel.source, parcel.events, with_traces=False)
            return await self._post(without, headers)
        return outcome

    def _headers(self, parcel: Parcel, known: Mark | None, *, out_of_turn: bool) -> dict[str, str]:
        headers = {
            SOURCE: str(parcel.source),
            EPOCH: self._epoch,
            # Sent so that the events service's log lines carry this delivery's id.
            REQUEST_ID: structlog.contextvars.get_contextvars()["delivery_id"],
        }
        if parcel.events and not out_of_turn:
            headers[MARK] = str(parcel.end)
        if known is not None:
            headers[LOG] = known.log
            if known.place is not None:
                headers[LOG_MARK] = str(known.place)
        return headers

    async def _post(
        self, parcel: Parcel, headers: dict[str, str]
    ) -> Stored | Refused | Moved | Failed:
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
            log = _read_log(_read(answer))
            return Stored(conflicts, time.perf_counter() - started, log)
        return _judge(response.status, answer)


def _judge(status: int, answer: str) -> Refused | Moved | Failed:
    """Return what an answer means that does not say that the events are stored."""
    read = _read(answer)
    code = read.get("error")
    if status == CONFLICT and code == EpochOutdated.code:
        raise LeaseLost
    if status == CONFLICT and code == LogMoved.code:
        details = read.get("details", read)
        log, mark = _read_log(details), details.get("mark")
        place = Place.parse(mark)
        # A mark that is no place can't be sent back.
        if log is not None and (mark is None or place is not None):
            return Moved(Mark(log, place))
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


def _read_log(answer: dict[str, Any]) -> str | None:
    """Return what an answer calls the log; None if it does not say."""
    log = answer.get("log")
    return log if isinstance(log, str) and 0 < len(log) <= LOG_LENGTH else None


def _read(answer: str) -> dict[str, Any]:
    """Return the JSON object in `answer`; an empty one if there is none."""
    try:
        read = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return {}
    return read if isinstance(read, dict) else {}


def _describe(event: "ReadEventsRow") -> dict[str, Any]:
    described = {
        "event_id": str(event["event_id"]),
        "name": event["name"],
        "subject": event["subject"],
        "payload": orjson.Fragment(event["payload"]),
        "request_id": event["request_id"],
        "created_at": event["created_at"],
    }
    if event["actor"] is not None:
        described["actor"] = event["actor"]
    return described


def _describe_with_trace(event: "ReadEventsRow") -> dict[str, Any]:
    described = _describe(event)
    if event["traceparent"] is not None:
        described["traceparent"] = event["traceparent"]
    return described
