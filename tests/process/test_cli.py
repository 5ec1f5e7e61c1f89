"""The command line as an operator uses it."""

import json
import os
import re
import signal
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import psycopg
import pytest

from rowlock.engine import migrations
from rowlock.engine.statements import queries
from rowlock.ops.drill.processes import ServeProcess, environment
from tests.support.databases import cloned, on_server, rename
from tests.support.polling import until
from tests.support.processes import ROWLOCK, Service, doctor, free_port, rowlock


@pytest.fixture
def databases(database_url: str, events_database_url: str) -> dict[str, str]:
    """The settings for two migrated databases."""
    return {"database_url": database_url, "events_database_url": events_database_url}


async def test_serve__fresh_folder__demo_data_kept_over_a_restart(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as session:
        async with Service(data_dir=tmp_path / "data") as service:
            async with session.get(f"{service.url}/api/products") as response:
                assert "netflix" in {p["id"] for p in (await response.json())["products"]}
            async with session.get(f"{service.url}/api/users/newcomer") as response:
                assert response.status == 200
            service.signal(signal.SIGINT)
            assert await service.wait(timeout_s=300) == 0  # a checkpoint, on a busy disk
        assert f"curl -s '{service.url}/user/1'" in service.printed
        assert not (tmp_path / "data" / "postgres" / "postmaster.pid").exists()
        async with Service(data_dir=tmp_path / "data") as service:
            async with session.get(f"{service.url}/user/5") as response:
                assert response.status == 200
            async with session.get(f"{service.url}/invoices") as response:
                assert len(await response.json()) == 4
            service.signal(signal.SIGTERM)
            assert await service.wait() == 0


async def test_serve__killed__next_start_recovers_and_stops_the_server(tmp_path: Path) -> None:
    async with Service(data_dir=tmp_path) as service:
        service.signal(signal.SIGKILL)
        await service.wait()
    assert (tmp_path / "postgres" / "postmaster.pid").exists()
    async with Service(data_dir=tmp_path) as service:
        service.signal(signal.SIGTERM)
        assert await service.wait() == 0
    assert not (tmp_path / "postgres" / "postmaster.pid").exists()


async def test_serve__port_taken__one_line(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, output = await rowlock(
            "serve", "commerce", database_url=database_url, commerce_port=port
        )
    assert status == 1
    assert output.splitlines() == [
        f"rowlock: Port {port} is taken: set ROWLOCK_COMMERCE_PORT to another one."
    ]


async def test_serve__configured_database_not_migrated__says_what_is_missing(
    empty_database_url: str,
) -> None:
    settings = {"database_url": empty_database_url, "commerce_port": free_port()}
    status, output = await rowlock("serve", "commerce", **settings)
    assert status == 1
    assert "lacks the migrations 0001_accounts" in output
    assert len(output.splitlines()) == 1
    async with Service("commerce", "--migrate", database_url=empty_database_url):
        pass


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [
        ({"colour": "red"}, ["serve"], "ROWLOCK_COLOUR is not a setting of Rowlock."),
        ({"commerce_port": "x"}, ["serve"], "ROWLOCK_COMMERCE_PORT is 'x'"),
        ({"env": "production"}, ["serve"], "ROWLOCK_DATABASE_URL must be set in production."),
        ({"database_url": "postgresql://127.0.0.1:1/x"}, ["serve"], "can't be reached"),
        ({"data_dir": __file__}, ["doctor"], "can't be the data folder: "),
        ({"data_dir": "/proc/rowlock"}, ["doctor"], "can't be the data folder: "),
        ({}, ["sql", "show", "a/b"], "There is no statement a/b"),
        ({}, ["sql", "explain", "--analyze", "seed/pass_user_ids"], "moves a sequence"),
    ],
)
async def test_command__wrong__one_line_and_status_1(
    settings: dict[str, object], arguments: list[str], message: str
) -> None:
    status, output = await rowlock(*arguments, **settings)
    assert status == 1
    assert re.search("^rowlock: ", output, re.MULTILINE)
    assert message in output
    assert "Traceback" not in output


async def test_serve__unknown_service__usage_and_status_2() -> None:
    status, output = await rowlock("serve", "nothing")
    assert status == 2
    assert "'nothing' is not one" in output


async def test_doctor__open_doors_in_production__told_and_the_rest_is_checked(
    database_url: str, events_database_url: str
) -> None:
    status, output = await doctor(
        env="production",
        database_url=database_url,
        events_database_url=events_database_url,
        events_token="a-token-of-our-own",
        commerce_public=1,
    )
    assert status == 1
    problem = "ROWLOCK_PROJECTS_TOKEN must be set in production, to a token of your own."
    first, *others = output.splitlines()
    assert first == f"FAIL settings: {problem}"
    assert all(line.startswith("ok ") for line in others)
    assert "ok   money: every user's ledger adds up to the balance" in others


async def test_doctor__wrong_settings__all_told_and_nothing_else_is_checked() -> None:
    status, output = await rowlock(
        "doctor", env="production", events_token="a-token-of-our-own", workers=0
    )
    assert (status, output.splitlines()) == (
        1,
        [
            "FAIL settings: ROWLOCK_WORKERS is '0', but must be a whole number from 1 to "
            "999999999.",
            "FAIL settings: ROWLOCK_DATABASE_URL must be set in production.",
            "FAIL settings: In production, set ROWLOCK_COMMERCE_TOKEN, or "
            "ROWLOCK_COMMERCE_PUBLIC=1 to leave the commerce service open.",
            "FAIL settings: ROWLOCK_PROJECTS_TOKEN must be set in production, to a token of your "
            "own.",
        ],
    )


async def test_serve__several_wrong_settings__all_said_at_once() -> None:
    status, output = await rowlock("serve", colour="red", commerce_port="x", workers=0)
    assert (status, output.splitlines()) == (
        1,
        [
            "rowlock: ROWLOCK_COLOUR is not a setting of Rowlock.",
            "ROWLOCK_COMMERCE_PORT is 'x', but must be a whole number from 1 to 65535.",
            "ROWLOCK_WORKERS is '0', but must be a whole number from 1 to 999999999.",
        ],
    )


async def test_sql_list__piped__a_line_per_statement_and_nothing_cut() -> None:
    status, output = await rowlock("sql", "list")
    rows = [line.split("\t") for line in output.splitlines()]
    assert status == 0
    assert [row[0] for row in rows] == [query.name for query in queries]
    assert {len(row) for row in rows} == {4}
    assert [row[3] for row in rows if row[0] == "accounts/list_ledger"] == ["ledger_entries_pkey"]


async def test_sql_list__narrow_terminal__folded_and_nothing_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("NO_COLOR", "1"), ("COLUMNS", "80")):
        monkeypatch.setenv(name, value)
    status, output = await rowlock("sql", "list")
    assert status == 0
    assert "…" not in output
    [first, *_] = output.splitlines()
    assert all(header in first for header in ("name", "purpose", "locks", "index"))


async def test_settings__one_set__listed_with_all_others() -> None:
    status, output = await rowlock("settings", batch_items=7)
    assert status == 0
    rows = [line.split("\t") for line in output.splitlines()]
    assert {len(row) for row in rows} == {5}
    meaning = "commands in one transaction, or keys in one read, at most"
    assert [
        "ROWLOCK_BATCH_ITEMS",
        "a whole number from 1 to 999999999",
        "512",
        "7",
        meaning,
    ] in rows


async def test_settings__one_wrong__listed_all_the_same_and_then_refused() -> None:
    status, output = await rowlock("settings", batch_item=7)
    assert status == 1
    assert "ROWLOCK_BATCH_ITEMS\t" in output
    assert "rowlock: ROWLOCK_BATCH_ITEM is not a setting of Rowlock.\n" in output


async def test_migrate__events_database_of_another_application__main_is_left_as_well(
    server_url: str, empty_database_url: str
) -> None:
    with cloned(server_url, "template1") as events_url:
        with psycopg.connect(events_url) as connection:
            connection.execute("CREATE TABLE events (id int)")
        urls = {"database_url": empty_database_url, "events_database_url": events_url}
        for command in (("migrate", "up"), ("serve", "--migrate")):
            status, output = await rowlock(*command, **urls)
            assert status == 1
            assert "rowlock: The events database already has events" in output
        with psycopg.connect(empty_database_url) as connection:
            tables = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            assert connection.execute(tables).fetchall() == []


async def test_migrate__up_status_down__as_said(
    empty_database_url: str, events_database_url: str
) -> None:
    settings = {"database_url": empty_database_url, "events_database_url": events_database_url}
    assert (await rowlock("migrate", "status", **settings))[0] == 1
    status, output = await rowlock("migrate", "up", **settings)
    assert (status, "0001_accounts" in output) == (0, True)
    assert (await rowlock("migrate", "status", **settings))[0] == 0
    status, output = await rowlock("migrate", "down", "--yes", "--steps", "1", **settings)
    last = migrations.known("main")[-1]
    assert (status, output) == (0, f"main: {last}\n")
    assert f"{last} missing" in (await rowlock("migrate", "status", **settings))[1]


async def test_seed__twice__adds_nothing_twice(
    database_url: str, databases: dict[str, str]
) -> None:
    for _ in range(2):
        assert (await rowlock("seed", database_url=database_url))[0] == 0
    with psycopg.connect(database_url) as connection:
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM invoices), "
            "(SELECT count(*) FROM service_orders)"
        ).fetchone()
    assert counts == (4, 4, 3)
    assert (await doctor(**databases))[0] == 0


async def test_seed__users__tops_up_to_the_number_and_money_adds_up(
    database_url: str, databases: dict[str, str]
) -> None:
    for number in (30_000, 10, 30_001):
        status, output = await rowlock("seed", "--users", str(number), database_url=database_url)
        assert status == 0, output
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (30_001,)
    status, output = await doctor(**databases)
    assert status == 0, output
    assert "every user's ledger adds up" in output


async def test_seed__users__last_name_is_taken__the_missing_ones_are_added(
    database_url: str, databases: dict[str, str]
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO users (username) VALUES ('load-2'), ('load-500')")
    status, output = await rowlock("seed", "--users", "500", database_url=database_url)
    assert status == 0, output
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT username, balance FROM users ORDER BY id").fetchall()
    assert rows[:4] == [("load-2", 0), ("load-500", 0), ("load-1", 10**8), ("load-3", 10**8)]
    assert {name for name, _ in rows} == {f"load-{number}" for number in range(1, 501)}
    assert (await doctor(**databases))[0] == 0


async def test_outbox__timeout_of_requests_too_short__replayed_and_counted(
    database_url: str,
) -> None:
    urls = {"database_url": database_url, "statement_timeout_s": 0.002, "lock_timeout_s": 0.001}
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO outbox_dead_letters "
            "(event_id, name, subject, payload, created_at, status, error) "
            "SELECT gen_random_uuid(), 'it.happened', 'x:1', '{}', now(), 400, 'no' "
            "FROM generate_series(1, 30000)"
        )
    status, output = await rowlock("outbox", "status", **urls)
    assert status == 0, output
    assert re.search(r"refused or parked \(dead letters\) +30000 *\n", output)
    status, output = await rowlock("outbox", "replay", "--all", **urls)
    assert (status, output) == (0, "Replayed 30000 events.\n")
    assert (await rowlock("outbox", "dead", **urls)) == (0, "No event was refused.\n")


async def test_outbox_park__undelivered_and_not_there__parked_and_said(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "INSERT INTO outbox (name, subject, payload) VALUES ('it.happened', 'x:1', '{}') "
            "RETURNING event_id"
        ).fetchone()
    assert row is not None
    status, output = await rowlock("outbox", "park", str(row[0]), database_url=database_url)
    assert (status, output) == (0, "Parked 1 events.\n")
    status, output = await rowlock("outbox", "dead", database_url=database_url)
    assert output.endswith("x:1 request unknown by unknown parked by rowlock outbox park\n")
    status, output = await rowlock("outbox", "park", str(row[0]), database_url=database_url)
    assert status == 1
    assert "Parked 0 events" in output
    assert "are not in the outbox" in output


@pytest.mark.parametrize(
    "since",
    [
        "",
        "x",
        "1",
        "20260101",
        "1h30m",
        "-1h",
        "2026-13-01",
        "2026-01-01T25:00",
        "0001-01-01T00:00+14:00",
        "9" * 400,
    ],
)
async def test_outbox_resend__no_time__is_told_what_is_one(since: str) -> None:
    status, output = await rowlock("outbox", "resend", f"--since={since}")
    assert status == 1
    assert "neither a time such as 2026-11-30T12:00 nor a length of time such as 30m" in output


async def test_outbox_resend__too_early_or_no_process_delivers__says_so(database_url: str) -> None:
    url = {"database_url": database_url}
    in_a_year = f"{datetime.now(UTC) + timedelta(days=365):%Y-%m-%d}"
    status, output = await rowlock("outbox", "resend", "--since", in_a_year, **url)
    assert (status, f"{in_a_year} is in the future" in output) == (1, True)
    # Nothing was delivered yet, so all that was is kept.
    status, output = await rowlock("outbox", "resend", "--since", "2026-01-01", **url)
    assert (status, output) == (
        0,
        "0 events are delivered again once a process delivers: none does now.\n",
    )
    status, output = await rowlock("outbox", "status", **url)
    assert "the relay is asked to go back" in output
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM outbox_marks")
    status, output = await rowlock("outbox", "resend", "--since", "1h", **url)
    assert (status, "keeps no delivered events" in output) == (1, True)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO outbox (name, subject, payload) VALUES ('it.happened', 'b:1', '{}')"
        )
        connection.execute(
            "INSERT INTO outbox_marks SELECT '2026-11-01T00:00Z', xid, position FROM outbox"
        )
    status, output = await rowlock("outbox", "resend", "--since", "2026-10-31T23:00", **url)
    assert (status, "delivered since 2026-11-01T00:00:00+00:00" in output) == (1, True)
    assert await rowlock("outbox", "accept", **url) == (0, "Accepted 0 losses.\n")


async def test_migrate_and_doctor__encoding_is_not_utf8__refused(server_url: str) -> None:
    name = f"rowlock_test_latin1_{os.getpid()}"
    on_server(server_url, f"CREATE DATABASE {name} ENCODING LATIN1 LOCALE 'C' TEMPLATE template0")
    url = rename(server_url, name)
    try:
        for database in ("main", "events"):
            status, output = await rowlock(
                "migrate", "up", "--database", database, database_url=url, events_database_url=url
            )
            assert status == 1
            assert f"The {database} database: its encoding is LATIN1" in output
            assert "ENCODING 'UTF8'" in output
        status, output = await doctor(database_url=url, events_database_url=url)
        assert status == 1
        assert "FAIL events encoding: its encoding is LATIN1" in output
    finally:
        on_server(server_url, f"DROP DATABASE {name} WITH (FORCE)")


async def test_doctor__partition_with_other_bounds__says_which(databases: dict[str, str]) -> None:
    with psycopg.connect(databases["events_database_url"]) as connection:
        connection.execute("SELECT ensure_events_partition('2026-12-01')")
    status, output = await doctor(**databases)
    assert status == 0, output
    assert "1 partitions have the bounds of their months" in output
    with psycopg.connect(databases["events_database_url"]) as connection:
        connection.execute(
            "CREATE TABLE events_2026_10 PARTITION OF events "
            "FOR VALUES FROM ('2026-10-01 14:00Z') TO ('2026-11-01 14:00Z')"
        )
    status, output = await doctor(**databases)
    assert status == 1
    assert "FAIL partitions: events_2026_10: the bounds are not those of the month" in output


async def test_serve__on_ipv6__lines_to_try_have_brackets_and_events_are_delivered(
    tmp_path: Path,
) -> None:
    ports = {f"{name}_port": free_port() for name in ("commerce", "projects", "events")}
    variables = environment(data_dir=tmp_path, host="::1", log_requests=0, **ports)
    process = ServeProcess(environment=variables, output=tmp_path / "printed", command=(ROWLOCK,))
    url = f"http://[::1]:{ports['commerce_port']}"
    await process.start(url, timeout_s=60)
    try:
        assert f"curl -s '{url}/user/1'" in (tmp_path / "printed").read_text()
        log = f"http://[::1]:{ports['events_port']}/events"
        headers = {"Authorization": "Bearer development-events-token"}
        async with aiohttp.ClientSession(headers=headers) as session:

            async def has_arrived() -> bool:
                async with session.get(log) as response:
                    return bool(await response.json())

            await until(has_arrived)
    finally:
        process.signal(signal.SIGTERM)
        await process.wait()


async def test_events__schema__of_a_known_event_alone() -> None:
    status, output = await rowlock("events", "schema", "invoice.paid", "--version", "1")
    assert (status, json.loads(output)["$id"]) == (0, "urn:rowlock:event:invoice.paid:1")
    for wrong in (("invoice.unpaid",), ("invoice.paid", "--version", "7")):
        status, output = await rowlock("events", "schema", *wrong)
        assert (status, output) == (1, f"rowlock: There is no event type {wrong[0]}.\n")


async def test_doctor__balance_without_entry__says_who_and_fails(
    database_url: str, databases: dict[str, str]
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO users (username, balance) VALUES ('ada', 7)")
    status, output = await doctor(**databases)
    assert status == 1
    assert "user 1 (ada): the balance is 7, the ledger adds up to 0" in output


async def test_doctor__statement_not_as_its_header_says__is_not_ok(
    database_url: str, databases: dict[str, str]
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER INDEX users_pkey RENAME TO renamed")
    status, output = await doctor(**databases)
    assert status == 1
    assert "FAIL sql contracts: accounts/find_users: Index: users_pkey is missing" in output
    assert "ok   sql contracts" not in output


async def test_doctor__version__is_the_servers(
    database_url: str, databases: dict[str, str]
) -> None:
    with psycopg.connect(database_url) as connection:
        version = connection.info.server_version
    _, output = await doctor(**databases)
    assert f"PostgreSQL {version // 10_000}.{version % 10_000}\n" in output


async def test_doctor__migrations_missing__says_which(empty_database_url: str) -> None:
    status, output = await doctor(
        database_url=empty_database_url, events_database_url=empty_database_url
    )
    assert status == 1
    assert "missing: 0001_accounts" in output
