"""The limit on the requests that one client may send in a second; the rest get a 429.

A client is an actor that is a single caller, such as an API key or a user of the Auth0 tenant. The
service's own token and anonymous requests are of many callers; there, the client is an IP address.
A key may have a rate of its own, which holds instead of the service's.

A 429 carries RateLimit and RateLimit-Policy in the syntax of
draft-ietf-httpapi-ratelimit-headers-11.
"""

from time import monotonic_ns

from aiohttp import web

from rowlock.errors import TooManyRequests
from rowlock.http.access import PROBE_PATHS
from rowlock.http.addresses import Addresses
from rowlock.http.buckets import Buckets
from rowlock.http.exchange import SHARED

NEVER_LIMITED = PROBE_PATHS | {"/readyz/writes"}


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
