"""What is wrong with a file: each problem by its line, and only the first ones kept."""

import heapq
from collections.abc import Iterable
from typing import NamedTuple

from rowlock.errors import InvalidDataFile

SHOWN = 20


class Problem(NamedTuple):
    """What is wrong with a row, or with the file from there on."""

    ordinal: int  # of the row in the file, from 1
    text: str  # with the file and the line


class Problems:
    """The problems of a file: how many there are, and the first ones."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.total = 0
        self._first: list[Problem] = []

    def add(self, problems: Iterable[Problem], total: int | None = None) -> None:
        """Note problems; `total` is their number if these are only the first of them."""
        found = list(problems)
        self.total += len(found) if total is None else total
        # Of one row, in the order in which they were found.
        self._first = heapq.nsmallest(SHOWN, [*self._first, *found], key=lambda each: each.ordinal)

    def check(self) -> None:
        """Raise InvalidDataFile if there are any: it has a line for each of the first ones."""
        if not self.total:
            return
        number = "1 problem" if self.total == 1 else f"{self.total:,} problems"
        lines = [f"nothing was changed: {self.name} has {number}."]
        lines += [problem.text for problem in self._first]
        if more := self.total - len(self._first):
            lines.append(f"and {more:,} more.")
        raise InvalidDataFile("\n".join(lines))
