"""Lock, decide, write: service orders.

One lock, the calendar's, lets one batch decide at a time, over all processes: what it has read
stays true until it commits. The table's exclusion constraint keeps the distance against
other writers, such as a person at psql. A batch that meets one of those gets an exclusion violation
or a deadlock. It runs again, and then sees the order that is in the way.
"""

from collections.abc import Sequence
from itertools import groupby, takewhile

from rowlock.engine import outbox
from rowlock.engine.database import Connection
from rowlock.engine.outbox import Event
from rowlock.engine.statements import queries
from rowlock.origin import CLI
from rowlock.rejections import Rejection
from rowlock.service_orders.events import (
    NAME_LENGTH,
    SERVICE_ORDER_CREATED,
    SERVICE_ORDER_DELETED,
    SERVICE_ORDER_UPDATED,
    Before,
    Booked,
    Changed,
)
from rowlock.service_orders.reads import find_orders
from rowlock.service_orders.rules import (
    REACH,
    Calendar,
    Change,
    Command,
    CreateOrder,
    DeleteOrder,
    ReplaceOrder,
    Service,
    ServiceOrder,
    decide,
    net,
)


async def change_orders(
    connection: Connection, commands: Sequence[Command]
) -> list[Change | Rejection]:
    """Return what each command changed, or why it changed nothing."""
    calendar = await _lock(connection, commands)
    outcomes = [decide(command, calendar) for command in commands]
    changes = [outcome for outcome in outcomes if isinstance(outcome, Change)]
    await _write(connection, changes)
    return outcomes


async def import_orders(connection: Connection, orders: Sequence[ServiceOrder]) -> None:
    """Write orders of the command line with the ids that they bring; they may be close together.

    Raises asyncpg.IntegrityConstraintViolationError if an id is taken, or another order too close.
    """
    await queries.service_orders.lock_calendar(connection)
    await _write(connection, [Change(None, order, CLI) for order in orders])


async def _lock(connection: Connection, commands: Sequence[Command]) -> Calendar:
    await queries.service_orders.lock_calendar(connection)
    named = {
        command.order_id for command in commands if isinstance(command, ReplaceOrder | DeleteOrder)
    }
    booking = [command for command in commands if isinstance(command, CreateOrder | ReplaceOrder)]
    orders = await find_orders(connection, list(named)) if named else {}
    wanted = [command.order_id for command in commands if isinstance(command, CreateOrder)]
    first_run = len([*takewhile(lambda order_id: order_id is None, wanted)])
    [found] = await queries.service_orders.find_calendar(
        connection,
        times=list({command.starts_at for command in booking}),
        reach=REACH,
        service_ids=list({one for command in booking for one in command.service_ids}),
        how_many=first_run,
    )
    services = zip(
        found["service_ids"],
        found["service_names"],
        found["service_renames"],
        found["services_are_retired"],
        strict=True,
    )
    new_ids = [*found["new_ids"], *await _draw_ids(connection, wanted[first_run:])]
    return Calendar(
        orders,
        sorted(zip(found["starts_ats"], found["order_ids"], strict=True)),
        {service[0]: Service(*service) for service in services},
        iter(new_ids),
        await _find_used_ids(connection, [one for one in wanted if one is not None]),
    )


async def _draw_ids(connection: Connection, wanted: Sequence[int | None]) -> list[int]:
    """Return an id for each order: the one that its client wants, or the next one.

    As if the orders were created one at a time: those after an id that a client wants are beyond
    it, whether or not that order is created.
    """
    drawn: list[int] = []
    for given, run in groupby(wanted):
        how_many = len(list(run))
        if given is None:
            rows = await queries.service_orders.draw_ids(connection, how_many=how_many)
            drawn += [row["id"] for row in rows]
        else:
            await queries.service_orders.pass_ids(connection, last_id=given)
            drawn += [given] * how_many
    return drawn


async def _find_used_ids(connection: Connection, order_ids: Sequence[int]) -> set[int]:
    if not order_ids:
        return set()
    rows = await queries.service_orders.find_used_ids(connection, order_ids=list(set(order_ids)))
    return {row["id"] for row in rows}


async def _write(connection: Connection, changes: Sequence[Change]) -> None:
    """Write the net effect of `changes`, and an event for each of them.

    Deletions first, then all moves in one statement, then new orders: so no order is in another's
    way at the end of a statement.
    """
    deleted, replaced, created = [], [], []
    for before, after, _ in net(changes):
        if before is None:
            assert after is not None
            created.append(after)
        elif after is None:
            deleted.append(before.id)
        else:
            replaced.append(after)
    # Created and deleted by the same batch: an answer names it, but it never is a row.
    passing = {after.id for before, after, _ in changes if before is None and after is not None}
    passing -= {order.id for order in created}
    if passing:
        await queries.service_orders.keep_ids(connection, order_ids=list(passing))
    if deleted:
        await queries.service_orders.delete_orders(connection, order_ids=deleted)
    if replaced:
        await queries.service_orders.replace_orders(
            connection,
            order_ids=[order.id for order in replaced],
            starts_ats=[order.starts_at for order in replaced],
            fees=[order.fee for order in replaced],
            imported=[order.imported for order in replaced],
            versions=[order.version for order in replaced],
        )
        await queries.service_orders.exclude_services(
            connection, order_ids=[order.id for order in replaced]
        )
        included = _services_of(replaced)
        await queries.service_orders.include_services(
            connection,
            order_ids=[order_id for order_id, _ in included],
            service_ids=[service_id for _, service_id in included],
        )
    events = [_event(change) for change in changes if change.before != change.after]
    if created:
        included = _services_of(created)
        await queries.service_orders.create_orders(
            connection,
            order_ids=[order.id for order in created],
            starts_ats=[order.starts_at for order in created],
            fees=[order.fee for order in created],
            imported=[order.imported for order in created],
            versions=[order.version for order in created],
            including=[order_id for order_id, _ in included],
            service_ids=[service_id for _, service_id in included],
            names=[event.name for event in events],
            subjects=[event.subject for event in events],
            payloads=[outbox.dump(event.payload) for event in events],
            request_ids=[event.origin.request_id for event in events],
            actors=[event.origin.actor for event in events],
            traceparents=[event.origin.traceparent for event in events],
        )
    else:
        await outbox.append(connection, events)


def _services_of(orders: Sequence[ServiceOrder]) -> list[tuple[int, int]]:
    return [(order.id, service.id) for order in orders for service in order.services]


def _event(change: Change) -> Event:
    before, after, origin = change
    order = after or before
    assert order is not None
    if before is None:
        return SERVICE_ORDER_CREATED.event(_describe(order), origin)
    if after is None:
        return SERVICE_ORDER_DELETED.event(_describe(order), origin)
    former: Before = {
        "service_order_id": before.id,
        "starts_at": before.starts_at,
        "fee": before.fee,
        "services": [service.id for service in before.services],
        "imported": before.imported,
        "version": before.version,
    }
    payload: Changed = {**_describe(after), "before": former}
    return SERVICE_ORDER_UPDATED.event(payload, origin)


def _describe(order: ServiceOrder) -> Booked:
    return {
        "service_order_id": order.id,
        "starts_at": order.starts_at,
        "fee": order.fee,
        "services": [
            {"id": service.id, "name": service.name[:NAME_LENGTH]} for service in order.services
        ],
        "imported": order.imported,
        "version": order.version,
    }
