"""mypy knows the statements in sql/: what does not fit a header is an error where it is written."""

import re
from pathlib import Path

import mypy.api
import pytest

ROOT = Path(__file__).parents[2]

RIGHT = """\
from datetime import datetime, timedelta

from rowlock.engine.database import Connection
from rowlock.engine.statements import queries
from rowlock.ops.drill.statements import queries as drill

KEEP = timedelta(1)


async def right(connection: Connection, names: list[str], ids: frozenset[int]) -> None:
    accounts = await queries.accounts.lock_users(connection, user_ids=[1])
    balance: int = accounts[0]["balance"]
    await queries.accounts.lock_users(connection, user_ids=ids)
    await queries.accounts.lock_users(connection, user_ids=(balance,))
    await queries.accounts.lock_users_by_name(
        connection, usernames=names, name_keys=[]
    )
    await queries.accounts.create_users(
        connection, usernames=["ada", "grace"], name_keys=["ada", None]
    )
    for row in await queries.invoices.list_user_invoices(
        connection,
        user_id=1,
        statuses={"paid"},
        since=datetime.min,
        until=datetime.max,
        before=2,
        page_size=3,
    ):
        paid_at: datetime | None = row["paid_at"]
        print(paid_at)
    for deployment in await queries.projects.list_deployments(
        connection, places=range(1, 17), tops=[None] * 16
    ):
        print(deployment["total"] + 1)
    [counted] = await drill.drill.count_pending_orders(connection)
    print(counted["pending"] + 1, queries.accounts.lock_users.purpose.title())


async def wrong(connection: Connection) -> None:
    [user] = await queries.accounts.find_users(connection, user_ids=[1])
    [invoice] = await queries.invoices.find_invoices(connection, invoice_ids=[1])
    [deleted] = await queries.idempotency.purge_answers(connection, keep=KEEP, page_size=1)
"""

# A line each, and words of the error that it is.
WRONG = {
    # misspelt: folder, statement, argument, column
    "await queries.acounts.find_users(connection, user_ids=[1])": 'no attribute "acounts"',
    "await queries.accounts.find_user(connection, user_ids=[1])": 'no attribute "find_user"',
    "await queries.accounts.find_users(connection, usre_ids=[1])": 'argument "usre_ids"',
    'user["balanse"]': 'No overload variant of "__getitem__"',
    'deleted["deleted"]': "expected type \"Literal['purged']\"",
    "await drill.drill.count_orders(connection)": 'no attribute "count_orders"',
    # an argument missing, too many, not by name
    "await queries.accounts.find_users(connection)": 'Missing named argument "user_ids"',
    "await queries.accounts.find_users(user_ids=[1])": 'Missing positional argument "connection"',
    "await queries.accounts.find_users(connection, user_ids=[1], page=1)": 'argument "page"',
    "await queries.accounts.find_users(connection, [1])": "Too many positional arguments",
    "await queries.wakes.notify(connection, payload='x')": 'argument "payload"',
    # an argument of another type: int for text, text for text[] and bigint[], null for what is not
    "await queries.leases.release(connection, name=1, epoch=1)": '"int"; expected "str"',
    "await queries.leases.release(connection, name='x', epoch='1')": '"str"; expected "int"',
    "await queries.leases.release(connection, name=None, epoch=1)": '"None"; expected "str"',
    "await queries.benefits.find_shoppers(connection, usernames='ada', name_keys=[])": (
        '"Array[str]"'
    ),
    "await queries.accounts.find_users(connection, user_ids=['1'])": 'expected "int"',
    "await queries.accounts.find_users(connection, user_ids=['1'].copy())": '"Array[int]"',
    "await queries.accounts.find_users(connection, user_ids=[1, None])": 'expected "int"',
    "await queries.accounts.find_users(connection, user_ids=None)": '"Array[int]"',
    "await queries.accounts.find_users('postgresql:///x', user_ids=[1])": 'expected "Executor"',
    # a column as another type, and as if it were never null
    "username: int = user['first_name']": '"str", variable has type "int"',
    "invoice['paid_at'].year": 'Item "None"',
    # a row by position, and what a record does otherwise than a dictionary
    "user[0]": 'No overload variant of "__getitem__"',
    "deleted[0]": "Invalid index type",
    "user_id, *_ = user": '"FindUsersRow" object is not iterable',
    "user_id, first_name, last_name, balance = user": "object is not iterable",
    "for _, *others in [user]: pass": "object is not iterable",
    "for column in user: pass": 'no attribute "__iter__"',
    "[*user]": "Expected iterable",
    "'id' in user": "Unsupported right operand type for in",
    "user | {'id': 1}": "No overload variant",
    "user.copy()": 'no attribute "copy"',
    "dict(user)": "No overload variant",
    "dict(**user)": "Unpacked dict entry",
}


def test_mypy__snippets__errors_where_they_do_not_fit_the_headers_and_nowhere_else(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    module = tmp_path / "snippets.py"
    module.write_text(RIGHT + "".join(f"    {line}\n" for line in WRONG))
    cache = tmp_path_factory.mktemp("mypy")
    output, problem, _ = mypy.api.run(
        ["--config-file=setup.cfg", f"--cache-dir={cache}", "--no-error-summary", str(module)]
    )
    assert problem == ""
    errors: dict[int, str] = {}
    for path, number, text in re.findall(r"^(.*?):(\d+): error: (.*)$", output, re.MULTILINE):
        assert Path(path).name == module.name, output
        errors[int(number)] = errors.get(int(number), "") + text
    first = RIGHT.count("\n") + 1
    assert errors.keys() == set(range(first, first + len(WRONG))), output
    for (line, words), error in zip(
        WRONG.items(), (errors[n] for n in sorted(errors)), strict=True
    ):
        assert words in error, line
