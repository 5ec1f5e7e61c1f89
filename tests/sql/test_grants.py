"""migrations/grants: each service may run its statements; take any grant away, and one fails."""

from collections.abc import Iterator
from fnmatch import fnmatch

import asyncpg
import pytest

from rowlock.engine import contracts, migrations
from rowlock.engine.statements import Query, queries
from rowlock.services import SERVICES
from tests.support.databases import rolled_back
from tests.support.roles import role_of
from tests.support.statements import find
from tests.support.types import Connection

STATEMENTS = {
    "commerce": [
        "accounts/*",
        "benefits/*",
        "catalogue/*",
        "database/*",
        "epochs/*",
        "idempotency/*",
        "invoices/*",
        "keys/*",
        "leases/*",
        "metrics/*",
        "orders/*",
        "outbox/*",
        "refunds/*",
        "service_orders/*",
        "shop/*",
        "transfers/*",
    ],
    "projects": [
        "database/*",
        "epochs/*",
        "idempotency/*",
        "keys/*",
        "leases/*",
        "metrics/measure_outbox",
        "outbox/advance_cursor",
        "outbox/append_events",
        "outbox/find_kept",
        "outbox/find_stranded",
        "outbox/go_back",
        "outbox/lock_marks",
        "outbox/note_*",
        "outbox/park_event",
        "outbox/purge_*",
        "outbox/read_*",
        "projects/*",
    ],
    "events": [
        "consumers/*",
        "database/*",
        "epochs/*",
        "events/*",
        "idempotency/*",
        "keys/*",
        "leases/*",
        "subscriptions/*",
    ],
}
STATEMENTS["console"] = sorted(
    {*STATEMENTS["commerce"], *STATEMENTS["projects"], "activity/*", "console/*", "jobs/*"}
    - {"keys/*", "shop/*"}
)
STATEMENTS["console_events"] = [
    "activity/*",
    "consumers/*",
    "database/*",
    "epochs/*",
    "events/find_[!m]*",
    "events/list_events*",
    "events/list_newest_*",
    "events/lock_log",
    "events/note_sources",
    "events/store_events",
    "idempotency/*",
    "jobs/*",
    "leases/list",
    "subscriptions/[!h]*",  # it leads nothing: no hold_lease
]
# The services, and the console once more: by what it may do in its other database.
DATABASES = {str(name): service.database for name, service in SERVICES.items()}
DATABASES |= {"console_events": "events"}
OWNERS = {
    "accounts/assign_keys",
    "accounts/find_key_owners",
    "accounts/find_unkeyed_users",
    "epochs/declare",
    "projects/create_projects",
    "projects/rotate_secrets",
    "shop/add_link",
    "shop/purge_links",
}

# Every right of a role, and how to take it away.
GRANTS = """
SELECT
    format(
        'REVOKE %s (%I) ON %I FROM %s', acl.privilege_type, attname, relname, acl.grantee::regrole
    ) AS revoke,
    relname AS name
FROM pg_attribute
JOIN pg_class ON attrelid = pg_class.oid, aclexplode(attacl) AS acl
WHERE acl.grantee = $1::text::regrole
UNION ALL
SELECT
    format(
        'REVOKE %s ON %s %I FROM %s', acl.privilege_type,
        CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, relname, acl.grantee::regrole
    ),
    relname
FROM pg_class, aclexplode(relacl) AS acl
WHERE acl.grantee = $1::text::regrole
UNION ALL
SELECT
    format('REVOKE ALL ON FUNCTION %s FROM %s', pg_proc.oid::regprocedure, acl.grantee::regrole),
    proname
FROM pg_proc, aclexplode(proacl) AS acl
WHERE acl.grantee = $1::text::regrole
ORDER BY 1"""


def _role(service: str) -> str:
    return role_of(service.partition("_")[0])


def statements(service: str) -> Iterator[Query]:
    """The statements that `service` runs."""
    for query in queries:
        known = any(fnmatch(query.name, pattern) for pattern in STATEMENTS[service])
        if known and query.name not in OWNERS:
            yield query


async def is_allowed(connection: Connection, query: Query, service: str) -> bool:
    """Tell whether the role of `service` has the rights that PostgreSQL asks of the statement."""
    attempt = connection.transaction()
    await attempt.start()
    try:
        await connection.execute(f"SET LOCAL ROLE {_role(service)}")
        if not contracts.has_plan(query):
            await connection.execute(query.sql)
        elif "nextval" in query.sql or "setval" in query.sql:  # a sequence must be moved
            arguments = {"how_many": "1", "last_id": str(2**62)}
            arguments = {name: arguments[name] for name in arguments if f" {name} " in query.sql}
            await contracts.explain(
                connection, query, options=contracts.ANALYZE, arguments=arguments
            )
        else:  # a plan asks for the rights on tables and functions
            await contracts.explain(connection, query)
    except asyncpg.InsufficientPrivilegeError:
        return False
    finally:
        await attempt.rollback()
    return True


@pytest.mark.parametrize("service", DATABASES)
async def test_grants__each_statement_of_a_service__allowed(
    shared_database_urls: dict[str, str], service: str
) -> None:
    async with rolled_back(shared_database_urls[DATABASES[service]]) as connection:
        refused = [
            query.name
            for query in statements(service)
            if not await is_allowed(connection, query, service)
        ]
    assert refused == []


@pytest.mark.parametrize("service", DATABASES)
async def test_grants__each_one__is_needed_by_a_statement(
    shared_database_urls: dict[str, str], service: str
) -> None:
    async with rolled_back(shared_database_urls[DATABASES[service]]) as connection:
        grants = await connection.fetch(GRANTS, _role(service))
        assert grants
        idle = []
        for row in grants:
            attempt = connection.transaction()
            await attempt.start()
            await connection.execute(row["revoke"])
            for query in statements(service):
                if row["name"] in query.sql and not await is_allowed(connection, query, service):
                    break
            else:
                idle.append(row["revoke"])
            await attempt.rollback()
    assert idle == []


@pytest.mark.parametrize(
    ("service", "name"),
    [
        ("commerce", "projects/find_webhook_secrets"),
        ("commerce", "seed/pass_user_ids"),
        ("projects", "accounts/post_entries"),
        ("projects", "projects/create_projects"),
        ("projects", "projects/rotate_secrets"),
        ("projects", "metrics/measure_commerce"),
    ],
)
async def test_grants__somebody_elses_statement__refused(
    shared_database_url: str, service: str, name: str
) -> None:
    query = find(name)
    async with rolled_back(shared_database_url) as connection:
        assert not await is_allowed(connection, query, service)


@pytest.mark.parametrize("database", ["main", "events"])
async def test_functions__run_as_their_owner__not_for_public_and_with_a_fixed_path(
    shared_database_urls: dict[str, str], database: str
) -> None:
    async with rolled_back(shared_database_urls[database]) as connection:
        rows = await connection.fetch(
            """
            SELECT proname, proconfig, 0 = ANY (
                SELECT grantee FROM aclexplode(coalesce(proacl, acldefault('f', proowner)))
            ) AS is_public
            FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace"""
        )
    assert rows
    for row in rows:
        path, *others = row["proconfig"]
        assert path == "search_path=public, pg_temp", row["proname"]
        # What a function reads or writes as text must not depend on the session.
        assert others == ["TimeZone=UTC", "DateStyle=ISO, YMD"], row["proname"]
        assert not row["is_public"], row["proname"]


@pytest.mark.parametrize(("own", "other"), [("commerce", "projects"), ("projects", "commerce")])
async def test_kept_answers__of_another_service__neither_read_nor_written_nor_purged(
    shared_database_urls: dict[str, str], own: str, other: str
) -> None:
    add = (
        "INSERT INTO idempotency_keys (service, key, digest, status, headers, body, created_at) "
        "VALUES ($1, 'k', sha256('x'), 200, '{}', '', '2020-01-01')"
    )
    names = [f"{service}{space}" for service in (own, other) for space in ("", " auth0|1")]
    async with rolled_back(shared_database_urls["main"]) as connection:
        for name in names:
            await connection.execute(add, name)
        await connection.execute(f"SET LOCAL ROLE {role_of(own)}")
        seen = await connection.fetch("SELECT service FROM idempotency_keys ORDER BY service")
        assert [row["service"] for row in seen] == [own, f"{own} auth0|1"]
        await connection.execute(add, f"{own} key:7")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            async with connection.transaction():
                await connection.execute(add, f"{other} key:7")
        await connection.execute("DELETE FROM idempotency_keys")
        await connection.execute("RESET ROLE")
        left = await connection.fetch("SELECT service FROM idempotency_keys ORDER BY service")
        assert [row["service"] for row in left] == [other, f"{other} auth0|1"]


async def test_kept_answers__without_a_policy_of_the_role__as_in_0_1_0(
    shared_database_urls: dict[str, str],
) -> None:
    async with rolled_back(shared_database_urls["main"]) as connection:
        role = role_of("commerce")
        await connection.execute(f"DROP POLICY {role} ON idempotency_keys")
        await connection.execute(
            "INSERT INTO idempotency_keys (service, key, digest, status, headers, body) "
            "VALUES ('projects', 'k', sha256('x'), 200, '{}', '')"
        )
        await connection.execute(f"SET LOCAL ROLE {role}")
        assert await connection.fetchval("SELECT count(*) FROM idempotency_keys") == 1


@pytest.mark.parametrize("member", [False, True])
async def test_kept_answers__a_role_with_the_grants_of_both__all(
    shared_database_urls: dict[str, str], *, member: bool
) -> None:
    async with rolled_back(shared_database_urls["main"]) as connection:
        await connection.execute("CREATE ROLE rowlock_both")
        for service in ("commerce", "projects"):
            if member:
                await connection.execute(f"GRANT {role_of(service)} TO rowlock_both")
                continue
            script = migrations.grants(service).partition("BEGIN;")[2].partition("COMMIT;")[0]
            script = script.replace(':"role"', "rowlock_both")
            database = await connection.fetchval("SELECT current_database()")
            await connection.execute(script.replace(':"DBNAME"', f'"{database}"'))
        await connection.execute("SET LOCAL ROLE rowlock_both")
        for service in ("commerce", "projects"):
            await connection.execute(
                "INSERT INTO idempotency_keys (service, key, digest, status, headers, body) "
                "VALUES ($1, 'k', sha256('x'), 200, '{}', '')",
                service,
            )
        assert await connection.fetchval("SELECT count(*) FROM idempotency_keys") == 2


@pytest.mark.parametrize(("own", "other"), [("commerce", "projects"), ("projects", "commerce")])
async def test_api_keys__of_another_service__neither_read_nor_written_nor_given_secrets(
    shared_database_urls: dict[str, str], own: str, other: str
) -> None:
    add = (
        "INSERT INTO api_keys (service, name, scopes, created_by) "
        "VALUES ($1, $2, '{keys:write}', 'cli') RETURNING id"
    )
    add_secret = "INSERT INTO api_key_secrets (hash, key_id) VALUES (sha256($1), $2)"
    async with rolled_back(shared_database_urls["main"]) as connection:
        ids = {name: await connection.fetchval(add, name, "partner") for name in (own, other)}
        for name, key_id in ids.items():
            await connection.execute(add_secret, name.encode(), key_id)
        await connection.execute(f"SET LOCAL ROLE {role_of(own)}")
        assert await connection.fetchval("SELECT array_agg(id) FROM api_keys") == [ids[own]]
        owners = "SELECT array_agg(key_id) FROM api_key_secrets"
        assert await connection.fetchval(owners) == [ids[own]]
        for statement, arguments in ((add, (other, "new")), (add_secret, (b"x", ids[other]))):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                async with connection.transaction():
                    await connection.execute(statement, *arguments)
        await connection.execute("UPDATE api_key_secrets SET valid_until = now()")
        await connection.execute("DELETE FROM api_keys")
        await connection.execute("RESET ROLE")
        assert await connection.fetchval("SELECT array_agg(id) FROM api_keys") == [ids[other]]
        [left] = await connection.fetch("SELECT key_id, valid_until FROM api_key_secrets")
        assert (left["key_id"], left["valid_until"]) == (ids[other], None)
