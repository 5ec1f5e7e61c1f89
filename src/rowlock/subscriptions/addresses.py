"""Addresses to which nothing may be posted: those that are not of the public internet.

Who may make a subscription could otherwise let Rowlock post to what only Rowlock can reach: the
machine itself, the network behind it, or a cloud's metadata service.
"""

import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from yarl import URL

Address = IPv4Address | IPv6Address

# Spelt out, as the properties of ipaddress differ between versions of Python.
REFUSED_V4 = [
    ip_network(each)
    for each in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, and metadata of a cloud
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's agent on each of its machines
        "169.254.0.0/16",  # link-local: metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
]
# Of IPv6, only what is given out as global unicast; and of that, not what wraps an IPv4 address.
GLOBAL_V6 = ip_network("2000::/3")
REFUSED_V6 = [
    ip_network(each)
    for each in (
        "2001::/23",  # Teredo, and others for protocols
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
        "5f00::/16",
    )
]
# In a URL: visible ASCII. A backslash is a slash to some, and quotes end it in others' hands.
VISIBLE = re.compile(r"""[!#-;=?-\[\]_a-z~]+""")


def is_refused(address: Address) -> bool:
    """Tell whether nothing may be posted to an address."""
    if isinstance(address, IPv4Address):
        return any(address in network for network in REFUSED_V4)
    return address not in GLOBAL_V6 or any(address in network for network in REFUSED_V6)


def read_address(host: str) -> Address | None:
    """Return the address that a host spells, in any notation; None if it is a name.

    The resolver takes 127.1, 0x7f000001, 2130706433 and 0177.0.0.1 for addresses.
    """
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host.rstrip(".")))
    except OSError:
        return None


def url_problem(text: str, *, private: bool, https_only: bool) -> str | None:
    """Return what is wrong with the URL of a subscription, as far as it tells by itself."""
    if not VISIBLE.fullmatch(text):
        return "Must be a URL of visible ASCII characters: percent-encode others."
    schemes = ("https",) if https_only and not private else ("http", "https")
    scheme, _colon, rest = text.partition("://")
    if scheme.lower() not in schemes:
        return f"Must start with {' or '.join(f'{each}://' for each in schemes)}."
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    wrong = [
        problem
        for sign, where, problem in (
            ("@", authority, "Must not have a user or a password."),
            ("%", authority, "Must not have a percent sign in its host."),
            ("#", text, "Must not have a fragment."),
        )
        if sign in where
    ]
    return wrong[0] if wrong else _host_problem(text, private=private)


def _host_problem(text: str, *, private: bool) -> str | None:
    try:
        url = URL(text)
        host, port = url.raw_host, url.port
    except ValueError:
        host, port = None, None
    if not host or not port:
        return "Must be a valid URL, with a host."
    address = read_address(host)
    if address is None:
        return None
    if private or not is_refused(address):
        usual = str(address) == host or address.version == 6  # noqa: PLR2004
        return None if usual else f"Must write its address as {address}."
    return f"Must not be at {address}, which is not an address of the public internet."
