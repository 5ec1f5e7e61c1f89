"""Tidying up: partitions made ahead and dropped, keys forgotten, delivered events purged."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from datetime import date
from typing import Any, TypeAlias

import asyncpg
import pytest
from pytest_aiohttp.plugin import AiohttpClient, AiohttpServer

from rowlock.engine.statements import queries
from rowlock.services import EVENTS
from rowlock.settings import Settings
from tests.support.contract import bearer
from tests.support.delivery import TEN, dead, delivered, write
from tests.support.polling import until
from tests.support.roles import create_app
from tests.support.services import quiet, with_tasks
from tests.support.types import Client, Connection, Serve

Entries: TypeAlias = list[MutableMapping[str, Any]]
Keep: TypeAlias = Callable[..., Awaitable[Client]]
Made: TypeAlias = Callable[[int], Awaitable[None]]

MONTH = "date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"


@pytest.fixture
async def log(events_database_url: str) -> AsyncIterator[Connection]:
    """A connection to the events database."""
    connection = await asyncpg.connect(events_database_url, server_settings={"timezone": "UTC"})
    yield connection
    await connection.close()


@pytest.fixture
def keep_partitions(
    aiohttp_client: AiohttpClient, events_database_url: str, settings: Settings
) -> Keep:
    """Start an events service with some settings changed, and only its housekeeping."""

    async def start(**changes: object) -> Client:
        service = with_tasks(EVENTS, "events_partitions", "events_purge", "event_keys_purge")
        own = {"events_ahead_s": 1e9, "events_unproven_bytes": 0, "lock_timeout_s": 0.5}
        changed = settings.changed(**(own | changes))
        return await aiohttp_client(
            create_app(service, changed, events_database_url),
            headers=bearer(settings.addresses.events_token),
        )

    return start


async def store(log: Connection, name: str, created_at: str) -> None:
    """Store an event of the time that an SQL expression says, and its key."""
    await log.execute(
        f"WITH stored AS (INSERT INTO events (event_id, name, payload, created_at) "
        f"VALUES (gen_random_uuid(), $1, '{{}}', {created_at}) RETURNING *) "
        f"INSERT INTO event_keys SELECT event_id, id, created_at FROM stored",
        name,
    )


async def places(log: Connection) -> dict[str, str]:
    """The partition that each event is in, by the event's name."""
    rows = await log.fetch("SELECT name, tableoid::regclass::text AS place FROM events ORDER BY id")
    return {row["name"]: row["place"] for row in rows}


async def partitions(log: Connection) -> list[str]:
    rows = await log.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits "
        "WHERE inhparent = 'events'::regclass ORDER BY name"
    )
    return [row["name"] for row in rows if row["name"] != "events_default"]


async def month(log: Connection, ahead: int) -> str:
    """The name of the partition of a month."""
    name: str = await log.fetchval(
        "SELECT to_char(now() AT TIME ZONE 'UTC' + make_interval(months => $1), "
        "'\"events_\"YYYY_MM')",
        ahead,
    )
    return name


@pytest.fixture
def made(log: Connection) -> Made:
    """Wait until the partition of a month is there."""

    async def wait(ahead: int) -> None:
        async def is_there() -> bool:
            return await month(log, ahead) in await partitions(log)

        await until(is_there)

    return wait


@pytest.mark.parametrize(
    ("behind", "retention", "ahead", "first"),
    [(13, 13, 2, -13), (0, 13, 0, 0), (2, 13, 14, -2), (13, 3, 1, -3)],
)
async def test_partitions__start__those_behind_within_the_retention_and_those_ahead(
    keep_partitions: Keep,
    log: Connection,
    made: Made,
    *,
    behind: int,
    retention: int,
    ahead: int,
    first: int,
) -> None:
    client = await keep_partitions(
        events_months_behind=behind, events_retention_months=retention, events_months_ahead=ahead
    )
    await made(first)
    assert await partitions(log) == [await month(log, number) for number in range(first, ahead + 1)]
    for number in (first, 0, ahead):
        created_at = (await times(log, number, number))[0]
        event = {"name": str(number), "payload": {}, "created_at": created_at}
        assert (await client.post("/events", json=event)).status == 201
    expected = {str(number): await month(log, number) for number in (first, 0, ahead)}
    assert await places(log) == expected


async def test_partitions__checked_again__new_ones_are_made(
    keep_partitions: Keep, log: Connection, made: Made
) -> None:
    await keep_partitions(events_months_ahead=1, partitions_check_s=0.01)
    await made(1)
    await log.execute(f"DROP TABLE {await month(log, 1)}")
    await made(1)


@pytest.mark.parametrize("zone", ["UTC", "Etc/GMT+12", "Pacific/Kiritimati"])
async def test_partitions__events_came_before_them__moved_out_of_the_default(
    keep_partitions: Keep, log: Connection, made: Made, zone: str
) -> None:
    await set_zone(log, zone)
    microsecond, one, two = "interval '1 us'", "interval '1 month'", "interval '2 months'"
    times = {
        "long before": f"{MONTH} - {one} - {microsecond}",
        "before": f"{MONTH} - {microsecond}",
        "first": MONTH,
        "last": f"{MONTH} + {one} - {microsecond}",
        "next first": f"{MONTH} + {one}",
        "next last": f"{MONTH} + {two} - {microsecond}",
        "after": f"{MONTH} + {two}",
        "far": "timestamptz '9999-12-31 23:59Z'",
    }
    for name, time in times.items():
        await store(log, name, time)
    before = await log.fetch("SELECT id, event_id, created_at FROM events ORDER BY id")
    assert set((await places(log)).values()) == {"events_default"}
    client = await keep_partitions(events_months_behind=1, events_months_ahead=1)
    await made(-1)
    this, following = await month(log, 0), await month(log, 1)
    assert await places(log) == {
        "long before": "events_default",
        "before": await month(log, -1),
        "first": this,
        "last": this,
        "next first": following,
        "next last": following,
        "after": "events_default",
        "far": "events_default",
    }
    assert await log.fetch("SELECT id, event_id, created_at FROM events ORDER BY id") == before
    response = await client.post("/events", json={"name": "one more", "payload": {}})
    assert (await response.json())["id"] == before[-1]["id"] + 1


async def test_partitions__made_while_events_come__none_is_refused(
    keep_partitions: Keep, log: Connection, made: Made
) -> None:
    client = await keep_partitions(events_months_ahead=0)
    for round_ in range(5):
        for event_month in (0, 1, 2):
            await store(log, f"{round_}", f"now() + interval '{event_month} months'")
        posting = [
            client.post("/events", json={"name": "x", "payload": {}, "created_at": created_at})
            for created_at in await times(log, 0, 7)
        ]
        starting = keep_partitions(events_months_ahead=round_ + 1)
        other, responses = await asyncio.gather(starting, asyncio.gather(*posting))
        assert {response.status for response in responses} == {201}
        await made(round_ + 1)
        await other.close()
    assert await log.fetchval("SELECT count(*) FROM events") == 5 * (3 + 8)


EXCLUSIONS = "SELECT count(*) FROM pg_constraint WHERE conname LIKE 'events_default_not_%'"
# Events of long ago, in the default partition.
STRAYS = """
    INSERT INTO events (event_id, name, payload, created_at)
    SELECT gen_random_uuid(), 'stray', '{}', timestamptz '1999-01-01Z' + make_interval(secs => n)
    FROM generate_series(1, $1::integer) AS n"""


async def first_of(log: Connection, ahead: int) -> date:
    """The first day of a month."""
    day: date = await log.fetchval(
        "SELECT date_trunc('month', now() + make_interval(months => $1))::date", ahead
    )
    return day


async def test_partition__default_has_none_of_the_month__it_is_not_read_under_the_lock(
    log: Connection,
) -> None:
    """PostgreSQL says so itself; without the CHECK it reads it all."""
    told: list[str] = []
    log.add_log_listener(lambda _, message: told.append(message.message))
    await log.execute("SET client_min_messages = debug1")
    await log.execute(STRAYS, 100)
    proven = (
        'updated partition constraint for default partition "events_default" '
        "is implied by existing constraints"
    )
    for ahead in (1, -1, 2):
        day = await first_of(log, ahead)
        if ahead != 2:
            [excluded] = await queries.events.exclude_month(log, month=day, unproven_bytes=0)
            assert excluded["excluded"]
            await queries.events.verify_month(log, month=day)
            assert await log.fetchval(EXCLUSIONS) == 1
        told.clear()
        await queries.events.ensure_partition(log, month=day)
        assert (proven in told) == (ahead != 2)
        assert await log.fetchval(EXCLUSIONS) == 0
        assert await month(log, ahead) in await partitions(log)


# What the transactions that make a partition do: which month, and whether a CHECK is proven.
WATCH = r"""
    CREATE TABLE seen (nth serial, xid xid8, command text, proven boolean);
    CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.seen (xid, command, proven)
        SELECT pg_current_xact_id(), substring(current_query() FROM 'events/(\w+):'),
            (SELECT bool_and(convalidated) FROM pg_constraint
             WHERE conname LIKE 'events_default_not_%');
    END $$;
    CREATE EVENT TRIGGER note ON ddl_command_end WHEN TAG IN ('ALTER TABLE')
    EXECUTE FUNCTION note()"""


async def test_partitions__made__proven_in_a_transaction_before_and_nothing_is_left(
    keep_partitions: Keep, log: Connection, made: Made
) -> None:
    await log.execute(STRAYS, 100)
    await store(log, "late", f"{MONTH} - interval '1 day'")
    await log.execute(WATCH)
    await keep_partitions(events_months_behind=1, events_months_ahead=1)
    await made(-1)
    rows = await log.fetch("SELECT * FROM seen ORDER BY nth")
    assert [(row["command"], row["proven"]) for row in rows] == [
        ("exclude_month", False),
        ("verify_month", True),
        ("ensure_partition", True),  # attached
        ("ensure_partition", None),
        ("ensure_partition", None),  # this month: events come all the time
        ("ensure_partition", None),  # last month: it has one
    ]
    assert len({row["xid"] for row in rows}) == 5


async def test_partitions__default_is_small__read_at_once_and_no_event_is_refused(
    keep_partitions: Keep, log: Connection, made: Made, settings: Settings
) -> None:
    await log.execute(STRAYS, 100)
    await log.execute(WATCH)
    await keep_partitions(
        events_months_behind=1,
        events_months_ahead=1,
        events_unproven_bytes=settings.events.events_unproven_bytes,
    )
    await made(-1)
    assert await log.fetchval("SELECT DISTINCT command FROM seen") == "ensure_partition"


async def test_partitions__a_process_has_ended_in_the_middle__the_next_one_goes_on(
    keep_partitions: Keep, log: Connection, made: Made
) -> None:
    """Also outside the months that are to be made, and where the partition is there."""
    for ahead in (1, 2, 7):
        [row] = await queries.events.exclude_month(
            log, month=await first_of(log, ahead), unproven_bytes=0
        )
        assert row["excluded"]
    await queries.events.verify_month(log, month=await first_of(log, 2))
    name, there = await month(log, 3), await first_of(log, 3)
    await queries.events.ensure_partition(log, month=there)
    await log.execute(
        f"ALTER TABLE events_default ADD CONSTRAINT events_default_not_{name[-7:]} CHECK (true)"
    )
    await keep_partitions(events_months_behind=0, events_months_ahead=1)
    await made(0)

    async def none_is_left() -> bool:
        return bool(await log.fetchval(EXCLUSIONS) == 0)

    await until(none_is_left)
    expected = [await month(log, ahead) for ahead in (0, 1, 2, 3, 7)]
    assert await partitions(log) == expected


async def test_partitions__stored_under_no_lock_meanwhile__moved_all_the_same(
    log: Connection,
) -> None:
    """Another program's event, which came between the look and the CHECK."""
    day = await first_of(log, 1)
    await store(log, "in between", f"{MONTH} + interval '1 month'")
    starts, ends = [(await times(log, ahead, ahead))[0][:7] for ahead in (1, 2)]
    name = await month(log, 1)
    await log.execute(
        f"ALTER TABLE events_default ADD CONSTRAINT events_default_not_{name[-7:]} "
        f"CHECK (created_at < '{starts}-01Z' OR created_at >= '{ends}-01Z') NOT VALID"
    )
    await queries.events.verify_month(log, month=day)
    await queries.events.ensure_partition(log, month=day)
    assert await places(log) == {"in between": name}
    assert await log.fetchval(EXCLUSIONS) == 0


async def post(client: Client, created_at: str) -> tuple[int, str | None]:
    """Post an event of a time; return the status, and the code of an error."""
    event = {"name": "x", "payload": {}, "created_at": created_at}
    response = await client.post("/events", json=event)
    error = (await response.json()).get("error")
    assert ("Retry-After" in response.headers) == (response.status == 503)
    return response.status, error


async def test_intake__month_is_excluded__503_to_its_events_alone_until_it_has_its_partition(
    keep_partitions: Keep, log: Connection, made: Made, events_database_url: str, entries: Entries
) -> None:
    now, following = await times(log, 0, 1)
    await queries.events.exclude_month(log, month=await first_of(log, 1), unproven_bytes=0)
    holder = await asyncpg.connect(events_database_url)
    async with holder.transaction():
        # VALIDATE waits for it; inserts do not.
        await holder.execute("LOCK TABLE events_default IN SHARE UPDATE EXCLUSIVE MODE")
        client = await keep_partitions(
            events_months_behind=0, partitions_retry_s=2, partitions_check_s=2
        )
        await until(lambda: "partitions_wait" in {entry["event"] for entry in entries})
        answers = await asyncio.gather(*(post(client, at) for at in (now, following) * 5))
        assert set(answers[::2]) == {(201, None)}
        assert set(answers[1::2]) == {(503, "partition_being_made")}
        assert (await client.get("/events")).status == 200
        assert await log.fetchval(EXCLUSIONS) == 1
    await holder.close()
    await made(1)
    assert await post(client, following) == (201, None)
    assert list((await places(log)).values())[-1] == await month(log, 1)


async def test_partitions__attaching_is_blocked__the_month_is_admitted_meanwhile(
    keep_partitions: Keep, log: Connection, made: Made, events_database_url: str, entries: Entries
) -> None:
    [following] = await times(log, 1, 1)
    holder = await asyncpg.connect(events_database_url)
    async with holder.transaction():
        await holder.execute("LOCK TABLE ONLY events IN SHARE UPDATE EXCLUSIVE MODE")
        client = await keep_partitions(
            events_months_ahead=1, partitions_retry_s=0.5, partitions_check_s=0.5
        )
        await until(lambda: "partitions_wait" in {entry["event"] for entry in entries})
        assert await log.fetchval(EXCLUSIONS) == 0
        await until(lambda: asyncio.ensure_future(is_stored(client, following)))
        assert set((await places(log)).values()) == {"events_default"}
    await holder.close()
    await made(1)
    assert set((await places(log)).values()) == {await month(log, 1)}


async def is_stored(client: Client, created_at: str) -> bool:
    """Try to store an event of a time: another try may make its partition just now."""
    status, _ = await post(client, created_at)
    assert status in {201, 503}
    return status == 201


async def test_intake__events_come_while_their_partitions_are_made__each_is_stored_once(
    keep_partitions: Keep, log: Connection, made: Made
) -> None:
    await log.execute(STRAYS, 50_000)
    client = await keep_partitions(events_months_behind=0, events_months_ahead=0)
    await made(0)
    months = await times(log, 1, 6)

    async def send(created_at: str) -> None:
        await until(lambda: asyncio.ensure_future(is_stored(client, created_at)))

    starting = keep_partitions(events_months_behind=0, events_months_ahead=6)
    await asyncio.gather(starting, *(send(at) for at in months * 5))
    await made(1)  # the newest is made first
    stored = await log.fetch(
        "SELECT tableoid::regclass::text AS place, count(*) AS events FROM events "
        "WHERE name = 'x' GROUP BY place ORDER BY place"
    )
    expected = [(await month(log, ahead), 5) for ahead in range(1, 7)]
    assert [tuple(row) for row in stored] == expected
    assert await log.fetchval(EXCLUSIONS) == 0


async def test_relay__month_is_excluded__events_wait_and_are_delivered(
    relay: Serve,
    keep_partitions: Keep,
    connection: Connection,
    log: Connection,
    aiohttp_server: AiohttpServer,
    events_database_url: str,
    settings: Settings,
    entries: Entries,
) -> None:
    app = create_app(quiet(EVENTS), settings, events_database_url)
    server = await aiohttp_server(app)
    this = await month(log, 0)
    await log.execute(
        f"ALTER TABLE events_default ADD CONSTRAINT events_default_not_{this[-7:]} "
        "CHECK (created_at < '2000-01-01Z')"
    )
    await write(connection, *TEN)
    await relay(str(server.make_url("/")))

    def failures() -> int:
        return sum(entry["event"] == "relay_waits" for entry in entries)

    await until(lambda: failures() > 20)  # more than those after which an event may be parked
    await keep_partitions()
    await delivered(connection)
    assert await dead(connection) == {}
    assert await places(log) == {"it.happened": this}
    assert await log.fetchval("SELECT count(*) FROM events") == len(TEN)


async def times(log: Connection, first: int, last: int) -> list[str]:
    """A time in each month from `first` to `last`."""
    rows = await log.fetch(
        "SELECT (now() + make_interval(months => n))::timestamptz AS at "
        "FROM generate_series($1::integer, $2) AS n",
        first,
        last,
    )
    return [row["at"].isoformat() for row in rows]


async def set_zone(log: Connection, zone: str) -> None:
    """Let new connections be in a time zone."""
    name = await log.fetchval("SELECT current_database()")
    await log.execute(f"ALTER DATABASE {name} SET timezone = '{zone}'")


@pytest.mark.parametrize(
    ("zone", "rows"), [("UTC", 1), ("UTC", 5000), ("Etc/GMT+12", 2), ("Pacific/Kiritimati", 3)]
)
@pytest.mark.parametrize("partitioned", [True, False])
async def test_retention__past_months__events_and_keys_go_together(
    keep_partitions: Keep,
    log: Connection,
    rows_purged: Callable[[str], int],
    *,
    zone: str,
    partitioned: bool,
    rows: int,
) -> None:
    await set_zone(log, zone)
    edge = f"({MONTH} - interval '3 months')"
    times = {
        "ancient": "timestamptz '0001-01-01 00:00:01Z'",
        "long ago": f"{edge} - interval '1 month'",
        "just out": f"{edge} - interval '1 us'",
        "just in": edge,
        "a little in": f"{edge} + interval '11 hours'",
        "recent": f"{MONTH} - interval '1 us'",
        "now": "now()",
        "to come": "now() + interval '10 years'",
    }
    if partitioned:
        await log.execute(
            "SELECT ensure_events_partition((now() AT TIME ZONE 'UTC' - "
            "make_interval(months => n))::date) FROM generate_series(0, 5) AS n"
        )
    for name, time in times.items():
        await store(log, name, time)
    await keep_partitions(events_retention_months=3, events_months_ahead=0, housekeeping_rows=rows)
    kept = ["just in", "a little in", "recent", "now", "to come"]

    async def keys() -> list[str]:
        found = await log.fetch("SELECT name FROM event_keys JOIN events USING (id) ORDER BY id")
        assert len(found) <= await log.fetchval("SELECT count(*) FROM event_keys")
        return [row["name"] for row in found]

    async def all_done() -> bool:
        left = await log.fetchval(
            "SELECT greatest((SELECT count(*) FROM events), (SELECT count(*) FROM event_keys))"
        )
        months = [await month(log, number) for number in range(-3, 1)]
        return left <= len(kept) and await partitions(log) == months

    await until(all_done)
    assert list(await places(log)) == kept
    assert await keys() == kept
    await until(lambda: rows_purged("event_keys_purge") == 3)
    purged = 1 if partitioned else 3  # the others had a partition
    await until(lambda: rows_purged("events_purge") == purged)


# PostgreSQL gives up on a statement that removes more than three rows.
IMPATIENT = """
    CREATE FUNCTION give_up() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF (SELECT count(*) > 3 FROM gone) THEN
            RAISE EXCEPTION 'too slow' USING ERRCODE = 'query_canceled';
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER give_up AFTER DELETE ON events_default
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION give_up();
"""


async def test_retention__more_than_one_statement_can_remove__gone_by_pages(
    keep_partitions: Keep, log: Connection
) -> None:
    for number in range(10):
        await store(log, str(number), f"now() - interval '{number + 4} months'")
    await store(log, "now", "now()")
    await log.execute(IMPATIENT)
    await keep_partitions(events_retention_months=3, housekeeping_rows=3)
    left = "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM event_keys)"

    async def all_gone() -> bool:
        count: int = await log.fetchval(left)
        return count == 2  # that of now, and its key

    await until(all_gone)


async def test_retention__somebody_reads_for_long__all_but_partitions_goes_and_the_log_warns(
    keep_partitions: Keep,
    log: Connection,
    events_database_url: str,
    made: Made,
    entries: Entries,
) -> None:
    await log.execute("SELECT ensure_events_partition((now() - interval '4 months')::date)")
    for months in (4, 5):
        await store(log, f"{months} months", f"now() - interval '{months} months'")
    await store(log, "now", "now()")
    reader = await asyncpg.connect(events_database_url)
    transaction = reader.transaction()
    await transaction.start()
    await reader.fetch("SELECT * FROM events")
    await keep_partitions(
        events_retention_months=3, partitions_retry_s=0.01, partitions_check_s=0.03
    )
    names = "array(SELECT name FROM events ORDER BY id) AS names"
    left = f"SELECT (SELECT count(*) FROM event_keys) AS keys, {names}"

    async def strays_and_keys_gone() -> bool:
        row = await log.fetchrow(left)
        return row is not None and dict(row) == {"keys": 1, "names": ["4 months", "now"]}

    def waits() -> list[tuple[str, float]]:
        return [
            (entry["log_level"], entry["retry_s"])
            for entry in entries
            if entry["event"] == "partitions_wait"
        ]

    await until(strays_and_keys_gone)
    await until(lambda: len(waits()) > 3)
    assert waits()[:4] == [("info", 0.01), ("info", 0.02), ("warning", 0.03), ("warning", 0.03)]
    assert await partitions(log) == [await month(log, -4)]
    await transaction.rollback()
    await reader.close()
    await made(-3)
    assert await month(log, -4) not in await partitions(log)


async def test_partitions__too_many_would_move__they_stay_and_the_log_warns(
    keep_partitions: Keep, log: Connection, made: Made, entries: Entries
) -> None:
    for name in ("a", "b", "c"):
        await store(log, name, f"{MONTH} - interval '1 day'")
    for name in ("d", "e"):
        await store(log, name, MONTH)
    await keep_partitions(events_months_behind=2, events_months_ahead=0, events_moved_rows=2)
    await made(-2)
    assert await partitions(log) == [await month(log, -2), await month(log, 0)]
    this = await month(log, 0)
    default = dict.fromkeys(("a", "b", "c"), "events_default")
    assert await places(log) == default | {"d": this, "e": this}
    [warning] = [entry for entry in entries if entry["event"] == "partition_not_made"]
    assert warning["log_level"] == "warning"
    assert warning["month"] == (await month(log, -1)).removeprefix("events_").replace("_", "-")


async def test_retention__database_s_clock_is_ahead__what_was_stored_lately_stays(
    keep_partitions: Keep, log: Connection, made: Made, entries: Entries
) -> None:
    """As if the clock were 450 days ahead: nothing is newer than that, by that clock."""
    await log.execute(
        "SELECT ensure_events_partition((now() - make_interval(months => n))::date) "
        "FROM generate_series(15, 20) AS n"
    )
    for months in (15, 16, 20):
        await store(log, f"{months} months", f"now() - interval '{months} months'")
    await log.execute("ANALYZE")
    await keep_partitions(events_retention_months=3, partitions_check_s=0.01)
    await made(2)
    gone = {await month(log, -19), await month(log, -20)}

    async def are_gone() -> bool:
        return gone.isdisjoint(await partitions(log))

    await until(are_gone)
    kept = [await month(log, -months) for months in (18, 17, 16, 15)]
    assert (await partitions(log))[:4] == kept
    assert list(await places(log)) == ["15 months", "16 months"]
    assert await log.fetchval("SELECT count(*) FROM event_keys") == 2
    dropped = [entry for entry in entries if entry["event"] == "partition_dropped"]
    assert {entry["log_level"] for entry in dropped} == {"warning"}
    events = {entry["partition"]: entry["events"] for entry in dropped}
    assert events == {await month(log, -20): 1, await month(log, -19): 0}


@pytest.mark.parametrize("style", ["German", "SQL, DMY", "Postgres, MDY"])
@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York"])
async def test_partitions__database_writes_dates_in_another_way__bounds_are_those_of_the_month(
    keep_partitions: Keep, log: Connection, made: Made, *, style: str, zone: str
) -> None:
    name = await log.fetchval("SELECT current_database()")
    await set_zone(log, zone)
    await log.execute(f"ALTER DATABASE {name} SET datestyle = '{style}'")
    await keep_partitions(events_months_behind=3)
    await made(-3)
    rows = await log.fetch(
        "SELECT relname, pg_get_expr(relpartbound, pg_class.oid) AS bounds "
        "FROM pg_inherits JOIN pg_class ON inhrelid = pg_class.oid "
        "WHERE relname <> 'events_default' AND inhparent = 'events'::regclass"
    )
    for row in rows:
        first = row["relname"].removeprefix("events_").replace("_", "-")
        assert row["bounds"].startswith(f"FOR VALUES FROM ('{first}-01 00:00:00+00') TO ('")
        assert row["bounds"].endswith("-01 00:00:00+00')")


async def test_retention__bounds_of_an_earlier_release_are_off__no_event_within_it_is_dropped(
    keep_partitions: Keep, log: Connection, made: Made
) -> None:
    edge = f"({MONTH} - interval '3 months')"
    name = await month(log, -4)
    [row] = await log.fetch(
        f"SELECT ({edge} - interval '1 month')::text AS starts, "
        f"({edge} + interval '14 hours')::text AS ends"
    )
    await log.execute(
        f"CREATE TABLE {name} PARTITION OF events "
        f"FOR VALUES FROM ('{row['starts']}') TO ('{row['ends']}')"
    )
    await store(log, "within", f"{edge} + interval '13 hours'")
    await store(log, "now", "now()")
    await keep_partitions(events_retention_months=3, events_months_behind=2, partitions_check_s=0.1)
    await made(-2)
    await made(2)
    assert list(await places(log)) == ["within", "now"]
