"""Whose orders are settled next, and which of them stay in the database meanwhile."""

import random
from collections.abc import Collection, Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from rowlock.orders.backlog import FEW, NO_END, TURN, Backlog, Page, UserId

ADA, BOB, EVE = 1, 2, 3
ROOMY = 100_000


class Table:
    """Pending orders by id, of these users, as a search would read them."""

    def __init__(self, users: Sequence[UserId]) -> None:
        self.pending: dict[int, UserId] = dict(enumerate(users, start=1))

    def read(self, after: int, size: int = NO_END, left_out: Collection[UserId] = ()) -> Page:
        found = [
            order_id
            for order_id in sorted(self.pending)
            if order_id > after and self.pending[order_id] not in left_out
        ][:size]
        orders: dict[UserId, list[int]] = {}
        for order_id in found:
            orders.setdefault(self.pending[order_id], []).append(order_id)
        return Page(after, found[-1] if len(found) == size else NO_END, orders, left_out)


def backlog_of(orders: Mapping[UserId, Sequence[int]], most: int = ROOMY) -> Backlog:
    backlog = Backlog(most)
    backlog.add(Page(0, NO_END, orders))
    return backlog


def test_take__one_user_alone__fills_the_batch_in_order() -> None:
    backlog = backlog_of({ADA: range(1, 1001)})
    assert backlog.take(512) == [*range(1, 513)]
    assert backlog.take(512) == [*range(513, 1001)]
    assert backlog.is_idle


def test_take__few_orders_of_another__come_next_however_many_wait() -> None:
    backlog = backlog_of({ADA: range(1, 1001), EVE: range(1001, 2001)})
    backlog.take(4)
    backlog.add(Page(2000, NO_END, {BOB: range(2001, 2001 + FEW)}))
    assert backlog.take(100)[:FEW] == [*range(2001, 2001 + FEW)]


def test_take__many_orders_of_each__turns_of_all() -> None:
    backlog = backlog_of({ADA: range(1, 1001), EVE: range(1001, 2001), None: range(2001, 3001)})
    taken = backlog.take(3 * TURN)
    assert taken == [start + n for start in (1, 1001, 2001) for n in range(TURN)]


def test_take__new_users_without_end__those_with_many_have_a_share() -> None:
    backlog = backlog_of({ADA: range(1, 1001)})
    backlog.take(1)
    backlog.add(Page(1000, NO_END, {user_id: [1000 + user_id] for user_id in range(10, 1010)}))
    taken = backlog.take(100)
    assert sum(order_id <= 1000 for order_id in taken) == 25


def test_add__read_again__known_ones_are_left_out() -> None:
    backlog = backlog_of({ADA: [1, 2, 3]})
    assert backlog.take(2) == [1, 2]
    backlog.add(Page(0, NO_END, {ADA: [1, 2, 3, 4]}))
    assert backlog.take(10) == [3, 4]
    backlog.finish([1, 2, 3, 4])
    backlog.add(Page(0, NO_END, {ADA: [2]}))  # it was another process's, which has left it
    assert backlog.take(10) == [2]


def test_add__one_user_with_more_than_there_is_room_for__room_for_another_is_left() -> None:
    backlog = backlog_of({ADA: range(1, 1001)}, most=100)
    assert not backlog.is_full
    assert backlog.reads_on_from() is None  # there is enough to do
    backlog.add(Page(1000, NO_END, {BOB: range(1001, 1100)}))
    taken = backlog.take(1000)
    assert sum(order_id <= 1000 for order_id in taken) == 50
    assert sum(order_id > 1000 for order_id in taken) == 25
    assert backlog.reads_on_from() == 50


def test_put_aside__orders_of_a_locked_user__wait_apart_and_in_order() -> None:
    backlog = backlog_of({ADA: range(1, 21), BOB: [21]})
    assert backlog.take(4) == [21, 1, 2, 3]
    backlog.put_aside(ADA, [1, 2, 3])
    assert backlog.take(100) == []
    backlog.probe_aside()
    assert backlog.take(100) == [1]
    assert backlog.take(100) == []
    backlog.finish([1])
    backlog.put_in_line(ADA)
    assert backlog.take(100) == [*range(2, 21)]


async def test_next_aside__several_users__by_turns() -> None:
    backlog = backlog_of({ADA: [1, 2, 3], BOB: [4]})
    backlog.take(100)
    backlog.put_aside(ADA, [1, 2, 3])
    backlog.put_aside(BOB, [4])
    turns = [await backlog.next_aside(2) for _ in range(3)]
    assert turns == [(ADA, [1, 2]), (BOB, [4]), (ADA, [3])]


@given(
    users=st.lists(st.sampled_from([None, ADA, ADA, ADA, ADA, BOB, EVE]), max_size=300),
    most=st.integers(1, 64),
    page=st.integers(1, 32),
    batch=st.integers(1, 16),
    rng=st.randoms(use_true_random=True),
)
def test_backlog__whatever_is_read_and_taken__each_order_once_and_none_forgotten(
    users: list[UserId], most: int, page: int, batch: int, rng: random.Random
) -> None:
    table, backlog = Table(users), Backlog(most)
    after: int | None = 0  # of a pass
    held: set[int] = set()
    while True:
        if after is not None and not backlog.is_full:
            read = table.read(after, page, backlog.users_beyond if rng.random() < 0.8 else ())
            backlog.add(read)
            after = None if read.last == NO_END else read.last
        further = backlog.reads_on_from()
        if further is not None and rng.random() < 0.5:
            backlog.add(table.read(further, page))
        taken = backlog.take(batch)
        assert len(taken) == len({*taken}) <= batch
        assert held.isdisjoint(taken)
        for order_id in taken:
            if rng.random() < 0.5:
                del table.pending[order_id]  # settled
                backlog.finish([order_id])
            elif table.pending[order_id] is None:
                held.add(order_id)  # being settled for long
            else:
                backlog.put_aside(table.pending[order_id], [order_id])
        backlog.probe_aside()
        for user_id in (ADA, BOB, EVE):
            backlog.put_in_line(user_id)
        if after is None and backlog.reads_on_from() is None and backlog.is_idle:
            break
    assert table.pending.keys() == held
