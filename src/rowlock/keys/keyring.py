"""The keys that requests came with lately, so that most requests ask no database about theirs.

A key is looked up again once its last look-up is older than CHECKED_S, by the request that comes
with it then. So a key that was revoked works nowhere for longer; and one that no request uses costs
nothing. If the database can't be asked, the request fails like any other that needs it.
"""

from collections import OrderedDict
from time import monotonic

from rowlock.engine.lanes import Lane
from rowlock.keys.rules import Holder

CHECKED_S = 2.0
MOST_KEYS = 10_000


class Keyring:
    """The valid keys that are known at the moment, by the SHA-256 of what proves them.

    To find a secret by its hash takes a time that tells nothing of other secrets: who doesn't know
    one can't choose what its hash begins with.
    """

    def __init__(self, lane: Lane[bytes, Holder | None], most: int = MOST_KEYS) -> None:
        self._lane = lane
        self._most = most
        # With the time until which each is taken for valid; the one looked up last is at the end.
        self._known: OrderedDict[bytes, tuple[float, Holder]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many keys are known."""
        return len(self._known)

    def known(self, digest: bytes) -> Holder | None:
        """Return the key that a secret with this SHA-256 proves, if it was looked up just now."""
        found = self._known.get(digest)
        return found[1] if found is not None and monotonic() < found[0] else None

    def remembers(self, digest: bytes) -> bool:
        """Tell whether a secret was valid when it was last looked up."""
        return digest in self._known

    async def find(self, digest: bytes) -> Holder | None:
        """Look the key up, and know it for a while. None: there is no such valid key.

        Raises what the lane raises.
        """
        now = monotonic()  # before the look-up, which may see nothing later
        holder = await self._lane.submit(digest)
        self._known.pop(digest, None)
        if holder is not None:
            left_s = CHECKED_S if holder.left_s is None else min(CHECKED_S, holder.left_s)
            self._known[digest] = now + left_s, holder
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        return holder
