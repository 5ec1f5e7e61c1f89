"""Whether a batch equals running its commands one at a time: any history is played both ways."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis.strategies import SearchStrategy, sampled_from

from rowlock.engine.database import Database
from rowlock.engine.lanes import Execute, WriteLane
from rowlock.engine.once import Once
from rowlock.settings import Settings
from tests.support.databases import Databases
from tests.support.types import Connection

# What origins of commands have, besides the request and the actor.
TRACES = sampled_from([None, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"])

Rows: TypeAlias = list[dict[str, Any]]
History: TypeAlias = list[list[Any]]  # batches, each of commands of one lane


async def _start_empty(_database: Database, _connection: Connection) -> None: ...


async def _check_nothing(
    _connection: Connection, _history: History, _outcomes: list[Any]
) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Feature:
    """What is played: commands, on what they run, and what must not depend on how."""

    executors: Mapping[type, Execute[Any, Any]]  # by the class of a command
    comparable: Callable[[Any], Any]  # what must be equal of an outcome
    state: Mapping[str, str]  # what must be equal in the end: statements, by a name for them
    # What every history starts from.
    arrange: Callable[[Database, Connection], Awaitable[None]] = _start_empty
    # Asserts what must hold at the end of every history, either way.
    check: Callable[[Connection, History, list[Any]], Awaitable[None]] = _check_nothing


def assert_batches_equal_one_at_a_time(
    databases: Databases, feature: Feature, histories: SearchStrategy[History], *, examples: int
) -> None:
    """Play each history in batches and one command at a time, on fresh databases."""

    @hypothesis_settings(max_examples=examples, deadline=None, suppress_health_check=[*HealthCheck])
    @given(histories)
    def holds(history: History) -> None:
        together = _play(databases, feature, history, Settings())
        apart = _play(databases, feature, history, Settings().changed(batch_items=1))
        assert together == apart, f"\ntogether: {together}\napart:    {apart}"

    holds()


def _play(
    databases: Databases, feature: Feature, history: History, settings: Settings
) -> tuple[list[Any], dict[str, Rows]]:
    """Return what is comparable of the outcomes, and the final state."""
    with databases.lent() as url:
        return asyncio.run(_play_at(url, feature, history, settings))


async def _play_at(
    url: str, feature: Feature, history: History, settings: Settings
) -> tuple[list[Any], dict[str, Rows]]:
    connection = await asyncpg.connect(url)
    try:
        async with Database(url, settings.database) as database:
            await feature.arrange(database, connection)
            outcomes = await _submit(feature, history, database, settings)
        await feature.check(connection, history, outcomes)
        state = {name: await _read(connection, query) for name, query in feature.state.items()}
    finally:
        await connection.close()
    return [feature.comparable(outcome) for outcome in outcomes], state


async def _submit(
    feature: Feature, history: History, database: Database, settings: Settings
) -> list[Any]:
    lanes = {
        execute: WriteLane("test", database, execute, settings.batches)
        for execute in feature.executors.values()
    }
    outcomes: list[Any] = []
    for batch in history:
        executors = {feature.executors[type(_command(item))] for item in batch}
        assert len(executors) <= 1, batch  # two lanes would run side by side, in no order
        for execute in executors:
            lane = lanes[execute]
            outcomes += await asyncio.gather(
                *(
                    lane.submit_once(item) if isinstance(item, Once) else lane.submit(item)
                    for item in batch
                )
            )
    return outcomes


def _command(item: Any) -> Any:
    return item.command if isinstance(item, Once) else item


async def _read(connection: Connection, query: str) -> Rows:
    """Return what a statement finds, by the names of its columns."""
    rows = await connection.fetch(query)
    assert all(len(dict(row)) == len(row) for row in rows), f"two columns of one name: {query}"
    return [dict(row) for row in rows]
