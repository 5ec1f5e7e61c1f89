"""What is done to the cluster under load, and what clients notice of it."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from rowlock.engine.database import Database
from rowlock.ops import drill
from rowlock.ops.drill import audit, expected, snapshot
from rowlock.ops.drill.clients import Grounds
from rowlock.ops.drill.journal import Journal
from rowlock.ops.drill.snapshot import Snapshot
from tests.ha.cluster import Cluster, Node
from tests.ha.probe import Probes
from tests.ha.rowlocks import Answers, Rowlock, clients_of
from tests.support.polling import until

STEADY_S = 3.0
LAG_S = 1.0
WRITES_S = 300.0  # until writes succeed again; on an idle machine it is ttl, 20 s
SETTLE_S = 600.0  # until nothing is pending, nothing undelivered
PROXY = "haproxy"
DIALLED = {  # in the table
    "hosts": "URL of three hosts",
    "haproxy": "HAProxy",
    "pgbouncer": "PgBouncer, HAProxy",
}


@dataclass(frozen=True)
class Fault:
    """Something that happens to the primary."""

    name: str
    strike: Callable[[Cluster, Node], None]
    mend: Callable[[Node], None]
    is_silent: bool = False  # the former primary does not refuse connections
    is_synchronous: bool = True  # else writes may be lost


FAULTS = {
    "switchover": Fault("Switchover", lambda cluster, _: cluster.switch_over(), lambda _: None),
    "kill": Fault("Machine lost (kill -9)", lambda _, node: node.kill(), Node.start),
    "freeze": Fault(
        "Machine frozen (SIGSTOP)",
        lambda _, node: node.freeze(),
        Node.thaw,
        is_silent=True,
    ),
    "lag": Fault(
        "Machine lost, asynchronous, standbys 1 s behind",
        lambda cluster, node: cluster.kill_with_lag(node, LAG_S),
        Node.start,
        is_synchronous=False,
    ),
}


@dataclass(frozen=True)
class Line:
    """What the clients of one way of dialling have noticed."""

    way: str
    gap_s: float
    share_s: float  # of the gap: after the new primary could take writes
    acknowledged: int
    statuses: Counter[int]
    errors: int


@dataclass(frozen=True)
class Result:
    """A round."""

    fault: Fault
    able_s: float  # from the fault until the new primary took a write of a plain client
    proxied_s: float  # the same, through HAProxy
    lines: list[Line]
    acknowledged: int
    lost: list[str]
    doubled: list[str]
    problems: list[str]


class Rounds:
    """Rounds on one cluster, one after another."""

    def __init__(
        self, cluster: Cluster, served: list[Rowlock], databases: tuple[Database, Database]
    ) -> None:
        self._cluster = cluster
        self._served = served
        self._main, self._events = databases
        self._number = 0

    async def run(self, fault: Fault, grounds: Grounds) -> Result:
        """Strike under load, wait until all write again, mend; then look at what is stored."""
        self._number += 1
        await asyncio.to_thread(self._cluster.be_synchronous, fault.is_synchronous)
        former = await asyncio.to_thread(self._cluster.primary)
        before = await snapshot.take(self._main, self._events)
        journal = Journal()
        probes = Probes(
            {node.name: node.url() for node in self._cluster.nodes}
            | {PROXY: self._cluster.by_proxy("postgres", "postgres")}
        )
        with probes.running():
            async with clients_of(self._served, grounds, journal, self._number) as answers:
                await asyncio.sleep(STEADY_S)
                struck = time.monotonic()
                await asyncio.to_thread(fault.strike, self._cluster, former)
                able = await until(lambda: self._able(probes, former, struck), WRITES_S)
                proxied = await until(lambda: probes.first_commit(PROXY, able), WRITES_S)
                await until(
                    lambda: all(each.has_written(able) for each in answers.values()), WRITES_S
                )
                await asyncio.sleep(STEADY_S)
        await asyncio.to_thread(fault.mend, former)
        await asyncio.to_thread(self._cluster.heal)
        settled = await drill.settle(self._main, SETTLE_S)
        after = await snapshot.take(self._main, self._events)
        lost, doubled = differences(before, after, journal)
        findings = [settled, *audit.compare(before, after, journal)]
        return Result(
            fault,
            able - struck,
            proxied - struck,
            [line_of(way, told, struck, able) for way, told in answers.items()],
            journal.acknowledged,
            lost,
            doubled,
            [f"{each.check}: {each.problem}" for each in findings if each.problem],
        )

    def _able(self, probes: Probes, former: Node, struck: float) -> float | None:
        """When a node that was not the primary has first taken a write."""
        others = [node.name for node in self._cluster.nodes if node is not former]
        firsts = [probes.first_commit(name, struck) for name in others]
        return min((first for first in firsts if first is not None), default=None)


def line_of(way: str, told: Answers, struck: float, able: float) -> Line:
    """Return what the clients of one Rowlock have noticed of a fault."""
    began, ended = told.longest_silence(struck)
    return Line(
        way=way,
        gap_s=ended - began,
        share_s=max(0.0, ended - able),
        acknowledged=len(told.acknowledged),
        statuses=told.statuses,
        errors=told.errors,
    )


def differences(before: Snapshot, after: Snapshot, journal: Journal) -> tuple[list[str], list[str]]:
    """Return what was acknowledged and is not stored, and what is stored beyond that."""
    due: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for kind, acknowledged, stored, known in (
        ("order", journal.orders | journal.benefit_orders, after.orders, before.orders),
        ("invoice", journal.invoices, after.invoices, before.invoices),
        ("refund", journal.refunds, after.refunds, before.refunds),
        ("transfer", journal.transfers, after.transfers, before.transfers),
        ("deployment", journal.deployments, after.deployments, before.deployments),
    ):
        due.update(f"{kind} {id_}" for id_ in acknowledged)
        found.update(f"{kind} {id_}" for id_ in stored.keys() - known.keys())
    entries = before.entries + expected.entries(after, journal)
    events = before.events + expected.events(after, journal)
    due.update({f"entry {each}": count for each, count in entries.items()})
    found.update({f"entry {each}": count for each, count in after.entries.items()})
    due.update({f"event {each}": count for each, count in events.items()})
    found.update({f"event {each}": count for each, count in after.events.items()})
    return sorted((due - found).elements()), sorted((found - due).elements())
