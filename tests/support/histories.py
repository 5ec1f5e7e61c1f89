"""Histories of all that users do, and what must hold of their money after any of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from hypothesis import strategies as st

from rowlock.accounts.people import anonymise_users, change_users, register_users
from rowlock.accounts.rules import AnonymiseUser, ChangeUser, CreateUser, Person, RegisterUser
from rowlock.accounts.transactions import create_users
from rowlock.benefits.rules import PlacedOrder, PlaceOrder
from rowlock.benefits.transactions import place_orders
from rowlock.engine.database import Database
from rowlock.engine.lanes import Execute
from rowlock.invoices.rules import (
    CreateInvoice,
    CreateInvoices,
    Invoice,
    PayInvoice,
    ReverseInvoice,
    VoidInvoice,
)
from rowlock.invoices.transactions import (
    create_invoices,
    create_many,
    pay_invoices,
    reverse_invoices,
    void_invoices,
)
from rowlock.orders.rules import CancelOrder, CreateOrder, Item, Order, Settlement, SettleOrder
from rowlock.orders.transactions import cancel_orders, create_orders, settle_orders
from rowlock.origin import Origin
from rowlock.refunds.rules import Refund, RefundOrder
from rowlock.refunds.transactions import refund_orders
from rowlock.rejections import Rejection
from rowlock.transfers.rules import MakeTransfer, Transfer
from rowlock.transfers.transactions import make_transfers
from tests.support.equivalence import TRACES, Feature, History
from tests.support.money import MONEY, assert_documents_posted, assert_money_conserved
from tests.support.types import Connection

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
EXECUTORS: Mapping[type, Execute[Any, Any]] = {
    CreateUser: create_users,
    RegisterUser: register_users,
    ChangeUser: change_users,
    AnonymiseUser: anonymise_users,
    PlaceOrder: place_orders,
    CreateOrder: create_orders,
    SettleOrder: partial(settle_orders, approval_rate=0.5),
    CancelOrder: cancel_orders,
    RefundOrder: refund_orders,
    CreateInvoice: create_invoices,
    CreateInvoices: create_many,
    PayInvoice: pay_invoices,
    VoidInvoice: void_invoices,
    ReverseInvoice: reverse_invoices,
    MakeTransfer: make_transfers,
}
# What must hold after any history; each finds what breaks it.
RULES = {
    "no more is refunded than was paid": """
        SELECT id FROM orders WHERE refunded <> (
            SELECT coalesce(sum(amount), 0) FROM refunds WHERE order_id = orders.id
        ) OR refunded > amount""",
    "only approved orders of users are refunded": """
        SELECT order_id FROM refunds JOIN orders ON orders.id = order_id
        WHERE status <> 'approved' OR orders.user_id IS DISTINCT FROM refunds.user_id""",
    "only approved orders move money": """
        SELECT orders.id FROM orders JOIN ledger_entries
        ON document_kind = 'order' AND document_id = orders.id WHERE status <> 'approved'""",
    "what is owned was bought and not refunded": """
        (
            SELECT user_id, product_id FROM owned_products
            EXCEPT
            SELECT user_id, product_id FROM order_items JOIN orders ON orders.id = order_id
            WHERE EXISTS (
                SELECT FROM outbox WHERE name = 'benefit_order.placed'
                AND subject = 'order:' || orders.id)
            AND NOT EXISTS (SELECT FROM refunds WHERE order_id = orders.id)
        ) UNION ALL (
            SELECT user_id, product_id FROM order_items JOIN orders ON orders.id = order_id
            WHERE EXISTS (
                SELECT FROM outbox WHERE name = 'benefit_order.placed'
                AND subject = 'order:' || orders.id)
            AND NOT EXISTS (SELECT FROM refunds WHERE order_id = orders.id)
            EXCEPT
            SELECT user_id, product_id FROM owned_products
        )""",
    "a reference names one document of a kind": """
        SELECT reference FROM (
            SELECT 'order' AS kind, reference FROM orders
            UNION ALL SELECT 'refund', reference FROM refunds
            UNION ALL SELECT 'invoice', reference FROM invoices
            UNION ALL SELECT 'transfer', reference FROM transfers
        ) AS document
        WHERE reference IS NOT NULL GROUP BY kind, reference HAVING count(*) > 1""",
}

# Few of each, so that commands meet: the same users, documents, references, and empty purses.
USERS = {"ada": 25_000, "edsger": 9_000, "grace": 900}  # their ids are 1, 2 and 3
usernames = st.sampled_from([*USERS, "alan", "nobody"])
slugs = st.sampled_from(["netflix", "spotify", "gym", "unknown"])
user_ids = st.sampled_from([1, 2, 3, 999])
order_ids = st.integers(1, 10)
invoice_ids = st.integers(1, 8)
amounts = st.integers(1, 9_000)
references = st.sampled_from([None, None, "first", "second"])
metadata = st.sampled_from([None, '{"project": "north"}'])
origins = st.builds(
    Origin, st.sampled_from(["r-1", "r-2"]), st.sampled_from(["token", "project:1"]), TRACES
)
emails = st.sampled_from([None, "a@example.com", "b@example.com"])
items = st.lists(
    st.builds(Item, st.sampled_from([1, 2, 2, 3, 4]), st.integers(1, 2)), min_size=1, max_size=2
).map(tuple)
invoices = st.builds(
    CreateInvoice, user_ids, amounts, st.just("Work"), origins, references, metadata
)
commands: dict[type, st.SearchStrategy[Any]] = {
    CreateUser: st.builds(
        CreateUser, st.sampled_from([*USERS, "alan", "barbara"]), st.integers(0, 20_000), origins
    ),
    RegisterUser: st.builds(
        RegisterUser,
        st.sampled_from(["ada", "alan", "barbara"]),
        emails,
        st.just("Ada"),
        st.just("Lovelace"),
        st.integers(0, 9_000),
        origins,
    ),
    ChangeUser: st.builds(
        ChangeUser,
        user_ids,
        st.fixed_dictionaries({}, optional={"email": emails, "first_name": st.just("Ada")}),
        origins,
    ),
    AnonymiseUser: st.builds(AnonymiseUser, user_ids, origins),
    PlaceOrder: st.builds(
        PlaceOrder, usernames, st.lists(slugs, min_size=1, max_size=2).map(tuple), origins
    ),
    CreateOrder: st.builds(CreateOrder, st.none() | user_ids, items, origins, references, metadata),
    SettleOrder: st.builds(SettleOrder, order_ids, st.sampled_from([0.0, 0.9])),
    CancelOrder: st.builds(CancelOrder, order_ids, origins),
    RefundOrder: st.builds(
        RefundOrder,
        order_ids,
        st.sampled_from([None, None, 1, 100, 2600, 7599, 10_000]),
        origins,
        references,
        metadata,
    ),
    CreateInvoice: invoices,
    CreateInvoices: st.builds(
        CreateInvoices, st.lists(invoices, min_size=1, max_size=4).map(tuple)
    ),
    PayInvoice: st.builds(PayInvoice, invoice_ids, origins),
    VoidInvoice: st.builds(VoidInvoice, invoice_ids, origins),
    ReverseInvoice: st.builds(ReverseInvoice, invoice_ids, origins),
    MakeTransfer: st.builds(
        MakeTransfer, user_ids, user_ids, amounts, st.just("Lunch"), origins, references, metadata
    ).filter(lambda command: command.from_user_id != command.to_user_id),
}


def _with_references_in_order(batch: list[Any]) -> list[Any]:
    """Deal the references out anew: a batch draws ids in their order (decision 0067)."""

    def parts(command: Any) -> Sequence[Any]:
        return command.parts if isinstance(command, CreateInvoices) else (command,)

    kept = (part.reference for command in batch for part in parts(command))
    rest = iter(sorted(kept, key=lambda reference: (reference is None, reference)))

    def dealt(command: Any) -> Any:
        if isinstance(command, CreateInvoices):
            return command._replace(parts=tuple(map(dealt, command.parts)))
        return command._replace(reference=next(rest))

    return [dealt(command) for command in batch]


def _batch(kind: type) -> st.SearchStrategy[list[Any]]:
    if kind in {CreateOrder, RefundOrder, CreateInvoice, CreateInvoices, MakeTransfer}:
        return st.lists(commands[kind], min_size=1, max_size=10).map(_with_references_in_order)
    if kind is not SettleOrder:
        return st.lists(commands[kind], min_size=1, max_size=10)
    # Settlements are decided in the order of ids, whatever the order of their arrival.
    return st.lists(
        commands[kind], min_size=1, max_size=8, unique_by=lambda command: command.order_id
    ).map(lambda batch: sorted(batch, key=lambda command: command.order_id))


batches = st.sampled_from(list(commands)).flatmap(_batch)
# Every history starts with these, so that the rest has something to work on. The users come one by
# one, so that their ids are known.
START: History = [
    *([CreateUser(name, balance)] for name, balance in USERS.items()),
    [PlaceOrder("ada", ("netflix",)), PlaceOrder("edsger", ("gym", "spotify"))],
    [
        CreateOrder(1, (Item(2, 2),)),
        CreateOrder(2, (Item(2, 1),)),
        CreateOrder(None, (Item(1, 1),)),
    ],
    [SettleOrder(3, 0.0)],
    [CreateInvoice(number, 700, "Work") for number in (1, 2, 3)],
    [PayInvoice(1), PayInvoice(2)],
]
histories: st.SearchStrategy[History] = st.lists(batches, min_size=1, max_size=14).map(
    lambda rest: [*START, *rest]
)


async def add_products(_database: Database, connection: Connection) -> None:
    await connection.executemany(
        "INSERT INTO products (slug, name, price) VALUES ($1, $1, $2)",
        [("netflix", 7599), ("spotify", 2600), ("gym", 0)],
    )


async def check_rules(connection: Connection, _history: History, _outcomes: list[Any]) -> None:
    await assert_money_conserved(connection)
    await assert_documents_posted(connection)
    for rule, statement in RULES.items():
        assert await connection.fetch(statement) == [], rule


def comparable(outcome: Any) -> Any:
    """Return what must be equal: not times, and not ids of new users, as conflicts use up some."""
    match outcome:
        case list():
            shown: Any = [comparable(each) for each in outcome]
        case PlacedOrder(order_id, _, purchase):
            username = purchase.account.username
            shown = order_id, username, purchase.products, purchase.balance_after
        case Order():
            is_settled = outcome.settled_at is not None
            shown = replace(outcome, created_at=BEGINNING, settled_at=None), is_settled
        case Settlement(order, status, reason, balance_after):
            shown = order.id, status, reason, balance_after
        case Refund():
            shown = outcome._replace(created_at=BEGINNING)
        case Invoice():
            ends = outcome.paid_at, outcome.voided_at, outcome.reversed_at
            plain = replace(
                outcome, created_at=BEGINNING, paid_at=None, voided_at=None, reversed_at=None
            )
            shown = plain, [end is not None for end in ends]
        case Transfer():
            shown = replace(outcome, created_at=BEGINNING)
        case Person():
            shown = outcome._replace(id=0, created_at=BEGINNING, anonymised_at=None)
            shown = shown, outcome.anonymised_at is not None
        case Rejection():
            shown = type(outcome), outcome.message, outcome.details
        case _:
            shown = outcome
    return shown


FEATURE = Feature(
    executors=EXECUTORS,
    comparable=comparable,
    state=MONEY
    | {
        "refunds": "SELECT id, order_id, user_id, amount, reference, metadata::text FROM refunds",
        "refunded": "SELECT id, status, refunded FROM orders ORDER BY id",
    },
    arrange=add_products,
    check=check_rules,
)
