"""What an account may do. All amounts are minor units."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from rowlock.errors import BalanceLimitExceeded, InsufficientBalance
from rowlock.origin import SYSTEM, Origin

BALANCE_LIMIT = 2**53 - 1  # JSON clients read larger numbers inexactly
# The account on the other side, by the kind of document.
CONTRAS = {"order": "sales", "invoice": "payables", "opening": "opening"}
USERNAME_LENGTH = 100


class CreateUser(NamedTuple):
    """Open an account, unless the username has one."""

    username: str
    opening_balance: int
    origin: Origin = SYSTEM


class User(NamedTuple):
    """A user as an operator sees one."""

    id: int
    first_name: str
    last_name: str
    balance: int


class Document(NamedTuple):
    """What moves money, once: an order, an invoice, or the opening of an account."""

    kind: str  # of CONTRAS
    id: int  # of an opening, the user's

    @property
    def contra(self) -> str:
        """The account on the other side."""
        return CONTRAS[self.kind]

    @property
    def reference(self) -> str:
        """The document as the API shows it, such as `invoice:7`."""
        return f"{'user' if self.kind == 'opening' else self.kind}:{self.id}"


class Entry(NamedTuple):
    """A change of a balance, as the ledger records it."""

    user_id: int
    amount: int  # positive: credit
    balance_after: int
    reason: str
    document: Document
    actor: str  # who moved the money
    created_at: datetime | None  # not before the user's last entry; None: now, for a new user


@dataclass  # without slots, orjson writes it in half the time
class PostedEntry:
    """An entry that the ledger holds."""

    id: int
    amount: int  # positive: credit
    balance_after: int
    reason: str
    reference: str  # kind:id of the document that moved the money
    created_at: datetime


@dataclass(slots=True)
class Account:
    """A locked account, as it stands after the commands decided so far."""

    id: int
    username: str
    balance: int

    def debit(self, amount: int) -> InsufficientBalance | None:
        """Take `amount` out, or return why not."""
        if amount > self.balance:
            return InsufficientBalance(balance=self.balance, amount=amount)
        self.balance -= amount
        return None

    def credit(self, amount: int) -> BalanceLimitExceeded | None:
        """Put `amount` in, or return why not."""
        if amount > BALANCE_LIMIT - self.balance:
            return BalanceLimitExceeded(balance=self.balance, amount=amount)
        self.balance += amount
        return None
