"""The names of the services and of the databases, and the addresses of servers."""

from enum import StrEnum
from ipaddress import IPv6Address, ip_address


class ServiceName(StrEnum):
    """The services."""

    COMMERCE = "commerce"
    PROJECTS = "projects"
    EVENTS = "events"
    CONSOLE = "console"


class DatabaseName(StrEnum):
    """The databases; the migrations of each are in the folder of its name."""

    MAIN = "main"
    EVENTS = "events"


def server_url(host: str, port: int) -> str:
    """Return the URL by which this machine reaches a server that listens on `host` and `port`.

    One that listens on all addresses is reached on the loopback of that family.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    is_v6 = isinstance(address, IPv6Address)
    if address.is_unspecified:
        host = "::1" if is_v6 else "127.0.0.1"
    # A zone, as in fe80::1%eth0, is escaped in a URL (RFC 6874).
    return f"http://[{host.replace('%', '%25')}]:{port}" if is_v6 else f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches what listens on `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
