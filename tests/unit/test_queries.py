"""The headers of the files in sql/: what they say, and each way to break them."""

import re

import pytest

from rowlock.errors import InvalidQueryFile
from rowlock.engine.statements import Column, Param, Registry, load, queries

GOOD = """\
-- Purpose: read accounts by id,
--          or by name
-- Params:  $1 user_ids bigint[]   unique
--          $2 usernames text[]
-- Locks:   users rows FOR NO KEY UPDATE,
--          in the order of id
-- Rows:    id bigint, balance bigint,
--          created_at timestamptz; one per user found; or none
-- Index:   users_pkey,
--          users_username_key
SELECT id, balance, created_at FROM users -- $3; is a comment
WHERE id = any($1) OR username = any($2)
"""


@pytest.fixture
def write(tmp_path):
    """Write sql/accounts/find_users.sql and return its path."""

    def write_one(text: str):
        path = tmp_path / "accounts" / "find_users.sql"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write_one


def test_load__good_header__every_field(write):
    query = load(write(GOOD))
    assert query.name == "accounts/find_users"
    assert query.sql == GOOD
    assert query.purpose == "read accounts by id, or by name"
    assert query.params == (Param("user_ids", "bigint[]"), Param("usernames", "text[]"))
    assert query.locks == "users rows FOR NO KEY UPDATE, in the order of id"
    assert query.columns == (
        Column("id", "bigint"),
        Column("balance", "bigint"),
        Column("created_at", "timestamptz"),
    )
    assert query.cardinality == "one per user found; or none"
    assert query.indexes == ("users_pkey", "users_username_key")


def test_load__nothing_but_none__empty_fields(write):
    query = load(
        write(
            "-- Purpose: do nothing\n-- Params:  none\n-- Locks:   none\n-- Rows:    none\n"
            "-- Index:   none, there is no table\nSELECT\n"
        )
    )
    assert (query.params, query.columns, query.indexes) == ((), (), ())
    assert (query.locks, query.cardinality) == ("none", "none")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        # the header
        ("-- Purpose: read accounts by id,\n", "", "the header must be"),
        ("-- Purpose", "-- purpose", "the header must be"),
        ("-- Purpose", "--Purpose", "the header must be"),
        ("-- Purpose", "-- Goal", "the header must be"),
        ("-- Purpose", "\n-- Purpose", "the header must be"),
        ("-- Purpose", "-- Author:  me\n-- Purpose", "the header must be"),
        ("-- Purpose: read accounts by id", "-- Purpose:", "the header must be"),
        ("-- Locks:   users rows FOR NO KEY UPDATE,\n", "", "the header must be"),
        ("-- Index:", "\n-- Index:", "the header must be"),
        ("-- Index:", "-- Indexes:", "the header must be"),
        (GOOD, "", "the header must be"),
        (GOOD, "SELECT 1", "the header must be"),
        # Params
        ("$1 user_ids bigint[]", "$2 user_ids bigint[]", "is not like '\\$1 name type"),
        ("$2 usernames", "$3 usernames", "is not like '\\$2 name type"),
        ("$1 user_ids bigint[]  ", "user_ids bigint[]  ", "is not like '\\$1 name type"),
        ("$1 user_ids bigint[]   unique", "$1 user_ids", "is not like '\\$1 name type"),
        ("$1 user_ids bigint[]   unique", "$1 user_ids bigint[] unique", "is not like"),
        ("$1 user_ids", "$1 user-ids", "is not like '\\$1 name type"),
        ("$1 user_ids bigint[]   unique", "none", "is not like '\\$1 name type"),
        # Rows
        ("; one per user found; or none", "", "Rows .* is not like"),
        ("id bigint, balance", "id, balance", "Rows .* is not like"),
        ("id bigint, balance", "id bigint balance", "Rows .* is not like"),
        ("id bigint, balance", "id bigint,, balance", "Rows .* is not like"),
        ("id bigint, balance", "id double precision, balance", "Rows .* is not like"),
        ("id bigint, balance bigint,", "; many", "Rows .* is not like"),
        # Index
        ("users_pkey,", "none", "Index .* is not like"),
        ("users_pkey,", "users pkey,", "Index .* is not like"),
        ("users_pkey,", "users_pkey,,", "Index .* is not like"),
        # the statement
        ("any($2)", "any($1)", "the statement's parameters are not those of the header"),
        ("any($2)", "any($3)", "the statement's parameters are not those of the header"),
        ("any($1) OR", "any($1) OR $3 OR", "the statement's parameters are not those"),
        ("any($2)\n", "any($2);\n", "without a semicolon"),
        ("any($2)\n", "any($2); DELETE FROM users\n", "without a semicolon"),
    ],
)
def test_load__broken_contract__refused_naming_the_file(write, old, new, problem):
    assert old in GOOD
    path = write(GOOD.replace(old, new, 1))
    with pytest.raises(InvalidQueryFile, match=rf"^sql/accounts/find_users\.sql: .*{problem}"):
        load(path)


def test_registry__one_broken_file__refused_naming_it(write, tmp_path):
    write(GOOD)
    (tmp_path / "accounts" / "lock_users.sql").write_text("SELECT 1")
    with pytest.raises(InvalidQueryFile, match=r"^sql/accounts/lock_users\.sql: "):
        Registry(tmp_path)


def test_registry__good_folder__found_by_attribute_and_by_name(write, tmp_path):
    write(GOOD)
    registry = Registry(tmp_path)
    [query] = registry
    assert query is registry.accounts.find_users
    assert query is registry.find("accounts/find_users")
    assert registry.find("accounts/find") is None
    with pytest.raises(AttributeError, match=r"there is no folder sql/account$"):
        _ = registry.account
    with pytest.raises(AttributeError, match=r"there is no file sql/accounts/find_user\.sql"):
        _ = registry.accounts.find_user


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "accounts/find_users needs the argument 'user_ids'"),
        ({"user_id": [1]}, "accounts/find_users needs the argument 'user_ids'"),
        ({"user_ids": [1], "limit": 1}, "accounts/find_users takes no argument limit"),
        ({"user_ids": [1], "b": 1, "a": 1}, "accounts/find_users takes no argument a, b"),
    ],
)
async def test_call__wrong_arguments__type_error_before_anything_is_sent(arguments, problem):
    with pytest.raises(TypeError, match=f"^{re.escape(problem)}$"):
        await queries.accounts.find_users(None, **arguments)
