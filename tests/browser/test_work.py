"""The console in Chromium: all dead letters sent again with progress, and the marked ones."""

import asyncio

import pytest
from selenium.webdriver import Chrome

from rowlock.delivery.dead_letters import PAGE, REPLAY_ALL, replay_turn
from rowlock.engine.database import Database
from rowlock.engine.jobs import Jobs
from rowlock.settings import Settings
from tests.support.browsers import NEEDS_BROWSER, click, complaints, sign_in, text_on, until
from tests.support.types import Connection

pytestmark = NEEDS_BROWSER


@pytest.fixture
async def letters(connection: Connection) -> None:
    """More dead letters than a job sends at once."""
    await connection.execute(
        "INSERT INTO outbox_dead_letters "
        "(event_id, name, subject, payload, created_at, status, error) SELECT gen_random_uuid(), "
        "'it.is', 'it:' || n, '{}', now(), 422, 'too long' FROM generate_series(1, $1) AS n",
        PAGE + 1,
    )


async def test_dead_letters__all_sent_again__progress_in_place(
    browser: Chrome, console: str, letters: None, database_url: str, settings: Settings
) -> None:
    def begin() -> None:
        sign_in(browser, console, "/dead-letters")
        click(browser, "a[href*='retry-all']")
        until(browser, lambda one: f"Send {PAGE + 1} events again?" in text_on(one))
        click(browser, "button.main")
        until(browser, lambda one: f"Sending again: 0 of {PAGE + 1}" in text_on(one))

    def shows(text: str) -> None:
        until(browser, lambda one: text in text_on(one))

    await asyncio.to_thread(begin)
    async with Database(database_url, settings.database) as database:
        jobs = Jobs(database, settings.batches, {REPLAY_ALL: replay_turn})
        await jobs.turn()
        await asyncio.to_thread(shows, f"Sending again: {PAGE} of {PAGE + 1}")
        while await jobs.turn():
            pass
    await asyncio.to_thread(shows, f"Sent again: {PAGE + 1} of {PAGE + 1}")
    await asyncio.to_thread(shows, "No dead letters: all is well")
    assert complaints(browser) == []


async def test_marks__one_marked__the_list_stands_still_and_all_marks_all(
    browser: Chrome, console: str, letters: None, connection: Connection
) -> None:
    def mark() -> int:
        sign_in(browser, console, "/dead-letters")
        click(browser, "[data-mark-all]")
        return len(browser.find_elements("css selector", "[data-mark]:checked"))

    assert await asyncio.to_thread(mark) == 50

    def ask() -> None:
        button = "//button[starts-with(., 'Send the marked ones again')]"
        browser.find_element("xpath", button).click()
        until(browser, lambda one: "Send 50 events again?" in text_on(one))
        click(browser, "button.main")
        until(browser, lambda one: "50 events went back into the outbox." in text_on(one))

    await asyncio.to_thread(ask)
    assert await connection.fetchval("SELECT count(*) FROM outbox_dead_letters") == PAGE - 49
    assert complaints(browser) == []
