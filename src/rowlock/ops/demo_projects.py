"""Demo projects with half a year of deployments, decided by the same rules as real ones."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from rowlock.accounts import transactions as accounts
from rowlock.engine import outbox
from rowlock.engine.database import Connection
from rowlock.engine.statements import queries
from rowlock.origin import CLI
from rowlock.projects import transactions
from rowlock.projects.rules import (
    CreateProject,
    Deployment,
    Move,
    Panel,
    Project,
    ReportStatus,
    decide,
)

PROJECTS = (  # name, owner's username, deployments a week, the last one's status
    ("Analytical Engine", "ada", 4, "done"),
    ("Bernoulli Numbers", "ada", 2, "building"),
    ("Flyer", "ada", 1, "done"),
    ("Poetical Science", "ada", 1, "failed"),
    ("Translator's Notes", "ada", 0, "pending"),
    ("COBOL Playground", "grace", 5, "done"),
    ("Nanosecond Shop", "grace", 3, "deploying"),
    ("Moth Tracker", "grace", 2, "done"),
    ("Flow-Matic", "grace", 1, "cancelled"),
    ("A-0 Archive", "grace", 0, "done"),
    ("Shortest Path", "edsger", 3, "done"),
    ("Dining Philosophers", "edsger", 3, "failed"),
    ("Semaphore Status", "edsger", 2, "done"),
    ("EWD Archive", "edsger", 1, "pending"),
    ("Goto Considered", "edsger", 0, "failed"),
    ("CLU Docs", "barbara", 4, "done"),
    ("Substitution", "barbara", 2, "done"),
    ("Argus", "barbara", 2, "cancelled"),
    ("Thor Store", "barbara", 1, "building"),
    ("Venus Time-Sharing", "barbara", 0, "cancelled"),
)

WEEKS = 26
SEED = 1843
ENDINGS = ("done", "failed", "cancelled")
ENDING_WEIGHTS = (84, 11, 5)
PATHS = {  # what a deployment goes through on its way to a status
    "pending": (),
    "building": ("building",),
    "deploying": ("building", "deploying"),
    "done": ("building", "deploying", "done"),
    "failed": ("building", "failed"),
    "cancelled": ("cancelled",),
}


class Planned(NamedTuple):
    """A deployment of the history to be."""

    created_at: datetime
    project: int  # its place in PROJECTS
    ending: str


async def load(connection: Connection) -> None:
    """Add the demo projects of the demo users, unless there are any projects."""
    [row] = await queries.seed.has_projects(connection)
    owners = await accounts.lock_users_by_name(connection, {owner for _, owner, *_ in PROJECTS})
    if row["seeded"] or not all(owner in owners for _, owner, *_ in PROJECTS):
        return
    now = datetime.now(UTC)
    created = [
        CreateProject(
            name,
            owners[owner].id,
            transactions.new_secret(),
            created_at=now - timedelta(weeks=WEEKS, hours=len(PROJECTS) - number),
        )
        for number, (name, owner, *_) in enumerate(PROJECTS)
    ]
    ids = await transactions.create_projects(connection, created)
    projects = [
        Project(id_, project.name, None, project.user_id)
        for id_, project in zip(ids, created, strict=True)
    ]
    rng = random.Random(SEED)  # noqa: S311
    await _deploy(connection, projects, sorted(_plan(rng, now)), rng)


def _plan(rng: random.Random, now: datetime) -> Iterator[Planned]:
    for number, (_, _, per_week, last) in enumerate(PROJECTS):
        for _ in range(per_week * WEEKS):
            age = timedelta(hours=rng.uniform(2, WEEKS * 7 * 24))
            yield Planned(now - age, number, rng.choices(ENDINGS, ENDING_WEIGHTS)[0])
        yield Planned(now - timedelta(minutes=rng.uniform(10, 90)), number, last)


async def _deploy(
    connection: Connection, projects: list[Project], plan: list[Planned], rng: random.Random
) -> None:
    await queries.projects.lock_deployment_positions(connection)
    rows = await queries.seed.add_deployments(
        connection,
        project_ids=[projects[planned.project].id for planned in plan],
        created_ats=[planned.created_at for planned in plan],
    )
    panel = Panel(
        now=plan[0].created_at,
        deployments={},
        projects={project.id: project for project in projects},
        live=set(),
    )
    moves, events = [], []
    for row, planned in zip(rows, plan, strict=True):
        project = panel.projects[projects[planned.project].id]
        pending = Deployment(row["id"], project.id, "pending", None, planned.created_at, None)
        panel.deployments[pending.id] = pending
        panel.now = planned.created_at
        events.append(transactions.describe_start(project, pending, CLI))
        for status in PATHS[planned.ending]:
            panel.now += timedelta(seconds=rng.uniform(3, 120))
            new_url = f"https://{rng.getrandbits(64):016x}.rowlock.example"
            outcome = decide(ReportStatus(pending.id, status, new_url), panel)
            if isinstance(outcome, Move):
                moves.append(outcome)
                events += transactions.describe_move(outcome, CLI)
    await transactions.write_moves(connection, moves, panel)
    await outbox.append(connection, events)
