"""The relay delivers the outbox to the events service: one leader, in order, at least once."""

import asyncio
import random
import time
from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import structlog

from rowlock.engine.database import Database
from rowlock.engine.leases import lead
from rowlock.engine.metrics import SECONDS, Meter, counter, histogram
from rowlock.engine.statements import queries
from rowlock.engine.tasks import Task
from rowlock.errors import LeaseLost, OutboxStranded
from rowlock.http.request_ids import REQUEST_ID, new_request_id
from rowlock.settings import Settings

if TYPE_CHECKING:
    from rowlock.engine.typed.outbox import ReadEventsRow

LEASE = "relay"
OK = 200
TOO_LARGE = 413
# Statuses that reject the events themselves, not our request, the network or the service's state.
REFUSALS = frozenset({400, TOO_LARGE, 422})
UNAUTHORIZED = frozenset({401, 403})

DELIVERED = counter(
    "rowlock_relay_delivered_events_total", "Events that the events service has taken."
)
DELIVERY_SECONDS = histogram(
    "rowlock_relay_delivery_duration_seconds", "A delivery that was answered with 2xx.", SECONDS
)
FAILURES = counter(
    "rowlock_relay_failures_total",
    "Deliveries that will be tried again, by the reason: unreachable, or http_ and the status.",
    "reason",
)
REFUSED = counter("rowlock_relay_refused_events_total", "Events that became dead letters.")

logger = structlog.get_logger(__name__)


class _Refused(Exception):
    """The events service refuses this batch for its content."""

    def __init__(self, status: int, answer: str) -> None:
        super().__init__(status, answer)
        self.status = status
        self.answer = answer


class Relay:
    """Takes events from a database's outbox to the events service, as the leader."""

    def __init__(self, database: Database, settings: Settings, meter: Meter) -> None:
        self.task = Task("event_relay", self.run)
        self._database = database
        self._settings = settings
        self._meter = meter

    async def run(self) -> None:
        """Deliver events for as long as this process leads; wait for the lead otherwise."""
        await lead(LEASE, self._database, self._deliver_all, self._settings.leases)

    async def _deliver_all(self, epoch: int) -> None:
        addresses, delivery = self._settings.addresses, self._settings.delivery
        async with self._database.connection() as connection:
            [row] = await queries.outbox.find_stranded(connection)
        if row["stranded"]:
            raise OutboxStranded
        async with aiohttp.ClientSession(
            headers={
                "Authorization": f"Bearer {addresses.events_token}",
                "Content-Type": "application/json",
            },
            timeout=aiohttp.ClientTimeout(total=delivery.relay_timeout_s),
        ) as session:
            term = _Term(self._database, session, self._settings, self._meter, epoch)
            while True:
                await term.deliver_next()


class _Term:
    """The work of one leader, from when it gets the lease until it loses it.

    Two may deliver at once if one doesn't know yet that it was replaced. Each sends a run of events
    from the cursor on, and the events service stores each event once, so order holds.
    """

    def __init__(
        self,
        database: Database,
        session: aiohttp.ClientSession,
        settings: Settings,
        meter: Meter,
        epoch: int,
    ) -> None:
        self._database = database
        self._session = session
        self._settings = settings
        self._url = f"{settings.addresses.events_address}/events/batch"
        self._meter = meter
        self._epoch = epoch

    async def deliver_next(self) -> None:
        """Deliver the next batch, as soon as there is one, retrying for ever."""
        events = await self._next_events()
        with structlog.contextvars.bound_contextvars(delivery_id=new_request_id()):
            await self._deliver(events)

    async def _next_events(self) -> Sequence["ReadEventsRow"]:
        """Return the events after the cursor, waiting for some."""
        delivery = self._settings.delivery
        # Kept while waiting: an idle service would spend a fifth of its time on the pool.
        async with self._database.connection() as connection:
            while True:
                [cursor] = await queries.outbox.read_cursor(connection)
                if cursor["stranded"]:
                    raise OutboxStranded
                events = await queries.outbox.read_events(
                    connection,
                    xid=cursor["xid"],
                    position=cursor["position"],
                    page_size=delivery.relay_batch_events,
                )
                if events:
                    return events
                await asyncio.sleep(delivery.relay_poll_s)

    async def _deliver(self, events: Sequence["ReadEventsRow"]) -> None:
        """Deliver a run of events; a refused one becomes a dead letter, the others go on."""
        try:
            await self._post(events)
        except _Refused as refusal:
            if len(events) > 1:
                middle = len(events) // 2
                await self._deliver(events[:middle])
                await self._deliver(events[middle:])
                return
            await self._park(events[0], refusal)
        await self._advance(events)

    async def _post(self, events: Sequence["ReadEventsRow"]) -> None:
        """Post the events, until the events service has stored them. Raises _Refused."""
        # A position is drawn under the lock of the event's subject. So positions give the order of
        # two transactions that changed one subject, whichever got its transaction id first.
        body = _body(sorted(events, key=itemgetter("position")))
        # Sent so that the events service's log lines carry this delivery's id.
        headers = {REQUEST_ID: structlog.contextvars.get_contextvars()["delivery_id"]}
        pause_s = self._settings.delivery.relay_retry_s
        while True:
            started = time.perf_counter()
            try:
                async with self._session.post(
                    self._url, data=body, headers=headers, allow_redirects=False
                ) as response:
                    answer = await response.text(errors="replace")
            except (aiohttp.ClientError, TimeoutError) as error:
                reason = "unreachable"
                problem = f"{type(error).__name__}: {error}"
            else:
                if response.status == OK and _count_stored(answer) == len(events):
                    self._note_delivery(events, time.perf_counter() - started)
                    return
                if _is_refusal(response.status, answer):
                    raise _Refused(response.status, answer[:1000])
                reason = f"http_{response.status}"
                problem = f"HTTP {response.status}: {answer[:1000]}"
                if response.status in UNAUTHORIZED:
                    problem = f"ROWLOCK_EVENTS_TOKEN is not accepted there ({problem})"
            self._meter.count(FAILURES, 1, reason)
            logger.warning("relay_waits", problem=problem, retry_s=round(pause_s, 1))
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311
            pause_s = min(pause_s * 2, self._settings.delivery.relay_retry_limit_s)

    def _note_delivery(self, events: Sequence["ReadEventsRow"], duration_s: float) -> None:
        self._meter.count(DELIVERED, len(events))
        self._meter.time(DELIVERY_SECONDS, duration_s)
        if self._settings.logs.log_requests:
            duration_ms = round(duration_s * 1000, 2)
            logger.info("events_delivered", events=len(events), duration_ms=duration_ms)
        if self._settings.logs.log_level == "debug":
            for event in events:
                logger.debug("event_delivered", **_names(event))

    async def _park(self, event: "ReadEventsRow", refusal: _Refused) -> None:
        async with self._database.transaction() as connection:
            [row] = await queries.outbox.park_event(
                connection,
                lease=LEASE,
                epoch=self._epoch,
                xid=event["xid"],
                position=event["position"],
                status=refusal.status,
                error=refusal.answer.replace("\0", "\ufffd"),  # PostgreSQL has no NUL in text
            )
        if not row["leads"]:
            raise LeaseLost
        if row["parked"]:
            self._meter.count(REFUSED)
            answer = refusal.answer
            logger.error("event_refused", status=refusal.status, answer=answer, **_names(event))

    async def _advance(self, events: Sequence["ReadEventsRow"]) -> None:
        async with self._database.transaction() as connection:
            [row] = await queries.outbox.advance_cursor(
                connection,
                lease=LEASE,
                epoch=self._epoch,
                xid=events[-1]["xid"],
                position=events[-1]["position"],
                last_position=max(event["position"] for event in events),
            )
        if not row["leads"]:
            raise LeaseLost


def _count_stored(answer: str) -> int | None:
    """Return how many events are stored, by what `answer` says; None if it does not say.

    A bare 200 may come from a proxy, such as its login page.
    """
    match _read(answer):
        case {"accepted": int(accepted), "duplicates": int(duplicates)}:
            return accepted + duplicates
    return None


def _is_refusal(status: int, answer: str) -> bool:
    """Tell whether the events service refuses the events for their content.

    A 413 may also be a proxy's: smaller batches help there, too.
    """
    return status == TOO_LARGE or (status in REFUSALS and "error" in _read(answer))


def _read(answer: str) -> dict[str, Any]:
    """Return the JSON object in `answer`; an empty one if there is none."""
    try:
        read = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return {}
    return read if isinstance(read, dict) else {}


def _names(event: "ReadEventsRow") -> dict[str, Any]:
    """Return the fields by which a log line names an event and the request that caused it."""
    return {
        "event_id": str(event["event_id"]),
        "name": event["name"],
        "request_id": event["request_id"],
    }


def _body(events: Sequence["ReadEventsRow"]) -> bytes:
    """Return the JSON of a batch; payloads are passed on as PostgreSQL holds them."""
    return orjson.dumps(
        {
            "events": [
                {
                    "event_id": str(event["event_id"]),
                    "name": event["name"],
                    "subject": event["subject"],
                    "payload": orjson.Fragment(event["payload"]),
                    "request_id": event["request_id"],
                    "created_at": event["created_at"],
                }
                for event in events
            ]
        },
    )
