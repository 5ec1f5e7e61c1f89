"""Writes what has become of deliveries: one transaction for all of a tick, with sets.

The order of locks: the lease, the subscriptions by id, their deliveries, the log, the cursor.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from rowlock.engine.database import Connection
from rowlock.engine.statements import queries
from rowlock.errors import LeaseLost
from rowlock.origin import SYSTEM
from rowlock.settings.features import SubscriptionSettings
from rowlock.subscriptions.events import event_of
from rowlock.subscriptions.queues import Delivery, Endpoint
from rowlock.subscriptions.reads import lock_subscriptions
from rowlock.subscriptions.rules import (
    ACTIVE,
    BACKLOG,
    DELIVERED,
    DISABLED,
    FAILED,
    LEASE,
    PENDING,
    DeliveryRow,
    Subscription,
    pause_after,
    stop,
    stop_reason,
)
from rowlock.subscriptions.transactions import Append, give_up_waiting, write_deliveries

EVENT_GONE = "event_gone"  # the problem of a delivery whose event is past the retention

NOT_WRITTEN = datetime.max.replace(tzinfo=UTC)  # the database dates rows itself


class Tick(NamedTuple):
    """What there is to write."""

    epoch: int
    position: int | None  # of the cursor; None: as it is
    attempted: Sequence[Delivery]  # with outcomes
    set_aside: Sequence[Delivery]  # to be noted, as they are not done
    lost: Sequence[Delivery]  # rows whose events are gone
    recovered: Sequence[tuple[Endpoint, int]]  # and how far


class Written(NamedTuple):
    """What was written, for the dispatcher to know."""

    rows: Sequence[tuple[Delivery, int]]  # the rows of what was set aside
    waiting: dict[int, int]  # how many more rows wait, by subscription
    next_due: dict[int, datetime]  # the earliest of the rows that wait, by subscription
    stopped: dict[int, str]  # the reason, by subscription
    gone: set[int]  # subscriptions that are not active any more
    delivered: int
    failed: int
    given_up: int


class _Page:
    """The rows of a tick, while they are gathered."""

    def __init__(self, subscriptions: dict[int, Subscription]) -> None:
        self.before = dict(subscriptions)
        self.subscriptions = subscriptions
        self.new: list[tuple[Delivery, DeliveryRow]] = []
        self.changed: dict[int, DeliveryRow] = {}
        self.next_due: dict[int, datetime] = {}
        self.waiting: dict[int, int] = defaultdict(int)
        self.stopped: dict[int, str] = {}
        self.given_up = 0

    def put(
        self,
        delivery: Delivery,
        status: str,
        attempts: int,
        problem: str | None,
        due_at: datetime | None,
    ) -> None:
        """Note a delivery, in a new row or in its own."""
        id_ = delivery.endpoint.id
        row = DeliveryRow(
            delivery.row_id or 0, id_, delivery.letter.event_id, delivery.letter.name, status,
            attempts, problem, NOT_WRITTEN, due_at, None,
        )  # fmt: skip
        if delivery.row_id is None:
            self.new.append((delivery, row))
            self.waiting[id_] += status == PENDING
        else:
            self.changed[delivery.row_id] = row
            self.waiting[id_] -= status != PENDING
        if due_at is not None:
            self.next_due[id_] = min(due_at, self.next_due.get(id_, due_at))
        self.given_up += status == FAILED


async def write_tick(
    connection: Connection, tick: Tick, settings: SubscriptionSettings, append: Append
) -> Written:
    """Write a tick. Raises LeaseLost if another process leads."""
    if not await queries.subscriptions.hold_lease(connection, lease=LEASE, epoch=tick.epoch):
        raise LeaseLost
    touched = [*tick.attempted, *tick.set_aside, *tick.lost]
    ids = {delivery.endpoint.id for delivery in touched}
    ids.update(endpoint.id for endpoint, _ in tick.recovered)
    held = await lock_subscriptions(connection, list(ids)) if ids else {}
    page = _Page(held)
    now = datetime.now(UTC)
    grouped: dict[int, list[Delivery]] = defaultdict(list)
    for delivery in tick.attempted:
        grouped[delivery.endpoint.id].append(delivery)
    for id_, attempted in grouped.items():
        if id_ in held:
            _settle(page, id_, attempted, now, settings)
    _set_aside(page, tick.set_aside, now)
    for delivery in tick.lost:
        if delivery.endpoint.id in held:
            page.put(delivery, FAILED, delivery.attempts, EVENT_GONE, None)
    for endpoint, position in tick.recovered:
        _recover(page, endpoint, position)
    _bound_backlogs(page, {delivery.endpoint for delivery in touched}, settings)
    rows = await _write(connection, page)
    await append(
        connection,
        [
            event_of("subscription.disabled", id_, SYSTEM, {"reason": reason})
            for id_, reason in sorted(page.stopped.items())
        ],
    )
    if tick.position is not None:
        await queries.subscriptions.advance_cursor(connection, position=tick.position)
    delivered = sum(
        delivery.outcome is not None and delivery.outcome.is_success for delivery in tick.attempted
    )
    return Written(
        rows,
        page.waiting,
        page.next_due,
        page.stopped,
        {id_ for id_ in ids if id_ not in held or page.subscriptions[id_].status != ACTIVE},
        delivered,
        len(tick.attempted) - delivered,
        page.given_up,
    )


def _settle(
    page: _Page,
    id_: int,
    attempted: Sequence[Delivery],
    now: datetime,
    settings: SubscriptionSettings,
) -> None:
    """Note what came of attempts of one subscription, in the order in which they ended."""
    held = page.subscriptions[id_]
    is_active = held.status == ACTIVE
    delivered, failed = held.delivered, held.failed
    since, problem = held.failing_since, held.last_problem
    give_up = timedelta(seconds=settings.dispatch_give_up_s)
    stopped: tuple[str, str] | None = None
    for delivery in attempted:
        outcome = delivery.outcome
        assert outcome is not None
        attempts = delivery.attempts + 1
        if outcome.is_success:
            delivered, since, problem = delivered + 1, None, None
            page.put(delivery, DELIVERED, attempts, None, None)
            continue
        failed, since, problem = failed + 1, since or now, outcome.problem
        stopped = stopped or stop_reason(outcome, since, now, give_up)
        pause = pause_after(attempts, outcome, settings.dispatch_retry_s, random.random())  # noqa: S311
        if pause is None or not is_active:
            page.put(delivery, FAILED, attempts, problem, None)
        else:
            page.put(delivery, PENDING, attempts, problem, now + pause)
    held = held._replace(
        delivered=delivered, failed=failed, failing_since=since, last_problem=problem
    )
    if stopped is not None and is_active:
        held = stop(held, *stopped)
        page.stopped[id_] = stopped[1]
    page.subscriptions[id_] = held


def _set_aside(page: _Page, deliveries: Iterable[Delivery], now: datetime) -> None:
    """Note deliveries that are not done, also those under way: a successor would post them."""
    for delivery in deliveries:
        held = page.subscriptions.get(delivery.endpoint.id)
        if held is not None and held.status == ACTIVE:
            page.put(delivery, PENDING, delivery.attempts, None, now)


def _recover(page: _Page, endpoint: Endpoint, position: int) -> None:
    """Note how far a recovery is, if it is still the one that was read."""
    held = page.subscriptions.get(endpoint.id)
    if held is None or held.recover_until is None or held.recover_since != endpoint.recover_since:
        return
    if position >= held.recover_until:
        held = held._replace(recover_after=None, recover_until=None, recover_since=None)
    else:
        held = held._replace(recover_after=position)
    page.subscriptions[endpoint.id] = held


def _bound_backlogs(
    page: _Page, endpoints: Iterable[Endpoint], settings: SubscriptionSettings
) -> None:
    """Disable subscriptions for which too much waits."""
    for endpoint in endpoints:
        held = page.subscriptions.get(endpoint.id)
        if held is None or held.status != ACTIVE:
            continue
        if endpoint.pending + page.waiting[endpoint.id] > settings.dispatch_pending:
            page.subscriptions[endpoint.id] = stop(held, DISABLED, BACKLOG)
            page.stopped[endpoint.id] = BACKLOG


async def _write(connection: Connection, page: _Page) -> list[tuple[Delivery, int]]:
    """Write the rows; return those of deliveries that are not done."""
    added: list[tuple[Delivery, int]] = []
    if page.new:
        rows = await queries.subscriptions.add_deliveries(
            connection,
            subscription_ids=[row.subscription_id for _, row in page.new],
            event_ids=[row.event_id for _, row in page.new],
            names=[row.name for _, row in page.new],
            statuses=[row.status for _, row in page.new],
            attempts=[row.attempts for _, row in page.new],
            problems=[row.problem for _, row in page.new],
            due_ats=[row.due_at for _, row in page.new],
        )
        added = [
            (delivery, row["id"])
            for (delivery, new), row in zip(page.new, rows, strict=True)
            if new.status == PENDING
        ]
    await write_deliveries(connection, [page.changed[id_] for id_ in sorted(page.changed)])
    changed = {id_: now for id_, now in page.subscriptions.items() if now != page.before[id_]}
    await _write_states(connection, [changed[id_] for id_ in sorted(changed)])
    return added


async def _write_states(connection: Connection, changed: Sequence[Subscription]) -> None:
    """Write what a tick may change of subscriptions, which is not what clients give."""
    if not changed:
        return
    await queries.subscriptions.change_states(
        connection,
        ids=[one.id for one in changed],
        statuses=[one.status for one in changed],
        reasons=[one.reason for one in changed],
        recover_afters=[one.recover_after for one in changed],
        recover_untils=[one.recover_until for one in changed],
        recover_sinces=[one.recover_since for one in changed],
        delivereds=[one.delivered for one in changed],
        faileds=[one.failed for one in changed],
        failing_sinces=[one.failing_since for one in changed],
        last_problems=[one.last_problem for one in changed],
    )
    await give_up_waiting(connection, changed)
