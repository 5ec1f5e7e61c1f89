"""The event of a new epoch of the cluster: what it says. The database writes it."""

from typing import Annotated, TypedDict

from rowlock.engine.event_types import EventType, an_id, fact


class Jump(TypedDict):
    """A cut in the ids of a table."""

    last: Annotated[int, fact("The last id before it; 0 if there was none.", minimum=0)]
    first: Annotated[int, an_id("The first id after it.")]


class EpochBegun(TypedDict):
    """What `cluster.epoch_begun` says."""

    epoch: Annotated[int, fact("The number of the epoch.", minimum=1)]
    timeline: Annotated[int, fact("PostgreSQL's timeline in it.", minimum=1)]
    previous_timeline: Annotated[
        int | None, fact("The timeline before; null if it is not known.", minimum=1)
    ]
    declared: Annotated[str, fact("How it came about.", enum=["noticed", "by hand"])]
    ids: Annotated[dict[str, Jump], fact("How ids have jumped, by the table.")]


EPOCH_BEGUN = EventType(
    "cluster.epoch_begun",
    EpochBegun,
    "After a failover or a restore, all ids have jumped: those in between may have been lost.",
    subject="epoch:{epoch}",
    example={
        "epoch": 2,
        "timeline": 2,
        "previous_timeline": 1,
        "declared": "noticed",
        "ids": {"orders": {"last": 161, "first": 1000162}},
    },
)
EVENTS = (EPOCH_BEGUN,)
