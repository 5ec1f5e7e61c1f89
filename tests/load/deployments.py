"""Databases of projects and deployments, for the pages of the projects service."""

import psycopg
from harness import Stage

USERS = 1_000
PROJECTS = 10_000
PAGES = PROJECTS // 8
FEW = 10_000
CHUNK = 250_000

# Both databases have the same flags: one project in 500 has deployments under way.
LOAD = """
    INSERT INTO deployments
        (position, project_id, status, deployed_in, created_at, ended_at, first_live)
    SELECT
        n,
        1 + (n * 7919) %% 10000,
        CASE WHEN n %% 500 = 0 THEN 'building' WHEN n %% 10 = 0 THEN 'failed' ELSE 'done' END,
        CASE WHEN n %% 10 <> 0 THEN n %% 300 END,
        now() - make_interval(secs => (%(count)s + 1 - n) * 3),
        CASE WHEN n %% 500 <> 0 THEN now() END,
        n <= 10000 AND n %% 10 <> 0
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n"""


def load(stage: Stage, count: int) -> str:
    """Make a database with `count` deployments; return its URL."""
    url = stage.postgres.create_database(f"deployments_{count}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO users (username, email) "
            "SELECT 'owner-' || n, 'owner-' || n || '@example.com' FROM generate_series(1, %s) n",
            (USERS,),
        )
        connection.execute(
            "INSERT INTO projects (position, name, url, user_id, app_secret) "
            "SELECT n, 'Project ' || n, 'https://' || n || '.example.com', 1 + n %% %s, 'secret' "
            "FROM generate_series(1, %s) n",
            (USERS, PROJECTS),
        )
        for first in range(1, count + 1, CHUNK):
            stage.progress.doing(f"loading deployments, {first - 1:,} of {count:,}")
            last = min(first + CHUNK - 1, count)
            connection.execute(LOAD, {"count": count, "first": first, "last": last})
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    return url
