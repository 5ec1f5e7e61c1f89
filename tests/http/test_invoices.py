"""Invoices: issue, read, list, pay."""

import itertools
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.contract import INSTANT, next_page, refusal, told, walk, within
from tests.support.types import Client, Connection, OpenAccount, Unchanged

MAXIMUM = 2**53 - 1

Issue = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def issue(commerce: Client) -> Issue:
    """Issue an invoice and return it."""

    async def issue_one(user_id: int, amount: int = 11350, label: str = "Work") -> dict[str, Any]:
        body = {"user_id": user_id, "amount": amount, "label": label}
        response = await commerce.post("/invoices", json=body)
        assert response.status == 201
        issued: dict[str, Any] = await response.json()
        return issued

    return issue_one


async def test_create_invoice__good__201_and_told(
    commerce: Client, connection: Connection, ada: int
) -> None:
    body = {"user_id": ada, "amount": 11350, "label": "Work for April"}
    response = await commerce.post("/invoices", json=body)
    assert response.status == 201
    assert within(commerce, response.headers["Location"]) == "/invoices/1"
    invoice = await response.json()
    assert INSTANT.fullmatch(invoice.pop("created_at"))
    assert invoice == {"id": 1, **body, "status": "pending", "paid_at": None}
    assert await told(connection, "invoice.created") == [
        ("invoice:1", {"invoice_id": 1, **body}),
    ]
    assert await connection.fetchval("SELECT balance FROM users") == 500_00


@pytest.mark.parametrize(
    ("amount", "label"),
    [
        (1, "x"),
        (10**12, "\N{GRINNING FACE}" * 500),
        (1, "\n\tfirst\r\nsecond\n"),
        (1, " \u200b."),
        (1, "\\u0000"),
        (1, "'; DROP TABLE invoices --"),
        (1, "{}"),
        (1, "\uffff\ufdd0\u2028\u202e"),
    ],
)
async def test_create_invoice__extremes__read_back_as_given(
    commerce: Client, ada: int, issue: Issue, amount: int, label: str
) -> None:
    created = await issue(ada, amount, label)
    assert (created["amount"], created["label"]) == (amount, label)
    response = await commerce.get(f"/invoices/{created['id']}")
    assert (response.status, await response.json()) == (200, created)


@pytest.mark.parametrize(
    "label", [":", r"\u003a", r"\u003A", r"\\u003a", r"\":", r"\u0022:", r":::\\"]
)
@pytest.mark.parametrize("colon", [":", " : ", "\n:\t"])
async def test_create_invoice__colons_in_every_spelling__taken_unless_a_name_is_given_twice(
    commerce: Client, ada: int, label: str, colon: str
) -> None:
    once = f'{{"user_id": {ada}, "amount"{colon}999, "label"{colon}"{label}"}}'
    headers = {"Content-Type": "application/json"}
    response = await commerce.post("/invoices", data=once, headers=headers)
    assert response.status == 201
    assert (await response.json())["label"] == json.loads(once)["label"]
    twice = once.replace("{", f'{{"amount"{colon}1, ')
    response = await commerce.post("/invoices", data=twice, headers=headers)
    assert await refusal(response) == (400, "invalid_request")
    assert list((await response.json())["details"]) == ["amount"]


@pytest.mark.parametrize("user_id", [2, MAXIMUM])
async def test_create_invoice__unknown_user__404_and_nothing_changed(
    commerce: Client, ada: int, unchanged: Unchanged, user_id: int
) -> None:
    body = {"user_id": user_id, "amount": 1, "label": "x"}
    async with unchanged():
        response = await commerce.post("/invoices", json=body)
    assert await refusal(response) == (404, "user_not_found")
    assert (await response.json())["details"] == {"user_id": user_id}


@pytest.mark.parametrize(("method", "suffix"), [("GET", ""), ("POST", "/pay")])
@pytest.mark.parametrize("invoice_id", [1, MAXIMUM])
async def test_invoice__unknown__404(
    commerce: Client, unchanged: Unchanged, method: str, suffix: str, invoice_id: int
) -> None:
    async with unchanged():
        response = await commerce.request(method, f"/invoices/{invoice_id}{suffix}")
    assert await refusal(response) == (404, "invoice_not_found")
    assert (await response.json())["details"] == {"invoice_id": invoice_id}


@pytest.mark.parametrize("body", [None, b"", b"{}"])
async def test_pay_invoice__pending__paid_credited_and_told(
    commerce: Client, connection: Connection, ada: int, issue: Issue, body: bytes | None
) -> None:
    created = await issue(ada)
    headers = {"Content-Type": "application/json"} if body else {}
    response = await commerce.post("/invoices/1/pay", data=body, headers=headers)
    assert response.status == 200
    paid = await response.json()
    assert INSTANT.fullmatch(paid["paid_at"])
    assert paid == created | {"status": "paid", "paid_at": paid["paid_at"]}
    assert await (await commerce.get("/invoices/1")).json() == paid
    assert (await (await commerce.get(f"/user/{ada}")).json())["balance"] == 613_50
    [entry, _] = await (await commerce.get(f"/user/{ada}/ledger")).json()
    assert (entry["amount"], entry["balance_after"]) == (113_50, 613_50)
    assert (entry["reason"], entry["reference"]) == ("invoice", "invoice:1")
    [(subject, payload)] = await told(connection, "invoice.paid")
    assert subject == "invoice:1"
    assert payload == {
        "invoice_id": 1,
        "user_id": ada,
        "amount": 113_50,
        "label": "Work",
        "invoice_created_at": created["created_at"],
        "paid_at": paid["paid_at"],
        "balance_after": 613_50,
    }


async def test_pay_invoice__paid_already__409_and_nothing_changed(
    commerce: Client, ada: int, issue: Issue, unchanged: Unchanged
) -> None:
    await issue(ada)
    assert (await commerce.post("/invoices/1/pay")).status == 200
    async with unchanged():
        response = await commerce.post("/invoices/1/pay")
    assert await refusal(response) == (409, "invoice_already_paid")


async def test_pay_invoice__balance_over_the_limit__409_and_nothing_changed(
    commerce: Client, open_account: OpenAccount, issue: Issue, unchanged: Unchanged
) -> None:
    user_id = await open_account("ada", MAXIMUM - 10)
    too_much, just_right = await issue(user_id, 11), await issue(user_id, 10)
    async with unchanged():
        response = await commerce.post(f"/invoices/{too_much['id']}/pay")
    assert await refusal(response) == (409, "balance_limit_exceeded")
    response = await commerce.post(f"/invoices/{just_right['id']}/pay")
    assert response.status == 200
    assert (await (await commerce.get(f"/user/{user_id}")).json())["balance"] == MAXIMUM
    shown = await (await commerce.get("/api/users/ada")).text()
    assert '"balance":90071992547409.91,' in shown


@pytest.fixture
async def invoices(
    commerce: Client, open_account: OpenAccount, issue: Issue
) -> list[dict[str, Any]]:
    """Invoices of two users, some of them paid, newest first."""
    users = [await open_account("ada"), await open_account("grace")]
    found: list[dict[str, Any]] = []
    for number in range(12):
        invoice = await issue(users[number % 2], number + 1)
        if number % 3 == 0:
            response = await commerce.post(f"/invoices/{invoice['id']}/pay")
            invoice = await response.json()
        found.insert(0, invoice)
    return found


@pytest.mark.parametrize("limit", [None, 1, 5, 12, 100])
async def test_list_invoices__any_filters_in_pages__every_match_once(
    commerce: Client, invoices: list[dict[str, Any]], limit: int | None
) -> None:
    for user_id, status in itertools.product((None, 1, 2, 3), (None, "pending", "paid")):
        query = {"user_id": user_id, "status": status, "limit": limit}
        given = "&".join(f"{name}={value}" for name, value in query.items() if value is not None)
        pages = await walk(commerce, f"/invoices?{given}")
        matching = [
            invoice
            for invoice in invoices
            if user_id in {None, invoice["user_id"]} and status in {None, invoice["status"]}
        ]
        assert [invoice for page in pages for invoice in page] == matching, given
        assert all(len(page) == limit for page in pages[:-1])
        assert pages[-1] or not matching  # no link leads to nothing


async def test_list_invoices__next_page__link_keeps_the_filters(
    commerce: Client, invoices: list[dict[str, Any]]
) -> None:
    response = await commerce.get("/invoices?status=pending&user_id=1&limit=2")
    following = next_page(response)
    assert following.path == "/invoices"
    cursor = following.query["cursor"]
    expected = {"status": "pending", "user_id": "1", "limit": "2", "cursor": cursor}
    assert dict(following.query) == expected


async def test_list_invoices__no_limit_said__twenty(
    commerce: Client, connection: Connection, ada: int
) -> None:
    await connection.execute(
        "INSERT INTO invoices (user_id, amount, label) "
        "SELECT $1, 1, 'x' FROM generate_series(1, 21)",
        ada,
    )
    assert [len(page) for page in await walk(commerce, "/invoices")] == [20, 1]
