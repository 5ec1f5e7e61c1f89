"""What every page is held to, in both looks and at both ends of the widths: see places.py.

Pictures of all of them are left in test-results/pages.
"""

import asyncio
import base64
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Chrome

from tests.browser.places import CONSOLE, ENTRANCES, SHOP, Place
from tests.support.browsers import (
    NEEDS_AXE,
    NEEDS_BROWSER,
    barriers,
    click,
    complaints,
    log_of,
    text_on,
    until,
)
from tests.support.types import Connection

pytestmark = NEEDS_BROWSER

TOKEN = "development-console-token"
ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "test-results" / "pages"
WIDTHS = (375, 1440)
LOOKS = ("light", "dark")
OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
async def seeded(connection: Connection, catalogue: dict[str, int]) -> None:
    """User 1, ada, who has bought something as order 3; order 1 is approved, order 2 is pending."""
    await connection.execute(
        """
        INSERT INTO users (username, name_key, balance) VALUES ('ada', 'ada', 42401);
        INSERT INTO orders (status, amount, user_id, settled_at) VALUES
        ('approved', 7599, 1, now()),
        ('pending', 4599, 1, NULL);
        INSERT INTO order_items (order_id, product_id, quantity, price) VALUES
        (1, 1, 1, 7599), (2, 2, 1, 4599);
        """
    )


@pytest.fixture
def looks(browser: Chrome) -> Iterator[Chrome]:
    """The browser, whose look and width are its own again at the end."""
    yield browser
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def enter_console(browser: Chrome, console: str) -> None:
    browser.get(f"{console}/sign-in")
    until(browser, lambda one: one.find_element("name", "name")).send_keys("ada")
    browser.find_element("name", "token").send_keys(TOKEN)
    click(browser, "button.main")
    until(browser, lambda one: one.current_url == f"{console}/")


def enter_shop(browser: Chrome, shop: str) -> None:
    browser.get(shop)
    until(browser, lambda one: one.find_element("name", "name")).send_keys("ada")
    click(browser, "button.main")
    until(browser, lambda one: "Basket" in text_on(one))


def buy(browser: Chrome) -> None:
    click(browser, 'button[aria-label="Add Netflix"]')
    until(browser, lambda one: one.find_element("css selector", '[aria-label="Remove Netflix"]'))
    click(browser, "button.main")
    until(browser, lambda one: "/shop/receipts" in one.current_url)


def show_as(browser: Chrome, look: str, width: int) -> None:
    scheme = {"name": "prefers-color-scheme", "value": look}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 400}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def problems_of(browser: Chrome, address: str, place: Place) -> Iterator[str]:
    """Open a page in both looks and widths; take its picture; yield what is wrong with it."""
    origin = urlsplit(address).netloc
    for look in LOOKS:
        for width in WIDTHS:
            show_as(browser, look, width)
            log_of(browser, "performance")
            log_of(browser, "browser")
            browser.get(address + place.path)
            where = f"{place.path} ({look}, {width})"
            heading = until(browser, lambda one: one.find_element("css selector", "h1")).text
            if heading != place.heading:
                yield f"{where}: its heading is {heading!r}"
            if overflow := browser.execute_script(OVERFLOW):
                yield f"{where}: {overflow} pixels are beside the window"
            take_picture(browser, f"{name_of(place)}-{width}-{look}")
            yield from (f"{where}: {each}" for each in barriers(browser))
            others = {urlsplit(url).netloc for url in requested(browser)} - {origin}
            yield from (f"{where}: it asks {other}" for other in others)
            told = complaints(browser)
            if place.status >= 400:
                told = [each for each in told if f"status of {place.status}" not in each]
            yield from (f"{where}: {each}" for each in told)


def requested(browser: Chrome) -> Iterator[str]:
    """Yield the URLs that the browser has asked for since the last look."""
    for line in log_of(browser, "performance"):
        message: Mapping[str, Any] = json.loads(line["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
            if not url.startswith(("data:", "chrome:")):
                yield url


def take_picture(browser: Chrome, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    taken = browser.execute_cdp_cmd(
        "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True}
    )
    (PICTURES / f"{name}.png").write_bytes(base64.b64decode(taken["data"]))


def name_of(place: Place) -> str:
    return re.sub(r"\W+", "-", place.path).strip("-") or "overview"


@NEEDS_AXE
@pytest.mark.parametrize("place", CONSOLE, ids=name_of)
async def test_console__every_page_look_and_width__accessible_and_whole(
    looks: Chrome, console: str, seeded: None, place: Place
) -> None:
    def run() -> list[str]:
        enter_console(looks, console)
        return [*problems_of(looks, console, place)]

    assert await asyncio.to_thread(run) == []


@NEEDS_AXE
@pytest.mark.parametrize("place", SHOP, ids=name_of)
async def test_shop__every_page_look_and_width__accessible_and_whole(
    looks: Chrome, shop: str, seeded: None, place: Place
) -> None:
    def run() -> list[str]:
        enter_shop(looks, shop)
        buy(looks)
        return [*problems_of(looks, shop.removesuffix("/shop"), place)]

    assert await asyncio.to_thread(run) == []


@NEEDS_AXE
@pytest.mark.parametrize("place", ENTRANCES, ids=name_of)
async def test_entrance__every_look_and_width__accessible_and_whole(
    looks: Chrome, console: str, place: Place
) -> None:
    found = await asyncio.to_thread(lambda: [*problems_of(looks, console, place)])
    assert found == []


async def test_pages__without_javascript__read_the_same(
    browser: Chrome, console: str, seeded: None
) -> None:
    def run() -> list[str]:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        enter_console(browser, console)
        found = []
        for place in CONSOLE:
            browser.get(console + place.path)
            if place.heading != until(browser, lambda one: one.find_element("tag name", "h1")).text:
                found.append(place.path)
            elif "Pause" in text_on(browser):  # a button that could do nothing
                found.append(f"{place.path}: Pause")
        return found

    assert await asyncio.to_thread(run) == []


async def test_shop__without_javascript__reads_the_same(
    browser: Chrome, shop: str, seeded: None
) -> None:
    def run() -> list[str]:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        enter_shop(browser, shop)
        buy(browser)
        found = []
        for place in SHOP:
            browser.get(shop.removesuffix("/shop") + place.path)
            if place.heading != until(browser, lambda one: one.find_element("tag name", "h1")).text:
                found.append(place.path)
        return found

    assert await asyncio.to_thread(run) == []
