"""Transfers: make, read, list."""

import asyncio
import itertools
from collections import Counter
from typing import Any

import pytest

from tests.support.contract import INSTANT, refusal, told, walk, within
from tests.support.money import assert_documents_posted, assert_money_conserved
from tests.support.types import Client, Connection, OpenAccount, Serve, Unchanged

MAXIMUM = 2**53 - 1


@pytest.fixture
async def grace(ada: int, open_account: OpenAccount) -> int:
    """The id of another user, with a balance of 0."""
    return await open_account("grace", 0)


def lunch(source: int, target: int, amount: Any = 25_00, **more: Any) -> dict[str, Any]:
    return {
        "from_user_id": source,
        "to_user_id": target,
        "amount": amount,
        "label": "Lunch",
        **more,
    }


async def balance(client: Client, user_id: int) -> int:
    body = await (await client.get(f"/user/{user_id}")).json()
    amount: int = body["balance"]
    return amount


async def test_make_transfer__covered__moved_posted_and_told(
    commerce: Client, connection: Connection, ada: int, grace: int
) -> None:
    noted = {"reference": "2026-0042", "metadata": {"project": "17"}}
    response = await commerce.post("/transfers", json=lunch(ada, grace, **noted))
    assert response.status == 201
    assert within(commerce, response.headers["Location"]) == "/transfers/1"
    made = await response.json()
    assert INSTANT.fullmatch(made["created_at"])
    assert made == {"id": 1, **lunch(ada, grace, **noted), "created_at": made["created_at"]}
    assert await (await commerce.get("/transfers/1")).json() == made
    assert (await balance(commerce, ada), await balance(commerce, grace)) == (475_00, 25_00)
    for user_id, amount, after in ((ada, -25_00, 475_00), (grace, 25_00, 25_00)):
        [entry, *_] = await (await commerce.get(f"/user/{user_id}/ledger")).json()
        assert (entry["amount"], entry["balance_after"]) == (amount, after)
        assert (entry["reason"], entry["reference"]) == ("transfer", "transfer:1")
        assert entry["created_at"] == made["created_at"]
    assert await told(connection, "transfer.made") == [
        (
            "transfer:1",
            {
                "transfer_id": 1,
                "from_user_id": ada,
                "to_user_id": grace,
                "amount": 25_00,
                "label": "Lunch",
                "from_balance_after": 475_00,
                "to_balance_after": 25_00,
            },
        )
    ]
    await assert_documents_posted(connection)


async def test_make_transfer__no_reference__shown_as_null(
    commerce: Client, ada: int, grace: int
) -> None:
    made = await (await commerce.post("/transfers", json=lunch(ada, grace))).json()
    assert (made["reference"], made["metadata"]) == (None, None)


async def test_make_transfer__against_the_rules__refused_and_nothing_changed(
    commerce: Client, open_account: OpenAccount, ada: int, grace: int, unchanged: Unchanged
) -> None:
    rich = await open_account("rich", MAXIMUM)
    first = await commerce.post("/transfers", json=lunch(ada, grace, reference="taken"))
    assert first.status == 201
    async with unchanged():
        for body, status, code, details in (
            (lunch(99, grace), 404, "user_not_found", {"user_id": 99}),
            (lunch(ada, 98), 404, "user_not_found", {"user_id": 98}),
            (
                lunch(grace, ada, 25_01),
                409,
                "insufficient_balance",
                {"balance": 25_00, "amount": 25_01},
            ),
            (
                lunch(ada, rich, 1),
                409,
                "balance_limit_exceeded",
                {"balance": MAXIMUM, "amount": 1},
            ),
            (
                lunch(ada, grace, reference="taken"),
                409,
                "reference_taken",
                {"reference": "taken"},
            ),
        ):
            response = await commerce.post("/transfers", json=body)
            assert await refusal(response) == (status, code)
            assert (await response.json())["details"] == details


async def test_make_transfer__to_oneself__400_and_nothing_changed(
    commerce: Client, ada: int, unchanged: Unchanged
) -> None:
    async with unchanged():
        response = await commerce.post("/transfers", json=lunch(ada, ada))
    assert await refusal(response) == (400, "invalid_request")
    assert [*(await response.json())["details"]] == ["to_user_id"]


async def test_get_transfer__unknown__404(commerce: Client, ada: int) -> None:
    response = await commerce.get("/transfers/7")
    assert await refusal(response) == (404, "transfer_not_found")
    assert (await response.json())["details"] == {"transfer_id": 7}


async def test_make_transfer__to_and_fro_at_two_processes__no_deadlock_and_no_money_lost(
    serve: Serve, connection: Connection, open_account: OpenAccount
) -> None:
    processes = [await serve(), await serve()]
    users = [await open_account(f"user-{number}", 1_000) for number in range(4)]
    pairs = [*itertools.permutations(users, 2)]
    responses = await asyncio.gather(
        *(
            processes[(number + round_) % 2].post("/transfers", json=lunch(*pair, 10))
            for round_ in range(20)
            for number, pair in enumerate(pairs)
        )
    )
    assert Counter(response.status for response in responses) == {201: 20 * len(pairs)}
    assert {await balance(processes[0], user_id) for user_id in users} == {1_000}
    await assert_money_conserved(connection)
    await assert_documents_posted(connection)


async def test_make_transfer__more_at_once_than_the_balance_covers__stops_in_time(
    serve: Serve, connection: Connection, ada: int, grace: int
) -> None:
    processes = [await serve(), await serve()]
    responses = await asyncio.gather(
        *(
            processes[number % 2].post("/transfers", json=lunch(ada, grace, 30_00))
            for number in range(50)
        )
    )
    refused = [response for response in responses if response.status != 201]
    assert len(refused) == 50 - 16
    assert {await refusal(response) for response in refused} == {(409, "insufficient_balance")}
    assert await balance(processes[0], ada) == 500_00 - 16 * 30_00
    await assert_money_conserved(connection)
    await assert_documents_posted(connection)


@pytest.fixture
async def transfers(
    commerce: Client, connection: Connection, open_account: OpenAccount
) -> list[dict[str, Any]]:
    """Transfers between three users on seven days, newest first; ids in another order."""
    users = [await open_account(name, 1_000) for name in ("ada", "grace", "alan")]
    found = []
    for number, (source, target) in enumerate([*itertools.permutations(users, 2)] * 2):
        body = lunch(source, target, number + 1, reference=f"r-{number}")
        made = await (await commerce.post("/transfers", json=body)).json()
        day = number * 5 % 7 + 1
        async with connection.transaction():
            await connection.execute("SET LOCAL session_replication_role = replica")
            await connection.execute(
                "UPDATE transfers SET created_at = make_date(2026, 3, $2) WHERE id = $1",
                made["id"],
                day,
            )
        found.append(made | {"created_at": f"2026-03-{day:02}T00:00:00Z"})
    return sorted(found, key=lambda made: (made["created_at"], made["id"]), reverse=True)


@pytest.mark.parametrize("limit", [1, 4, 100])
async def test_list_transfers__any_filters_in_pages__every_match_once(
    commerce: Client, transfers: list[dict[str, Any]], limit: int
) -> None:
    days = {None: None, "2026-03-02T00:00:00Z": 2, "2026-03-06T01:00:00+01:00": 6}
    for user_id, since, until in itertools.product((None, 1, 3, 9), days, days):
        query = {"user_id": user_id, "from": since, "to": until, "limit": limit}
        given = "&".join(f"{name}={value}" for name, value in query.items() if value is not None)
        expected = [
            made
            for made in transfers
            if user_id in {None, made["from_user_id"], made["to_user_id"]}
            and (days[since] or 0) <= int(made["created_at"][8:10]) < (days[until] or 99)
        ]
        pages = await walk(commerce, f"/transfers?{given}")
        assert [made for page in pages for made in page] == expected, given
        assert all(len(page) == limit for page in pages[:-1])
        assert pages[-1] or not expected  # no link leads to nothing


async def test_list_transfers__by_reference__with_any_other_filter(
    commerce: Client, transfers: list[dict[str, Any]]
) -> None:
    [wanted] = [made for made in transfers if made["reference"] == "r-0"]
    for more, found in (
        ("", True),
        ("&user_id=1", True),
        ("&user_id=2", True),
        ("&user_id=3", False),
        (f"&from={wanted['created_at']}", True),
        (f"&to={wanted['created_at']}", False),
    ):
        pages = await walk(commerce, f"/transfers?reference=r-0{more}")
        assert pages == [[wanted] if found else []], more
    assert await walk(commerce, "/transfers?reference=unknown") == [[]]
