"""What can be imported: the fields of each kind of row, and the statements that add it."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import marshmallow
from marshmallow import validate

from rowlock.accounts import names
from rowlock.accounts.names import PERSON_LENGTH, USERNAME_LENGTH
from rowlock.accounts.rules import BALANCE_LIMIT
from rowlock.catalogue.rules import PRICE_LIMIT, SLUG_LENGTH, slug_problem
from rowlock.engine.database import Connection
from rowlock.engine.statements import queries
from rowlock.http.fields import REFERENCE_LENGTH, Cents, CheckedText, Integer, Text
from rowlock.invoices.rules import AMOUNT_LIMIT, LABEL_LENGTH
from rowlock.ops.imports import fields
from rowlock.ops.imports.files import Columns
from rowlock.ops.imports.statements import statements
from rowlock.projects.rules import NAME_LENGTH, SECRET_LENGTH, URL_LENGTH, secret_problem
from rowlock.projects.transactions import new_secret

if TYPE_CHECKING:
    from rowlock.ops.imports.typed.imports import (
        AddUsersRow,
        FindLastUserIdRow,
        FindUserProblemsRow,
        ForgetKnownUsersRow,
    )

LISTED = 10  # unknown fields of a row
LISTED_NAME = 40  # characters of one's name: a file may have any
PAGE_ROWS = 20_000
ALL_ROWS = 2**62

Values = dict[str, Any]


# What each kind's statements have in common. The rows are those of users; the others' are the same.
class FindProblems(Protocol):
    """Finds what is wrong with the staged rows."""

    async def __call__(
        self, connection: Connection, *, page_size: int
    ) -> "Sequence[FindUserProblemsRow]":
        """Return the first problems, each with the number of them all."""


class ForgetKnown(Protocol):
    """Leaves out the staged rows that are there already."""

    async def __call__(self, connection: Connection) -> "Sequence[ForgetKnownUsersRow]":
        """Return how many there were."""


class FindLastId(Protocol):
    """Finds the highest id of the staged rows."""

    async def __call__(self, connection: Connection) -> "Sequence[FindLastUserIdRow]":
        """Return it, or null."""


class PassIds(Protocol):
    """Moves a sequence."""

    async def __call__(self, connection: Connection, *, last_id: int) -> object:
        """Let new rows get ids beyond `last_id`."""


class Add(Protocol):
    """Adds staged rows, with their events."""

    async def __call__(
        self, connection: Connection, *, after: int, upto: int, actor: str
    ) -> "Sequence[AddUsersRow]":
        """Add a page, by the rows' ordinals; return how many there were."""


@dataclass(frozen=True, eq=False)
class Kind:
    """What the rows of a file are."""

    name: str  # in the plural
    noun: str  # of one
    fields: Mapping[str, marshmallow.fields.Field[Any]]
    table: str  # where rows are staged
    columns: tuple[str, ...]  # of that table, besides ordinal and line
    record: Callable[[Values], tuple[Any, ...]]  # a row's values in these columns
    stage: Callable[[Connection], Awaitable[object]]  # makes the table
    find_problems: FindProblems
    forget_known: ForgetKnown
    add: Add
    ids: tuple[FindLastId, PassIds] | None = None  # if rows may have ids from elsewhere
    lock: Callable[[Connection], Awaitable[object]] | None = None
    owner: str | None = None  # the field of a username; user_id is the other way to tell
    identity: str | None = None  # an optional field without which a row is not known again
    page_rows: int = PAGE_ROWS

    @property
    def header(self) -> Columns:
        """What the columns of a CSV file may be called, and which of them are numbers."""
        return Columns(
            frozenset(self.fields),
            frozenset(name for name, field in self.fields.items() if field.required),
            frozenset(name for name, field in self.fields.items() if isinstance(field, Integer)),
        )

    def check(self, given: Values) -> tuple[Values, list[str]]:
        """Return the values of a row as its fields load them, and what is wrong with them."""
        values: Values = {}
        problems = []
        for name, field in self.fields.items():
            try:
                values[name] = field.deserialize(given.get(name, marshmallow.missing))
            except marshmallow.ValidationError as error:
                problems.append(f"{name}: {error.messages[0]}")
        unknown = given.keys() - self.fields.keys()
        problems += [f"there is no field {name[:LISTED_NAME]!r}" for name in [*unknown][:LISTED]]
        if not problems and self.owner is not None:
            problems += self._owner_problems(values)
        return values, problems

    def _owner_problems(self, values: Values) -> Iterator[str]:
        if (values[str(self.owner)] is None) == (values["user_id"] is None):
            yield f"{self.owner}: Must be given, or else user_id, but not both."


def _user_record(values: Values) -> tuple[Any, ...]:
    email = values["email"]
    return (
        values["id"],
        names.normalise(values["username"]),
        names.key(values["username"]),
        email,
        None if email is None else names.key(email),
        values["first_name"],
        values["last_name"],
        values["opening_balance"],
        values["created_at"],
    )


def _project_record(values: Values) -> tuple[Any, ...]:
    return (
        values["id"],
        values["name"],
        values["url"],
        values["user_id"],
        values["app_secret"] or new_secret(),
        values["created_at"],
    )


def _take(*names: str) -> Callable[[Values], tuple[Any, ...]]:
    return lambda values: tuple(values[name] for name in names)


def _person_name() -> CheckedText:
    return CheckedText(names.person_problem, load_default="", longest=PERSON_LENGTH, shortest=0)


USERS = Kind(
    name="users",
    noun="user",
    fields={
        "username": CheckedText(names.problem, longest=USERNAME_LENGTH, required=True),
        "email": fields.email(),
        "first_name": _person_name(),
        "last_name": _person_name(),
        "opening_balance": Cents(load_default=0, minimum=0, maximum=BALANCE_LIMIT),
        "id": fields.row_id(),
        "created_at": fields.time(),
    },
    table="import_users",
    columns=(
        "id",
        "username",
        "name_key",
        "email",
        "email_key",
        "first_name",
        "last_name",
        "opening_balance",
        "created_at",
    ),
    record=_user_record,
    stage=statements.imports.stage_users,
    find_problems=statements.imports.find_user_problems,
    forget_known=statements.imports.forget_known_users,
    add=statements.imports.add_users,
    ids=(statements.imports.find_last_user_id, queries.seed.pass_user_ids),
)

PRODUCTS = Kind(
    name="products",
    noun="product",
    fields={
        "slug": CheckedText(slug_problem, longest=SLUG_LENGTH, required=True),
        "name": Text(required=True, longest=NAME_LENGTH),
        "price": Cents(required=True, minimum=0, maximum=PRICE_LIMIT),
    },
    table="import_products",
    columns=("slug", "name", "price"),
    record=_take("slug", "name", "price"),
    stage=statements.imports.stage_products,
    find_problems=statements.imports.find_product_problems,
    forget_known=statements.imports.forget_known_products,
    add=statements.imports.add_products,
)

SERVICES = Kind(
    name="services",
    noun="service",
    fields={"name": Text(required=True, longest=NAME_LENGTH), "id": fields.row_id()},
    table="import_services",
    columns=("id", "name"),
    record=_take("id", "name"),
    stage=statements.imports.stage_services,
    find_problems=statements.imports.find_service_problems,
    forget_known=statements.imports.forget_known_services,
    add=statements.imports.add_services,
    ids=(statements.imports.find_last_service_id, statements.imports.pass_service_ids),
)

INVOICES = Kind(
    name="invoices",
    noun="invoice",
    fields={
        "username": fields.text(USERNAME_LENGTH),
        "user_id": fields.row_id(),
        "amount": Cents(required=True, maximum=AMOUNT_LIMIT),
        "label": Text(required=True, longest=LABEL_LENGTH, lines=True),
        "status": marshmallow.fields.String(
            load_default="pending",
            validate=validate.OneOf(
                ["pending"],
                error="Must be pending: what was paid is part of the user's opening balance.",
            ),
        ),
        "reference": fields.text(REFERENCE_LENGTH),
        "created_at": fields.time(),
    },
    table="import_invoices",
    columns=("user_id", "amount", "label", "reference", "created_at"),
    record=_take("user_id", "amount", "label", "reference", "created_at"),
    stage=statements.imports.stage_invoices,
    find_problems=statements.imports.find_invoice_problems,
    forget_known=statements.imports.forget_known_invoices,
    add=statements.imports.add_invoices,
    owner="username",
    identity="reference",
)

PROJECTS = Kind(
    name="projects",
    noun="project",
    fields={
        "name": Text(required=True, longest=NAME_LENGTH),
        "owner": fields.text(USERNAME_LENGTH),
        "user_id": fields.row_id(),
        "id": fields.row_id(),
        "url": fields.text(URL_LENGTH),
        "app_secret": CheckedText(secret_problem, longest=SECRET_LENGTH, load_default=None),
        "created_at": fields.time(),
    },
    table="import_projects",
    columns=("id", "name", "url", "user_id", "app_secret", "created_at"),
    record=_project_record,
    stage=statements.imports.stage_projects,
    find_problems=statements.imports.find_project_problems,
    forget_known=statements.imports.forget_known_projects,
    add=statements.imports.add_projects,
    ids=(statements.imports.find_last_project_id, queries.seed.pass_project_ids),
    lock=queries.projects.lock_project_positions,
    owner="owner",
    page_rows=ALL_ROWS,  # so that the list's order is that of all their ids
)

KINDS = {kind.name: kind for kind in (USERS, PRODUCTS, SERVICES, INVOICES, PROJECTS)}

# The files of `rowlock seed`: they must say more, and call an opening balance `balance`.
SEED_USERS = replace(
    USERS,
    fields={
        "id": fields.row_id(required=True),
        "email": fields.email(required=True),
        "username": USERS.fields["username"],
        "created_at": fields.time(required=True),
        "first_name": USERS.fields["first_name"],
        "last_name": USERS.fields["last_name"],
        "balance": USERS.fields["opening_balance"],
    },
    record=lambda values: _user_record(values | {"opening_balance": values["balance"]}),
)
SEED_PROJECTS = replace(
    PROJECTS,
    fields={
        "id": fields.row_id(required=True),
        "name": PROJECTS.fields["name"],
        "url": PROJECTS.fields["url"],
        "user_id": fields.row_id(required=True),
        "app_secret": CheckedText(secret_problem, longest=SECRET_LENGTH, required=True),
        "created_at": fields.time(required=True),
    },
    owner=None,
)
