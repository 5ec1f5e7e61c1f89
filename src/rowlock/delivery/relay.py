"""The relay delivers the outbox to the events service: one leader, in order, at least once."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import structlog

from rowlock.delivery.intake import (
    ANSWER_LENGTH,
    CONFLICT,
    Failed,
    Intake,
    Parcel,
    Refused,
    Stored,
)
from rowlock.delivery.pace import Pace
from rowlock.engine.database import Connection, Database
from rowlock.engine.leases import lead
from rowlock.engine.metrics import SECONDS, Meter, counter, histogram
from rowlock.engine.outbox import LEASE
from rowlock.engine.statements import queries
from rowlock.engine.tasks import Task
from rowlock.engine.wakes import SharedWake, Wake
from rowlock.errors import EventIdConflict, LeaseLost, OutboxStranded
from rowlock.http.request_ids import new_request_id
from rowlock.settings import Settings

if TYPE_CHECKING:
    from rowlock.engine.typed.outbox import ReadEventsRow

COMPARED_EVENTS = 1000  # among which another event is looked for, beside one that fails

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


class Relay:
    """Takes events from a database's outbox to the events service, as the leader."""

    def __init__(
        self, database: Database, settings: Settings, meter: Meter, appended: SharedWake
    ) -> None:
        """Make the relay; `appended` wakes it."""
        self.task = Task("event_relay", self.run)
        self._database = database
        self._settings = settings
        self._meter = meter
        self._appended = appended

    async def run(self) -> None:
        """Deliver events for as long as this process leads; wait for the lead otherwise."""
        await lead(LEASE, self._database, self._deliver_all, self._settings.leases)

    async def _deliver_all(self, epoch: int) -> None:
        async with self._database.connection() as connection:
            [row] = await queries.outbox.find_stranded(connection)
        if row["stranded"]:
            raise OutboxStranded
        # Only the leader delivers: no other process need know while this is the one.
        with self._appended.kept():
            async with Intake.opened(self._settings, epoch) as intake:
                term = _Term(
                    self._database, intake, self._settings, self._meter, self._appended, epoch=epoch
                )
                while True:
                    await term.deliver_next()


class _Term:
    """The work of one leader, from when it gets the lease until it loses it.

    Two may deliver at once if one doesn't know yet that it was replaced. The events service refuses
    the older one once the newer one has sent events. Before that, each sends a run of events from
    the cursor on, and the events service stores each event once, so order holds.
    """

    def __init__(
        self,
        database: Database,
        intake: Intake,
        settings: Settings,
        meter: Meter,
        appended: Wake,
        *,
        epoch: int,
    ) -> None:
        self._database = database
        self._intake = intake
        self._settings = settings
        self._meter = meter
        self._appended = appended
        self._epoch = epoch
        self._looked = 0.0  # when it looked at the outbox last, by the loop's clock
        self._pace = Pace(settings.delivery)
        self._pause_s = settings.delivery.relay_retry_s
        self._ahead: Parcel | None = None  # what follows the last delivery, if it was read

    async def deliver_next(self) -> None:
        """Try to deliver what comes next, as soon as there is something.

        Each try begins with a look at the log: a relay that has lost the database posts nothing.
        Where it is what was read ahead, the cursor has moved since. Events are parked that the
        events service refuses; and one that keeps failing while another one goes through. Where
        none goes through, they wait.
        """
        parcel, self._ahead = self._ahead, None
        if parcel is None or not parcel.events:
            parcel = await self._next_parcel()
        events = parcel.events
        with structlog.contextvars.bound_contextvars(delivery_id=new_request_id()):
            async with self._reading_ahead(events) as ahead:
                outcome = await self._intake.post(parcel)
                if isinstance(outcome, Failed) and self._pace.gives_up:
                    outcome = await self._compare(parcel, outcome)
                match outcome:
                    case Stored():
                        await self._settle(events, outcome)
                        self._ahead = await ahead if ahead is not None else None
                    case Refused() if len(events) > 1:
                        self._pace.split(len(events))
                    case Refused():
                        [event] = events
                        await self._park(event, outcome)
                        await self._advance(events)
                        self._pace.parked()
                    case Failed():
                        self._pace.failed(len(events))
                        await self._wait(outcome)

    async def _next_parcel(self) -> Parcel:
        """Return what the next delivery has, waiting for something.

        A lone event is found at once. While there are many, those of a moment go together. And
        what a running transaction holds back is looked for again soon, as not all of them wake this
        relay.
        """
        delivery = self._settings.delivery
        while True:
            await self._gather()
            async with self._database.connection() as connection:
                parcel, is_complete = await _read(connection, self._pace.size)
            if parcel.events:
                return parcel
            if is_complete:
                await self._appended.wait(delivery.relay_poll_s)

    async def _gather(self) -> None:
        """Leave a moment between two looks at the outbox."""
        now = asyncio.get_running_loop().time()
        left_s = self._looked + self._settings.delivery.relay_gather_s - now
        if left_s > 0:
            await asyncio.sleep(left_s)
        self._looked = max(now, now + left_s)

    @asynccontextmanager
    async def _reading_ahead(
        self, events: Sequence["ReadEventsRow"]
    ) -> AsyncIterator[asyncio.Task[Parcel] | None]:
        """Read what follows `events`, while they are delivered, if they are a full page."""
        if len(events) < self._settings.delivery.relay_batch_events:
            yield None
            return
        last = events[-1]
        ahead = asyncio.create_task(self._read_after(last["xid"], last["position"]))
        try:
            yield ahead
        finally:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)

    async def _read_after(self, xid: int, position: int) -> Parcel:
        async with self._database.connection() as connection:
            parcel, _ = await _read(connection, self._pace.size, (xid, position))
        return parcel

    async def _compare(self, parcel: Parcel, failure: Failed) -> Stored | Refused | Failed:
        """Post another event and then this one again; if only this one fails, it is refused.

        The other one is the first of its subject, so that order within a subject holds.
        """
        [event] = parcel.events
        async with self._database.connection() as connection:
            others, _ = await _read(connection, COMPARED_EVENTS)
        in_order = sorted(others.events, key=itemgetter("position"), reverse=True)
        firsts = {other["subject"]: other for other in in_order}
        firsts.pop(event["subject"], None)
        if not firsts:
            return failure
        other = random.choice([*firsts.values()])  # noqa: S311
        other_parcel = Parcel.of(parcel.source, [other])
        if not isinstance(await self._intake.post(other_parcel), Stored):
            return failure
        outcome = await self._intake.post(parcel)
        if isinstance(outcome, Failed):
            return Refused(outcome.status, outcome.problem[:ANSWER_LENGTH])
        return outcome

    async def _settle(self, events: Sequence["ReadEventsRow"], stored: Stored) -> None:
        for event in events:
            if str(event["event_id"]) in stored.conflicts:
                await self._park(event, Refused(CONFLICT, EventIdConflict().message))
        await self._advance(events)
        self._note_delivery(events, stored.duration_s)
        self._pace.stored(len(events))
        self._pause_s = self._settings.delivery.relay_retry_s

    async def _wait(self, failure: Failed) -> None:
        self._meter.count(FAILURES, 1, failure.reason)
        logger.warning("relay_waits", problem=failure.problem, retry_s=round(self._pause_s, 1))
        await asyncio.sleep(self._pause_s * random.uniform(0.5, 1))  # noqa: S311
        self._pause_s = min(self._pause_s * 2, self._settings.delivery.relay_retry_limit_s)

    def _note_delivery(self, events: Sequence["ReadEventsRow"], duration_s: float) -> None:
        self._meter.count(DELIVERED, len(events))
        self._meter.time(DELIVERY_SECONDS, duration_s)
        if self._settings.logs.log_requests:
            duration_ms = round(duration_s * 1000, 2)
            logger.info("events_delivered", events=len(events), duration_ms=duration_ms)
        if self._settings.logs.log_level == "debug":
            for event in events:
                logger.debug("event_delivered", **_names(event))

    async def _park(self, event: "ReadEventsRow", refusal: Refused) -> None:
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


async def _read(
    connection: Connection, page_size: int, after: tuple[int, int] | None = None
) -> tuple[Parcel, bool]:
    """Return at most `page_size` events after a place in the log, and whether all are delivered.

    Without a place, it reads after the cursor. Raises OutboxStranded.
    """
    [cursor] = await queries.outbox.read_cursor(connection)
    if cursor["stranded"]:
        raise OutboxStranded
    events: Sequence[ReadEventsRow] = ()
    if not cursor["complete"]:
        xid, position = after or (cursor["xid"], cursor["position"])
        events = await queries.outbox.read_events(
            connection, xid=xid, position=position, page_size=page_size
        )
    return Parcel.of(cursor["source"], events), cursor["complete"]


def _names(event: "ReadEventsRow") -> dict[str, Any]:
    """Return the fields by which a log line names an event and the request that caused it."""
    return {
        "event_id": str(event["event_id"]),
        "name": event["name"],
        "request_id": event["request_id"],
    }
