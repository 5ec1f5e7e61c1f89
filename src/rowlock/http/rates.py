"""The limit on the requests that one client may send in a second; the rest get a 429.

A client is an actor that is a single caller, such as an API key or a user of the Auth0 tenant. The
service's own token and anonymous requests are of many callers; there, the client is an IP address.
A key may have a rate of its own, which holds instead of the service's.

A 429 carries RateLimit and RateLimit-Policy in the syntax of
draft-ietf-httpapi-ratelimit-headers-11.
"""

from collections import OrderedDict
from time import monotonic_ns

from aiohttp import web

from rowlock.errors import TooManyRequests
from rowlock.http.access import PROBE_PATHS
from rowlock.http.addresses import Addresses
from rowlock.http.exchange import ANONYMOUS, TOKEN

SECOND_NS = 1_000_000_000
MOST_CLIENTS = 100_000  # remembered at once
NEVER_LIMITED = PROBE_PATHS | {"/readyz/writes"}
SHARED = frozenset({TOKEN, ANONYMOUS})  # actors that are many clients


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


class Rates:
    """The limits on the clients of one service in this process."""

    def __init__(self, client_rate: int, addresses: Addresses) -> None:
        self.client_rate = client_rate  # of a client that has none of its own; 0: no limit
        self._addresses = addresses
        self._buckets = Buckets()

    def count(self, request: web.Request, actor: str, rate: int) -> None:
        """Count a request of `actor`. Raises TooManyRequests if they are more than `rate`."""
        client = self._addresses.network(request) if actor in SHARED else actor
        if not self._buckets.take(client, rate, monotonic_ns()):
            raise TooManyRequests(rate=rate)


def headers(rate: int) -> dict[str, str]:
    """Return the headers of a 429. A bucket is full again after a second, whatever its rate."""
    return {
        "Retry-After": "1",
        "RateLimit-Policy": f'"client";q={rate};w=1',
        "RateLimit": '"client";r=0;t=1',
    }
