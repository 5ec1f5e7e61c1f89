"""The dispatcher posts the events of the log to subscriptions: one leader, at least once.

It goes round: it reads the log, starts requests, and writes what has become of them. The cursor
passes an event once all its deliveries are done or noted in the database. A delivery that takes
longer than a moment is noted, so that the cursor never waits for a receiver, and a successor has
little to post again.
"""

import asyncio
import random
from datetime import UTC, datetime
from typing import NamedTuple

import structlog

from rowlock.engine.database import Database
from rowlock.engine.leases import lead
from rowlock.engine.metrics import SECONDS, Meter, Tally, counter, histogram
from rowlock.engine.statements import queries
from rowlock.engine.tasks import Task
from rowlock.engine.wakes import Wake
from rowlock.errors import DatabaseBusy
from rowlock.origin import name_trace
from rowlock.settings import Settings
from rowlock.subscriptions.board import Board, close
from rowlock.subscriptions.outcomes import Tick, Written, write_tick
from rowlock.subscriptions.queues import Delivery, Endpoint
from rowlock.subscriptions.rules import LEASE
from rowlock.subscriptions.sender import Sender
from rowlock.subscriptions.transactions import Append

RENEW_S = 5.0  # between two looks at the subscriptions, if nothing wakes the dispatcher
BUSY_S = 0.05
CURSOR_S = 1.0  # between two writes of the cursor alone

ATTEMPTS = counter(
    "rowlock_webhook_attempts_total", "Attempts to post an event, by outcome.", "outcome"
)
GIVEN_UP = counter("rowlock_webhook_given_up_total", "Deliveries that were given up.")
STOPPED = counter(
    "rowlock_webhook_stopped_total",
    "Subscriptions that the dispatcher has disabled or ended, by the reason: failing, backlog, "
    "gone.",
    "reason",
)
ATTEMPT_SECONDS = histogram(
    "rowlock_webhook_duration_seconds", "An attempt that was answered with 2xx.", SECONDS
)

logger = structlog.get_logger(__name__)


class Signals(NamedTuple):
    """What wakes the dispatcher."""

    work: Wake  # there may be something to do
    changed: Wake  # subscriptions have changed; leads to `work`


class Dispatcher:
    """Waits for the lease, and then dispatches."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        meter: Meter,
        append: Append,
        signals: Signals,
    ) -> None:
        self.task = Task("dispatcher", self._run)
        self.database = database
        self.settings = settings
        self.meter = meter
        self.append = append
        self.signals = signals

    async def _run(self) -> None:
        await lead(LEASE, self.database, self._dispatch, self.settings.leases)

    async def _dispatch(self, epoch: int) -> None:
        async with Sender.opened(self.settings.subscriptions) as sender:
            term = Term(self, sender, epoch)
            try:
                await term.run()
            finally:
                await term.stop()


class Term:
    """One term of the lease."""

    def __init__(self, dispatcher: Dispatcher, sender: Sender, epoch: int) -> None:
        self._database = dispatcher.database
        self._settings = dispatcher.settings.subscriptions
        self._meter = dispatcher.meter
        self._append = dispatcher.append
        self._signals = dispatcher.signals
        self._sender = sender
        self._epoch = epoch
        self._loop = asyncio.get_running_loop()
        self._written = 0  # the cursor in the database
        self._written_at = 0.0
        self._renewed_at = 0.0
        self._board = Board(self._database, self._settings, 0)
        self._durations = Tally(ATTEMPT_SECONDS.labels(self._meter.service))
        self._attempted: list[Delivery] = []
        self._requests: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Dispatch until this is cancelled. Raises LeaseLost, and what the database raises."""
        async with self._database.connection() as connection:
            [cursor] = await queries.subscriptions.find_cursor(connection)
        self._board = Board(self._database, self._settings, cursor["position"])
        self._written = cursor["position"]
        while True:
            began = self._loop.time()
            if await self._signals.changed.wait(0) or began - self._renewed_at >= RENEW_S:
                await self._board.renew()
                self._renewed_at = began
            has_more = await self._board.read_log()
            await self._board.read_due()
            await self._board.recover()
            self._start_all()
            await self._write()
            spent = self._loop.time() - began
            await asyncio.sleep(max(0, self._settings.dispatch_gather_s - spent))
            if not (has_more or self._attempted):
                await self._signals.work.wait(self._wait_s())

    async def stop(self) -> None:
        """End the requests under way. Their deliveries go on in the next term."""
        for request in self._requests:
            request.cancel()
        await asyncio.gather(*self._requests, return_exceptions=True)

    def _wait_s(self) -> float:
        """Return how long to wait at most, if nothing happens."""
        now, wall = self._loop.time(), datetime.now(UTC)
        wait_s = self._settings.dispatch_poll_s
        if len(self._board.window):
            wait_s = min(wait_s, self._settings.dispatch_aside_s / 4)
        for endpoint in self._board.endpoints.values():
            if endpoint.paused_until > now and (endpoint.queue or endpoint.has_due):
                wait_s = min(wait_s, endpoint.paused_until - now)
            if endpoint.next_due is not None:
                wait_s = min(wait_s, max(0.0, (endpoint.next_due - wall).total_seconds()))
            if endpoint.recover_after is not None:
                wait_s = min(wait_s, self._settings.dispatch_gather_s)
        return max(wait_s, self._settings.dispatch_gather_s)

    def _start_all(self) -> None:
        for endpoint in self._board.endpoints.values():
            if endpoint.queue:
                self._start(endpoint)

    def _start(self, endpoint: Endpoint) -> None:
        """Start as many requests to a receiver as may be under way."""
        while (delivery := self._take(endpoint)) is not None:
            request = asyncio.create_task(self._post_on(delivery))
            self._requests.add(request)
            request.add_done_callback(self._requests.discard)

    def _take(self, endpoint: Endpoint, ended: int = 0) -> Delivery | None:
        """Take the next delivery to a receiver; None if there is none, or too many are under way.

        `ended` of the requests that are counted have ended.
        """
        settings = self._settings
        if not endpoint.queue or not endpoint.room(
            self._loop.time(), settings.dispatch_requests_each
        ):
            return None
        if endpoint.under_way and len(self._requests) - ended >= settings.dispatch_requests:
            return None
        delivery = endpoint.queue.popleft()
        endpoint.under_way.add(delivery)
        return delivery

    async def _post_on(self, first: Delivery) -> None:
        """Post a delivery, and then the next ones of its subscription, one after another."""
        delivery: Delivery | None = first
        while delivery is not None:
            await self._post(delivery)
            delivery = self._take(first.endpoint, ended=1)

    async def _post(self, delivery: Delivery) -> None:
        """Post a delivery, and note what came of it."""
        endpoint, letter = delivery.endpoint, delivery.letter
        webhook_id = f"test_{delivery.row_id}" if letter.event_id is None else str(letter.event_id)
        secrets = endpoint.secrets(datetime.now(UTC))
        outcome = await self._sender.post(
            endpoint.url, webhook_id, letter.body, secrets, letter.traceparent
        )
        endpoint.under_way.discard(delivery)
        endpoint.note(outcome, self._loop.time(), random.random(), self._settings)  # noqa: S311
        delivery.outcome = outcome
        self._attempted.append(delivery)
        if not outcome.is_success:
            logger.info(
                "webhook_failed",
                subscription_id=endpoint.id,
                event_id=letter.event_id,
                problem=outcome.problem,
                attempt=delivery.attempts + 1,
                **name_trace(letter.traceparent),
            )
        self._signals.work.hear()

    async def _write(self) -> None:
        """Write what has become of deliveries since the last time, if there is anything."""
        tick = self._gather()
        if tick is None:
            return
        while True:
            try:
                async with self._database.transaction() as connection:
                    written = await write_tick(connection, tick, self._settings, self._append)
                break
            except DatabaseBusy:  # a row was locked: the requests go on meanwhile
                await asyncio.sleep(BUSY_S)
        self._written_at = self._loop.time()
        self._written = tick.position or self._written
        self._note(tick, written)

    def _gather(self) -> Tick | None:
        """Return what there is to write; None: nothing, or nothing that could not wait."""
        board, now = self._board, self._loop.time()
        before = now - self._settings.dispatch_aside_s
        if self._board.window.overdue(before):
            for endpoint in self._board.endpoints.values():
                board.aside += endpoint.take_overdue(before)
        attempted, self._attempted = self._attempted, []
        aside, board.aside = board.aside, []
        lost, board.lost = board.lost, []
        recovered, board.recovered = board.recovered, []
        for delivery in (*attempted, *aside):
            close(delivery)
        position = self._board.window.advance()
        has_rows = attempted or aside or lost or recovered
        is_behind = position > self._written and now - self._written_at >= CURSOR_S
        if not (has_rows or is_behind):
            return None
        return Tick(
            self._epoch,
            position if position > self._written else None,
            attempted,
            aside,
            lost,
            recovered,
        )

    def _note(self, tick: Tick, written: Written) -> None:
        """Note what was written."""
        ended = {id(delivery) for delivery in self._attempted}  # meanwhile
        for delivery, row_id in written.rows:
            if delivery in delivery.endpoint.under_way or id(delivery) in ended:
                delivery.row_id = row_id
                delivery.endpoint.held.add(row_id)
        for delivery in (*tick.attempted, *tick.lost):
            if delivery.row_id is not None:
                delivery.endpoint.held.discard(delivery.row_id)
        for id_, more in written.waiting.items():
            if id_ in self._board.endpoints:
                self._board.endpoints[id_].pending += more
        for id_, due_at in written.next_due.items():
            endpoint = self._board.endpoints.get(id_)
            if endpoint is not None:
                endpoint.next_due = min(due_at, endpoint.next_due or due_at)
        for id_ in written.gone:
            endpoint = self._board.endpoints.pop(id_, None)
            if endpoint is not None:
                self._board.drop(endpoint)
        self._count(tick, written)

    def _count(self, tick: Tick, written: Written) -> None:
        self._meter.count(ATTEMPTS, written.delivered, "delivered")
        self._meter.count(ATTEMPTS, written.failed, "failed")
        self._meter.count(GIVEN_UP, written.given_up)
        for id_, reason in written.stopped.items():
            self._meter.count(STOPPED, 1, reason)
            logger.warning("subscription_stopped", subscription_id=id_, reason=reason)
        for delivery in tick.attempted:
            if delivery.outcome is not None and delivery.outcome.is_success:
                self._durations.add(delivery.outcome.duration_s)
        self._durations.flush()
