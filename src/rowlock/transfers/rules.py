"""Making transfers. All amounts are minor units."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from rowlock.accounts.references import References
from rowlock.accounts.rules import Account
from rowlock.origin import SYSTEM, Origin
from rowlock.rejections import Rejection, UserNotFound

LABEL_LENGTH = 500


class MakeTransfer(NamedTuple):
    """Let a user pay another one."""

    from_user_id: int
    to_user_id: int  # another user
    amount: int
    label: str
    origin: Origin = SYSTEM
    reference: str | None = None
    metadata: str | None = None  # JSON: texts by name


@dataclass  # without slots, orjson writes it in half the time
class Transfer:
    """A transfer."""

    id: int
    from_user_id: int
    to_user_id: int
    amount: int
    label: str
    reference: str | None
    metadata: Mapping[str, str] | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which transfers a list has: those to which all applies that is not None."""

    user_id: int | None  # who has paid, or was paid
    reference: str | None
    since: datetime  # of created_at: included
    until: datetime  # not included

    def takes(self, transfer: Transfer) -> bool:
        """Tell whether the list has this transfer."""
        return (
            self.user_id in {None, transfer.from_user_id, transfer.to_user_id}
            and self.reference in {None, transfer.reference}
            and self.since <= transfer.created_at < self.until
        )


class Movement(NamedTuple):
    """A transfer that the rules allow."""

    command: MakeTransfer
    from_balance_after: int
    to_balance_after: int


def decide(
    command: MakeTransfer, accounts: Mapping[int, Account], references: References
) -> Movement | Rejection:
    """Return the movement and apply it to the state, or return why there is none."""
    for user_id in (command.from_user_id, command.to_user_id):
        if user_id not in accounts:
            return UserNotFound.of(user_id)
    source, target = accounts[command.from_user_id], accounts[command.to_user_id]
    refusal = references.refusal(command.reference) or source.debit(command.amount)
    if refusal is not None:
        return refusal
    excess = target.credit(command.amount)
    if excess is not None:
        source.balance += command.amount  # as it was
        return excess
    references.take(command.reference)
    return Movement(command, source.balance, target.balance)
