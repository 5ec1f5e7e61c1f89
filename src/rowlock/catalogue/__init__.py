"""The catalogue: the products of both shops, and the services that can be booked.

A product has a slug, a name and a price; a service has a name. Both may be retired, and restored.
Orders keep the prices that they were placed at, and what is retired stays in them.
"""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial

from rowlock.catalogue.reads import find_products, find_services, read_product, read_service
from rowlock.catalogue.rules import (
    CreateProduct,
    CreateService,
    Product,
    ProductCommand,
    Service,
    ServiceCommand,
)
from rowlock.catalogue.transactions import (
    change_products,
    change_services,
    create_products,
    create_services,
)
from rowlock.engine.database import Database
from rowlock.engine.lanes import Feature, Lane, WriteLane
from rowlock.engine.statements import queries
from rowlock.rejections import Rejection
from rowlock.settings.groups import BatchSettings


class Catalogue(Feature):
    """The catalogue."""

    def __init__(self, database: Database, batches: BatchSettings) -> None:
        super().__init__(database, batches)
        self.find_product: Lane[int, Product | None] = self._reads("find_product", find_products)
        self.create_product: WriteLane[CreateProduct, Product | Rejection] = self._commits(
            "create_product", create_products
        )
        self.change_product: WriteLane[ProductCommand, Product | Rejection] = self._commits(
            "change_product", change_products
        )
        self.find_service: Lane[int, Service | None] = self._reads("find_service", find_services)
        self.create_service: WriteLane[CreateService, Service | Rejection] = self._commits(
            "create_service", create_services
        )
        self.change_service: WriteLane[ServiceCommand, Service | Rejection] = self._commits(
            "change_service", change_services
        )

    async def list_products(
        self, *, is_retired: bool | None, before: int, page_size: int
    ) -> Sequence[Product]:
        """Return a page of products, newest first: those with ids below `before`.

        Retired ones, or those that are not, where `is_retired` is not None.
        """
        kinds = _kinds(is_retired)
        rows = await self.database.read(
            partial(
                queries.catalogue.list_products, are_live=kinds, before=before, page_size=page_size
            )
        )
        return [read_product(row) for row in rows]

    async def list_services(
        self, *, is_retired: bool | None, before: int, page_size: int
    ) -> Sequence[Service]:
        """Return a page of services, as `list_products` does."""
        kinds = _kinds(is_retired)
        rows = await self.database.read(
            partial(
                queries.catalogue.list_services, are_live=kinds, before=before, page_size=page_size
            )
        )
        return [read_service(row) for row in rows]

    async def name_products(self, product_ids: Iterable[int]) -> dict[int, str]:
        """Return the names of products by id, retired ones too. Raises what the lane raises."""
        found = await asyncio.gather(*map(self.find_product.submit, set(product_ids)))
        return {product.id: product.name for product in found if product is not None}


def _kinds(is_retired: bool | None) -> list[int]:
    return [1, 0] if is_retired is None else [int(not is_retired)]
