"""Chromium, driven by selenium: what it lets pages of other origins do, and how ours look."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.support.wait import WebDriverWait

from rowlock.settings.kinds import Listed
from tests.support.browsers import NEEDS_BROWSER, WAIT_S, launched
from tests.support.servers import Server
from tests.support.types import Client, Connection, Serve

pytestmark = NEEDS_BROWSER

FETCH = """
const [url, options, done] = arguments;
fetch(url, options).then(
  async answer => done({
    status: answer.status, type: answer.type, body: await answer.text(),
    headers: Object.fromEntries(answer.headers),
  }),
  error => done({error: String(error)}),
);
"""
INVOICE = '{"user_id": 1, "amount": 7, "label": "Work"}'
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A browser without a window."""
    with launched(tmp_path_factory.mktemp("profile")) as chrome:
        yield chrome


@pytest.fixture
async def pages(aiohttp_client: AiohttpClient) -> Server:
    """A server of pages, each with one form, which leads to the URL in the query."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=form(request.query.get("to", "")), content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    server = Server(app)
    await aiohttp_client(server)  # which closes it
    return server


@pytest.fixture
async def pending(connection: Connection, ada: int) -> None:
    """Invoice 1."""
    await connection.execute("INSERT INTO invoices (user_id, amount, label) VALUES (1, 100, 'x')")


def form(to: str) -> str:
    return f'<form method="post" action="{to}"></form>'


def url_of(client: Client, path: str) -> str:
    return str(client.make_url(path))


async def submit(browser: Chrome, page: str) -> str:
    """Submit the form of a page; return what the browser shows then."""

    def run() -> str:
        browser.get(page)
        browser.execute_script("document.forms[0].submit()")
        WebDriverWait(browser, WAIT_S).until(lambda one: "/pay" in one.current_url.split("?")[0])
        return browser.page_source

    return await asyncio.to_thread(run)


async def fetch(browser: Chrome, page: str, url: str, **options: Any) -> dict[str, Any]:
    """Let a page fetch a URL; return what its script can see of the answer."""

    def run() -> dict[str, Any]:
        browser.get(page)
        seen: dict[str, Any] = browser.execute_async_script(FETCH, url, options)
        return seen

    return await asyncio.to_thread(run)


async def is_paid(connection: Connection) -> bool:
    status: str = await connection.fetchval("SELECT status FROM invoices WHERE id = 1")
    return status == "paid"


@pytest.mark.parametrize("site", ["localhost", "127.0.0.1", "data:"])
async def test_form__of_another_origin__pays_nothing(
    browser: Chrome,
    serve: Serve,
    pages: Server,
    connection: Connection,
    pending: None,
    site: str,
) -> None:
    commerce = await serve()
    pay = url_of(commerce, "/invoices/1/pay")
    page = f"http://{site}:{pages.port}/?to={pay}"
    if site == "data:":
        page = f"data:text/html,{form(pay)}"  # its origin is null
    assert "cross_site_request" in await submit(browser, page)
    assert not await is_paid(connection)


async def test_fetch__of_another_origin__changes_nothing_and_shows_nothing(
    browser: Chrome, serve: Serve, pages: Server, connection: Connection, pending: None
) -> None:
    commerce = await serve()
    page, pay = f"http://localhost:{pages.port}/", url_of(commerce, "/invoices/1/pay")
    seen = await fetch(browser, page, pay, method="POST", mode="no-cors")
    assert (seen["type"], seen["body"]) == ("opaque", "")
    assert "error" in await fetch(browser, page, pay, method="POST")
    assert "error" in await fetch(browser, page, pay, method="POST", headers=JSON, body="{}")
    assert "error" in await fetch(browser, page, url_of(commerce, "/invoices/1"))
    assert not await is_paid(connection)


async def test_fetch__of_its_own_page__works(
    browser: Chrome, serve: Serve, connection: Connection, pending: None
) -> None:
    commerce = await serve()
    pay = url_of(commerce, "/invoices/1/pay")
    seen = await fetch(browser, url_of(commerce, "/healthz"), pay, method="POST")
    assert seen["status"] == 200
    assert await is_paid(connection)


async def test_fetch__of_an_allowed_origin__works_and_shows_everything(
    browser: Chrome, serve: Serve, pages: Server, connection: Connection, pending: None
) -> None:
    page = f"http://localhost:{pages.port}/"
    origins = Listed([page.removesuffix("/")])
    commerce = await serve(cors_origins=origins, commerce_token="secret")
    invoices = url_of(commerce, "/invoices")
    headers = {"Authorization": "Bearer secret", "X-Request-ID": "abc"}
    write = {"headers": headers | JSON | {"Idempotency-Key": "k"}, "body": INVOICE}
    first = await fetch(browser, page, invoices, method="POST", **write)
    again = await fetch(browser, page, invoices, method="POST", **write)
    assert (first["status"], again["status"]) == (201, 201)
    assert first["body"] == again["body"]
    assert first["headers"]["x-request-id"] == "abc"
    assert again["headers"]["idempotency-replayed"] == "true"
    found = await fetch(browser, page, first["headers"]["location"], headers=headers)
    assert (found["status"], found["body"]) == (200, first["body"])
    listed = await fetch(browser, page, f"{invoices}?limit=1", headers=headers)
    assert listed["headers"]["link"].startswith(f"<{invoices}?limit=1&cursor=")
    refused = await fetch(browser, page, invoices)
    assert (refused["status"], "www-authenticate" in refused["headers"]) == (401, True)
    other = f"http://127.0.0.1:{pages.port}/"
    assert "error" in await fetch(browser, other, invoices, method="POST", **write)
    assert await connection.fetchval("SELECT count(*) FROM invoices") == 2


OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
UNFOLD = "for (const one of document.querySelectorAll('details')) one.open = true"
OPENED = "return document.activeElement.closest('details').open"


@pytest.mark.parametrize("width", [320, 375, 1280])
@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_pages__any_width__no_sideways_scrolling(
    browser: Chrome, serve: Serve, path: str, width: int
) -> None:
    commerce = await serve(commerce_token="secret")

    def run() -> list[int]:
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 400}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(url_of(commerce, path))
        folded = browser.execute_script(OVERFLOW)
        browser.execute_script(UNFOLD)
        found = [folded, browser.execute_script(OVERFLOW)]
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        return found

    assert await asyncio.to_thread(run) == [0, 0]


async def test_docs__keyboard_and_click__unfold_an_operation_and_mark_its_command(
    browser: Chrome, serve: Serve
) -> None:
    commerce = await serve()

    def run() -> tuple[bool, str, str]:
        browser.get(url_of(commerce, "/docs") + "#orders_create_order")
        summary = browser.find_element("css selector", "summary")
        browser.execute_script("arguments[0].focus()", summary)
        ActionChains(browser).send_keys(Keys.ENTER).perform()
        is_open = browser.execute_script(OPENED)
        command = browser.find_element("css selector", "details[open] .command")
        ActionChains(browser).click(command).perform()
        return is_open, browser.execute_script("return String(getSelection())"), command.text

    is_open, marked, command = await asyncio.to_thread(run)
    assert is_open
    assert marked.startswith(f"curl -s '{url_of(commerce, '/api/users/')}")
    assert marked == command
