"""Token buckets: how many requests a client may send in a second, and at once."""

from collections import OrderedDict

SECOND_NS = 1_000_000_000
MOST_CLIENTS = 100_000  # remembered at once


class Buckets:
    """A token bucket for each client: it holds the requests of one second, and fills up steadily.

    All that is kept of a client is when its bucket will be full (the generic cell rate algorithm).
    One whose bucket is full is forgotten, as an unknown client has a full one, too.
    """

    def __init__(self, most: int = MOST_CLIENTS) -> None:
        self._most = most
        self._full_at: OrderedDict[str, int] = OrderedDict()  # the client served last is at the end

    def __len__(self) -> int:
        """Return how many clients are remembered."""
        return len(self._full_at)

    def take(self, client: str, rate: int, now_ns: int) -> bool:
        """Take one request out of a bucket of `rate`. Tell whether there was one left."""
        share_ns = SECOND_NS // rate
        full_at = max(self._full_at.get(client, 0), now_ns) + share_ns
        if full_at - now_ns > rate * share_ns:
            return False
        self._full_at[client] = full_at
        self._full_at.move_to_end(client)
        self._forget(now_ns)
        return True

    def give_back(self, client: str, rate: int) -> None:
        """Put a request back that `take` took out of a bucket of `rate`."""
        full_at = self._full_at.get(client)
        if full_at is not None:  # else it is full: the client was forgotten
            self._full_at[client] = full_at - SECOND_NS // rate

    def _forget(self, now_ns: int) -> None:
        """Forget clients whose buckets are full, two of them at most: no request waits for a sweep.

        Of too many clients, the one that was served longest ago is forgotten, whatever it has left.
        Each request adds at most one, so there are never more.
        """
        for _ in range(2):
            client, full_at = next(iter(self._full_at.items()))
            if full_at > now_ns and len(self._full_at) <= self._most:
                break
            del self._full_at[client]
