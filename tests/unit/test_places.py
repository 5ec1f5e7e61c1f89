"""Where the relay goes back to, by what the events service says of its log."""

import pytest

from rowlock.delivery.places import (
    LOG_CHANGED,
    MARK_BEHIND,
    START,
    Cut,
    Mark,
    Place,
    Return,
    find_return,
)

A, B, C = Place(7, 9), Place(8, 2), Place(8, 3)


@pytest.mark.parametrize(
    ("known", "told", "cursor", "back"),
    [
        # Nothing is missing.
        (("log", B), ("log", B), B, None),
        (("log", B), ("log", B), C, None),  # what comes after it was parked
        (("log", B), ("log", C), B, None),  # an answer was lost
        (("log", None), ("log", A), START, None),
        (("log", None), ("log", None), A, None),
        # A copy of the log was restored.
        (("log", B), ("log", A), B, (A, MARK_BEHIND)),
        (("log", B), ("log", A), C, (A, MARK_BEHIND)),
        (("log", B), ("log", None), C, (START, MARK_BEHIND)),
        (("log", C), ("log", B), A, None),  # it delivers again already, from further back
        # It is another log.
        (("log", B), ("new", None), B, (START, LOG_CHANGED)),
        (("log", B), ("new", A), B, (A, LOG_CHANGED)),
        (("log", B), ("new", B), B, None),
        (("log", B), ("new", B), C, (B, LOG_CHANGED)),
        (("log", B), ("new", C), B, None),  # never forward
        (("log", None), ("new", None), START, None),
    ],
)
def test_find_return__what_is_known_and_told__to_the_mark_if_something_is_missing(
    known: tuple[str, Place | None],
    told: tuple[str, Place | None],
    cursor: Place,
    back: tuple[Place, str] | None,
) -> None:
    expected = Return(*back) if back is not None else None
    assert find_return(Mark(*known), Mark(*told), cursor) == expected


# A primary was lost, with all that had the transaction ids from 8 on. The promoted one gives them
# again, with positions from 1,000 on.
LOST = Place(12, 5)
NEW, NEWER = Place(8, 1000), Place(9, 1003)
PROMOTED = Cut(1000, Place(7, 3))
# It is lost as well.
LOST_TOO, NEWEST = Place(20, 1010), Place(10, 2000)
AGAIN = Cut(2000, NEWER)


@pytest.mark.parametrize(
    ("known", "told", "cursor", "cuts", "back"),
    [
        # The log still has what the former primary had delivered.
        (Place(7, 3), LOST, Place(7, 3), [], None),
        (Place(7, 3), LOST, Place(7, 3), [PROMOTED], None),
        (LOST, NEW, Place(7, 3), [PROMOTED], None),  # an answer was lost
        (LOST, NEW, NEW, [PROMOTED], None),
        # It goes back to that: all of the new epoch is missing.
        (NEW, LOST, NEW, [PROMOTED], PROMOTED.before),
        (NEWER, LOST, NEWER, [PROMOTED], PROMOTED.before),
        (NEWER, LOST, Place(7, 3), [PROMOTED], None),  # it delivers again already
        (NEWER, Place(7, 2), NEWER, [PROMOTED], Place(7, 2)),  # and some of the former one
        (NEWER, None, NEWER, [PROMOTED], START),
        (NEWER, NEW, NEWER, [PROMOTED], NEW),
        (NEWER, LOST, NEWER, [Cut(1000, START)], START),  # what was before is not kept
        # Two epochs have begun since.
        (NEWEST, LOST_TOO, NEWEST, [PROMOTED, AGAIN], NEWER),
        (NEWEST, LOST, NEWEST, [PROMOTED, AGAIN], PROMOTED.before),
        (NEWEST, NEWER, NEWEST, [PROMOTED, AGAIN], NEWER),
        (NEWEST, NEW, NEWEST, [PROMOTED, AGAIN], NEW),
        (NEWER, LOST, NEWER, [PROMOTED, AGAIN], PROMOTED.before),
        (LOST_TOO, NEWEST, NEWER, [PROMOTED, AGAIN], None),
    ],
)
@pytest.mark.parametrize("has_moved", [True, False])
def test_find_return__mark_of_a_lost_transaction__is_of_its_epoch(
    known: Place,
    told: Place | None,
    cursor: Place,
    cuts: list[Cut],
    back: Place | None,
    *,
    has_moved: bool,
) -> None:
    log, reason = ("new", LOG_CHANGED) if has_moved else ("log", MARK_BEHIND)
    expected = Return(back, reason) if back is not None else None
    assert find_return(Mark("log", known), Mark(log, told), cursor, cuts) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(None, 7, "", "7", "7/", "/9", "-7/9", "7/9/1", " 7/9", "7/9\n", "\u0667/9"),
        *("007/9", "7/09", "00/0", f"{2**64}/9", f"7/{2**63}", "7" * 21 + "/9"),
    ],
)
def test_parse__no_place__none(text: object) -> None:
    assert Place.parse(text) is None


@pytest.mark.parametrize("place", [START, C, Place(2**64 - 1, 2**63 - 1)])
def test_parse__what_was_written__the_same_place(place: Place) -> None:
    assert Place.parse(str(place)) == place
