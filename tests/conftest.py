"""Real parts only: a test that needs a database gets one of its own, migrated and empty."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, closing
from decimal import Decimal

import asyncpg
import hypothesis
import psycopg
import pytest
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.engine import migrations
from rowlock.engine.database import Database
from rowlock.ops import embedded
from rowlock.services import COMMERCE, EVENTS, PROJECTS
from rowlock.settings import Settings
from tests.support import event_types, roles, statements
from tests.support.contract import bearer
from tests.support.databases import Databases, cloned, on_server, rename
from tests.support.processes import free_port
from tests.support.roles import create_app
from tests.support.services import quiet, with_tasks
from tests.support.types import Client, Connection

TEST_DATABASE_URL = "ROWLOCK_TEST_DATABASE_URL"

# How long an example takes says nothing of the code: the machine may be slow, or stall. Each run
# has the same examples, so that what fails is the change. To look for new ones:
# make test PYTEST='-m hypothesis --hypothesis-profile=random'
hypothesis.settings.register_profile(
    "random", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile(
    "same", hypothesis.settings.get_profile("random"), derandomize=True, database=None
)
hypothesis.settings.load_profile("same")

OWN_FOLDER = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep the files of this run in a folder of its own.

    By default, all runs of a user share one, which each closes to other users when it starts: as
    root, the servers of the runs beside it could not read their files any more.
    """
    is_worker = hasattr(config, "workerinput")  # of pytest-xdist: it gets a part of the folder
    if config.option.basetemp is None and not is_worker:
        config.option.basetemp = config.stash[OWN_FOLDER] = tempfile.mkdtemp(prefix="rowlock-")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remove that folder, unless there is something to look into."""
    folder = session.config.stash.get(OWN_FOLDER, None)
    if folder is not None and exitstatus == pytest.ExitCode.OK:
        shutil.rmtree(folder, ignore_errors=True)


def pytest_xdist_auto_num_workers() -> int:
    """One process on a configured server: an open transaction holds back each outbox there.

    Otherwise one more than there are processors, as tests wait, too: for timeouts and locks.
    """
    return 0 if TEST_DATABASE_URL in os.environ else (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> None:
    """Settings of the shell that runs the tests must not reach them."""
    for name in [name for name in os.environ if name.startswith("ROWLOCK_")]:
        if name != TEST_DATABASE_URL:
            del os.environ[name]


@pytest.fixture(scope="session", autouse=True)
def nulls() -> Iterator[list[str]]:
    """The nulls, in what statements take and return, that their headers rule out."""
    with statements.watched() as found:
        yield found


@pytest.fixture(autouse=True)
def hold_headers(nulls: list[str]) -> Iterator[None]:
    """Fail a test in which there were any."""
    yield
    statements.check(nulls)


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a maintenance database on a real server."""
    configured = os.environ.get(TEST_DATABASE_URL)
    if configured:
        with roles.created(configured):
            yield configured
        return
    with embedded.running(tmp_path_factory.mktemp("server"), start_timeout_s=60) as urls:
        url = urls["rowlock"]
        with psycopg.connect(url, autocommit=True) as connection:
            # Nothing here outlives the machine: crash tests kill processes, not the kernel.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("ALTER SYSTEM SET full_page_writes = off")
            connection.execute("ALTER SYSTEM SET deadlock_timeout = '100ms'")
            # Plans must not depend on whether it has come by.
            connection.execute("ALTER SYSTEM SET autovacuum = off")
            connection.execute("SELECT pg_reload_conf()")
        with roles.created(url):
            yield url


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """The name of a migrated, empty main database to clone."""
    yield from _template(server_url, "main")


@pytest.fixture(scope="session")
def events_template(server_url: str) -> Iterator[str]:
    """The name of a migrated, empty events database to clone."""
    yield from _template(server_url, "events")


def _template(server_url: str, database: str) -> Iterator[str]:
    name = f"rowlock_template_{database}_{os.getpid()}"
    on_server(server_url, f"CREATE DATABASE {name}")
    migrations.up(rename(server_url, name), database)
    roles.grant(rename(server_url, name), database)
    yield name
    on_server(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty_database_url(server_url: str) -> Iterator[str]:
    """A database without any tables."""
    with cloned(server_url, "template1") as url:
        yield url


@pytest.fixture(scope="session")
def main_databases(server_url: str, template: str) -> Iterator[Databases]:
    """Migrated main databases to borrow."""
    yield from _databases(server_url, template)


@pytest.fixture(scope="session")
def events_databases(server_url: str, events_template: str) -> Iterator[Databases]:
    """Migrated events databases to borrow."""
    yield from _databases(server_url, events_template)


def _databases(server_url: str, template: str) -> Iterator[Databases]:
    with ExitStack() as clones:
        databases = Databases(lambda: clones.enter_context(cloned(server_url, template)))
        with closing(databases):
            yield databases


@pytest.fixture
def unused_tcp_port() -> int:
    """A port that nothing listens on, and that no client and no other pytest takes meanwhile."""
    return free_port()


@pytest.fixture
def unused_tcp_port_factory() -> Callable[[], int]:
    """What finds several of them."""
    return free_port


@pytest.fixture
def older_events() -> None:
    """For tests that write events as an earlier release did: these are not held to their types."""


@pytest.fixture
def database_url(request: pytest.FixtureRequest, main_databases: Databases) -> Iterator[str]:
    """A migrated database of the test's own. Each event there must be as its type says."""
    found: list[event_types.Row] = []
    with main_databases.lent(lambda session: found.extend(event_types.outbox(session))) as url:
        yield url
    if "older_events" not in request.fixturenames:
        event_types.check(found)


@pytest.fixture
def events_database_url(events_databases: Databases) -> Iterator[str]:
    """A migrated events database of the test's own. Its own events must be as their types say."""
    found: list[event_types.Row] = []
    with events_databases.lent(lambda session: found.extend(event_types.own(session))) as url:
        yield url
    event_types.check(found)


@pytest.fixture(scope="session")
def shared_database_urls(
    server_url: str, template: str, events_template: str
) -> Iterator[dict[str, str]]:
    """Migrated databases, main and events, for tests that leave nothing in them."""
    with cloned(server_url, template) as main, cloned(server_url, events_template) as events:
        yield {"main": main, "events": events}


@pytest.fixture(scope="session")
def shared_database_url(shared_database_urls: dict[str, str]) -> str:
    """The main one of them."""
    return shared_database_urls["main"]


# Longer than by default where a test needs a wait to end well: the machine may be slow, or stall.
# One that is about the end of such a wait sets a short one.
GENEROUS: dict[str, object] = {
    "statement_timeout_s": 10.0,
    "lock_timeout_s": 10.0,
    "batch_wait_s": 60.0,
    "turn_wait_s": 60.0,
    "metrics_timeout_s": 10.0,
    "events_timeout_s": 20.0,
    "auth0_timeout_s": 20.0,
}


@pytest.fixture
def settings() -> Settings:
    return Settings().changed(opening_balance=Decimal(500), log_requests=False, **GENEROUS)


@pytest.fixture
async def database(database_url: str, settings: Settings) -> AsyncIterator[Database]:
    async with Database(database_url, settings.database) as database:
        yield database


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """A connection of the test's own, for arranging and looking."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def generic_plans(connection: Connection) -> AsyncIterator[None]:
    """Plan as PostgreSQL does after some executions, and then for as long as a session lasts."""
    name = await connection.fetchval("SELECT quote_ident(current_database())")
    await connection.execute(f"ALTER DATABASE {name} SET plan_cache_mode = force_generic_plan")
    yield
    await connection.execute(f"ALTER DATABASE {name} RESET plan_cache_mode")


@pytest.fixture
async def commerce(aiohttp_client: AiohttpClient, database_url: str, settings: Settings) -> Client:
    """A client of the commerce service, over real HTTP; nothing runs in its background."""
    client: Client = await aiohttp_client(create_app(quiet(COMMERCE), settings, database_url))
    return client


@pytest.fixture
async def events(
    aiohttp_client: AiohttpClient, events_database_url: str, settings: Settings
) -> Client:
    """An authorized client of the events service, over real HTTP, with its feed.

    Without housekeeping: it removes events past the retention, and a reader that meets the making
    of a partition may miss the events that move into it. So the partitions are here already.
    """
    on_server(
        events_database_url,
        "SELECT ensure_events_partition((now() + make_interval(months => n))::date) "
        "FROM generate_series(0, 2) AS n",
    )
    app = create_app(with_tasks(EVENTS, "event_feed"), settings, events_database_url)
    client: Client = await aiohttp_client(app, headers=bearer(settings.addresses.events_token))
    return client


@pytest.fixture
async def projects(aiohttp_client: AiohttpClient, database_url: str, settings: Settings) -> Client:
    """A client of the projects service that sends its token, over real HTTP."""
    app = create_app(quiet(PROJECTS), settings, database_url)
    client: Client = await aiohttp_client(app, headers=bearer(settings.addresses.projects_token))
    return client


@pytest.fixture
async def catalogue(connection: Connection) -> dict[str, int]:
    """Three products; their prices in minor units, by slug."""
    prices = {"netflix": 7599, "spotify": 4599, "gym": 49000}
    await connection.executemany(
        "INSERT INTO products (slug, name, price) VALUES ($1, $2, $3)",
        [(slug, slug.title(), price) for slug, price in prices.items()],
    )
    return prices
