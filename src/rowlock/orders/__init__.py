"""Orders: created at once, settled in the background, or cancelled before that.

An order is created pending, with the prices of that moment. The processor finds pending orders and
submits them to be settled: approved and paid from the user's balance, or refused. Any number of
processes may do so at once. Package `refunds` pays approved orders back.
"""

from collections.abc import Sequence
from functools import partial

from rowlock.engine.aside import LockingLane
from rowlock.engine.database import Database
from rowlock.engine.lanes import Feature, Lane, WriteLane
from rowlock.engine.lists import ListLane
from rowlock.engine.wakes import Wake
from rowlock.orders.pending import Pending
from rowlock.orders.reads import find_orders, list_oldest_orders, list_orders, list_products
from rowlock.orders.rules import (
    CancelOrder,
    CatalogueProduct,
    CreateOrder,
    Filter,
    Order,
    PendingOrder,
    RetryOrder,
    Settlement,
    SettleOrder,
)
from rowlock.orders.transactions import (
    cancel_orders,
    create_orders,
    postpone_order,
    retry_orders,
    settle_orders,
    settle_user_orders,
)
from rowlock.rejections import Rejection
from rowlock.settings.features import OrderSettings
from rowlock.settings.groups import BatchSettings

CHANNEL = "order_created"  # also that of release 0.1.0


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
        self.list_products: Lane[None, Sequence[CatalogueProduct] | None] = self._add(
            ListLane("list_catalogue", database, list_products, batches)
        )
        self.find: Lane[int, Order | None] = self._reads("find_order", find_orders)
        self.create: WriteLane[CreateOrder, Order | Rejection] = self._commits(
            "create_order", create_orders, wakes=self.created
        )
        self.cancel: WriteLane[CancelOrder, Order | Rejection] = self._add(
            LockingLane("cancel_order", database, cancel_orders, batches)
        )
        self.retry: WriteLane[RetryOrder, Order | Rejection] = self._add(
            LockingLane("retry_order", database, retry_orders, batches)
        )
        self.settle: WriteLane[SettleOrder, Settlement | PendingOrder | None] = self._commits(
            "settle_order", partial(settle_orders, approval_rate=settings.approval_rate)
        )

    async def list_page(self, wanted: Filter, *, before: int, page_size: int) -> list[Order]:
        """Return a page of orders, newest first: those after the order `before` in the list.

        The highest bigint is before all. With a status, those that had it when the page was looked
        up: an order that was settled since then is in another.
        """
        page = partial(list_orders, wanted=wanted, before=before, page_size=page_size)
        return await self.database.read(page, is_fresh=wanted.reference is not None)

    async def list_oldest(self, wanted: Filter, *, after: int, page_size: int) -> list[Order]:
        """Return a page of orders, oldest first: those after the order `after` in the list.

        0 is before all. With a status, as in `list_page`.
        """
        page = partial(list_oldest_orders, wanted=wanted, after=after, page_size=page_size)
        return await self.database.read(page, is_fresh=wanted.reference is not None)

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
