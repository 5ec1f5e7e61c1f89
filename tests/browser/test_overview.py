"""The overview in Chromium: what is live, while it is seen; a service that is away; two tabs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import asyncpg
import pytest
from selenium.webdriver import Chrome

from rowlock.services import CONSOLE
from rowlock.settings import Settings
from tests.support.browsers import (
    NEEDS_AXE,
    NEEDS_BROWSER,
    barriers,
    click,
    complaints,
    text_on,
    until,
)
from tests.support.processes import free_port
from tests.support.roles import create_app
from tests.support.servers import Server
from tests.support.services import with_tasks
from tests.support.types import Connection

pytestmark = NEEDS_BROWSER

TOKEN = "development-console-token"
LOST = "No connection."
STORE = """
INSERT INTO events (event_id, name, payload, created_at) VALUES (gen_random_uuid(), $1, '{}', now())
"""
AS_OF = "return document.querySelector('#state time').dateTime"
POINTS = "return document.querySelectorAll('.chart canvas').length"

Start: TypeAlias = Callable[[], Awaitable[Server]]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Samples come twice a second, and new events are looked for as often."""
    return settings.changed(console_sample_s=0.5, stream_poll_s=0.2, drain_idle_s=0.1)


@pytest.fixture
async def start(
    database_url: str, events_database_url: str, settings: Settings
) -> AsyncIterator[Start]:
    """Start a console on the same port as before."""
    port, started = free_port(), list[Server]()
    service = with_tasks(CONSOLE, "overview", "overview_events", "event_feed")

    async def begin() -> Server:
        app = create_app(service, settings, database_url, events_database_url)
        server = Server(app, host="localhost", port=port)
        await server.start_server()
        started.append(server)
        return server

    yield begin
    for server in started:
        await server.close()


@pytest.fixture
async def log(events_database_url: str) -> AsyncIterator[Connection]:
    """A connection to the events database."""
    connection = await asyncpg.connect(events_database_url)
    yield connection
    await connection.close()


def address_of(server: Server) -> str:
    return f"http://localhost:{server.port}"


def sign_in(browser: Chrome, console: str) -> None:
    browser.get(console)
    until(browser, lambda one: one.find_element("name", "name")).send_keys("ada")
    browser.find_element("name", "token").send_keys(TOKEN)
    click(browser, "button.main")
    until(browser, lambda one: one.find_element("id", "events"))


def shows(text: str) -> Callable[[Chrome], bool]:
    return lambda one: text in text_on(one)


async def waits(browser: Chrome, condition: Callable[[Chrome], Any]) -> None:
    await asyncio.to_thread(until, browser, condition)


async def test_overview__events_and_samples__shown_as_they_come(
    browser: Chrome, start: Start, log: Connection
) -> None:
    console = address_of(await start())
    await asyncio.to_thread(sign_in, browser, console)
    await waits(browser, shows("No events yet"))
    await log.execute(STORE, "kettle.boiled")
    await waits(browser, shows("kettle.boiled"))
    await waits(browser, lambda one: one.execute_script(POINTS))
    assert complaints(browser) == []


@NEEDS_AXE
@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1440])
async def test_overview__busy_and_in_trouble__accessible(
    browser: Chrome, start: Start, connection: Connection, look: str, width: int
) -> None:
    server = await start()
    await connection.execute(
        "INSERT INTO orders (status, amount, created_at) "
        "VALUES ('pending', 1, now() - interval '1 hour')"
    )

    def run() -> list[str]:
        scheme = {"name": "prefers-color-scheme", "value": look}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 400}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        try:
            sign_in(browser, address_of(server))
            browser.get(f"{address_of(server)}/orders/99")  # by a lane
            browser.get(address_of(server))
            complaints(browser)  # there is no such order
            until(browser, lambda one: one.find_element("id", "lane-find_order"))
            until(browser, shows("An order has waited"))
            until(browser, lambda one: one.execute_script(POINTS) > 2)
            return [*barriers(browser), *complaints(browser)]
        finally:
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
            browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    assert await asyncio.to_thread(run) == []


async def test_overview__paused__stands_still_and_catches_up(
    browser: Chrome, start: Start, log: Connection
) -> None:
    console = address_of(await start())
    await asyncio.to_thread(sign_in, browser, console)
    await waits(browser, lambda one: one.execute_script(POINTS))

    def stand() -> None:
        click(browser, "[data-pause]")
        until(browser, shows("Go on"))

    await asyncio.to_thread(stand)
    await log.execute(STORE, "kettle.boiled")

    def go_on() -> None:
        browser.execute_async_script("setTimeout(arguments[0], 1500)")  # three samples
        assert "kettle.boiled" not in text_on(browser)
        click(browser, "[data-pause]")
        until(browser, shows("kettle.boiled"))

    await asyncio.to_thread(go_on)


async def test_overview__in_a_hidden_tab__asks_for_nothing_and_catches_up(
    browser: Chrome, start: Start, log: Connection
) -> None:
    console = address_of(await start())
    await asyncio.to_thread(sign_in, browser, console)
    await waits(browser, lambda one: one.execute_script(POINTS))

    def hide() -> None:
        browser.execute_script(
            "Object.defineProperty(document, 'hidden', {get: () => window.isAway});"
            "window.isAway = true; document.dispatchEvent(new Event('visibilitychange'))"
        )
        before = browser.execute_script(AS_OF)
        browser.execute_async_script("setTimeout(arguments[0], 1500)")  # three samples
        assert browser.execute_script(AS_OF) == before

    await asyncio.to_thread(hide)
    await log.execute(STORE, "kettle.boiled")

    def come_back() -> None:
        before = browser.execute_script(AS_OF)
        browser.execute_script(
            "window.isAway = false; document.dispatchEvent(new Event('visibilitychange'))"
        )
        until(browser, shows("kettle.boiled"))
        until(browser, lambda one: one.execute_script(AS_OF) != before)

    await asyncio.to_thread(come_back)


async def test_overview__service_stopped_and_started__says_so_and_catches_up(
    browser: Chrome, start: Start, log: Connection
) -> None:
    server = await start()
    await asyncio.to_thread(sign_in, browser, address_of(server))
    await waits(browser, lambda one: LOST not in text_on(one))
    await server.close()
    await waits(browser, shows(LOST))
    await log.execute(STORE, "kettle.boiled")
    await start()
    await waits(browser, lambda one: LOST not in text_on(one))
    await waits(browser, shows("kettle.boiled"))


async def test_overview__left_and_back_again__live(
    browser: Chrome, start: Start, log: Connection
) -> None:
    console = address_of(await start())

    def go_and_return() -> None:
        sign_in(browser, console)
        click(browser, 'a[data-key="o"]')
        until(browser, lambda one: one.current_url == f"{console}/orders")
        browser.back()
        until(browser, lambda one: one.find_element("id", "events"))

    await asyncio.to_thread(go_and_return)
    await log.execute(STORE, "kettle.boiled")
    await waits(browser, shows("kettle.boiled"))


async def test_overview__in_two_tabs__one_signs_out_and_the_other_must_sign_in(
    browser: Chrome, start: Start
) -> None:
    console = address_of(await start())

    def run() -> None:
        sign_in(browser, console)
        first = browser.current_window_handle
        browser.switch_to.new_window("tab")
        browser.get(console)
        click(browser, ".who button")
        until(browser, shows("You have signed out."))
        browser.switch_to.window(first)
        browser.execute_cdp_cmd("Page.bringToFront", {})  # else it stays hidden
        until(browser, lambda one: "/sign-in" in one.current_url)

    await asyncio.to_thread(run)
