"""Lock, decide, write: transfers."""

from collections.abc import Sequence

from rowlock.accounts import metadata
from rowlock.accounts import transactions as accounts
from rowlock.accounts.references import each_reference_once, find_references
from rowlock.engine.database import Connection
from rowlock.engine.locks import Aside, Locks
from rowlock.engine.statements import queries
from rowlock.rejections import Rejection
from rowlock.transfers.rules import MakeTransfer, Movement, Transfer, decide

REFERENCE_KEY = "transfers_reference_key"  # lets each reference name one transfer


async def make_transfers(
    connection: Connection, commands: Sequence[MakeTransfer], locks: Locks | None = None
) -> list[Transfer | Rejection | Aside]:
    """Return the transfer that each command made, or why it made none."""
    locks = locks or Locks()
    # All in one statement, in the order of their ids: no two batches wait for each other.
    locked = await accounts.lock_users(connection, _user_ids(commands), locks)
    references = await find_references(connection, queries.transfers.find_references, commands)
    outcomes = [
        locks.left(accounts.USERS, command.from_user_id)
        or locks.left(accounts.USERS, command.to_user_id)
        or decide(command, locked, references)
        for command in commands
    ]
    movements = [outcome for outcome in outcomes if isinstance(outcome, Movement)]
    made = iter(await _make(connection, movements) if movements else ())
    return [next(made) if isinstance(outcome, Movement) else outcome for outcome in outcomes]


def _user_ids(commands: Sequence[MakeTransfer]) -> set[int]:
    return {command.from_user_id for command in commands}.union(
        command.to_user_id for command in commands
    )


async def _make(connection: Connection, movements: Sequence[Movement]) -> list[Transfer]:
    commands = [movement.command for movement in movements]
    with each_reference_once(REFERENCE_KEY):
        rows = await queries.transfers.make_transfers(
            connection,
            from_user_ids=[command.from_user_id for command in commands],
            to_user_ids=[command.to_user_id for command in commands],
            amounts=[command.amount for command in commands],
            from_balances_after=[movement.from_balance_after for movement in movements],
            to_balances_after=[movement.to_balance_after for movement in movements],
            labels=[command.label for command in commands],
            refs=[command.reference for command in commands],
            metadata=[command.metadata for command in commands],
            request_ids=[command.origin.request_id for command in commands],
            actors=[command.origin.actor for command in commands],
            traceparents=[command.origin.traceparent for command in commands],
            user_ids=list(_user_ids(commands)),
        )
    return [
        Transfer(
            row["id"],
            command.from_user_id,
            command.to_user_id,
            command.amount,
            command.label,
            command.reference,
            metadata.read(command.metadata),
            row["created_at"],
        )
        for row, command in zip(rows, commands, strict=True)
    ]
