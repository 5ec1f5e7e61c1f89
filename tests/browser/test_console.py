"""The console in Chromium: live parts, keys, a lost connection, widths, no other origin."""

import asyncio
import json
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys

from tests.support.browsers import (
    NEEDS_BROWSER,
    click,
    complaints,
    log_of,
    sign_in,
    text_on,
    until,
)
from tests.support.types import Connection

pytestmark = NEEDS_BROWSER

OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
async def order(connection: Connection, catalogue: dict[str, int]) -> None:
    """Order 1, which is pending."""
    await connection.execute(
        "INSERT INTO orders (status, amount) VALUES ('pending', 7599);"
        "INSERT INTO order_items (order_id, product_id, quantity, price) VALUES (1, 1, 1, 7599)"
    )


async def test_order__settled_meanwhile__shown_in_place(
    browser: Chrome, console: str, order: None, connection: Connection
) -> None:
    def begin() -> None:
        sign_in(browser, console, "/orders/1")
        assert "Waits to be settled" in text_on(browser)

    await asyncio.to_thread(begin)
    await connection.execute("UPDATE orders SET status = 'approved', settled_at = now()")
    await asyncio.to_thread(until, browser, lambda one: "Approved" in text_on(one))
    assert complaints(browser) == []


async def test_page__paused__stands_still(
    browser: Chrome, console: str, order: None, connection: Connection
) -> None:
    def begin() -> None:
        sign_in(browser, console, "/orders/1")
        click(browser, "[data-pause]")
        until(browser, lambda one: "Go on" in text_on(one))

    await asyncio.to_thread(begin)
    await connection.execute("UPDATE orders SET status = 'approved', settled_at = now()")

    def go_on() -> None:
        browser.execute_async_script("setTimeout(arguments[0], 1200)")  # two ticks
        assert "Waits to be settled" in text_on(browser)
        click(browser, "[data-pause]")
        until(browser, lambda one: "Approved" in text_on(one))

    await asyncio.to_thread(go_on)


@pytest.mark.parametrize("scripts", [True, False])
async def test_cancel__asked_and_confirmed__told(
    browser: Chrome, console: str, order: None, connection: Connection, *, scripts: bool
) -> None:
    def run() -> None:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
        sign_in(browser, console, "/orders/1")
        click(browser, "a.danger")
        click(browser, "button.danger")
        until(browser, lambda one: "Order 1 was cancelled." in text_on(one))

    await asyncio.to_thread(run)
    assert await connection.fetchval("SELECT status FROM orders") == "cancelled"


async def test_keys__pressed__lead_to_places(browser: Chrome, console: str, order: None) -> None:
    def run() -> None:
        sign_in(browser, console, "/orders/1")
        ActionChains(browser).send_keys("?").perform()
        until(browser, lambda one: one.find_element("css selector", "dialog[open]"))
        ActionChains(browser).send_keys(Keys.ESCAPE).perform()
        ActionChains(browser).send_keys("g", "o").perform()
        until(browser, lambda one: one.current_url == f"{console}/orders")
        ActionChains(browser).send_keys("/").perform()
        focused = until(browser, lambda one: one.switch_to.active_element.get_attribute("name"))
        assert focused == "user"

    await asyncio.to_thread(run)


async def test_connection__lost_and_back__said(browser: Chrome, console: str, order: None) -> None:
    def run() -> None:
        sign_in(browser, console, "/orders/1")
        network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        browser.execute_cdp_cmd("Network.enable", {})
        change = "Network.emulateNetworkConditions"
        browser.execute_cdp_cmd(change, network | {"offline": True})
        until(browser, lambda one: "No connection." in text_on(one))
        browser.execute_cdp_cmd(change, network | {"offline": False})
        until(browser, lambda one: "No connection." not in text_on(one))

    await asyncio.to_thread(run)


async def test_part__that_cannot_be_read__said_until_it_can(
    browser: Chrome, console: str, order: None, connection: Connection
) -> None:
    await asyncio.to_thread(sign_in, browser, console)
    await connection.execute("ALTER TABLE order_items RENAME TO away")
    await asyncio.to_thread(until, browser, lambda one: "may be old" in text_on(one))
    await connection.execute("ALTER TABLE away RENAME TO order_items")
    await asyncio.to_thread(until, browser, lambda one: "may be old" not in text_on(one))


@pytest.mark.parametrize("width", [375, 1440])
async def test_pages__any_width__no_sideways_scrolling(
    browser: Chrome, console: str, order: None, width: int
) -> None:
    def run() -> list[int]:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 400}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        try:
            sign_in(browser, console)
            found = []
            for path in ("/", "/orders", "/orders/1", "/orders/1/cancel", "/orders/99"):
                browser.get(console + path)
                found.append(browser.execute_script(OVERFLOW))
            return found
        finally:
            browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    assert await asyncio.to_thread(run) == [0] * 5


@pytest.mark.parametrize("path", ["/orders", "/docs/try"])
async def test_pages__what_they_load__of_no_other_origin_and_little(
    browser: Chrome, console: str, order: None, path: str
) -> None:
    def run() -> list[str]:
        sign_in(browser, console)
        log_of(browser, "performance")
        browser.get(console + path)
        if path == "/docs/try":
            until(browser, lambda one: "/healthz" in text_on(one))
        messages = [
            json.loads(line["message"])["message"] for line in log_of(browser, "performance")
        ]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    urls = await asyncio.to_thread(run)
    assert urls
    assert {urlsplit(url).netloc for url in urls if not url.startswith("data:")} == {
        urlsplit(console).netloc
    }
    assert complaints(browser) == []
