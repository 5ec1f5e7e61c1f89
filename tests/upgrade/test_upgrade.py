"""An upgrade with a stop in between: what an earlier release has stored stays as it was."""

from dataclasses import replace
from pathlib import Path

import asyncpg

from rowlock.engine import migrations
from rowlock.settings.table import describe
from tests.support.databases import cloned
from tests.support.environments import environment
from tests.support.money import assert_money_conserved
from tests.support.polling import until
from tests.support.processes import rowlock
from tests.support.releases import Release
from tests.support.rollout import (
    ANN,
    WRITES,
    Tenant,
    assert_continues,
    assert_events_stored_once,
    deployment,
    is_settled,
    statuses,
)
from tests.upgrade.conftest import DEAD, Databases, Filled, closing, migrate, site_of

# What the filled databases' API keys may read.
READABLE = {"commerce": "/orders", "projects": "/projects", "events": "/events"}
# Writes that succeed as often as they are sent.
REPEATABLE = {"/orders", "/invoices", "/projects/1/deployment"}


async def test_upgrade__data_of_the_previous_release__is_served_as_before(
    filled: Filled, tenant: Tenant, tmp_path: Path
) -> None:
    with filled.cloned() as databases:
        await migrate(databases)
        databases.grant(migrations.grants)
        async with (
            closing(await asyncpg.connect(databases.main)) as connection,
            closing(await asyncpg.connect(databases.events)) as events,
            site_of(None, tmp_path / "new.log", databases, tenant) as site,
        ):
            assert_continues(filled.reads, await site.read_all())
            for call, answer in filled.answers:
                assert await site.send(call) == answer  # replayed by its key
            for service, secret in filled.secrets.items():
                path = {"commerce": "/orders", "projects": "/projects", "events": "/events"}[
                    service
                ]
                assert (await site.read(path, service, secret=secret)).status == 200
            # What the previous release has begun is brought to its end.
            await until(lambda: is_settled(connection))
            left = await events.fetchval("SELECT count(*) FROM events WHERE name = 'upgrade.left'")
            assert left == 1
            dead = "SELECT subject, status FROM outbox_dead_letters"
            assert [tuple(row) for row in await connection.fetch(dead)] == [(DEAD, 400)]
            await assert_money_conserved(connection)
            await assert_events_stored_once(connection, events)


async def test_upgrade__from_the_first_release__is_served_as_before(
    server_url: str, role: None, oldest: Release, tenant: Tenant, tmp_path: Path
) -> None:
    """Its processes have ended, as those of a release that is not the one before this one must."""
    with cloned(server_url, "template1") as main, cloned(server_url, "template1") as log:
        databases = Databases(main, log)
        oldest.run("migrate", "up", **databases.settings)
        oldest.run("seed", **databases.settings)
        async with (
            closing(await asyncpg.connect(main)) as connection,
            closing(await asyncpg.connect(log)) as events,
        ):
            async with site_of(
                oldest, tmp_path / "old.log", databases, tenant, granted=False
            ) as old:
                # The last one's key is now the user's own. It was that of all callers.
                calls = [*WRITES, deployment("own", tenant.token(ANN), project_id=3)]
                written = [await old.send(call) for call in calls]
                assert statuses(written) <= {200, 201, 204}
                await until(lambda: is_settled(connection))
                reads = await old.read_all()
            await migrate(databases)
            databases.grant(migrations.grants)
            async with site_of(None, tmp_path / "new.log", databases, tenant) as new:
                assert_continues(reads, await new.read_all())
                assert [await new.send(call) for call in calls] == written
                await until(lambda: is_settled(connection))
            await assert_money_conserved(connection)
            await assert_events_stored_once(connection, events)


async def test_new_release__schema_of_the_previous_one__refused_while_the_old_one_serves_on(
    filled: Filled, previous: Release, tenant: Tenant, tmp_path: Path
) -> None:
    with filled.cloned() as databases:
        async with site_of(previous, tmp_path / "old.log", databases, tenant) as site:
            status, printed = await rowlock("serve", "commerce", **databases.settings)
            assert status == 1
            assert "lacks the migrations" in printed
            assert (await site.read("/user/1")).status == 200


async def test_old_release__started_again_on_the_new_schema__serves_and_takes_events_of_new_ones(
    filled: Filled, previous: Release, tenant: Tenant, tmp_path: Path
) -> None:
    """An upgrade is called off, or its order was another one: the events service is an old one."""
    with filled.cloned() as databases:
        await migrate(databases)
        databases.grant(migrations.grants)
        async with (
            closing(await asyncpg.connect(databases.main)) as connection,
            closing(await asyncpg.connect(databases.events)) as events,
        ):
            async with (
                site_of(previous, tmp_path / "old.log", databases, tenant) as old,
                site_of(
                    None,
                    tmp_path / "new.log",
                    databases,
                    tenant,
                    services=("commerce", "projects"),
                    events_url=old.urls["events"],
                ) as new,
            ):
                assert_continues(filled.reads, await old.read_all())
                for call, answer in filled.answers:
                    assert await old.send(call) == answer
                again = [replace(call, key=None) for call in WRITES if call.path in REPEATABLE]
                answers = [await site.send(call) for site in (new, old) for call in again]
                assert statuses(answers) == {201}
                await until(lambda: is_settled(connection))
            dead = "SELECT count(*) FROM outbox_dead_letters"
            assert await connection.fetchval(dead) == 1  # that of before
            await assert_events_stored_once(connection, events)


def test_settings__of_the_previous_release__are_still_taken(previous: Release) -> None:
    with environment({}):
        names = {setting.variable for setting in describe()}
    lines = previous.run("settings").splitlines()
    assert {line.partition("\t")[0] for line in lines} <= names
