r"""What pgbench runs, one command per transaction.

First the transactions of release 0.1.0: its statements, in the order in which it ran them; only
`$1` becomes an array of one pgbench variable, as in `ARRAY[:user_id]::bigint[]`. What the service
computes between statements is a `\set` here. Then calls of the peers' functions.
"""

import re

from frozen import statement

REQUEST_ID = "'3f1c9a0b7d2e4f68'"  # as long as the service's own


def benefit_order() -> str:
    """Return the placing of an order: a random product for a random load-test user.

    Variables: users and products, how many there are. A product that the user owns already ends
    the transaction without writes. The purse is never empty, so its check is left out.
    """
    entry = {
        "user_ids": ":user_id",
        "amounts": ":amount",
        "balances_after": ":balance_after",
        "reasons": "'benefit_order'",
        "refs": "'order:' || :order_id::text",
    }
    payload = (
        '{"order_id":%s,"user_id":%s,'
        '"items":[{"product_id":%s,"slug":"%s","price":%s}],"total":%s,"balance_after":%s}'
    )
    item = ":product_id", ":product_slug", ":product_price"
    values = ":order_id", ":user_id", *item, ":product_price", ":balance_after"
    return _script(
        r"\set user_number random(1, :users)",
        r"\set product_number random(1, :products)",
        "BEGIN;",
        _run(
            "accounts/lock_users_by_name",
            r"\gset user_",
            usernames="'load-' || :user_number::text",
        ),
        _run(
            "benefits/find_wanted",
            r"\gset product_",
            user_ids=":user_id",
            slugs="'load-product-' || :product_number::text",
        ),
        r"\if :product_owned",
        r"\else",
        r"\set amount -:product_price",
        r"\set balance_after :user_balance - :product_price",
        _run(
            "benefits/place_orders",
            r"\gset order_",
            user_ids=":user_id",
            amounts=":product_price",
            request_ids=REQUEST_ID,
            item_orders="1",
            item_products=":product_id",
            item_prices=":product_price",
        ),
        _run("accounts/post_entries", **entry),
        _append_event("benefit_order.placed", "'order:' || :order_id::text", payload, values),
        r"\endif",
        "COMMIT;",
    )


def invoice_payment() -> str:
    """Return the payment of an invoice: every invoice from an id on, once.

    Variables: first, the id of the first invoice; clients, how many share them; turn, which
    starts at 0. All invoices must be pending.
    """
    entry = {
        "user_ids": ":invoice_user_id",
        "amounts": ":invoice_amount",
        "balances_after": ":balance_after",
        "reasons": "'invoice'",
        "refs": "'invoice:' || :invoice_id::text",
    }
    payload = (
        '{"invoice_id":%s,"user_id":%s,"amount":%s,"label":"%s","invoice_created_at":"%s",'
        '"paid_at":"%s","balance_after":%s}'
    )
    invoice = ":invoice_id", ":invoice_user_id", ":invoice_amount", ":invoice_label"
    return _script(
        r"\set wanted :first + :turn * :clients + :client_id",
        r"\set turn :turn + 1",
        "BEGIN;",
        _run("invoices/lock_invoices", r"\gset invoice_", invoice_ids=":wanted"),
        _run("accounts/lock_users", r"\gset user_", user_ids=":invoice_user_id"),
        r"\set balance_after :user_balance + :invoice_amount",
        _run("invoices/pay_invoices", r"\gset paid_", invoice_ids=":invoice_id"),
        _run("accounts/post_entries", **entry),
        _append_event(
            "invoice.paid",
            "'invoice:' || :invoice_id::text",
            payload,
            (*invoice, ":invoice_created_at", ":paid_paid_at", ":balance_after"),
        ),
        "COMMIT;",
    )


def call_place_order() -> str:
    """Return a call of the peers' function: the order of `benefit_order`, by the same variables."""
    return _script(
        r"\set user_number random(1, :users)",
        r"\set product_number random(1, :products)",
        "SELECT * FROM peer.place_order("
        "'load-' || :user_number::text, ARRAY['load-product-' || :product_number::text]);",
    )


def call_pay_invoice() -> str:
    """Return a call of the peers' function: the payment of `invoice_payment`."""
    return _script(
        r"\set wanted :first + :turn * :clients + :client_id",
        r"\set turn :turn + 1",
        "SELECT * FROM peer.pay_invoice(:wanted);",
    )


def transfer() -> str:
    """Return a transfer as pgledger makes them, from a random account to another one.

    Variables: accounts, how many there are; targets, how many of them, the first ones, may be paid.
    """
    return _script(
        r"\set payee random(1, :targets)",
        r"\set payer 1 + (:payee - 1 + random(1, :accounts - 1)) % :accounts",
        "SELECT transfers.create_transfer(:payer, :payee, 113.50);",
    )


def _script(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def _append_event(name: str, subject: str, payload: str, values: tuple[str, ...]) -> str:
    """Return the statement that appends an event whose payload is `payload` with `values` in it."""
    columns = ", ".join(f"{value}::text" for value in values)
    return _run(
        "outbox/append_events",
        names=f"'{name}'",
        subjects=subject,
        payloads=f"format('{payload}', {columns})",
        request_ids=REQUEST_ID,
    )


def _run(name: str, /, result: str = ";", **arguments: str) -> str:
    """Return the statement frozen/`name` as one line of a script.

    Each parameter gets an expression for its only element; `result` ends the line.
    """
    text, params = statement(name)
    assert set(arguments) == set(params), f"{name} has other parameters"
    expressions = [f"ARRAY[{arguments[each]}]::{kind}" for each, kind in params.items()]
    line = " ".join(re.sub(r"--[^\n]*", "", text).split())
    # The files cast where they must; a second cast to the same type costs nothing.
    line = re.sub(r"\$(\d+)", lambda match: expressions[int(match[1]) - 1], line)
    return f"{line} {result}"
