"""Whether the steps on one thing fit one order of its versions in real time.

Pure: no I/O.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from rowlock.ops.drill.journal import Call


class Step(NamedTuple):
    """An operation on one thing, by the versions of that thing."""

    call: Call
    told: str
    versions: Sequence[int]  # those that it fits, ascending; a write: the one that it made
    is_write: bool = False
    onwards: int | None = None  # it also fits this one and all that follow


@dataclass(slots=True)
class Timelines:
    """The steps by what they are on, and the writes whose outcome is unknown."""

    floors: dict[str, int] = field(default_factory=dict)
    steps: dict[str, list[Step]] = field(default_factory=lambda: defaultdict(list))
    known: set[tuple[str, str]] = field(default_factory=set)
    unknown: dict[tuple[str, str], Step] = field(default_factory=dict)

    def saw(
        self,
        subject: str,
        call: Call,
        told: str,
        versions: Sequence[int],
        onwards: int | None = None,
    ) -> None:
        """Note a read, which fits these versions, and those from `onwards` on."""
        self.steps[subject].append(Step(call, told, versions, onwards=onwards))

    def wrote(self, subject: str, call: Call, told: str, version: int) -> None:
        """Note a write. Of those without an answer, which may be another's, the first one counts.

        It counts only where no write has been acknowledged for the same thing.
        """
        step, key = Step(call, told, (version,), is_write=True), (subject, told)
        if call.responded < inf:
            self.steps[subject].append(step)
            self.known.add(key)
        elif key not in self.unknown or call.invoked < self.unknown[key].call.invoked:
            self.unknown[key] = step

    def all(self) -> Iterator[tuple[str, list[Step]]]:
        """Yield the steps on each thing."""
        for (subject, told), step in self.unknown.items():
            if (subject, told) not in self.known:
                self.steps[subject].append(step)
        yield from self.steps.items()


def sweep(steps: Sequence[Step], floor: int = 0) -> Iterator[str]:
    """Yield why the steps on one thing fit no order of its versions in real time.

    Each step takes the lowest version that it fits and that is not below what had been told when
    it began; a higher one would only leave less to those that follow. `floor` is the version
    before the first step.
    """
    told_by: Step | None = None
    chosen: dict[int, int] = {}
    moments = sorted(
        [
            *((step.call.invoked, False, number) for number, step in enumerate(steps)),
            *((step.call.responded, True, number) for number, step in enumerate(steps)),
        ]
    )
    for _, is_response, number in moments:
        step = steps[number]
        if is_response:
            if chosen.get(number, -1) > floor:
                floor, told_by = chosen[number], step
            continue
        if step.is_write:
            chosen[number] = step.versions[0]
            if step.versions[0] <= floor:
                yield _tell("future", step, "had been seen before it began", told_by)
            continue
        lowest = _lowest(step, floor)
        if lowest is None:
            yield _tell("stale", step, "was out of date when it began", told_by)
        else:
            chosen[number] = lowest


def _lowest(step: Step, floor: int) -> int | None:
    """Return the lowest version from `floor` on that the step fits; None if it fits none."""
    place = bisect_left(step.versions, floor)
    if place < len(step.versions):
        return step.versions[place]
    return None if step.onwards is None else max(step.onwards, floor)


def _tell(kind: str, step: Step, what: str, told_by: Step | None) -> str:
    by = f"by {told_by.call}: {told_by.told}" if told_by else "by what was there at the start"
    return f"{kind}: {step.call}: {step.told} {what}, {by}"
