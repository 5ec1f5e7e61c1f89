"""Lock, decide, write: subscriptions, and deliveries that are asked for.

The order of locks: subscriptions by id, their deliveries, the log, then the cursor.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from rowlock.engine.database import Connection
from rowlock.engine.outbox import Event
from rowlock.engine.statements import queries
from rowlock.rejections import (
    DeliveryNotFound,
    Rejection,
    SubscriptionNotActive,
    SubscriptionNotFound,
    TooManySubscriptions,
)
from rowlock.subscriptions.events import event_of
from rowlock.subscriptions.reads import find_deliveries, lock_subscriptions
from rowlock.subscriptions.rules import (
    ACTIVE,
    MOST_SUBSCRIPTIONS,
    PENDING,
    TEST,
    Change,
    Changed,
    CreateSubscription,
    DeleteSubscription,
    DeliveryRow,
    Enable,
    Log,
    Recover,
    Resend,
    SendTest,
    Subscription,
    decide,
)

# Appends events to the log, in the transaction of the change.
Append: TypeAlias = Callable[[Connection, Sequence[Event]], Awaitable[None]]


async def create_subscriptions(
    append: Append, connection: Connection, commands: Sequence[CreateSubscription]
) -> list[Subscription | Rejection]:
    """Return the subscription that each command made, or why it made none."""
    # First, so that no event is stored between the end of the log and the commit.
    await queries.events.lock_log(connection)
    [end] = await queries.events.find_end(connection)
    [count] = await queries.subscriptions.count(connection)
    room = max(0, MOST_SUBSCRIPTIONS - count["subscriptions"])
    taken = commands[:room]
    rows = await queries.subscriptions.create(
        connection,
        urls=[command.url for command in taken],
        names=["\n".join(command.names) for command in taken],
        subjects=[command.subject for command in taken],
        descriptions=[command.description for command in taken],
        secrets=[command.secret for command in taken],
        actors=[command.origin.actor for command in taken],
        starts_after=end["id"],
    )
    made = [
        _make(command, row["id"], row["created_at"], end["id"])
        for command, row in zip(taken, rows, strict=True)
    ]
    await append(
        connection,
        [
            event_of("subscription.created", each.id, command.origin, {"names": [*each.names]})
            for command, each in zip(taken, made, strict=True)
        ],
    )
    await queries.subscriptions.note_change(connection)
    rejected = [TooManySubscriptions(limit=MOST_SUBSCRIPTIONS) for _ in commands[room:]]
    return [*made, *rejected]


def _make(command: CreateSubscription, id_: int, created_at: datetime, end: int) -> Subscription:
    return Subscription(
        id_, command.url, command.names, command.subject, command.description, ACTIVE, None,
        command.secret, None, None, end, None, None, None, 0, 0, None, None, created_at,
        command.origin.actor,
    )  # fmt: skip


async def change_subscriptions(
    append: Append, connection: Connection, commands: Sequence[Change]
) -> list[Subscription | Rejection]:
    """Return each subscription as its command leaves it, or why it can't be so."""
    held = await lock_subscriptions(connection, list({command.id for command in commands}))
    log = Log(datetime.now(UTC))
    if any(isinstance(command, Enable | Recover) for command in commands):
        # No event is stored between the end of the log and the commit.
        await queries.events.lock_log(connection)
        [end] = await queries.events.find_end(connection)
        [cursor] = await queries.subscriptions.find_cursor(connection)
        log = log._replace(end=end["id"], dispatched=cursor["position"])
    outcomes: list[Subscription | Rejection] = []
    changed: dict[int, Subscription] = {}
    events = []
    for command in commands:
        if isinstance(command, Recover):
            [start] = await queries.subscriptions.find_start(connection, since=command.since)
            log = log._replace(start=start["id"])
        decided = decide(command, held.get(command.id), log)
        if isinstance(decided, Changed):
            held[command.id] = changed[command.id] = decided.subscription
            events.append(event_of(decided.event, command.id, command.origin, decided.facts))
            outcomes.append(decided.subscription)
        else:
            outcomes.append(decided)
    await write_subscriptions(connection, changed)
    await append(connection, events)
    if changed:
        await queries.subscriptions.note_change(connection)
    return outcomes


async def write_subscriptions(connection: Connection, changed: Mapping[int, Subscription]) -> None:
    """Write subscriptions that are locked; what waits for one that is not active is given up."""
    if not changed:
        return
    each = [changed[id_] for id_ in sorted(changed)]
    await queries.subscriptions.change(
        connection,
        ids=[one.id for one in each],
        urls=[one.url for one in each],
        names=["\n".join(one.names) for one in each],
        subjects=[one.subject for one in each],
        descriptions=[one.description for one in each],
        statuses=[one.status for one in each],
        reasons=[one.reason for one in each],
        secrets=[one.secret for one in each],
        old_secrets=[one.old_secret for one in each],
        old_secret_untils=[one.old_secret_until for one in each],
        starts_afters=[one.starts_after for one in each],
        recover_afters=[one.recover_after for one in each],
        recover_untils=[one.recover_until for one in each],
        recover_sinces=[one.recover_since for one in each],
        failing_sinces=[one.failing_since for one in each],
        last_problems=[one.last_problem for one in each],
    )
    await give_up_waiting(connection, each)


async def give_up_waiting(connection: Connection, changed: Sequence[Subscription]) -> None:
    """Give up what waits for those of the subscriptions that are not active."""
    stopped = [one.id for one in changed if one.status != ACTIVE]
    if stopped:
        await queries.subscriptions.give_up(connection, subscription_ids=stopped)


async def delete_subscriptions(
    append: Append, connection: Connection, commands: Sequence[DeleteSubscription]
) -> list[int | Rejection]:
    """Return the id of the subscription that each command removed, or why it removed none."""
    held = await lock_subscriptions(connection, list({command.id for command in commands}))
    if held:
        await queries.subscriptions.delete(connection, ids=[*held])
    outcomes: list[int | Rejection] = []
    events = []
    for command in commands:
        if held.pop(command.id, None) is None:
            outcomes.append(SubscriptionNotFound.of(command.id))
        else:
            outcomes.append(command.id)
            events.append(event_of("subscription.deleted", command.id, command.origin, {}))
    await append(connection, events)
    return outcomes


async def send_tests(
    append: Append, connection: Connection, commands: Sequence[SendTest]
) -> list[DeliveryRow | Rejection]:
    """Return the delivery that each command asks for, or why there is none."""
    held = await lock_subscriptions(connection, list({command.id for command in commands}))
    now = datetime.now(UTC)
    refused = [_refuse(held.get(command.id), command.id) for command in commands]
    asked = [command for command, why in zip(commands, refused, strict=True) if why is None]
    rows = await queries.subscriptions.add_deliveries(
        connection,
        subscription_ids=[command.id for command in asked],
        event_ids=[None for _ in asked],
        names=[TEST for _ in asked],
        statuses=[PENDING for _ in asked],
        attempts=[0 for _ in asked],
        problems=[None for _ in asked],
        due_ats=[now for _ in asked],
    )
    made = [
        DeliveryRow(
            row["id"], command.id, None, TEST, PENDING, 0, None, row["created_at"], now, None
        )
        for command, row in zip(asked, rows, strict=True)
    ]
    await append(
        connection,
        [
            event_of("subscription.tested", command.id, command.origin, {"delivery_id": each.id})
            for command, each in zip(asked, made, strict=True)
        ],
    )
    deliveries = iter(made)
    return [next(deliveries) if why is None else why for why in refused]


async def resend_deliveries(
    append: Append, connection: Connection, commands: Sequence[Resend]
) -> list[DeliveryRow | Rejection]:
    """Return each delivery as it is asked for again, or why it can't be."""
    ids = list({command.id for command in commands})
    found = await find_deliveries(connection, ids)
    held = await lock_subscriptions(
        connection, list({delivery.subscription_id for delivery in found.values()})
    )
    found = await find_deliveries(connection, ids)  # as they are now that no dispatcher writes
    now = datetime.now(UTC)
    outcomes: list[DeliveryRow | Rejection] = []
    changed: dict[int, DeliveryRow] = {}
    events = []
    for command in commands:
        delivery = found.get(command.id)
        if delivery is None:
            outcomes.append(DeliveryNotFound.of(command.id))
            continue
        subscription_id = delivery.subscription_id
        why = _refuse(held.get(subscription_id), subscription_id)
        if why is not None:
            outcomes.append(why)
            continue
        again = delivery._replace(
            status=PENDING, attempts=0, problem=None, due_at=now, finished_at=None
        )
        changed[command.id] = again
        facts = {"delivery_id": command.id}
        events.append(event_of("subscription.resent", subscription_id, command.origin, facts))
        outcomes.append(again)
    await write_deliveries(connection, [changed[id_] for id_ in sorted(changed)])
    await append(connection, events)
    return outcomes


async def write_deliveries(connection: Connection, changed: Sequence[DeliveryRow]) -> None:
    """Write what has become of deliveries, whose subscriptions are locked."""
    if changed:
        await queries.subscriptions.change_deliveries(
            connection,
            ids=[each.id for each in changed],
            statuses=[each.status for each in changed],
            attempts=[each.attempts for each in changed],
            problems=[each.problem for each in changed],
            due_ats=[each.due_at for each in changed],
        )


def _refuse(held: Subscription | None, id_: int) -> Rejection | None:
    """Return why nothing can be posted to a subscription; None if it can."""
    if held is None:
        return SubscriptionNotFound.of(id_)
    if held.status != ACTIVE:
        return SubscriptionNotActive(subscription_id=id_, status=held.status)
    return None
