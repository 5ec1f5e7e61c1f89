"""Whether some order of the commands explains what happened: the events are played one by one.

A position in the outbox is drawn while a transaction holds its locks. So of two transactions that
met at a row, the one that came later has the higher positions; of others, either may come first.
By their positions, the events are thus an order in which the commands may have run one at a time.
"""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.support.types import Connection

Payload = dict[str, Any]


@dataclass
class Document:
    """An order or an invoice, as the events have told of it so far."""

    user_id: int | None
    amount: int
    statuses: list[str]  # that it has had
    refunded: list[int] = field(default_factory=lambda: [0])  # so far, after each refund
    products: tuple[int, ...] = ()  # that a benefit order has bought

    @property
    def status(self) -> str:
        return self.statuses[-1]


class Replay:
    """What the events tell, each of which must be possible after those before it."""

    def __init__(self) -> None:
        self.balances: dict[int, list[int]] = defaultdict(list)  # of each user, one after another
        self.orders: dict[int, Document] = {}
        self.invoices: dict[int, Document] = {}
        self.anonymous: set[int] = set()
        self.owned: set[tuple[int, int]] = set()

    def play(self, name: str, payload: Payload) -> None:
        """Apply an event; AssertionError if what it tells was not possible then."""
        getattr(self, "_" + name.replace(".", "_"))(payload)

    def _move(self, user_id: int, amount: int, balance_after: int) -> None:
        balance = self.balances[user_id][-1] + amount
        assert balance == balance_after >= 0, f"user {user_id}: {balance}, told {balance_after}"
        self.balances[user_id].append(balance)

    def _user_created(self, told: Payload) -> None:
        assert told["user_id"] not in self.balances
        self.balances[told["user_id"]].append(told["balance"])

    def _user_changed(self, told: Payload) -> None:
        assert told["user_id"] in self.balances

    def _user_anonymised(self, told: Payload) -> None:
        assert told["user_id"] in self.balances
        assert told["user_id"] not in self.anonymous
        self.anonymous.add(told["user_id"])

    def _benefit_order_placed(self, told: Payload) -> None:
        user_id, products = told["user_id"], tuple(item["product_id"] for item in told["items"])
        bought = {(user_id, product) for product in products}
        assert self.owned.isdisjoint(bought)
        self.owned |= bought
        self._move(user_id, -told["total"], told["balance_after"])
        order = Document(user_id, told["total"], ["approved"], products=products)
        assert self.orders.setdefault(told["order_id"], order) is order

    def _order_created(self, told: Payload) -> None:
        order = Document(told["user_id"], told["amount"], ["pending"])
        assert self.orders.setdefault(told["order_id"], order) is order

    def _end_order(self, told: Payload, status: str) -> None:
        order = self.orders[told["order_id"]]
        assert order.status == "pending"
        order.statuses.append(status)

    def _order_approved(self, told: Payload) -> None:
        self._end_order(told, "approved")
        if told["user_id"] is not None:
            self._move(told["user_id"], -told["amount"], told["balance_after"])

    def _order_refused(self, told: Payload) -> None:
        self._end_order(told, "refused")
        if told["user_id"] is not None:
            assert told["reason"] == "insufficient_balance"
            assert self.balances[told["user_id"]][-1] < told["amount"]

    def _order_cancelled(self, told: Payload) -> None:
        self._end_order(told, "cancelled")

    def _order_refunded(self, told: Payload) -> None:
        order = self.orders[told["order_id"]]
        assert (order.status, order.user_id) == ("approved", told["user_id"])
        refunded = order.refunded[-1] + told["amount"]
        assert refunded == told["refunded"] <= order.amount
        order.refunded.append(refunded)
        if order.products:
            assert told["amount"] == order.amount
            given_back = {(told["user_id"], product) for product in order.products}
            assert given_back <= self.owned
            self.owned -= given_back
        self._move(told["user_id"], told["amount"], told["balance_after"])

    def _invoice_created(self, told: Payload) -> None:
        invoice = Document(told["user_id"], told["amount"], ["pending"])
        assert self.invoices.setdefault(told["invoice_id"], invoice) is invoice

    def _change_invoice(self, told: Payload, old: str, new: str) -> None:
        invoice = self.invoices[told["invoice_id"]]
        assert invoice.status == old
        assert (invoice.user_id, invoice.amount) == (told["user_id"], told["amount"])
        invoice.statuses.append(new)

    def _invoice_paid(self, told: Payload) -> None:
        self._change_invoice(told, "pending", "paid")
        self._move(told["user_id"], told["amount"], told["balance_after"])

    def _invoice_voided(self, told: Payload) -> None:
        self._change_invoice(told, "pending", "void")

    def _invoice_reversed(self, told: Payload) -> None:
        self._change_invoice(told, "paid", "reversed")
        self._move(told["user_id"], -told["amount"], told["balance_after"])

    def _transfer_made(self, told: Payload) -> None:
        assert told["amount"] > 0
        self._move(told["from_user_id"], -told["amount"], told["from_balance_after"])
        self._move(told["to_user_id"], told["amount"], told["to_balance_after"])


async def replay(connection: Connection) -> Replay:
    """Play all events, and compare what they come to with the tables; AssertionError if not so."""
    played = Replay()
    for event in await connection.fetch("SELECT name, payload FROM outbox ORDER BY position"):
        played.play(event["name"], json.loads(event["payload"]))
    users = await connection.fetch("SELECT id, balance FROM users")
    assert {(id_, had[-1]) for id_, had in played.balances.items()} == set(map(tuple, users))
    orders = await connection.fetch("SELECT id, status, refunded FROM orders")
    assert {(id_, each.status, each.refunded[-1]) for id_, each in played.orders.items()} == set(
        map(tuple, orders)
    )
    invoices = await connection.fetch("SELECT id, status FROM invoices")
    assert {(id_, each.status) for id_, each in played.invoices.items()} == set(
        map(tuple, invoices)
    )
    owned = await connection.fetch("SELECT user_id, product_id FROM owned_products")
    assert played.owned == set(map(tuple, owned))
    return played
