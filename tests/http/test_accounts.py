"""Users and their ledger, in minor units."""

import pytest

from tests.support.contract import INSTANT, next_page, refusal, walk
from tests.support.types import Client, Connection, OpenAccount


@pytest.fixture
async def history(
    commerce: Client, catalogue: dict[str, int], ada: int, open_account: OpenAccount
) -> list[tuple[int, int, str, str]]:
    """What ada's ledger must say, newest first, after some movements; grace has her own."""
    await open_account("grace", 500_00)
    for username in ("ada", "grace"):
        for slug in ("netflix", "spotify"):
            body = {"order": {"items": [slug], "user_id": username}}
            assert (await commerce.post("/api/orders", json=body)).status == 200
    issued = {"user_id": ada, "amount": 100, "label": "Work"}
    invoice = await (await commerce.post("/invoices", json=issued)).json()
    assert (await commerce.post(f"/invoices/{invoice['id']}/pay")).status == 200
    return [
        (100, 379_02, "invoice", "invoice:1"),
        (-45_99, 378_02, "benefit_order", "order:2"),
        (-75_99, 424_01, "benefit_order", "order:1"),
        (500_00, 500_00, "opening_balance", f"user:{ada}"),
    ]


async def test_get_user__known__minor_units(
    commerce: Client, connection: Connection, ada: int
) -> None:
    await connection.execute("UPDATE users SET first_name = 'Ada', last_name = 'Løvelace'")
    response = await commerce.get(f"/user/{ada}")
    assert response.status == 200
    assert await response.json() == {
        "user_id": ada,
        "first_name": "Ada",
        "last_name": "Løvelace",
        "balance": 500_00,
    }


@pytest.mark.parametrize("path", ["/user/{}", "/user/{}/ledger"])
@pytest.mark.parametrize("user_id", [2, 2**53 + 1, 2**63 - 1])
async def test_get_user__unknown__404(commerce: Client, ada: int, path: str, user_id: int) -> None:
    response = await commerce.get(path.format(user_id))
    assert await refusal(response) == (404, "user_not_found")
    problem = await response.json()
    assert problem["message"] == f"There is no user {user_id}."
    assert problem["details"] == {"user_id": user_id}


async def test_list_ledger__all__newest_first(
    commerce: Client, ada: int, history: list[tuple[int, int, str, str]]
) -> None:
    response = await commerce.get(f"/user/{ada}/ledger")
    entries = await response.json()
    assert "Link" not in response.headers
    assert [
        (entry["amount"], entry["balance_after"], entry["reason"], entry["reference"])
        for entry in entries
    ] == history
    names = {"id", "amount", "balance_after", "reason", "reference", "created_at"}
    assert all(entry.keys() == names for entry in entries)
    assert all(INSTANT.fullmatch(entry["created_at"]) for entry in entries)
    ids = [entry["id"] for entry in entries]
    assert ids == sorted(ids, reverse=True)


@pytest.mark.parametrize(
    ("limit", "sizes"), [(1, [1, 1, 1, 1]), (2, [2, 2]), (3, [3, 1]), (4, [4]), (100, [4])]
)
async def test_list_ledger__in_pages__every_entry_once(
    commerce: Client,
    ada: int,
    history: list[tuple[int, int, str, str]],
    limit: int,
    sizes: list[int],
) -> None:
    pages = await walk(commerce, f"/user/{ada}/ledger?limit={limit}")
    assert [len(page) for page in pages] == sizes
    assert [entry["reference"] for page in pages for entry in page] == [row[3] for row in history]


async def test_list_ledger__new_entry_between_pages__does_not_shift_them(
    commerce: Client, ada: int, history: list[tuple[int, int, str, str]]
) -> None:
    first = await commerce.get(f"/user/{ada}/ledger?limit=2")
    body = {"order": {"items": ["gym"], "user_id": "ada"}}
    assert (await commerce.post("/api/orders", json=body)).status == 400
    invoice = await (
        await commerce.post("/invoices", json={"user_id": ada, "amount": 1, "label": "x"})
    ).json()
    assert (await commerce.post(f"/invoices/{invoice['id']}/pay")).status == 200
    second = await commerce.get(next_page(first).relative())
    assert [entry["reference"] for entry in await second.json()] == [row[3] for row in history[2:]]


async def test_list_ledger__no_limit_said__twenty(
    commerce: Client, connection: Connection, ada: int
) -> None:
    await connection.execute(
        "INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference) "
        "SELECT $1, 1, 1, 'invoice', 'invoice:' || n FROM generate_series(1, 20) AS n",
        ada,
    )
    pages = await walk(commerce, f"/user/{ada}/ledger")
    assert [len(page) for page in pages] == [20, 1]


async def test_list_ledger__nothing_ever_moved__empty(
    commerce: Client, open_account: OpenAccount
) -> None:
    user_id = await open_account("ada")
    response = await commerce.get(f"/user/{user_id}/ledger")
    assert (response.status, await response.json()) == (200, [])
