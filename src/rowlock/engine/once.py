"""Idempotency keys: a command with a key takes effect once, however often it is sent.

What its sender was answered is kept in the transaction of the effect, so there is no moment at
which one could be lost without the other. That needs no lock in advance: of two processes that
execute the same key at once, the later one fails to keep its answer, rolls back, and finds the
other's.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, NamedTuple, TypeVar

from rowlock.engine.database import Connection, Database
from rowlock.engine.statements import queries
from rowlock.errors import IdempotencyKeyReused

Item = TypeVar("Item")
Result = TypeVar("Result")


class IdempotencyKey(NamedTuple):
    """A key, as its client chose it, of the service that was asked."""

    service: str
    key: str


class KeptAnswer(NamedTuple):
    """What the sender of a command was answered, rejections included.

    The edge has made it, and gets it back with its headers as equal JSON: nothing is known here of
    what it means.
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
    # Runs inside the transaction, and again if that is.
    render: Callable[[Result], KeptAnswer]


class KeyTaken(Exception):
    """Another transaction has executed a key meanwhile: run the batch again to find its answer."""


async def execute_once(
    connection: Connection,
    commands: Sequence[Item | Once[Item, Result]],
    execute: Callable[[Connection, list[Any]], Awaitable[Sequence[Result]]],
    keep: timedelta,
) -> list[Result | KeptAnswer | IdempotencyKeyReused]:
    """Execute `commands`; return the result of each, or the answer where it has a key.

    A key that was executed less than `keep` ago, or earlier in this batch, gets that answer again,
    or IdempotencyKeyReused if the request was another one. Raises KeyTaken.
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
    for command in commands:
        if not isinstance(command, Once):
            outcomes.append(next(results))
        elif command.key not in known:
            answer = command.render(next(results))
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
    async with database.connection() as connection:
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
