"""Lists that many requests read together: lanes whose batches are read on a standby, if one is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from rowlock.engine.database import Database
from rowlock.engine.lanes import Fetch, Key, Lane, Result
from rowlock.origin import FRESH
from rowlock.settings.groups import BatchSettings


class ListLane(Lane[Key, Result | None]):
    """A group read of lists.

    Each of its batches is one read. A request that wants to see all that was acknowledged before it
    gets a read of its own on the primary. The result for a key that is not found is None.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        fetch: Fetch[Key, Result],
        settings: BatchSettings,
        is_whole: Callable[[Key, Result], bool] = lambda *_: True,
    ) -> None:
        """`is_whole` tells whether a standby has all of a result that the primary may have."""
        super().__init__(name, self._read, replace(settings, batch_answers=settings.batch_items))
        self._database = database
        self._fetch = fetch
        self._is_whole = is_whole

    async def submit(self, item: Key) -> Result | None:
        """Return the list for a key. Raises as `Lane.submit` and `Database.reader` do."""
        if FRESH.get() and self._database.standbys is not None:
            [result] = await self._read([item])
            return result
        return await super().submit(item)

    async def _read(self, keys: list[Any]) -> Sequence[Result | None]:
        unique = list(dict.fromkeys(keys))
        if self._database.standbys is None:
            async with self._database.connection() as connection:
                found = await self._fetch(connection, unique)
        else:
            found = await self._database.read(
                lambda connection: self._fetch(connection, unique), partial(self._suffices, unique)
            )
        return [found.get(key) for key in keys]

    def _suffices(self, keys: Sequence[Key], found: Mapping[Key, Result]) -> bool:
        """Tell whether all was found: that there is none is told by the primary alone."""
        return all(key in found and self._is_whole(key, found[key]) for key in keys)
