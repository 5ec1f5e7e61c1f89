"""docs/moving-in.md, run as it is written, from a database as others have it: with mistakes."""

import asyncio
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from rowlock.ops.drill.processes import environment
from tests.support import documents
from tests.support.databases import cloned
from tests.support.documents import MOVING_IN
from tests.support.processes import Service

GUIDE = "docs/moving-in.md"
LEGACY = """
    CREATE TABLE customers (
        id integer PRIMARY KEY, login text, mail text, full_name text, joined timestamp
    );
    CREATE TABLE bills (
        number text PRIMARY KEY, customer_id integer, total numeric(12, 2), description text,
        issued timestamp, cancelled boolean
    );
    CREATE TABLE payments (
        id serial PRIMARY KEY, customer_id integer, bill_number text, amount numeric(12, 2)
    );
    INSERT INTO customers VALUES
        (1, 'ada', 'Ada@Example.com ', 'Ada King Lovelace', '2019-03-31 02:30:00'),
        (2, ' grace', '', 'Grace', '2020-01-01'),
        (3, 'ADA', NULL, NULL, NULL),
        (4, 'édith', 'shared@example.com', 'Édith "La Môme" Piaf', '2021-05-05 12:00:00.123456'),
        (5, 'piaf, e.', 'SHARED@example.com', '  ', '2021-05-05'),
        (6, 'debtor', 'debtor@example.com', 'De Btor', '2022-02-22'),
        (900, 'late', 'late@example.com', 'Late Comer', '2024-01-01');
    INSERT INTO bills VALUES
        ('B-1', 1, 113.45, 'Work for April', '2023-04-30', false),
        ('B-2', 1, 200.00, E'Work,\\nin two lines', '2023-05-31', false),
        ('B-3', 4, 50.10, ' ', '2023-06-30', false),
        ('B-4', 4, 10.00, 'A mistake', '2023-06-30', true),
        ('B-5', 900, 0.01, 'A cent', '2024-02-29', false);
    INSERT INTO payments (customer_id, bill_number, amount) VALUES
        (1, 'B-1', 113.45), (1, 'B-2', 50.00), (1, NULL, -13.44),
        (4, NULL, 0.29), (6, NULL, -5.00), (900, NULL, 19.99)"""
BALANCES = {"ada": 15_001, "grace": 0, "ada-3": 0, "édith": 29, "piaf, e.": 0, "debtor": 0,
            "late": 1999}  # fmt: skip
INVOICES = [
    ("ada", 15_000, "Work,\nin two lines", "B-2"),
    ("édith", 5010, "Bill B-3", "B-3"),
    ("late", 1, "A cent", "B-5"),
]


@pytest.fixture
def legacy_url(server_url: str) -> Iterator[str]:
    """The old system's database."""
    with cloned(server_url, "template1") as url:
        with psycopg.connect(url) as connection:
            connection.execute(LEGACY)
        yield url


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode()).fetchall()


async def test_moving_in__commands_of_the_guide__balances_and_open_bills_have_moved(
    legacy_url: str,
    empty_database_url: str,
    events_database_url: str,
    tmp_path: Path,
) -> None:
    settings: dict[str, Any] = {
        "database_url": empty_database_url,
        "events_database_url": events_database_url,
    }
    variables = environment(**settings) | {
        "LEGACY_DATABASE_URL": legacy_url,
        "PATH": documents.search_path(),
    }

    async def run(script: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", script),
            cwd=tmp_path,
            env=variables,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await process.communicate())[0].decode()
        # The server of the tests has fsync off, which doctor reports.
        assert process.returncode == 0 or "durability: fsync is off" in output, output
        return output

    blocks = [block for block in documents.blocks(GUIDE) if block.mark == MOVING_IN]
    [shown] = [block.text for block in documents.blocks(GUIDE) if block.language == "text"]
    migrate, export, dry_run, fix, load, verify, back = [block.text for block in blocks]
    await run(migrate)
    await run(export)
    assert await run(dry_run) == f"{shown}There is something to fix.\n"
    assert query(empty_database_url, "SELECT count(*) FROM users") == [(0,)]
    await run(fix)
    assert await run(load) == ("Imported 7 users.\nImported 3 invoices.\nImported 2 products.\n")
    output = await run(verify)
    assert [line for line in output.splitlines() if line.startswith("FAIL")] == [
        line for line in output.splitlines() if "fsync is off" in line
    ]
    assert dict(query(empty_database_url, "SELECT username, balance FROM users")) == BALANCES
    assert query(
        empty_database_url,
        "SELECT username, amount, label, reference FROM invoices "
        "JOIN users ON users.id = user_id WHERE status = 'pending' ORDER BY invoices.id",
    ) == INVOICES  # fmt: skip
    people = query(
        empty_database_url,
        "SELECT id, first_name, last_name, email, created_at::text FROM users "
        "WHERE id IN (1, 4, 900) ORDER BY id",
    )
    assert people[:2] == [
        (1, "Ada", "King Lovelace", "ada@example.com", "2019-03-31 02:30:00+00"),
        (4, "Édith", '"La Môme" Piaf', "shared@example.com", "2021-05-05 12:00:00.123456+00"),
    ]
    # The old system's ids are kept, and new ones come after them.
    assert query(empty_database_url, "SELECT nextval('users_id_seq')") == [(901,)]
    # The imported rows do what others do.
    async with Service("commerce", **settings) as service, aiohttp.ClientSession() as session:
        [(invoice_id,)] = query(
            empty_database_url, "SELECT id FROM invoices WHERE reference = 'B-2'"
        )
        async with session.post(f"{service.url}/invoices/{invoice_id}/pay", json={}) as response:
            assert response.status == 200, await response.text()
        async with session.get(f"{service.url}/user/1") as response:
            assert (await response.json())["balance"] == BALANCES["ada"] + 15_000
    await run(back)
    with (tmp_path / "since.csv").open(newline="") as file:
        [entry] = csv.DictReader(file)
    assert (entry["user_id"], entry["amount"], entry["reason"]) == ("1", "15000", "invoice")
    with (tmp_path / "invoices-back.csv").open(newline="") as file:
        statuses = {row["reference"]: row["status"] for row in csv.DictReader(file)}
    assert statuses == {"B-2": "paid", "B-3": "pending", "B-5": "pending"}
    # Importing the same files again adds nothing.
    again = "rowlock import users users.csv --skip-existing"
    assert await run(again) == "Imported 0 users; 7 were there already.\n"
