"""Any history of all that moves money: in batches, one at a time, and in two processes at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from rowlock.accounts import Accounts
from rowlock.accounts.rules import AnonymiseUser, ChangeUser, CreateUser, Person, RegisterUser
from rowlock.benefits import Benefits
from rowlock.benefits.rules import PlacedOrder, PlaceOrder
from rowlock.engine.database import Database
from rowlock.engine.lanes import Lane
from rowlock.engine.wakes import Wake
from rowlock.invoices import Invoices
from rowlock.invoices.rules import (
    CreateInvoice,
    CreateInvoices,
    Invoice,
    PayInvoice,
    ReverseInvoice,
    VoidInvoice,
)
from rowlock.ops import money
from rowlock.orders import Orders
from rowlock.orders.rules import CancelOrder, CreateOrder, Order, Settlement, SettleOrder
from rowlock.refunds import Refunds
from rowlock.refunds.rules import Refund, RefundOrder
from rowlock.rejections import (
    InsufficientBalance,
    InvoiceAlreadyPaid,
    InvoiceNotPaid,
    InvoiceNotPending,
    OrderNotPending,
    RefundExceedsOrder,
    Rejection,
)
from rowlock.settings import Settings
from rowlock.transfers import Transfers
from rowlock.transfers.rules import MakeTransfer, Transfer
from tests.support.databases import Databases
from tests.support.equivalence import History, assert_batches_equal_one_at_a_time
from tests.support.histories import FEATURE, START, add_products, check_rules, histories
from tests.support.replay import Replay, replay
from tests.support.roles import confined
from tests.support.types import Connection

Lanes = Mapping[type, Lane[Any, Any]]


def test_batches__any_history__equal_one_at_a_time(main_databases: Databases) -> None:
    assert_batches_equal_one_at_a_time(main_databases, FEATURE, histories, examples=40)


def test_two_processes__any_history__some_order_explains_it(main_databases: Databases) -> None:
    """Each process gets every other command, all at once."""

    @hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[*HealthCheck])
    @given(histories)
    def holds(history: History) -> None:
        with main_databases.lent() as url:
            asyncio.run(_play_in_two_processes(url, history[len(START) :]))

    holds()


@asynccontextmanager
async def _process(url: str, settings: Settings) -> AsyncIterator[Lanes]:
    """Lend the lanes of a process, with the rights of the commerce service."""
    async with Database(confined(url, "commerce"), settings.database) as database:
        accounts = Accounts(database, settings.batches)
        benefits = Benefits(database, settings.batches, settings.benefits, settings.money, accounts)
        orders = Orders(database, settings.batches, settings.orders, Wake())
        refunds = Refunds(database, settings.batches)
        invoices = Invoices(database, settings.batches)
        transfers = Transfers(database, settings.batches)
        lanes: Lanes = {
            CreateUser: accounts.create,
            RegisterUser: accounts.register,
            ChangeUser: accounts.change,
            AnonymiseUser: accounts.anonymise,
            PlaceOrder: benefits.place_order,
            CreateOrder: orders.create,
            SettleOrder: orders.settle,
            CancelOrder: orders.cancel,
            RefundOrder: refunds.make,
            CreateInvoice: invoices.create,
            CreateInvoices: invoices.create_many,
            PayInvoice: invoices.pay,
            VoidInvoice: invoices.void,
            ReverseInvoice: invoices.reverse,
            MakeTransfer: transfers.make,
        }
        yield lanes
        await asyncio.gather(*(lane.close() for lane in lanes.values()))


async def _play_in_two_processes(url: str, history: History) -> None:
    settings = Settings()
    async with AsyncExitStack() as stack:
        connection = await asyncpg.connect(url)
        stack.push_async_callback(connection.close)
        database = await stack.enter_async_context(Database(url, settings.database))
        processes = [await stack.enter_async_context(_process(url, settings)) for _ in range(2)]
        await add_products(database, connection)
        told: Counter[tuple[str, str]] = Counter()
        for batch in START:
            told += _told_of([(each, await _submit(processes[0], each)) for each in batch])
        rest = [command for batch in history for command in batch]
        outcomes = await asyncio.gather(
            *(_submit(processes[number % 2], command) for number, command in enumerate(rest))
        )
        told += _told_of(list(zip(rest, outcomes, strict=True)))
        await check_rules(connection, history, outcomes)
        assert [found async for found in money.differences(database, lambda *_: None)] == []
        played = await replay(connection)
        await _assert_acknowledged(connection, told)
        for command, outcome in zip(rest, outcomes, strict=True):
            _assert_true(command, outcome, played)


async def _submit(process: Lanes, command: Any) -> Any:
    try:
        return await process[type(command)].submit(command)
    except Rejection as rejection:  # of a reference that the other process has just taken
        return rejection


def _told_of(outcomes: list[tuple[Any, Any]]) -> Counter[tuple[str, str]]:
    """Count what was acknowledged, by the event and the subject that tell of it."""
    told: Counter[tuple[str, str]] = Counter()
    settled: set[int] = set()  # a batch that has a settlement twice returns it twice
    for command, outcome in outcomes:
        match command, outcome:
            case (CreateUser(), True) | (RegisterUser(), Person()):
                told["user.created", "user"] += 1
            case _, PlacedOrder():
                told["benefit_order.placed", f"order:{outcome.id}"] += 1
            case CreateOrder(), Order():
                told["order.created", f"order:{outcome.id}"] += 1
            case CancelOrder(), Order():
                told["order.cancelled", f"order:{outcome.id}"] += 1
            case _, Settlement(order, status) if order.id not in settled:
                settled.add(order.id)
                told[f"order.{status}", f"order:{order.id}"] += 1
            case _, Refund():
                told["order.refunded", f"order:{outcome.order_id}"] += 1
            case CreateInvoices(), list():
                made = [each for each in outcome if isinstance(each, Invoice)]
                told.update(("invoice.created", f"invoice:{each.id}") for each in made)
            case _, Invoice():
                name = {
                    CreateInvoice: "created",
                    PayInvoice: "paid",
                    VoidInvoice: "voided",
                    ReverseInvoice: "reversed",
                }[type(command)]
                told[f"invoice.{name}", f"invoice:{outcome.id}"] += 1
            case _, Transfer():
                told["transfer.made", f"transfer:{outcome.id}"] += 1
    return told


async def _assert_acknowledged(connection: Connection, told: Counter[tuple[str, str]]) -> None:
    """What happened is what was acknowledged: all of it, and no more.

    An answer does not tell whether a user was changed, or was already as it was to be.
    """
    events = await connection.fetch(
        """
        SELECT name, CASE WHEN name = 'user.created' THEN 'user' ELSE subject END FROM outbox
        WHERE name NOT IN ('user.changed', 'user.anonymised')"""
    )
    assert Counter(map(tuple, events)) == told


def _assert_true(command: Any, outcome: Any, played: Replay) -> None:
    """A refusal tells of something that was so at some time."""
    match command, outcome:
        case _, InsufficientBalance(details={"balance": balance, "amount": amount}):
            assert balance < amount
            match command:
                case PlaceOrder():
                    had = [each for balances in played.balances.values() for each in balances]
                case ReverseInvoice(invoice_id):
                    invoice = played.invoices[invoice_id]
                    assert invoice.user_id is not None
                    assert amount == invoice.amount
                    had = played.balances[invoice.user_id]
                case MakeTransfer(from_user_id, _, wanted):
                    assert amount == wanted
                    had = played.balances[from_user_id]
            assert balance in had
        case CancelOrder(order_id), OrderNotPending(details={"status": status}):
            assert status == played.orders[order_id].status
        case RefundOrder(order_id), RefundExceedsOrder(details={"left": left, "amount": amount}):
            order = played.orders[order_id]
            assert left < amount
            assert order.amount - left in order.refunded
        case PayInvoice(invoice_id), InvoiceAlreadyPaid():
            assert "paid" in played.invoices[invoice_id].statuses
        case _, InvoiceNotPending() | InvoiceNotPaid():
            statuses = played.invoices[command.invoice_id].statuses
            assert outcome.details["status"] in statuses
