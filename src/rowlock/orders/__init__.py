"""Orders: created at once, settled in the background.

An order is created pending, with the prices of that moment. The processor finds pending orders and
settles them by the engine: approved and paid from the user's balance, or refused. Any number of
processes may do so at once.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, Protocol

from rowlock.engine.database import Connection, Database
from rowlock.engine.lanes import Feature, Lane
from rowlock.engine.statements import queries
from rowlock.engine.tasks import Wake
from rowlock.errors import Rejection
from rowlock.orders.rules import CreateOrder, PendingOrder, Settlement, SettleOrder
from rowlock.orders.transactions import (
    CatalogueProduct,
    CreatedOrder,
    Order,
    create_orders,
    find_orders,
    list_products,
    settle_orders,
)
from rowlock.settings.groups import BatchSettings, OrderSettings


class _Listed(Protocol):
    def __getitem__(self, key: Literal["id"], /) -> int: ...


class _Listing(Protocol):
    """A statement that reads a page of ids."""

    async def __call__(
        self, connection: Connection, *, before: int, page_size: int
    ) -> Sequence[_Listed]: ...


LISTINGS: Mapping[str | None, _Listing] = {
    None: queries.orders.list_orders,
    "pending": queries.orders.list_pending_orders,
    "approved": queries.orders.list_approved_orders,
    "refused": queries.orders.list_refused_orders,
}


class Orders(Feature):
    """Orders."""

    def __init__(self, database: Database, batches: BatchSettings, settings: OrderSettings) -> None:
        super().__init__(database, batches)
        self.settings = settings
        self.pending = Wake()  # set once this process has created some
        self.list_products: Lane[None, Sequence[CatalogueProduct] | None] = self._reads(
            "list_catalogue", list_products
        )
        self.find: Lane[int, Order | None] = self._reads("find_order", find_orders)
        self.create: Lane[CreateOrder, CreatedOrder | Rejection] = self._commits(
            "create_order", create_orders, wakes=self.pending
        )
        self.settle: Lane[SettleOrder, Settlement | PendingOrder | None] = self._commits(
            "settle_order", partial(settle_orders, approval_rate=settings.approval_rate)
        )

    async def list_page(
        self, *, status: str | None, before: int, page_size: int
    ) -> Sequence[Order]:
        """Return a page of orders, newest first: those with ids below `before`.

        In one status, if it is not None. One that is settled meanwhile may be in another by now.
        """
        async with self.database.reader() as connection:
            rows = await LISTINGS[status](connection, before=before, page_size=page_size)
            found = await find_orders(connection, [row["id"] for row in rows])
        return [found[row["id"]] for row in rows]
