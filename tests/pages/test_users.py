"""The console's users: found, shown with their ledgers, created, changed, anonymised, and paid."""

import csv
import io
import re
from urllib.parse import urlencode

import pytest

from tests.support.console import KEY, Visitor, text_of
from tests.support.statements import counted
from tests.support.types import Connection

EVIL = "<script>alert('x')</script>"


@pytest.fixture
async def users(connection: Connection) -> None:
    """User 1 has 100.00 from two entries, user 2 has nothing, user 3 is hostile."""
    await connection.execute(
        """
        INSERT INTO users (username, name_key, email, email_key, first_name, last_name, balance)
        VALUES ('Ada', 'ada', 'ada@example.com', 'ada@example.com', 'Ada', 'Lovelace', 10000),
        ('bob', 'bob', NULL, NULL, '', '', 0),
        ($x$<script>alert('x')</script>$x$, $x$<script>alert('x')</script>$x$, NULL, NULL,
            $x$<script>alert('x')</script>$x$, '', 0);
        INSERT INTO invoices (user_id, amount, label, status, paid_at)
        VALUES (1, 2500, 'Work', 'paid', now());
        INSERT INTO ledger_entries (
            user_id, amount, balance_after, reason, reference, document_kind, document_id, contra,
            created_at
        ) VALUES
        (1, 7500, 7500, 'opening_balance', 'user:1', 'opening', 1, 'opening', '2026-03-01Z'),
        (1, 2500, 10000, 'invoice', 'invoice:1', 'invoice', 1, 'payables', '2026-03-10Z');
        """
    )


def ids(page: str) -> list[int]:
    """The ids of the users that a list shows."""
    return [int(found) for found in re.findall(r'<tr id="user-(\d+)"', page)]


def entries(page: str) -> int:
    """How many ledger entries a page shows."""
    return page.count('<tr id="entry-')


def key_of(page: str) -> str:
    """The key of the form on a page."""
    found = KEY.search(page)
    assert found is not None
    return found[1]


async def test_list__no_filters__newest_first_and_escaped(operator: Visitor, users: None) -> None:
    page = await operator.page("/users")
    assert ids(page) == [3, 2, 1]
    assert "100.00" in page
    assert EVIL not in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("username=AD", [1]),
        ("username=b", [2]),
        ("email=ada@", [1]),
        ("username=a&email=ada", [1]),
        ("username=b&email=ada", []),
        ("username=zoe", []),
        ("username=&email=", [3, 2, 1]),
    ],
)
async def test_list__how_names_begin__found(
    operator: Visitor, users: None, query: str, found: list[int]
) -> None:
    page = await operator.page(f"/users?{query}")
    assert ids(page) == found
    if not found:
        assert "No user matches" in page


@pytest.mark.parametrize(
    "query", ["username=" + "x" * 101, "email=%00", "other=1", "format=xml", "username=%ff%00"]
)
async def test_list__bad_filters__400_and_what_is_wrong(operator: Visitor, query: str) -> None:
    page = await operator.page(f"/users?{query}", status=400)
    assert 'class="problem"' in page


@pytest.mark.parametrize("cursor", ["%3F", "MTAw", "MS9hZGE%3D"])
async def test_list__a_cursor_of_our_own_making__400(operator: Visitor, cursor: str) -> None:
    await operator.page(f"/users?username=b&cursor={cursor}", status=400)


async def test_list__nothing_there__says_how_to_get_one(operator: Visitor) -> None:
    assert "No users yet" in await operator.page("/users")


@pytest.mark.parametrize("query", ["", "?username=user"])
async def test_list__many__pages_by_key_and_csv_of_all(
    operator: Visitor, connection: Connection, query: str
) -> None:
    await connection.execute(
        "INSERT INTO users (username, name_key) SELECT 'user-' || n, 'user-' || n "
        "FROM generate_series(1001, 2203) AS n"
    )
    seen: list[int] = []
    path = f"/users{query}"
    for _ in range(3):
        page = await operator.page(path)
        seen += ids(page)
        following = re.search(r'href="([^"]*)" rel="next"', page)
        assert following is not None
        path = following[1].replace("&amp;", "&")
    assert len(set(seen)) == len(seen) == 150
    response = await operator.get(f"/users{query}{'&' if query else '?'}format=csv")
    rows = [*csv.reader(io.StringIO(await response.text()))]
    assert rows[0][:3] == ["id", "username", "email"]
    assert [int(row[0]) for row in rows[1:151]] == seen
    assert len(rows) == 1204


async def test_user__the_page__profile_ledger_and_links_to_documents(
    operator: Visitor, users: None
) -> None:
    page = await operator.page("/users/1")
    assert entries(page) == 2
    assert 'href="/invoices/1"' in page
    assert "ada@example.com" in page
    assert "Anonymise…" in page
    assert EVIL not in await operator.page("/users/3")
    assert "Nothing has moved yet" in await operator.page("/users/2")


@pytest.mark.parametrize("given", ["99", "x", "0", "01", "-1", "9" * 30, "%00"])
@pytest.mark.parametrize("rest", ["", "/statement", "/change", "/anonymise", "/transfer"])
async def test_user__unknown__a_page_with_404(operator: Visitor, given: str, rest: str) -> None:
    assert "To the overview" in await operator.page(f"/users/{given}{rest}", status=404)


@pytest.mark.parametrize("query", ["cursor=x", "other=1", "format=xml"])
async def test_user__a_bad_query__400(operator: Visitor, users: None, query: str) -> None:
    await operator.page(f"/users/1?{query}", status=400)


async def test_user__ledger_as_csv__all_entries(operator: Visitor, users: None) -> None:
    response = await operator.get("/users/1?format=csv")
    rows = [*csv.reader(io.StringIO(await response.text()))]
    assert [row[2:] for row in rows[1:]] == [
        ["2500", "10000", "invoice", "invoice:1"],
        ["7500", "7500", "opening_balance", "user:1"],
    ]


@pytest.mark.parametrize(
    ("period", "opening", "closing", "shown"),
    [
        ("", "0.00", "100.00", 2),
        ("from=2026-03-02&to=2026-03-10", "75.00", "100.00", 1),
        ("to=2026-03-01", "0.00", "75.00", 1),
        ("from=2026-04-01", "100.00", "100.00", 0),
        ("from=2026-03-10T00:00:00Z", "75.00", "100.00", 1),
    ],
)
async def test_statement__a_period__balances_at_both_ends(
    operator: Visitor, users: None, period: str, opening: str, closing: str, shown: int
) -> None:
    page = await operator.page(f"/users/1/statement?{period}")
    told = text_of(page)
    assert f"Opening balance {opening} " in told
    assert f"Closing balance {closing} " in told
    assert entries(page) == shown
    if not shown:
        assert "Nothing moved in this time" in page


@pytest.mark.parametrize(
    "query", ["from=2026-04-01&to=2026-03-01", "from=x", "to=9999-12-31", "cursor=x", "other=1"]
)
async def test_statement__a_bad_period__400(operator: Visitor, users: None, query: str) -> None:
    await operator.page(f"/users/1/statement?{query}", status=400)


async def test_statement__many_entries__pages_oldest_first_and_csv(
    operator: Visitor, connection: Connection, users: None
) -> None:
    await connection.execute(
        """
        INSERT INTO ledger_entries (
            user_id, amount, balance_after, reason, reference, document_kind, document_id, contra
        ) SELECT 2, 1, n, 'invoice', 'invoice:' || n + 100, 'invoice', n + 100, 'payables'
        FROM generate_series(1, 60) AS n
        """
    )
    first = await operator.page("/users/2/statement")
    assert entries(first) == 50
    following = re.search(r'href="([^"]*)" rel="next"', first)
    assert following is not None
    second = await operator.page(following[1].replace("&amp;", "&"))
    assert entries(second) == 10
    assert "invoice:160" in second
    response = await operator.get("/users/2/statement?format=csv")
    assert 'filename="statement-2.csv"' in response.headers["Content-Disposition"]
    rows = [*csv.reader(io.StringIO(await response.text()))]
    assert [row[-1] for row in rows[1:]] == [f"invoice:{n + 100}" for n in range(1, 61)]
    empty = await operator.get("/users/3/statement?format=csv")
    assert (await empty.text()).splitlines() == [
        "id,created_at,amount,balance_after,reason,reference"
    ]


async def test_pages__statements__few_and_as_many_for_fifty_as_for_one(
    operator: Visitor, connection: Connection, users: None
) -> None:
    await operator.page("/users")  # connections are opened
    rail = {"console/count_waiting": 1, "subscriptions/count_failing": 1}
    for stem in ("few", "many"):
        with counted() as listed:
            await operator.page("/users")
        assert listed == {**rail, "accounts/list_users": 1}
        with counted() as one:
            await operator.page("/users/1")
        assert one == {
            **rail,
            "console/find_person": 1,
            "accounts/list_ledger": 1,
            "events/list_newest_events_by_subject": 1,
        }
        await connection.execute(
            "INSERT INTO users (username) SELECT $1 || n FROM generate_series(1, 60) AS n", stem
        )


async def test_create__a_new_user__leads_there_with_actor_and_event(
    operator: Visitor, connection: Connection, users: None
) -> None:
    key = key_of(await operator.page("/users/new"))
    fields = {
        "key": key,
        "username": "grace",
        "email": "grace@example.com",
        "first_name": "Grace",
        "opening_balance": "12.50",
    }
    for _ in range(2):
        page = await operator.follow(await operator.post("/users/new", fields))
        assert "User 4 was created." in page
        assert "12.50" in page
    assert await connection.fetchval("SELECT count(*) FROM users") == 4
    [event] = await connection.fetch("SELECT name, actor, payload::text FROM outbox")
    assert (event["name"], event["actor"]) == ("user.created", "console:ada")
    kept = await connection.fetchval(
        "SELECT string_agg(encode(body, 'escape'), '') FROM idempotency_keys"
    )
    assert "grace" not in kept + event["payload"]


async def test_create__a_name_that_is_taken__the_form_again_with_what_was_entered(
    operator: Visitor, users: None
) -> None:
    key = key_of(await operator.page("/users/new"))
    fields = {"key": key, "username": "ADA", "first_name": EVIL}
    response = await operator.post("/users/new", fields)
    page = await response.text()
    assert response.status == 409
    assert "Another user has this username" in page
    assert 'value="ADA"' in page
    assert EVIL not in page
    assert key_of(page) != key


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "Enter a username."),
        ({"username": "anonymous-1"}, "Must not begin with anonymous-"),
        ({"username": "x" * 101}, "Must have 1 to 100 characters."),
        ({"username": "x", "email": "x"}, "Must be an address"),
        ({"username": "x", "opening_balance": "-1"}, "Must be an amount"),
        ({"username": "x", "opening_balance": "9" * 40}, "Must be less."),
        ({"username": "x", "opening_balance": "1.234"}, "Must be an amount"),
        ({"username": "x", "other": "x"}, ""),
    ],
)
async def test_create__bad_fields__the_form_again(
    operator: Visitor, connection: Connection, fields: dict[str, str], problem: str
) -> None:
    key = key_of(await operator.page("/users/new"))
    response = await operator.post("/users/new", {"key": key, **fields})
    page = await response.text()
    assert response.status == 400
    assert problem in page
    assert key_of(page) == key
    assert await connection.fetchval("SELECT count(*) FROM users") == 0


async def test_change__some_fields__only_these_and_an_event_without_names(
    operator: Visitor, connection: Connection, users: None
) -> None:
    form = await operator.page("/users/1/change")
    await connection.execute("UPDATE users SET last_name = 'King' WHERE id = 1")  # meanwhile
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
    response = await operator.post("/users/1/change", fields | {"first_name": "Augusta"})
    page = await operator.follow(response)
    assert "User 1 was changed." in page
    assert "Augusta King" in page
    [event] = await connection.fetch("SELECT name, actor, payload->>'changed' AS c FROM outbox")
    assert tuple(event) == ("user.changed", "console:ada", '["first_name"]')


async def test_change__an_address_that_is_emptied__removed(
    operator: Visitor, connection: Connection, users: None
) -> None:
    form = await operator.page("/users/1/change")
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
    await operator.follow(await operator.post("/users/1/change", fields | {"email": ""}))
    assert await connection.fetchval("SELECT email FROM users WHERE id = 1") is None


async def test_change__an_address_that_is_taken__the_form_again(
    operator: Visitor, users: None
) -> None:
    fields = {"key": key_of(await operator.page("/users/2/change")), "email": "ADA@example.com"}
    response = await operator.post("/users/2/change", fields)
    assert response.status == 409
    assert "Another user has this address" in await response.text()


async def test_anonymise__confirmed__names_are_gone(
    operator: Visitor, connection: Connection, users: None
) -> None:
    key = key_of(await operator.page("/users/1/anonymise"))
    wrong = await operator.post("/users/1/anonymise", {"key": key, "confirm": "2"})
    assert wrong.status == 400
    assert await connection.fetchval("SELECT anonymised_at FROM users WHERE id = 1") is None
    response = await operator.post("/users/1/anonymise", {"key": key, "confirm": "1"})
    page = text_of(await operator.follow(response))
    assert "has no names and no address any more" in page
    assert "ada@example.com" not in page
    assert "Anonymise…" not in page
    actor = await connection.fetchval("SELECT actor FROM outbox WHERE name = 'user.anonymised'")
    assert actor == "console:ada"


async def test_transfer__checked_then_sent_twice__posted_once(
    operator: Visitor, connection: Connection, users: None
) -> None:
    fields = {"to": "2", "amount": "25.50", "label": EVIL, "reference": ""}
    page = await operator.page(f"/users/1/transfer?{urlencode(fields)}")
    assert "Transfer 25.50 EUR?" in page
    assert "bob, user 2" in page
    assert EVIL not in page
    key = key_of(await operator.page("/users/1/transfer"))
    for _ in range(2):  # by the back button, too, which loads the page again
        page = await operator.page(f"/users/1/transfer?{urlencode({**fields, 'key': key})}")
        sent = {**fields, "key": key_of(page)}
        told = await operator.follow(await operator.post("/users/1/transfer", sent))
        assert "Transferred 25.50 EUR from user 1 to user 2." in told
        assert EVIL not in told
    balances = await connection.fetch("SELECT balance FROM users WHERE id < 3 ORDER BY id")
    assert [row["balance"] for row in balances] == [7450, 2550]
    [event] = await connection.fetch("SELECT name, actor FROM outbox")
    assert tuple(event) == ("transfer.made", "console:ada")
    story = text_of(await operator.page("/transfers/1"))
    assert "Ledger entries" in story
    assert "transfer:1" in story
    assert 'href="/transfers/1"' in await operator.page("/users/2")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"to": "99"}, "There is no user 99."),
        ({"to": "1"}, "Must be another user."),
        ({"to": "x"}, "Must be a whole number"),
        ({"to": "9" * 30}, "Must be a whole number"),
        ({"amount": "0"}, "Must be an amount"),
        ({"amount": "NaN"}, "Must be an amount"),
        ({"label": ""}, "Say what it is for."),
        ({"label": "\x00"}, ""),
        ({"reference": "x" * 101}, "Length must be between 1 and 100."),
    ],
)
async def test_transfer__bad_fields__the_form_again(
    operator: Visitor, users: None, changes: dict[str, str], problem: str
) -> None:
    fields = {"to": "2", "amount": "5", "label": "Lunch", **changes}
    page = await operator.page(f"/users/1/transfer?{urlencode(fields)}", status=400)
    assert problem in text_of(page)
    posted = await operator.post(
        "/users/1/transfer", {**fields, "key": "01234567-0123-0123-0123-0123456789ab"}
    )
    assert posted.status in {400, 409}


async def test_transfer__too_much__refused_with_what_was_entered(
    operator: Visitor, users: None
) -> None:
    fields = {"to": "1", "amount": "5", "label": "Lunch"}
    page = await operator.page(f"/users/2/transfer?{urlencode(fields)}")
    response = await operator.post("/users/2/transfer", {**fields, "key": key_of(page)})
    told = await response.text()
    assert response.status == 409
    assert 'value="Lunch"' in told
    assert 'role="alert"' in told


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/users/new", {"username": "x"}),
        ("/users/1/change", {"first_name": "x"}),
        ("/users/1/anonymise", {"confirm": "1"}),
        ("/users/1/transfer", {"to": "2", "amount": "1", "label": "x"}),
    ],
)
async def test_forms__viewer_or_another_site_or_no_key__refused(
    operator: Visitor,
    viewer: Visitor,
    users: None,
    connection: Connection,
    path: str,
    fields: dict[str, str],
) -> None:
    given = {**fields, "key": "01234567-0123-0123-0123-0123456789ab"}
    assert (await viewer.post(path, given)).status == 403
    cross = await operator.post(path, given, {"Sec-Fetch-Site": "cross-site"})
    assert cross.status == 403
    assert (await operator.post(path, fields)).status == 400
    assert await connection.fetchval("SELECT count(*) FROM outbox") == 0


async def test_viewer__a_user__no_buttons(viewer: Visitor, users: None) -> None:
    for path in ("/users", "/users/1"):
        page = await viewer.page(path)
        assert "…</a>" not in page, path


async def test_refund__its_address__leads_to_its_order(operator: Visitor) -> None:
    await operator.page("/refunds/1", status=404)
    await operator.page("/transfers/1", status=404)
