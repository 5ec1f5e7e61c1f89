"""Booking, moving and cancelling service orders, each at a distance from all others.

Imported orders may be close to each other, but nothing else may come close to them.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import NamedTuple, TypeAlias

from rowlock.origin import SYSTEM, Origin
from rowlock.rejections import (
    IdTaken,
    Rejection,
    ServiceOrderChanged,
    ServiceOrderNotFound,
    ServicesNotFound,
    TooCloseToExistingOrder,
)

DISTANCE = timedelta(hours=3)
# The table's limits: a day less than a datetime can hold, at both ends.
EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)
LAST_ID = 2**62  # that a client may choose: half of bigint, as later ones need room beyond it
# How far from the wanted time to look for a free one, and how far orders must be known for that.
HORIZON = timedelta(days=30)
REACH = HORIZON + DISTANCE

Time: TypeAlias = tuple[datetime, int]  # when an order is, and its id
Versions: TypeAlias = Container[str] | None  # revisions that the client accepts; None: any

_at = itemgetter(0)


class Service(NamedTuple):
    """Something that can be done at an appointment."""

    id: int
    name: str
    renames: int = 0  # how often it has got another name
    is_retired: bool = False  # it may only stay in orders that have it; known to a calendar alone


@dataclass(frozen=True, slots=True)
class ServiceOrder:
    """An appointment."""

    id: int
    starts_at: datetime  # UTC, whole milliseconds
    fee: int  # minor units
    services: tuple[Service, ...]  # by id
    imported: bool = False
    version: int = 1

    @property
    def revision(self) -> str:
        """What tells the order as clients see it from what it ever was: its ETag.

        The version, such as 7, which every command that changes it raises. A service is renamed
        without touching its orders, so the number of renames follows: 7-2. It can't fall while the
        version stays, as the services stay, too.
        """
        renames = sum(service.renames for service in self.services)
        return f"{self.version}-{renames}" if renames else str(self.version)


@dataclass(frozen=True, slots=True)
class CreateOrder:
    """Book an order."""

    starts_at: datetime
    fee: int
    service_ids: tuple[int, ...]  # unique
    origin: Origin = SYSTEM
    order_id: int | None = None  # None: the next one


class ReplaceOrder(NamedTuple):
    """Give an order another time, fee and services."""

    order_id: int
    starts_at: datetime
    fee: int
    service_ids: tuple[int, ...]  # unique
    versions: Versions = None
    origin: Origin = SYSTEM


class DeleteOrder(NamedTuple):
    """Cancel an order."""

    order_id: int
    versions: Versions = None
    origin: Origin = SYSTEM


Command: TypeAlias = CreateOrder | ReplaceOrder | DeleteOrder


class Change(NamedTuple):
    """An order before and after a command; None where there is none."""

    before: ServiceOrder | None
    after: ServiceOrder | None
    origin: Origin = SYSTEM


@dataclass(slots=True)
class Calendar:
    """The locked state that a batch is decided on, as it stands after each command."""

    orders: dict[int, ServiceOrder]  # those that the commands name, by id
    times: list[Time]  # sorted; of all orders within REACH of a time that a command asks for
    services: Mapping[int, Service]  # those that the commands name, by id
    # One for each order to create, used or not: its id must not depend on the rest of the batch.
    new_ids: Iterator[int] = field(default_factory=lambda: iter(()))
    # Those of the ids asked for that are, or were, an order's.
    used_ids: set[int] = field(default_factory=set)

    def apply(self, change: Change) -> Change:
        """Make the change, and return it."""
        before, after, _ = change
        if before is not None:
            del self.orders[before.id]
            time = (before.starts_at, before.id)
            place = bisect_left(self.times, time)
            if self.times[place : place + 1] == [time]:  # else no command asks for a time nearby
                del self.times[place]
        if after is not None:
            self.orders[after.id] = after
            insort(self.times, (after.starts_at, after.id))
        return change

    def crowding(self, wanted: datetime, own_id: int) -> TooCloseToExistingOrder | None:
        """Return why the order `own_id` can't be at `wanted`, or None if it can."""
        first = bisect_right(self.times, wanted - DISTANCE, key=_at)
        end = bisect_left(self.times, wanted + DISTANCE, key=_at)
        near = [time for time in self.times[first:end] if time[1] != own_id]
        if not near:
            return None
        at, order_id = min(near, key=lambda time: abs(time[0] - wanted))
        later = (self.times[place] for place in range(first, len(self.times)))
        earlier = (self.times[place] for place in range(end - 1, -1, -1))
        return TooCloseToExistingOrder(
            f"Order {order_id} at {format_time(at)} is less than three hours away.",
            order={"id": str(order_id), "datetime": format_time(at)},
            free_before=_nearest_free(wanted, earlier, own_id, -DISTANCE),
            free_after=_nearest_free(wanted, later, own_id, DISTANCE),
        )


def _nearest_free(
    wanted: datetime, times: Iterable[Time], own_id: int, step: timedelta
) -> str | None:
    """Return the free time nearest to `wanted` in the direction of `step`; `times` go that way.

    None if it is further away than HORIZON, or outside the table's limits.
    """
    direction = step // DISTANCE
    free = wanted
    for at, order_id in times:
        if order_id == own_id:
            continue
        if direction * (at - free) >= DISTANCE:
            break
        free = at + step
        if abs(free - wanted) > HORIZON:
            return None
    return format_time(free) if EARLIEST <= free <= LATEST else None


def format_time(at: datetime) -> str:
    """Return a time in UTC as clients see it: 2022-11-01T11:11:11.111Z."""
    return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def decide(command: Command, calendar: Calendar) -> Change | Rejection:
    """Return what the command changes and apply it to `calendar`, or return why it can't."""
    match command:
        case CreateOrder():
            return _create(command, calendar)
        case ReplaceOrder():
            return _replace(command, calendar)
        case DeleteOrder():
            return _delete(command, calendar)


def _create(command: CreateOrder, calendar: Calendar) -> Change | Rejection:
    order_id = next(calendar.new_ids)
    if command.order_id in calendar.used_ids:
        return IdTaken(
            f"Another service order has, or had, the id {order_id}: leave it out, or give one "
            "that was never used.",
            service_order_id=str(order_id),
        )
    services = _find_services(command.service_ids, calendar)
    if isinstance(services, Rejection):
        return services
    refusal = calendar.crowding(command.starts_at, order_id)
    if refusal is not None:
        return refusal
    calendar.used_ids.add(order_id)
    order = ServiceOrder(order_id, command.starts_at, command.fee, services)
    return calendar.apply(Change(None, order, command.origin))


def _replace(command: ReplaceOrder, calendar: Calendar) -> Change | Rejection:
    order = _find_order(command, calendar)
    if isinstance(order, Rejection):
        return order
    has = {service.id for service in order.services}
    services = _find_services(command.service_ids, calendar, has)
    if isinstance(services, Rejection):
        return services
    wanted = (command.starts_at, command.fee, services)
    is_same = (command.starts_at, command.fee) == (order.starts_at, order.fee)
    if is_same and has == set(command.service_ids):
        return Change(order, order)
    moved = command.starts_at != order.starts_at
    refusal = calendar.crowding(command.starts_at, order.id) if moved else None
    if refusal is not None:
        return refusal
    # An imported order may stay where it is. Once moved, it is an order like any other.
    imported = order.imported and not moved
    after = ServiceOrder(order.id, *wanted, imported, order.version + 1)
    return calendar.apply(Change(order, after, command.origin))


def _delete(command: DeleteOrder, calendar: Calendar) -> Change | Rejection:
    order = _find_order(command, calendar)
    if isinstance(order, Rejection):
        return order
    return calendar.apply(Change(order, None, command.origin))


def _find_order(
    command: ReplaceOrder | DeleteOrder, calendar: Calendar
) -> ServiceOrder | ServiceOrderNotFound | ServiceOrderChanged:
    order = calendar.orders.get(command.order_id)
    if order is None:
        return ServiceOrderNotFound.of(command.order_id)
    if command.versions is not None and order.revision not in command.versions:
        return precondition_failed(order)
    return order


def precondition_failed(order: ServiceOrder) -> ServiceOrderChanged:
    """Return the refusal of a request whose preconditions do not hold for `order`."""
    return ServiceOrderChanged(
        f"Service order {order.id} has changed since: it is in version {order.revision} now.",
        service_order_id=str(order.id),
        version=order.version,
    )


def _find_services(
    service_ids: Collection[int], calendar: Calendar, has: Container[int] = ()
) -> tuple[Service, ...] | ServicesNotFound:
    """Return the services, or which of them an order that `has` these can't include."""
    known = (calendar.services.get(one) for one in service_ids)
    usable = {
        service.id: service
        for service in known
        if service is not None and (not service.is_retired or service.id in has)
    }
    unknown = [str(one) for one in service_ids if one not in usable]
    if unknown:
        return ServicesNotFound(services=unknown)
    return tuple(usable[one] for one in sorted(service_ids))


def net(changes: Iterable[Change]) -> list[Change]:
    """Merge the changes of each order into one, from first to last; omit those without effect."""
    result: dict[int, Change] = {}
    for before, after, _ in changes:
        order = after or before
        assert order is not None
        first = result[order.id].before if order.id in result else before
        result[order.id] = Change(first, after)
    return [change for change in result.values() if change.before != change.after]
