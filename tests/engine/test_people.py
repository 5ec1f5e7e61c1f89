"""Users' names and addresses: batches, two processes at once, and users of earlier releases."""

import asyncio
from typing import Any

import asyncpg
import pytest
from hypothesis import strategies as st

from rowlock.accounts import Accounts
from rowlock.accounts.people import anonymise_users, change_users, register_users
from rowlock.accounts.rules import AnonymiseUser, ChangeUser, Person, RegisterUser
from rowlock.engine.database import Database
from rowlock.engine.lanes import WriteLane
from rowlock.invoices import Invoices
from rowlock.invoices.rules import CreateInvoice, Invoice
from rowlock.invoices.transactions import create_invoices
from rowlock.origin import Origin
from rowlock.rejections import Rejection
from rowlock.settings import Settings
from tests.support.databases import Databases
from tests.support.equivalence import (
    TRACES,
    Feature,
    History,
    assert_batches_equal_one_at_a_time,
)
from tests.support.money import assert_money_conserved
from tests.support.polling import until
from tests.support.types import Connection

# Few of each, so that they meet; in several spellings.
usernames = st.sampled_from(["edsger", "Edsger", "EDSGER", "barbara", "ada"])
emails = st.sampled_from(
    ["a@x", "A@X", "b@x", "c@x", "ada@example.com", "ADA@example.com", "grace@example.com"]
)
first_names = st.sampled_from(["", "Ada", "Grace"])
origins = st.builds(Origin, st.just("r-1"), st.sampled_from(["token", "key:crm"]), TRACES)
# 1 and 2 are there in any run; further ids depend on the order within a batch.
user_ids = st.sampled_from([1, 2, 999])
changes = st.dictionaries(st.sampled_from(["email", "first_name"]), st.none(), min_size=1).flatmap(
    lambda fields: st.fixed_dictionaries(
        {name: first_names if name == "first_name" else st.none() | emails for name in fields}
    )
)
commands: dict[type, st.SearchStrategy[Any]] = {
    RegisterUser: st.builds(
        RegisterUser,
        usernames,
        st.none() | emails,
        first_names,
        st.sampled_from(["", "King"]),  # else hypothesis makes up any text, which no route lets in
        opening_balance=st.integers(0, 500),
        origin=origins,
    ),
    ChangeUser: st.builds(ChangeUser, user_ids, changes, origins),
    AnonymiseUser: st.builds(AnonymiseUser, user_ids, origins),
}
batches = st.sampled_from([RegisterUser, ChangeUser, ChangeUser, AnonymiseUser]).flatmap(
    lambda kind: st.lists(commands[kind], min_size=1, max_size=10)
)
START = [
    [RegisterUser("ada", "ada@example.com", "Ada", opening_balance=500)],
    [RegisterUser("grace", "grace@example.com")],
]
histories: st.SearchStrategy[History] = st.lists(batches, min_size=1, max_size=6).map(
    lambda rest: [*START, *rest]
)
STATE = {
    "users": "SELECT username, name_key, email, email_key, first_name, last_name, balance, "
    "anonymised_at IS NULL AS is_named FROM users ORDER BY username",
    "ledger": "SELECT username, amount, reason, actor "
    "FROM ledger_entries JOIN users ON users.id = user_id ORDER BY username",
    # Those of new users are sorted by name within a batch.
    "events": "SELECT name, payload - 'user_id' AS payload, request_id, actor, username "
    "FROM outbox LEFT JOIN users ON subject = 'user:' || users.id "
    "ORDER BY name = 'user.created', CASE WHEN name = 'user.created' THEN username END, position",
}


async def check_money(connection: Connection, _history: History, _outcomes: list[Any]) -> None:
    await assert_money_conserved(connection)


def comparable(outcome: Any) -> Any:
    """Return what must be equal: not times, and not ids, which depend on the batch."""
    if isinstance(outcome, Person):
        return (*outcome[1:6], outcome.anonymised_at is not None)
    return type(outcome)


FEATURE = Feature(
    executors={
        RegisterUser: register_users,
        ChangeUser: change_users,
        AnonymiseUser: anonymise_users,
    },
    comparable=comparable,
    state=STATE,
    check=check_money,
)


def test_batches__any_history_of_names__equal_one_at_a_time(main_databases: Databases) -> None:
    assert_batches_equal_one_at_a_time(main_databases, FEATURE, histories, examples=25)


@pytest.fixture
def accounts(database: Database, settings: Settings) -> Accounts:
    return Accounts(database, settings.batches)


def codes(outcomes: list[Any]) -> list[str]:
    return [outcome.code if isinstance(outcome, Rejection) else "ok" for outcome in outcomes]


async def test_register__same_names_in_two_processes_at_once__each_goes_to_one(
    database_url: str, settings: Settings, connection: Connection
) -> None:
    async with (
        Database(database_url, settings.database) as one,
        Database(database_url, settings.database) as other,
    ):
        lanes = [
            WriteLane("test", database, register_users, settings.batches)
            for database in (one, other)
        ]
        outcomes: list[Person | Rejection] = await asyncio.gather(
            *(
                lane.submit(RegisterUser(spelling(f"user-{n}"), f"{n}@x", opening_balance=1))
                for n in range(60)
                for lane in lanes
                for spelling in (str, str.upper)
            )
        )
    assert sorted(codes(outcomes)) == ["ok"] * 60 + ["username_taken"] * 180
    assert await connection.fetchval("SELECT count(DISTINCT name_key) FROM users") == 60
    await assert_money_conserved(connection)


async def test_change__one_address_in_two_processes_at_once__goes_to_one(
    database_url: str, settings: Settings, accounts: Accounts, connection: Connection
) -> None:
    for n in range(20):
        assert isinstance(await accounts.register.submit(RegisterUser(f"user-{n}")), Person)
    ids = [row["id"] for row in await connection.fetch("SELECT id FROM users ORDER BY id")]
    async with Database(database_url, settings.database) as other:
        lanes = [accounts.change, Accounts(other, settings.batches).change]
        outcomes = await asyncio.gather(
            *(
                lanes[number % 2].submit(ChangeUser(user_id, {"email": f"{number // 2}@x"}))
                for number, user_id in enumerate(ids)
            )
        )
        await lanes[1].close()
    assert sorted(codes(outcomes)) == ["email_taken"] * 10 + ["ok"] * 10
    assert await connection.fetchval("SELECT count(DISTINCT email) FROM users") == 10


async def test_anonymise__name_that_a_user_of_an_earlier_release_has__gets_another_one(
    accounts: Accounts, connection: Connection
) -> None:
    await connection.execute("INSERT INTO users (id, username) VALUES (9, 'anonymous-1')")
    ada = await accounts.register.submit(RegisterUser("ada"))
    assert isinstance(ada, Person)
    assert ada.id == 1
    gone = await accounts.anonymise.submit(AnonymiseUser(1))
    assert isinstance(gone, Person)
    assert gone.username.startswith("anonymous-1-")
    assert await accounts.anonymise.submit(AnonymiseUser(1)) == gone
    other = await accounts.anonymise.submit(AnonymiseUser(9))
    assert isinstance(other, Person)
    assert other.username == "anonymous-9"


async def test_anonymise__name_being_taken_by_an_earlier_release__gets_another_one(
    accounts: Accounts, connection: Connection
) -> None:
    ada = await accounts.register.submit(RegisterUser("ada"))
    assert isinstance(ada, Person)
    async with connection.transaction():
        await connection.execute("INSERT INTO users (username) VALUES ($1)", f"anonymous-{ada.id}")
        anonymising = asyncio.create_task(accounts.anonymise.submit(AnonymiseUser(ada.id)))
        await until(lambda: is_waiting(connection))
    gone = await anonymising
    assert isinstance(gone, Person)
    assert gone.username.startswith(f"anonymous-{ada.id}-")


async def is_waiting(connection: Connection) -> bool:
    """Whether another session waits for a lock."""
    return bool(
        await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event_type = 'Lock'"
        )
    )


@pytest.mark.parametrize(
    ("changes", "waits"), [({"first_name": "Ada"}, False), ({"email": "new@x"}, True)]
)
async def test_change__not_committed_yet__new_invoices_wait_for_a_new_address_alone(
    database_url: str, settings: Settings, connection: Connection, changes: Any, waits: bool
) -> None:
    """Foreign keys may refer to addresses, but not to first names."""
    await connection.execute("INSERT INTO users (id, username, email) VALUES (1, 'ada', 'ada@x')")
    async with Database(database_url, settings.database) as database:
        async with database.transaction() as transaction:
            [changed] = await change_users(transaction, [ChangeUser(1, changes)])
            assert isinstance(changed, Person)
            creating = asyncio.create_task(
                Invoices(database, settings.batches).create.submit(CreateInvoice(1, 5, "Work"))
            )
            if waits:
                await until(lambda: is_waiting(connection))
            else:
                assert isinstance(await creating, Invoice)
        assert isinstance(await creating, Invoice)


async def test_change__invoice_of_the_user_not_committed_yet__first_name_does_not_wait(
    accounts: Accounts, connection: Connection
) -> None:
    await connection.execute("INSERT INTO users (id, username) VALUES (1, 'ada'), (2, 'grace')")
    async with connection.transaction():
        await create_invoices(connection, [CreateInvoice(1, 5, "Work")])
        changed = await accounts.change.submit(ChangeUser(1, {"first_name": "Ada"}))
        assert isinstance(changed, Person)
        # One that needs the address waits in its line; one of the same line that does not, too.
        moving = asyncio.create_task(accounts.change.submit(ChangeUser(1, {"email": "a@x"})))
        # Not pg_stat_activity, which a transaction sees as it was when it first looked.
        blocked = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"
        await until(lambda: connection.fetchval(blocked))
        other = await accounts.change.submit(ChangeUser(2, {"email": "b@x"}))
        assert isinstance(other, Person)
        assert not moving.done()
    moved = await moving
    assert isinstance(moved, Person)
    assert moved.email == "a@x"


async def test_change__user_without_keys__keeps_what_is_not_changed(
    accounts: Accounts, connection: Connection
) -> None:
    """The address of a user of 0.1.0, whose key an older user has."""
    await connection.execute(
        "INSERT INTO users (id, username, name_key, email, email_key) VALUES "
        "(1, 'ada', 'ada', 'ada@x', 'ada@x'), (2, 'Ada', NULL, 'Ada@x', NULL)"
    )
    outcomes = [
        await accounts.change.submit(ChangeUser(user_id, changed))
        for user_id, changed in [
            (2, {"first_name": "Ada"}),
            (1, {"email": "Ada@x"}),
            (1, {"email": "ADA@x"}),
            (2, {"email": "aDa@x"}),
            (2, {"email": "grace@x"}),
            (1, {"email": "Ada@x"}),
        ]
    ]
    assert codes(outcomes) == ["ok", "email_taken", "ok", "email_taken", "ok", "ok"]
    rows = await connection.fetch("SELECT email, email_key, name_key FROM users ORDER BY id")
    assert [tuple(row) for row in rows] == [("Ada@x", "ada@x", "ada"), ("grace@x", "grace@x", None)]


async def test_change__row_locked_elsewhere__delays_only_its_own_command(
    accounts: Accounts, connection: Connection, database_url: str
) -> None:
    for name in ("ada", "grace"):
        assert isinstance(await accounts.register.submit(RegisterUser(name)), Person)
    holder = await asyncpg.connect(database_url)
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("SELECT 1 FROM users WHERE id = 1 FOR NO KEY UPDATE")
    held = asyncio.create_task(accounts.change.submit(ChangeUser(1, {"first_name": "Ada"})))
    other = await accounts.change.submit(ChangeUser(2, {"first_name": "Grace"}))
    assert isinstance(other, Person)
    assert not held.done()
    await transaction.rollback()
    await holder.close()
    assert isinstance(await held, Person)
    await accounts.change.close()
