"""COMMITs, which may wait for a synchronous standby for ever, and are never cancelled.

PostgreSQL would publish a transaction whose COMMIT is cancelled, though no standby has it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from rowlock.engine.dialling import Connection, PoolConnection, discard, is_closed
from rowlock.engine.faults import DRIVER_ERRORS, is_lost
from rowlock.errors import OutcomeUnknown

NO_TIMEOUT_S = 1e9  # decades; None would be the connection's own timeout


class Commits:
    """The COMMITs on a pool's connections.

    One that takes too long is abandoned. Its connection is still used until the server has answered
    or is gone, and then passed to `give_back`.
    """

    def __init__(
        self, timeout_s: float, give_back: Callable[[PoolConnection], Awaitable[None]]
    ) -> None:
        self._timeout_s = timeout_s
        self._give_back = give_back
        # What keeps the place of each abandoned one in the pool, by its connection.
        self.abandoned: dict[PoolConnection, asyncio.Task[None]] = {}

    async def send(self, connection: PoolConnection) -> None:
        """Commit. Raises OutcomeUnknown if that takes too long, or the connection is lost."""
        loop = asyncio.get_running_loop()
        commit = loop.create_task(send_commit(connection))
        # As asyncio.wait does, in half the time.
        over = loop.create_future()
        commit.add_done_callback(partial(_end, over))
        timer = loop.call_later(self._timeout_s, _end, over)
        try:
            await over
        finally:
            timer.cancel()
            if not commit.done():
                self.abandoned[connection] = asyncio.create_task(
                    self._keep_place(connection, commit)
                )
        if not commit.done():
            raise OutcomeUnknown
        try:
            commit.result()
        except DRIVER_ERRORS as error:
            if is_lost(error) or is_closed(connection):
                discard(connection)
                raise OutcomeUnknown from error
            raise

    async def close(self) -> None:
        """Close the connections of abandoned ones, which the server goes on with."""
        for connection, place in list(self.abandoned.items()):
            discard(connection)
            await asyncio.wait([place])

    async def _keep_place(self, connection: PoolConnection, commit: asyncio.Task[None]) -> None:
        await asyncio.wait([commit])
        if commit.cancelled() or commit.exception() is not None:
            discard(connection)
        del self.abandoned[connection]
        await self._give_back(connection)


async def send_commit(connection: Connection) -> None:
    """Send COMMIT and wait for its answer without end. If cancelled, close the connection.

    The driver would ask the server to cancel the COMMIT; on a closed connection it does not.
    """
    try:
        status = await connection.execute("COMMIT", timeout=NO_TIMEOUT_S)
    except asyncio.CancelledError:
        discard(connection)
        raise
    if status != "COMMIT":
        raise RuntimeError("a statement of the transaction has failed: it was rolled back")


def _end(over: asyncio.Future[None], *_: object) -> None:
    if not over.done():
        over.set_result(None)
