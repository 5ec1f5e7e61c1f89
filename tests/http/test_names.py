"""Names over HTTP: spellings of one name are one user, and no account is opened unasked."""

import asyncio
from decimal import Decimal
from urllib.parse import quote

import pytest
from aiohttp import ClientResponse
from yarl import URL

from tests.support.contract import GETS_OF, address, refusal, told
from tests.support.types import Client, Connection, Serve, Unchanged

MARIA = ["maria", "Maria", "MARIA", "\uff4d\uff41\uff52\uff49\uff41"]
ZOE = ["Zo\u00e9", "Zoe\u0301", "ZOE\u0301", "zo\u00e9"]
BAD = ["maria ", " maria", "maria\u00a0", "ma\u200bria", "maria\u2060", "\u0301maria", "\u3164"]
ORDER = {"items": ["netflix"]}


async def get(client: Client, name: str, method: str = "GET") -> ClientResponse:
    return await client.request(method, URL(f"/api/users/{quote(name, safe='')}", encoded=True))


async def count(connection: Connection) -> int:
    users: int = await connection.fetchval("SELECT count(*) FROM users")
    return users


@pytest.mark.parametrize("spellings", [MARIA, ZOE])
async def test_get_user__spellings_of_one_name__one_account(
    commerce: Client, connection: Connection, spellings: list[str]
) -> None:
    answers = [await (await get(commerce, name)).json() for name in reversed(spellings)]
    assert all(answer == answers[0] for answer in answers)
    [username] = await connection.fetch("SELECT username FROM users")
    assert username[0] == answers[0]["user"]["user_id"]
    assert len(await told(connection, "user.created")) == 1


async def test_get_user__spellings_at_once__one_account(
    commerce: Client, connection: Connection
) -> None:
    answers = await asyncio.gather(*(get(commerce, name) for name in (*MARIA, *ZOE) * 5))
    assert {answer.status for answer in answers} == {200}
    assert await count(connection) == 2
    assert await connection.fetchval("SELECT sum(amount) FROM ledger_entries") == 2 * 500_00


async def test_get_user__decomposed__stored_composed(
    commerce: Client, connection: Connection
) -> None:
    answer = await (await get(commerce, "Zoe\u0301")).json()
    assert answer["user"]["user_id"] == "Zo\u00e9"
    assert await connection.fetchval("SELECT username FROM users") == "Zo\u00e9"


@pytest.mark.parametrize("name", BAD, ids=ascii)
async def test_name__that_no_user_may_have__400_and_nothing_changed(
    commerce: Client, catalogue: dict[str, int], unchanged: Unchanged, name: str
) -> None:
    assert (await get(commerce, "maria")).status == 200
    async with unchanged():
        order = {"order": ORDER | {"user_id": name}}
        for response in (
            await get(commerce, name),
            await commerce.post("/api/orders", json=order),
        ):
            assert await refusal(response) == (400, "invalid_request")


async def test_place_order__another_spelling__is_that_users(
    commerce: Client, catalogue: dict[str, int], connection: Connection
) -> None:
    assert (await get(commerce, "Maria")).status == 200
    orders = [{"order": {"items": [slug], "user_id": "mARIA"}} for slug in ("netflix", "spotify")]
    for response in await asyncio.gather(
        *(commerce.post("/api/orders", json=order) for order in orders)
    ):
        assert response.status == 200
    assert await connection.fetchval("SELECT balance FROM users") == 500_00 - 121_98
    user_id = await connection.fetchval("SELECT id FROM users WHERE username = 'Maria'")
    placed = await told(connection, "benefit_order.placed")
    assert {payload["user_id"] for _, payload in placed} == {user_id}


async def test_names__lookalikes_of_an_earlier_release__each_by_its_spelling(
    commerce: Client, connection: Connection, catalogue: dict[str, int]
) -> None:
    await connection.execute(
        "INSERT INTO users (username, name_key, balance) VALUES "
        "('maria', 'maria', 100000), ('Maria', NULL, 200000), ('maria ', NULL, 300000), "
        "('Zoe\u0301', NULL, 400000)"
    )
    balances = {"maria": 1000, "Maria": 2000, "maria ": 3000, "MARIA": 1000, "Zoe\u0301": 4000}
    for name, balance in balances.items():
        answer = await (await get(commerce, name)).json()
        assert answer["user"]["data"]["balance"] == balance, name
    for name in balances:
        order = {"order": ORDER | {"user_id": name}}
        bought = await commerce.post("/api/orders", json=order)
        assert bought.status == (400 if name == "MARIA" else 200)  # maria has it already
    assert await count(connection) == 4


@pytest.mark.parametrize("name", ["new", "Zoe\u0301", "maria "], ids=ascii)
async def test_head__unknown_user__404_and_nothing_changed(
    commerce: Client, unchanged: Unchanged, name: str
) -> None:
    async with unchanged():
        response = await get(commerce, name, "HEAD")
    assert (response.status, await response.read()) == (404, b"")


async def test_head__every_route__changes_nothing(
    clients: dict[str, Client], unchanged: Unchanged
) -> None:
    for service, client in clients.items():
        for path in GETS_OF[service]:
            async with unchanged():
                await client.head(address(path, user_id="new"))


async def test_get_user__accounts_are_not_opened__404_and_nothing_changed(
    serve: Serve, unchanged: Unchanged
) -> None:
    commerce = await serve(opening_balance=Decimal(500))
    assert (await get(commerce, "maria")).status == 200
    commerce = await serve(benefits_open_accounts=False)
    async with unchanged():
        assert await refusal(await get(commerce, "new")) == (404, "user_not_found")
        assert await refusal(await get(commerce, "new ")) == (400, "invalid_request")
        assert (await get(commerce, "Maria")).status == 200
