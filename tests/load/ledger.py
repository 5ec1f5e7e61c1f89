"""How long `rowlock doctor` takes for a long ledger: `python tests/load/ledger.py [--entries N]`.

It fills a PostgreSQL of its own with users, paid invoices, approved orders with an item each, and a
ledger entry for each of these; then it runs the command, whose output is printed. The exit status
is 1 if the command finds a difference, or takes more than two minutes.
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

# Document n is of user (n - 1) % USERS + 1. Of three that follow each other, two are paid invoices
# over 300, and one is an order over 100: the balance follows from how many came before.
FILL = """
    SET session_replication_role = replica;
    INSERT INTO products (slug, name, price) VALUES ('lunch', 'Lunch', 100);
    CREATE TEMPORARY TABLE document AS
        SELECT n AS id, (n - 1) % {users} + 1 AS user_id, (n - 1) / {users} % 3 = 2 AS is_order,
            (n - 1) / {users} / 3 * 500
                + (ARRAY[300, 600, 500])[(n - 1) / {users} % 3 + 1] AS balance_after
        FROM generate_series(1, {entries}) AS n;
    INSERT INTO users (id, username, name_key, balance)
        SELECT DISTINCT ON (user_id) user_id, 'load-' || user_id, 'load-' || user_id, balance_after
        FROM document ORDER BY user_id, id DESC;
    INSERT INTO invoices (id, user_id, amount, label, status, paid_at)
        SELECT id, user_id, 300, 'Work', 'paid', now() FROM document WHERE NOT is_order;
    INSERT INTO orders (id, user_id, status, amount, settled_at)
        SELECT id, user_id, 'approved', 100, now() FROM document WHERE is_order;
    INSERT INTO order_items (order_id, product_id, quantity, price)
        SELECT id, 1, 1, 100 FROM document WHERE is_order;
    INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference, document_kind,
            document_id, contra)
        SELECT user_id, CASE WHEN is_order THEN -100 ELSE 300 END, balance_after,
            CASE WHEN is_order THEN 'order' ELSE 'invoice' END,
            CASE WHEN is_order THEN 'order:' ELSE 'invoice:' END || id,
            CASE WHEN is_order THEN 'order' ELSE 'invoice' END, id,
            CASE WHEN is_order THEN 'sales' ELSE 'payables' END
        FROM document ORDER BY id;
    VACUUM ANALYZE"""


def main() -> None:
    """Fill, run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=10_000_000)
    entries = parser.parse_args().entries
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
