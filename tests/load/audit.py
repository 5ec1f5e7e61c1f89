"""Whether the comparison is honest: peers answer and write as the service does, and it adds up."""

import http.client
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness import TICK_S, BenchFailed, Server, Stage, last_line
from servers import AUDITED

# Per line: numbers that must be equal.
BOOKS: dict[str, tuple[str, ...]] = {
    "benefit orders, their ledger entries and their events": (
        "SELECT count(DISTINCT reference) FROM ledger_entries WHERE reason = 'benefit_order'",
        "SELECT count(*) FROM ledger_entries WHERE reason = 'benefit_order'",
        "SELECT count(*) FROM outbox WHERE name = 'benefit_order.placed'",
    ),
    "products bought and not refunded, and products owned": (
        "SELECT count(*) FROM owned_products JOIN products ON products.id = product_id "
        "WHERE slug LIKE 'load-%'",
        "SELECT count(*) FROM order_items AS item JOIN ledger_entries AS entry "
        "ON entry.reference = 'order:' || item.order_id AND entry.reason = 'benefit_order' "
        "WHERE NOT EXISTS (SELECT FROM refunds WHERE refunds.order_id = item.order_id)",
    ),
    "refunds, orders refunded whole, their ledger entries and their events": (
        "SELECT count(*) FROM refunds",
        "SELECT count(*) FROM orders WHERE refunded = amount AND amount > 0",
        "SELECT count(DISTINCT reference) FROM ledger_entries WHERE reason = 'refund'",
        "SELECT count(*) FROM outbox WHERE name = 'order.refunded'",
    ),
    "invoices paid, their ledger entries and their events": (
        "SELECT count(*) FROM invoices WHERE status = 'paid'",
        "SELECT count(DISTINCT reference) FROM ledger_entries WHERE reason = 'invoice'",
        "SELECT count(*) FROM ledger_entries WHERE reason = 'invoice'",
        "SELECT count(*) FROM outbox WHERE name = 'invoice.paid'",
    ),
    "transfers, half of their ledger entries and their events": (
        "SELECT count(*) FROM public.transfers",
        "SELECT count(*) / 2 FROM ledger_entries WHERE reason = 'transfer'",
        "SELECT count(DISTINCT reference) FROM ledger_entries WHERE reason = 'transfer'",
        "SELECT count(*) FROM outbox WHERE name = 'transfer.made'",
    ),
    "users whose ledger does not add up to their balance": (
        "SELECT count(*) FROM users LEFT JOIN "
        "(SELECT user_id, sum(amount) AS total FROM ledger_entries GROUP BY 1) AS ledger "
        "ON ledger.user_id = users.id WHERE balance <> coalesce(total, 0)",
        "SELECT 0",
    ),
}

# The same of the ledger that stands alone.
TRANSFERS: dict[str, tuple[str, ...]] = {
    "transfers and pairs of their entries": (
        "SELECT 2 * count(*) FROM transfers.transfers",
        "SELECT count(*) FROM transfers.entries",
    ),
    "accounts whose entries do not add up to their balance": (
        "SELECT count(*) FROM transfers.accounts LEFT JOIN "
        "(SELECT account_id, sum(amount) AS total FROM transfers.entries GROUP BY 1) AS entries "
        "ON account_id = accounts.id WHERE balance <> coalesce(total, 0)",
        "SELECT 0",
    ),
}

# What a document has left behind, but for what differs from one to the next. The peers are frozen:
# their events still have the username, as those of 0.1.0 had.
TRACES = """
    SELECT
        name || ' by ' || actor,
        payload - '{order_id,user_id,username,invoice_id,invoice_created_at,paid_at}'::text[]
    FROM outbox
    WHERE (payload ->> 'user_id')::bigint = %(user_id)s
    UNION ALL
    SELECT
        reason,
        to_jsonb(ledger_entries) - '{id,user_id,created_at,reference,document_id}'::text[]
    FROM ledger_entries WHERE user_id = %(user_id)s
    UNION ALL
    SELECT status, to_jsonb(items) - '{id,order_id}'::text[]
    FROM orders JOIN order_items AS items ON orders.id = order_id WHERE user_id = %(user_id)s
    ORDER BY 1, 2"""


def check_books(stage: Stage, books: Mapping[str, Sequence[str]] = BOOKS) -> None:
    """Raise BenchFailed if what all sides have written does not add up."""
    with stage.postgres.connection.transaction():
        # One snapshot: requests that wrk has left behind may still be under way.
        stage.postgres.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        for what, statements in books.items():
            numbers = [stage.postgres.number(statement) for statement in statements]
            if len(set(numbers)) > 1:
                raise BenchFailed(f"The books do not add up: {what} are {numbers}.")


def check_answers(stage: Stage, peers: Sequence[str]) -> None:
    """Raise BenchFailed unless the peers answer and write what the service does."""
    expected = {
        pays: list(_tour(stage, "rowlock", pays)) for pays in {AUDITED[peer] for peer in peers}
    }
    for peer in peers:
        stage.progress.doing(f"comparing what {peer} answers and writes")
        pays = AUDITED[peer]
        for own, its in zip(expected[pays], _tour(stage, peer, pays), strict=True):
            if own != its:
                raise BenchFailed(f"{peer} differs: {its}, where rowlock has {own}.")


def _tour(stage: Stage, name: str, pays: bool) -> Iterator[Any]:
    """Yield what a new user of the server meets, and what it leaves in the database."""
    server, service = stage.server(name), stage.server("rowlock")
    username = f"customer-of-{name}-{pays}".lower().replace(", ", "-").replace(" ", "-")
    _ask(service, "GET", f"/api/users/{username}")  # creates the user
    user_id = stage.postgres.number(f"SELECT id FROM users WHERE username = '{username}'")

    def buy(*slugs: str, user: str = username) -> Any:
        body = {"order": {"items": slugs, "user_id": user}}
        return _ask(server, "POST", "/api/orders", body)

    yield buy("load-product-7", "load-product-8")
    yield buy("load-product-9", "load-product-8")
    yield buy("load-product-9", "load-product-9")
    yield buy("load-product-9", "there-is-none")
    yield buy("load-product-9", user="nobody")
    yield buy("load-product-10")
    if pays:
        yield from _pay(stage, server, user_id)
    _, shown = _ask(service, "GET", f"/api/users/{username}")
    yield shown["user"]["data"]
    yield stage.postgres.connection.execute(TRACES.encode(), {"user_id": user_id}).fetchall()


def _pay(stage: Stage, server: Server, user_id: int) -> Iterator[Any]:
    service = stage.server("rowlock")
    body = {"user_id": user_id, "amount": 11350, "label": "Work for April"}
    _, invoice = _ask(service, "POST", "/invoices", body)
    number = stage.postgres.number(f"SELECT id FROM invoices WHERE user_id = {user_id}")
    yield invoice
    yield _ask(server, "POST", f"/invoices/{number}/pay")
    yield _ask(server, "POST", f"/invoices/{number}/pay")


def _ask(server: Server, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Return the status and the answer, but for what differs from one to the next."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        content = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, path, content, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
    except ValueError:
        time.sleep(TICK_S)  # it logs after it has answered
        raise BenchFailed(
            f"{server.name} answers {method} {path} with {response.status}: {last_line(server.log)}"
        ) from None
    finally:
        connection.close()
    if "error" in answer:
        return response.status, answer["error"]
    if "order" in answer:
        assert answer["order"].pop("order_id").isdigit()
    for volatile in ("id", "user_id", "created_at", "paid_at"):
        if volatile in answer:
            answer[volatile] = type(answer[volatile]).__name__
    # The peers are frozen: they do not tell what an invoice lacks, such as a reference.
    return response.status, {name: value for name, value in answer.items() if value is not None}
