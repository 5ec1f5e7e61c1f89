"""Lock, decide, write: API keys."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from rowlock.engine.database import Connection
from rowlock.engine.outbox import Event
from rowlock.engine.statements import queries
from rowlock.keys.events import KEY_CREATED, KEY_REVOKED, KEY_ROTATED, KeyRotated, OfKey
from rowlock.keys.rules import CreateKey, Held, Key, RevokeKey, RotateKey, decide, replace
from rowlock.rejections import KeyNameTaken, KeyNotFound, Rejection

if TYPE_CHECKING:
    from rowlock.engine.typed.keys import LockKeysRow

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
            KEY_CREATED.event(
                {
                    **_describe(realm, name, key.id),
                    "scopes": key.scopes,
                    "rate": key.rate,
                    "expires_at": key.expires_at,
                },
                first[name].origin,
            )
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
    held = await _hold(realm, connection, {command.name for command in commands})
    outcomes = [decide(command, held.get(command.name)) for command in commands]
    rotations = defaultdict(list)
    events = []
    for command, outcome in zip(commands, outcomes, strict=True):
        if isinstance(outcome, int):
            rotations[outcome].append(command)
            payload: KeyRotated = {
                **_describe(realm, command.name, outcome),
                "overlap_s": int(command.overlap.total_seconds()),
            }
            events.append(KEY_ROTATED.event(payload, command.origin))
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
    await realm.append(connection, events)
    return outcomes


async def _hold(realm: Realm, connection: Connection, names: set[str]) -> dict[str, Held]:
    """Lock those of the keys that exist, and count their secrets; return them by name."""
    locked = await _lock(realm, connection, names)
    if not locked:
        return {}
    # A statement of its own: the one that locks sees nothing of those that it has waited for.
    ids = [row["id"] for row in locked.values()]
    rows = await queries.keys.count_secrets(connection, key_ids=ids)
    secrets = {row["key_id"]: row["secrets"] for row in rows}
    return {
        name: Held(row["id"], row["has_expired"], secrets[row["id"]])
        for name, row in locked.items()
    }


async def revoke_keys(
    realm: Realm, connection: Connection, commands: Sequence[RevokeKey]
) -> list[int | Rejection]:
    """Return the id of the key that each command ended, or why it ended none."""
    locked = await _lock(realm, connection, {command.name for command in commands})
    ids = {name: row["id"] for name, row in locked.items()}
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
            payload = _describe(realm, command.name, key_id)
            events.append(KEY_REVOKED.event(payload, command.origin))
    await realm.append(connection, events)
    return outcomes


async def _lock(realm: Realm, connection: Connection, names: set[str]) -> "dict[str, LockKeysRow]":
    """Lock those of the keys that exist; return them by name."""
    rows = await queries.keys.lock_keys(connection, service=realm.service, names=[*names])
    return {row["name"]: row for row in rows}


def _describe(realm: Realm, name: str, key_id: int) -> OfKey:
    return {"key_id": key_id, "key_name": name, "service": realm.service}
