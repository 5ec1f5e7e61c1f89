"""The currency of an installation: what says it, and major units in the benefits shop."""

import pytest

from rowlock.http.openapi.introduction import introduce
from rowlock.services import COMMERCE, EVENTS, PROJECTS
from rowlock.settings import Settings
from tests.support.types import Connection, Serve

BUY = {"order": {"items": ["netflix"], "user_id": "ada"}}


@pytest.mark.parametrize(
    ("currency", "balance", "price", "left"),
    [
        ("EUR", "500", "75.99", "424.01"),
        ("USD", "500", "75.99", "424.01"),
        ("JPY", "500", "7599", None),
        ("BHD", "500", "7.599", "492.401"),
    ],
)
async def test_benefits__any_currency__major_units_by_its_decimals(
    serve: Serve,
    catalogue: dict[str, int],
    currency: str,
    balance: str,
    price: str,
    left: str | None,
) -> None:
    commerce = await serve(currency=currency)
    user = await (await commerce.get("/api/users/ada")).text()
    assert user == (
        f'{{"user":{{"user_id":"ada","data":{{"balance":{balance},"product_ids":[]}}}}}}'
    )
    products = await (await commerce.get("/api/products")).text()
    assert f'"name":"Netflix","price":{price}}}' in products
    bought = await commerce.post("/api/orders", json=BUY)
    if left is None:  # 500 yen do not pay for 7599
        assert await bought.json() == {"error": "insufficient_balance"}
        return
    assert f'"total":{price}}}' in await bought.text()
    assert f'"balance":{left},' in await (await commerce.get("/api/users/ada")).text()


@pytest.mark.parametrize(("currency", "minor"), [("EUR", 50_000), ("JPY", 500), ("BHD", 500_000)])
async def test_benefits__new_user__opening_balance_in_minor_units(
    serve: Serve, connection: Connection, currency: str, minor: int
) -> None:
    commerce = await serve(currency=currency)
    assert (await commerce.get("/api/users/ada")).status == 200
    assert await connection.fetchval("SELECT balance FROM users") == minor
    assert (await (await commerce.get("/user/1")).json())["balance"] == minor


async def test_index__currency_of_the_installation__as_json_and_as_a_page(serve: Serve) -> None:
    commerce = await serve(currency="JPY")
    assert (await (await commerce.get("/")).json())["currency"] == "JPY"
    page = await (await commerce.get("/", headers={"Accept": "text/html"})).text()
    assert "Amounts are in JPY." in page


@pytest.mark.parametrize(
    ("currency", "said"),
    [("EUR", "7599 is 75.99 EUR."), ("JPY", "7599 is 7599 JPY."), ("BHD", "7599 is 7.599 BHD.")],
)
def test_openapi__service_with_amounts__says_what_they_are(currency: str, said: str) -> None:
    settings = Settings().changed(currency=currency)
    assert said in introduce(COMMERCE, settings)
    for service in (PROJECTS, EVENTS):
        assert currency not in introduce(service, settings)
