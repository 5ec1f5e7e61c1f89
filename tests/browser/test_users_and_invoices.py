"""Users and invoices of the console in Chromium: marks in a live list, forms without scripts."""

import asyncio

import pytest
from selenium.webdriver import Chrome

from tests.support.browsers import (
    NEEDS_BROWSER,
    click,
    complaints,
    sign_in,
    text_on,
    until,
)
from tests.support.types import Connection

pytestmark = NEEDS_BROWSER

OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
TWO_TICKS = "setTimeout(arguments[0], 1200)"
MARKED = "[data-mark]:checked"


@pytest.fixture
async def invoices(connection: Connection) -> None:
    """Invoices 1 to 3 of user 1, who has 100.00; all are pending. And user 2."""
    await connection.execute(
        """
        INSERT INTO users (username, balance) VALUES ('ada', 10000), ('bob', 0);
        INSERT INTO ledger_entries (
            user_id, amount, balance_after, reason, reference, document_kind, document_id, contra
        ) VALUES (1, 10000, 10000, 'opening_balance', 'user:1', 'opening', 1, 'opening');
        INSERT INTO invoices (user_id, amount, label, status)
        SELECT 1, 1000 * n, 'A label that is long enough to be cut ' || n, 'pending'
        FROM generate_series(1, 3) AS n
        """
    )


@pytest.mark.parametrize("scripts", [True, False])
async def test_marked__paid_together__told_with_a_count(
    browser: Chrome, console: str, invoices: None, connection: Connection, *, scripts: bool
) -> None:
    def run() -> None:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
        sign_in(browser, console, "/invoices")
        for number in (1, 3):
            click(browser, f"[data-mark][value='{number}']")
        click(browser, ".marked button")
        until(browser, lambda one: "Pay 2 invoices, 40.00 EUR in all?" in text_on(one))
        click(browser, "button.main")
        until(browser, lambda one: "2 invoices were paid." in text_on(one))
        assert complaints(browser) == []

    await asyncio.to_thread(run)
    assert await connection.fetchval("SELECT balance FROM users WHERE id = 1") == 14000


async def test_marks__while_the_list_renews_itself__stay(
    browser: Chrome, console: str, invoices: None, connection: Connection
) -> None:
    def mark() -> None:
        sign_in(browser, console, "/invoices")
        click(browser, "[data-mark-all]")
        assert len(browser.find_elements("css selector", MARKED)) == 3

    await asyncio.to_thread(mark)
    await connection.execute("UPDATE invoices SET status = 'void', voided_at = now() WHERE id = 2")

    def unmark() -> None:
        browser.execute_async_script(TWO_TICKS)
        assert len(browser.find_elements("css selector", MARKED)) == 3
        click(browser, "[data-mark-all]")
        assert browser.find_elements("css selector", MARKED) == []
        until(browser, lambda one: one.find_element("css selector", "#invoice-2 .chip.off"))

    await asyncio.to_thread(unmark)


@pytest.mark.parametrize("scripts", [True, False])
async def test_transfer__entered_checked_and_sent__told(
    browser: Chrome, console: str, invoices: None, connection: Connection, *, scripts: bool
) -> None:
    def run() -> None:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
        sign_in(browser, console, "/users/1/transfer")
        for name, text in (("to", "2"), ("amount", "2.50"), ("label", "Lunch")):
            browser.find_element("name", name).send_keys(text)
        click(browser, "button.main")
        until(browser, lambda one: "Transfer 2.50 EUR?" in text_on(one))
        click(browser, "button.main")
        until(browser, lambda one: "Transferred 2.50 EUR from user 1 to user 2." in text_on(one))
        browser.back()  # to the page that asked: its form, sent again, is told the same
        click(browser, "button.main")
        until(browser, lambda one: "Transferred 2.50 EUR from user 1 to user 2." in text_on(one))

    await asyncio.to_thread(run)
    assert await connection.fetchval("SELECT balance FROM users WHERE id = 2") == 250


@pytest.mark.parametrize("width", [375, 1440])
async def test_pages__any_width__no_sideways_scrolling(
    browser: Chrome, console: str, invoices: None, width: int
) -> None:
    paths = (
        "/users",
        "/users/new",
        "/users/1",
        "/users/1/statement",
        "/users/1/anonymise",
        "/users/1/transfer?to=2&amount=1&label=x",
        "/invoices",
        "/invoices/1",
        "/invoices/lines",
        "/invoices/marked/pay?invoice=1&invoice=2",
    )

    def run() -> list[int]:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 400}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        try:
            sign_in(browser, console)
            found = []
            for path in paths:
                browser.get(console + path)
                found.append(browser.execute_script(OVERFLOW))
            return found
        finally:
            browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    assert await asyncio.to_thread(run) == [0] * len(paths)
