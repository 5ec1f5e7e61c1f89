"""The benefits shop: each user buys each product once, from their balance.

An order is approved and paid as it is placed, or it is refused and not stored. An unknown user gets
an account with an opening balance.
"""

from collections.abc import Sequence

from rowlock.benefits.reads import find_shoppers, list_products
from rowlock.benefits.rules import CatalogueProduct, PlacedOrder, PlaceOrder, Shopper
from rowlock.benefits.transactions import place_orders
from rowlock.engine.database import Database
from rowlock.engine.lanes import Feature, Lane, WriteLane
from rowlock.errors import Rejection
from rowlock.settings.groups import BatchSettings


class Benefits(Feature):
    """The benefits shop."""

    def __init__(self, database: Database, batches: BatchSettings) -> None:
        super().__init__(database, batches)
        self.find_shopper: Lane[str, Shopper | None] = self._reads("find_shopper", find_shoppers)
        self.list_products: Lane[None, Sequence[CatalogueProduct] | None] = self._reads(
            "list_products", list_products
        )
        self.place_order: WriteLane[PlaceOrder, PlacedOrder | Rejection] = self._commits(
            "place_order", place_orders
        )
