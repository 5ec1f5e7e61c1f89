"""Users: finding, creating, changing and anonymising them, in minor units."""

import asyncio
from typing import Any

import pytest
from aiohttp import ClientResponse
from pytest_aiohttp.plugin import AiohttpClient
from yarl import URL

from rowlock.services import COMMERCE
from rowlock.settings import Settings
from tests.support.contract import INSTANT, next_page, refusal, told, walk, within
from tests.support.money import assert_money_conserved
from tests.support.polling import until
from tests.support.roles import create_app
from tests.support.services import quiet
from tests.support.types import Client, Connection, Unchanged

ADA = {
    "username": "Ada",
    "email": "Ada@Example.com",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "opening_balance": 500_00,
}
NO_NAMES = {"email": None, "first_name": "", "last_name": ""}


async def create(client: Client, **fields: Any) -> ClientResponse:
    headers = keyed(fields.pop("key", None))
    return await client.post("/users", json=fields, headers=headers)


async def change(client: Client, user_id: int, key: str | None = None, **fields: Any) -> Any:
    return await client.patch(f"/users/{user_id}", json=fields, headers=keyed(key))


async def anonymise(client: Client, user_id: int, key: str | None = None) -> ClientResponse:
    return await client.post(f"/users/{user_id}/anonymise", headers=keyed(key))


def keyed(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Idempotency-Key": key}


async def find(client: Client, **query: Any) -> list[str]:
    """The names of the users on the first page."""
    response = await client.get(URL("/users").with_query(query))
    assert response.status == 200
    return [user["username"] for user in await response.json()]


# --- create ---------------------------------------------------------------------------------------


async def test_create_user__all_fields__201_with_its_opening_entry_and_event(
    commerce: Client, connection: Connection
) -> None:
    response = await create(commerce, **ADA)
    assert response.status == 201
    user = await response.json()
    assert within(commerce, response.headers["Location"]) == f"/user/{user['user_id']}"
    assert INSTANT.fullmatch(user["created_at"])
    assert user == {
        "user_id": 1,
        "username": "Ada",
        "email": "Ada@Example.com",
        "first_name": "Ada",
        "last_name": "Lovelace",
        "balance": 500_00,
        "created_at": user["created_at"],
        "anonymised_at": None,
    }
    assert await (await commerce.get("/users")).json() == [user]
    shown = await (await commerce.get("/user/1")).json()
    assert shown == {name: user[name] for name in ("user_id", "first_name", "last_name", "balance")}
    [entry] = await (await commerce.get("/user/1/ledger")).json()
    assert (entry["amount"], entry["reason"], entry["reference"]) == (
        *(500_00, "opening_balance"),
        "user:1",
    )
    assert entry["created_at"] >= user["created_at"]
    assert await told(connection, "user.created") == [("user:1", {"user_id": 1, "balance": 500_00})]
    shopper = (await (await commerce.get("/api/users/ADA")).json())["user"]
    assert shopper == {"user_id": "Ada", "data": {"balance": 500, "product_ids": []}}


@pytest.mark.parametrize(
    "others", [{}, {"email": None, "first_name": None, "last_name": None, "opening_balance": None}]
)
async def test_create_user__username_alone__nothing_else_and_no_entry(
    commerce: Client, connection: Connection, others: dict[str, None]
) -> None:
    response = await create(commerce, username="Zoe\u0301", **others)
    assert response.status == 201
    user = await response.json()
    assert user["username"] == "Zo\u00e9"
    assert {name: user[name] for name in NO_NAMES} == NO_NAMES
    assert user["balance"] == 0
    assert await connection.fetchval("SELECT count(*) FROM ledger_entries") == 0


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"username": "ada"}, "username_taken"),
        ({"username": "\uff21da", "email": "x@example.com"}, "username_taken"),
        ({"username": "grace", "email": "ADA@example.COM"}, "email_taken"),
        ({"username": "ada", "email": "ada@example.com"}, "username_taken"),
    ],
)
async def test_create_user__name_or_address_is_another_users__409_and_nothing_changed(
    commerce: Client, unchanged: Unchanged, fields: dict[str, str], code: str
) -> None:
    assert (await create(commerce, **ADA)).status == 201
    async with unchanged():
        response = await create(commerce, **fields)
    assert await refusal(response) == (409, code)
    text = await response.text()
    assert not any(given in text for given in fields.values())


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"username": "anonymous-7"}, "username"),
        ({"username": "ANONYMOUS-x"}, "username"),
        ({"username": "anonymous\u20107"}, "username"),
        ({"username": " ada"}, "username"),
        ({"username": "a\u200bda"}, "username"),
        ({"username": "ada", "email": "ada"}, "email"),
        ({"username": "ada", "email": "ada @example.com"}, "email"),
        ({"username": "ada", "first_name": "\u200b"}, "first_name"),
        ({"username": "ada", "first_name": "\u202eevil"}, "first_name"),
        ({"username": "ada", "last_name": "King\u2066"}, "last_name"),
        ({"username": "ada", "first_name": "x" * 201}, "first_name"),
        ({"username": "ada", "opening_balance": -1}, "opening_balance"),
        ({"username": "ada", "opening_balance": 2**53}, "opening_balance"),
    ],
)
async def test_create_user__not_valid__400_that_names_the_field(
    commerce: Client, unchanged: Unchanged, fields: dict[str, Any], at: str
) -> None:
    async with unchanged():
        response = await create(commerce, **fields)
    assert await refusal(response) == (400, "invalid_request")
    assert list((await response.json())["details"]) == [at]


async def test_create_user__the_same_names_at_two_services_at_once__one_201_each(
    aiohttp_client: AiohttpClient,
    commerce: Client,
    database_url: str,
    settings: Settings,
    connection: Connection,
) -> None:
    second = await aiohttp_client(create_app(quiet(COMMERCE), settings, database_url))
    responses = await asyncio.gather(
        *(
            create(client, username=f"{name}-{number}", email=f"{number}@{name}.example")
            for number in range(20)
            for client in (commerce, second)
            for name in ("user", "USER")
        )
    )
    assert sorted(response.status for response in responses) == [201] * 20 + [409] * 60
    assert await connection.fetchval("SELECT count(*) FROM users") == 20


# --- find -----------------------------------------------------------------------------------------

NAMES = ["Ada", "adam", "ADAM2", "Adele", "b_b", "b%b", "b\\b", "bob", "\u00e9mile", "\u5c71\u7530"]


@pytest.fixture
async def people(commerce: Client) -> None:
    for number, name in enumerate(NAMES):
        # The addresses are in the opposite order, and every third user has none.
        email = None if number % 3 == 2 else f"{chr(122 - number)}.{name}@Example.com"
        assert (await create(commerce, username=name, email=email)).status == 201


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"username": "ada"}, ["Ada", "adam", "ADAM2"]),
        ({"username": "ADA"}, ["Ada", "adam", "ADAM2"]),
        ({"username": "ad"}, ["Ada", "adam", "ADAM2", "Adele"]),
        ({"username": "\uff41DA "}, ["Ada", "adam", "ADAM2"]),
        ({"username": "b%"}, ["b%b"]),
        ({"username": "b_"}, ["b_b"]),
        ({"username": "b\\"}, ["b\\b"]),
        ({"username": "E\u0301"}, ["\u00e9mile"]),
        ({"username": "\u5c71"}, ["\u5c71\u7530"]),
        ({"username": "%"}, []),
        ({"username": "x" * 100}, []),
        ({"username": "anonymous-"}, []),
        ({"username": "\U0010ffff"}, []),
        ({"email": "Z.ADA@"}, ["Ada"]),
        ({"email": "y"}, ["adam"]),
        ({"email": "z%"}, []),
        ({"username": "ad", "email": "w"}, ["Adele"]),
        ({"username": "ad", "email": "z.ada@example.com"}, ["Ada"]),
        ({"username": "b", "email": "z"}, []),
        ({"username": "adam2", "email": "x"}, []),  # has no address
    ],
    ids=ascii,
)
async def test_list_users__beginnings__those_users_in_order(
    commerce: Client, query: dict[str, str], found: list[str]
) -> None:
    assert await find(commerce, **query) == found


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@pytest.mark.parametrize("query", ["", "username=a", "username=b", "email=y", "username=a&email=z"])
async def test_list_users__in_pages__every_user_once_and_links_keep_the_filters(
    commerce: Client, query: str, limit: int
) -> None:
    whole = await (await commerce.get(f"/users?{query}")).json()
    assert whole
    pages = await walk(commerce, f"/users?{query}&limit={limit}")
    assert [user for page in pages for user in page] == whole
    assert all(len(page) == limit for page in pages[:-1])
    assert pages[-1]
    if not query:
        assert [user["username"] for user in whole] == NAMES[::-1]


@pytest.mark.usefixtures("people")
async def test_list_users__a_user_is_anonymised_between_pages__no_other_is_missed(
    commerce: Client,
) -> None:
    first = await commerce.get("/users?username=ada&limit=2")
    last = (await first.json())[-1]
    assert (await anonymise(commerce, last["user_id"])).status == 200
    second = await (await commerce.get(next_page(first).relative())).json()
    assert [user["username"] for user in second] == ["ADAM2"]


@pytest.mark.parametrize("few", [1, 1000])
async def test_list_users__users_of_an_earlier_release__by_exact_spelling(
    commerce: Client, connection: Connection, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr("rowlock.accounts.reads.FEW", few)
    await connection.execute(
        "INSERT INTO users (username, name_key, email, email_key) VALUES "
        "('ada', 'ada', 'ada@x', 'ada@x'), ('Ada', NULL, 'Ada@x', NULL), "
        "('ADA', NULL, NULL, NULL), ('adam', 'adam', 'Adam@x', NULL), "
        "('eve', 'eve', 'ad@x', 'ad@x')"
    )
    assert await find(commerce, username="ada") == ["ada", "adam"]
    assert await find(commerce, username="Ada") == ["ada", "Ada", "adam"]
    assert await find(commerce, username="ADA") == ["ada", "ADA", "adam"]
    assert await find(commerce, username="Ad") == ["ada", "adam"]
    assert await find(commerce, email="ad") == ["eve", "ada"]
    assert await find(commerce, email="Ada@x") == ["ada", "Ada"]
    assert await find(commerce, username="Ada", email="ada") == ["ada"]
    assert await find(commerce, username="Ada", email="Ada@x") == ["ada", "Ada"]
    assert await find(commerce, username="a", email="Adam@x") == ["adam"]
    for query in ("username=Ada", "email=Ada@x", "username=Ada&email=Ada@x"):
        whole = await (await commerce.get(f"/users?{query}")).json()
        pages = await walk(commerce, f"/users?{query}&limit=1")
        assert [user for page in pages for user in page] == whole


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_list_users__many_of_both_but_far_apart__short_pages_go_on(
    commerce: Client, connection: Connection, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Of 60 names that match, no more than 7 are looked at for a page."""
    monkeypatch.setattr("rowlock.accounts.reads.FEW", 5)
    monkeypatch.setattr("rowlock.accounts.reads.WALK", 7)
    await connection.execute(
        "INSERT INTO users (username, name_key, email, email_key) "
        "SELECT name, name, address, address FROM ("
        "SELECT 'user-' || n AS name, CASE WHEN n IN (11, 38, 39, 40, 66, 67) THEN 'box-' ELSE 'x-'"
        " END || n AS address FROM generate_series(11, 70) AS n) AS drawn;"
        "INSERT INTO users (username, name_key, email, email_key)"
        " VALUES ('User-', NULL, 'box-0', 'box-0')"
    )
    pages = await walk(commerce, f"/users?username=User-&email=box&limit={limit}")
    assert [user["username"] for page in pages for user in page] == [
        "User-", "user-11", "user-38", "user-39", "user-40", "user-66", "user-67",
    ]  # fmt: skip
    assert len(pages) >= 60 // 7
    assert [] in pages


@pytest.mark.usefixtures("people")
async def test_list_users__cursor_of_another_list__400(commerce: Client) -> None:
    of_all = next_page(await commerce.get("/users?limit=1")).query["cursor"]
    of_some = next_page(await commerce.get("/users?username=ad&limit=1")).query["cursor"]
    for query in (
        {"cursor": of_some},
        {"username": "b", "cursor": of_some},
        {"email": "b", "cursor": of_some},
        {"username": "ad", "cursor": of_all},
    ):
        response = await commerce.get(URL("/users").with_query(query))
        assert await refusal(response) == (400, "invalid_cursor")


# --- change ---------------------------------------------------------------------------------------


async def test_change_user__some_fields__200_told_without_the_values(
    commerce: Client, connection: Connection
) -> None:
    user = await (await create(commerce, **ADA)).json()
    response = await change(commerce, 1, email=None, last_name="King", first_name="Ada")
    assert response.status == 200
    changed = await response.json()
    assert changed == user | {"email": None, "last_name": "King"}
    assert await (await commerce.get("/users")).json() == [changed]
    assert await told(connection, "user.changed") == [
        ("user:1", {"user_id": 1, "changed": ["email", "last_name"]})
    ]
    assert await (await change(commerce, 1, first_name=None)).json() == changed | {"first_name": ""}


async def test_change_user__values_that_it_has__200_and_nothing_changed(
    commerce: Client, unchanged: Unchanged
) -> None:
    user = await (await create(commerce, **ADA)).json()
    async with unchanged():
        response = await change(commerce, 1, email=ADA["email"], first_name="Ada")
    assert (response.status, await response.json()) == (200, user)


async def test_change_user__empty_body__400_that_says_so(
    commerce: Client, unchanged: Unchanged
) -> None:
    await create(commerce, **ADA)
    async with unchanged():
        response = await change(commerce, 1)
    assert await refusal(response) == (400, "invalid_request")
    message = (await response.json())["message"]
    assert "Must have something to change, of: email, first_name, last_name." in message


@pytest.mark.parametrize(
    ("user_id", "fields", "expected"),
    [
        (9, {"first_name": "x"}, (404, "user_not_found")),
        (2, {"email": "ADA@example.com"}, (409, "email_taken")),
        (2, {"username": "x"}, (400, "invalid_request")),
        (2, {"email": "anonymous"}, (400, "invalid_request")),
        (2, {"first_name": "\u202eevil"}, (400, "invalid_request")),
        (2, {"last_name": "x\U000e0041"}, (400, "invalid_request")),
    ],
)
async def test_change_user__against_the_rules__refused_and_nothing_changed(
    commerce: Client,
    unchanged: Unchanged,
    user_id: int,
    fields: dict[str, str],
    expected: tuple[int, str],
) -> None:
    await create(commerce, **ADA)
    await create(commerce, username="grace")
    async with unchanged():
        response = await change(commerce, user_id, **fields)
    assert await refusal(response) == expected


async def test_change_user__two_swap_their_addresses_by_way_of_none__works(
    commerce: Client, connection: Connection
) -> None:
    await create(commerce, username="ada", email="a@x.example")
    await create(commerce, username="grace", email="g@x.example")
    for user_id, email in ((1, None), (2, "A@x.example"), (1, "G@x.example")):
        assert (await change(commerce, user_id, email=email)).status == 200
    rows = await connection.fetch("SELECT email, email_key FROM users ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("G@x.example", "g@x.example"),
        ("A@x.example", "a@x.example"),
    ]


# --- anonymise ------------------------------------------------------------------------------------


async def test_anonymise_user__known__nameless_once_and_told(
    commerce: Client, connection: Connection
) -> None:
    user = await (await create(commerce, **ADA)).json()
    response = await anonymise(commerce, 1)
    assert response.status == 200
    gone = await response.json()
    assert INSTANT.fullmatch(gone["anonymised_at"])
    told_of = {"username": "anonymous-1", "anonymised_at": gone["anonymised_at"]}
    assert gone == user | NO_NAMES | told_of
    again = await anonymise(commerce, 1)
    assert (again.status, await again.json()) == (200, gone)
    assert await told(connection, "user.anonymised") == [("user:1", {"user_id": 1})]
    assert await refusal(await change(commerce, 1, first_name="Ada")) == (409, "user_anonymised")
    assert await find(commerce, username="ada") == []
    assert await find(commerce, username="Anonymous-1") == ["anonymous-1"]
    assert await refusal(await anonymise(commerce, 9)) == (404, "user_not_found")


@pytest.mark.usefixtures("catalogue")
async def test_anonymise_user__account__goes_on_and_its_name_can_be_anothers(
    commerce: Client, connection: Connection
) -> None:
    await create(commerce, **ADA)
    assert (await anonymise(commerce, 1)).status == 200
    for name in ("anonymous-1", "ANONYMOUS-1"):
        shopper = (await (await commerce.get(f"/api/users/{name}")).json())["user"]
        assert shopper["user_id"] == "anonymous-1"
    order = {"order": {"items": ["netflix"], "user_id": "anonymous-1"}}
    assert (await commerce.post("/api/orders", json=order)).status == 200
    issued = await commerce.post("/invoices", json={"user_id": 1, "amount": 5, "label": "Work"})
    assert (await commerce.post(f"/invoices/{(await issued.json())['id']}/pay")).status == 200
    response = await create(commerce, **ADA)
    assert (response.status, (await response.json())["user_id"]) == (201, 2)
    await assert_money_conserved(connection)


async def test_anonymise_user__kept_answers__replay_without_names_and_change_nothing(
    commerce: Client, connection: Connection
) -> None:
    created = await create(commerce, key="create", **ADA)
    changed = await change(commerce, 1, "change", last_name="King")
    other = await create(commerce, key="other", username="grace", email="grace@example.com")
    refused = await create(commerce, key="refused", **ADA)
    gone = await anonymise(commerce, 1, "anonymise")
    anonymised_at = (await gone.json())["anonymised_at"]
    nameless = NO_NAMES | {"username": "anonymous-1", "anonymised_at": anonymised_at}
    before = await connection.fetch("SELECT * FROM users ORDER BY id")
    for first, again in (
        (created, await create(commerce, key="create", **ADA)),
        (changed, await change(commerce, 1, "change", last_name="King")),
    ):
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.status == first.status
        assert again.headers.get("Location") == first.headers.get("Location")
        assert await again.json() == await first.json() | nameless
    for first, again in (
        (other, await create(commerce, key="other", username="grace", email="grace@example.com")),
        (refused, await create(commerce, key="refused", **ADA)),
        (gone, await anonymise(commerce, 1, "anonymise")),
    ):
        assert again.headers["Idempotency-Replayed"] == "true"
        assert (again.status, await again.read()) == (first.status, await first.read())
    assert await connection.fetch("SELECT * FROM users ORDER BY id") == before


async def test_anonymise_user__changes_under_way_at_two_services__no_kept_answer_has_a_name(
    aiohttp_client: AiohttpClient,
    commerce: Client,
    database_url: str,
    settings: Settings,
    connection: Connection,
) -> None:
    second = await aiohttp_client(create_app(quiet(COMMERCE), settings, database_url))
    await create(commerce, username="ada")
    calls = [
        change(client, 1, f"{client.port}-{number}", first_name=f"Secret{number}")
        for number in range(30)
        for client in (commerce, second)
    ]
    responses = await asyncio.gather(
        *calls[:30], anonymise(second, 1, "a"), anonymise(commerce, 1, "b"), *calls[30:]
    )
    assert {response.status for response in responses} <= {200, 409}
    kept = await connection.fetch("SELECT convert_from(body, 'UTF8') AS body FROM idempotency_keys")
    assert len(kept) == 62
    assert not [row["body"] for row in kept if "Secret" in row["body"]]
    assert await connection.fetchval("SELECT first_name FROM users") == ""


async def test_anonymise_user__a_change_has_locked_the_user__its_kept_answer_is_cleaned_too(
    commerce: Client, connection: Connection
) -> None:
    """The change has kept its answer, but is not committed: the anonymisation waits for it."""
    await create(commerce, username="ada")
    async with connection.transaction():
        await connection.execute("UPDATE users SET first_name = 'Secret' WHERE id = 1")
        await connection.execute(
            "INSERT INTO idempotency_keys (service, key, digest, status, headers, body, user_id) "
            "VALUES ('commerce', 'k', sha256('x'), 200, '{}', $1, 1)",
            b'{"user_id":1,"username":"ada","first_name":"Secret"}',
        )
        anonymising = asyncio.create_task(anonymise(commerce, 1))
        await until(lambda: is_waiting(connection))
    assert (await anonymising).status == 200
    bodies = await connection.fetch("SELECT convert_from(body, 'UTF8') FROM idempotency_keys")
    assert "Secret" not in str(bodies)
    assert "anonymous-1" in str(bodies)


async def is_waiting(connection: Connection) -> bool:
    """Whether another session waits for a lock."""
    return bool(
        await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event_type = 'Lock'"
        )
    )


@pytest.mark.parametrize("body", [b"", b'{"id": 7, "user_id": 1, "label": "Work"}', b"[]"])
async def test_anonymise_user__key_taken_over_by_an_earlier_release__answer_stays(
    commerce: Client, connection: Connection, body: bytes
) -> None:
    """0.2.0 leaves the user_id of an expired key that it takes over."""
    await create(commerce, key="k", username="ada")
    await connection.execute("UPDATE idempotency_keys SET body = $1", body)
    assert (await anonymise(commerce, 1)).status == 200
    kept = await connection.fetchval("SELECT body FROM idempotency_keys")
    assert kept == body


@pytest.mark.usefixtures("older_events")
@pytest.mark.parametrize("table", ["outbox", "outbox_dead_letters"])
async def test_anonymise_user__events_of_earlier_releases__lose_the_username(
    commerce: Client, connection: Connection, table: str
) -> None:
    await create(commerce, username="ada")
    extra = "" if table == "outbox" else ", event_id, status, error, created_at"
    values = "" if table == "outbox" else ", gen_random_uuid(), 0, 'x', now()"
    for name, payload in (
        ("user.created", '{"user_id": 1, "username": "ada", "balance": 0}'),
        ("benefit_order.placed", '{"user_id": 1, "username": "ada", "order_id": 3}'),
        ("benefit_order.placed", '{"user_id": 11, "username": "grace", "order_id": 4}'),
        ("some.thing", '{"user_id": 1, "username": "kept: not ours"}'),
    ):
        await connection.execute(
            f"INSERT INTO {table} (name, subject, payload{extra}) VALUES ($1, 'x:1', $2{values})",
            name,
            payload,
        )
    assert (await anonymise(commerce, 1)).status == 200
    rows = await connection.fetch(
        f"SELECT payload->>'username' AS username FROM {table} WHERE subject = 'x:1' ORDER BY 1"
    )
    assert [row["username"] for row in rows] == ["grace", "kept: not ours", None, None]
