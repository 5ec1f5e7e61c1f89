"""Refunds: what was paid for an approved order goes back into its user's balance.

An order may be refunded in parts, up to its amount. A benefit order is refunded whole, and what it
had bought can be bought again. A refund is a document of its own, and never changes.
"""

from collections.abc import Sequence
from functools import partial

from rowlock.engine.aside import LockingLane
from rowlock.engine.database import Database
from rowlock.engine.lanes import Feature, Lane, WriteLane
from rowlock.refunds.reads import find_refunds, list_refunds
from rowlock.refunds.rules import Refund, RefundOrder
from rowlock.refunds.transactions import refund_orders
from rowlock.rejections import Rejection
from rowlock.settings.groups import BatchSettings


class Refunds(Feature):
    """Refunds."""

    def __init__(self, database: Database, batches: BatchSettings) -> None:
        super().__init__(database, batches)
        self.find: Lane[int, Refund | None] = self._reads("find_refund", find_refunds)
        self.make: WriteLane[RefundOrder, Refund | Rejection] = self._add(
            LockingLane("refund_order", database, refund_orders, batches)
        )

    async def list_page(self, order_id: int, *, before: int, page_size: int) -> Sequence[Refund]:
        """Return a page of an order's refunds, newest first: those with ids below `before`."""
        return await self.database.read(
            partial(list_refunds, order_id=order_id, before=before, page_size=page_size)
        )
