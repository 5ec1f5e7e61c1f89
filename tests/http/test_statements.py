"""Statements of accounts, in pages and as CSV, and balances at a time."""

import csv
import io
import itertools
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientResponse
from yarl import URL

from rowlock.http.csv_lines import write_lines
from tests.support.contract import refusal
from tests.support.types import Client, Connection, OpenAccount

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
POST = """
    INSERT INTO ledger_entries (
        user_id, amount, balance_after, reason, reference, created_at,
        document_kind, document_id, contra)
    SELECT $1::bigint, amount, balance, 'order', 'order:' || number, at, 'order', number, 'sales'
    FROM unnest($2::bigint[], $3::bigint[], $4::timestamptz[], $5::bigint[])
        AS posted (amount, balance, at, number)"""


@pytest.fixture
async def ada(open_account: OpenAccount) -> int:
    return await open_account("ada", 0)


async def post(connection: Connection, user_id: int, first: int, count: int) -> None:
    """Post `count` credits of 10, one a day from START on; the first one has this number."""
    numbers = range(first, first + count)
    await connection.execute(
        POST,
        user_id,
        [10] * count,
        [10 * number for number in numbers],
        [START + DAY * (number - 1) for number in numbers],
        [user_id * 1_000_000 + number for number in numbers],
    )
    await connection.execute(
        "UPDATE users SET balance = $2 WHERE id = $1", user_id, 10 * numbers[-1]
    )


def in_utc(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def day(number: int) -> str:
    return in_utc(START + DAY * number)


async def get(client: Client, path: str, **query: object) -> dict[str, Any]:
    response = await client.get(path, params={name: str(text) for name, text in query.items()})
    assert response.status == 200, await response.text()
    answer: dict[str, Any] = await response.json()
    return answer


@pytest.mark.parametrize(
    ("period", "opening", "closing", "first", "last"),
    [
        ({}, 0, 100, 1, 10),
        ({"from": day(0)}, 0, 100, 1, 10),
        ({"from": day(3)}, 30, 100, 4, 10),
        ({"from": "2026-01-04T00:00:00.000001Z"}, 40, 100, 5, 10),
        ({"to": day(3)}, 0, 30, 1, 3),
        ({"to": "2026-01-04T00:00:00.000001Z"}, 0, 40, 1, 4),
        ({"from": day(2), "to": day(4)}, 20, 40, 3, 4),
        ({"from": "2026-01-03T01:00:00+01:00", "to": "2026-01-05t00:00:00z"}, 20, 40, 3, 4),
        ({"from": day(-9), "to": day(-8)}, 0, 0, 1, 0),
        ({"from": day(90), "to": day(99)}, 100, 100, 1, 0),
        ({"from": "0001-01-02T00:00:00Z", "to": "9999-12-31T00:00:00Z"}, 0, 100, 1, 10),
    ],
)
async def test_get_statement__period__its_balances_and_entries(
    commerce: Client,
    connection: Connection,
    ada: int,
    period: dict[str, str],
    opening: int,
    closing: int,
    first: int,
    last: int,
) -> None:
    await post(connection, ada, 1, 10)
    statement = await get(commerce, f"/user/{ada}/statement", **period)
    entries = statement.pop("entries")
    shown = {name: in_utc(datetime.fromisoformat(text.upper())) for name, text in period.items()}
    assert statement == {
        "user_id": ada,
        "from": None,
        "to": None,
        **shown,
        "opening_balance": opening,
        "closing_balance": closing,
    }
    assert [entry["balance_after"] for entry in entries] == [
        10 * number for number in range(first, last + 1)
    ]
    assert opening + sum(entry["amount"] for entry in entries) == closing
    ledger = await (await commerce.get(f"/user/{ada}/ledger")).json()
    assert [entry for entry in reversed(ledger) if entry in entries] == entries


async def follow(client: Client, path: str) -> list[dict[str, Any]]:
    pages = []
    url: str | URL | None = path
    while url is not None:
        response = await client.get(url)
        assert response.status == 200
        assert response.headers["Vary"] == "Accept"
        pages.append(await response.json())
        link = response.links.get("next")
        url = None if link is None else URL(str(link["url"])).relative()
    return pages


async def test_get_statement__entries_come_between_pages__the_period_stays(
    commerce: Client, connection: Connection, ada: int
) -> None:
    await post(connection, ada, 1, 7)
    response = await commerce.get(f"/user/{ada}/statement?from={day(1)}&limit=3")
    first = await response.json()
    await post(connection, ada, 8, 5)
    following = URL(str(response.links["next"]["url"])).relative()
    pages = [first, *await follow(commerce, str(following))]
    assert [len(page["entries"]) for page in pages] == [3, 3]
    assert {(page["opening_balance"], page["closing_balance"]) for page in pages} == {(10, 70)}
    balances = [entry["balance_after"] for page in pages for entry in page["entries"]]
    assert balances == [20, 30, 40, 50, 60, 70]
    assert (await get(commerce, f"/user/{ada}/statement"))["closing_balance"] == 120


@pytest.mark.parametrize("limit", [1, 2, 10, 11, 100])
async def test_get_statement__in_pages__every_entry_once(
    commerce: Client, connection: Connection, ada: int, limit: int
) -> None:
    await post(connection, ada, 1, 10)
    pages = await follow(commerce, f"/user/{ada}/statement?limit={limit}")
    ids = [entry["id"] for page in pages for entry in page["entries"]]
    assert ids == sorted(ids)
    assert len(ids) == 10


@pytest.mark.parametrize(
    "query",
    [
        {"from": day(1), "to": day(1)},
        {"from": day(2), "to": day(1)},
        {"from": "2026-01-01T01:00:00+01:00", "to": "2026-01-01T00:00:00Z"},
    ],
)
async def test_get_statement__no_period__400(
    commerce: Client, ada: int, query: dict[str, str]
) -> None:
    response = await commerce.get(f"/user/{ada}/statement", params=query)
    assert await refusal(response) == (400, "invalid_request")
    assert "to" in (await response.json())["details"]


@pytest.mark.parametrize("path", ["/user/{}/statement", "/user/{}/balance"])
async def test_statement__unknown_user__404(commerce: Client, ada: int, path: str) -> None:
    for accept in ("application/json", "text/csv"):
        response = await commerce.get(path.format(ada + 1), headers={"Accept": accept})
        assert await refusal(response) == (404, "user_not_found")
        assert (await response.json())["details"] == {"user_id": ada + 1}


async def test_get_statement__plus_of_an_offset_not_escaped__taken(
    commerce: Client, connection: Connection, ada: int
) -> None:
    await post(connection, ada, 1, 3)
    response = await commerce.get(URL(f"/user/{ada}/statement?from=2026-01-02T02:00:00+02:00"))
    assert (await response.json())["opening_balance"] == 10


# --- CSV ----------------------------------------------------------------------------------------


async def get_lines(response: ClientResponse) -> list[list[str]]:
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    text = (await response.read()).decode()
    assert text.count("\n") == text.count("\r\n")
    return [*csv.reader(io.StringIO(text, newline=""))]


async def test_get_csv__entries__all_of_the_period_as_the_ledger_has_them(
    commerce: Client, connection: Connection, ada: int
) -> None:
    await post(connection, ada, 1, 4500)
    path = f"/user/{ada}/statement?from={day(1)}"
    response = await commerce.get(path, headers={"Accept": "text/csv"})
    header, *lines = await get_lines(response)
    assert response.headers["Content-Disposition"] == f'attachment; filename="statement-{ada}.csv"'
    assert response.headers["Vary"] == "Accept"
    assert response.headers["X-Request-ID"]
    rows = await connection.fetch(
        "SELECT id, created_at, amount, balance_after, reason, reference FROM ledger_entries "
        "WHERE user_id = $1 ORDER BY id OFFSET 1",
        ada,
    )
    assert header == [*rows[0].keys()]
    assert lines == [[str(value) for value in shown(row)] for row in rows]


def shown(row: Any) -> list[object]:
    return [in_utc(value) if isinstance(value, datetime) else value for value in row]


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("text/csv", "text/csv"),
        ("text/*", "text/csv"),
        ("text/csv, application/json", "application/json"),
        ("text/csv, application/json;q=0.9", "text/csv"),
        ("text/csv;q=0.8, application/json;q=0.9", "application/json"),
        ("text/csv;q=0, */*", "application/json"),
        ("text/csv;charset=utf-8", "text/csv"),
        ("image/png", "application/json"),
    ],
)
async def test_statement__accept__decides(
    commerce: Client, ada: int, accept: str | None, media: str
) -> None:
    headers = {"Accept": accept} if accept else {}
    for method in ("GET", "HEAD"):
        response = await commerce.request(method, f"/user/{ada}/statement", headers=headers)
        assert response.status == 200
        assert response.content_type == media
        assert ("Content-Disposition" in response.headers) == (media == "text/csv")


async def test_head_csv__many_entries__headers_alone(
    commerce: Client, connection: Connection, ada: int
) -> None:
    await post(connection, ada, 1, 4500)
    accept = {"Accept": "text/csv"}
    response = await commerce.head(f"/user/{ada}/statement", headers=accept)
    assert (response.status, await response.read()) == (200, b"")
    # The connection is in order.
    assert len(await get_lines(await commerce.get(f"/user/{ada}/statement", headers=accept))) > 4500


def test_write_lines__texts__quoted_and_none_is_a_formula() -> None:
    rows: list[list[str | int]] = [
        ["=1+1", "+1", "-1", "@x", "\tx", "\r=1", " =1", "\uff1d1"],
        [-5, 'say "no"', "a,b", "a\nb", "é", ""],
    ]
    read = [*csv.reader(io.StringIO(write_lines(rows).decode(), newline=""))]
    assert read == [
        ["'=1+1", "'+1", "'-1", "'@x", "'\tx", "'\r=1", "' =1", "'\uff1d1"],
        ["-5", 'say "no"', "a,b", "a\nb", "é", ""],
    ]


# --- Balances -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "balance"),
    [
        (None, 100),
        ("2025-12-31T23:59:59.999999Z", 0),
        ("2026-01-01T00:00:00Z", 10),
        ("2026-01-03T23:59:59Z", 30),
        ("2026-01-04T00:00:00+00:00", 40),
        ("9999-12-31T00:00:00Z", 100),
    ],
)
async def test_get_balance__at_a_time__once_all_up_to_it_are_counted(
    commerce: Client, connection: Connection, ada: int, at: str | None, balance: int
) -> None:
    await post(connection, ada, 1, 10)
    answer = await get(commerce, f"/user/{ada}/balance", **({"at": at} if at else {}))
    shown_at = at and at.replace("+00:00", "Z")
    assert answer == {"user_id": ada, "balance": balance, "at": shown_at}


@pytest.mark.parametrize("at", ["", "x", "2026-01-01", "2026-01-01T00:00:00", "infinity", "%00"])
async def test_get_balance__no_time__400(commerce: Client, ada: int, at: str) -> None:
    response = await commerce.get(URL(f"/user/{ada}/balance?at={at}", encoded=True))
    assert await refusal(response) == (400, "invalid_request")


@pytest.mark.parametrize("seed", range(3))
async def test_statements__of_adjoining_periods__fit_each_other_and_the_balances(
    commerce: Client, connection: Connection, ada: int, seed: int
) -> None:
    rng = random.Random(seed)
    await post(connection, ada, 1, 40)
    bounds = sorted(rng.sample(range(-5, 50), 6))
    statements = [
        await get(commerce, f"/user/{ada}/statement?limit=100", **{"from": day(a), "to": day(b)})
        for a, b in itertools.pairwise(bounds)
    ]
    for earlier, later in itertools.pairwise(statements):
        assert earlier["closing_balance"] == later["opening_balance"]
    for statement in statements:
        moved = sum(entry["amount"] for entry in statement["entries"])
        assert statement["opening_balance"] + moved == statement["closing_balance"]
        before = datetime.fromisoformat(statement["to"]) - timedelta.resolution
        answer = await get(commerce, f"/user/{ada}/balance", at=in_utc(before))
        assert answer["balance"] == statement["closing_balance"]
