"""Arranging users, projects and deployments in the database, below the API."""

from datetime import datetime

from tests.support.types import Connection

SECRET = "s3cret"


async def add_projects(
    connection: Connection, count: int, *, owner: str = "ada", url: str | None = None
) -> list[int]:
    """Add projects called Project 1 and so on, all with SECRET; return their ids."""
    await connection.execute(
        "INSERT INTO users (username, email) VALUES ($1, $1 || '@example.com') "
        "ON CONFLICT DO NOTHING",
        owner,
    )
    rows = await connection.fetch(
        """
        INSERT INTO projects (position, name, url, user_id, app_secret)
        SELECT coalesce((SELECT max(position) FROM projects), 0) + number, 'Project ' || number,
            $2, (SELECT id FROM users WHERE username = $3), $4
        FROM generate_series(1, $1::bigint) AS number RETURNING id""",
        count,
        url,
        owner,
        SECRET,
    )
    return [row["id"] for row in rows]


async def add_deployment(
    connection: Connection,
    project_id: int,
    status: str = "pending",
    created_at: datetime | None = None,
) -> int:
    """Add a deployment in `status`; return its id."""
    new_id: int = await connection.fetchval(
        """
        INSERT INTO deployments
            (position, project_id, status, deployed_in, created_at, ended_at, first_live)
        SELECT coalesce((SELECT max(position) FROM deployments), 0) + 1, $1, $2,
            CASE WHEN $2 = 'done' THEN 5 END, coalesce($3, now()),
            CASE WHEN $2 IN ('done', 'failed', 'cancelled') THEN now() END,
            $2 = 'done' AND NOT EXISTS (
                SELECT 1 FROM deployments WHERE project_id = $1 AND first_live)
        RETURNING id""",
        project_id,
        status,
        created_at,
    )
    return new_id


async def events(connection: Connection, project_id: int) -> list[str]:
    """The names of the project's events, in order."""
    rows = await connection.fetch(
        "SELECT name FROM outbox WHERE subject = $1 ORDER BY xid, position", f"project:{project_id}"
    )
    return [row["name"] for row in rows]
