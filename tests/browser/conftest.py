"""A real browser, and the services whose pages it opens."""

from collections.abc import Iterator

import pytest
from pytest_aiohttp.plugin import AiohttpClient
from selenium.webdriver import Chrome

from rowlock.services import COMMERCE, CONSOLE
from rowlock.settings import Settings
from tests.support.browsers import launched, log_of
from tests.support.roles import create_app
from tests.support.servers import Server
from tests.support.services import quiet


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A browser without a window."""
    with launched(tmp_path_factory.mktemp("profile")) as chrome:
        yield chrome


@pytest.fixture
def browser(chromium: Chrome) -> Chrome:
    """The browser, without cookies, with one tab."""
    for handle in chromium.window_handles[1:]:
        chromium.switch_to.window(handle)
        chromium.close()
    chromium.switch_to.window(chromium.window_handles[0])
    chromium.get("about:blank")
    chromium.execute_cdp_cmd("Network.clearBrowserCookies", {})
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    log_of(chromium, "browser")
    return chromium


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Live parts renew themselves twice a second."""
    return settings.changed(pages_refresh_s=0.5, rail_s=0.0)


@pytest.fixture
async def shop(
    aiohttp_client: AiohttpClient,
    database_url: str,
    settings: Settings,
    catalogue: dict[str, int],
) -> str:
    """The address of the shop."""
    app = create_app(quiet(COMMERCE), settings, database_url)
    server = Server(app)
    await aiohttp_client(server)  # which closes it
    return f"http://localhost:{server.port}/shop"


@pytest.fixture
async def console(
    aiohttp_client: AiohttpClient, database_url: str, events_database_url: str, settings: Settings
) -> str:
    """The address of the console."""
    app = create_app(quiet(CONSOLE), settings, database_url, events_database_url)
    server = Server(app)
    await aiohttp_client(server)  # which closes it
    return f"http://localhost:{server.port}"
