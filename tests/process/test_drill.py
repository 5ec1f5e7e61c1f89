"""`rowlock drill`: a short one, what it refuses, and that its audit finds what is wrong."""

import asyncio
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

from rowlock.ops.drill.audit import compare
from rowlock.ops.drill.journal import Call, Entry, Journal, Leg, SawBalance, Wrote
from rowlock.ops.drill.processes import ServeProcess, environment
from rowlock.ops.drill.snapshot import Snapshot, StoredInvoice, StoredOrder, StoredTransfer
from rowlock.ops.drill.stack import Stack
from rowlock.ops.drill.versions import Posted, StoredRefund
from tests.support.polling import until
from tests.support.processes import ROWLOCK, rowlock


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


async def test_drill__primary_of_a_cluster_killed_frozen_and_switched_over__nothing_lost(
    tmp_path: Path,
) -> None:
    status, output = await rowlock(
        *("drill", "--replicas", "2", "--minutes", "0.2", "--clients", "4", "--seed", "533"),
        *("--data-dir", str(tmp_path)),
    )
    assert status == 0, output
    assert "FAIL" not in output
    acknowledged = re.search(r"Writes acknowledged: (\d+)", output)
    assert acknowledged is not None
    assert int(acknowledged[1]) > 0
    done = re.search(r"Done to the cluster: (.*) \(", output)
    assert done is not None
    assert done[1] != "nothing"
    assert "history" in set(re.findall(r"^ok +([a-z ]+):", output, re.MULTILINE))


async def test_drill__sigterm__nothing_is_left(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(ROWLOCK, "drill", "--minutes", "5"),
        env=environment() | {"TMPDIR": str(tmp_path)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )

    def files(pattern: str) -> list[Path]:
        return [*tmp_path.glob(pattern)]

    await until(lambda: files("rowlock-drill-*/postgres/postmaster.pid"))
    started = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    output, _ = await process.communicate()
    assert process.returncode != 0, output.decode()
    assert files("rowlock-drill-*") == [], output.decode()
    await until(lambda: not any(child.is_running() for child in started))


async def test_drill__both_replicas_and_postgres__refused() -> None:
    status, output = await rowlock("drill", "--replicas", "2", "--postgres")
    assert status == 1
    assert output == "rowlock: --replicas kills PostgreSQL anyway: leave out --postgres.\n"


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
    balances={},
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
    usernames={"ada", "eve"},
    users={3},
    people={3: ("anonymous-3", None, "", "")},
    products={9},
    catalogue={"product:9": (5, True)},
    happened=Counter({("user.anonymised", "user:3"): 1, ("product.retired", "product:9"): 1}),
    benefit_orders={1},
    orders={2, 3, 4},
    cancelled={4},
    refunds={1, 2},
    refunded=Counter({2: 2}),
    invoices={1, 2, 3, 4},
    paid={1, 3},
    voided={4},
    reversed={3},
    transfers={1},
    references={("order:2", "A-1")},
    legs={
        "order:1": (Leg("ada", -100),),
        "order:2": (Leg(1, -200),),
        "order:4": (Leg(1, -200),),
        "refund:1": (Leg(1, 30),),
        "refund:2": (Leg(1, 170),),
        "invoice:1": (Leg(1, 50),),
        "invoice:3": (Leg(1, 70),),
        "reversal:3": (Leg(1, -70),),
        "transfer:1": (Leg(1, -40), Leg(2, 40)),
    },
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
    Posted(Entry(6, 30, 49_780, "refund:1"), "705"),
    Posted(Entry(7, 70, 49_850, "invoice:3"), "706"),
    Posted(Entry(8, -40, 49_810, "transfer:1"), "707"),
    Posted(Entry(10, 170, 49_980, "refund:2"), "708"),
    Posted(Entry(11, -70, 49_910, "reversal:3"), "709"),
]
LEDGER_OF_EVE = [
    Posted(Entry(5, 50_000, 50_000, "user:2"), "704"),
    Posted(Entry(9, 40, 50_040, "transfer:1"), "707"),
]
GOOD = Snapshot(
    usernames={"ada": 1, "eve": 2, "anonymous-3": 3},
    people={3: ("anonymous-3", None, "", "")},
    catalogue={"product:9": (5, True)},
    balances={1: 49_910, 2: 50_040, 3: 0},
    orders={
        1: StoredOrder(1, "approved", 100),
        2: StoredOrder(1, "approved", 200, refunded=200),
        3: StoredOrder(None, "refused", 5),
        4: StoredOrder(1, "cancelled", 200),
    },
    invoices={
        1: StoredInvoice(1, "paid", 50),
        2: StoredInvoice(1, "pending", 60),
        3: StoredInvoice(1, "reversed", 70),
        4: StoredInvoice(1, "void", 80),
    },
    refunds={1: StoredRefund(2, 30, "705"), 2: StoredRefund(2, 170, "708")},
    transfers={1: StoredTransfer(1, 2, 40)},
    references={("order:2", "A-1")},
    bookings=[(1, NOON, False), (2, NOON + timedelta(hours=3), False)],
    deployments={7: (4, "done")},
    ledgers={1: LEDGER, 2: LEDGER_OF_EVE},
    events=Counter(
        {
            ("drill.posted", "drill:x", ""): 1,
            ("user.created", "user:1", ""): 1,
            ("user.created", "user:2", ""): 1,
            ("user.anonymised", "user:3", ""): 1,
            ("product.retired", "product:9", ""): 1,
            ("benefit_order.placed", "order:1", ""): 1,
            ("order.created", "order:2", ""): 1,
            ("order.approved", "order:2", ""): 1,
            ("order.created", "order:3", ""): 1,
            ("order.refused", "order:3", ""): 1,
            ("order.created", "order:4", ""): 1,
            ("order.cancelled", "order:4", ""): 1,
            ("order.refunded", "order:2", ""): 2,
            ("transfer.made", "transfer:1", ""): 1,
            ("invoice.created", "invoice:1", ""): 1,
            ("invoice.created", "invoice:3", ""): 1,
            ("invoice.created", "invoice:4", ""): 1,
            ("invoice.paid", "invoice:3", ""): 1,
            ("invoice.reversed", "invoice:3", ""): 1,
            ("invoice.voided", "invoice:4", ""): 1,
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


CAUSELESS = {"entries without a cause"}


def with_ledger(*ledger: Posted) -> dict[int, list[Posted]]:
    return {1: [*ledger], 2: LEDGER_OF_EVE}


def failed(after: Snapshot, journal: Journal = JOURNAL) -> set[str]:
    return {finding.check for finding in compare(NOTHING, after, journal) if finding.problem}


def test_audit__all_as_acknowledged__no_finding() -> None:
    assert failed(GOOD) == set()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"usernames": GOOD.usernames | {"bob": 4}}, {"users"}),
        ({"people": {3: ("anonymous-3", None, "Eve", "")}}, {"names"}),
        ({"catalogue": {"product:9": (5, False)}}, {"catalogue"}),
        ({"catalogue": {"product:9": (6, True)}}, {"catalogue"}),
        ({"balances": {1: 49_911, 2: 50_040}}, {"balances"}),
        ({"balances": {1: -1, 2: 50_040}}, {"balances", "negative balances"}),
        ({"orders": GOOD.orders | {9: StoredOrder(None, "refused", 5)}}, {"orders"}),
        (
            {"orders": GOOD.orders | {3: StoredOrder(None, "pending", 5)}},
            {"stuck orders", "events"},
        ),
        (
            {"orders": GOOD.orders | {4: StoredOrder(1, "refused", 200)}},
            {"cancellations", "events"},
        ),
        (
            {"orders": GOOD.orders | {2: StoredOrder(1, "approved", 199, 200)}},
            {"refunded too much"},
        ),
        (
            {"orders": GOOD.orders | {2: StoredOrder(1, "approved", 200, 30)}},
            {"refunded too much"},
        ),
        ({"refunds": {1: GOOD.refunds[1]}}, {"refunds", "refunded too much", *CAUSELESS}),
        ({"invoices": GOOD.invoices | {5: StoredInvoice(1, "pending", 1)}}, {"invoices"}),
        ({"invoices": GOOD.invoices | {2: StoredInvoice(1, "paid", 60)}}, {"payments"}),
        ({"invoices": GOOD.invoices | {2: StoredInvoice(1, "void", 60)}}, {"void invoices"}),
        (
            {"invoices": GOOD.invoices | {3: StoredInvoice(1, "paid", 70)}},
            {"reversals", *CAUSELESS},
        ),
        (
            {"transfers": GOOD.transfers | {2: StoredTransfer(1, 2, 5)}},
            {"transfers", "transfers' entries"},
        ),
        ({"transfers": {1: StoredTransfer(2, 1, 40)}}, {"transfers' entries"}),
        ({"references": {("order:3", "A-1")}}, {"references"}),
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
            {"ledgers": with_ledger(*LEDGER, Posted(Entry(12, -100, 49_810, "order:1"), "710"))},
            {"ledger entries"},
        ),
        (
            {"ledgers": with_ledger(*LEDGER, Posted(Entry(12, -200, 49_710, "order:4"), "710"))},
            {"ledger entries", *CAUSELESS},
        ),
        ({"ledgers": with_ledger(*LEDGER[:-1])}, {"ledger entries"}),
        ({"ledgers": {1: LEDGER, 2: LEDGER_OF_EVE[:1]}}, {"ledger entries", "transfers' entries"}),
        (
            {"ledgers": with_ledger(*LEDGER[:-1], Posted(Entry(11, -70, 1, "reversal:3"), "709"))},
            {"history"},
        ),
        ({"events": GOOD.events + Counter({("invoice.paid", "invoice:1", ""): 1})}, {"events"}),
        ({"events": GOOD.events - Counter({("drill.posted", "drill:x", ""): 1})}, {"events"}),
        ({"assigned": Counter({"project:4": 2})}, {"projects given a URL"}),
    ],
)
def test_audit__something_wrong__found(change: dict[str, Any], found: set[str]) -> None:
    assert failed(replace(GOOD, **change)) == found


def test_audit__acknowledged_but_gone__found() -> None:
    journal = replace(JOURNAL, orders={2, 3, 4, 5})
    assert failed(GOOD, journal) == {"orders", "events"}


@pytest.mark.parametrize(
    ("balance", "is_found"), [(49_910, False), (49_900, False), (49_899, True)]
)
def test_audit__write_of_unknown_outcome__balance_with_it_or_without(
    balance: int, is_found: bool
) -> None:
    journal = replace(JOURNAL, doubts=[Leg(1, -10)])
    after = replace(GOOD, balances={1: balance, 2: 50_040})
    assert failed(after, journal) == ({"balances"} if is_found else set())


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
