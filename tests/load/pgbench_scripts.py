r"""The transactions of the service as pgbench scripts, one command per transaction.

The statements are the service's own, from sql/, in the order in which transactions.py runs them;
only `$1` becomes an array of one pgbench variable, as in `ARRAY[:user_id]::bigint[]`. What the
service computes between statements is a `\set` here.
"""

import re

from rowlock.engine.statements import Param, queries

REQUEST_ID = "'3f1c9a0b7d2e4f68'"  # as long as the service's own


def benefit_order() -> str:
    """Return benefits.commands.place_orders: a random product for a random load-test user.

    Variables: users and products, how many there are. A product that the user owns already ends
    the transaction without writes. The purse is never empty, so its check is left out.
    """
    entry = {
        "user_ids": ":user_id",
        "amounts": ":amount",
        "balances_after": ":balance_after",
        "reasons": "'benefit_order'",
        "refs": "'order:' || :order_id::text",
        "document_kinds": "'order'",
        "document_ids": ":order_id",
        "contras": "'sales'",
        "created_ats": ":order_settled_at",
    }
    payload = (
        '{"order_id":%s,"user_id":%s,"username":"%s",'
        '"items":[{"product_id":%s,"slug":"%s","price":%s}],"total":%s,"balance_after":%s}'
    )
    item = ":product_id", ":product_slug", ":product_price"
    values = ":order_id", ":user_id", ":user_username", *item, ":product_price", ":balance_after"
    return _script(
        r"\set user_number random(1, :users)",
        r"\set product_number random(1, :products)",
        "BEGIN;",
        _run(
            "accounts/lock_users_by_name",
            r"\gset user_",
            usernames="'load-' || :user_number::text",
            name_keys="'load-' || :user_number::text",
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
        _append_event(
            "benefit_order.placed",
            "'order:' || :order_id::text",
            payload,
            values,
            ":order_settled_at",
        ),
        r"\endif",
        "COMMIT;",
    )


def invoice_payment() -> str:
    """Return invoices.commands.pay_invoices: every invoice from an id on, once.

    Variables: first, the id of the first invoice; clients, how many share them; turn, which
    starts at 0. All invoices must be pending.
    """
    entry = {
        "user_ids": ":invoice_user_id",
        "amounts": ":invoice_amount",
        "balances_after": ":balance_after",
        "reasons": "'invoice'",
        "refs": "'invoice:' || :invoice_id::text",
        "document_kinds": "'invoice'",
        "document_ids": ":invoice_id",
        "contras": "'payables'",
        "created_ats": ":paid_paid_at",
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
            ":paid_paid_at",
        ),
        "COMMIT;",
    )


def _script(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def _append_event(
    name: str, subject: str, payload: str, values: tuple[str, ...], created_at: str
) -> str:
    """Return the statement that appends an event whose payload is `payload` with `values` in it."""
    columns = ", ".join(f"{value}::text" for value in values)
    return _run(
        "outbox/append_events",
        names=f"'{name}'",
        subjects=subject,
        payloads=f"format('{payload}', {columns})",
        request_ids=REQUEST_ID,
        created_ats=created_at,
    )


def _run(name: str, /, result: str = ";", **arguments: str) -> str:
    """Return the statement sql/`name` as one line of a script.

    Each parameter gets an expression for its only element; `result` ends the line.
    """
    query = queries.find(name)
    assert query is not None, f"there is no statement {name}"
    assert set(arguments) == {param.name for param in query.params}, f"{name} has other parameters"
    expressions = [_expression(param, arguments[param.name]) for param in query.params]
    statement = " ".join(re.sub(r"--[^\n]*", "", query.sql).split())
    # The files cast where they must; a second cast to the same type costs nothing.
    statement = re.sub(r"\$(\d+)", lambda match: expressions[int(match[1]) - 1], statement)
    return f"{statement} {result}"


def _expression(param: Param, element: str) -> str:
    kind = param.type.name
    return f"ARRAY[{element}]::{kind}" if kind.endswith("[]") else f"({element})::{kind}"
