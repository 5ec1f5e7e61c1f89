"""Invoices: issue, read, list, pay."""

import asyncio
import io
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from rowlock.invoices.rules import STATUSES
from rowlock.settings import Settings
from tests.support.contract import INSTANT, next_page, refusal, told, walk, within
from tests.support.money import assert_documents_posted, assert_money_conserved
from tests.support.types import Client, Connection, OpenAccount, Serve, Unchanged

MAXIMUM = 2**53 - 1

# How an invoice comes to each status.
CHANGES = [[], ["pay"], ["void"], ["pay", "reverse"], []]
# What an invoice shows of itself until there is more to tell.
NOTHING_MORE = {"voided_at": None, "reversed_at": None, "reference": None, "metadata": None}

Issue = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def issue(commerce: Client) -> Issue:
    """Issue an invoice and return it."""

    async def issue_one(
        user_id: int, amount: int = 11350, label: str = "Work", **more: Any
    ) -> dict[str, Any]:
        body = {"user_id": user_id, "amount": amount, "label": label, **more}
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
    assert invoice == {"id": 1, **body, "status": "pending", "paid_at": None, **NOTHING_MORE}
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


@pytest.mark.parametrize(
    ("method", "suffix"), [("GET", ""), ("POST", "/pay"), ("POST", "/void"), ("POST", "/reverse")]
)
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


async def test_create_invoice__reference_and_metadata__shown_and_found(
    commerce: Client, ada: int, issue: Issue
) -> None:
    noted = {"reference": "2026-0042", "metadata": {"project": "17", "a": ""}}
    created = await issue(ada, **noted)
    assert created == created | noted
    assert await (await commerce.get("/invoices/1")).json() == created
    assert await walk(commerce, "/invoices?reference=2026-0042") == [[created]]
    assert await walk(commerce, "/invoices?reference=2026-0043") == [[]]
    paid = await (await commerce.post("/invoices/1/pay")).json()
    assert paid == paid | noted


async def test_create_invoice__reference_taken__409_and_nothing_changed(
    commerce: Client, ada: int, issue: Issue, unchanged: Unchanged
) -> None:
    await issue(ada, reference="mine")
    body = {"user_id": ada, "amount": 1, "label": "x", "reference": "mine"}
    async with unchanged():
        response = await commerce.post("/invoices", json=body)
    assert await refusal(response) == (409, "reference_taken")
    assert (await response.json())["details"] == {"reference": "mine"}


async def test_create_invoice__one_reference_many_at_once_at_two_processes__one_is_issued(
    serve: Serve, connection: Connection, ada: int
) -> None:
    processes = [await serve(), await serve()]
    bodies = [
        {"user_id": ada, "amount": 1, "label": "x", "reference": f"r-{number % 5}"}
        for number in range(100)
    ]
    responses = await asyncio.gather(
        *(process.post("/invoices", json=body) for body in bodies for process in processes)
    )
    created = [response for response in responses if response.status == 201]
    refused = {await refusal(response) for response in responses if response.status != 201}
    assert len(created) == 5
    assert refused == {(409, "reference_taken")}
    assert await connection.fetchval("SELECT count(DISTINCT reference) FROM invoices") == 5


async def test_void_invoice__pending__void_told_and_never_paid(
    commerce: Client, connection: Connection, ada: int, issue: Issue, unchanged: Unchanged
) -> None:
    created = await issue(ada)
    response = await commerce.post("/invoices/1/void")
    assert response.status == 200
    void = await response.json()
    assert INSTANT.fullmatch(void["voided_at"])
    assert void == created | {"status": "void", "voided_at": void["voided_at"]}
    assert await (await commerce.get("/invoices/1")).json() == void
    assert await told(connection, "invoice.voided") == [
        (
            "invoice:1",
            {
                "invoice_id": 1,
                "user_id": ada,
                "amount": 113_50,
                "label": "Work",
                "invoice_created_at": created["created_at"],
                "voided_at": void["voided_at"],
            },
        )
    ]
    async with unchanged():
        for change, code in (
            ("pay", "invoice_not_pending"),
            ("void", "invoice_not_pending"),
            ("reverse", "invoice_not_paid"),
        ):
            response = await commerce.post(f"/invoices/1/{change}")
            assert await refusal(response) == (409, code)
            assert (await response.json())["details"] == {"invoice_id": 1, "status": "void"}


async def test_reverse_invoice__paid__reversed_debited_and_told(
    commerce: Client, connection: Connection, ada: int, issue: Issue, unchanged: Unchanged
) -> None:
    await issue(ada)
    paid = await (await commerce.post("/invoices/1/pay")).json()
    response = await commerce.post("/invoices/1/reverse")
    assert response.status == 200
    undone = await response.json()
    assert INSTANT.fullmatch(undone["reversed_at"])
    assert undone == paid | {"status": "reversed", "reversed_at": undone["reversed_at"]}
    assert await (await commerce.get("/invoices/1")).json() == undone
    assert (await (await commerce.get(f"/user/{ada}")).json())["balance"] == 500_00
    [entry, *_] = await (await commerce.get(f"/user/{ada}/ledger")).json()
    assert (entry["amount"], entry["balance_after"]) == (-113_50, 500_00)
    assert (entry["reason"], entry["reference"]) == ("reversal", "reversal:1")
    assert entry["created_at"] == undone["reversed_at"]
    assert await told(connection, "invoice.reversed") == [
        (
            "invoice:1",
            {
                "invoice_id": 1,
                "user_id": ada,
                "amount": 113_50,
                "label": "Work",
                "invoice_created_at": paid["created_at"],
                "balance_after": 500_00,
                "reversed_at": undone["reversed_at"],
            },
        )
    ]
    async with unchanged():
        for change, code in (
            ("pay", "invoice_already_paid"),
            ("void", "invoice_not_pending"),
            ("reverse", "invoice_not_paid"),
        ):
            assert await refusal(await commerce.post(f"/invoices/1/{change}")) == (409, code)


async def test_reverse_invoice__pending_or_spent__409_and_nothing_changed(
    commerce: Client, connection: Connection, ada: int, issue: Issue, unchanged: Unchanged
) -> None:
    await issue(ada)
    async with unchanged():
        response = await commerce.post("/invoices/1/reverse")
    assert await refusal(response) == (409, "invoice_not_paid")
    assert (await commerce.post("/invoices/1/pay")).status == 200
    await connection.execute("UPDATE users SET balance = 11349")
    async with unchanged():
        response = await commerce.post("/invoices/1/reverse")
    assert await refusal(response) == (409, "insufficient_balance")
    assert (await response.json())["details"] == {"balance": 113_49, "amount": 113_50}


async def test_invoice__paid_voided_and_reversed_at_once_by_two_processes__each_once(
    serve: Serve, connection: Connection, ada: int
) -> None:
    """An invoice ends void, paid or reversed, and the ledger says the same."""
    processes = [await serve(), await serve()]
    body = {"user_id": ada, "amount": 100, "label": "x"}
    ids = [(await (await processes[0].post("/invoices", json=body)).json())["id"] for _ in range(9)]
    changes = ("pay", "void", "reverse", "reverse", "pay")
    responses = await asyncio.gather(
        *(
            processes[(number + id_) % 2].post(f"/invoices/{id_}/{change}")
            for number, change in enumerate(changes)
            for id_ in ids
        )
    )
    assert {response.status for response in responses} <= {200, 409}
    changed = Counter(response.url.path for response in responses if response.status == 200)
    assert set(changed.values()) == {1}
    assert all(
        (f"/invoices/{id_}/void" in changed) != (f"/invoices/{id_}/pay" in changed) for id_ in ids
    )
    await assert_money_conserved(connection)
    await assert_documents_posted(connection)


async def test_create_invoices__some_against_the_rules__each_by_itself_in_order(
    commerce: Client, connection: Connection, ada: int, issue: Issue
) -> None:
    await issue(ada, reference="taken")
    good = {"user_id": ada, "amount": 100, "label": "Work"}
    wanted = [
        good,
        good | {"user_id": 99},
        good | {"reference": "taken"},
        good | {"reference": "mine", "metadata": {"project": "17"}},
        good | {"reference": "mine"},
        good,
    ]
    response = await commerce.post("/invoices/batch", json={"invoices": wanted})
    assert response.status == 200
    outcomes = (await response.json())["outcomes"]
    shown = [outcome.get("invoice") or outcome["error"]["error"] for outcome in outcomes]
    # The one with a reference draws its id first: decision 0067.
    assert [each if isinstance(each, str) else each["id"] for each in shown] == [
        3,
        "user_not_found",
        "reference_taken",
        2,
        "reference_taken",
        4,
    ]
    alone = await commerce.post("/invoices", json=wanted[1])
    assert outcomes[1]["error"] == await alone.json()
    for outcome in (outcomes[0], outcomes[3], outcomes[5]):
        invoice = outcome["invoice"]
        assert await (await commerce.get(f"/invoices/{invoice['id']}")).json() == invoice
    assert len({outcomes[number]["invoice"]["created_at"] for number in (0, 3, 5)}) == 1
    assert len(await told(connection, "invoice.created")) == 4


async def test_create_invoices__a_malformed_one__400_saying_which_and_nothing_changed(
    commerce: Client, ada: int, unchanged: Unchanged
) -> None:
    good = {"user_id": ada, "amount": 100, "label": "Work"}
    wanted = [good] * 17 + [good | {"amount": "1"}]
    async with unchanged():
        response = await commerce.post("/invoices/batch", json={"invoices": wanted})
        assert await refusal(response) == (400, "invalid_request")
        assert [*(await response.json())["details"]] == ["invoices.17.amount"]
        for count in (0, 1001):
            response = await commerce.post("/invoices/batch", json={"invoices": [good] * count})
            assert await refusal(response) == (400, "invalid_request")
            assert [*(await response.json())["details"]] == ["invoices"]


async def test_create_invoices__a_thousand_long_ones__all_issued_and_replayed(
    commerce: Client, connection: Connection, ada: int
) -> None:
    wanted = [
        {"user_id": ada, "amount": number, "label": "\u00e9" * 500, "reference": f"r-{number}"}
        for number in range(1, 1001)
    ]
    headers = {"Idempotency-Key": "thousand"}
    answers = []
    for _ in range(2):
        response = await commerce.post(
            "/invoices/batch",
            data=io.BytesIO(json.dumps({"invoices": wanted}, ensure_ascii=False).encode()),
            headers=headers | {"Content-Type": "application/json"},
        )
        assert response.status == 200
        answers.append(await response.read())
    assert answers[0] == answers[1]
    outcomes = json.loads(answers[0])["outcomes"]
    assert [outcome["invoice"]["amount"] for outcome in outcomes] == [*range(1, 1001)]
    assert await connection.fetchval("SELECT count(*) FROM invoices") == 1000


async def test_create_invoices__in_chunks__as_long_as_any(
    commerce: Client, ada: int, settings: Settings
) -> None:
    body = {"invoices": [{"user_id": ada, "amount": 1, "label": "Work"}]}
    blanks = b" " * (settings.http.body_bytes + 1)

    async def send(times: int) -> AsyncIterator[bytes]:
        yield json.dumps(body).encode()
        for _ in range(times):
            yield blanks

    headers = {"Content-Type": "application/json"}
    response = await commerce.post("/invoices/batch", data=send(1), headers=headers)
    assert response.status == 200
    times = settings.http.invoices_body_bytes // len(blanks) + 1
    response = await commerce.post("/invoices/batch", data=send(times), headers=headers)
    assert await refusal(response) == (413, "body_too_large")
    response = await commerce.post("/invoices", data=send(1), headers=headers)
    assert await refusal(response) == (413, "body_too_large")


async def test_create_invoices__same_references_at_two_processes__each_is_given_once(
    serve: Serve, connection: Connection, ada: int
) -> None:
    """Meanwhile taken by the other: that one alone is refused, and the rest is issued."""
    processes = [await serve(), await serve()]
    batches = [
        [
            {"user_id": ada, "amount": 1, "label": "x", "reference": f"r-{(number + shift) % 40}"}
            for number in range(10)
        ]
        for shift in range(0, 40, 4)
    ]
    responses = await asyncio.gather(
        *(
            process.post("/invoices/batch", json={"invoices": batch})
            for batch in batches
            for process in processes
        )
    )
    assert {response.status for response in responses} <= {200, 503}
    outcomes = [
        outcome
        for response in responses
        if response.status == 200
        for outcome in (await response.json())["outcomes"]
    ]
    issued = [outcome["invoice"]["reference"] for outcome in outcomes if "invoice" in outcome]
    assert len(issued) == len(set(issued))
    assert {outcome["error"]["error"] for outcome in outcomes if "error" in outcome} == {
        "reference_taken"
    }
    assert await connection.fetchval("SELECT count(*) FROM invoices") == len(issued)


@pytest.fixture
async def invoices(
    commerce: Client, open_account: OpenAccount, issue: Issue
) -> list[dict[str, Any]]:
    """Invoices of two users, in all statuses, newest first."""
    users = [await open_account("ada"), await open_account("grace")]
    found: list[dict[str, Any]] = []
    for number in range(12):
        invoice = await issue(users[number % 2], number + 1, reference=f"r-{number}")
        for change in CHANGES[number % len(CHANGES)]:
            response = await commerce.post(f"/invoices/{invoice['id']}/{change}")
            invoice = await response.json()
        found.insert(0, invoice)
    return found


@pytest.mark.parametrize("limit", [None, 1, 5, 12, 100])
async def test_list_invoices__any_filters_in_pages__every_match_once(
    commerce: Client, invoices: list[dict[str, Any]], limit: int | None
) -> None:
    for user_id, status in itertools.product((None, 1, 2, 3), (None, *STATUSES)):
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


@pytest.mark.parametrize("limit", [1, 5])
async def test_list_invoices__a_period__those_of_it_in_pages(
    commerce: Client, connection: Connection, invoices: list[dict[str, Any]], limit: int
) -> None:
    # Not in the order of the ids, and some at the same time.
    for invoice in invoices:
        day = invoice["id"] * 5 % 7 + 1
        await connection.execute(
            "UPDATE invoices SET created_at = make_date(2026, 3, $2) WHERE id = $1",
            invoice["id"],
            day,
        )
        invoice["created_at"] = f"2026-03-{day:02}T00:00:00Z"
    invoices.sort(key=lambda invoice: (invoice["created_at"], invoice["id"]), reverse=True)
    bounds = (None, "2026-03-02T00:00:00Z", "2026-03-06T01:00:00%2B01:00", "2026-03-07T00:00:00Z")
    days = {None: None, bounds[1]: 2, bounds[2]: 6, bounds[3]: 7}
    for since, until, user_id, status in itertools.product(
        bounds, bounds, (None, 2), (None, "pending", "reversed")
    ):
        query = {"from": since, "to": until, "user_id": user_id, "status": status, "limit": limit}
        given = "&".join(f"{name}={value}" for name, value in query.items() if value is not None)
        expected = [
            invoice["id"]
            for invoice in invoices
            if (days[since] or 0) <= int(invoice["created_at"][8:10]) < (days[until] or 99)
            and user_id in {None, invoice["user_id"]}
            and status in {None, invoice["status"]}
        ]
        pages = await walk(commerce, f"/invoices?{given}")
        assert [invoice["id"] for page in pages for invoice in page] == expected, given
        assert all(len(page) == limit for page in pages[:-1])


async def test_list_invoices__by_reference__with_any_other_filter(
    commerce: Client, invoices: list[dict[str, Any]]
) -> None:
    wanted = invoices[2]
    address = f"/invoices?reference={wanted['reference']}"
    other_user = 3 - wanted["user_id"]
    for more, found in (
        ("", True),
        (f"&user_id={wanted['user_id']}&status={wanted['status']}", True),
        (f"&from={wanted['created_at']}", True),
        (f"&user_id={other_user}", False),
        ("&status=void" if wanted["status"] != "void" else "&status=paid", False),
        (f"&to={wanted['created_at']}", False),
    ):
        assert await walk(commerce, address + more) == [[wanted] if found else []], more


async def test_list_invoices__the_last_of_a_page_is_deleted__goes_on_after_it(
    commerce: Client, connection: Connection, ada: int, issue: Issue
) -> None:
    for _ in range(6):
        await issue(ada)
    following = next_page(await commerce.get("/invoices?limit=3"))
    await connection.execute("DELETE FROM invoices WHERE id = 4")
    response = await commerce.get(following.path_qs)
    assert [invoice["id"] for invoice in await response.json()] == [3, 2, 1]


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
