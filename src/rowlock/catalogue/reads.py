"""Reading the catalogue, retired products and services included: one function per lane."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rowlock.catalogue.rules import Product, Service
from rowlock.engine.database import Connection
from rowlock.engine.statements import queries

if TYPE_CHECKING:
    from rowlock.engine.typed.catalogue import (
        FindProductsRow,
        FindServicesRow,
        LockProductsRow,
        LockServicesRow,
    )


async def find_products(connection: Connection, ids: Sequence[int]) -> dict[int, Product]:
    """Return those of the products that exist, by id."""
    rows = await queries.catalogue.find_products(connection, product_ids=ids)
    return {row["id"]: read_product(row) for row in rows}


async def find_services(connection: Connection, ids: Sequence[int]) -> dict[int, Service]:
    """Return those of the services that exist, by id."""
    rows = await queries.catalogue.find_services(connection, service_ids=ids)
    return {row["id"]: read_service(row) for row in rows}


def read_product(row: "FindProductsRow | LockProductsRow") -> Product:
    """Return a row of a product as one."""
    return Product(
        row["id"], row["slug"], row["name"], row["price"], row["created_at"], row["retired_at"]
    )


def read_service(row: "FindServicesRow | LockServicesRow") -> Service:
    """Return a row of a service as one."""
    return Service(row["id"], row["name"], row["created_at"], row["retired_at"])
