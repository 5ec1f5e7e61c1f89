"""`rowlock drill`: a crash drill on real processes and a scratch database of its own.

Clients write through the API, each write with an idempotency key, and send it again until they
know the outcome. Meanwhile processes are killed and started again. At the end, what was
acknowledged must be stored exactly once, and nothing else.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import psycopg

from rowlock.accounts.transactions import lock_users_by_name
from rowlock.engine import migrations
from rowlock.engine.database import Database
from rowlock.engine.statements import queries
from rowlock.errors import StartRefused
from rowlock.ops import embedded, seed
from rowlock.ops.doctor import Finding
from rowlock.ops.drill import audit, replicas, snapshot
from rowlock.ops.drill.acts import ACTS
from rowlock.ops.drill.clients import Client, Grounds
from rowlock.ops.drill.journal import Journal
from rowlock.ops.drill.stack import KILLED, POSTGRES, Processes, Stack
from rowlock.projects.rules import CreateProject
from rowlock.projects.transactions import create_projects
from rowlock.settings import Settings

WRITTEN_TO = ("commerce", "projects", "commerce", "events")  # by the clients, in turn
PROJECTS = 8
SECRET = "drill-secret"  # noqa: S105
SETTLE_TIMEOUT_S = 120.0  # for the last orders and events, once the kills are over
START_TIMEOUT_S = 60.0
AUDIT_TIMEOUT_S = 600.0  # for each of its statements, which read all that was written
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
    replicas: int = 0  # standbys; if there are any, things happen to their primary instead


@dataclass(frozen=True, slots=True)
class Report:
    """What the clients and the kills did, and what the audit found."""

    journal: Journal
    kills: Counter[str]
    findings: list[Finding]


Progress = Callable[[float, int, int], None]  # seconds gone, writes acknowledged, kills


def run(plan: Plan, on_progress: Progress) -> Report:
    """Run the drill. Raises StartRefused if the services can't be started at all."""
    if plan.replicas:
        with replicas.running(plan.data_dir, plan.replicas) as cluster:
            urls = replicas.urls_of(cluster)
            servers = replicas.Servers(plan.data_dir, urls)

            async def break_primary(field: Field) -> None:
                rng = random.Random(f"{plan.seed} primary")  # noqa: S311
                try:
                    await replicas.break_primary(cluster, field.stop, field.kills, rng)
                except (StartRefused, psycopg.Error) as error:
                    servers.problems.append(f"the cluster: {error}")
                    field.stop.set()

            side = Side(servers, servers.urls_for, lambda field: [break_primary(field)])
            return asyncio.run(_run(plan, urls, side, on_progress))
    with embedded.running(plan.data_dir, START_TIMEOUT_S) as names:
        urls = {"main": names["rowlock"], "events": names["rowlock_events"]}
        for name, url in urls.items():
            migrations.up(url, name)
        stack = Stack(plan.data_dir, urls)

        def kill_each(field: Field) -> list[Coroutine[Any, Any, None]]:
            return [
                _kill_repeatedly(
                    victim,
                    stack,
                    field,
                    random.Random(f"{plan.seed} {victim}"),  # noqa: S311
                )
                for victim in [*KILLED, *([POSTGRES] if plan.kills_postgres else ())]
            ]

        side = Side(stack, lambda _: stack.urls, kill_each)
        return asyncio.run(_run(plan, urls, side, on_progress))


class Field(NamedTuple):
    """What is shared during a fight."""

    stop: asyncio.Event  # set when the time is up, or there is nothing left to fight with
    kills: Counter[str]


class Side(NamedTuple):
    """What clients fight against."""

    processes: Processes
    urls_for: Callable[[int], dict[str, str]]  # of the services, by the client's number
    killers: Callable[[Field], list[Coroutine[Any, Any, None]]]  # what makes them die


async def _run(plan: Plan, urls: dict[str, str], side: Side, on_progress: Progress) -> Report:
    settings = Settings().changed(statement_timeout_s=AUDIT_TIMEOUT_S).database
    journal = Journal()
    async with (
        Database(urls["main"], settings, scans=True) as main,
        Database(urls["events"], settings, scans=True) as events,
    ):
        grounds = await prepare(main)
        async with side.processes.running():
            await settle(main)  # the demo data's events
            before = await snapshot.take(main, events)
            kills = await _fight(plan, side, grounds, journal, on_progress)
            findings = [await settle(main)]
        findings.append(side.processes.finding())
        findings += audit.compare(before, await snapshot.take(main, events), journal)
        findings += await audit.examine(main, urls)
    return Report(journal, kills, findings)


async def prepare(main: Database) -> Grounds:
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
        prices={row["id"]: row["price"] for row in products},
        slugs={row["slug"]: row["price"] for row in products},
        service_ids=[str(row["id"]) for row in services],
        project_ids=project_ids,
        secret=SECRET,
    )


async def _fight(
    plan: Plan, side: Side, grounds: Grounds, journal: Journal, on_progress: Progress
) -> Counter[str]:
    """Let clients write and processes die until the time is up; return the kills."""
    stop = asyncio.Event()
    kills: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for number in range(plan.clients):
            rng = random.Random(f"{plan.seed} client {number}")  # noqa: S311
            service = WRITTEN_TO[number % len(WRITTEN_TO)]
            urls = side.urls_for(number // len(WRITTEN_TO))
            client = Client(number, service, session, urls, grounds, journal, rng)
            group.create_task(client.run(stop, ACTS[service]))
        for killer in side.killers(Field(stop, kills)):
            group.create_task(killer)
        while not stop.is_set():
            gone = loop.time() - started
            on_progress(min(gone, plan.duration_s), journal.acknowledged, kills.total())
            if gone >= plan.duration_s:
                stop.set()
            await asyncio.sleep(REPORT_S)
    return kills


async def _kill_repeatedly(victim: str, stack: Stack, field: Field, rng: random.Random) -> None:
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(field.stop.wait(), rng.expovariate(1 / BETWEEN_KILLS_S))
        if field.stop.is_set():
            return
        await stack.kill(victim, rng)
        field.kills[victim] += 1
        await asyncio.sleep(rng.uniform(0, DOWN_S))
        try:
            await stack.start(victim)
        except StartRefused as error:
            stack.problems.append(error.message)
            field.stop.set()


async def settle(main: Database, timeout_s: float = SETTLE_TIMEOUT_S) -> Finding:
    """Wait until no order is pending and every event is delivered."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        pending, backlog, dead = await snapshot.count_unfinished(main)
        if not pending and not backlog:
            problem = f"the events service refused {dead} events" if dead else None
            return Finding("settled", problem, "no order is pending, every event is delivered")
        if loop.time() > deadline:
            return Finding(
                "settled", f"{pending} orders are still pending, {backlog} events undelivered"
            )
        await asyncio.sleep(REPORT_S)
