"""The shop in Chromium: sign in, buy, every refusal, the back button, two tabs, no JavaScript."""

import asyncio

import pytest
from selenium.webdriver import Chrome

from tests.support.browsers import NEEDS_BROWSER, click, complaints, text_on, until
from tests.support.types import Connection

pytestmark = NEEDS_BROWSER

ADD = 'button[aria-label="Add {}"]'
BUY = "button.main"


def sign_in(browser: Chrome, shop: str, name: str = "ada") -> None:
    browser.get(shop)
    until(browser, lambda one: one.find_element("name", "name")).send_keys(name)
    click(browser, "button.main")
    until(browser, lambda one: "Basket" in text_on(one))


def add(browser: Chrome, name: str) -> None:
    click(browser, ADD.format(name))
    until(browser, lambda one: one.find_element("css selector", f'[aria-label="Remove {name}"]'))


@pytest.mark.parametrize("scripts", [True, False])
async def test_shop__sign_in_and_buy__a_receipt(
    browser: Chrome, shop: str, connection: Connection, *, scripts: bool
) -> None:
    def run() -> str:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
        sign_in(browser, shop)
        add(browser, "Netflix")
        click(browser, BUY)
        until(browser, lambda one: "/shop/receipts" in one.current_url)
        return text_on(browser)

    page = await asyncio.to_thread(run)
    assert "Bought for 75.99 EUR: receipt 1." in page
    assert await connection.fetchval("SELECT balance FROM users") == 424_01
    assert complaints(browser) == []


async def test_buy__a_double_click__once(
    browser: Chrome, shop: str, connection: Connection
) -> None:
    def run() -> None:
        sign_in(browser, shop)
        add(browser, "Spotify")
        # Two at once, whatever the script of the page thinks of it.
        browser.execute_script(
            "const form = document.querySelector('form.act');"
            "const body = new URLSearchParams(new FormData(form));"
            "const sent = () => fetch(form.action, {method: 'POST', body});"
            "window.both = Promise.all([sent(), sent()]).then(both => both.map(one => one.status))"
        )
        statuses = browser.execute_async_script("window.both.then(arguments[0])")
        assert statuses == [200, 200]

    await asyncio.to_thread(run)
    assert await connection.fetchval("SELECT count(*) FROM orders") == 1


async def test_buy__in_two_tabs__the_second_is_refused(
    browser: Chrome, shop: str, connection: Connection
) -> None:
    def run() -> str:
        sign_in(browser, shop)
        add(browser, "Netflix")
        first = browser.current_window_handle
        browser.switch_to.new_window("tab")
        browser.get(shop)
        click(browser, BUY)
        until(browser, lambda one: "Bought for" in text_on(one))
        browser.switch_to.window(first)
        click(browser, BUY)
        return until(browser, lambda one: "Nothing was bought" in text_on(one) and text_on(one))

    assert "you own some of it already" in str(await asyncio.to_thread(run))
    assert await connection.fetchval("SELECT count(*) FROM orders") == 1


async def test_buy__the_back_button_and_again__not_bought_twice(
    browser: Chrome, shop: str, connection: Connection
) -> None:
    def run() -> str:
        sign_in(browser, shop)
        add(browser, "Netflix")
        click(browser, BUY)
        until(browser, lambda one: "/shop/receipts" in one.current_url)
        browser.back()
        until(browser, lambda one: one.current_url.endswith("/shop"))
        buttons = browser.find_elements("css selector", BUY)
        if buttons:  # the browser shows the page as it was
            buttons[0].click()
            until(browser, lambda one: "/shop/receipts" in one.current_url)
        return text_on(browser)

    await asyncio.to_thread(run)
    assert await connection.fetchval("SELECT count(*) FROM orders") == 1
    assert await connection.fetchval("SELECT balance FROM users") == 424_01


async def test_buy__over_the_balance_or_retired__refused_in_words(
    browser: Chrome, shop: str, connection: Connection
) -> None:
    def fill() -> str:
        sign_in(browser, shop)
        add(browser, "Gym")
        add(browser, "Netflix")
        click(browser, BUY)
        return until(browser, lambda one: "Nothing was bought" in text_on(one) and text_on(one))

    assert "it costs 565.99 EUR, and your balance is 500.00 EUR" in str(
        await asyncio.to_thread(fill)
    )
    await connection.execute("UPDATE products SET retired_at = now() WHERE slug = 'gym'")

    def buy() -> str:
        click(browser, BUY)
        return until(browser, lambda one: "not sold any more" in text_on(one) and text_on(one))

    assert "gym is not sold any more" in str(await asyncio.to_thread(buy))
    assert await connection.fetchval("SELECT count(*) FROM orders") == 0
