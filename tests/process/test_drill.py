"""`rowlock drill`: a short one, what it refuses, and that its audit finds what is wrong."""

import contextlib
import os
import random
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from rowlock.ops.drill.audit import Snapshot, compare
from rowlock.ops.drill.history import Posted
from rowlock.ops.drill.journal import Call, Entry, Journal, SawBalance, Wrote
from rowlock.ops.drill.processes import ServeProcess, environment
from rowlock.ops.drill.stack import Stack
from tests.support.polling import until
from tests.support.processes import rowlock


async def test_drill__services_and_postgres_killed__nothing_lost_nothing_twice(
    tmp_path: Path,
) -> None:
    status, output = await rowlock(
        *("drill", "--minutes", "0.15", "--postgres", "--seed", "1"),
        *("--data-dir", str(tmp_path)),
    )
    assert status == 0, output
    assert "FAIL" not in output
    acknowledged = re.search(r"Writes acknowledged: (\d+)", output)
    assert acknowledged is not None
    assert int(acknowledged[1]) > 0  # a slow machine starts for most of the time
    assert re.search(r"Killed -9: .*postgres [1-9]", output)
    checks = set(re.findall(r"^ok +([a-z ]+):", output, re.MULTILINE | re.IGNORECASE))
    assert checks >= {"settled", "orders", "payments", "ledger entries", "events", "money"}
    assert "history" in checks
    told = re.search(r"(\d+) operations fit one order", output)
    assert told is not None
    assert int(told[1]) > 0


@pytest.mark.parametrize("name", ["database_url", "events_database_url"])
async def test_drill__configured_database__refused(name: str) -> None:
    status, output = await rowlock("drill", **{name: "postgresql://localhost/precious"})
    assert status == 1
    assert output == "rowlock: A drill never runs on a configured database: unset its URL first.\n"


async def test_drill__folder_with_something_in_it__refused(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    status, output = await rowlock("drill", "--data-dir", str(tmp_path))
    assert status == 1
    assert "is not empty" in output
    assert os.listdir(tmp_path) == ["precious"]


@pytest.mark.parametrize("seed", range(6))
async def test_kill__same_seed__same_victim_among_the_workers(tmp_path: Path, seed: int) -> None:
    stack = Stack(tmp_path, {"main": "", "events": ""})
    service = ServeProcess(
        environment=environment(),
        output=tmp_path / "output",
        command=("bash", "-c", "sleep 600 & sleep 600 & wait"),
    )
    await service.spawn()
    workers = await until(lambda: len(service.workers()) == 2 and service.workers())
    family = [workers[0].parent(), *workers]
    stack._services["commerce"] = service
    await stack.kill("commerce", random.Random(seed))
    gone = await until(lambda: [one for one in family if is_gone(one)])
    for each in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    await service.wait()
    assert [family.index(one) for one in gone] == random.Random(seed).choices(range(3))


def is_gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
NOTHING = Snapshot(
    usernames={},
    negative=set(),
    orders={},
    invoices={},
    bookings=[],
    deployments={},
    ledgers={},
    events=Counter(),
    assigned=Counter(),
    request_ids=set(),
)
JOURNAL = Journal(
    usernames={"ada"},
    benefit_orders={1},
    orders={2, 3},
    invoices={1, 2},
    paid={1},
    bookings={1, 2, 3},
    changes=Counter({2: 2}),
    deleted={3},
    deployments={7},
    moves={(7, "building"), (7, "done")},
    posted={"drill:x"},
    request_ids={"r1", "r2"},
    repetitions={"r3"},
)
LEDGER = [
    Posted(Entry(1, 50_000, 50_000, "user:1"), "700"),
    Posted(Entry(2, -100, 49_900, "order:1"), "701"),
    Posted(Entry(3, -200, 49_700, "order:2"), "702"),
    Posted(Entry(4, 50, 49_750, "invoice:1"), "703"),
]
GOOD = Snapshot(
    usernames={"ada": 1},
    negative=set(),
    orders={1: (1, "approved", 100), 2: (1, "approved", 200), 3: (None, "refused", 5)},
    invoices={1: ("paid", 50), 2: ("pending", 60)},
    bookings=[(1, NOON, False), (2, NOON + timedelta(hours=3), False)],
    deployments={7: (4, "done")},
    ledgers={1: LEDGER},
    events=Counter(
        {
            ("drill.posted", "drill:x", ""): 1,
            ("user.created", "user:1", ""): 1,
            ("benefit_order.placed", "order:1", ""): 1,
            ("order.created", "order:2", ""): 1,
            ("order.approved", "order:2", ""): 1,
            ("order.created", "order:3", ""): 1,
            ("order.refused", "order:3", ""): 1,
            ("invoice.created", "invoice:1", ""): 1,
            ("invoice.created", "invoice:2", ""): 1,
            ("invoice.paid", "invoice:1", ""): 1,
            ("service_order.created", "service_order:1", ""): 1,
            ("service_order.created", "service_order:2", ""): 1,
            ("service_order.created", "service_order:3", ""): 1,
            ("service_order.updated", "service_order:2", ""): 2,
            ("service_order.deleted", "service_order:3", ""): 1,
            ("deployment.created", "project:4", "7"): 1,
            ("deployment.building", "project:4", "7"): 1,
            ("deployment.done", "project:4", "7"): 1,
        }
    ),
    assigned=Counter({"project:4": 1}),
    request_ids={"r1", "r2", "r3"},
)


def failed(after: Snapshot, journal: Journal = JOURNAL) -> set[str]:
    return {finding.check for finding in compare(NOTHING, after, journal) if finding.problem}


def test_audit__all_as_acknowledged__no_finding() -> None:
    assert failed(GOOD) == set()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"usernames": {"ada": 1, "eve": 2}}, {"users"}),
        ({"negative": {1}}, {"negative balances"}),
        ({"orders": GOOD.orders | {9: (None, "refused", 5)}}, {"orders"}),
        (
            {"orders": GOOD.orders | {3: (None, "pending", 5)}},
            {"stuck orders", "events"},
        ),
        ({"invoices": GOOD.invoices | {3: ("pending", 1)}}, {"invoices"}),
        ({"invoices": GOOD.invoices | {2: ("paid", 60)}}, {"payments"}),
        ({"bookings": GOOD.bookings[:1]}, {"bookings"}),
        ({"request_ids": {"r1", "r2"}}, set()),
        ({"request_ids": {"r1"}}, {"request ids"}),
        ({"request_ids": {"r1", "r2", "r4"}}, {"request ids"}),
        (
            {"bookings": [(1, NOON, False), (2, NOON + timedelta(minutes=179), False)]},
            {"bookings too close"},
        ),
        ({"deployments": GOOD.deployments | {8: (4, "pending")}}, {"deployments"}),
        ({"deployments": {7: (4, "building")}}, {"deployment states"}),
        (
            {"ledgers": {1: [*LEDGER, Posted(Entry(5, -100, 49_650, "order:1"), "704")]}},
            {"ledger entries"},
        ),
        ({"ledgers": {1: LEDGER[:3]}}, {"ledger entries"}),
        ({"ledgers": {1: [*LEDGER[:3], Posted(Entry(4, 50, 1, "invoice:1"), "703")]}}, {"history"}),
        ({"events": GOOD.events + Counter({("invoice.paid", "invoice:1", ""): 1})}, {"events"}),
        ({"events": GOOD.events - Counter({("drill.posted", "drill:x", ""): 1})}, {"events"}),
        ({"assigned": Counter({"project:4": 2})}, {"projects given a URL"}),
    ],
)
def test_audit__something_wrong__found(change: dict[str, Any], found: set[str]) -> None:
    assert failed(replace(GOOD, **change)) == found


def test_audit__acknowledged_but_gone__found() -> None:
    journal = replace(JOURNAL, orders={2, 3, 4})
    assert failed(GOOD, journal) == {"orders", "events"}


def test_audit__balance_out_of_date_when_it_was_read__found() -> None:
    journal = replace(
        JOURNAL,
        operations=[
            (Call("POST /invoices/1/pay", 1.0, 2.0), Wrote("invoice:1", "paid")),
            (Call("GET /user/1", 3.0, 4.0), SawBalance(1, 49_700)),
        ],
    )
    [problem] = [finding.problem for finding in compare(NOTHING, GOOD, journal) if finding.problem]
    assert problem == (
        "user 1: stale: GET /user/1 (3.000 to 4.000 s): balance 49700 was out of date when it "
        "began, by POST /invoices/1/pay (1.000 to 2.000 s): the entry of invoice:1"
    )


def test_journal__two_keys_with_one_effect__found() -> None:
    journal = Journal()
    journal.add("orders", 1)
    journal.add("orders", 1)
    assert journal.problems == ["orders: 1 was acknowledged twice"]
