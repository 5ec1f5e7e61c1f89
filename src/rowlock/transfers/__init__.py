"""Transfers: one user pays another.

A transfer is made at once or refused, and stays as it is. Each has two ledger entries, which add up
to nothing. Concurrent transfers commit together, whether they go to one user or to many.
"""

from functools import partial

from rowlock.engine.aside import LockingLane
from rowlock.engine.database import Database
from rowlock.engine.lanes import Feature, Lane, WriteLane
from rowlock.rejections import Rejection
from rowlock.settings.groups import BatchSettings
from rowlock.transfers.reads import find_transfers, list_transfers
from rowlock.transfers.rules import Filter, MakeTransfer, Transfer
from rowlock.transfers.transactions import make_transfers


class Transfers(Feature):
    """Transfers."""

    def __init__(self, database: Database, batches: BatchSettings) -> None:
        super().__init__(database, batches)
        self.find: Lane[int, Transfer | None] = self._reads("find_transfer", find_transfers)
        self.make: WriteLane[MakeTransfer, Transfer | Rejection] = self._add(
            LockingLane("make_transfer", database, make_transfers, batches)
        )

    async def list_page(self, wanted: Filter, *, before: int, page_size: int) -> list[Transfer]:
        """Return a page of transfers, newest first: those after the transfer `before` in the list.

        The highest bigint is before all.
        """
        page = partial(list_transfers, wanted=wanted, before=before, page_size=page_size)
        return await self.database.read(page, is_fresh=wanted.reference is not None)
