"""The end of the log in memory: what is held, and what is not any more."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest

from rowlock.events.rules import StoredEvent
from rowlock.events.stream import Tail


def event(event_id: int) -> StoredEvent:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    return StoredEvent(event_id, UUID(int=event_id), "it.happened", None, "{}", None, None, now)


def tail_of(*, held: int, begin: int, pages: list[list[int]]) -> Tail:
    tail = Tail(held)
    tail.begin_at(begin)
    for page in pages:
        tail.append([event(event_id) for event_id in page])
    return tail


@pytest.mark.parametrize(
    ("held", "begin", "pages", "after", "expected"),
    [
        # Nothing held: all there is after the beginning is nothing; before it, who knows.
        (3, 0, [], 0, []),
        (3, 10, [], 10, []),
        (3, 10, [], 12, []),
        (3, 10, [], 9, None),
        # Not full: everything since the beginning is there. Ids may have gaps.
        (3, 10, [[12, 15]], 10, [12, 15]),
        (3, 10, [[12, 15]], 11, [12, 15]),
        (3, 10, [[12, 15]], 12, [15]),
        (3, 10, [[12, 15]], 14, [15]),
        (3, 10, [[12, 15]], 15, []),
        (3, 10, [[12, 15]], 99, []),
        (3, 10, [[12, 15]], 9, None),
        # Just full, and then full for long: what has fallen out is where it begins.
        (3, 0, [[1, 2, 3]], 0, [1, 2, 3]),
        (3, 0, [[1, 2], [3, 4]], 0, None),
        (3, 0, [[1, 2], [3, 4]], 1, [2, 3, 4]),
        (3, 0, [[1, 2, 3, 4, 5, 6, 7]], 3, None),
        (3, 0, [[1, 2, 3, 4, 5, 6, 7]], 4, [5, 6, 7]),
        (3, 0, [[2, 4], [6, 8]], 2, [4, 6, 8]),
        (3, 0, [[2, 4], [6, 8]], 3, [4, 6, 8]),
        (1, 0, [[1], [2]], 1, [2]),
        (1, 0, [[1], [2]], 0, None),
    ],
)
def test_after__some_place__what_follows_or_none_if_not_all_is_held(
    held: int, begin: int, pages: list[list[int]], after: int, expected: list[int] | None
) -> None:
    found = tail_of(held=held, begin=begin, pages=pages).after(after)
    assert (found if found is None else [event.id for event in found]) == expected


@pytest.mark.parametrize(
    ("begin", "pages", "last_id"), [(0, [], 0), (7, [], 7), (7, [[8, 9]], 9), (7, [[8], [12]], 12)]
)
def test_last_id__empty_or_not__where_to_read_on(
    begin: int, pages: list[list[int]], last_id: int
) -> None:
    assert tail_of(held=2, begin=begin, pages=pages).last_id == last_id


def test_begin_at__with_events_held__forgets_them() -> None:
    tail = tail_of(held=3, begin=0, pages=[[1, 2, 3]])
    tail.begin_at(5)
    assert tail.last_id == 5
    assert tail.after(2) is None
    assert tail.after(5) == []


@pytest.mark.parametrize("change", [lambda tail: tail.append([event(1)]), lambda f: f.begin_at(1)])
async def test_changed__taken_before_looking__no_change_is_missed(
    change: Callable[[Tail], None],
) -> None:
    tail = tail_of(held=3, begin=0, pages=[])
    more = tail.changed
    assert not more.is_set()
    waiting = asyncio.create_task(more.wait())
    change(tail)  # before the task has begun to wait
    assert await waiting
    assert not tail.changed.is_set()
