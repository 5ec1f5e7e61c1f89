"""Lock, decide, write: consumers."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rowlock.consumers.events import (
    CONSUMER_CREATED,
    CONSUMER_DELETED,
    CONSUMER_RESET,
    OfConsumer,
)
from rowlock.consumers.reads import find_consumers
from rowlock.consumers.rules import (
    Acknowledge,
    Around,
    Consumer,
    DeleteConsumer,
    Placed,
    PutConsumer,
    Roll,
    decide_acknowledge,
    decide_put,
)
from rowlock.engine.database import Connection
from rowlock.engine.statements import queries
from rowlock.events.transactions import append
from rowlock.rejections import ConsumerNotFound, Rejection

if TYPE_CHECKING:
    from rowlock.engine.typed.consumers import LockConsumersRow


async def put_consumers(
    connection: Connection, commands: Sequence[PutConsumer]
) -> list[Placed | Rejection]:
    """Return the consumer of each command, or why there is none."""
    # First, as no other transaction may create one meanwhile; and events follow.
    await queries.events.lock_log(connection)
    rows = await _lock(connection, {command.name for command in commands})
    [counted] = await queries.consumers.count_consumers(connection)
    positions = {name: row["position"] for name, row in rows.items()}
    roll = Roll(positions, counted["consumers"])
    outcomes = [decide_put(command, roll) for command in commands]
    ids = {name: row["id"] for name, row in rows.items()}
    if roll.created:
        created = await queries.consumers.create_consumers(
            connection,
            names=[*roll.created],
            positions=[roll.positions[name] for name in roll.created],
            actors=[command.origin.actor for command in roll.created.values()],
        )
        ids |= {row["name"]: row["id"] for row in created}
    moved = [name for name in roll.reset if name not in roll.created]
    if moved:
        await queries.consumers.move_consumers(
            connection,
            consumer_ids=[ids[name] for name in moved],
            positions=[roll.positions[name] for name in moved],
            acknowledged=False,
        )
    happened = [(CONSUMER_CREATED, command) for command in roll.created.values()]
    happened += [(CONSUMER_RESET, roll.reset[name]) for name in moved]
    await append(
        connection,
        [
            kind.event(
                _describe(command.name, ids[command.name], roll.positions[command.name]),
                command.origin,
            )
            for kind, command in happened
        ],
    )
    consumers = await find_consumers(connection, [*roll.positions])
    return [
        outcome if isinstance(outcome, Rejection) else Placed(consumers[command.name], outcome)
        for command, outcome in zip(commands, outcomes, strict=True)
    ]


async def delete_consumers(
    connection: Connection, commands: Sequence[DeleteConsumer]
) -> list[int | Rejection]:
    """Return the id of the consumer that each command deleted, or why it deleted none."""
    await queries.events.lock_log(connection)
    rows = await _lock(connection, {command.name for command in commands})
    if rows:
        ids = [row["id"] for row in rows.values()]
        await queries.consumers.delete_consumers(connection, consumer_ids=ids)
    outcomes: list[int | Rejection] = []
    events = []
    for command in commands:
        row = rows.pop(command.name, None)
        if row is None:
            outcomes.append(ConsumerNotFound.of(command.name))
        else:
            outcomes.append(row["id"])
            payload = _describe(command.name, row["id"], row["position"])
            events.append(CONSUMER_DELETED.event(payload, command.origin))
    await append(connection, events)
    return outcomes


async def acknowledge(
    connection: Connection, commands: Sequence[Acknowledge]
) -> list[Consumer | Rejection]:
    """Return each command's consumer as all of them leave it, or why it can't be moved."""
    rows = await _lock(connection, {command.name for command in commands})
    positions = {name: row["position"] for name, row in rows.items()}
    before = dict(positions)
    log = await _find_around(connection, commands, before)
    decided = [decide_acknowledge(command, positions, log) for command in commands]
    moved = {name: at for name, at in positions.items() if at != before[name]}
    times = {name: row["acknowledged_at"] for name, row in rows.items()}
    if moved:
        written = await queries.consumers.move_consumers(
            connection,
            consumer_ids=[rows[name]["id"] for name in moved],
            positions=[*moved.values()],
            acknowledged=True,
        )
        by_id = {row["id"]: row["acknowledged_at"] for row in written}
        times |= {name: by_id[rows[name]["id"]] for name in moved}
    consumers = {
        name: Consumer(
            row["id"],
            name,
            positions[name],
            row["created_at"],
            row["created_by"],
            times[name],
        )
        for name, row in rows.items()
    }
    return [
        outcome if isinstance(outcome, Rejection) else consumers[command.name]
        for command, outcome in zip(commands, decided, strict=True)
    ]


async def _lock(connection: Connection, names: set[str]) -> "dict[str, LockConsumersRow]":
    """Lock those of the consumers that exist; return them by name."""
    rows = await queries.consumers.lock_consumers(connection, names=[*names])
    return {row["name"]: row for row in rows}


async def _find_around(
    connection: Connection, commands: Iterable[Acknowledge], positions: dict[str, int]
) -> dict[int, Around]:
    """Return what the log has around the ids that would move a consumer, by id."""
    ids = {each.id for each in commands if each.id > positions.get(each.name, each.id)}
    if not ids:
        return {}
    rows = await queries.consumers.find_acknowledged(connection, ids=[*ids])
    return {row["id"]: Around(row["last_id"], row["next_id"]) for row in rows}


def _describe(name: str, consumer_id: int, position: int) -> OfConsumer:
    return {"consumer_id": consumer_id, "consumer_name": name, "position": position}
