"""The shop over HTTP: signing in, the basket, buying once, every refusal, receipts, statement."""

import asyncio
import csv
import io
import re
from datetime import timedelta

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.engine.database import Database
from rowlock.services import COMMERCE
from rowlock.settings import Settings
from rowlock.shop import links
from rowlock.shop.pages import COOKIE
from tests.support.console import KEY, SAME, Visitor, text_of
from tests.support.roles import create_app
from tests.support.services import quiet
from tests.support.types import Client, Connection


@pytest.fixture
async def commerce(aiohttp_client: AiohttpClient, database_url: str, settings: Settings) -> Client:
    """A client of commerce with its shop."""
    client: Client = await aiohttp_client(create_app(quiet(COMMERCE), settings, database_url))
    return client


@pytest.fixture
def visitor(commerce: Client) -> Visitor:
    """One who has not signed in yet."""
    return Visitor(commerce, COOKIE)


@pytest.fixture
async def ada(visitor: Visitor, catalogue: dict[str, int]) -> Visitor:
    """One who has signed in, with a balance of 500.00."""
    response = await visitor.post("/shop/sign-in", {"name": "ada"})
    assert (response.status, visitor.is_signed_in) == (303, True)
    return visitor


async def add(visitor: Visitor, *slugs: str) -> str:
    """Put products into the basket; return the shop's page."""
    page = ""
    for slug in slugs:
        page = await visitor.follow(await visitor.post("/shop/basket", {"add": slug}))
    return page


def order(page: str) -> list[tuple[str, str]]:
    """The form to buy that a page has."""
    found = KEY.search(page)
    assert found is not None
    items = re.findall(r'name="item" value="([^"]*)"', page)
    totals = re.findall(r'name="total" value="(\d+)"', page)
    named = [*(("item", item) for item in items), *(("total", total) for total in totals)]
    return [("key", found[1]), *named]


async def buy(visitor: Visitor, fields: list[tuple[str, str]]) -> str:
    """Send a form to buy; return the page that it leads to."""
    return text_of(await visitor.follow(await visitor.post("/shop/buy", fields)))


async def test_shelf__signed_in__prices_and_balance(ada: Visitor) -> None:
    page = text_of(await ada.page("/shop"))
    assert "Netflix 75.99 Add" in page
    assert "Balance 500.00" in page
    assert "Nothing yet" in page


async def test_basket__added_and_removed__total_and_what_remains(ada: Visitor) -> None:
    page = text_of(await add(ada, "netflix", "spotify"))
    assert "Total 121.98 EUR Remains 378.02" in page
    assert "Buy for 121.98 EUR" in page
    page = text_of(await ada.follow(await ada.post("/shop/basket", {"remove": "netflix"})))
    assert "Total 45.99 EUR" in page


async def test_buy__twice_the_same_form__once(ada: Visitor, connection: Connection) -> None:
    form = order(await add(ada, "netflix"))
    first, second = await asyncio.gather(buy(ada, form), buy(ada, form))
    assert "Bought for 75.99 EUR: receipt 1." in first
    assert "Bought for 75.99 EUR: receipt 1." in second
    assert await connection.fetchval("SELECT count(*) FROM orders") == 1
    assert await connection.fetchval("SELECT balance FROM users") == 424_01
    page = text_of(await ada.page("/shop"))
    assert "Netflix 75.99 yours" in page
    assert "Nothing yet" in page
    actor = await connection.fetchval("SELECT actor FROM outbox ORDER BY position DESC LIMIT 1")
    assert actor == "shop:1"


async def test_buy__in_two_tabs__the_second_is_refused_in_words(
    ada: Visitor, connection: Connection
) -> None:
    first = order(await add(ada, "netflix"))
    second = order(await ada.page("/shop"))
    assert first[0] != second[0]
    assert "Bought for 75.99" in await buy(ada, first)
    assert "you own some of it already" in await buy(ada, second)
    assert await connection.fetchval("SELECT count(*) FROM orders") == 1


async def test_buy__over_the_balance__refused_in_words(
    ada: Visitor, connection: Connection
) -> None:
    page = await add(ada, "gym", "netflix")
    assert "It costs more than your balance." in page
    told = await buy(ada, order(page))
    assert "it costs 565.99 EUR, and your balance is 500.00 EUR" in told
    assert "Netflix" in told  # the basket is as it was
    assert await connection.fetchval("SELECT count(*) FROM orders") == 0


async def test_buy__retired_meanwhile__refused_by_name(
    ada: Visitor, connection: Connection
) -> None:
    form = order(await add(ada, "netflix"))
    await connection.execute("UPDATE products SET retired_at = now() WHERE slug = 'netflix'")
    assert "netflix is not sold any more" in await buy(ada, form)
    assert "Nothing yet" in text_of(await ada.page("/shop"))


@pytest.mark.parametrize("price", [85_99, 65_99])
async def test_buy__at_another_price_meanwhile__refused_with_the_new_one(
    ada: Visitor, connection: Connection, price: int
) -> None:
    form = order(await add(ada, "netflix"))
    await connection.execute("UPDATE products SET price = $1 WHERE slug = 'netflix'", price)
    told = await buy(ada, form)
    assert f"the price has changed, it costs {price // 100}.99 EUR now." in told
    assert f"Buy for {price // 100}.99 EUR" in told
    assert await connection.fetchval("SELECT count(*) FROM orders") == 0
    assert f"Bought for {price // 100}.99" in await buy(ada, order(await ada.page("/shop")))


@pytest.mark.parametrize("total", ["", "x", "-1", "75.99", "9" * 30, "\u0661"])
async def test_buy__no_total__400(ada: Visitor, connection: Connection, total: str) -> None:
    form = order(await add(ada, "netflix"))
    response = await ada.post("/shop/buy", [*form, ("total", total)])
    assert response.status == 400
    assert await connection.fetchval("SELECT count(*) FROM orders") == 0


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([], 400),
        ([("item", "netflix")], 400),
        ([("key", "x"), ("item", "netflix")], 400),
        ([("key", "0b7e8b2c-0000-4000-8000-000000000000")], 400),
        ([("key", "0b7e8b2c-0000-4000-8000-000000000000"), *[("item", "netflix")] * 101], 400),
        ([("key", "0b7e8b2c-0000-4000-8000-000000000000"), ("item", "\0")], 400),
    ],
)
async def test_buy__bad_forms__refused(
    ada: Visitor, fields: list[tuple[str, str]], status: int
) -> None:
    response = await ada.post("/shop/buy", fields)
    assert response.status == status


async def test_basket__too_large__says_so(ada: Visitor) -> None:
    page = ""
    for number in range(25):
        fields = {"add": f"{number}{'x' * 95}"}
        page = await ada.follow(await ada.post("/shop/basket", fields))
    assert "The basket is full" in page


async def test_receipts__own_ones__shown_and_others_are_not(
    ada: Visitor, commerce: Client, connection: Connection
) -> None:
    await buy(ada, order(await add(ada, "netflix", "spotify")))
    page = text_of(await ada.page("/shop/receipts"))
    assert "Netflix, Spotify 121.98" in page
    await connection.execute("UPDATE products SET retired_at = now() WHERE slug = 'netflix'")
    assert "Netflix, Spotify 121.98" in text_of(await ada.page("/shop/receipts"))
    assert "Paid 121.98 EUR" in text_of(await ada.page("/shop/receipts/1"))
    grace = Visitor(commerce, COOKIE)
    await grace.post("/shop/sign-in", {"name": "grace"})
    assert "There is no order 1." in await grace.page("/shop/receipts/1", 404)
    assert "No receipts" in await grace.page("/shop/receipts")


async def test_statement__of_a_visitor__entries_and_csv(ada: Visitor) -> None:
    await buy(ada, order(await add(ada, "netflix")))
    page = text_of(await ada.page("/shop/statement"))
    assert "Closing balance 424.01" in page
    assert "\N{MINUS SIGN}75.99 424.01" in page
    response = await ada.get("/shop/statement?format=csv")
    rows = [*csv.reader(io.StringIO(await response.text()))]
    assert [row[2:4] for row in rows[1:]] == [["50000", "50000"], ["-7599", "42401"]]
    assert "Must be a day" in await ada.page("/shop/statement?from=x", 400)


async def test_link__works_once__even_for_two_at_once(
    visitor: Visitor, commerce: Client, connection: Connection, database: Database
) -> None:
    await connection.execute("INSERT INTO users (username) VALUES ('ada')")
    link = await links.make(database, 1, timedelta(hours=1))
    assert link is not None
    secret = link.path.partition("=")[2]
    assert "It works once." in await visitor.page(link.path)
    assert "It works once." in await visitor.page(link.path)  # looking does not use it up
    other = Visitor(commerce, COOKIE)
    answers = await asyncio.gather(
        *(each.post("/shop/enter", {"secret": secret}) for each in (visitor, other))
    )
    assert sorted(answer.status for answer in answers) == [303, 403]
    assert visitor.is_signed_in != other.is_signed_in
    assert not await connection.fetch("SELECT FROM shop_links")


async def test_link__expired_or_made_up__refused(
    visitor: Visitor, connection: Connection, database: Database
) -> None:
    await connection.execute("INSERT INTO users (username) VALUES ('ada')")
    link = await links.make(database, 1, timedelta(seconds=-1))
    assert link is not None
    for secret in (link.path.partition("=")[2], "made-up", "", "x" * 1000):
        response = await visitor.post("/shop/enter", {"secret": secret})
        assert response.status == 403
        assert "This link has been used, or it has expired." in await response.text()
    assert await links.make(database, 99, timedelta(hours=1)) is None


async def test_sign_in__by_name_elsewhere__refused(
    aiohttp_client: AiohttpClient, database_url: str, settings: Settings, connection: Connection
) -> None:
    changed = settings.changed(env="production", shop=True, cookie_key="a-key-of-our-own")
    client = await aiohttp_client(create_app(quiet(COMMERCE), changed, database_url))
    visitor = Visitor(client, COOKIE)
    assert 'name="name"' not in await visitor.page("/shop/sign-in")
    assert (await visitor.post("/shop/sign-in", {"name": "ada"})).status == 403
    assert await connection.fetchval("SELECT count(*) FROM users") == 0


async def test_shop__turned_off__404(
    aiohttp_client: AiohttpClient, database_url: str, settings: Settings
) -> None:
    app = create_app(quiet(COMMERCE), settings.changed(shop=False), database_url)
    client = await aiohttp_client(app)
    assert (await client.get("/shop")).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/shop",
        "/shop/receipts",
        "/shop/receipts/1",
        "/shop/statement",
        "/shop/statement?format=csv",
    ],
)
async def test_session__of_an_account_that_is_gone__ends(
    ada: Visitor, connection: Connection, path: str
) -> None:
    await buy(ada, order(await add(ada, "netflix")))
    await connection.execute("UPDATE users SET username = 'other', name_key = 'other'")
    response = await ada.get(path)
    assert "Your account is not here any more." in await ada.follow(response)
    assert not ada.is_signed_in


async def test_cookie__on_the_json_api__opens_nothing(
    aiohttp_client: AiohttpClient, database_url: str, settings: Settings, ada: Visitor
) -> None:
    app = create_app(quiet(COMMERCE), settings.changed(commerce_token="secret"), database_url)
    client = await aiohttp_client(app)
    cookie = f"{COOKIE}={ada.cookies[COOKIE]}"
    assert (await client.get("/user/1", headers={"Cookie": cookie})).status == 401
    page = await client.get("/shop", headers={"Cookie": cookie, "Accept": "text/html"})
    assert page.status == 200  # the shop has sessions of its own


async def test_forms__not_of_our_own_page__refused(ada: Visitor) -> None:
    for path in ("/shop/buy", "/shop/basket", "/shop/sign-out", "/shop/enter"):
        response = await ada.post(path, {"key": "x"}, SAME | {"Sec-Fetch-Site": "cross-site"})
        assert response.status == 403


async def test_shop__unknown_places__a_page_with_404(ada: Visitor) -> None:
    assert "To the shop" in await ada.page("/shop/nothing", 404)
    response = await ada.get("/nothing")
    assert response.content_type == "application/json"


@pytest.mark.parametrize("path", ["/docs/try", "/", "/docs"])
async def test_documents__no_token__open(
    aiohttp_client: AiohttpClient, database_url: str, settings: Settings, path: str
) -> None:
    app = create_app(quiet(COMMERCE), settings.changed(commerce_token="secret"), database_url)
    client = await aiohttp_client(app)
    response = await client.get(path, headers={"Accept": "text/html"})
    assert response.status == 200
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    for name in re.findall(r'(?:src|href)="(/static/[^"]*)"', await response.text()):
        file = await client.get(name)
        assert (file.status, file.headers["Content-Encoding"]) == (200, "gzip")
        assert "immutable" in file.headers["Cache-Control"]
