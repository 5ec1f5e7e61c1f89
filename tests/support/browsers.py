"""Chromium, driven by selenium, for tests that need a real browser."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
TOKEN = "development-console-token"
WAIT_S = 30

NEEDS_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="needs Chromium and its driver: apt-get install chromium chromium-driver",
    ),
]

AXE = Path(__file__).parents[1] / "browser" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
NEEDS_AXE = pytest.mark.skipif(
    not AXE.exists(), reason="needs axe-core: npm ci --prefix tests/browser/axe"
)
RUN_AXE = """
const done = arguments[0];
axe.run(document, {resultTypes: ["violations"]}).then(
  (found) => done(found.violations.map((each) =>
    `${each.id}: ${each.nodes.map((node) => node.target.join(" ")).join(", ")}`)),
  (error) => done([String(error)]),
);
"""

Result = TypeVar("Result")


@contextmanager
def launched(profile: Path) -> Iterator[Chrome]:
    """A browser without a window, which keeps its log and what it requests."""
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("headless=new", "disable-dev-shm-usage", f"user-data-dir={profile}"):
        options.add_argument(f"--{argument}")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # it works for other users only
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with Chrome(options, ChromeService(DRIVER)) as chrome:
        chrome.set_script_timeout(WAIT_S)
        yield chrome


def until(browser: Chrome, condition: Callable[[Chrome], Result | Literal[False]]) -> Result:
    """Wait until a condition holds in the browser; return what it is."""
    return WebDriverWait(browser, WAIT_S, ignored_exceptions=[Exception]).until(condition)


def text_on(browser: Chrome) -> str:
    """What the page shows."""
    return str(browser.find_element("css selector", "body").text)


def click(browser: Chrome, selector: str) -> None:
    """Click on the first element that a selector finds, once it is there."""
    until(browser, lambda one: one.find_element("css selector", selector)).click()


def sign_in(browser: Chrome, console: str, path: str = "/orders") -> None:
    """Sign in to the console, on the way to one of its pages."""
    browser.get(console + path)
    until(browser, lambda one: one.find_element("name", "name")).send_keys("ada")
    browser.find_element("name", "token").send_keys(TOKEN)
    click(browser, "button.main")
    until(browser, lambda one: one.current_url == console + path)


def complaints(browser: Chrome) -> list[str]:
    """What the browser complained of since the last look: blocked by the policy, or failed."""
    lines = log_of(browser, "browser")
    return [line["message"] for line in lines if line["level"] in {"SEVERE", "WARNING"}]


def log_of(browser: Chrome, kind: str) -> list[dict[str, Any]]:
    """The lines of one of the browser's logs since the last look."""
    lines: list[dict[str, Any]] = browser.get_log(kind)  # type: ignore[no-untyped-call]
    return lines


def barriers(browser: Chrome) -> list[str]:
    """What axe finds on the page that keeps people out: each rule, and where it is broken."""
    # By the driver, as the page's policy lets no script in.
    source = AXE.read_text(encoding="utf-8")
    browser.execute_cdp_cmd("Runtime.evaluate", {"expression": source})
    found: list[str] = browser.execute_async_script(RUN_AXE)
    return found
