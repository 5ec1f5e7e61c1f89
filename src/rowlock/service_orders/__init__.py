"""Service orders: appointments that keep their distance from each other.

Two orders are at least three hours apart, unless both were imported with the old data. One lock
lets one batch decide at a time, over all processes. An exclusion constraint keeps the distance
against writers that do not take the lock.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from rowlock.engine.database import Database
from rowlock.engine.lanes import Feature, Lane, WriteLane
from rowlock.engine.lists import ListLane
from rowlock.rejections import Rejection
from rowlock.service_orders.reads import find_orders, list_orders, list_services
from rowlock.service_orders.rules import Change, Command, Service, ServiceOrder
from rowlock.service_orders.transactions import change_orders
from rowlock.settings.groups import BatchSettings


class ServiceOrders(Feature):
    """Service orders."""

    def __init__(self, database: Database, batches: BatchSettings) -> None:
        super().__init__(database, batches)
        self.find: Lane[int, ServiceOrder | None] = self._reads("find_service_order", find_orders)
        self.list_services: Lane[None, Sequence[Service] | None] = self._add(
            ListLane("list_services", database, list_services, batches)
        )
        # One lane for all three commands: in lanes of their own, each would hold a connection while
        # it waits for the one lock.
        self.change: WriteLane[Command, Change | Rejection] = self._commits(
            "change_service_order", change_orders
        )

    async def list_page(
        self,
        *,
        after: datetime,
        after_id: int,
        before: datetime,
        service_id: int | None,
        page_size: int,
    ) -> Sequence[ServiceOrder]:
        """Return a page of orders, sorted by time and then by id.

        They come after (`after`, `after_id`), and their times are before `before`. With a
        `service_id`, only those that include this service.
        """
        page = partial(
            list_orders,
            after=after,
            after_id=after_id,
            before=before,
            service_id=service_id,
            page_size=page_size,
        )
        return await self.database.read(page)
