"""Lists with filters read no more than a page, however the rows are spread."""

import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.databases import cloned
from tests.support.statements import find
from tests.support.types import Connection

HIGHEST = 2**63 - 1
EVER = ("-infinity", "infinity")
DAY = ("2026-03-01", "2026-03-02")  # of which there are many, both before and after
LATE, EARLY = 24_000, 16_000  # invoices, and transfers, of that day
DEPLOYMENTS = "{pending,building,deploying,done,failed,cancelled}"
INVOICES = "{pending,paid,void,reversed}"
ORDERS = "{pending,approved,refused,cancelled}"
PAGE = 21
CALLS = 6  # by then the server has decided whether the plan depends on the arguments
BUFFERS = 100  # a page's rows, each on a page of its own, and the way down an index or two

ANY_USER = ("{user}", "user", "uses", 0)

# What a list wants is far behind what it does not want.
SKEWED = """
    INSERT INTO users (id, username) VALUES (1, 'ada'), (2, 'grace');
    INSERT INTO users (id, username) VALUES (3, 'alan'), (4, 'edsger');
    INSERT INTO users (id, username, name_key, email, email_key)
    SELECT n, 'user-' || n, 'user-' || n,
        CASE WHEN n > 20000 THEN 'box-' || n || '@x' WHEN n > 19990 THEN 'few-' || n || '@x' END,
        CASE WHEN n > 20000 THEN 'box-' || n || '@x' WHEN n > 19990 THEN 'few-' || n || '@x' END
    FROM generate_series(5, 25000) AS n;
    INSERT INTO invoices (user_id, amount, label, status, paid_at, created_at)
    SELECT CASE WHEN n > 20000 THEN 2 ELSE 1 END, 1, 'x',
        CASE WHEN n > 20000 THEN 'pending' ELSE 'paid' END,
        CASE WHEN n <= 20000 THEN now() END,
        '2026-03-01'::timestamptz + (n - 12500) * interval '10 seconds'
    FROM generate_series(1, 25000) AS n;
    INSERT INTO transfers (from_user_id, to_user_id, amount, label, created_at)
    SELECT CASE WHEN n > 20000 THEN 2 ELSE 1 END, CASE WHEN n % 100 = 0 THEN 3 ELSE 4 END, 1, 'x',
        '2026-03-01'::timestamptz + (n - 12500) * interval '10 seconds'
    FROM generate_series(1, 25000) AS n;
    INSERT INTO orders (id, user_id, amount, status, settled_at, reason, created_at)
    SELECT n, CASE WHEN n <= 12000 THEN 1 WHEN n <= 24000 THEN 2 END, 1, status,
        CASE WHEN status <> 'pending' THEN now() END,
        CASE WHEN status = 'refused' THEN 'not_approved' END,
        '2026-01-01Z'::timestamptz + n * interval '1 min'
    FROM (
        SELECT n, CASE WHEN n <= 100 THEN 'pending' WHEN n <= 200 THEN 'approved'
            WHEN n <= 20000 THEN 'refused' ELSE 'approved' END AS status
        FROM generate_series(1, 25000) AS n
    ) AS drawn;
    INSERT INTO products (slug, name, price, retired_at)
    SELECT 'p-' || n, 'x', 1, CASE WHEN n > 100 THEN now() END FROM generate_series(1, 25000) AS n;
    INSERT INTO projects (position, name, user_id, app_secret) VALUES
    (1, 'Engine', 1, 's'), (2, 'Loom', 1, 's'), (3, 'Mill', 1, 's');
    INSERT INTO deployments
    (id, position, project_id, status, ended_at, deployed_in, created_at)
    OVERRIDING SYSTEM VALUE
    SELECT n, n, CASE WHEN n > 5000 THEN 2 ELSE 1 END, status,
        CASE WHEN status <> 'building' THEN now() END, CASE WHEN status = 'done' THEN 1 END, now()
    FROM (
        SELECT n, CASE WHEN n <= 100 THEN 'building' WHEN n <= 4000 THEN 'failed' ELSE 'done' END
            AS status
        FROM generate_series(1, 25000) AS n
    ) AS drawn;
    INSERT INTO services (name, retired_at)
    SELECT 'x', CASE WHEN n <= 100 THEN now() END FROM generate_series(1, 25000) AS n;
    ANALYZE"""


def minute(order_id: int) -> str:
    """When an order was created."""
    return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=order_id)).isoformat()


@pytest.fixture(scope="module")
def database_url(server_url: str, template: str) -> Iterator[str]:
    """A database of these tests' own, as its statistics stay."""
    with cloned(server_url, template) as url:
        yield url


@pytest.fixture
async def skewed(connection: Connection) -> AsyncIterator[Connection]:
    """In a transaction, with many rows."""
    if not await connection.fetchval("SELECT count(*) FROM orders"):
        await connection.execute(SKEWED)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()


@pytest.mark.parametrize(
    ("name", "arguments", "found"),
    [
        ("invoices/list_user_invoices", (1, "{pending}", *EVER, HIGHEST), 0),
        ("invoices/list_user_invoices", (2, "{paid}", *EVER, HIGHEST), 0),
        ("invoices/list_user_invoices", (1, INVOICES, *EVER, HIGHEST), PAGE),
        ("invoices/list_user_invoices", (2, INVOICES, *EVER, HIGHEST), PAGE),
        ("invoices/list_user_invoices", (3, INVOICES, *EVER, HIGHEST), 0),
        ("invoices/list_user_invoices", (1, INVOICES, *DAY, HIGHEST), PAGE),
        ("invoices/list_user_invoices", (1, "{paid}", *DAY, EARLY), PAGE),
        ("invoices/list_user_invoices", (2, INVOICES, *DAY, HIGHEST), PAGE),
        ("invoices/list_user_invoices", (2, INVOICES, *DAY, EARLY), 0),
        ("invoices/list_invoices", ("{paid}", *EVER, HIGHEST), PAGE),
        ("invoices/list_invoices", ("{void}", *EVER, HIGHEST), 0),
        ("invoices/list_invoices", (INVOICES, *EVER, HIGHEST), PAGE),
        ("invoices/list_invoices", (INVOICES, *EVER, 10_000), PAGE),
        ("invoices/list_invoices", (INVOICES, *DAY, HIGHEST), PAGE),
        ("invoices/list_invoices", (INVOICES, *DAY, LATE), PAGE),
        ("invoices/list_invoices", ("{paid}", *DAY, EARLY), PAGE),
        ("invoices/list_oldest_invoices", (INVOICES, *EVER, 0), PAGE),
        ("invoices/list_oldest_invoices", ("{pending}", *EVER, 0), PAGE),
        ("invoices/list_oldest_invoices", ("{void}", *EVER, 0), 0),
        ("invoices/list_oldest_invoices", (INVOICES, *EVER, 15_000), PAGE),
        ("invoices/list_oldest_invoices", (INVOICES, *DAY, 0), PAGE),
        ("invoices/list_oldest_invoices", ("{paid}", *DAY, EARLY), PAGE),
        ("invoices/list_oldest_user_invoices", (1, "{pending}", *EVER, 0), 0),
        ("invoices/list_oldest_user_invoices", (2, INVOICES, *EVER, 0), PAGE),
        ("invoices/list_oldest_user_invoices", (2, INVOICES, *DAY, 0), PAGE),
        ("invoices/list_oldest_user_invoices", (2, INVOICES, *EVER, LATE), PAGE),
        ("transfers/list_transfers", (*EVER, HIGHEST), PAGE),
        ("transfers/list_transfers", (*EVER, 10_000), PAGE),
        ("transfers/list_transfers", (*DAY, HIGHEST), PAGE),
        ("transfers/list_transfers", (*DAY, EARLY), PAGE),
        ("transfers/list_user_transfers", (1, *EVER, HIGHEST), PAGE),
        ("transfers/list_user_transfers", (2, *DAY, HIGHEST), PAGE),
        ("transfers/list_user_transfers", (2, *DAY, EARLY), 0),
        ("transfers/list_user_transfers", (3, *EVER, HIGHEST), PAGE),
        ("transfers/list_user_transfers", (3, *DAY, EARLY), PAGE),
        ("transfers/list_user_transfers", (5, *EVER, HIGHEST), 0),
        ("orders/list_orders", (ORDERS, *EVER, HIGHEST), PAGE),
        ("orders/list_orders", (ORDERS, *EVER, 150), PAGE),
        ("orders/list_orders", ("{pending}", *EVER, HIGHEST), PAGE),
        ("orders/list_orders", ("{cancelled}", *EVER, HIGHEST), 0),
        ("orders/list_orders", ("{approved}", *EVER, 20_000), PAGE),
        ("orders/list_orders", ("{approved}", "-infinity", minute(20_000), HIGHEST), PAGE),
        ("orders/list_orders", ("{approved}", minute(201), minute(20_000), HIGHEST), 0),
        ("orders/list_orders", (ORDERS, minute(9_000), minute(9_010), HIGHEST), 10),
        ("orders/list_orders", (ORDERS, minute(9_000), minute(9_010), 9_004), 4),
        # A page far from the end of the period begins where the one before has ended.
        ("orders/list_orders", ("{refused}", "-infinity", minute(19_000), 300), PAGE),
        ("orders/list_oldest_orders", (ORDERS, *EVER, 0), PAGE),
        ("orders/list_oldest_orders", ("{approved}", *EVER, 0), PAGE),
        ("orders/list_oldest_orders", ("{cancelled}", *EVER, 0), 0),
        ("orders/list_oldest_orders", (ORDERS, minute(9_000), minute(9_010), 0), 10),
        ("orders/list_oldest_orders", (ORDERS, minute(9_000), minute(9_010), 9_004), 5),
        ("orders/list_oldest_orders", (ORDERS, minute(20_000), "infinity", 300), PAGE),
        ("orders/list_oldest_user_orders", (2, "{approved}", *EVER, 0), PAGE),
        ("orders/list_oldest_user_orders", (2, "{pending}", *EVER, 0), 0),
        ("orders/list_oldest_user_orders", (1, ORDERS, minute(9_000), minute(9_010), 9_004), 5),
        ("orders/list_user_orders", (2, ORDERS, *EVER, HIGHEST), PAGE),
        ("orders/list_user_orders", (2, "{pending}", *EVER, HIGHEST), 0),
        ("orders/list_user_orders", (1, "{pending}", *EVER, HIGHEST), PAGE),
        ("orders/list_user_orders", (1, ORDERS, *EVER, 150), PAGE),
        ("orders/list_user_orders", (1, "{approved}", *EVER, HIGHEST), PAGE),
        ("orders/list_user_orders", (1, "{refused}", "-infinity", minute(11_000), 300), PAGE),
        ("orders/list_user_orders", (1, ORDERS, minute(9_000), minute(9_010), 9_004), 4),
        ("orders/list_user_orders", (1, ORDERS, minute(12_001), "infinity", HIGHEST), 0),
        ("orders/list_user_orders", (3, ORDERS, *EVER, HIGHEST), 0),
        ("console/list_deployments", (DEPLOYMENTS, HIGHEST), PAGE),
        ("console/list_deployments", ("{building}", HIGHEST), PAGE),
        ("console/list_deployments", ("{done}", 4000), 0),
        ("console/list_deployments", ("{failed,done}", 4010), PAGE),
        ("console/list_project_deployments", (1, DEPLOYMENTS, HIGHEST), PAGE),
        ("console/list_project_deployments", (1, "{building}", HIGHEST), PAGE),
        ("console/list_project_deployments", (2, "{failed}", HIGHEST), 0),
        ("console/list_project_deployments", (3, DEPLOYMENTS, HIGHEST), 0),
        ("catalogue/list_products", ("{1,0}", HIGHEST), PAGE),
        ("catalogue/list_products", ("{1}", HIGHEST), PAGE),
        ("catalogue/list_products", ("{0}", 101), 0),
        ("catalogue/list_services", ("{1,0}", HIGHEST), PAGE),
        ("catalogue/list_services", ("{0}", HIGHEST), PAGE),
        ("catalogue/list_services", ("{1}", 101), 0),
        ("orders/find_pending", (0, HIGHEST, "{}"), 1),
        ("orders/find_pending", (0, HIGHEST, "{2,3}"), 1),
        ("accounts/list_users", (HIGHEST,), PAGE),
        ("accounts/search_users_by_name", ("{user}", "user", "uses", 0), PAGE),
        ("accounts/search_users_by_name", ("{}", "user-2", "uses", 9), PAGE),
        ("accounts/search_users_by_name", ("{x}", "x", "y", 0), 0),
        ("accounts/search_users_by_name", ("{ada}", "ada", "adb", 0), 1),
        ("accounts/search_users_by_email", ("{box}", "box", "boy", 0), PAGE),
        ("accounts/search_users_by_email", ("{few}", "few", "fex", 0), 10),
        ("accounts/search_users_by_both", (*ANY_USER, "{few}", "few", "fex", 100, 9), 10),
        ("accounts/search_users_by_both", (*ANY_USER, "{x}", "x", "y", 100, 9), 0),
        # Many of both, but none near each other: nothing but where to go on.
        ("accounts/search_users_by_both", (*ANY_USER, "{box}", "box", "boy", 100, 60), 1),
    ],
)
async def test_list__others_in_between__reads_a_page_and_no_more(
    skewed: Connection, name: str, arguments: tuple[object, ...], found: int
) -> None:
    query = find(name)
    types = ", ".join(param.type.name for param in query.params)
    values = ", ".join(f"'{value}'" for value in (*arguments, PAGE))
    await skewed.execute(f"PREPARE list ({types}) AS {query.sql}")
    for _ in range(CALLS):
        assert len(await skewed.fetch(f"EXECUTE list ({values})")) == found
    rows = await skewed.fetch(f"EXPLAIN (ANALYZE, BUFFERS) EXECUTE list ({values})")
    plan = "\n".join(row[0] for row in rows)
    buffers = re.search(r"Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?", plan)
    assert buffers is not None, plan
    assert sum(int(count) for count in buffers.groups("0")) < BUFFERS, plan
