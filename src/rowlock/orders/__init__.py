"""Orders: created at once, settled in the background.

An order is created pending, with the prices of that moment. The processor finds pending orders and
submits them to be settled: approved and paid from the user's balance, or refused. Any number of
processes may do so at once.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, Protocol

from rowlock.engine.database import Connection, Database
from rowlock.engine.lanes import Feature, Lane, WriteLane
from rowlock.engine.statements import queries
from rowlock.engine.wakes import Wake
from rowlock.errors import Rejection
from rowlock.orders.pending import Pending
from rowlock.orders.reads import find_orders, list_products
from rowlock.orders.rules import (
    CatalogueProduct,
    CreatedOrder,
    CreateOrder,
    Order,
    PendingOrder,
    Settlement,
    SettleOrder,
)
from rowlock.orders.transactions import (
    create_orders,
    postpone_order,
    settle_orders,
    settle_user_orders,
)
from rowlock.settings.groups import BatchSettings, OrderSettings

CHANNEL = "order_created"  # also that of release 0.1.0


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

    def __init__(
        self, database: Database, batches: BatchSettings, settings: OrderSettings, created: Wake
    ) -> None:
        """Make the feature; `created` is set once some are created."""
        super().__init__(database, batches)
        self.settings = settings
        self.created = created
        self.pending = Pending(database)
        self.list_products: Lane[None, Sequence[CatalogueProduct] | None] = self._reads(
            "list_catalogue", list_products
        )
        self.find: Lane[int, Order | None] = self._reads("find_order", find_orders)
        self.create: WriteLane[CreateOrder, CreatedOrder | Rejection] = self._commits(
            "create_order", create_orders, wakes=self.created
        )
        self.settle: WriteLane[SettleOrder, Settlement | PendingOrder | None] = self._commits(
            "settle_order", partial(settle_orders, approval_rate=settings.approval_rate)
        )

    async def list_page(
        self, *, status: str | None, before: int, page_size: int
    ) -> Sequence[Order]:
        """Return a page of orders, newest first: those with ids below `before`.

        With a `status`, those that had it when the page was looked up: an order that was settled
        since then is in another.
        """
        async with self.database.reader() as connection:
            rows = await LISTINGS[status](connection, before=before, page_size=page_size)
            found = await find_orders(connection, [row["id"] for row in rows])
        return [found[row["id"]] for row in rows]

    async def settle_in_turn(
        self, user_id: int, commands: Sequence[SettleOrder]
    ) -> list[Settlement | PendingOrder | None]:
        """Settle orders of one user in one transaction; return what `settle` does of each.

        Where `settle` skips a user whose row is locked, this waits. Raises DatabaseBusy after
        lock_timeout, and what the database raises.
        """
        async with self.database.transaction() as connection:
            outcomes = await settle_user_orders(
                connection, user_id, commands, self.settings.approval_rate
            )
        self.committed.set()
        return outcomes

    async def postpone(
        self, order_id: int, *, counts: bool, can_refuse: bool
    ) -> Settlement | PendingOrder | None:
        """Postpone an order that can't be settled, longer each time.

        If the failure `counts`, it is added to the order's attempts. At the limit of attempts the
        order is refused for good, if `can_refuse`. Returns the refusal, or the order if it is
        postponed; None for one that is not due, or claimed elsewhere.
        """
        settings = self.settings
        async with self.database.transaction() as connection:
            outcome = await postpone_order(
                connection,
                order_id,
                failures=int(counts),
                attempts_limit=settings.processor_attempts if can_refuse else None,
                retry_s=settings.processor_retry_s,
                retry_limit_s=settings.processor_retry_limit_s,
            )
        self.committed.set()
        return outcome
