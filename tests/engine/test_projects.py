"""Deployments moved by two processes' worth of engines at once, and by batches."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from typing import Any, TypeAlias

import asyncpg
import orjson
import pytest
from hypothesis import strategies as st

from rowlock.engine.database import Database
from rowlock.engine.lanes import Lane, WriteLane
from rowlock.origin import Origin
from rowlock.projects.rules import (
    STATUSES,
    CancelDeployment,
    Deployment,
    ReportStatus,
    StartDeployment,
    TimeOutDeployment,
    allowed_next,
)
from rowlock.projects.transactions import move_deployments, start_deployments
from rowlock.rejections import DeploymentMoveRefused, DeploymentNotOngoing, Rejection
from rowlock.settings import Settings
from tests.support.databases import Databases
from tests.support.equivalence import (
    TRACES,
    Feature,
    History,
    assert_batches_equal_one_at_a_time,
)
from tests.support.panel import add_deployment, add_projects, events
from tests.support.polling import until
from tests.support.sessions import count_waiting
from tests.support.types import Connection

Engine: TypeAlias = dict[type, Lane[Any, Any]]
Engines: TypeAlias = tuple[Engine, Engine]
Meet: TypeAlias = Callable[..., Awaitable[list[Any]]]


def engine(database: Database, settings: Settings) -> Engine:
    """The lanes of one process."""
    move = WriteLane("move", database, move_deployments, settings.batches)
    start = WriteLane("start", database, start_deployments, settings.batches)
    return {StartDeployment: start, ReportStatus: move, CancelDeployment: move}


@pytest.fixture
async def engines(database_url: str, settings: Settings) -> AsyncIterator[Engines]:
    async with (
        Database(database_url, settings.database) as one,
        Database(database_url, settings.database) as two,
    ):
        yield engine(one, settings), engine(two, settings)


@pytest.fixture
async def meet(database_url: str, connection: Connection, engines: Engines) -> AsyncIterator[Meet]:
    """Run two commands, one in each engine, that meet at a row; return their outcomes."""
    holder = await asyncpg.connect(database_url)

    async def both_wait() -> bool:
        return await count_waiting(connection) == 2

    async def meet(held: str, *commands: Any) -> list[Any]:
        async with holder.transaction():
            await holder.fetch(f"{held} FOR UPDATE")
            submissions = [
                asyncio.ensure_future(engine[type(command)].submit(command))
                for engine, command in zip(engines, commands, strict=True)
            ]
            await until(both_wait)
        return await asyncio.gather(*submissions)

    yield meet
    await holder.close()


DEPLOYMENT = "SELECT 1 FROM deployments WHERE id = 1"
PROJECT = "SELECT 1 FROM projects WHERE id = 1"


async def test_two_webhooks__same_status__one_event(meet: Meet, connection: Connection) -> None:
    await add_projects(connection, 1)
    await add_deployment(connection, 1)
    report = ReportStatus(1, "building", "u")
    one, two = await meet(DEPLOYMENT, report, report)
    assert one == two
    assert one.status == "building"
    assert await events(connection, 1) == ["deployment.building"]


async def test_two_webhooks__different_statuses__never_backward(
    meet: Meet, connection: Connection
) -> None:
    await add_projects(connection, 1)
    await add_deployment(connection, 1)
    outcomes = await meet(
        DEPLOYMENT,
        ReportStatus(1, "building", "u"),
        ReportStatus(1, "deploying", "u"),
    )
    assert outcomes[1].status == "deploying"
    if isinstance(outcomes[0], Deployment):
        assert await events(connection, 1) == ["deployment.building", "deployment.deploying"]
    else:
        assert isinstance(outcomes[0], DeploymentMoveRefused)
        assert await events(connection, 1) == ["deployment.deploying"]
    assert await connection.fetchval("SELECT status FROM deployments") == "deploying"


async def test_webhook_and_cancel__at_once__one_wins(meet: Meet, connection: Connection) -> None:
    await add_projects(connection, 1)
    await add_deployment(connection, 1)
    reported, cancelled = await meet(DEPLOYMENT, ReportStatus(1, "done", "u"), CancelDeployment(1))
    status = await connection.fetchval("SELECT status FROM deployments")
    if status == "done":
        assert reported.status == "done"
        assert isinstance(cancelled, DeploymentNotOngoing)
        assert await events(connection, 1) == ["deployment.done", "project.url_assigned"]
    else:
        assert cancelled.status == status == "cancelled"
        assert isinstance(reported, DeploymentMoveRefused)
        assert await events(connection, 1) == ["deployment.cancelled"]
        assert await connection.fetchval("SELECT url FROM projects") is None


async def test_done__twice_at_once__one_url_and_equal_answers(
    meet: Meet, connection: Connection
) -> None:
    await add_projects(connection, 1)
    await add_deployment(connection, 1)
    one, two = await meet(
        DEPLOYMENT, ReportStatus(1, "done", "one"), ReportStatus(1, "done", "two")
    )
    assert one == two
    assert await events(connection, 1) == ["deployment.done", "project.url_assigned"]
    assert await connection.fetchval("SELECT url FROM projects") in {"one", "two"}


async def test_done__two_deployments_of_a_project_at_once__one_url(
    meet: Meet, connection: Connection
) -> None:
    await add_projects(connection, 1)
    await add_deployment(connection, 1)
    await add_deployment(connection, 1)
    outcomes = await meet(PROJECT, ReportStatus(1, "done", "one"), ReportStatus(2, "done", "two"))
    assert [outcome.status for outcome in outcomes] == ["done", "done"]
    names = await events(connection, 1)
    assert Counter(names) == {"deployment.done": 2, "project.url_assigned": 1}
    assert await connection.fetchval("SELECT url FROM projects") in {"one", "two"}


async def test_signed_message__in_both_at_once__takes_effect_once(
    meet: Meet, connection: Connection
) -> None:
    await add_projects(connection, 1)
    await add_deployment(connection, 1)
    report = ReportStatus(1, "failed", "u", "msg_1")
    one, two = await meet(DEPLOYMENT, report, report)
    assert (one.status, two.status) == ("failed", "failed")
    assert await events(connection, 1) == ["deployment.failed"]
    assert await connection.fetchval("SELECT count(*) FROM webhook_messages") == 1


async def test_starts__in_both_at_once__positions_without_gaps(
    engines: Engines, connection: Connection
) -> None:
    await add_projects(connection, 3)
    commands = [StartDeployment(number % 4 + 1) for number in range(80)]  # project 4: unknown
    outcomes = await asyncio.gather(
        *(engines[n % 3 % 2][StartDeployment].submit(c) for n, c in enumerate(commands))
    )
    assert sum(isinstance(outcome, Deployment) for outcome in outcomes) == 60
    rows = await connection.fetch("SELECT position FROM deployments ORDER BY position")
    assert [row["position"] for row in rows] == list(range(1, 61))


async def test_everything__in_both_at_once__every_history_is_a_legal_one(
    engines: Engines, connection: Connection
) -> None:
    rng = random.Random(4)
    await add_projects(connection, 4)
    for number in range(12):
        await add_deployment(connection, number % 4 + 1)
    commands = [
        rng.choice(
            [
                ReportStatus(deployment_id, rng.choice(STATUSES), f"url-{rng.random()}"),
                ReportStatus(deployment_id, rng.choice(STATUSES[:4]), "url", f"msg_{n % 5}"),
                CancelDeployment(deployment_id) if n % 4 == 0 else StartDeployment(n % 4 + 1),
            ]
        )
        for n in range(30)
        for deployment_id in range(1, 13)
    ]
    rng.shuffle(commands)
    await asyncio.gather(*(rng.choice(engines)[type(c)].submit(c) for c in commands))
    rows = await connection.fetch(
        "SELECT name, payload FROM outbox WHERE name LIKE 'deployment.%' ORDER BY xid, position"
    )
    histories: dict[int, list[str]] = {number: ["pending"] for number in range(1, 13)}
    for row in rows:
        payload = orjson.loads(row["payload"])
        history = histories.setdefault(payload["deployment_id"], [])
        history.append(row["name"].removeprefix("deployment."))
    for deployment_id, (first, *rest) in histories.items():
        assert first in {"pending", "created"}
        assert all(after in allowed_next(before) for before, after in pairwise(["pending", *rest]))
        status = await connection.fetchval(
            "SELECT status FROM deployments WHERE id = $1", deployment_id
        )
        assert status == (rest[-1] if rest else "pending")
    live = await connection.fetch("SELECT id FROM projects WHERE url IS NOT NULL ORDER BY id")
    assigned = await connection.fetch(
        "SELECT subject FROM outbox WHERE name = 'project.url_assigned' ORDER BY subject"
    )
    assert [row["subject"] for row in assigned] == [f"project:{row['id']}" for row in live]
    assert live


deployment_ids = st.sampled_from([1, 2, 3, 9])
origins = st.builds(
    Origin, st.sampled_from(["r-1", "r-2"]), st.sampled_from(["token", "project:1"]), TRACES
)
reports = st.builds(
    ReportStatus,
    deployment_ids,
    st.sampled_from(STATUSES),
    st.sampled_from(["url-1", "url-2"]),
    st.sampled_from([None, None, "msg_1", "msg_2"]),
    origins,
)
cancellations = st.builds(CancelDeployment, deployment_ids, origins)
time_outs = st.builds(
    TimeOutDeployment, deployment_ids, st.sampled_from(["pending", "building", "done"]), origins
)
moves: st.SearchStrategy[list[Any]] = st.lists(
    st.one_of(reports, cancellations, time_outs), max_size=12
)
starts: st.SearchStrategy[list[Any]] = st.lists(
    st.builds(
        StartDeployment,
        st.sampled_from([1, 2, 9]),
        origins,
        st.sampled_from([None, "main", "next"]),
        st.sampled_from([None, "9f2c1e7"]),
    ),
    max_size=4,
)


async def deploy(_database: Database, connection: Connection) -> None:
    await add_projects(connection, 2)
    for project_id in (1, 1, 2):
        await add_deployment(connection, project_id)


def comparable(outcome: Deployment | Rejection) -> tuple[Any, ...]:
    if isinstance(outcome, Rejection):
        return type(outcome), outcome.details
    return outcome.id, outcome.status, outcome.deployed_in is None


FEATURE = Feature(
    executors={
        StartDeployment: start_deployments,
        ReportStatus: move_deployments,
        CancelDeployment: move_deployments,
        TimeOutDeployment: move_deployments,
    },
    comparable=comparable,
    state={
        "deployments": """
            SELECT id, position, project_id, status, deployed_in IS NULL AS is_under_way,
                ended_at IS NULL AS is_open, first_live,
                branch, commit, reason
            FROM deployments ORDER BY id""",
        "projects": "SELECT id, url FROM projects ORDER BY id",
        "messages": """
            SELECT deployment_id, webhook_id, reported, status
            FROM webhook_messages ORDER BY deployment_id, webhook_id""",
        "events": """
            SELECT name, subject, payload->>'status' AS status,
                payload->>'previous_status' AS previous_status, payload->>'url' AS url,
                request_id, actor
            FROM outbox ORDER BY xid, position""",
    },
    arrange=deploy,
)


def test_batches__any_history__equal_one_at_a_time(main_databases: Databases) -> None:
    histories: st.SearchStrategy[History] = st.lists(
        st.one_of(moves, moves, starts), min_size=1, max_size=6
    )
    assert_batches_equal_one_at_a_time(main_databases, FEATURE, histories, examples=25)
