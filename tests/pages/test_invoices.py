"""The console's invoices: listed, issued one by one and by lines, paid, made void, and reversed."""

import csv
import io
import re

import pytest
from aiohttp import ClientResponse

from tests.support.console import KEY, Visitor, text_of
from tests.support.statements import counted
from tests.support.types import Connection

EVIL = "<script>alert('x')</script>"
NO_KEY = "01234567-0123-0123-0123-0123456789ab"


@pytest.fixture
async def invoices(connection: Connection) -> None:
    """Invoices of user 1: 1 is paid, 2 and 3 are pending, 4 is void."""
    await connection.execute(
        """
        INSERT INTO users (username, balance) VALUES ($x$<script>alert('x')</script>$x$, 11350);
        INSERT INTO invoices (user_id, amount, label, status, paid_at, voided_at, reference) VALUES
        (1, 11350, 'Work for April', 'paid', now(), NULL, '2026-0042'),
        (1, 2000, $x$<script>alert('x')</script>$x$, 'pending', NULL, NULL, NULL),
        (1, 3000, 'More', 'pending', NULL, NULL, NULL),
        (1, 4000, 'Never', 'void', NULL, now(), NULL);
        INSERT INTO ledger_entries (
            user_id, amount, balance_after, reason, reference, document_kind, document_id, contra,
            actor
        ) VALUES (1, 11350, 11350, 'invoice', 'invoice:1', 'invoice', 1, 'payables', 'key:billing')
        """
    )


def ids(page: str) -> list[int]:
    """The ids of the invoices that a list shows."""
    return [int(found) for found in re.findall(r'<tr id="invoice-(\d+)"', page)]


def key_of(page: str) -> str:
    """The key of the form on a page."""
    found = KEY.search(page)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("sort=oldest+first", [1, 2, 3, 4]),
        ("sort=oldest+first&status=pending&user=1", [2, 3]),
        ("sort=oldest+first&reference=2026-0042", [1]),
        ("", [4, 3, 2, 1]),
        ("status=pending", [3, 2]),
        ("user=1&status=paid", [1]),
        ("user=2", []),
        ("reference=2026-0042", [1]),
        ("reference=unknown", []),
        ("to=2020-01-01", []),
        ("status=&user=", [4, 3, 2, 1]),
    ],
)
async def test_list__filters_of_the_url__applied(
    operator: Visitor, invoices: None, query: str, found: list[int]
) -> None:
    page = await operator.page(f"/invoices?{query}")
    assert ids(page) == found
    assert EVIL not in page
    if not found:
        assert "No invoice matches" in page


@pytest.mark.parametrize(
    "query",
    ["user=x", "status=odd", "from=yesterday", "other=1", "user=-1", "sort=odd", "format=xml"],
)
async def test_list__bad_filters__400_and_what_is_wrong(operator: Visitor, query: str) -> None:
    assert 'class="problem"' in await operator.page(f"/invoices?{query}", status=400)


async def test_list__nothing_there__says_what_would_be(operator: Visitor) -> None:
    assert "No invoices yet" in await operator.page("/invoices")


async def test_list__many__pages_by_key_and_csv_of_all(
    operator: Visitor, connection: Connection, invoices: None
) -> None:
    await connection.execute(
        "INSERT INTO invoices (user_id, amount, label, status) "
        "SELECT 1, 1, 'x', 'pending' FROM generate_series(1, 1100)"
    )
    first = await operator.page("/invoices")
    following = re.search(r'href="([^"]*)" rel="next"', first)
    assert following is not None
    second = await operator.page(following[1].replace("&amp;", "&"))
    assert ids(first) + ids(second) == [*range(1104, 1004, -1)]
    oldest = "/invoices?sort=oldest+first"
    seen = ids(await operator.page(oldest))
    following = re.search(r'href="([^"]*)" rel="next"', await operator.page(oldest))
    assert following is not None
    seen += ids(await operator.page(following[1].replace("&amp;", "&")))
    assert seen == [*range(1, 101)]
    response = await operator.get(f"{oldest}&format=csv")
    rows = [*csv.reader(io.StringIO(await response.text()))]
    assert [int(row[0]) for row in rows[1:]] == [*range(1, 1105)]
    response = await operator.get("/invoices?status=pending&format=csv")
    rows = [*csv.reader(io.StringIO(await response.text()))]
    assert rows[0][0] == "id"
    assert [int(row[0]) for row in rows[1:]] == [*range(1104, 4, -1), 3, 2]


async def test_pages__statements__few_and_as_many_for_fifty_as_for_one(
    operator: Visitor, connection: Connection, invoices: None
) -> None:
    for path in ("/invoices", "/invoices/1"):
        await operator.page(path)  # connections are opened
    rail = {"console/count_waiting": 1, "subscriptions/count_failing": 1}
    for _ in range(2):
        with counted() as listed:
            await operator.page("/invoices")
        assert listed == {**rail, "invoices/list_invoices": 1, "console/find_usernames": 1}
        await connection.execute(
            "INSERT INTO invoices (user_id, amount, label, status) "
            "SELECT 1, 1, 'x', 'pending' FROM generate_series(1, 60)"
        )
    with counted() as one:
        await operator.page("/invoices/1")
    assert one == {
        **rail,
        "invoices/find_invoices": 1,
        "console/find_usernames": 1,
        "console/find_entries": 1,
        "events/list_newest_events_by_subject": 1,
        "subscriptions/find_cursor": 1,
    }
    marked = "&".join(f"invoice={number}" for number in range(5, 65))
    with counted() as many:
        await operator.page(f"/invoices/marked/pay?{marked}")
    assert many["invoices/find_invoices"] <= 2  # the first one goes alone


async def test_invoice__its_page__facts_entries_and_story(
    operator: Visitor, invoices: None, log: Connection
) -> None:
    await log.execute(
        "INSERT INTO events (event_id, name, subject, payload, actor, created_at) "
        "VALUES (gen_random_uuid(), 'invoice.paid', 'invoice:1', '{}', $1, now())",
        EVIL,
    )
    page = await operator.page("/invoices/1")
    told = text_of(page)
    assert "113.50" in told
    assert "invoice.paid, event" in told
    assert "key:billing" in told
    assert EVIL not in page
    assert "Reverse…" in told
    assert "Pay…" not in told
    assert "Pay…" in text_of(await operator.page("/invoices/2"))
    assert "Nothing has moved" in await operator.page("/invoices/2")


async def test_invoice__deliveries_of_its_events__in_the_story(
    operator: Visitor, invoices: None, log: Connection
) -> None:
    await log.execute(
        """
        INSERT INTO events (event_id, name, subject, payload, created_at)
        VALUES (gen_random_uuid(), 'invoice.created', 'invoice:2', '{}', now());
        INSERT INTO subscriptions (url, names, secret, created_by, starts_after)
        VALUES ('https://hooks.example/<b>', '{*}', 's', 'token', 0);
        INSERT INTO deliveries
        (subscription_id, event_id, name, status, attempts, problem, due_at, finished_at)
        SELECT 1, max(id), 'invoice.created', 'pending', 3, 'http_500', now() + '1 h', NULL
        FROM events;
        INSERT INTO deliveries
        (subscription_id, event_id, name, status, attempts, problem, due_at, finished_at)
        SELECT 1, max(id), 'invoice.created', 'delivered', 1, NULL, NULL, now() FROM events
        """
    )
    page = text_of(await operator.page("/invoices/2"))
    assert "Delivery has failed, and is tried again to https://hooks.example/<b>" in page
    assert "3 attempts · http_500" in page
    assert "Delivered to https://hooks.example/<b>" in page
    part = await operator.page("/invoices/2?part=invoice")
    assert "<b>" not in part.replace("</b>", "")


@pytest.mark.parametrize("given", ["99", "x", "0", "01", "-1", "9" * 30, "%00"])
@pytest.mark.parametrize("rest", ["", "/pay"])
async def test_invoice__unknown__a_page_with_404(operator: Visitor, given: str, rest: str) -> None:
    await operator.page(f"/invoices/{given}{rest}", status=404)


async def test_invoice__an_unknown_act__404(operator: Visitor, invoices: None) -> None:
    for path in ("/invoices/1/burn", "/invoices/marked/burn"):
        await operator.page(path, status=404)
        assert (await operator.post(path, {"key": NO_KEY})).status == 404


@pytest.mark.parametrize(
    ("path", "told", "event", "balance"),
    [
        ("/invoices/2/pay", "Invoice 2 was paid.", "invoice.paid", 13350),
        ("/invoices/2/void", "Invoice 2 was made void.", "invoice.voided", 11350),
        ("/invoices/1/reverse", "Invoice 1 was reversed.", "invoice.reversed", 0),
    ],
)
async def test_act__sent_twice__done_once_with_actor_and_event(
    operator: Visitor,
    connection: Connection,
    invoices: None,
    path: str,
    told: str,
    event: str,
    balance: int,
) -> None:
    key = key_of(await operator.page(path))
    for _ in range(2):
        page = await operator.follow(await operator.post(path, {"key": key}))
        assert told in page
    [written] = await connection.fetch("SELECT name, actor FROM outbox")
    assert tuple(written) == (event, "console:ada")
    assert await connection.fetchval("SELECT balance FROM users") == balance
    refused = await operator.act(path)
    assert "Refused." in refused


async def test_marked__some_can_be_paid__asked_with_a_count_then_paid(
    operator: Visitor, connection: Connection, invoices: None
) -> None:
    page = await operator.page("/invoices/marked/pay?invoice=2&invoice=3&invoice=4&invoice=99")
    assert "Pay 2 invoices, 50.00 EUR in all?" in text_of(page)
    assert re.findall(r'name="invoice" value="(\d+)"', page) == ["2", "3"]
    body = f"key={key_of(page)}&invoice=2&invoice=3"
    for _ in range(2):
        told = await operator.follow(await post_text(operator, "/invoices/marked/pay", body))
        assert "2 invoices were paid." in told
    assert await connection.fetchval("SELECT balance FROM users") == 16350
    assert await connection.fetchval("SELECT count(*) FROM outbox") == 2


async def test_marked__one_is_paid_meanwhile__told_and_the_others_done(
    operator: Visitor, connection: Connection, invoices: None
) -> None:
    page = await operator.page("/invoices/marked/void?invoice=2&invoice=3")
    await operator.act("/invoices/3/pay")
    body = f"key={key_of(page)}&invoice=2&invoice=3"
    told = await operator.follow(await post_text(operator, "/invoices/marked/void", body))
    assert "1 invoice was made void. 1 refused: Invoice 3 is paid, not pending." in told
    statuses = await connection.fetch("SELECT status FROM invoices ORDER BY id")
    assert [row["status"] for row in statuses] == ["paid", "void", "paid", "void"]


@pytest.mark.parametrize(
    "query",
    ["", "invoice=x", "invoice=-1", "&".join(f"invoice={n}" for n in range(1, 102))],
)
async def test_marked__none_or_too_many__400(operator: Visitor, query: str) -> None:
    await operator.page(f"/invoices/marked/pay?{query}", status=400)
    body = f"key={NO_KEY}&{query}"
    assert (await post_text(operator, "/invoices/marked/pay", body)).status == 400


async def test_marked__none_of_them_pending__says_so(operator: Visitor, invoices: None) -> None:
    page = await operator.page("/invoices/marked/pay?invoice=1")
    assert "None of them is pending" in page
    assert 'class="main' not in page


async def test_issue__one__leads_there(
    operator: Visitor, connection: Connection, invoices: None
) -> None:
    page = await operator.page("/invoices/new?user=1")
    assert 'value="1"' in page
    fields = {"user_id": "1", "amount": "1,234.50", "label": EVIL, "key": key_of(page)}
    for _ in range(2):
        told = await operator.follow(await operator.post("/invoices/new", fields))
        assert "Invoice 5 was issued." in told
        assert "1,234.50" in told
        assert EVIL not in told
    [event] = await connection.fetch("SELECT name, actor FROM outbox")
    assert tuple(event) == ("invoice.created", "console:ada")


@pytest.mark.parametrize(
    ("changes", "status", "problem"),
    [
        ({"user_id": "99"}, 409, "There is no user 99."),
        ({"reference": "2026-0042"}, 409, "has this reference"),
        ({"user_id": ""}, 400, "Enter the id of a user."),
        ({"user_id": "9" * 30}, 400, "Must be a whole number"),
        ({"amount": "x"}, 400, "Must be an amount"),
        ({"amount": "9" * 30}, 400, "Must be less."),
        ({"label": " "}, 400, "Say what it is for."),
        ({"label": "x" * 501}, 400, "Length must be"),
    ],
)
async def test_issue__bad_fields__the_form_again_with_what_was_entered(
    operator: Visitor, invoices: None, changes: dict[str, str], status: int, problem: str
) -> None:
    key = key_of(await operator.page("/invoices/new"))
    fields = {"user_id": "1", "amount": "5", "label": "Work", "key": key, **changes}
    response = await operator.post("/invoices/new", fields)
    page = await response.text()
    assert response.status == status
    assert problem in text_of(page)
    assert f'value="{fields["amount"]}"' in page


async def test_lines__some_refused__told_by_their_place(
    operator: Visitor, connection: Connection, invoices: None
) -> None:
    lines = 'user_id,amount,label,reference\r\n1,5.00,"Work, more",A-1\r\n\r\n99,1,x\r\n1,2,y,A-1'
    fields = {"lines": lines, "key": key_of(await operator.page("/invoices/lines"))}
    for _ in range(2):
        told = text_of(await operator.follow(await operator.post("/invoices/lines", fields)))
        assert "Issued 1 of 3 invoices. 2 refused, by their place among the lines:" in told
        assert "2: There is no user 99." in told
    assert await connection.fetchval("SELECT label FROM invoices WHERE id > 4") == "Work, more"


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("", "Paste a line or more."),
        ("user_id,amount,label", "Paste a line or more."),
        ("1,x,y", "Line 1: amount: Must be an amount"),
        ("1,1,y\nx,1,y", "Line 2: user_id: Must be a whole number"),
        ("1,1,y,z,z", "Line 1: has more than 4 columns."),
        ("1", "Line 1: "),
        ("1,1,\u200b", "Line 1: "),
        ("1,1,x\n" * 1001, "Paste 1,000 lines at most: here are 1,001."),
    ],
)
async def test_lines__bad_ones__nothing_is_issued(
    operator: Visitor, connection: Connection, invoices: None, lines: str, problem: str
) -> None:
    fields = {"lines": lines, "key": key_of(await operator.page("/invoices/lines"))}
    response = await operator.post("/invoices/lines", fields)
    assert response.status == 400
    assert problem in text_of(await response.text())
    assert await connection.fetchval("SELECT count(*) FROM invoices") == 4


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/invoices/new", {"user_id": "1", "amount": "1", "label": "x"}),
        ("/invoices/lines", {"lines": "1,1,x"}),
        ("/invoices/2/pay", {}),
        ("/invoices/marked/pay", {"invoice": "2"}),
    ],
)
async def test_forms__viewer_or_another_site_or_no_key__refused(
    operator: Visitor,
    viewer: Visitor,
    invoices: None,
    connection: Connection,
    path: str,
    fields: dict[str, str],
) -> None:
    given = {**fields, "key": NO_KEY}
    assert (await viewer.post(path, given)).status == 403
    cross = await operator.post(path, given, {"Sec-Fetch-Site": "cross-site"})
    assert cross.status == 403
    assert (await operator.post(path, fields)).status == 400
    assert await connection.fetchval("SELECT count(*) FROM outbox") == 0


async def test_viewer__invoices__no_buttons_and_no_boxes(viewer: Visitor, invoices: None) -> None:
    for path in ("/invoices", "/invoices/2"):
        page = await viewer.page(path)
        assert "…</a>" not in page, path
        assert "checkbox" not in page, path


async def post_text(visitor: Visitor, path: str, body: str) -> ClientResponse:
    """Send a form in which a field comes several times."""
    pairs = [pair.partition("=") for pair in body.split("&") if pair]
    return await visitor.post(path, [(name, text) for name, _, text in pairs])
