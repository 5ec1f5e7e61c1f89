"""Where a period of a user's ledger begins and ends: found by bisection, as a plain scan would."""

import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from rowlock.accounts import Accounts
from rowlock.accounts.statements import LAST_ID, Position, find_positions
from rowlock.engine.database import Database
from rowlock.engine.seeks import seeking
from rowlock.http.fields import LONG_AGO, NEVER
from rowlock.settings import Settings
from tests.support.databases import cloned
from tests.support.polling import until
from tests.support.statements import find
from tests.support.types import Connection, OpenAccount

OTHERS = """
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND backend_type = 'client backend'"""
READ_IN_SEQUENCE = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'ledger_entries'"
START = datetime(2026, 1, 1, tzinfo=UTC)
TICK = timedelta.resolution
SET_SEQUENCE = "SELECT setval(pg_get_serial_sequence('ledger_entries', 'id'), $1)"
FIRST_IDS = [1, 63, 64, 2**31, 2**53, 2**62 - 3, 2**62 + 1]
Entry = tuple[int, int, datetime]  # id, balance after, time


@pytest.fixture
def database_url(server_url: str, template: str) -> Iterator[str]:
    """A database of the test's own: what it leaves would be in the way of others."""
    with cloned(server_url, template) as url:
        yield url


async def post(
    connection: Connection, user_id: int, times: Sequence[datetime], *, as_before: bool = False
) -> None:
    """Let entries over 1 be posted at these times; `as_before`: by release 0.1.0."""
    document = "NULL" if as_before else "'order'"
    await connection.execute(
        f"""
        INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference, created_at,
            document_kind, document_id, contra)
        SELECT $1::bigint, 1, coalesce(last.balance_after, 0) + number, 'order',
            'order:' || coalesce(last.id, 0) + number + 1000 * $1::bigint, at,
            {document}, coalesce(last.id, 0) + number + 1000 * $1::bigint, 'sales'
        FROM unnest($2::timestamptz[]) WITH ORDINALITY AS posted (at, number)
        LEFT JOIN LATERAL (
            SELECT id, balance_after FROM ledger_entries
            WHERE user_id = $1 ORDER BY id DESC LIMIT 1) AS last ON true
        ORDER BY number""",
        user_id,
        times,
    )


async def entries_of(connection: Connection, user_id: int) -> list[Entry]:
    rows = await connection.fetch(
        "SELECT id, balance_after, created_at FROM ledger_entries WHERE user_id = $1 ORDER BY id",
        user_id,
    )
    return [tuple(row) for row in rows]


def scan(entries: Sequence[Entry], before: datetime, last_id: int) -> Position:
    """The last entry that counts, by looking at each."""
    counted = [each for each in entries if each[2] < before and each[0] <= last_id]
    return Position(*counted[-1][:2]) if counted else Position(0, 0)


@pytest.mark.parametrize("seed", range(len(FIRST_IDS)))
async def test_find_positions__any_ledger__as_a_plain_scan(
    connection: Connection, open_account: OpenAccount, seed: int
) -> None:
    rng = random.Random(seed)
    users = [await open_account(f"user-{number}", 0) for number in range(3)]
    empty = await open_account("empty", 0)
    await connection.execute(SET_SEQUENCE, FIRST_IDS[seed])
    at = START
    for _ in range(40):
        steps = [rng.choice([0, 0, 1, 1_000, 10**9]) for _ in range(rng.randrange(1, 8))]
        times = [at := at + TICK * step for step in steps]
        # What release 0.1.0 posts may have an earlier time: that of its transaction's start.
        as_before = rng.random() < 0.4
        early = timedelta(seconds=rng.choice([0, 0, 400])) if as_before else timedelta(0)
        for time in times:
            await post(connection, rng.choice(users), [time - early], as_before=as_before)
    for user_id in (*users, empty):
        entries = await entries_of(connection, user_id)
        moments = [each[2] + TICK * step for each in entries for step in (-1, 0, 1)]
        moments += [START - timedelta(days=1), at + timedelta(days=1)]
        moments += [LONG_AGO, NEVER]
        ids = [each[0] for each in entries] or [1]
        for last_id in (LAST_ID, rng.choice(ids), rng.choice(ids) - 1, 0):
            found = await find_positions(connection, user_id, moments, last_id)
            assert found == [scan(entries, moment, last_id) for moment in moments]


async def test_find_positions__unknown_user__none(connection: Connection) -> None:
    assert await find_positions(connection, 1, [NEVER]) is None


@pytest.mark.parametrize("seed", range(4))
async def test_find_positions__times_of_0_1_0_ran_backwards__periods_adjoin_and_stay(
    connection: Connection, open_account: OpenAccount, seed: int
) -> None:
    """Before its times were corrected, an entry had that of a transaction that began earlier."""
    rng = random.Random(seed)
    user_id = await open_account("ada", 0)
    times = [START + timedelta(seconds=n - rng.choice([0, 0, 3, 7])) for n in range(200)]
    await connection.execute("SET session_replication_role = replica")  # no triggers
    await post(connection, user_id, times)
    await connection.execute("RESET session_replication_role")
    entries = await entries_of(connection, user_id)
    moments = sorted(START + timedelta(seconds=rng.uniform(-20, 190)) for _ in range(50))
    found = await find_positions(connection, user_id, moments)
    assert found is not None
    assert found == sorted(found)
    known = {each[0]: each[2] for each in entries}
    following = dict(zip([0, *known], known.items(), strict=False))
    for moment, position in zip(moments, found, strict=True):
        # At a place where the time passes the moment, as there may be several.
        assert position.entry_id == 0 or known[position.entry_id] < moment
        assert following[position.entry_id][1] >= moment
    await post(connection, user_id, [START + timedelta(days=1)] * 100)
    assert await find_positions(connection, user_id, moments) == found


async def test_find_balances__long_ledgers__a_few_dozen_pages_are_read(
    connection: Connection, open_account: OpenAccount, database_url: str, settings: Settings
) -> None:
    await connection.execute("VACUUM ledger_entries")  # which knows then that it is empty
    read = await connection.fetchval(READ_IN_SEQUENCE)
    users = [await open_account(f"user-{number}", 0) for number in range(5)]
    async with Database(database_url, settings.database) as database:
        accounts = Accounts(database, settings.batches)
        for _ in range(10):  # plans that were made while there was nothing to read
            assert await accounts.find_balance(users[0], START) == 0
        await connection.execute(
            """
            INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference,
                created_at, document_kind, document_id, contra)
            SELECT user_id, 1, n, 'order', 'order:' || n, $2::timestamptz + n * interval '1 s',
                'order', n, 'sales'
            FROM generate_series(1, 20000) AS n, unnest($1::bigint[]) AS user_id""",
            users,
            START,
        )
        query = find("accounts/find_balances")
        async with database.reader() as seeker, seeking(seeker):
            [[text]] = await seeker.fetch(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query.sql}",
                users[0],
                [START + timedelta(seconds=5000.5), START + timedelta(seconds=9000.5)],
                LAST_ID,
            )
        [plan] = json.loads(text)
        # Two bisections of 17 rounds, each of an index with three levels; the table has 1,800.
        assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] < 250
        assert "Seq Scan" not in text
        for number in range(10):
            at = START + timedelta(seconds=number * 1000)
            assert await accounts.find_balance(users[0], at) == number * 1000
            statement = await accounts.open_statement(users[1], at, NEVER)
            assert statement is not None
            page = await accounts.list_statement(statement, after=0, page_size=3)
            assert [entry.balance_after for entry in page] == [
                max(number * 1000, 1) + step for step in range(3)
            ]
    await until(lambda: connection.fetchval(f"SELECT count(*) = 0 FROM ({OTHERS}) AS others"))
    # Sessions that have ended have told what they read.
    assert await connection.fetchval(READ_IN_SEQUENCE) == read
