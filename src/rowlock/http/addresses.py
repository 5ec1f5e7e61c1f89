"""The addresses of a service as its clients know them: its answers carry absolute URLs.

A service knows them by its public URL. Without one, it goes by the request: by its scheme and
Host, or by what the trusted proxies say about the request that the first of them got.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import web
from multidict import istr
from yarl import URL

LOCATION = istr("Location")
HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
PREFIX = re.compile(r"(?:/[A-Za-z0-9._~%-]+)*")
SCHEMES = frozenset({"http", "https"})
X_FORWARDED = "X-Forwarded-"
TOLD = ("for", "proto", "host", "prefix")  # what proxies say about the request that they got


class Addresses:
    """Where the clients of one service reach it."""

    def __init__(
        self, public_url: str | None, proxies: Sequence[IPv4Network | IPv6Network] = ()
    ) -> None:
        self._public_url = None if public_url is None else str(URL(public_url)).rstrip("/")
        self._proxies = proxies

    def base(self, request: web.Request) -> str:
        """Return the start of the service's URLs. A path, which begins with /, follows it.

        Only a path, or nothing, if the request has no valid Host.
        """
        if self._public_url is not None:
            return self._public_url
        scheme, host, prefix = request.scheme, request.headers.get("Host", ""), ""
        if self._proxies and self._trusts(request.remote or ""):
            told = self._told(request)
            scheme = told["proto"].lower() if told["proto"].lower() in SCHEMES else scheme
            host = told["host"] if HOST.fullmatch(told["host"]) else host
            prefix = told["prefix"].rstrip("/")
            prefix = prefix if PREFIX.fullmatch(prefix) else ""
        return f"{scheme}://{host}{prefix}" if HOST.fullmatch(host) else prefix

    def client(self, request: web.Request) -> str | None:
        """Return the client's IP address: the peer's, or what the first trusted proxy says."""
        peer = request.remote
        if self._proxies and self._trusts(peer or ""):
            told = _without_port(self._told(request)["for"])
            with suppress(ValueError):  # such as unknown, or a name
                return str(ip_address(told))
        return peer

    def network(self, request: web.Request) -> str:
        """Return what counts as one client: its IPv4 address, or the /64 of its IPv6 address.

        A /64 is the least that a network is given, so a single client may use all of its addresses.
        """
        client = self.client(request) or ""
        if ":" not in client:
            return client
        address = IPv6Address(client)
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)  # of a socket that takes both
        return str(IPv6Network((address, 64), strict=False))

    def _told(self, request: web.Request) -> dict[str, str]:
        """Return what the first of the trusted proxies says; "" for what it leaves out.

        `Forwarded` counts only where none of the other headers is there: most proxies set those,
        and pass on a `Forwarded` that the client made up.
        """
        lists = {
            name: [
                part.strip()
                for line in request.headers.getall(X_FORWARDED + name, ())
                for part in line.split(",")
            ]
            for name in TOLD
        }
        if not any(lists.values()):
            elements = request.forwarded
            lists = {name: [each.get(name, "") for each in elements] for name in TOLD}
        # The last element is the peer's. An earlier one counts if what made it is trusted, too.
        proxies = 1
        for address in reversed(lists["for"]):
            if not self._trusts(_without_port(address)):
                break
            proxies += 1
        # To a shorter list, not every proxy has added: its first element comes closest.
        return {
            name: parts[-min(proxies, len(parts))] if parts else "" for name, parts in lists.items()
        }

    def _trusts(self, given: str) -> bool:
        try:
            address = ip_address(given)
        except ValueError:  # such as unknown, or a name
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped  # of a socket that takes both
        return any(address in network for network in self._proxies)


ADDRESSES = web.AppKey("addresses", Addresses)


def absolute(request: web.Request, path: str) -> str:
    """Return the URL of a path of the service that `request` came to."""
    return request.app[ADDRESSES].base(request) + path


def _without_port(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address
