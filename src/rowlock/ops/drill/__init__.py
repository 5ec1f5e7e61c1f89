"""`rowlock drill`: a crash drill on real processes and a scratch database of its own.

Clients write through the API, each write with an idempotency key, and send it again until they
know the outcome. Meanwhile processes are killed and started again. At the end, what was
acknowledged must be stored exactly once, and nothing else.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from rowlock.accounts.transactions import lock_users_by_name
from rowlock.engine import migrations
from rowlock.engine.database import Database
from rowlock.engine.statements import queries
from rowlock.errors import StartRefused
from rowlock.ops import embedded, seed
from rowlock.ops.doctor import Finding
from rowlock.ops.drill import audit
from rowlock.ops.drill.clients import Client, Grounds
from rowlock.ops.drill.journal import Journal
from rowlock.ops.drill.stack import POSTGRES, Stack
from rowlock.projects.rules import CreateProject
from rowlock.projects.transactions import create_projects
from rowlock.settings import Settings
from rowlock.settings.names import ServiceName

WRITTEN_TO = ("commerce", "projects", "commerce", "events")  # by the clients, in turn
PROJECTS = 8
SECRET = "drill-secret"  # noqa: S105
SETTLE_TIMEOUT_S = 120.0  # for the last orders and events, once the kills are over
START_TIMEOUT_S = 60.0
DOWN_S = 1.0  # the longest time that a victim stays down
BETWEEN_KILLS_S = 5.0  # of one victim, on average
REPORT_S = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """What to kill, under how many clients, and for how long."""

    data_dir: Path  # a folder for this drill only
    duration_s: float
    clients: int
    kills_postgres: bool
    seed: int  # of what is random about the kills and the clients


@dataclass(frozen=True, slots=True)
class Report:
    """What the clients and the kills did, and what the audit found."""

    journal: Journal
    kills: Counter[str]
    findings: list[Finding]


Progress = Callable[[float, int, int], None]  # seconds gone, writes acknowledged, kills


def run(plan: Plan, on_progress: Progress) -> Report:
    """Run the drill. Raises StartRefused if the services can't be started at all."""
    with embedded.running(plan.data_dir, START_TIMEOUT_S) as names:
        urls = {"main": names["rowlock"], "events": names["rowlock_events"]}
        for name, url in urls.items():
            migrations.up(url, name)
        return asyncio.run(_run(plan, urls, on_progress))


async def _run(plan: Plan, urls: dict[str, str], on_progress: Progress) -> Report:
    settings = Settings().database
    stack = Stack(plan.data_dir, urls)
    journal = Journal()
    async with (
        Database(urls["main"], settings) as main,
        Database(urls["events"], settings) as events,
    ):
        grounds = await _prepare(main)
        async with stack.running():
            await _settle(main)  # the demo data's events
            before = await audit.take(main, events)
            kills = await _fight(plan, stack, grounds, journal, on_progress)
            findings = [await _settle(main)]
        findings.append(stack.finding())
        findings += audit.compare(before, await audit.take(main, events), journal)
        findings += await audit.examine(main, urls)
    return Report(journal, kills, findings)


async def _prepare(main: Database) -> Grounds:
    """Load the demo data, and projects whose secret is known."""
    await seed.demo(main)
    async with main.transaction() as connection:
        services = await queries.service_orders.list_services(connection)
        owner = (await lock_users_by_name(connection, ["ada"]))["ada"]
        projects = [
            CreateProject(f"Drill {number}", owner.id, SECRET) for number in range(PROJECTS)
        ]
        project_ids = await create_projects(connection, projects)
        products = await queries.benefits.list_products(connection)
    return Grounds(
        product_ids=[row["id"] for row in products],
        slugs=[row["slug"] for row in products],
        service_ids=[str(row["id"]) for row in services],
        project_ids=project_ids,
        secret=SECRET,
    )


async def _fight(
    plan: Plan, stack: Stack, grounds: Grounds, journal: Journal, on_progress: Progress
) -> Counter[str]:
    """Let clients write and processes die until the time is up; return the kills."""
    stop = asyncio.Event()
    kills: Counter[str] = Counter()
    victims: list[str] = [*ServiceName, *([POSTGRES] if plan.kills_postgres else ())]
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for number in range(plan.clients):
            rng = random.Random(f"{plan.seed} client {number}")  # noqa: S311
            service = WRITTEN_TO[number % len(WRITTEN_TO)]
            client = Client(number, service, session, stack.urls, grounds, journal, rng)
            group.create_task(client.run(stop))
        for victim in victims:
            rng = random.Random(f"{plan.seed} {victim}")  # noqa: S311
            group.create_task(_kill_repeatedly(victim, stack, stop, kills, rng))
        while not stop.is_set():
            gone = loop.time() - started
            on_progress(min(gone, plan.duration_s), journal.acknowledged, kills.total())
            if gone >= plan.duration_s:
                stop.set()
            await asyncio.sleep(REPORT_S)
    return kills


async def _kill_repeatedly(
    victim: str, stack: Stack, stop: asyncio.Event, kills: Counter[str], rng: random.Random
) -> None:
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), rng.expovariate(1 / BETWEEN_KILLS_S))
        if stop.is_set():
            return
        await stack.kill(victim, rng)
        kills[victim] += 1
        await asyncio.sleep(rng.uniform(0, DOWN_S))
        try:
            await stack.start(victim)
        except StartRefused as error:
            stack.problems.append(error.message)
            stop.set()


async def _settle(main: Database) -> Finding:
    """Wait until no order is pending and every event is delivered."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SETTLE_TIMEOUT_S
    while True:
        pending, backlog, dead = await audit.count_unfinished(main)
        if not pending and not backlog:
            problem = f"the events service refused {dead} events" if dead else None
            return Finding("settled", problem, "no order is pending, every event is delivered")
        if loop.time() > deadline:
            return Finding(
                "settled", f"{pending} orders are still pending, {backlog} events undelivered"
            )
        await asyncio.sleep(REPORT_S)
