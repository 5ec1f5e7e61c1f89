"""The previous release and this one, on the same databases."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from rowlock.ops.drill.processes import ServeProcess, environment
from tests.support import releases
from tests.support.databases import cloned
from tests.support.processes import doctor, free_port, rowlock
from tests.support.releases import Release

SERVICES = ("commerce", "projects", "events")

Urls = dict[str, str]  # of the services, by name
# "old" or "new", services if not all, and settings
Serve = Callable[..., AbstractAsyncContextManager[Urls]]


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The previous release."""
    if not releases.is_available():
        pytest.skip("the repository's history is not here")
    return Release(tmp_path_factory.mktemp("release"))


@pytest.fixture
def databases(server_url: str, release: Release) -> Iterator[dict[str, str]]:
    """Databases as the previous release has made and filled them, as settings."""
    with cloned(server_url, "template1") as main, cloned(server_url, "template1") as events:
        urls = {"database_url": main, "events_database_url": events}
        release.run("migrate", "up", **urls)
        release.run("seed", **urls)
        yield urls


@pytest.fixture
async def migrate(databases: dict[str, str]) -> Callable[[], object]:
    """Apply this release's migrations, and let `doctor` look at the result."""

    async def run() -> None:
        for run_to_its_end in (partial(rowlock, "migrate", "up"), doctor):
            status, printed = await run_to_its_end(**databases)
            assert status == 0, printed

    return run


@pytest.fixture
def serve(databases: dict[str, str], release: Release, tmp_path: Path) -> Serve:
    """Serve by one of the releases; several may do so at once."""

    @asynccontextmanager
    async def start(which: str, *services: str, **changes: object) -> AsyncIterator[Urls]:
        ports = {name: free_port() for name in SERVICES}
        settings: dict[str, object] = {f"{name}_port": port for name, port in ports.items()}
        settings |= databases | {"log_requests": 0} | changes
        if which == "new":  # else it ends the demo data's ongoing deployments
            settings["deployment_timeout_s"] = 1_000_000
        process = ServeProcess(
            *services,
            environment=release.environment(**settings)
            if which == "old"
            else environment(**settings),
            output=tmp_path / f"{which}.log",
            command=(sys.executable, "-P", "-m", "rowlock"),
        )
        urls = {name: f"http://127.0.0.1:{ports[name]}" for name in services or SERVICES}
        try:
            for url in urls.values():
                await process.start(url, timeout_s=60)
            yield urls
        finally:
            if process.is_running:
                await process.kill()

    return start
