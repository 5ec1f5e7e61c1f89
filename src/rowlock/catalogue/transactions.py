"""Lock, decide, write: the catalogue.

`rowlock import` calls the functions that create, in a transaction of its own.
"""

from collections.abc import Sequence

import asyncpg

from rowlock.catalogue.events import (
    PRODUCT_CHANGED,
    PRODUCT_EVENTS,
    SERVICE_CHANGED,
    SERVICE_EVENTS,
    OfProduct,
    OfService,
    ProductBefore,
    What,
)
from rowlock.catalogue.reads import read_product, read_service
from rowlock.catalogue.rules import (
    Change,
    CreateProduct,
    CreateService,
    Item,
    Product,
    ProductCommand,
    Service,
    ServiceCommand,
    Stock,
    decide,
    decide_creation,
)
from rowlock.engine import outbox
from rowlock.engine.database import Connection
from rowlock.engine.faults import Conflict
from rowlock.engine.outbox import Event
from rowlock.engine.statements import queries
from rowlock.origin import Origin
from rowlock.rejections import ProductNotFound, Rejection, ServiceNotFound


async def create_products(
    connection: Connection, commands: Sequence[CreateProduct]
) -> list[Product | Rejection]:
    """Return the product that each command added, or why it added none.

    Each has a slug that a new product may have, as `rules.slug_problem` says.
    """
    first = {command.slug: command for command in reversed(commands)}
    rows = await queries.catalogue.create_products(
        connection,
        slugs=[*first],
        names=[command.name for command in first.values()],
        prices=[command.price for command in first.values()],
    )
    new = {
        row["slug"]: Product(
            row["id"],
            row["slug"],
            first[row["slug"]].name,
            first[row["slug"]].price,
            row["created_at"],
            retired_at=None,
        )
        for row in rows
    }
    outcomes = [decide_creation(command, new) for command in commands]
    await outbox.append(
        connection,
        [
            _event("created", outcome, command.origin)
            for command, outcome in zip(commands, outcomes, strict=True)
            if isinstance(outcome, Product)
        ],
    )
    return [*outcomes]


async def create_services(
    connection: Connection, commands: Sequence[CreateService]
) -> list[Service | Rejection]:
    """Return the service that each command added.

    Raises Conflict if an import has just brought a service with an id that was drawn for one.
    """
    try:
        rows = await queries.catalogue.create_services(
            connection, names=[command.name for command in commands]
        )
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name != "services_pkey":
            raise
        raise Conflict from error
    services = [
        Service(row["id"], command.name, row["created_at"], retired_at=None)
        for row, command in zip(rows, commands, strict=True)
    ]
    await outbox.append(
        connection,
        [
            _event("created", service, command.origin)
            for service, command in zip(services, commands, strict=True)
        ],
    )
    return [*services]


async def change_products(
    connection: Connection, commands: Sequence[ProductCommand]
) -> list[Product | Rejection]:
    """Return the product as each command left it, or why there is none."""
    rows = await queries.catalogue.lock_products(
        connection, product_ids=list({command.id for command in commands})
    )
    stock = Stock(
        {row["id"]: read_product(row) for row in rows},
        {row["id"]: row["locked_at"] for row in rows},
        ProductNotFound,
    )
    outcomes = [decide(command, stock) for command in commands]
    changes = _effective(outcomes)
    changed = [stock.items[product_id] for product_id in {each.after.id for each in changes}]
    if changed:
        await queries.catalogue.change_products(
            connection,
            product_ids=[product.id for product in changed],
            names=[product.name for product in changed],
            prices=[product.price for product in changed],
            retired_ats=[product.retired_at for product in changed],
        )
    await outbox.append(connection, [_event_of(change) for change in changes])
    return [each.after if isinstance(each, Change) else each for each in outcomes]


async def change_services(
    connection: Connection, commands: Sequence[ServiceCommand]
) -> list[Service | Rejection]:
    """Return the service as each command left it, or why there is none."""
    rows = await queries.catalogue.lock_services(
        connection, service_ids=list({command.id for command in commands})
    )
    stock = Stock(
        {row["id"]: read_service(row) for row in rows},
        {row["id"]: row["locked_at"] for row in rows},
        ServiceNotFound,
    )
    outcomes = [decide(command, stock) for command in commands]
    changes = _effective(outcomes)
    changed = [stock.items[service_id] for service_id in {each.after.id for each in changes}]
    if changed:
        await queries.catalogue.change_services(
            connection,
            service_ids=[service.id for service in changed],
            names=[service.name for service in changed],
            retired_ats=[service.retired_at for service in changed],
        )
    await outbox.append(connection, [_event_of(change) for change in changes])
    return [each.after if isinstance(each, Change) else each for each in outcomes]


def _effective(outcomes: Sequence[Change[Item] | Rejection]) -> list[Change[Item]]:
    """Return the changes that change something."""
    return [each for each in outcomes if isinstance(each, Change) and each.before != each.after]


def _event_of(change: Change[Item]) -> Event:
    before, after, origin = change
    if before.retired_at != after.retired_at:
        return _event("restored" if after.retired_at is None else "retired", after, origin)
    if isinstance(before, Product) and isinstance(after, Product):
        product_before: ProductBefore = {}
        if before.name != after.name:
            product_before["name"] = before.name
        if before.price != after.price:
            product_before["price"] = before.price
        return PRODUCT_CHANGED.event({**_describe_product(after), "before": product_before}, origin)
    assert isinstance(after, Service)  # as `before`: a change is of one item
    return SERVICE_CHANGED.event(
        {**_describe_service(after), "before": {"name": before.name}}, origin
    )


def _event(what: What, item: Product | Service, origin: Origin) -> Event:
    if isinstance(item, Product):
        return PRODUCT_EVENTS[what].event(_describe_product(item), origin)
    return SERVICE_EVENTS[what].event(_describe_service(item), origin)


def _describe_product(product: Product) -> OfProduct:
    return {
        "product_id": product.id,
        "slug": product.slug,
        "name": product.name,
        "price": product.price,
    }


def _describe_service(service: Service) -> OfService:
    return {"service_id": service.id, "name": service.name}
