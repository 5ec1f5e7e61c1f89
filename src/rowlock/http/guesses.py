"""API keys that a process has never seen valid: how many each client may have looked up.

Any client can make up secrets of the right form. The database is asked about each of them, before
any rate counts: who sends it is not known yet. So each network address has some look-ups a second.
A key that was found costs none, nor does one that was valid when it was last looked up: a client
that guesses can't shut out the keys in use, even if it shares their address.
"""

import asyncio
from functools import partial
from time import monotonic_ns

from aiohttp import web

from rowlock.errors import TooManyRequests
from rowlock.http.addresses import Addresses
from rowlock.http.buckets import Buckets
from rowlock.http.keyring import ApiKey, Keyring

GUESSES = 100  # of one client in a second, by each process


class Guesses:
    """The look-ups of one service's API keys in this process."""

    def __init__(self, keyring: Keyring, addresses: Addresses) -> None:
        self._keyring = keyring
        self._addresses = addresses
        self._buckets = Buckets()
        self._asked: dict[bytes, asyncio.Task[ApiKey | None]] = {}  # that are being looked up

    async def find(self, request: web.Request, digest: bytes) -> ApiKey | None:
        """Look up the key that came with a request; None: there is no such valid key.

        Requests that come with one key at once share a look-up, which counts once. Raises
        TooManyRequests if its client has guessed too often, and as Keyring.find does.
        """
        if self._keyring.remembers(digest):
            return await self._keyring.find(digest)
        asked = self._asked.get(digest)
        if asked is None:
            client = self._addresses.network(request)
            # Before the answer is there: others may be asked for meanwhile.
            if not self._buckets.take(client, GUESSES, monotonic_ns()):
                raise TooManyRequests(rate=GUESSES)
            asked = asyncio.create_task(self._look_up(client, digest), name="look_up_key")
            asked.add_done_callback(partial(self._forget, digest))
            self._asked[digest] = asked
        return await asyncio.shield(asked)  # a request that ends leaves it to the others

    async def _look_up(self, client: str, digest: bytes) -> ApiKey | None:
        key = await self._keyring.find(digest)
        if key is not None:
            self._buckets.give_back(client, GUESSES)
        return key

    def _forget(self, digest: bytes, asked: asyncio.Task[ApiKey | None]) -> None:
        del self._asked[digest]
        if not asked.cancelled():
            asked.exception()  # all who wanted to know it may be gone
