"""Idempotency keys: a command with a key takes effect once, however often the client sends it.

The answer is stored in the transaction of the effect, so neither can be lost without the other.
No lock is needed in advance: if two processes execute the same key at once, the later one can't
store its answer, rolls back, and finds the answer of the other.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, NamedTuple, TypeVar

from rowlock.engine.database import Connection, Database
from rowlock.engine.locks import Aside
from rowlock.engine.statements import queries
from rowlock.errors import IdempotencyKeyReused

Item = TypeVar("Item")
Result = TypeVar("Result")


class IdempotencyKey(NamedTuple):
    """A key that a client chose, and the service that it sent it to."""

    service: str
    key: str


class KeptAnswer(NamedTuple):
    """The answer to a command, which may be a rejection.

    The HTTP layer makes it and gets it back as equal JSON; the engine doesn't interpret it.
    """

    status: int
    headers: str  # JSON
    body: bytes
    is_replay: bool = False  # of an earlier command with this key


@dataclass(frozen=True, slots=True)
class Once(Generic[Item, Result]):
    """A command that takes effect once for its key."""

    command: Item
    key: IdempotencyKey
    digest: bytes  # SHA-256 of the request
    # Turns the result into the answer, inside the transaction; runs again if the transaction does.
    render: Callable[[Result], KeptAnswer]


class KeyTaken(Exception):
    """Another transaction has just executed a key: run the batch again to find its answer."""


async def execute_once(
    connection: Connection,
    commands: Sequence[Item | Once[Item, Result]],
    execute: Callable[[Connection, list[Any]], Awaitable[Sequence[Result]]],
    keep: timedelta,
) -> list[Result | KeptAnswer | IdempotencyKeyReused]:
    """Execute `commands`; return the result of each, or its answer if it has a key.

    A key that was executed less than `keep` ago, or earlier in this batch, gets the same answer
    again, or IdempotencyKeyReused if the request differs from the first one. Nothing is kept of a
    command that is left aside; later ones with its key are left aside, too. Raises KeyTaken if
    another transaction executes a key at the same time.
    """
    keys = {command.key for command in commands if isinstance(command, Once)}
    if not keys:
        return [*await _execute(connection, commands, execute)]
    known = await _find_answers(connection, keys, keep)
    answered = set(known)
    fresh: list[Any] = []
    for command in commands:
        if not isinstance(command, Once):
            fresh.append(command)
        elif command.key not in answered:
            answered.add(command.key)
            fresh.append(command.command)
    results = iter(await _execute(connection, fresh, execute) if fresh else ())
    outcomes: list[Result | KeptAnswer | IdempotencyKeyReused] = []
    new: dict[IdempotencyKey, tuple[bytes, KeptAnswer]] = {}
    left: dict[IdempotencyKey, Any] = {}
    for command in commands:
        if not isinstance(command, Once):
            outcomes.append(next(results))
        elif command.key in left:
            outcomes.append(left[command.key])
        elif command.key not in known:
            result = next(results)
            if isinstance(result, Aside):
                left[command.key] = result
                outcomes.append(result)
                continue
            answer = command.render(result)
            new[command.key] = command.digest, answer
            known[command.key] = command.digest, answer._replace(is_replay=True)
            outcomes.append(answer)
        else:
            digest, answer = known[command.key]
            outcomes.append(answer if digest == command.digest else IdempotencyKeyReused())
    if new:
        await _keep_answers(connection, new, keep)
    return outcomes


async def purge_answers(database: Database, keep: timedelta, page_size: int) -> int:
    """Remove at most `page_size` answers that are older than `keep`; return how many it removed."""
    async with database.transaction() as connection:
        [row] = await queries.idempotency.purge_answers(connection, keep=keep, page_size=page_size)
    return row["purged"]


async def _execute(
    connection: Connection,
    commands: Sequence[Any],
    execute: Callable[[Connection, list[Any]], Awaitable[Sequence[Result]]],
) -> Sequence[Result]:
    results = await execute(connection, [*commands])
    if len(results) != len(commands):
        raise RuntimeError(f"{len(results)} results for {len(commands)} commands")
    return results


async def _find_answers(
    connection: Connection, keys: set[IdempotencyKey], keep: timedelta
) -> dict[IdempotencyKey, tuple[bytes, KeptAnswer]]:
    services, names = zip(*keys, strict=True)
    rows = await queries.idempotency.find_answers(
        connection, services=services, keys=names, keep=keep
    )
    return {
        IdempotencyKey(row["service"], row["key"]): (
            row["digest"],
            KeptAnswer(row["status"], row["headers"], row["body"], is_replay=True),
        )
        for row in rows
    }


async def _keep_answers(
    connection: Connection, new: dict[IdempotencyKey, tuple[bytes, KeptAnswer]], keep: timedelta
) -> None:
    services, names = zip(*new, strict=True)
    answers = [answer for _, answer in new.values()]
    kept = await queries.idempotency.keep_answers(
        connection,
        services=services,
        keys=names,
        digests=[digest for digest, _ in new.values()],
        statuses=[answer.status for answer in answers],
        headers=[answer.headers for answer in answers],
        bodies=[answer.body for answer in answers],
        keep=keep,
    )
    if len(kept) < len(new):
        raise KeyTaken
