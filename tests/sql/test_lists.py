"""Lists with filters read no more than a page, however the rows are spread."""

import re
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.databases import cloned
from tests.support.statements import find
from tests.support.types import Connection

HIGHEST = 2**63 - 1
PAGE = 21
CALLS = 6  # by then the server has decided whether the plan depends on the arguments
BUFFERS = 100  # a page's rows, each on a page of its own, and the way down an index or two

# What a list wants is far behind what it does not want.
SKEWED = """
    INSERT INTO users (id, username) VALUES (1, 'ada'), (2, 'grace');
    INSERT INTO invoices (user_id, amount, label, status, paid_at)
    SELECT CASE WHEN n > 20000 THEN 2 ELSE 1 END, 1, 'x',
        CASE WHEN n > 20000 THEN 'pending' ELSE 'paid' END,
        CASE WHEN n <= 20000 THEN now() END
    FROM generate_series(1, 25000) AS n;
    INSERT INTO orders (id, amount, status, settled_at, reason)
    SELECT n, 1, status, CASE WHEN status <> 'pending' THEN now() END,
        CASE WHEN status = 'refused' THEN 'not_approved' END
    FROM (
        SELECT n, CASE WHEN n <= 100 THEN 'pending' WHEN n <= 200 THEN 'approved'
            WHEN n <= 20000 THEN 'refused' ELSE 'approved' END AS status
        FROM generate_series(1, 25000) AS n
    ) AS drawn;
    ANALYZE"""


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
        ("invoices/list_user_invoices", (1, "{pending}", HIGHEST), 0),
        ("invoices/list_user_invoices", (2, "{paid}", HIGHEST), 0),
        ("invoices/list_user_invoices", (1, "{pending,paid}", HIGHEST), PAGE),
        ("invoices/list_user_invoices", (2, "{pending,paid}", HIGHEST), PAGE),
        ("invoices/list_user_invoices", (3, "{pending,paid}", HIGHEST), 0),
        ("invoices/list_invoices_by_status", ("paid", HIGHEST), PAGE),
        ("orders/list_pending_orders", (HIGHEST,), PAGE),
        ("orders/list_approved_orders", (20_000,), PAGE),
        ("orders/list_refused_orders", (HIGHEST,), PAGE),
        ("orders/find_pending", (0, 2**63 - 1), PAGE),
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
