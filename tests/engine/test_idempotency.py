"""Idempotency keys below HTTP: any history of batches, and two engines on one key."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any, TypeAlias

import pytest
from hypothesis import strategies as st

from rowlock.accounts.rules import CreateUser
from rowlock.accounts.transactions import create_users
from rowlock.engine.database import Connection as AnyConnection
from rowlock.engine.database import Database
from rowlock.engine.lanes import WriteLane
from rowlock.engine.locks import Aside
from rowlock.engine.once import Digest, IdempotencyKey, KeptAnswer, Once
from rowlock.invoices.rules import CreateInvoice, Invoice, PayInvoice
from rowlock.invoices.transactions import create_invoices, pay_invoices
from rowlock.origin import SYSTEM
from rowlock.rejections import IdempotencyKeyReused, Rejection
from rowlock.settings import Settings
from tests.support.databases import Databases
from tests.support.equivalence import Feature, History, assert_batches_equal_one_at_a_time
from tests.support.money import MONEY, assert_money_conserved
from tests.support.polling import until
from tests.support.sessions import count_waiting
from tests.support.types import Connection

Outcome: TypeAlias = Invoice | Rejection | Aside
Payment: TypeAlias = Once[PayInvoice, Outcome]


def render(outcome: Outcome) -> KeptAnswer:
    assert not isinstance(outcome, Aside)
    if isinstance(outcome, Rejection):
        return KeptAnswer(409, "{}", outcome.code.encode())
    return KeptAnswer(200, f'{{"Location": "/invoices/{outcome.id}"}}', outcome.status.encode())


def once(command: PayInvoice, key: str, name_space: str = "test", form: str = "") -> Payment:
    """The command with a key, sent in one of the forms that a request has."""
    normal = repr(command)
    digests = (hashlib.sha256(text.encode()).digest() for text in (normal + form, normal))
    return Once(command, IdempotencyKey(name_space, key), Digest(*digests), render)


# Few keys and few requests, so that they meet: in one batch and in different ones, in the name
# space of the service and in those of its clients.
NAME_SPACES = ("test", "test one", "test two")
payments = st.builds(PayInvoice, st.integers(1, 5), st.just(SYSTEM))
keyed = st.builds(
    once, payments, st.sampled_from("ab"), st.sampled_from(NAME_SPACES), st.sampled_from(" \t")
)
histories: st.SearchStrategy[History] = st.lists(
    st.lists(payments | keyed, min_size=1, max_size=10), min_size=1, max_size=4
)


async def issue_invoices(database: Database, _connection: Connection) -> None:
    async with database.transaction() as connection:
        await create_users(connection, [CreateUser("ada", 0)])
        await create_invoices(connection, [CreateInvoice(1, 100, "Work")] * 4)


async def check_answers(connection: Connection, history: History, outcomes: list[Any]) -> None:
    """Expect one answer for each request that has a key, and each payment once."""
    await assert_money_conserved(connection)
    first: dict[IdempotencyKey, tuple[Digest, Any]] = {}
    for command, outcome in zip([c for batch in history for c in batch], outcomes, strict=True):
        if not isinstance(command, Once):
            continue
        digest, answer = first.setdefault(command.key, (command.digest, outcome))
        if digest.normal == command.digest.normal:
            assert outcome == answer._replace(is_replay=outcome is not answer)
        else:
            assert isinstance(outcome, IdempotencyKeyReused)


def comparable(outcome: Any) -> Any:
    if isinstance(outcome, Invoice):
        return outcome.id, outcome.status
    return outcome if isinstance(outcome, KeptAnswer) else type(outcome)


FEATURE = Feature(
    executors={PayInvoice: pay_invoices},
    comparable=comparable,
    state=MONEY
    | {
        "kept": "SELECT service, key, digest, normal_digest, noted_at = created_at, status, "
        "headers, body FROM idempotency_keys ORDER BY service, key"
    },
    arrange=issue_invoices,
    check=check_answers,
)


def test_keys__any_history__equal_one_at_a_time(main_databases: Databases) -> None:
    assert_batches_equal_one_at_a_time(main_databases, FEATURE, histories, examples=15)


# --- One key in two engines, and faults -------------------------------------------------------


@pytest.fixture
async def invoices(connection: Connection) -> None:
    """Two users with an invoice each."""
    await create_users(connection, [CreateUser("ada", 0), CreateUser("grace", 0)])
    await create_invoices(connection, [CreateInvoice(user, 100, "Work") for user in (1, 2)])


@pytest.mark.parametrize("other", [PayInvoice(1), PayInvoice(2)], ids=["same", "another"])
async def test_key__executed_by_two_engines_at_once__one_of_them_rolls_back(
    database_url: str,
    settings: Settings,
    connection: Connection,
    invoices: None,
    other: PayInvoice,
) -> None:
    """Both have found the key unused. Paying different invoices, they share no other lock."""
    async with (
        Database(database_url, settings.database) as one,
        Database(database_url, settings.database) as two,
    ):
        executing, finished = asyncio.Event(), asyncio.Event()

        async def pay_slowly(batch: AnyConnection, commands: Sequence[PayInvoice]) -> list[Outcome]:
            paid = await pay_invoices(batch, commands)
            executing.set()
            await asyncio.wait_for(finished.wait(), 60)
            return paid

        slow = WriteLane("slow", one, pay_slowly, settings.batches)
        quick = WriteLane("quick", two, pay_invoices, settings.batches)
        first = asyncio.create_task(slow.submit_once(once(PayInvoice(1), "k")))
        await executing.wait()
        second = asyncio.create_task(quick.submit_once(once(other, "k")))
        if other == PayInvoice(1):
            await until(lambda: count_waiting(connection))  # for the invoice
        else:
            answer = await second
            assert isinstance(answer, KeptAnswer)
            assert answer.status == 200
        finished.set()
        outcomes = await asyncio.gather(first, second)
    if other == PayInvoice(1):
        answer = KeptAnswer(200, '{"Location": "/invoices/1"}', b"paid")
        assert [*outcomes] == [answer, answer._replace(is_replay=True)]
    else:
        assert isinstance(outcomes[0], IdempotencyKeyReused)
    assert await connection.fetchval("SELECT sum(balance) FROM users") == 100
    await assert_money_conserved(connection)


async def test_key__of_a_document_with_a_reference_at_two_engines_at_once__replayed(
    database_url: str, settings: Settings, connection: Connection, invoices: None
) -> None:
    """The second one meets the reference before the key: it must not be refused for that."""
    command = CreateInvoice(1, 5, "Work", reference="2026-0042")
    digest = hashlib.sha256(repr(command).encode()).digest()
    request: Once[CreateInvoice, Invoice | Rejection] = Once(
        command, IdempotencyKey("test", "k"), Digest(digest, digest), render
    )
    async with (
        Database(database_url, settings.database) as one,
        Database(database_url, settings.database) as two,
    ):
        executing, finished = asyncio.Event(), asyncio.Event()

        async def issue_slowly(
            batch: AnyConnection, commands: Sequence[CreateInvoice]
        ) -> list[Invoice | Rejection]:
            issued = await create_invoices(batch, commands)
            executing.set()
            await asyncio.wait_for(finished.wait(), 60)
            return issued

        slow = WriteLane("slow", one, issue_slowly, settings.batches)
        quick = WriteLane("quick", two, create_invoices, settings.batches)
        first = asyncio.create_task(slow.submit_once(request))
        await executing.wait()
        second = asyncio.create_task(quick.submit_once(request))
        await until(lambda: count_waiting(connection))  # for the reference
        finished.set()
        answers = await asyncio.gather(first, second)
    assert isinstance(answers[0], KeptAnswer)
    assert answers[1] == answers[0]._replace(is_replay=True)


async def test_key__batch_with_a_poison_command__kept_for_the_others(
    database: Database, connection: Connection, settings: Settings, invoices: None
) -> None:
    poison = Once(
        PayInvoice(1), IdempotencyKey("test", "po\0ison"), Digest(bytes(32), bytes(32)), render
    )
    lane = WriteLane("test", database, pay_invoices, settings.batches)
    good, bad, plain = await asyncio.gather(
        lane.submit_once(once(PayInvoice(1), "good")),
        lane.submit_once(poison),
        lane.submit(PayInvoice(2)),
        return_exceptions=True,
    )
    assert isinstance(good, KeptAnswer)
    assert good.body == b"paid"
    assert isinstance(bad, Exception)
    assert isinstance(plain, Invoice)
    assert plain.status == "paid"
    assert await connection.fetchval("SELECT array_agg(key) FROM idempotency_keys") == ["good"]


async def test_key__answer_can_not_be_rendered__nothing_happened(
    database: Database, connection: Connection, settings: Settings, invoices: None
) -> None:
    def broken(_: Outcome) -> KeptAnswer:
        raise RuntimeError("broken")

    lane = WriteLane("test", database, pay_invoices, settings.batches)
    command = Once(PayInvoice(1), IdempotencyKey("test", "k"), Digest(bytes(32), bytes(32)), broken)
    with pytest.raises(RuntimeError, match="broken"):
        await lane.submit_once(command)
    assert await connection.fetchval("SELECT status FROM invoices WHERE id = 1") == "pending"
    assert not await connection.fetchval("SELECT count(*) FROM idempotency_keys")
