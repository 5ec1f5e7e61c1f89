"""A row that another transaction holds for long delays those alone who need it."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import pytest

from rowlock.accounts.rules import CreateUser
from rowlock.accounts.transactions import create_users
from rowlock.benefits.rules import PlacedOrder, PlaceOrder
from rowlock.benefits.transactions import place_orders
from rowlock.engine.aside import LockingLane
from rowlock.engine.database import Database
from rowlock.engine.lanes import Observer
from rowlock.engine.locks import Aside, Locks
from rowlock.engine.once import Digest, IdempotencyKey, KeptAnswer, Once
from rowlock.errors import DatabaseBusy
from rowlock.invoices.rules import CreateInvoice, Invoice, PayInvoice
from rowlock.invoices.transactions import create_invoices, pay_invoices
from rowlock.projects.rules import CancelDeployment, Deployment
from rowlock.projects.transactions import move_deployments
from rowlock.rejections import (
    DeploymentNotFound,
    InsufficientBalance,
    InvoiceAlreadyPaid,
    InvoiceNotFound,
    ProductsAlreadyPurchased,
    UserNotFound,
)
from rowlock.settings import Settings
from tests.support.money import assert_money_conserved
from tests.support.panel import add_deployment, add_projects
from tests.support.polling import until
from tests.support.types import Connection

USERS = ["ada", "bob", "eve", "kay"]
INVOICES = 200  # invoice n is of user (n - 1) % 4 + 1
# Of lanes whose rows are freed while commands wait for them, however slow the machine is.
PATIENT = {"lock_timeout_s": 60.0, "statement_timeout_s": 60.0}


@pytest.fixture
async def rows(connection: Connection, catalogue: dict[str, int]) -> None:
    """Four users, invoices of each in turn, and four projects with deployments in turn."""
    await create_users(connection, [CreateUser(name, 20_000) for name in USERS])
    await create_invoices(
        connection, [CreateInvoice(number % 4 + 1, 100, "Work") for number in range(INVOICES)]
    )
    projects = await add_projects(connection, 4)
    for number in range(40):
        await add_deployment(connection, projects[number % 4])


@dataclass(frozen=True)
class Case:
    """A lane, a row to hold, and what needs that row."""

    execute: Any
    held: str  # locks the row of the first user
    command: Callable[[int, int], Any]  # of one of four users; the how-manieth
    done: type
    unknown: Any
    missing: type


def pay(user: int, nth: int) -> PayInvoice:
    return PayInvoice(nth * 4 + user)


def place(user: int, nth: int) -> PlaceOrder:
    return PlaceOrder(USERS[user - 1], (["netflix", "spotify"][nth % 2],))


def cancel(user: int, nth: int) -> CancelDeployment:
    return CancelDeployment(nth * 4 + user)


PAY = (pay, Invoice, PayInvoice(9999), InvoiceNotFound)
CANCEL = (cancel, Deployment, CancelDeployment(9999), DeploymentNotFound)
CASES = {
    "pay, user": Case(pay_invoices, "SELECT 1 FROM users WHERE id = 1 FOR UPDATE", *PAY),
    "pay, invoices": Case(
        pay_invoices, "SELECT 1 FROM invoices WHERE user_id = 1 FOR NO KEY UPDATE", *PAY
    ),
    "benefit order": Case(
        place_orders,
        "UPDATE users SET first_name = 'Ada' WHERE id = 1",
        place,
        PlacedOrder,
        PlaceOrder("unknown", ("netflix",)),
        UserNotFound,
    ),
    "cancel, project": Case(
        move_deployments, "SELECT 1 FROM projects WHERE id = 1 FOR UPDATE", *CANCEL
    ),
    "cancel, deployments": Case(
        move_deployments, "SELECT 1 FROM deployments WHERE project_id = 1 FOR UPDATE", *CANCEL
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


class Retries(Observer):
    """Counts how often a batch ran again."""

    count = 0

    def retried(self) -> None:
        self.count += 1


@asynccontextmanager
async def lane_of(
    case: Case, database_url: str, **changes: object
) -> AsyncIterator[LockingLane[Any, Any]]:
    settings = Settings().changed(**{"lock_timeout_s": 0.2, "batch_wait_s": 60.0, **changes})
    async with Database(database_url, settings.database) as database:
        lane = LockingLane[Any, Any]("test", database, case.execute, settings.batches)
        yield lane
        await lane.close()


async def outcomes(lane: LockingLane[Any, Any], *commands: object) -> list[Any]:
    return await asyncio.gather(*map(lane.submit, commands), return_exceptions=True)


async def test_row_held__found_once_and_the_others_go_on(
    case: Case, database_url: str, connection: Connection, rows: None
) -> None:
    async with lane_of(case, database_url) as lane, connection.transaction():
        lane.observer = retries = Retries()
        await connection.execute(case.held)
        for nth in range(2):
            blocked = asyncio.create_task(lane.submit(case.command(1, nth)))
            found = await outcomes(lane, case.unknown, *(case.command(u, nth) for u in (2, 3, 4)))
            assert isinstance(found[0], case.missing)
            assert [type(outcome) for outcome in found[1:]] == [case.done] * 3
            with pytest.raises(DatabaseBusy):
                await blocked
            if "FROM users" in case.held or "projects" in case.held or "SET" in case.held:
                assert retries.count == 1  # batches do not wait for that row any more


async def test_row_freed__what_waited_takes_effect(
    case: Case, database_url: str, connection: Connection, rows: None
) -> None:
    async with lane_of(case, database_url) as lane:
        async with connection.transaction():
            await connection.execute(case.held)
            [busy] = await outcomes(lane, case.command(1, 0))
            assert isinstance(busy, DatabaseBusy)
        for nth in range(2):  # the second time, batches take the row again
            assert isinstance(await lane.submit(case.command(1, nth)), case.done)
        assert lane.waiting == 0


async def test_row_freed_while_they_wait__run_in_arrival_order(
    database_url: str, connection: Connection, rows: None
) -> None:
    async with lane_of(CASES["benefit order"], database_url, **PATIENT) as lane:
        async with connection.transaction():
            await connection.execute("UPDATE users SET balance = 8000 WHERE id = 1")
            orders = [
                asyncio.create_task(lane.submit(place(1, nth))) for nth in (0, 1)
            ]  # the balance covers either of them
            assert isinstance(await lane.submit(place(2, 0)), PlacedOrder)
            await until(lambda: lane.waiting == 2)
            later = asyncio.create_task(lane.submit(place(1, 1)))
            assert isinstance(await lane.submit(place(3, 0)), PlacedOrder)
        first, *others = await asyncio.gather(*orders, later)
    assert isinstance(first, PlacedOrder)
    assert {type(other) for other in others} == {InsufficientBalance}


async def test_row_held__named_in_two_spellings__both_wait_for_it(
    database_url: str, connection: Connection, rows: None
) -> None:
    async with lane_of(CASES["benefit order"], database_url, **PATIENT) as lane:
        async with connection.transaction():
            await connection.execute(CASES["benefit order"].held)
            orders = [
                asyncio.create_task(lane.submit(PlaceOrder(name, (slug,))))
                for name, slug in (("ADA", "netflix"), ("Ada", "spotify"))
            ]
            assert isinstance(await lane.submit(place(2, 0)), PlacedOrder)
            await until(lambda: lane.waiting == 2)
        placed = await asyncio.gather(*orders)
        again = await lane.submit(PlaceOrder("aDA", ("spotify",)))
    assert {type(order) for order in placed} == {PlacedOrder}
    assert {order.purchase.account.username for order in placed} == {"ada"}
    assert isinstance(again, ProductsAlreadyPurchased)
    await assert_money_conserved(connection)


async def test_row_held__another_name_is_the_same_by_its_key__its_user_pays_for_none(
    database_url: str, connection: Connection, rows: None
) -> None:
    # An earlier release has opened an account of its own for this spelling.
    await connection.execute("UPDATE users SET username = 'Ada', name_key = NULL WHERE id = 4")
    async with lane_of(CASES["benefit order"], database_url) as lane:
        async with connection.transaction():
            await connection.execute("SELECT 1 FROM users WHERE id = 4 FOR UPDATE")
            mine, other = await outcomes(lane, PlaceOrder("ada", ("netflix",)), place(2, 0))
            assert {type(mine), type(other)} == {PlacedOrder}
            [busy] = await outcomes(lane, PlaceOrder("Ada", ("spotify",)))
            assert isinstance(busy, DatabaseBusy)
        placed = await lane.submit(PlaceOrder("Ada", ("spotify",)))
    assert isinstance(placed, PlacedOrder)
    assert (mine.purchase.account.id, placed.purchase.account.id) == (1, 4)
    await assert_money_conserved(connection)


async def test_row_held__named_in_two_spellings__batches_wait_for_it_once(
    database_url: str, connection: Connection, rows: None
) -> None:
    async with lane_of(CASES["benefit order"], database_url, **PATIENT) as lane:
        lane.observer = retries = Retries()
        async with connection.transaction():
            await connection.execute(CASES["benefit order"].held)
            orders = []
            for name, slug in (("ada", "netflix"), ("Ada", "spotify")):
                orders.append(asyncio.create_task(lane.submit(PlaceOrder(name, (slug,)))))
                assert isinstance(await lane.submit(PlaceOrder("bob", (slug,))), PlacedOrder)
            assert lane.waiting == 2
            assert retries.count == 1
        placed = await asyncio.gather(*orders)
    assert {type(order) for order in placed} == {PlacedOrder}


async def test_row_freed__was_named_in_two_spellings__run_in_arrival_order(
    database_url: str, connection: Connection, rows: None
) -> None:
    case = CASES["benefit order"]
    async with lane_of(case, database_url, lock_timeout_s=2.0) as lane:

        def order(name: str, slug: str) -> asyncio.Task[Any]:
            return asyncio.create_task(lane.submit(PlaceOrder(name, (slug,))))

        async with connection.transaction():
            await connection.execute("UPDATE users SET balance = 8000 WHERE id = 1")
            # By turns, each spelling would be waited for.
            turns = [order("ada", "none")]
            await until(lambda: lane.waiting == 1)
            turns += [order("Ada", "none"), order("ada", "none")]
            await until(turns[0].done)
            await until(lambda: is_waited_for(connection))
            older, newer = order("ada", "netflix"), order("Ada", "spotify")
            await until(turns[2].done)
            await until(lambda: is_waited_for(connection))
        await asyncio.wait([older, newer, *turns])
        assert all(turn.exception() for turn in turns if turn is not turns[1])
    assert isinstance(older.result(), PlacedOrder)  # the balance covers either of them
    assert isinstance(newer.result(), InsufficientBalance)


async def is_waited_for(connection: Connection) -> bool:
    """Tell whether another session waits for a row."""
    return bool(await connection.fetchval("SELECT 1 FROM pg_locks WHERE NOT granted LIMIT 1"))


@asynccontextmanager
async def holding(database_url: str, statement: str) -> AsyncIterator[Callable[[], Any]]:
    """Hold the rows that `statement` locks, until what is yielded is called, or to the end."""
    connection = await asyncpg.connect(database_url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(statement)
    try:
        yield transaction.commit
    finally:
        await connection.close()


USER = "SELECT 1 FROM users WHERE id = {} FOR UPDATE"
FAULTY = place(2, 0)
TURN = 3  # the time a lane executes something first after it has left it aside


async def test_turn_split__one_of_its_parts_is_left_again__later_parts_do_not_overtake_it(
    database_url: str, connection: Connection, rows: None
) -> None:
    first, second = place(1, 0), place(1, 1)
    calls = 0

    async def execute(connection: Connection, commands: list[PlaceOrder], locks: Locks) -> Any:
        nonlocal calls
        calls += 1
        if calls == TURN:
            await free_faulty()
        found = await place_orders(connection, commands, locks)
        if FAULTY in commands and not isinstance(found[commands.index(FAULTY)], Aside):
            raise ValueError
        if calls > TURN and commands == [first] and isinstance(found[0], Aside):
            await free()
        return found

    await connection.execute("UPDATE users SET balance = 8000 WHERE id = 1")
    case = replace(CASES["benefit order"], execute=execute)
    async with (
        holding(database_url, USER.format(1)) as free,
        holding(database_url, USER.format(2)) as free_faulty,
        lane_of(case, database_url, **PATIENT) as lane,
    ):
        one, faulty, two = await outcomes(lane, first, FAULTY, second)
    assert isinstance(faulty, ValueError)
    assert isinstance(one, PlacedOrder)
    assert isinstance(two, InsufficientBalance)


async def test_turn_split__batches_do_not_overtake_its_later_parts(
    database_url: str, connection: Connection, rows: None
) -> None:
    first, second = place(1, 0), place(1, 1)
    calls = 0
    later: list[asyncio.Task[Any]] = []

    async def execute(connection: Connection, commands: list[PlaceOrder], locks: Locks) -> Any:
        nonlocal calls
        calls += 1
        if calls == TURN:
            await free()
            await free_faulty()
        if calls > TURN and commands == [second] and not later:
            later.append(asyncio.create_task(lane.submit(second)))
            await asyncio.wait(later, timeout=0.3)
        found = await place_orders(connection, commands, locks)
        if FAULTY in commands and not isinstance(found[commands.index(FAULTY)], Aside):
            raise ValueError
        return found

    case = replace(CASES["benefit order"], execute=execute)
    async with (
        holding(database_url, USER.format(1)) as free,
        holding(database_url, USER.format(2)) as free_faulty,
        lane_of(case, database_url, **PATIENT) as lane,
    ):
        one, _, two = await outcomes(lane, first, FAULTY, second)
        [three] = await asyncio.gather(*later)
    assert [type(one), type(two)] == [PlacedOrder, PlacedOrder]
    assert isinstance(three, ProductsAlreadyPurchased)


async def test_turn__its_command_needs_another_row__does_not_overtake_what_waits_for_that(
    database_url: str, connection: Connection, rows: None
) -> None:
    calls = 0
    later: list[asyncio.Task[Any]] = []

    async def execute(connection: Connection, commands: list[PayInvoice], locks: Locks) -> Any:
        nonlocal calls
        calls += 1
        if calls != TURN:
            return await pay_invoices(connection, commands, locks)
        async with holding(database_url, USER.format(1)):
            await free()
            found = await pay_invoices(connection, commands, locks)
            assert isinstance(found[0], Aside)  # the invoice is free by now, but not the user
            later.append(asyncio.create_task(lane.submit(pay(1, 0))))
            await until(lambda: calls == TURN + 1)
            await until(lambda: lane.waiting == 2)
        return found

    case = replace(CASES["pay, user"], execute=execute)
    async with (
        holding(database_url, "SELECT 1 FROM invoices WHERE id = 1 FOR UPDATE") as free,
        lane_of(case, database_url, **PATIENT) as lane,
    ):
        one = await lane.submit(pay(1, 0))
        [two] = await asyncio.gather(*later)
    assert isinstance(one, Invoice)
    assert isinstance(two, InvoiceAlreadyPaid)


async def test_batch__waits_for_a_row_that_an_older_command_comes_to__does_not_overtake_it(
    database_url: str, connection: Connection, rows: None
) -> None:
    waiting = """
        SELECT count(*) FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND query LIKE '%accounts/lock_users:%'"""
    async with (
        holding(database_url, "SELECT 1 FROM invoices WHERE id = 1 FOR UPDATE") as free_invoice,
        holding(database_url, USER.format(1)) as free,
        lane_of(CASES["pay, user"], database_url, **PATIENT, batch_patience_s=2.0) as lane,
    ):
        older = asyncio.create_task(lane.submit(pay(1, 0)))
        await until(lambda: lane.waiting == 1)
        newer = asyncio.create_task(lane.submit(pay(1, 1)))
        await until(lambda: connection.fetchval(waiting))
        await free_invoice()

        async def both_wait() -> bool:
            return lane.waiting == 2 or await connection.fetchval(waiting) == 2

        await until(both_wait)
        await free()
        await asyncio.gather(older, newer)
    paid = await connection.fetch(
        "SELECT document_id FROM ledger_entries WHERE document_kind = 'invoice' ORDER BY id"
    )
    assert [entry["document_id"] for entry in paid] == [1, 5]


async def test_lines__as_many_rows_as_they_may_know__batches_still_avoid_one_that_has_its_turn(
    database_url: str, connection: Connection, rows: None
) -> None:
    calls = -10  # not yet
    later: list[asyncio.Task[Any]] = []

    async def execute(connection: Connection, commands: list[PlaceOrder], locks: Locks) -> Any:
        nonlocal calls
        calls += 1
        found = await place_orders(connection, commands, locks)
        if calls == TURN:
            later.append(asyncio.create_task(lane.submit(place(3, 0))))
            await until(lambda: calls == TURN + 2)
            await until(lambda: lane.waiting == 2)  # it is left aside
            await free()
            later.append(asyncio.create_task(lane.submit(place(1, 1))))
            await asyncio.wait(later[1:])
        return found

    await connection.execute("UPDATE users SET balance = 8000 WHERE id = 1")
    case = replace(CASES["benefit order"], execute=execute)
    async with (
        holding(database_url, USER.format(1)) as free,
        holding(database_url, USER.format(2)),
        holding(database_url, USER.format(3)),
        lane_of(case, database_url, batch_queue=2) as lane,
    ):
        [known] = await outcomes(lane, place(2, 0))
        calls = 0
        older = await lane.submit(place(1, 0))
        _, newer = await asyncio.gather(*later, return_exceptions=True)
    assert isinstance(known, DatabaseBusy)
    assert isinstance(older, PlacedOrder)  # the balance covers either of them
    assert isinstance(newer, DatabaseBusy)


def render(outcome: object) -> KeptAnswer:
    assert isinstance(outcome, Invoice | InvoiceAlreadyPaid)
    return KeptAnswer(200, "{}", type(outcome).__name__.encode())


def once(command: PayInvoice, key: str) -> Once[Any, Any]:
    digest = hashlib.sha256(repr(command).encode()).digest()
    return Once(command, IdempotencyKey("test", key), Digest(digest, digest), render)


async def test_key__aside_and_in_a_batch__executed_once(
    database_url: str, connection: Connection, rows: None
) -> None:
    async with lane_of(CASES["pay, user"], database_url, **PATIENT) as lane:
        async with connection.transaction():
            await connection.execute(CASES["pay, user"].held)
            same = [asyncio.create_task(lane.submit_once(once(pay(1, 0), "k"))) for _ in range(3)]
            assert isinstance(await lane.submit(pay(2, 0)), Invoice)
            await until(lambda: lane.waiting == 3)
            same.append(asyncio.create_task(lane.submit_once(once(pay(1, 0), "k"))))
            same.append(asyncio.create_task(lane.submit_once(once(pay(2, 1), "other"))))
        answers = await asyncio.gather(*same)
    assert [answer.body for answer in answers if isinstance(answer, KeptAnswer)] == [b"Invoice"] * 5
    assert sorted(answer.is_replay for answer in answers if isinstance(answer, KeptAnswer)) == [
        False, False, True, True, True,
    ]  # fmt: skip
    await assert_money_conserved(connection)


async def test_key__executed_elsewhere_while_aside__replayed(
    database_url: str, connection: Connection, rows: None
) -> None:
    case = CASES["pay, user"]
    async with (
        lane_of(case, database_url, **PATIENT) as one,
        lane_of(case, database_url, **PATIENT) as two,
    ):
        async with connection.transaction():
            await connection.execute(case.held)
            waiting = asyncio.create_task(one.submit_once(once(pay(1, 0), "k")))
            await until(lambda: one.waiting == 1)
        both = await asyncio.gather(waiting, two.submit_once(once(pay(1, 0), "k")))
    assert {answer.body for answer in both if isinstance(answer, KeptAnswer)} == {b"Invoice"}
    assert sum(answer.is_replay for answer in both if isinstance(answer, KeptAnswer)) == 1
    await assert_money_conserved(connection)


async def test_lines__full__the_rest_is_refused_at_once(
    database_url: str, connection: Connection, rows: None
) -> None:
    case = CASES["pay, user"]
    async with lane_of(case, database_url, batch_queue=2, batch_items=2) as lane:
        async with connection.transaction():
            await connection.execute(case.held)
            waves = [
                asyncio.create_task(outcomes(lane, pay(1, nth), pay(1, nth + 1)))
                for nth in (0, 2, 4)
            ]
            await asyncio.wait(waves)
            refused = [type(outcome).__name__ for wave in waves for outcome in wave.result()]
        assert set(refused) <= {"DatabaseBusy", "Overloaded"}
        assert lane.waiting == 0
        assert isinstance(await lane.submit(pay(1, 0)), Invoice)


async def test_lane__closed_while_some_wait__all_are_answered(
    database_url: str, connection: Connection, rows: None
) -> None:
    case = CASES["pay, user"]
    async with connection.transaction():
        await connection.execute(case.held)
        async with lane_of(case, database_url) as lane:
            waiting = [asyncio.create_task(lane.submit(pay(1, nth))) for nth in range(5)]
            await until(lambda: lane.waiting == 5)
            await lane.close()
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(result) for result in results} == {DatabaseBusy}


async def test_lane__aside_part_cancelled__all_are_answered(
    database_url: str, connection: Connection, rows: None
) -> None:
    case = CASES["pay, user"]
    async with lane_of(case, database_url, **PATIENT) as lane:
        async with connection.transaction():
            await connection.execute(case.held)
            waiting = [asyncio.create_task(lane.submit(pay(1, nth))) for nth in range(5)]
            await until(lambda: lane.waiting == 5)
            [task] = [each for each in asyncio.all_tasks() if each.get_name().endswith("aside")]
            task.cancel()
            async with asyncio.timeout(10):
                results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, Exception) for result in results)
        assert isinstance(await lane.submit(pay(1, 7)), Invoice)


async def test_lanes__rows_held_at_random__every_invoice_paid_at_most_once(
    database_url: str, connection: Connection, rows: None
) -> None:
    rng = random.Random(1)
    case = CASES["pay, user"]
    holder = await asyncpg.connect(database_url)
    stop = asyncio.Event()

    async def hold() -> None:
        while not stop.is_set():
            async with holder.transaction():
                table = rng.choice(["users", "invoices"])
                ids = rng.sample(range(1, 5), 2)
                await holder.execute(
                    f"SELECT 1 FROM {table} WHERE id = any($1::bigint[]) ORDER BY id FOR UPDATE",
                    ids,
                )
                for _ in range(rng.randint(1, 200)):  # a while
                    await holder.fetchval("SELECT 1")

    async def submit(lane: LockingLane[Any, Any], invoice_id: int) -> Any:
        while True:
            try:
                return await lane.submit_once(once(PayInvoice(invoice_id), f"pay-{invoice_id}"))
            except DatabaseBusy:
                await asyncio.sleep(0)

    async with (
        lane_of(case, database_url, lock_timeout_s=0.03) as one,
        lane_of(case, database_url, lock_timeout_s=0.03) as two,
    ):
        holding = asyncio.create_task(hold())
        invoice_ids = [rng.randint(1, INVOICES) for _ in range(400)]
        await asyncio.gather(*(submit(rng.choice([one, two]), id_) for id_ in invoice_ids))
        stop.set()
        holding.cancel()
        await asyncio.wait([holding])
    await holder.close()
    paid = await connection.fetchval("SELECT count(*) FROM invoices WHERE status = 'paid'")
    assert paid == len(set(invoice_ids))
    await assert_money_conserved(connection)


async def test_lane__users_held_and_faults_at_random__each_user_is_paid_in_arrival_order(
    database_url: str, connection: Connection, rows: None
) -> None:
    rng = random.Random(1)
    stop = asyncio.Event()
    faulty = {PayInvoice(number) for number in rng.sample(range(1, INVOICES + 1), INVOICES // 5)}

    async def execute(connection: Connection, commands: list[PayInvoice], locks: Locks) -> Any:
        found = await pay_invoices(connection, commands, locks)
        for command, outcome in zip(commands, found, strict=True):
            if command in faulty and not isinstance(outcome, Aside):
                raise ValueError
        return found

    async def hold(user_id: int) -> None:
        holder = await asyncpg.connect(database_url)
        while not stop.is_set():
            async with holder.transaction():
                await holder.execute(USER.format(user_id))
                await asyncio.sleep(rng.uniform(0, 0.008))
            await asyncio.sleep(rng.uniform(0, 0.003))
        await holder.close()

    case = replace(CASES["pay, user"], execute=execute)
    async with lane_of(
        case, database_url, lock_timeout_s=0.05, batch_patience_s=0.002, batch_items=16
    ) as lane:
        holders = [asyncio.create_task(hold(user_id)) for user_id in range(1, 5)]
        payments = []
        for number in range(1, INVOICES + 1):
            payments.append(asyncio.create_task(lane.submit(PayInvoice(number))))
            if rng.random() < 0.05:
                await asyncio.sleep(rng.uniform(0, 0.05))
        await asyncio.gather(*payments, return_exceptions=True)
        stop.set()
        await asyncio.gather(*holders)
    entries = await connection.fetch(
        "SELECT user_id, document_id FROM ledger_entries WHERE document_kind = 'invoice'"
        " ORDER BY id"
    )
    assert len(entries) >= INVOICES // 4
    for user_id in range(1, 5):
        paid = [entry["document_id"] for entry in entries if entry["user_id"] == user_id]
        assert paid == sorted(paid)
    await assert_money_conserved(connection)
