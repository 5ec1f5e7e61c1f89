"""The kinds of requests that capacity.py measures, and what they draw from."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import data
from harness import BenchFailed, Stage

STRIDE = 7919  # a prime: what follows in time does not lie side by side in the tables
FIRST_TIME = 4_102_444_800  # the year 2100
TIMES = 1_000_003  # for bookings: every four hours

Text = tuple[str, str, str]  # the line of a request, its body, and a further header


class Request(NamedTuple):
    """A kind of request, and the texts of so many of them."""

    name: str
    texts: Callable[["Run", int], Iterable[Text]]
    is_settled: bool = False  # in the background

    def packed(self, run: "Run", count: int) -> list[bytes]:
        """Return so many requests as they are sent."""
        return [_pack(*each) for each in self.texts(run, count)]


@dataclass(slots=True)
class Run:
    """The stage, and what has been drawn from it."""

    ready: Stage
    first_user: int
    users: int
    products: Sequence[int]  # their ids
    made: Counter[str] = field(default_factory=Counter)

    @classmethod
    def on(cls, ready: Stage, users: int) -> "Run":
        """Return a new one, once the data is loaded."""
        first, _ = data.user_ids(ready)
        run = cls(ready, first, users, ())
        run.products = run.ids("SELECT id FROM products WHERE slug LIKE 'load-product-%%'")
        return run

    def numbers(self, kind: str, count: int) -> range:
        """Return the next numbers of a kind."""
        self.made[kind] += count
        return range(self.made[kind] - count, self.made[kind])

    def user(self, place: int) -> int:
        """Return the id of a user: what follows in time does not lie side by side."""
        return self.first_user + place * STRIDE % self.users

    def ids(self, statement: str, *values: Any) -> list[int]:
        rows = self.ready.postgres.connection.execute(statement.encode(), values).fetchall()
        return [row[0] for row in rows]


def benefit_orders(run: Run, count: int) -> Iterator[Text]:
    for number in run.numbers("benefits", count):
        user = run.user(number) - run.first_user + 1
        product = number // run.users % data.PRODUCTS + 1
        body = f'{{"order":{{"items":["load-product-{product}"],"user_id":"load-{user}"}}}}'
        yield "POST /api/orders", body, ""


def keyed_orders(run: Run, count: int) -> Iterator[Text]:
    for number, (line, body, _) in enumerate(benefit_orders(run, count)):
        key = f"{run.made['benefits']}-{number:07}-{time.time_ns():x}"
        yield line, body, f"Idempotency-Key: {key}\r\n"


def orders(run: Run, count: int) -> Iterator[Text]:
    for number in run.numbers("orders", count):
        products = [run.products[(number + 331 * each) % data.PRODUCTS] for each in range(3)]
        items = ",".join(f'{{"productId":{each},"quantity":2}}' for each in products)
        yield "POST /orders", f'{{"items":[{items}],"userId":{run.user(number)}}}', ""


def invoices(run: Run, count: int) -> Iterator[Text]:
    for number in run.numbers("invoices", count):
        body = f'{{"user_id":{run.user(number)},"amount":11350,"label":"Work for April"}}'
        yield "POST /invoices", body, ""


def payments(run: Run, count: int) -> Iterator[Text]:
    pending = run.ids(
        "SELECT id FROM invoices WHERE status = 'pending' ORDER BY id LIMIT %s", count
    )
    if len(pending) < count:
        raise BenchFailed("There are too few invoices to pay: measure POST /invoices before.")
    for invoice in pending:
        yield f"POST /invoices/{invoice}/pay", "", ""


def transfers(run: Run, count: int) -> Iterator[Text]:
    for number in run.numbers("transfers", count):
        pair = f'"from_user_id":{run.user(number)},"to_user_id":{run.user(number + run.users // 2)}'
        yield "POST /transfers", f'{{{pair},"amount":1,"label":"Lunch"}}', ""


def refunds(run: Run, count: int) -> Iterator[Text]:
    approved = run.ids(
        "SELECT id FROM orders WHERE status = 'approved' AND refunded = 0 ORDER BY id LIMIT %s",
        count,
    )
    if len(approved) < count:
        raise BenchFailed("There are too few orders to refund: measure POST /api/orders before.")
    for order in approved:
        yield f"POST /orders/{order}/refunds", "", ""


def bookings(run: Run, count: int) -> Iterator[Text]:
    for number in run.numbers("bookings", count):
        at = time.gmtime(FIRST_TIME + number * STRIDE % TIMES * 4 * 3600)
        text = time.strftime("%Y-%m-%dT%H:%M:%SZ", at)
        yield "POST /service-orders", f'{{"datetime":"{text}","totalfee":1,"services":["123"]}}', ""


def reads(run: Run, count: int) -> Iterator[Text]:
    for number in run.numbers("reads", count):
        yield f"GET /user/{run.user(number)}", "", ""


# In an order in which each finds what it needs: invoices to pay, orders to refund.
REQUESTS = (
    Request("POST /api/orders", benefit_orders),
    Request("the same with a key", keyed_orders),
    Request("POST /orders", orders, is_settled=True),
    Request("POST /invoices", invoices),
    Request("POST /invoices/{id}/pay", payments),
    Request("POST /transfers", transfers),
    Request("POST /orders/{id}/refunds", refunds),
    Request("POST /service-orders", bookings),
    Request("GET /user/{id}", reads),
)


def _pack(line: str, body: str, header: str) -> bytes:
    """Return a request as it is sent."""
    head = f"{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n{header}Content-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
