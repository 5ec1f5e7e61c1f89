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
from rowlock.engine.faults import Conflict
from rowlock.engine.locks import Aside
from rowlock.engine.statements import queries
from rowlock.rejections import IdempotencyKeyReused

Item = TypeVar("Item")
Result = TypeVar("Result")


class IdempotencyKey(NamedTuple):
    """A key that a client chose, within a name space.

    The name space is the service, or the service and the client, with a blank between them.
    """

    name_space: str
    key: str

    @property
    def shared(self) -> "IdempotencyKey":
        """The key as 0.1.0 has kept it, for all clients of a service: perhaps this very one."""
        if " " not in self.name_space:
            return self
        return IdempotencyKey(self.name_space.partition(" ")[0], self.key)


class Digest(NamedTuple):
    """What a request must have in common with the first one of its key: either will do."""

    exact: bytes  # SHA-256 of the request as it was sent
    normal: bytes  # the same, but of its JSON in one form


class KeptAnswer(NamedTuple):
    """The answer to a command, which may be a rejection.

    The HTTP layer makes it and gets it back as equal JSON; the engine doesn't interpret it.
    """

    status: int
    headers: str  # JSON
    body: bytes
    is_replay: bool = False  # of an earlier command with this key
    user_id: int | None = None  # whose names and address the body shows


class Kept(NamedTuple):
    """A key with its answer, as it is in the database.

    0.1.0 knew only exact digests, and one name space for each service: an answer that it has kept
    is under the shared key, and may be any client's. What 0.2.0 executes for a client's own key it
    keeps there, too, for 0.1.0: such a copy is no answer.
    """

    exact: bytes
    normal: bytes  # empty: kept by 0.1.0, or a copy
    is_copy: bool
    answer: KeptAnswer

    def answer_to(self, digest: Digest) -> KeptAnswer | IdempotencyKeyReused:
        """Return the answer to a request with this `digest`, if it is the one that was answered."""
        if self.exact == digest.exact or self.normal == digest.normal:
            return self.answer._replace(is_replay=True)
        return IdempotencyKeyReused()


@dataclass(slots=True)  # not frozen: that makes it three times as slow to make
class Once(Generic[Item, Result]):
    """A command that takes effect once for its key."""

    command: Item
    key: IdempotencyKey
    digest: Digest
    # Turns the result into the answer, inside the transaction; runs again if the transaction does.
    render: Callable[[Result], KeptAnswer]


class KeyTaken(Conflict):
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
    executed: set[IdempotencyKey] = set()
    fresh: list[Any] = []
    for command in commands:
        if not isinstance(command, Once):
            fresh.append(command)
        elif command.key not in executed and _find(known, command) is None:
            executed.add(command.key)
            fresh.append(command.command)
    results = iter(await _execute(connection, fresh, execute) if fresh else ())
    outcomes: list[Result | KeptAnswer | IdempotencyKeyReused] = []
    new: dict[IdempotencyKey, Kept] = {}
    left: dict[IdempotencyKey, Any] = {}
    for command in commands:
        if not isinstance(command, Once):
            outcomes.append(next(results))
        elif command.key in left:
            outcomes.append(left[command.key])
        elif (found := new.get(command.key) or _find(known, command)) is not None:
            outcomes.append(found.answer_to(command.digest))
        else:
            result = next(results)
            if isinstance(result, Aside):
                left[command.key] = result
                outcomes.append(result)
                continue
            answer = command.render(result)
            outcomes.append(answer)
            exact, normal = command.digest
            new[command.key] = Kept(exact, normal, False, answer)
    if new:
        await _keep_answers(connection, new, keep)
    return outcomes


def _find(known: dict[IdempotencyKey, Kept], command: Once[Any, Any]) -> Kept | None:
    """Return what was kept for the key of `command`, by this release or by 0.1.0."""
    if not known:
        return None
    found = known.get(command.key)
    if found is not None and not found.is_copy:
        return found
    shared = known.get(command.key.shared)
    if shared is None or shared.is_copy or shared.normal:
        return None
    # Of 0.1.0. Under another digest, the key may be another client's.
    return shared if shared.exact == command.digest.exact else None


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
) -> dict[IdempotencyKey, Kept]:
    """Return what is kept for `keys`, and for the shared ones."""
    services, names = zip(*{*keys, *(key.shared for key in keys)}, strict=True)
    rows = await queries.idempotency.find_answers(
        connection, services=services, keys=names, keep=keep
    )
    return {
        IdempotencyKey(row["service"], row["key"]): Kept(
            row["digest"],
            row["normal_digest"] or b"",
            row["is_copy"],
            KeptAnswer(row["status"], row["headers"], row["body"]),
        )
        for row in rows
    }


async def _keep_answers(
    connection: Connection, new: dict[IdempotencyKey, Kept], keep: timedelta
) -> None:
    services, names = zip(*new, strict=True)
    answers = [kept.answer for kept in new.values()]
    kept = await queries.idempotency.keep_answers(
        connection,
        services=services,
        keys=names,
        digests=[kept.exact for kept in new.values()],
        normal_digests=[kept.normal for kept in new.values()],
        statuses=[answer.status for answer in answers],
        headers=[answer.headers for answer in answers],
        bodies=[answer.body for answer in answers],
        user_ids=[answer.user_id for answer in answers],
        keep=keep,
    )
    if len(kept) < len(new):
        raise KeyTaken
