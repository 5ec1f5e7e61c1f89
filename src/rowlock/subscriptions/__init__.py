"""Subscriptions: events are posted to users' own systems, signed as Standard Webhooks has it.

The dispatcher, one process at a time, reads the log and posts each event to the subscriptions that
match it. Each has a queue of its own, so a slow receiver delays no other. What fails is tried again
aside, for about three days. Delivery is at least once, and in no particular order: the id of the
event tells both.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from rowlock.engine.database import Connection, Database
from rowlock.engine.lanes import Feature, Lane, WriteLane
from rowlock.engine.statements import queries
from rowlock.rejections import Rejection
from rowlock.settings.features import SubscriptionSettings
from rowlock.settings.groups import BatchSettings
from rowlock.subscriptions.reads import (
    find_deliveries,
    find_subscriptions,
    read_delivery,
    read_subscription,
)
from rowlock.subscriptions.rules import (
    DELIVERY_STATUSES,
    Change,
    CreateSubscription,
    DeleteSubscription,
    DeliveryRow,
    Resend,
    SendTest,
    Subscription,
)
from rowlock.subscriptions.transactions import (
    Append,
    change_subscriptions,
    create_subscriptions,
    delete_subscriptions,
    resend_deliveries,
    send_tests,
)

if TYPE_CHECKING:
    from rowlock.engine.typed.subscriptions import CountFailedRow, GroupFailedRow

GROUPED, MOST_GROUPS = 100_000, 100  # deliveries whose reasons are counted; reasons
CHANGED = "subscriptions_changed"  # the channel of the wake


class Subscriptions(Feature):
    """The subscriptions of the events service."""

    def __init__(
        self,
        database: Database,
        batches: BatchSettings,
        settings: SubscriptionSettings,
        append: Append,
    ) -> None:
        """Make the feature; `append` appends events to the log of the same database."""
        super().__init__(database, batches)
        self.settings = settings
        self.append = append
        self.find: Lane[int, Subscription | None] = self._reads(
            "find_subscription", find_subscriptions
        )
        self.create: WriteLane[CreateSubscription, Subscription | Rejection] = self._commits(
            "create_subscription", partial(create_subscriptions, append)
        )
        self.change: WriteLane[Change, Subscription | Rejection] = self._commits(
            "change_subscription", partial(change_subscriptions, append)
        )
        self.delete: WriteLane[DeleteSubscription, int | Rejection] = self._commits(
            "delete_subscription", partial(delete_subscriptions, append)
        )
        self.test: WriteLane[SendTest, DeliveryRow | Rejection] = self._commits(
            "test_subscription", partial(send_tests, append)
        )
        self.resend: WriteLane[Resend, DeliveryRow | Rejection] = self._commits(
            "resend_delivery", partial(resend_deliveries, append)
        )

    async def list_page(self, *, before: int, page_size: int) -> Sequence[Subscription]:
        """Return a page of subscriptions, newest first: those with ids below `before`."""
        async with self.database.reader() as connection:
            rows = await queries.subscriptions.list(connection, before=before, page_size=page_size)
        return [read_subscription(row) for row in rows]

    async def list_deliveries(
        self, subscription_id: int, *, status: str | None, before: int, page_size: int
    ) -> Sequence[DeliveryRow]:
        """Return a page of a subscription's deliveries, newest first, of one status or of all."""
        async with self.database.reader() as connection:
            rows = await queries.subscriptions.list_deliveries(
                connection,
                subscription_id=subscription_id,
                statuses=DELIVERY_STATUSES if status is None else [status],
                before=before,
                page_size=page_size,
            )
        return [read_delivery(row) for row in rows]

    async def list_newest(
        self,
        *,
        subscription_id: int | None,
        status: str | None,
        problem: str | None,
        before: int,
        page_size: int,
    ) -> Sequence[DeliveryRow]:
        """Return a page of deliveries, newest first, of one subscription or of all."""

        async def read(connection: Connection) -> Sequence[DeliveryRow]:
            rows = await queries.subscriptions.list_newest_deliveries(
                connection,
                subscription_id=subscription_id,
                statuses=DELIVERY_STATUSES if status is None else [status],
                problem=problem,
                before=before,
                page_size=page_size,
            )
            return [read_delivery(row) for row in rows]

        return await self.database.read(read)

    async def find_deliveries(self, ids: Sequence[int]) -> Sequence[DeliveryRow]:
        """Return those of the deliveries that exist, newest first."""
        found = await self.database.read(
            lambda connection: find_deliveries(connection, ids), is_fresh=True
        )
        return [found[id_] for id_ in sorted(found, reverse=True)]

    async def group_failed(self) -> "Sequence[GroupFailedRow]":
        """Return why the last deliveries were given up, with how many each reason has."""
        return await self.database.read(
            lambda connection: queries.subscriptions.group_failed(
                connection, looked_at=GROUPED, most=MOST_GROUPS
            )
        )

    async def count_failed(
        self, subscription_id: int | None, problem: str | None
    ) -> "CountFailedRow":
        """Return how many deliveries were given up, of subscriptions that are active."""
        [row] = await self.database.read(
            lambda connection: queries.subscriptions.count_failed(
                connection, subscription_id=subscription_id, problem=problem
            ),
            is_fresh=True,
        )
        return row

    async def count_pending(self, ids: Sequence[int]) -> dict[int, int]:
        """Return how many deliveries wait, by subscription."""
        rows = await self.database.read(
            lambda connection: queries.subscriptions.count_pending(connection, subscription_ids=ids)
        )
        return {row["subscription_id"]: row["pending"] for row in rows}

    async def purge_failed(self, page_size: int) -> int:
        """Remove at most `page_size` deliveries that failed long ago; return how many."""
        keep = timedelta(seconds=self.settings.deliveries_keep_s)
        async with self.database.transaction() as connection:
            [row] = await queries.subscriptions.purge_failed(
                connection, keep=keep, page_size=page_size
            )
        return row["purged"]

    async def purge_delivered(self, page_size: int) -> int:
        """Remove at most `page_size` deliveries that succeeded, but for the last of each."""
        keep = self.settings.deliveries_keep_delivered
        async with self.database.transaction() as connection:
            [row] = await queries.subscriptions.purge_delivered(
                connection, keep=keep, page_size=page_size
            )
        return row["purged"]
