"""How many commands share a batch, by a server's own metrics."""

import re
import urllib.request
from collections import Counter
from typing import NamedTuple

from harness import Server

READS = ("find_", "list_", "check_")  # lanes that commit nothing
SETTLING = "settle_order"  # the lane of the background
SERIES = re.compile(r'^rowlock_batch_items_(sum|count)\{lane="(\w+)".*\} (\S+)$', re.MULTILINE)


class Batches(NamedTuple):
    """What the lanes of a server have done since it was started, by lane."""

    items: Counter[str]
    runs: Counter[str]

    def commands_since(self, earlier: "Batches") -> float:
        """Return how many commands each batch had since then, in the lane that had most.

        It is 1 if nothing was batched, such as lists.
        """
        items, runs = self.items - earlier.items, self.runs - earlier.runs
        del items[SETTLING]
        for lane, most in items.most_common(1):
            return most / runs[lane]
        return 1.0

    @property
    def commits(self) -> int:
        """How many batches have committed something."""
        return sum(runs for lane, runs in self.runs.items() if not lane.startswith(READS))


def read(server: Server) -> Batches:
    """Return what all workers of a server have done."""
    with urllib.request.urlopen(f"{server.url}/metrics") as answer:
        text = answer.read().decode()
    found = Batches(Counter(), Counter())
    for kind, lane, value in SERIES.findall(text):
        (found.items if kind == "sum" else found.runs)[lane] += int(float(value))
    return found
