"""The table of service orders keeps its distances by itself, whoever writes."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.support.databases import rolled_back
from tests.support.types import Connection

INSERT = "INSERT INTO service_orders (id, starts_at, fee, imported) VALUES"
CROWDED = "service_orders_keep_distance"


@pytest.fixture
async def booked(shared_database_url: str) -> AsyncIterator[Connection]:
    """1 and 2 imported at noon, 3 and 4 booked at 15 and 18 o'clock; all rolled back in the end."""
    async with rolled_back(shared_database_url) as connection:
        await connection.execute(
            f"""{INSERT}
            (1, '2022-11-01 12:00Z', 0, true), (2, '2022-11-01 12:00Z', 0, true),
            (3, '2022-11-01 15:00Z', 0, false), (4, '2022-11-01 18:00Z', 0, false)"""
        )
        yield connection


@pytest.mark.parametrize(
    "statement",
    [
        f"{INSERT} (5, '2022-11-01 09:00Z', 0, false)",
        f"{INSERT} (5, '2022-11-01 11:00Z', 0, true)",
        f"{INSERT} (5, '2022-11-01 21:00Z', 0, false), (6, '2022-11-02 00:00Z', 0, false)",
        "UPDATE service_orders SET starts_at = '2022-11-01 19:00Z' WHERE id = 4",
        "UPDATE service_orders SET fee = 7",
        # Two that swap their places in one statement.
        "UPDATE service_orders SET starts_at = CASE id WHEN 3 THEN timestamptz '2022-11-01 18:00Z' "
        "ELSE '2022-11-01 15:00Z' END WHERE id IN (3, 4)",
        # The clocks go back at 1:00Z; three hours are three hours all the same.
        f"{INSERT} (5, '2022-11-06 00:00Z', 0, false), (6, '2022-11-06 03:00Z', 0, false)",
    ],
)
async def test_schema__distance_kept__accepted(booked: Connection, statement: str) -> None:
    await booked.execute("SET LOCAL timezone = 'America/New_York'")
    await booked.execute(statement)


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        (f"{INSERT} (5, '2022-11-01 09:00:00.001Z', 0, false)", CROWDED),
        (f"{INSERT} (5, '2022-11-01 12:00Z', 0, false)", CROWDED),
        (f"{INSERT} (5, '2022-11-01 12:01Z', 0, true)", CROWDED),  # near 3, which is not imported
        (f"{INSERT} (5, '2022-11-01 20:59:59.999Z', 0, false)", CROWDED),
        (
            f"{INSERT} (5, '2023-01-01 00:00Z', 0, false), (6, '2023-01-01 02:00Z', 0, true)",
            CROWDED,
        ),
        ("UPDATE service_orders SET imported = false WHERE id = 1", CROWDED),
        ("UPDATE service_orders SET starts_at = '2022-11-01 14:00Z' WHERE id = 4", CROWDED),
        (f"{INSERT} (5, '2023-01-01 00:00Z', -1, false)", "fee_check"),
        (f"{INSERT} (5, '2023-01-01 00:00:00.0001Z', 0, false)", "milliseconds_check"),
        (f"{INSERT} (5, 'infinity', 0, false)", "starts_at_check"),
        (f"{INSERT} (5, '-infinity', 0, false)", "starts_at_check"),
        (f"{INSERT} (5, '10000-01-01 00:00Z', 0, false)", "starts_at_check"),
        ("INSERT INTO service_order_services VALUES (1, 99)", "service_id_fkey"),
    ],
)
async def test_schema__rule_broken__refused(booked: Connection, statement: str, error: str) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match=error):
        await booked.execute(statement)
