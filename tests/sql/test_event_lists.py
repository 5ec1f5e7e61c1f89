"""Lists of events read no more than a page of a large log, or what the months at its ends hold."""

import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import psycopg
import pytest

from tests.support.databases import cloned
from tests.support.statements import find
from tests.support.types import Connection

CALLS = 6  # by then the server has decided whether the plan depends on the arguments
PAGE = 21
FIRST = 0  # nothing is before it
LAST = 2**63 - 1
# A page's rows, each on a page of its own, and the way down the indexes of all months; or an index
# of a month, from its beginning on. The rows of a month are on 400 pages.
PAGES = 150
CUSTOM = "force_custom_plan"
JANUARY = datetime(2025, 1, 1, tzinfo=UTC)
EVER = ("-infinity", "infinity")

# In ten months of 2025, in the order of time, but for one of a hundred that comes a day late. Some
# names and subjects are rare, and some are only in the first month.
FILL = """
    INSERT INTO events (event_id, name, subject, payload, created_at)
    SELECT
        md5(n::text)::uuid,
        CASE WHEN n % 20000 = 77 THEN 'rare' WHEN n <= 20000 AND n % 2 = 0 THEN 'early'
            ELSE 'common' END,
        CASE WHEN n % 20000 = 78 THEN 'x:rare' ELSE 'x:' || n % 1000 END,
        '{"order_id": 7, "user_id": 1, "amount": 15198}',
        '2025-01-01Z'::timestamptz + (n - 1) * interval '300 days' / 200000
            - CASE WHEN n % 100 = 0 THEN interval '1 day' ELSE interval '0' END
    FROM generate_series(1, 200000) AS n;
    ANALYZE events"""


def day(number: int) -> str:
    """The beginning of a day, by the number of days before it."""
    return (JANUARY + timedelta(days=number)).isoformat()


@pytest.fixture(scope="module")
def filled_url(server_url: str, events_template: str) -> Iterator[str]:
    """An events database with 200,000 events in ten months."""
    with cloned(server_url, events_template) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT ensure_events_partition(('2024-12-01'::date + make_interval(months => n))"
                "::date) FROM generate_series(0, 11) AS n"
            )
            connection.execute(FILL)
            connection.execute("VACUUM events")
        yield url


@pytest.fixture
async def log(filled_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(filled_url)
    yield connection
    await connection.close()


async def read(log: Connection, name: str, arguments: tuple[Any, ...]) -> tuple[int, int, str]:
    """How many rows a statement finds, how many pages it reads, and by which plan."""
    query = find(name)
    types = ", ".join(param.type.name for param in query.params)
    values = ", ".join(f"'{value}'" if value is not None else "NULL" for value in arguments)
    await log.execute(f"PREPARE list ({types}) AS {query.sql}")
    for _ in range(CALLS):
        found = len(await log.fetch(f"EXECUTE list ({values})"))
    rows = await log.fetch(f"EXPLAIN (ANALYZE, BUFFERS) EXECUTE list ({values})")
    plan = "\n".join(row[0] for row in rows)
    buffers = re.search(r"Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?", plan)
    pages = sum(int(count) for count in buffers.groups("0")) if buffers else 0
    return found, pages, plan


@pytest.mark.parametrize(
    ("name", "arguments", "found"),
    [
        ("events/list_events", (FIRST, PAGE), PAGE),
        ("events/list_events_between", (FIRST, *EVER, PAGE), PAGE),
        ("events/list_events_between", (FIRST, day(0), day(300), PAGE), PAGE),
        ("events/list_events_between", (FIRST, day(100), day(101), PAGE), PAGE),
        ("events/list_events_between", (FIRST, day(119), day(120), PAGE), PAGE),
        ("events/list_events_between", (FIRST, day(290), EVER[1], PAGE), PAGE),
        ("events/list_events_between", (FIRST, day(100), day(100), PAGE), 0),
        ("events/list_events_between", (FIRST, day(101), day(100), PAGE), 0),
        ("events/list_events_between", (FIRST, day(400), EVER[1], PAGE), 0),
        ("events/list_events_between", (150_000, day(100), day(101), PAGE), 0),
        ("events/list_events_by_name", ("common", FIRST, *EVER, PAGE), PAGE),
        ("events/list_events_by_name", ("common", FIRST, day(100), day(101), PAGE), PAGE),
        ("events/list_events_by_name", ("common", FIRST, day(116), day(200), PAGE), PAGE),
        ("events/list_events_by_name", ("rare", FIRST, *EVER, PAGE), 10),
        ("events/list_events_by_name", ("rare", FIRST, day(116), day(200), PAGE), 3),
        ("events/list_events_by_name", ("early", FIRST, day(40), EVER[1], PAGE), 0),
        ("events/list_events_by_name", ("none", FIRST, *EVER, PAGE), 0),
        ("events/list_events_by_subject", ("x:7", None, FIRST, *EVER, PAGE), PAGE),
        ("events/list_events_by_subject", ("x:7", None, FIRST, day(116), day(200), PAGE), PAGE),
        ("events/list_events_by_subject", ("x:rare", None, FIRST, *EVER, PAGE), 10),
        ("events/list_events_by_subject", ("x:7", "common", FIRST, *EVER, PAGE), PAGE),
        ("events/list_newest_events", (LAST, *EVER, PAGE), PAGE),
        ("events/list_newest_events", (LAST, day(100), day(101), PAGE), PAGE),
        ("events/list_newest_events", (LAST, EVER[0], day(1), PAGE), PAGE),
        ("events/list_newest_events_by_name", ("common", LAST, *EVER, PAGE), PAGE),
        (
            "events/list_newest_events_by_name",
            ("common", LAST, day(100), day(101), PAGE),
            PAGE,
        ),
        ("events/list_newest_events_by_name", ("rare", LAST, *EVER, PAGE), 10),
        ("events/list_newest_events_by_subject", ("x:7", None, LAST, *EVER, PAGE), PAGE),
        ("events/list_newest_events_by_subject", ("x:7", None, LAST, day(9), day(40), PAGE), PAGE),
        ("subscriptions/find_start", (day(0),), 1),
        ("subscriptions/find_start", (day(101),), 1),
        ("subscriptions/find_start", (day(119),), 1),
        ("subscriptions/find_start", (day(400),), 1),
        ("subscriptions/read_log", (FIRST, PAGE, "{}"), 1),
        ("subscriptions/read_log", (FIRST, PAGE, "{co%,none}"), PAGE - PAGE // 2),
        ("subscriptions/read_log", (150_000, PAGE, "{%}"), PAGE),
        ("subscriptions/read_log", (LAST, PAGE, "{%}"), 1),
    ],
)
@pytest.mark.parametrize("plans", ["auto", "force_generic_plan"])
async def test_list__long_log__reads_a_page_or_an_index_of_the_first_month(
    log: Connection, name: str, arguments: tuple[Any, ...], found: int, plans: str
) -> None:
    # Those by a name alone are planned anew each time.
    await log.execute(f"SET plan_cache_mode = {plans if 'by_name' not in name else CUSTOM}")
    rows, pages, plan = await read(log, name, arguments)
    assert rows == found, plan
    assert pages < PAGES, plan


@pytest.mark.parametrize("plans", ["auto", "force_generic_plan"])
async def test_list__times_within_a_month__looks_at_no_other_month(
    log: Connection, plans: str
) -> None:
    await log.execute(f"SET plan_cache_mode = {plans}")
    _, _, plan = await read(log, "events/list_events_between", (FIRST, day(100), day(101), PAGE))
    assert set(re.findall(r"events_\d{4}_\d\d(?=_pkey)", plan)) == {"events_2025_04"}
    assert "Seq Scan on events" not in plan
