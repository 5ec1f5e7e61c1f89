"""The headers of the files in sql/: what they say, and each way to break them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rowlock.engine.statements import Column, Param, Query, Registry, Type, load, queries
from rowlock.errors import InvalidQueryFile

GOOD = """\
-- accounts/find_users: read accounts by id,
--     or by name
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

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write sql/accounts/find_users.sql and return its path."""

    def write_one(text: str) -> Path:
        path = tmp_path / "accounts" / "find_users.sql"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write_one


def test_load__good_header__every_field(write: Write) -> None:
    query = load(write(GOOD))
    assert query.name == "accounts/find_users"
    assert query.sql == GOOD
    assert query.purpose == "read accounts by id, or by name"
    assert query.params == (Param("user_ids", Type("bigint[]")), Param("usernames", Type("text[]")))
    assert query.locks == "users rows FOR NO KEY UPDATE, in the order of id"
    assert query.columns == (
        Column("id", Type("bigint")),
        Column("balance", Type("bigint")),
        Column("created_at", Type("timestamptz")),
    )
    assert query.cardinality == "one per user found; or none"
    assert query.indexes == ("users_pkey", "users_username_key")


def test_load__nothing_but_none__empty_fields(write: Write) -> None:
    query = load(
        write(
            "-- accounts/find_users: do nothing\n-- Params:  none\n-- Locks:   none\n"
            "-- Rows:    none\n-- Index:   none, there is no table\nSELECT\n"
        )
    )
    assert (query.params, query.columns, query.indexes) == ((), (), ())
    assert (query.locks, query.cardinality) == ("none", "none")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bigint", Type("bigint", nullable=False, holds_nulls=False)),
        ("bigint?", Type("bigint", nullable=True, holds_nulls=False)),
        ("bigint[]", Type("bigint[]", nullable=False, holds_nulls=False)),
        ("bigint[]?", Type("bigint[]", nullable=True, holds_nulls=False)),
        ("bigint?[]", Type("bigint[]", nullable=False, holds_nulls=True)),
        ("bigint?[]?", Type("bigint[]", nullable=True, holds_nulls=True)),
    ],
)
def test_load__question_marks__what_may_be_null(write: Write, text: str, expected: Type) -> None:
    changed = GOOD.replace("$1 user_ids bigint[]", f"$1 user_ids {text}")
    query = load(write(changed.replace("balance bigint", f"balance {text}")))
    assert query.params[0] == Param("user_ids", expected)
    assert query.columns[1] == Column("balance", expected)


@pytest.mark.parametrize("text", ["?", "[]", "?text", "te?xt", "text??", "text[]??", "text?[]??"])
def test_load__question_marks_elsewhere__refused(write: Write, text: str) -> None:
    for old, new in (("$1 user_ids bigint[]", "$1 user_ids "), ("balance bigint", "balance ")):
        with pytest.raises(InvalidQueryFile, match="is not a type, with"):
            load(write(GOOD.replace(old, new + text)))


FIRST = "the first line must be '-- accounts/find_users: what it is for'"
FIELDS = "below the first line, the header must be Params, Locks, Rows, Index"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        # the first line
        ("-- accounts/find_users: read accounts by id,\n", "", FIRST),
        ("-- accounts/find_users", "-- accounts/find_user", FIRST),
        ("-- accounts/find_users", "-- find_users", FIRST),
        ("-- accounts/find_users", "-- accounts/Find_users", FIRST),
        ("-- accounts/find_users: read", "-- Purpose: read", FIRST),
        ("-- accounts/find_users: read", "-- read", FIRST),
        ("find_users: read accounts by id,", "find_users:", FIRST),
        ("find_users: read accounts by id,", "find_users", FIRST),
        ("-- accounts", "-- Params:  none\n-- accounts", FIRST),
        # the header
        ("-- Params", "-- params", FIELDS),
        ("-- Params", "--Params", FIELDS),
        ("-- Params", "-- Arguments", FIELDS),
        ("-- Params", "\n-- Params", FIELDS),
        ("-- accounts", "\n-- accounts", FIELDS),
        ("-- Params", "-- Author:  me\n-- Params", FIELDS),
        ("-- Params", "-- Purpose: to read\n-- Params", FIELDS),
        ("-- Locks:   users rows FOR NO KEY UPDATE,\n", "", FIELDS),
        ("-- Locks:   users rows", "-- Rows:    none\n-- Locks:   users rows", FIELDS),
        ("-- Index:", "\n-- Index:", FIELDS),
        ("-- Index:", "-- Indexes:", FIELDS),
        (GOOD, "", FIELDS),
        (GOOD, "SELECT 1", FIELDS),
        # Params
        ("$1 user_ids bigint[]", "$2 user_ids bigint[]", "is not like '$1 name type"),
        ("$2 usernames", "$3 usernames", "is not like '$2 name type"),
        ("$1 user_ids bigint[]  ", "user_ids bigint[]  ", "is not like '$1 name type"),
        ("$1 user_ids bigint[]   unique", "$1 user_ids", "is not like '$1 name type"),
        ("$1 user_ids bigint[]   unique", "$1 user_ids bigint[] unique", "is not like"),
        ("$1 user_ids", "$1 user-ids", "is not like '$1 name type"),
        ("$1 user_ids bigint[]   unique", "none", "is not like '$1 name type"),
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
def test_load__broken_contract__refused_naming_the_file(
    write: Write, old: str, new: str, problem: str
) -> None:
    assert old in GOOD
    path = write(GOOD.replace(old, new, 1))
    expected = re.escape(problem).replace(re.escape(".*"), ".*")
    with pytest.raises(InvalidQueryFile, match=rf"^sql/accounts/find_users\.sql: .*{expected}"):
        load(path)


def test_registry__one_broken_file__refused_naming_it(write: Write, tmp_path: Path) -> None:
    write(GOOD)
    (tmp_path / "accounts" / "lock_users.sql").write_text("SELECT 1")
    with pytest.raises(InvalidQueryFile, match=r"^sql/accounts/lock_users\.sql: "):
        Registry(tmp_path)


def test_registry__good_folder__found_by_attribute_and_by_name(
    write: Write, tmp_path: Path
) -> None:
    write(GOOD)
    registry: Any = Registry(tmp_path)  # which has no stubs
    [query] = registry
    assert query is registry.accounts.find_users
    assert query is registry.find("accounts/find_users")
    assert registry.find("accounts/find") is None
    with pytest.raises(AttributeError, match=r"there is no folder account$"):
        _ = registry.account
    with pytest.raises(AttributeError, match=r"there is no file accounts/find_user\.sql"):
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
async def test_call__wrong_arguments__type_error_before_anything_is_sent(
    arguments: dict[str, Any], problem: str
) -> None:
    nothing: Any = None
    with pytest.raises(TypeError, match=f"^{re.escape(problem)}$"):
        await queries.accounts.find_users(nothing, **arguments)


async def test_call__arguments_in_any_order__sent_by_number(write: Write) -> None:
    sent = []

    class Connection:
        async def fetch(self, query: str, *args: Any) -> list[Any]:
            sent.append((query, args))
            return []

        def is_in_transaction(self) -> bool:
            return False

        async def execute(self, query: str, /) -> str:
            raise NotImplementedError

        async def reload_schema_state(self) -> None: ...

    query: Query = load(write(GOOD))
    assert await query(Connection(), usernames=["ada"], user_ids=[1]) == []
    assert sent == [(GOOD, ([1], ["ada"]))]
