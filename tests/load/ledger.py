"""How long `rowlock doctor` takes for a long ledger: `python tests/load/ledger.py [--entries N]`.

It fills a PostgreSQL of its own with users, invoices paid and reversed, benefit orders and their
refunds, transfers, and the ledger entries of these; then it runs the command, whose output is
printed. The exit status is 1 if the command finds a difference, or takes more than two minutes.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from harness import postgres

ROWLOCK = Path(sys.executable).parent / "rowlock"
LIMIT_S = 120.0
USERS = 100_000

# Entry n is of user (n - 1) % USERS + 1, and what a user does goes round: two paid invoices over
# 300, a benefit order over 100 and its refund, the reversal of the second invoice, and transfers
# over 50 between neighbours, there and back. A document has the number of its entry, a transfer
# that of the first of its two. The balance follows from how many entries came before. In the end
# each user has bought the product for nothing, so that it is owned in spite of all refunds.
FILL = """
    SET session_replication_role = replica;
    INSERT INTO products (slug, name, price) VALUES ('lunch', 'Lunch', 100);
    CREATE TEMPORARY TABLE entry AS
        SELECT n AS id, (n - 1) % {users} + 1 AS user_id, turn.*,
            n - (n - 1) % 2 AS transfer_id,
            (n - 1) / {users} / 7 * 300 + turn.sum
                + CASE WHEN step = 5 THEN 50 * sign ELSE 0 END AS balance_after,
            CASE step WHEN 5 THEN 50 * sign WHEN 6 THEN -50 * sign ELSE turn.change END AS amount
        FROM generate_series(1, {entries}) AS n
        JOIN (VALUES
            (0, 'invoice', 'payables', 300, 300), (1, 'invoice', 'payables', 300, 600),
            (2, 'order', 'sales', -100, 500), (3, 'refund', 'sales', 100, 600),
            (4, 'reversal', 'payables', -300, 300), (5, 'transfer', 'transfers', 0, 300),
            (6, 'transfer', 'transfers', 0, 300)
        ) AS turn (step, kind, contra, change, sum) ON step = (n - 1) / {users} % 7
        CROSS JOIN LATERAL (SELECT 1 - 2 * (n % 2) AS sign) AS side;
    INSERT INTO users (id, username, name_key, balance)
        SELECT DISTINCT ON (user_id) user_id, 'load-' || user_id, 'load-' || user_id, balance_after
        FROM entry ORDER BY user_id, id DESC;
    INSERT INTO invoices (id, user_id, amount, label, status, paid_at, reversed_at)
        SELECT id, user_id, 300, 'Work', CASE WHEN is_reversed THEN 'reversed' ELSE 'paid' END,
            now(), CASE WHEN is_reversed THEN now() END
        FROM entry
        CROSS JOIN LATERAL (SELECT step = 1 AND id + 3 * {users} <= {entries}) AS e (is_reversed)
        WHERE kind = 'invoice';
    INSERT INTO orders (id, user_id, status, amount, refunded, settled_at)
        SELECT id, user_id, 'approved', 100,
            CASE WHEN id + {users} <= {entries} THEN 100 ELSE 0 END, now()
        FROM entry WHERE kind = 'order'
        UNION ALL SELECT {entries} + id, id, 'approved', 0, 0, now() FROM users;
    INSERT INTO order_items (order_id, product_id, quantity, price)
        SELECT id, 1, 1, amount FROM orders;
    INSERT INTO owned_products (user_id, product_id) SELECT id, 1 FROM users;
    INSERT INTO refunds (id, order_id, user_id, amount)
        SELECT id, id - {users}, user_id, 100 FROM entry WHERE kind = 'refund';
    INSERT INTO transfers (id, from_user_id, to_user_id, amount, label, created_at)
        SELECT id, user_id + (step = 6)::int, user_id + (step = 5)::int, 50, 'Lunch', now()
        FROM entry WHERE kind = 'transfer' AND id = transfer_id;
    INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference, document_kind,
            document_id, contra)
        SELECT user_id, amount, balance_after,
            CASE WHEN kind = 'order' THEN 'benefit_order' ELSE kind END,
            kind || ':' || document_id, kind, document_id, contra
        FROM entry
        CROSS JOIN LATERAL (
            SELECT CASE kind WHEN 'transfer' THEN transfer_id WHEN 'reversal' THEN id - 3 * {users}
                ELSE id END
        ) AS document (document_id)
        ORDER BY id;
    VACUUM ANALYZE"""


def main() -> None:
    """Fill, run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=10_000_000)
    entries = parser.parse_args().entries // 2 * 2  # a transfer has two
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        database = stack.enter_context(postgres(folder / "data"))
        environment = {
            "ROWLOCK_DATABASE_URL": database.url,
            "ROWLOCK_EVENTS_DATABASE_URL": database.create_database("events", "events"),
        }
        started = time.monotonic()
        for statement in FILL.format(users=USERS, entries=entries).split(";"):
            database.connection.execute(statement.encode())
        print(f"{entries:,} entries written in {time.monotonic() - started:.0f} s")
        started = time.monotonic()
        status = subprocess.run([ROWLOCK, "doctor"], env=environment, check=False).returncode
        duration_s = time.monotonic() - started
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"doctor: {duration_s:.0f} s; its own CPU {usage.ru_utime + usage.ru_stime:.0f} s")
    sys.exit(status or duration_s > LIMIT_S)


if __name__ == "__main__":
    main()
