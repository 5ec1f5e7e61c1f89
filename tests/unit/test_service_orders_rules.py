"""Who keeps away from whom, as tables."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowlock.rejections import (
    Rejection,
    ServiceOrderChanged,
    ServiceOrderNotFound,
    ServicesNotFound,
    TooCloseToExistingOrder,
)
from rowlock.service_orders.rules import (
    DISTANCE,
    EARLIEST,
    HORIZON,
    LATEST,
    Calendar,
    Change,
    Command,
    CreateOrder,
    DeleteOrder,
    ReplaceOrder,
    Service,
    ServiceOrder,
    decide,
    format_time,
    net,
)

INSPECTION, TESTING = Service(123, "Inspection"), Service(789, "Testing")
NOON = datetime(2022, 11, 1, 12, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def order(order_id: int, at: datetime = NOON, *, imported: bool = False) -> ServiceOrder:
    return ServiceOrder(order_id, at, 100, (INSPECTION,), imported)


def calendar(*orders: ServiceOrder) -> Calendar:
    return Calendar(
        {one.id: one for one in orders},
        sorted((one.starts_at, one.id) for one in orders),
        {service.id: service for service in (INSPECTION, TESTING)},
        iter(range(1000, 2000)),
    )


def book(at: datetime) -> CreateOrder:
    return CreateOrder(at, 100, (123,))


def move(order_id: int, at: datetime) -> ReplaceOrder:
    return ReplaceOrder(order_id, at, 100, (123,))


def changed(command: Command, state: Calendar) -> Change:
    """The change that the command makes."""
    outcome = decide(command, state)
    assert isinstance(outcome, Change)
    return outcome


def refused(command: Command, state: Calendar) -> Rejection:
    """Why the command is refused."""
    outcome = decide(command, state)
    assert isinstance(outcome, Rejection)
    return outcome


@pytest.mark.parametrize("imported", [False, True])
@pytest.mark.parametrize(
    ("away", "allowed"),
    [
        (hours(0), False),
        (hours(1), False),
        (hours(-1), False),
        (hours(3) - MILLISECOND, False),
        (hours(-3) + MILLISECOND, False),
        (hours(3), True),
        (hours(-3), True),
        (hours(24), True),
    ],
)
def test_create__away_from_another__allowed_from_three_hours_on(
    away: timedelta, allowed: bool, imported: bool
) -> None:
    outcome = decide(book(NOON + away), calendar(order(1, imported=imported)))
    assert isinstance(outcome, Change) == allowed
    assert isinstance(outcome, TooCloseToExistingOrder) != allowed


@pytest.mark.parametrize(
    ("others", "wanted", "named", "before", "after"),
    [
        ([0], 0, 0, -3, 3),
        ([0], 1, 0, -3, 3),
        ([0, 3], 0, 0, -3, 6),
        ([0, 3], 2, 3, -3, 6),
        ([0, 4], 2, 0, -3, 7),  # both are two hours away: the earlier one
        ([0, 5], 2.5, 0, -3, 8),  # a gap of five hours holds nothing
        ([0, 6], 1, 0, -3, 3),  # a gap of six hours holds one
        ([0, 6], 4, 6, 3, 9),
        ([0, 6.5], 4, 6.5, 3.5, 9.5),
        ([-3, 0, 3, 6, 12], 1, 0, -6, 9),
        ([0, 0, 0], 0, 0, -3, 3),
        ([0, 0, 3, 3, 6], 0, 0, -3, 9),
    ],
)
def test_create__too_close__names_the_order_and_the_nearest_free_times(
    others: list[float], wanted: float, named: float, before: float, after: float
) -> None:
    orders = [order(number, NOON + hours(at)) for number, at in enumerate(others)]
    refusal = decide(book(NOON + hours(wanted)), calendar(*orders))
    assert isinstance(refusal, TooCloseToExistingOrder)
    assert refusal.details == {
        "order": {"id": str(others.index(named)), "datetime": format_time(NOON + hours(named))},
        "free_before": format_time(NOON + hours(before)),
        "free_after": format_time(NOON + hours(after)),
    }


def test_create__full_until_the_horizon__no_free_time_on_that_side() -> None:
    later = [order(number, NOON + number * DISTANCE) for number in range(HORIZON // DISTANCE + 1)]
    refusal = refused(book(NOON), calendar(*later))
    assert refusal.details["free_before"] == format_time(NOON - DISTANCE)
    assert refusal.details["free_after"] is None
    refusal = refused(book(NOON), calendar(*later[:-1]))
    assert refusal.details["free_after"] == format_time(NOON + HORIZON)


@pytest.mark.parametrize(
    ("end", "side", "other"),
    [(EARLIEST, "free_before", "free_after"), (LATEST, "free_after", "free_before")],
)
def test_create__at_an_end_of_time__no_free_time_beyond(
    end: datetime, side: str, other: str
) -> None:
    refusal = refused(book(end), calendar(order(1, end)))
    assert refusal.details[side] is None
    assert refusal.details[other] is not None


@pytest.mark.parametrize(
    ("moved_to", "outcome"),
    [
        (hours(0), Change),
        (hours(0.1), Change),  # within its own window
        (hours(-2.9), Change),
        (hours(3), Change),
        (hours(3.1), TooCloseToExistingOrder),  # the next one is at 6
        (hours(6), TooCloseToExistingOrder),
        (hours(9), Change),
    ],
)
def test_replace__moved__away_from_others_but_not_from_itself(
    moved_to: timedelta, outcome: type
) -> None:
    state = calendar(order(1), order(2, NOON + hours(6)))
    assert type(decide(move(1, NOON + moved_to), state)) is outcome


def test_replace__too_close__its_own_place_counts_as_free() -> None:
    state = calendar(order(1), order(2, NOON + hours(5)))
    refusal = refused(move(1, NOON + hours(2.5)), state)
    assert refusal.details["free_before"] == format_time(NOON + hours(2))


@pytest.mark.parametrize(
    ("command", "imported", "version"),
    [
        (ReplaceOrder(1, NOON, 100, (123,)), True, 1),  # as it was: nothing changes
        (ReplaceOrder(1, NOON, 200, (123,)), True, 2),
        (ReplaceOrder(1, NOON, 100, (789, 123)), True, 2),
        (ReplaceOrder(1, NOON + hours(3), 100, (123,)), False, 2),
    ],
)
def test_replace__imported__stays_so_until_it_is_moved(
    command: ReplaceOrder, imported: bool, version: int
) -> None:
    state = calendar(order(1, imported=True), order(2, imported=True))
    after = changed(command, state).after
    assert after is not None
    assert (after.imported, after.version) == (imported, version)


def test_replace__imported_moved_within_three_hours_of_its_fellows__refused() -> None:
    state = calendar(order(1, imported=True), order(2, imported=True))
    refusal = decide(move(1, NOON + MILLISECOND), state)
    assert isinstance(refusal, TooCloseToExistingOrder)
    assert refusal.details["order"]["id"] == "2"


def test_replace__services__are_a_set_by_id() -> None:
    after = changed(ReplaceOrder(1, NOON, 100, (789, 123)), calendar(order(1))).after
    assert after is not None
    assert after.services == (INSPECTION, TESTING)


OTHER = NOON + hours(24)


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        (CreateOrder(NOON, 1, (123, 7)), ServicesNotFound),  # before: too close
        (ReplaceOrder(9, NOON, 1, (7,), frozenset({"9"})), ServiceOrderNotFound),
        (ReplaceOrder(1, OTHER, 1, (7,), frozenset({"9"})), ServiceOrderChanged),
        (ReplaceOrder(1, OTHER, 1, (7,), frozenset({"1"})), ServicesNotFound),
        (ReplaceOrder(1, OTHER, 1, (123,), frozenset()), ServiceOrderChanged),
        (DeleteOrder(9, frozenset({"9"})), ServiceOrderNotFound),
        (DeleteOrder(1, frozenset({"2"})), ServiceOrderChanged),
    ],
)
def test_decide__several_things_wrong__the_first_of_them_and_nothing_changed(
    command: Command, refusal: type[Rejection]
) -> None:
    state, untouched = calendar(order(1)), calendar(order(1))
    assert type(decide(command, state)) is refusal
    assert (state.orders, state.times) == (untouched.orders, untouched.times)


@pytest.mark.parametrize("versions", [None, frozenset({"1"}), frozenset({"7", "1"})])
def test_delete__version_accepted__gone(versions: frozenset[str] | None) -> None:
    state = calendar(order(1))
    assert decide(DeleteOrder(1, versions), state) == Change(order(1), None)
    assert (state.orders, state.times) == ({}, [])


def test_decide__one_after_the_other__each_sees_what_the_ones_before_did() -> None:
    state = calendar(order(1), order(2, NOON + hours(3)))
    outcomes = [
        decide(command, state)
        for command in (
            book(NOON + hours(1)),  # 1000: refused
            move(1, NOON - hours(3)),
            book(NOON + hours(0)),  # 1001: where 1 has been
            move(1001, NOON + hours(20)),
            DeleteOrder(1),
            book(NOON - hours(1)),  # 1002: where 1 and 1001 have been
            DeleteOrder(1002),
            DeleteOrder(1002),
        )
    ]
    assert [type(outcome) for outcome in outcomes] == [
        TooCloseToExistingOrder,
        *[Change] * 6,
        ServiceOrderNotFound,
    ]
    changes = [outcome for outcome in outcomes if isinstance(outcome, Change)]
    assert net(changes) == [
        Change(order(1), None),
        Change(None, replace(order(1001, NOON + hours(20)), version=2)),
    ]


def test_net__changed_and_back__the_version_has_risen() -> None:
    state = calendar(order(1))
    changes = [changed(move(1, NOON + hours(at)), state) for at in (1, 0)]
    assert net(changes) == [Change(order(1), replace(order(1), version=3))]


half_hours = st.integers(-60, 60).map(lambda number: NOON + number * timedelta(minutes=30))


@given(st.lists(half_hours, max_size=12), half_hours)
def test_create__any_calendar__free_times_are_free_and_nothing_nearer_is(
    times: list[datetime], wanted: datetime
) -> None:
    state = calendar(*(order(number, at) for number, at in enumerate(times)))

    def is_free(at: datetime) -> bool:
        return all(abs(at - other) >= DISTANCE for other in times)

    outcome = decide(book(wanted), state)
    assert isinstance(outcome, Rejection) != is_free(wanted)
    if isinstance(outcome, Rejection):
        # Half hours are enough to look at: all orders are on one, and so is their distance.
        steps = [timedelta(minutes=30) * number for number in range(200)]
        assert outcome.details["free_before"] == format_time(
            next(wanted - step for step in steps if is_free(wanted - step))
        )
        assert outcome.details["free_after"] == format_time(
            next(wanted + step for step in steps if is_free(wanted + step))
        )


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2022, 11, 1, 11, 11, 11, 111_000, UTC), "2022-11-01T11:11:11.111Z"),
        (datetime(2022, 11, 1, tzinfo=UTC), "2022-11-01T00:00:00.000Z"),
        (EARLIEST, "0001-01-02T00:00:00.000Z"),
    ],
)
def test_as_text__milliseconds_and_z(at: datetime, text: str) -> None:
    assert format_time(at) == text
