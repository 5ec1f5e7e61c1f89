"""The relay delivers the outbox to the events service: one leader, in order, at least once."""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from rowlock.delivery.intake import (
    ANSWER_LENGTH,
    CONFLICT,
    Failed,
    Intake,
    Moved,
    Parcel,
    Refused,
    Stored,
)
from rowlock.delivery.pace import Pace
from rowlock.delivery.places import RESEND, Mark, Place, Return
from rowlock.delivery.rewinds import follow, go_back
from rowlock.engine.database import Connection, Database
from rowlock.engine.leases import lead
from rowlock.engine.metrics import SECONDS, Meter, counter, histogram
from rowlock.engine.outbox import LEASE
from rowlock.engine.statements import queries
from rowlock.engine.tasks import Task
from rowlock.engine.wakes import SharedWake, Wake
from rowlock.errors import LeaseLost, OutboxStranded
from rowlock.http.request_ids import new_request_id
from rowlock.origin import name_trace
from rowlock.rejections import EventIdConflict, LogMoved
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
    "Deliveries that will be tried again, by the reason: unreachable, log_moved, or http_ "
    "and the status.",
    "reason",
)
REWINDS = counter(
    "rowlock_relay_rewinds_total",
    "How often the relay went back to deliver again what is kept, by the reason: log_changed, "
    "mark_behind or resend.",
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
            [cursor] = await queries.outbox.read_cursor(connection)
        known = Mark.of(cursor["log"], cursor["mark_xid"], cursor["mark_position"])
        # Only the leader delivers: no other process need know while this is the one.
        with self._appended.kept():
            async with Intake.opened(self._settings, epoch) as intake:
                term = _Term(
                    self._database,
                    intake,
                    self._settings,
                    self._meter,
                    self._appended,
                    epoch=epoch,
                    known=known,
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
        known: Mark | None,
    ) -> None:
        self._database = database
        self._intake = intake
        self._settings = settings
        self._meter = meter
        self._appended = appended
        self._epoch = epoch
        self._known = known  # what the events service says of its log; only a leader notes it
        self._looked = 0.0  # when it looked at the outbox last, by the loop's clock
        self._answered = 0.0  # when the events service last answered
        self._returned = -math.inf  # when it went back last
        self._disagrees = (
            False  # what the events service said of its log last; a delivery ends that
        )
        self._pace = Pace(settings.delivery)
        self._pause_s = settings.delivery.relay_retry_s
        self._ahead: Parcel | None = None  # what follows the last delivery, if it was read

    async def deliver_next(self) -> None:
        """Try to deliver what comes next, as soon as there is something.

        Each try begins with a look at the log: a relay that has lost the database posts nothing. If
        the events were read ahead, moving the cursor has been that look. The relay parks events
        that the events service refuses, and one that keeps failing while another one goes through.
        If none goes through, all of them wait.
        """
        parcel, self._ahead = self._ahead, None
        if parcel is None or not parcel.events:
            parcel = await self._next_parcel()
        events = parcel.events
        with structlog.contextvars.bound_contextvars(delivery_id=new_request_id()):
            async with self._reading_ahead(events) as ahead:
                outcome = await self._intake.post(parcel, self._known)
                if isinstance(outcome, Failed) and self._pace.gives_up:
                    outcome = await self._compare(parcel, outcome)
                match outcome:
                    case Stored():
                        await self._settle(parcel, outcome)
                        self._ahead = await ahead if ahead is not None else None
                    case Refused() if len(events) > 1:
                        self._pace.split(len(events))
                    case Refused():
                        [event] = events
                        await self._park(event, outcome)
                        await self._advance(parcel)
                        self._pace.parked()
                    case Moved(told):
                        await self._follow(told)
                    case Failed():
                        self._pace.failed(len(events))
                        await self._wait(outcome)

    async def _next_parcel(self) -> Parcel:
        """Return what the next delivery has, waiting for something.

        The relay finds a lone event at once. While there are many, those of a moment go together.
        It soon looks again for what a running transaction holds back: not each of them wakes it.
        """
        delivery = self._settings.delivery
        while True:
            await self._gather()
            async with self._database.connection() as connection:
                look = await _read(connection, self._pace.size)
            if look.resend is not None:
                await self._go_back(Return(look.resend, RESEND))
            elif look.parcel.events:
                return look.parcel
            else:
                if look.is_complete:
                    await self._appended.wait(delivery.relay_poll_s)
                await self._check(look.parcel)

    async def _check(self, empty: Parcel) -> None:
        """Ask the events service about its log, if there was nothing to deliver for a while.

        A log that was restored lacks events, whether there are new ones or not.
        """
        now = asyncio.get_running_loop().time()
        if self._known is None or now < self._answered + self._settings.delivery.relay_check_s:
            return
        self._answered = now
        with structlog.contextvars.bound_contextvars(delivery_id=new_request_id()):
            outcome = await self._intake.post(empty, self._known)
            if isinstance(outcome, Moved):
                await self._follow(outcome.told)
            elif isinstance(outcome, Stored):
                self._disagrees = False

    async def _follow(self, told: Mark) -> None:
        """Deliver on to the log as it is now; go back first if it has lost events.

        If the events service then still says that its log is another one, this is a failure.
        """
        if self._disagrees or told == self._known:
            await self._wait(Failed(LogMoved.code, f"the log is said to be {told}, again"))
        self._disagrees = True
        await self._pause_returns()
        found = await follow(self._database, self._epoch, self._known or told, told)
        self._known = told
        self._note_return(found)

    async def _go_back(self, back: Return) -> None:
        await self._pause_returns()
        self._note_return(await go_back(self._database, self._epoch, back))

    async def _pause_returns(self) -> None:
        """Leave some time between two ways back: two logs that take turns would cause many."""
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(
            max(0, self._returned + self._settings.delivery.relay_retry_limit_s - now)
        )

    def _note_return(self, back: Return | None) -> None:
        if back is not None:
            self._meter.count(REWINDS, 1, back.reason)
            self._returned = asyncio.get_running_loop().time()

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
            look = await _read(connection, self._pace.size, (xid, position))
        # An operator's request comes first: without events, the log is looked at again.
        return look.parcel if look.resend is None else look.parcel._replace(events=())

    async def _compare(self, parcel: Parcel, failure: Failed) -> Stored | Refused | Moved | Failed:
        """Post another event before and after this one; if only this one fails, it is refused.

        The other one is the first of its subject, so that order within a subject holds.
        """
        [event] = parcel.events
        async with self._database.connection() as connection:
            look = await _read(connection, COMPARED_EVENTS)
        in_order = sorted(look.parcel.events, key=itemgetter("position"), reverse=True)
        firsts = {other["subject"]: other for other in in_order}
        firsts.pop(event["subject"], None)
        if not firsts:
            return failure
        other = random.choice([*firsts.values()])  # noqa: S311
        other_parcel = Parcel.of(parcel.source, [other])

        async def goes_through() -> bool:
            posted = await self._intake.post(other_parcel, self._known, out_of_turn=True)
            return isinstance(posted, Stored)

        if not await goes_through():
            return failure
        outcome = await self._intake.post(parcel, self._known)
        # The other one again: the events service may have stopped between the first two.
        if isinstance(outcome, Failed) and await goes_through():
            return Refused(outcome.status, outcome.problem[:ANSWER_LENGTH])
        return outcome

    async def _settle(self, parcel: Parcel, stored: Stored) -> None:
        events = parcel.events
        for event in events:
            if str(event["event_id"]) in stored.conflicts:
                await self._park(event, Refused(CONFLICT, EventIdConflict().message))
        await self._advance(parcel, stored.log)
        if stored.log is not None:
            self._known = Mark(stored.log, parcel.end)
        self._disagrees = False
        self._answered = asyncio.get_running_loop().time()
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

    async def _advance(self, parcel: Parcel, log: str | None = None) -> None:
        async with self._database.transaction() as connection:
            [row] = await queries.outbox.advance_cursor(
                connection,
                lease=LEASE,
                epoch=self._epoch,
                xid=parcel.end.xid,
                position=parcel.end.position,
                last_position=max(event["position"] for event in parcel.events),
                log=log,
            )
        if not row["leads"]:
            raise LeaseLost


class _Look(NamedTuple):
    """What a look at the outbox finds."""

    parcel: Parcel
    is_complete: bool  # all is delivered
    resend: Place | None  # where an operator asks the relay to go back to


async def _read(
    connection: Connection, page_size: int, after: tuple[int, int] | None = None
) -> _Look:
    """Look for at most `page_size` events after a place in the log.

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
    resend = Place.of(cursor["resend_xid"], cursor["resend_position"])
    return _Look(Parcel.of(cursor["source"], events), cursor["complete"], resend)


def _names(event: "ReadEventsRow") -> dict[str, Any]:
    """Return the fields by which a log line names an event and the request that caused it."""
    return {
        "event_id": str(event["event_id"]),
        "name": event["name"],
        "request_id": event["request_id"],
        **name_trace(event["traceparent"]),
    }
