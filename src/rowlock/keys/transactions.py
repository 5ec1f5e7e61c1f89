"""Lock, decide, write: API keys."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from rowlock.engine.database import Connection
from rowlock.engine.outbox import Event
from rowlock.engine.statements import queries
from rowlock.errors import KeyNameTaken, KeyNotFound, Rejection
from rowlock.keys.rules import CreateKey, Key, RevokeKey, RotateKey, replace

# Appends events to the log of the database, in the transaction of the change.
Append: TypeAlias = Callable[[Connection, Sequence[Event]], Awaitable[None]]


class Realm(NamedTuple):
    """The service whose keys these are, and the log that says what happens to them."""

    service: str
    append: Append


async def create_keys(
    realm: Realm, connection: Connection, commands: Sequence[CreateKey]
) -> list[Key | Rejection]:
    """Return the key that each command created, or why it created none."""
    first: dict[str, CreateKey] = {}
    for command in commands:
        first.setdefault(command.name, command)
    rows = await queries.keys.create_keys(
        connection,
        service=realm.service,
        names=[*first],
        scopes=[" ".join(command.scopes) for command in first.values()],
        rates=[command.rate for command in first.values()],
        expires_ats=[command.expires_at for command in first.values()],
        actors=[command.origin.actor for command in first.values()],
    )
    keys = {
        row["name"]: Key(
            row["id"],
            row["name"],
            first[row["name"]].scopes,
            first[row["name"]].rate,
            row["created_at"],
            first[row["name"]].origin.actor,
            first[row["name"]].expires_at,
            old_secret_until=None,
        )
        for row in rows
    }
    if keys:
        await queries.keys.add_secrets(
            connection,
            hashes=[first[name].hash for name in keys],
            key_ids=[key.id for key in keys.values()],
            valid_fors=[None for _ in keys],
        )
    await realm.append(
        connection,
        [
            _event(realm, "key.created", first[name], key.id, _facts(key))
            for name, key in keys.items()
        ],
    )
    return [
        keys[command.name]
        if command is first[command.name] and command.name in keys
        else KeyNameTaken(f"There is a key {command.name} already.", name=command.name)
        for command in commands
    ]


async def rotate_keys(
    realm: Realm, connection: Connection, commands: Sequence[RotateKey]
) -> list[int | Rejection]:
    """Return the id of the key that each command gave a secret, or why it gave none."""
    ids = await _lock(realm, connection, {command.name for command in commands})
    allowed = [
        command
        for command in commands
        if command.name in ids and command.id in {None, ids[command.name]}
    ]
    rotations = defaultdict(list)
    for command in allowed:
        rotations[ids[command.name]].append(command)
    if rotations:
        replacements = [replace(key_id, these) for key_id, these in rotations.items()]
        await queries.keys.end_secrets(
            connection,
            key_ids=[each.key_id for each in replacements],
            overlaps=[each.overlap for each in replacements],
        )
        await queries.keys.add_secrets(
            connection,
            hashes=[hash_ for each in replacements for hash_ in each.hashes],
            key_ids=[each.key_id for each in replacements for _ in each.hashes],
            valid_fors=[valid_for for each in replacements for valid_for in each.valid_fors],
        )
        await realm.append(
            connection,
            [
                _event(
                    realm,
                    "key.rotated",
                    command,
                    ids[command.name],
                    {"overlap_s": int(command.overlap.total_seconds())},
                )
                for command in allowed
            ],
        )
    return [
        ids[command.name] if command in allowed else KeyNotFound.of(command.name)
        for command in commands
    ]


async def revoke_keys(
    realm: Realm, connection: Connection, commands: Sequence[RevokeKey]
) -> list[int | Rejection]:
    """Return the id of the key that each command ended, or why it ended none."""
    ids = await _lock(realm, connection, {command.name for command in commands})
    if ids:
        await queries.keys.delete_keys(connection, key_ids=[*ids.values()])
    outcomes: list[int | Rejection] = []
    events = []
    for command in commands:
        key_id = ids.pop(command.name, None)
        if key_id is None:
            outcomes.append(KeyNotFound.of(command.name))
        else:
            outcomes.append(key_id)
            events.append(_event(realm, "key.revoked", command, key_id, {}))
    await realm.append(connection, events)
    return outcomes


async def _lock(realm: Realm, connection: Connection, names: set[str]) -> dict[str, int]:
    """Lock those of the keys that exist; return their ids, by name."""
    rows = await queries.keys.lock_keys(connection, service=realm.service, names=[*names])
    return {row["name"]: row["id"] for row in rows}


def _facts(key: Key) -> dict[str, Any]:
    return {"scopes": key.scopes, "rate": key.rate, "expires_at": key.expires_at}


def _event(
    realm: Realm,
    name: str,
    command: CreateKey | RotateKey | RevokeKey,
    key_id: int,
    facts: dict[str, Any],
) -> Event:
    payload = {"key_id": key_id, "key_name": command.name, "service": realm.service} | facts
    return Event(name, f"key:{realm.service}:{command.name}", payload, command.origin)
