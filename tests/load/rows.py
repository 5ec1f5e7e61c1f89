"""What `make bench` measures over HTTP: the rows of its table."""

from collections.abc import Mapping

import deployments
import pgbench_scripts
from data import (
    DAYS,
    PRODUCTS,
    USERS,
    all_pairs,
    buyers,
    payments,
    refundable,
    scattered_payments,
    to_one,
    user_ids,
    users_read,
)
from harness import CONNECTIONS, PGBENCH_CLIENTS, WRK_THREADS, Stage
from sides import Arguments, BareClient, Http, Paced, Pgbench, Row

# With as many as the service has, the peers were no faster, and what is under way when wrk stops
# would be a large part of what they do in a run. Fastify is measured with both.
PEER_CONNECTIONS = PGBENCH_CLIENTS

SHARES = (0.25, 0.5, 0.8)  # of the maximum, for latency

ORDERS_PLACED = "SELECT count(*) FROM orders"
INVOICES_PAID = "SELECT count(*) FROM invoices WHERE status = 'paid'"
INVOICES_ISSUED = "SELECT count(*) FROM invoices"
BOOKINGS = "SELECT count(*) FROM service_orders"
TRANSFERS = "SELECT count(*) FROM transfers.transfers"  # pgledger's
TRANSFERS_MADE = "SELECT count(*) FROM public.transfers"
REFUNDS_MADE = "SELECT count(*) FROM refunds"

# A request without a key must not look at the table of keys; the purge does, now and then.
KEYS_USED = """
    SELECT seq_scan + coalesce(idx_scan, 0) + n_tup_ins FROM pg_stat_user_tables
    WHERE relname = 'idempotency_keys'"""

OWNED_ALREADY = 0.02  # the share of orders for a product that the user has


def _pgbench_orders() -> tuple[Pgbench, Pgbench]:
    """Return pgbench with the statements of 0.1.0, and with one function."""

    def variables(*_: object) -> Mapping[str, int]:
        return {"users": USERS, "products": PRODUCTS}

    return (
        Pgbench(pgbench_scripts.benefit_order, variables, ORDERS_PLACED, OWNED_ALREADY),
        Pgbench(
            pgbench_scripts.call_place_order,
            variables,
            ORDERS_PLACED,
            OWNED_ALREADY,
            "pgbench, function",
        ),
    )


def _pgbench_payments() -> tuple[Pgbench, Pgbench]:
    def variables(stage: Stage, seconds: float) -> Mapping[str, int]:
        first, _ = payments(stage, seconds)
        return {"first": first, "clients": PGBENCH_CLIENTS, "turn": 0}

    return (
        Pgbench(pgbench_scripts.invoice_payment, variables, INVOICES_PAID),
        Pgbench(
            pgbench_scripts.call_pay_invoice, variables, INVOICES_PAID, name="pgbench, function"
        ),
    )


def _transfers(targets: int) -> Pgbench:
    """Return transfers that pay into one of the first `targets` accounts."""
    return Pgbench(
        pgbench_scripts.transfer,
        lambda *_: {"accounts": USERS, "targets": targets},
        TRANSFERS,
        name="pgledger",
    )


def _fastify(script: str, arguments: Arguments, counted: str) -> tuple[Http, Http]:
    """Return Fastify with few connections, and with as many as the service has."""
    few, many = (
        Http("Fastify", script, arguments, counted, number, label=f"Fastify, {number}")
        for number in (PEER_CONNECTIONS, CONNECTIONS)
    )
    return few, many


def _peers_at_orders() -> tuple[Http | Pgbench, ...]:
    return (
        *_pgbench_orders(),
        *_fastify("orders.lua", all_pairs, ORDERS_PLACED),
        Http("Node, batches", "orders.lua", all_pairs, ORDERS_PLACED),
        Http("FastAPI", "orders.lua", all_pairs, ORDERS_PLACED, PEER_CONNECTIONS),
        Http("Koa", "orders.lua", all_pairs, ORDERS_PLACED, PEER_CONNECTIONS),
    )


def _slowed(milliseconds: int) -> Row:
    """Return orders with commits that take so much longer."""
    return Row(
        f"sync-{milliseconds}",
        f"POST /api/orders, each flush of the log {milliseconds} ms slower",
        (Http("rowlock", "orders.lua", all_pairs, ORDERS_PLACED), *_peers_at_orders()),
        settings={"commit_delay": f"{milliseconds}000", "commit_siblings": "0"},
    )


def rows(many_deployments: int) -> tuple[Row, ...]:
    """Return all rows, in an order in which none spoils another."""
    pages = (deployments.PAGES,)
    return (
        Row(
            "orders",
            "POST /api/orders, many users",
            (
                Http("rowlock", "orders.lua", all_pairs, ORDERS_PLACED, unused=KEYS_USED),
                Http("empty", "orders.lua", all_pairs),
                Http("bare", "orders.lua", all_pairs, ORDERS_PLACED),
                *_peers_at_orders(),
            ),
            {
                "empty": 0.60,
                "pgbench": 2.6,
                "pgbench, function": 2.5,
                "Fastify, 32": 3.0,
                "Fastify, 256": 3.0,
                "Node, batches": 1.1,
                "FastAPI": 15,
                "Koa": 6,
            },
            limits={"server_us": 115, "postgres_us": 80},
        ),
        Row(
            "pay",
            "POST /invoices/{id}/pay, one hot user",
            (
                Http("rowlock", "pay.lua", payments, INVOICES_PAID),
                Http("empty", "pay.lua", lambda *_: (1, WRK_THREADS)),
                Http("bare", "pay.lua", payments, INVOICES_PAID),
                *_pgbench_payments(),
                *_fastify("pay.lua", payments, INVOICES_PAID),
                Http("FastAPI", "pay.lua", payments, INVOICES_PAID, PEER_CONNECTIONS),
                Http("Koa", "pay.lua", payments, INVOICES_PAID, PEER_CONNECTIONS),
                _transfers(targets=1),
            ),
            {
                "pgbench": 10.5,
                "Fastify, 32": 5.7,
                "Fastify, 256": 5.7,
                "FastAPI": 25,
                "Koa": 15,
            },
        ),
        Row(
            "workers-pay",
            "POST /invoices/{id}/pay, one hot user: CPU time of two processes against one",
            (
                Http("2 workers", "pay.lua", payments, INVOICES_PAID),
                Http("rowlock", "pay.lua", payments, INVOICES_PAID),
            ),
            {"rowlock": 1.3},
            quantity="cpu_us",
        ),
        Row(
            "ledger",
            "POST /invoices/{id}/pay, many users, against transfers as pgledger makes them",
            (
                Http("rowlock", "pay.lua", scattered_payments, INVOICES_PAID),
                _transfers(targets=USERS),
            ),
        ),
        Row(
            "transfers",
            "POST /transfers, between many users, against payments of as many",
            (
                Http("rowlock", "transfers.lua", user_ids, TRANSFERS_MADE, label="transfers"),
                Http("empty", "transfers.lua", user_ids),
                Http("rowlock", "pay.lua", scattered_payments, INVOICES_PAID, label="payments"),
            ),
            {"payments": 0.7},
        ),
        Row(
            "transfers-hot",
            "POST /transfers, from many users to one, against those between many",
            (
                Http("rowlock", "transfers.lua", to_one, TRANSFERS_MADE, label="to one"),
                Http("rowlock", "transfers.lua", user_ids, TRANSFERS_MADE, label="to many"),
            ),
            {"to many": 0.9},
        ),
        Row(
            "refunds",
            "POST /orders/{id}/refunds, of benefit orders of many users, against such orders",
            (
                Http("rowlock", "refunds.lua", refundable, REFUNDS_MADE, label="refunds"),
                Http("empty", "refunds.lua", lambda *_: (1, WRK_THREADS)),
                Http("rowlock", "orders.lua", all_pairs, ORDERS_PLACED, label="orders"),
            ),
            {"orders": 0.6},
        ),
        Row(
            "create",
            "POST /orders, three items, settled meanwhile",
            (
                Http("rowlock", "create_orders.lua", buyers, ORDERS_PLACED),
                Http("empty", "create_orders.lua", buyers),
            ),
            {"empty": 0.75},
        ),
        Row(
            "users",
            "GET /user/{id}, many users",
            (
                Http("rowlock", "get.lua", users_read),
                Http("empty", "get.lua", users_read),
                Http("bare", "get.lua", users_read),
            ),
            {"empty": 0.90},
        ),
        Row(
            "plain-users",
            "GET /user/{id}: the empty handler against aiohttp alone",
            (Http("empty", "get.lua", users_read), Http("plain", "get.lua", users_read)),
            {"plain": 0.75},
        ),
        Row(
            "plain-orders",
            "POST /api/orders: the empty handler against aiohttp alone",
            (Http("empty", "orders.lua", all_pairs), Http("plain", "orders.lua", all_pairs)),
            {"plain": 0.65},
        ),
        Row(
            "invoices",
            "POST /invoices, many users",
            (
                Http("rowlock", "invoices.lua", user_ids, INVOICES_ISSUED),
                Http("empty", "invoices.lua", user_ids),
            ),
        ),
        Row(
            "bookings",
            "POST /service-orders, nearly all find a free time",
            (
                Http("rowlock", "service_orders.lua", lambda *_: (DAYS,), BOOKINGS),
                Http("empty", "service_orders.lua", lambda *_: (DAYS,)),
            ),
            {"empty": 0.75},
        ),
        Row(
            "week",
            "POST /service-orders into a full week, nearly all are 409",
            (
                Http("rowlock", "service_orders.lua", lambda *_: (7,), refusals_count=True),
                Http("empty", "service_orders.lua", lambda *_: (7,)),
            ),
        ),
        Row(
            "projects",
            f"GET /projects?page=, {deployments.PROJECTS:,} projects with {many_deployments:,} "
            f"deployments (many) or {deployments.FEW:,} (few)",
            (
                Http("many", "projects.lua", lambda *_: pages),
                Http("few", "projects.lua", lambda *_: pages),
                Http("empty projects", "projects.lua", lambda *_: pages, label="empty"),
            ),
            {"few": 0.80},
        ),
        Row(
            "lone",
            "POST /api/orders, one connection on an idle service: latency",
            (
                Http("rowlock", "orders.lua", all_pairs, ORDERS_PLACED, connections=1),
                BareClient(ORDERS_PLACED),
            ),
            {"asyncpg": 2.0},
            quantity="p50_ms",
        ),
        Row(
            "workers",
            "POST /api/orders, many users: CPU time of two processes against one",
            (
                Http("2 workers", "orders.lua", all_pairs, ORDERS_PLACED),
                Http("rowlock", "orders.lua", all_pairs, ORDERS_PLACED),
            ),
            {"rowlock": 1.1},
            quantity="cpu_us",
        ),
        Row(
            "keys",
            "POST /api/orders, each with an Idempotency-Key, against none",
            (
                Http(
                    "rowlock",
                    "orders.lua",
                    lambda *_: (USERS, PRODUCTS, 1),
                    ORDERS_PLACED,
                    label="with a key",
                ),
                Http("rowlock", "orders.lua", all_pairs, ORDERS_PLACED, label="without"),
            ),
            {"without": 0.9},
        ),
        Row(
            "latency",
            "POST /api/orders at a constant rate, a share of the server's own maximum",
            tuple(
                Paced(server, share, ORDERS_PLACED)
                for server in ("rowlock", "Node, batches", "Fastify")
                for share in SHARES
            ),
            compares=False,
        ),
        _slowed(1),
        _slowed(5),
    )
