"""What is sold and what can be booked: adding, changing, retiring and restoring it.

A product or a service is never deleted, as orders refer to it. A retired one can't be ordered or
booked anew. Prices are minor units.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from rowlock.origin import SYSTEM, Origin
from rowlock.rejections import Missing, SlugTaken

SLUG_LENGTH = 100
# Lower-case ASCII, so that no two look the same. Slugs that are there may be any others.
SLUG_PATTERN = "^[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?$"
SLUG_RULE = (
    f"Must have 1 to {SLUG_LENGTH} characters of a-z 0-9 . _ - and begin and end with a letter or "
    "a digit."
)
NAME_LENGTH = 200
PRICE_LIMIT = 1_000_000_000_000  # as in the CHECK of the table


class CreateProduct(NamedTuple):
    """Add a product."""

    slug: str  # one without a slug_problem
    name: str
    price: int
    origin: Origin = SYSTEM


class CreateService(NamedTuple):
    """Add a service."""

    name: str
    origin: Origin = SYSTEM


class ChangeProduct(NamedTuple):
    """Change a product; what is None stays as it is."""

    id: int
    name: str | None = None
    price: int | None = None
    origin: Origin = SYSTEM

    @property
    def values(self) -> dict[str, Any]:
        """What it changes."""
        return _given(name=self.name, price=self.price)


class ChangeService(NamedTuple):
    """Change a service; what is None stays as it is."""

    id: int
    name: str | None = None
    origin: Origin = SYSTEM

    @property
    def values(self) -> dict[str, Any]:
        """What it changes."""
        return _given(name=self.name)


class Retire(NamedTuple):
    """Let no new order have it."""

    id: int
    origin: Origin = SYSTEM


class Restore(NamedTuple):
    """Let new orders have it again."""

    id: int
    origin: Origin = SYSTEM


ProductCommand: TypeAlias = ChangeProduct | Retire | Restore
ServiceCommand: TypeAlias = ChangeService | Retire | Restore


@dataclass(frozen=True)  # without slots, orjson writes it in half the time
class Product:
    """A product, retired or not."""

    id: int
    slug: str
    name: str
    price: int
    created_at: datetime | None  # None: before it was noted
    retired_at: datetime | None  # None: it can be ordered


@dataclass(frozen=True)
class Service:
    """A service, retired or not."""

    id: int
    name: str
    created_at: datetime | None  # None: before it was noted
    retired_at: datetime | None  # None: it can be booked


Item = TypeVar("Item", Product, Service)


class Change(NamedTuple, Generic[Item]):
    """A product or a service before and after a command."""

    before: Item
    after: Item
    origin: Origin = SYSTEM


@dataclass(slots=True)
class Stock(Generic[Item]):
    """The locked state that a batch is decided on, as it stands after each command."""

    items: dict[int, Item]  # those that the commands name, by id
    locked_ats: Mapping[int, datetime]  # when each was locked: the time of its changes
    missing: type[Missing]


def slug_problem(slug: str) -> str | None:
    """Return why no new product can have this slug, or None."""
    fits = re.fullmatch(SLUG_PATTERN, slug) is not None and not slug.endswith("\n")
    return None if fits else SLUG_RULE


def decide_creation(command: CreateProduct, new: dict[str, Product]) -> Product | SlugTaken:
    """Return the product of the command, or why there is none.

    `new` are those that the batch could add, by slug. Each is of the first command for its slug,
    and is taken out.
    """
    product = new.pop(command.slug, None)
    return product or SlugTaken(
        f"Another product, perhaps a retired one, has the slug {command.slug}.",
        slug=command.slug,
    )


def decide(
    command: ChangeProduct | ChangeService | Retire | Restore, stock: Stock[Item]
) -> Change[Item] | Missing:
    """Return what the command changes and apply it to `stock`, or return why it can't."""
    before = stock.items.get(command.id)
    if before is None:
        return stock.missing.of(command.id)
    match command:
        case Retire():
            since = before.retired_at or stock.locked_ats[before.id]
            after = replace(before, retired_at=since)
        case Restore():
            after = replace(before, retired_at=None)
        case _:
            after = replace(before, **command.values)
    stock.items[before.id] = after
    return Change(before, after, command.origin)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
