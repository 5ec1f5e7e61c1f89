"""Idempotency keys below HTTP: any history of batches, and two engines on one key."""

import asyncio
import hashlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rowlock.accounts.transactions import create_users
from rowlock.accounts.rules import CreateUser
from rowlock.engine.lanes import group_commit
from rowlock.engine.database import Database
from rowlock.errors import IdempotencyKeyReused, Rejection
from rowlock.engine.once import Answer, Key, Once
from rowlock.invoices.transactions import create_invoices, pay_invoices
from rowlock.invoices.rules import CreateInvoice, Invoice, PayInvoice
from rowlock.settings import Settings
from tests.databases import Databases
from tests.engine.test_equivalence import assert_money_conserved, state
from tests.polling import until


def render(outcome: Invoice | Rejection) -> Answer:
    if isinstance(outcome, Rejection):
        return Answer(409, {}, outcome.code.encode())
    return Answer(200, {"Location": f"/invoices/{outcome.id}"}, outcome.status.encode())


def once(command: Any, key: str) -> Once[Any, Any]:
    return Once(command, Key("test", key), hashlib.sha256(repr(command).encode()).digest(), render)


# Few keys and few requests, so that they meet: in one batch and in different ones.
payments = st.builds(PayInvoice, st.integers(1, 5), st.none())
keyed = st.builds(once, payments, st.sampled_from("abc"))
histories = st.lists(st.lists(payments | keyed, min_size=1, max_size=10), min_size=1, max_size=4)


def test_keys__any_history__equal_one_at_a_time(main_databases: Databases) -> None:
    @hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(histories)
    def holds(history: list[list[Any]]) -> None:
        together = asyncio.run(run(main_databases, history, one_at_a_time=False))
        apart = asyncio.run(run(main_databases, history, one_at_a_time=True))
        assert together == apart

    holds()


async def run(
    databases: Databases, history: list[list[Any]], *, one_at_a_time: bool
) -> tuple[list[Any], dict[str, Any]]:
    """Return the outcomes and the final state of `history` on a fresh database."""
    with databases.lent() as url:
        limits = Settings(batch_items=1) if one_at_a_time else Settings()
        async with Database(url, limits) as database, database.transaction() as connection:
            await create_users(connection, [CreateUser("ada", 0)])
            await create_invoices(connection, [CreateInvoice(1, 100, "Work")] * 4)
        async with Database(url, limits) as database, database.connection() as connection:
            outcomes: list[Any] = []
            for batch in history:
                lane = group_commit("test", database, pay_invoices, limits)
                outcomes += await asyncio.gather(*map(lane.submit, batch))
            await assert_money_conserved(connection)
            expect_one_answer_per_request(history, outcomes)
            kept = await connection.fetch(
                "SELECT key, status, headers, body FROM idempotency_keys ORDER BY key"
            )
            return [comparable(outcome) for outcome in outcomes], {
                "kept": kept,
                **await state(connection),
            }


def expect_one_answer_per_request(history: list[list[Any]], outcomes: list[Any]) -> None:
    first: dict[Key, tuple[bytes, Any]] = {}
    for command, outcome in zip([c for batch in history for c in batch], outcomes, strict=True):
        if not isinstance(command, Once):
            continue
        digest, answer = first.setdefault(command.key, (command.digest, outcome))
        if digest == command.digest:
            assert outcome == answer._replace(is_replay=outcome is not answer)
        else:
            assert isinstance(outcome, IdempotencyKeyReused)


def comparable(outcome: Any) -> Any:
    if isinstance(outcome, Invoice):
        return outcome.id, outcome.status
    return outcome if isinstance(outcome, Answer) else type(outcome)


@pytest.fixture
async def invoices(connection):
    """Two users with an invoice each."""
    await create_users(connection, [CreateUser("ada", 0), CreateUser("grace", 0)])
    await create_invoices(connection, [CreateInvoice(user, 100, "Work") for user in (1, 2)])


@pytest.mark.parametrize("other", [PayInvoice(1), PayInvoice(2)], ids=["same", "another"])
async def test_key__executed_by_two_engines_at_once__one_of_them_rolls_back(
    database_url, settings, connection, invoices, other
):
    """Both have found the key unused. Paying different invoices, they share no other lock."""
    async with Database(database_url, settings) as one, Database(database_url, settings) as two:
        executing, finished = asyncio.Event(), asyncio.Event()

        async def pay_slowly(batch, commands):
            paid = await pay_invoices(batch, commands)
            executing.set()
            await asyncio.wait_for(finished.wait(), 5)
            return paid

        slow = group_commit("slow", one, pay_slowly, settings)
        quick = group_commit("quick", two, pay_invoices, settings)
        first = asyncio.create_task(slow.submit(once(PayInvoice(1), "k")))
        await executing.wait()
        second = asyncio.create_task(quick.submit(once(other, "k")))
        if other == PayInvoice(1):
            await until(lambda: is_waiting(connection))  # for the invoice
        else:
            assert (await second).status == 200
        finished.set()
        outcomes = await asyncio.gather(first, second)
    if other == PayInvoice(1):
        assert outcomes == [
            Answer(200, {"Location": "/invoices/1"}, b"paid"),
            outcomes[0]._replace(is_replay=True),
        ]
    else:
        assert isinstance(outcomes[0], IdempotencyKeyReused)
    assert await connection.fetchval("SELECT sum(balance) FROM users") == 100
    await assert_money_conserved(connection)


async def is_waiting(connection) -> bool:
    return await connection.fetchval(
        "SELECT count(*) > 0 FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )


async def test_key__batch_with_a_poison_command__kept_for_the_others(
    database, connection, settings, invoices
):
    poison = Once(PayInvoice(1), Key("test", "po\0ison"), bytes(32), render)
    lane = group_commit("test", database, pay_invoices, settings)
    good, bad, plain = await asyncio.gather(
        lane.submit(once(PayInvoice(1), "good")),
        lane.submit(poison),
        lane.submit(PayInvoice(2)),
        return_exceptions=True,
    )
    assert good.body == b"paid"
    assert isinstance(bad, Exception)
    assert plain.status == "paid"
    assert await connection.fetchval("SELECT array_agg(key) FROM idempotency_keys") == ["good"]


async def test_key__answer_can_not_be_rendered__nothing_happened(
    database, connection, settings, invoices
):
    def broken(_: object) -> Answer:
        raise RuntimeError("broken")

    lane = group_commit("test", database, pay_invoices, settings)
    command = Once(PayInvoice(1), Key("test", "k"), bytes(32), broken)
    with pytest.raises(RuntimeError, match="broken"):
        await lane.submit(command)
    assert await connection.fetchval("SELECT status FROM invoices WHERE id = 1") == "pending"
    assert not await connection.fetchval("SELECT count(*) FROM idempotency_keys")
