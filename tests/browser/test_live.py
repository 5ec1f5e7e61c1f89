"""The live tail and live deployments in Chromium: fast, paused, hidden, and behind."""

import asyncio
from typing import Any

import asyncpg
import pytest
from pytest_aiohttp.plugin import AiohttpClient
from selenium.webdriver import Chrome

from rowlock.services import CONSOLE
from rowlock.settings import Settings
from tests.support.browsers import NEEDS_BROWSER, click, complaints, sign_in, text_on, until
from tests.support.roles import create_app
from tests.support.servers import Server
from tests.support.services import with_tasks
from tests.support.types import Connection

pytestmark = NEEDS_BROWSER

RATE, SECONDS, PARTS = 1000, 5, 20  # events a second, for so long, in so many parts of a second
STALL_MS = 2500  # between two frames, on a machine that does other things, too
TOP = "return document.querySelector('[data-live] tr[id]')?.id || ''"
# How long the page took between two frames, at most, and how many it has made.
WATCH = """
    window.worst = 0; window.frames_made = 0; let last = performance.now();
    const look = (now) => {
        window.worst = Math.max(window.worst, now - last); last = now; window.frames_made++;
        requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
    window.busy = 0;
    new PerformanceObserver((list) => {
        for (const task of list.getEntries()) window.busy += task.duration;
    }).observe({entryTypes: ["longtask"]});"""
STORE = (
    "INSERT INTO events (event_id, name, subject, payload, actor, created_at) SELECT "
    "gen_random_uuid(), $2, 'project:1', '{\"deployment_id\": 1}', 'token', clock_timestamp() "
    "FROM generate_series(1, $1)"
)


@pytest.fixture
async def console(
    aiohttp_client: AiohttpClient, database_url: str, events_database_url: str, settings: Settings
) -> str:
    """The address of a console that follows the log; its parts are renewed only by that."""
    changed = settings.changed(stream_poll_s=0.05, pages_refresh_s=3600)
    service = with_tasks(CONSOLE, "event_feed")
    app = create_app(service, changed, database_url, events_database_url)
    server = Server(app)
    await aiohttp_client(server)  # which closes it
    return f"http://localhost:{server.port}"


@pytest.fixture
async def log(events_database_url: str) -> Any:
    """A connection to the events database."""
    connection = await asyncpg.connect(events_database_url)
    yield connection
    await connection.close()


async def test_tail__a_thousand_events_a_second__keeps_responding_and_has_the_last(
    browser: Chrome, console: str, log: Connection
) -> None:
    def begin() -> None:
        sign_in(browser, console, "/events")
        browser.execute_script(WATCH)

    await asyncio.to_thread(begin)
    loop = asyncio.get_running_loop()
    start = loop.time()
    for part in range(SECONDS * PARTS):
        await log.execute(STORE, RATE // PARTS, "order.created")
        due = start + (part + 1) / PARTS
        await asyncio.sleep(max(0.0, due - loop.time()))  # the pace is what is tested
    last = await log.fetchval("SELECT max(id) FROM events")
    assert last == RATE * SECONDS

    def look() -> tuple[float, int, int, float]:
        until(browser, lambda one: one.execute_script(TOP) == f"event-{last}")
        rows = browser.execute_script("return document.querySelectorAll('[data-live] tr').length")
        worst, frames = browser.execute_script("return [window.worst, window.frames_made]")
        busy = browser.execute_script("return window.busy")
        return worst, frames, rows, busy

    worst, frames, rows, busy = await asyncio.to_thread(look)
    print(f"longest frame {worst:.0f} ms of {frames}, {busy:.0f} ms in long tasks, {rows} rows")
    assert worst < STALL_MS
    assert rows <= 100
    assert complaints(browser) == []


async def test_tail__paused_meanwhile__catches_up_and_tells_what_it_left_out(
    browser: Chrome, console: str, log: Connection
) -> None:
    def begin() -> None:
        sign_in(browser, console, "/events")
        until(browser, lambda one: "live · 0/s" in text_on(one))
        click(browser, "[data-pause]")
        until(browser, lambda one: "paused" in text_on(one))

    await asyncio.to_thread(begin)
    await log.execute(STORE, 700, "order.created")

    def go_on() -> None:
        assert browser.execute_script(TOP) == ""
        click(browser, "[data-pause]")
        until(browser, lambda one: one.execute_script(TOP) == "event-700")
        until(browser, lambda one: "600 left out" in text_on(one))

    await asyncio.to_thread(go_on)


async def test_tail__tab_hidden_meanwhile__catches_up(
    browser: Chrome, console: str, log: Connection
) -> None:
    def hide() -> str:
        sign_in(browser, console, "/events")
        until(browser, lambda one: "live · 0/s" in text_on(one))
        tab = browser.current_window_handle
        browser.switch_to.new_window("tab")
        return tab

    tab = await asyncio.to_thread(hide)
    await log.execute(STORE, 3, "order.created")

    def show() -> None:
        browser.close()
        browser.switch_to.window(tab)
        until(browser, lambda one: one.execute_script(TOP) == "event-3")

    await asyncio.to_thread(show)


async def test_deployments__one_moves__shown_in_place(
    browser: Chrome, console: str, connection: Connection, log: Connection
) -> None:
    await connection.execute(
        "INSERT INTO users (username) VALUES ('ada');"
        "INSERT INTO projects (position, name, user_id, app_secret) VALUES (1, 'Engine', 1, 's');"
        "INSERT INTO deployments (position, project_id) VALUES (1, 1)"
    )

    def begin() -> None:
        sign_in(browser, console, "/deployments")
        assert "pending" in text_on(browser)

    await asyncio.to_thread(begin)
    await connection.execute("UPDATE deployments SET status = 'building', moved_at = now()")
    await log.execute(STORE, 1, "deployment.building")
    await asyncio.to_thread(
        until, browser, lambda one: "building" in one.find_element("id", "deployment-1").text
    )
    assert complaints(browser) == []


async def test_bookings__moved_into_a_conflict__told_and_moved_elsewhere(
    browser: Chrome, console: str, connection: Connection
) -> None:
    await connection.execute(
        "INSERT INTO service_orders (id, starts_at, fee) VALUES "
        "(1, '2026-11-24T10:00Z', 4900), (2, '2026-11-24T18:00Z', 100);"
        "INSERT INTO services (name) VALUES ('Inspection');"
        "INSERT INTO service_order_services (order_id, service_id) VALUES (1, 1), (2, 1)"
    )

    def run() -> None:
        sign_in(browser, console, "/bookings/1")
        browser.get(f"{console}/bookings/1/move?at=2026-11-24T18:30:00Z")
        click(browser, "button.main")
        until(browser, lambda one: "less than three hours away" in text_on(one))
        assert "Tue 24 Nov 2026 15:00" in text_on(browser)
        click(browser, "a.button")  # to the free times
        until(browser, lambda one: "Moving booking 1" in text_on(one))
        click(browser, "a.room[href*='2026-11-25T09']")
        click(browser, "button.main")
        until(browser, lambda one: "Booking 1 is at Wed 25 Nov 2026 09:00" in text_on(one))

    await asyncio.to_thread(run)
    at = await connection.fetchval("SELECT starts_at FROM service_orders WHERE id = 1")
    assert at.isoformat() == "2026-11-25T09:00:00+00:00"
    assert all("409 (Conflict)" in line for line in complaints(browser))
