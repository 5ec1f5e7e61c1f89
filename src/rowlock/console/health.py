"""Health: what the doctor finds, whether each service is ready, and what the databases say."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import asyncpg
from aiohttp import web

from rowlock.console import Features
from rowlock.console.examining import EXAMINE, SILENCE, Examination, ask
from rowlock.engine import migrations
from rowlock.engine.clusters import name_of
from rowlock.engine.database import Connection, Database
from rowlock.engine.epochs import Epochs, find_epochs
from rowlock.engine.jobs import StopJob
from rowlock.engine.statements import queries
from rowlock.errors import Unavailable
from rowlock.http.access import origin_of
from rowlock.http.fields import Text
from rowlock.pages.declaring import Pages, page
from rowlock.pages.forms import read_form
from rowlock.pages.frames import Frame
from rowlock.pages.lists import FormatQuery, none_of, page_of, read_filters, send_pages
from rowlock.settings import table
from rowlock.settings.names import DatabaseName
from rowlock.settings.table import Setting

if TYPE_CHECKING:
    from rowlock.engine.typed.leases import ListRow

ASK_S = 2.0  # how long a service may take to say whether it is ready


class SettingsQuery(FormatQuery):
    """The filters of the settings."""

    name = Text(longest=100, load_default=None)


QUERY = SettingsQuery()


class Readiness(NamedTuple):
    """What a service says of itself."""

    service: str
    is_ready: bool
    may_write: bool
    checks: Mapping[str, str]  # what is not well, by the check


class State(NamedTuple):
    """What a database says of itself."""

    problem: str | None = None  # why the rest is not known
    applied: int = 0
    missing: Sequence[str] = ()
    epochs: Sequence[str] = ()  # newest first
    leases: "Sequence[ListRow]" = ()
    standby: str | None = None
    reads_from_standby: bool = False


class HealthPages(Pages):
    """How the installation does."""

    def __init__(self, frame: Frame, features: Features) -> None:
        self._frame = frame
        self._features = features
        self._databases: Mapping[str, Database] = {
            DatabaseName.MAIN: features.main, DatabaseName.EVENTS: features.log
        }  # fmt: skip

    @page("GET", "/health")
    async def show_health(self, request: web.Request) -> web.StreamResponse:
        """Show how the services and the databases do, and what the doctor has found last."""
        services = await asyncio.gather(
            *(self._ask(name, url) for name, url in self._features.neighbours.items())
        )
        states = {name: await _examine(name, each) for name, each in self._databases.items()}
        try:
            job = await self._features.jobs.find_newest(EXAMINE)
        except (Unavailable, asyncpg.PostgresError):
            job = None  # the state of the database says why
        return await self._frame.show(
            request, "console/health.html", place="health", services=services, states=states,
            job=job, silence=SILENCE,
        )  # fmt: skip

    async def _ask(self, name: str, url: str) -> Readiness:
        """Ask a service of this machine whether it can serve, and whether its commits succeed."""

        async def get(path: str) -> tuple[bool, dict[str, str]]:
            session = self._features.outbound.session
            timeout = aiohttp.ClientTimeout(total=ASK_S)
            async with session.get(url + path, timeout=timeout, allow_redirects=False) as response:
                body: dict[str, Any] = await response.json()
                return response.status == web.HTTPOk.status_code, body["checks"]

        try:
            (is_ready, first), (may_write, second) = await asyncio.gather(
                get("/readyz"), get("/readyz/writes")
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError) as error:
            said = str(error) or type(error).__name__
            return Readiness(name, False, False, {"answer": f"none from {url}: {said}"})
        checks = {check: text for check, text in (first | second).items() if text != "ok"}
        return Readiness(name, is_ready, may_write, checks)

    @page("POST", "/health/examine")
    async def examine(self, request: web.Request) -> web.StreamResponse:
        """Let the doctor examine the installation."""
        jobs = self._features.jobs
        response = await self._frame.act(
            request, await read_form(request), jobs.start, ask(origin_of(request)), to="/health",
            tells=lambda _: "The doctor is examining the installation.",
        )  # fmt: skip
        job = await jobs.find_newest(EXAMINE)
        if job is not None and job.outcome is None and job.result is None:
            self._features.outbound.later("doctor", Examination(jobs, job).run)
        return response

    @page("POST", "/health/stop")
    async def stop(self, request: web.Request) -> web.StreamResponse:
        """Stop the examination."""
        return await self._frame.act(
            request, await read_form(request), self._features.jobs.stop, StopJob(EXAMINE),
            to="/health", tells=lambda _: "The examination was stopped.",
        )  # fmt: skip

    @page("GET", "/health/settings")
    async def list_settings(self, request: web.Request) -> web.StreamResponse:
        """List the settings of this process, without secrets."""
        asked = read_filters(request, QUERY)
        if asked.errors:
            return await self._frame.show(
                request, "console/settings.html", status=400, place="health",
                listing=none_of(asked),
            )  # fmt: skip
        part = (asked.values["name"] or "").lower()
        found = [
            each for each in table.describe() if part in f"{each.variable} {each.meaning}".lower()
        ]
        if asked.wants_csv:

            async def pages() -> Any:
                yield found

            return await send_pages(request, "settings", Setting._fields, pages(), tuple)
        return await self._frame.show(
            request, "console/settings.html", place="health", listing=page_of(asked, found, None)
        )


async def _examine(name: str, database: Database) -> State:
    """Return what a database says of itself, or why it does not."""

    async def read(connection: Connection) -> State:
        rows = await queries.database.list_applied_migrations(connection)
        applied = {row["migration_id"] for row in rows}
        epochs = Epochs(await find_epochs(connection))
        nearest = None if database.standbys is None else database.standbys.lag
        return State(
            applied=len(applied),
            missing=[each for each in migrations.known(name) if each not in applied],
            epochs=[*epochs.describe()][::-1],
            leases=await queries.leases.list(connection),
            standby=None
            if nearest is None
            else f"{name_of(nearest[0])}, {nearest[1]:.1f} s behind at most",
            reads_from_standby=database.standbys is not None,
        )

    try:
        return await database.read(read, is_fresh=True)
    except Unavailable as error:
        return State(error.message)
    except asyncpg.PostgresError as error:
        return State(f"{error}")
