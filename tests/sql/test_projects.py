"""The panel's tables and statements: what the schema refuses, plans at size, and the weeks."""

from collections.abc import Iterator
from datetime import UTC, datetime

import asyncpg
import pytest

from rowlock.engine import contracts
from rowlock.engine.statements import queries
from tests.support.databases import cloned, rolled_back
from tests.support.panel import add_deployment, add_projects
from tests.support.polling import until
from tests.support.statements import find
from tests.support.types import Connection


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("INSERT INTO projects (position, name, user_id, app_secret) VALUES (2, 'x', 9, 's')",
         "projects_user_id_fkey"),
        ("INSERT INTO projects (position, name, user_id, app_secret) VALUES (1, 'x', 1, 's')",
         "projects_position_key"),
        ("INSERT INTO projects (position, name, user_id, app_secret) VALUES (0, 'x', 1, 's')",
         "projects_position_check"),
        ("INSERT INTO projects (position, name, user_id, app_secret) VALUES (2, '', 1, 's')",
         "projects_name_check"),
        ("INSERT INTO projects (position, name, user_id, app_secret) VALUES (2, 'x', 1, '')",
         "projects_app_secret_check"),
        ("INSERT INTO deployments (position, project_id) VALUES (3, 9)",
         "deployments_project_id_fkey"),
        ("INSERT INTO deployments (position, project_id) VALUES (1, 1)",
         "deployments_position_key"),
        ("UPDATE deployments SET status = 'lost'", "deployments_status_check"),
        ("UPDATE deployments SET status = 'done', ended_at = now()", "deployments_done_check"),
        ("UPDATE deployments SET deployed_in = 3", "deployments_done_check"),
        ("UPDATE deployments SET status = 'failed'", "deployments_ended_at_check"),
        ("UPDATE deployments SET ended_at = now()", "deployments_ended_at_check"),
        ("UPDATE deployments SET status = 'done', ended_at = now(), deployed_in = -1",
         "deployments_deployed_in_check"),
        ("UPDATE deployments SET first_live = true", "deployments_first_live_check"),
        ("UPDATE deployments SET status = 'done', ended_at = now(), deployed_in = 1, "
         "first_live = true", "deployments_live_idx"),
        ("DELETE FROM projects", "deployments_project_id_fkey"),
    ],
)  # fmt: skip
async def test_schema__what_the_rules_forbid__refused_by_the_database_too(
    shared_database_url: str, statement: str, error: str
) -> None:
    async with rolled_back(shared_database_url) as connection:
        for sequence in ("users_id_seq", "projects_id_seq"):
            await connection.execute(f"ALTER SEQUENCE {sequence} RESTART")
        assert await add_projects(connection, 1) == [1]
        for _ in range(2):
            await add_deployment(connection, 1)
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match=error):
            await connection.execute(statement)


@pytest.fixture(scope="module")
def database_url(server_url: str, template: str) -> Iterator[str]:
    """One database for the tests below: the statistics' users are the tests' own."""
    with cloned(server_url, template) as url:
        yield url


@pytest.mark.parametrize(
    ("name", "arguments", "nodes"),
    [
        (
            "projects/list_projects",
            {"places": "{1,2,3,4,5,6,7,8,9993,9994,9995,9996,9997,9998,9999,10000}"},
            [
                "Index Scan using projects_position_key",
                "Index Only Scan using deployments_ongoing_idx",
                "Index Only Scan using deployments_live_idx",
            ],
        ),
        (
            "projects/find_projects",
            {"project_ids": "{1,5000,9999}"},
            [
                "Index Scan using projects_pkey",
                "Index Only Scan using deployments_ongoing_idx",
                "Index Only Scan using deployments_live_idx",
            ],
        ),
        (
            "projects/list_deployments",
            {"places": "{1,2,3,4,5,6,7,8,19993,19994,19995,19996,19997,19998,19999,20000}"},
            ["Index Scan using deployments_position_key"],
        ),
    ],
)
async def test_plan__at_size__index_only_and_no_more_rows_than_asked_for(
    connection: Connection, name: str, arguments: dict[str, str], nodes: list[str]
) -> None:
    if await connection.fetchval("SELECT count(*) FROM deployments") < 20_000:
        await load(connection)
    plan = await until(lambda: explain_vacuumed(connection, name, arguments))
    for node in nodes:
        assert node in plan, plan
    assert "Seq Scan on public.projects" not in plan, plan
    assert "Seq Scan on public.deployments" not in plan, plan
    assert "Hash" not in plan, plan


async def explain_vacuumed(
    connection: Connection, name: str, arguments: dict[str, str]
) -> str | None:
    """Return the plan with actual times; None if a snapshot elsewhere still holds VACUUM back."""
    await connection.execute("VACUUM ANALYZE deployments, projects, users")
    transaction = connection.transaction()
    await transaction.start()
    plan = await contracts.explain(
        connection, find(name), options=contracts.ANALYZE, arguments=arguments
    )
    await transaction.rollback()
    return plan if plan.count("Heap Fetches: 0") == plan.count("Heap Fetches") else None


async def load(connection: Connection) -> None:
    """10,000 projects with two deployments each, one of them ongoing; 2,000 users."""
    await connection.execute(
        "INSERT INTO users (username) SELECT 'user-' || n FROM generate_series(1, 2000) AS n"
    )
    await add_projects(connection, 10_000, owner="load")
    await connection.execute(
        """
        INSERT INTO deployments
            (position, project_id, status, deployed_in, ended_at, first_live)
        SELECT number, (SELECT min(id) FROM projects) + number % 10000,
            CASE WHEN number <= 10000 THEN 'building' ELSE 'done' END,
            CASE WHEN number > 10000 THEN 5 END, CASE WHEN number > 10000 THEN now() END,
            number > 10000
        FROM generate_series(1, 20000) AS number"""
    )


# What happened, when, and what that makes on average; the weeks counted on a calendar.
STATS: list[tuple[str, list[tuple[str, str]], tuple[int, int, int, float, float]]] = [
    # as of, deployments, (weeks, deployments, successful, weekly, weekly successful)
    ("2021-01-05T12:00Z", [], (0, 0, 0, 0.0, 0.0)),
    ("2021-01-05T12:00Z", [("2021-01-05T11:59Z", "done")], (1, 1, 1, 1.0, 1.0)),
    # 2020 has a week 53, here without any: 51, 52, 53, and week 1 of 2021.
    (
        "2021-01-05T12:00Z",
        [
            ("2020-12-14T00:00Z", "done"),  # Monday of week 51
            ("2020-12-20T23:59Z", "failed"),  # its Sunday
            ("2020-12-21T00:00Z", "done"),  # week 52
            ("2021-01-03T23:30-01:00", "pending"),  # Sunday there, Monday of week 1 in UTC
        ],
        (4, 4, 2, 1.0, 0.5),
    ),
    # The week begins on Monday, not with the first deployment.
    ("2024-03-04T00:00Z", [("2024-03-03T23:59Z", "cancelled")], (2, 1, 0, 0.5, 0.0)),
    ("2024-03-03T23:59Z", [("2024-02-26T00:00Z", "done")], (1, 1, 1, 1.0, 1.0)),
    # Summer time begins in between in many places, but not in UTC.
    (
        "2024-04-10T00:00Z",
        [("2024-03-20T10:00Z", "done"), ("2024-03-31T02:30Z", "done")],
        (4, 2, 2, 0.5, 0.5),
    ),
    (
        "2024-12-31T00:00Z",
        [("2024-01-01T00:00Z", "building"), *[("2024-06-05T00:00Z", "done")] * 52],
        (53, 53, 52, 1.0, 52 / 53),
    ),
]


@pytest.mark.parametrize("time_zone", ["UTC", "America/New_York", "Pacific/Auckland"])
async def test_stats__hand_computed_weeks__as_in_the_table(
    connection: Connection, time_zone: str
) -> None:
    await connection.execute(f"SET TimeZone = '{time_zone}'")
    for number, (as_of, deployments, expected) in enumerate(STATS):
        owner = f"{time_zone}-{number}"
        # Two projects: a user's weeks are counted over all of them.
        project_ids = await add_projects(connection, 2, owner=owner)
        for place, (created_at, status) in enumerate(deployments):
            await add_deployment(
                connection, project_ids[place % 2], status, datetime.fromisoformat(created_at)
            )
        user_id = await connection.fetchval("SELECT id FROM users WHERE username = $1", owner)
        [stats] = await queries.projects.find_deployment_stats(
            connection,
            user_ids=[user_id],
            as_of=datetime.fromisoformat(as_of).astimezone(UTC),
        )
        found = (
            *(stats["weeks"], stats["deployments"], stats["successful"]),
            *(stats["weekly"], stats["weekly_successful"]),
        )
        assert found == expected, (as_of, deployments)
