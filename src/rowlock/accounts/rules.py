"""What an account may do, and who its user is. All amounts are minor units."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from rowlock.accounts import names
from rowlock.origin import SYSTEM, Origin
from rowlock.rejections import (
    BalanceLimitExceeded,
    EmailTaken,
    InsufficientBalance,
    Rejection,
    UserAnonymised,
    UsernameTaken,
    UserNotFound,
)

BALANCE_LIMIT = 2**53 - 1  # JSON clients read larger numbers inexactly
# The account on the other side, by the kind of document.
CONTRAS = {
    "order": "sales",
    "refund": "sales",
    "invoice": "payables",
    "reversal": "payables",
    "transfer": "transfers",
    "opening": "opening",
}
# Of a ledger entry: the kind of its document, where benefits are told from other orders.
REASONS = (
    "invoice",
    "reversal",
    "benefit_order",
    "order",
    "refund",
    "transfer",
    "opening_balance",
)
# What an anonymised user has for these.
NO_NAMES: Mapping[str, Any] = {"email": None, "first_name": "", "last_name": ""}


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
    """What moves money, once for each user: an order, a refund, the opening of an account."""

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


class RegisterUser(NamedTuple):
    """Create a user of that name, if no other has it; the texts are valid."""

    username: str
    email: str | None = None
    first_name: str = ""
    last_name: str = ""
    opening_balance: int = 0  # minor units
    origin: Origin = SYSTEM


class ChangeUser(NamedTuple):
    """Change some of a user's `email`, `first_name` and `last_name`; the texts are valid."""

    user_id: int
    changes: Mapping[str, str | None]  # by field; None only for the address: remove it
    origin: Origin = SYSTEM


class AnonymiseUser(NamedTuple):
    """Remove a user's names and address for good."""

    user_id: int
    origin: Origin = SYSTEM


class Person(NamedTuple):
    """A user with names and address; in a batch, as the commands decided so far leave it."""

    id: int
    username: str
    email: str | None
    first_name: str
    last_name: str
    balance: int  # minor units
    created_at: datetime
    anonymised_at: datetime | None


class Listed(NamedTuple):
    """A page of a list of users."""

    people: list[Person]
    end: "ListPosition | None"  # where the next page begins; None: there is none


class ListPosition(NamedTuple):
    """A place in a list of users: that of the last one before it."""

    key: str  # what the list is in the order of; "" where that is the id alone
    user_id: int


class Change(NamedTuple):
    """A change that the rules allow."""

    person: Person  # as it is afterwards
    fields: list[str]  # that have another value now; none if they had these values
    origin: Origin


class Anonymisation(NamedTuple):
    """The removal of a user's names and address, once."""

    person: Person  # as it is afterwards
    origin: Origin


@dataclass(slots=True)
class Directory:
    """Which names and addresses are taken, as it stands after the commands decided so far.

    By keys; spellings count for users of earlier releases, who may have no key.
    """

    usernames: set[str] = field(default_factory=set)  # keys and spellings
    emails: dict[str, set[int]] = field(default_factory=dict)  # whose, by key and by spelling

    def has_name(self, username: str) -> bool:
        """Tell whether a user has this name, perhaps in another spelling."""
        return not self.usernames.isdisjoint(spellings(username))

    def has_email(self, email: str, besides: int = 0) -> bool:
        """Tell whether a user, besides the one of that id, has this address."""
        return any(self.emails.get(text, set()) - {besides} for text in spellings(email))

    def move_email(self, user_id: int, old: str | None, new: str | None) -> None:
        """Let a user have the address `new`, and not `old`."""
        for text in spellings(old) if old else ():
            self.emails.get(text, set()).discard(user_id)
        for text in spellings(new) if new else ():
            self.emails.setdefault(text, set()).add(user_id)


def spellings(text: str) -> set[str]:
    """Return what a name or an address is looked for by: its key, and as it is stored."""
    return {names.key(text), names.normalise(text)}


def decide_registration(
    command: RegisterUser, number: int, directory: Directory
) -> RegisterUser | UsernameTaken | EmailTaken:
    """Return the command and apply it to the directory, or return why there is no new user.

    `number` stands for the id that the user has not got yet: one that no user has.
    """
    if directory.has_name(command.username):
        return UsernameTaken()
    if command.email is not None and directory.has_email(command.email):
        return EmailTaken()
    directory.usernames |= spellings(command.username)
    directory.move_email(number, None, command.email)
    return command


def decide_change(
    command: ChangeUser, people: dict[int, Person], directory: Directory
) -> Change | Rejection:
    """Return the change and apply it to the state, or return why there is none."""
    person = people.get(command.user_id)
    if person is None:
        return UserNotFound.of(command.user_id)
    if person.anonymised_at is not None:
        return UserAnonymised(user_id=person.id)
    changes: dict[str, Any] = {
        name: value for name, value in command.changes.items() if getattr(person, name) != value
    }
    email = changes.get("email")
    if email is not None and directory.has_email(email, besides=person.id):
        return EmailTaken()
    if "email" in changes:
        directory.move_email(person.id, person.email, email)
    people[person.id] = person._replace(**changes)
    return Change(people[person.id], sorted(changes), command.origin)


def decide_anonymisation(
    command: AnonymiseUser, people: dict[int, Person], username: str, now: datetime
) -> Anonymisation | Person | UserNotFound:
    """Return what becomes of the user and apply it to the state, or why there is nothing to do.

    `username` is the one that the user gets. A user who was anonymised before stays as it is.
    """
    person = people.get(command.user_id)
    if person is None:
        return UserNotFound.of(command.user_id)
    if person.anonymised_at is not None:
        return person
    people[person.id] = person._replace(username=username, anonymised_at=now, **NO_NAMES)
    return Anonymisation(people[person.id], command.origin)


def nameless(user_id: int, taken: Mapping[str, int], spare: str) -> str:
    """Return the username of an anonymised user.

    `taken` are names with the ids of their users. `spare` makes another name in case a user of an
    earlier release has the one that is due: no new user can take one that begins so.
    """
    username = f"{names.RESERVED}{user_id}"
    is_taken = taken.get(username, user_id) != user_id
    return f"{username}-{spare}" if is_taken else username
