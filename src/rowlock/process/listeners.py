"""Listening sockets: for each worker one on each address of each service.

The kernel spreads new connections evenly over the sockets of one address (SO_REUSEPORT).
"""

import errno
import select
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

from rowlock.errors import StartRefused
from rowlock.http.service import Service
from rowlock.settings import Settings
from rowlock.settings.names import ServiceName

# From <asm-generic/socket.h>. The kernel doesn't check that the interface exists.
SO_BINDTOIFINDEX = 62
NO_INTERFACE = 2**31 - 1

Sockets = Mapping[ServiceName, Sequence[socket.socket]]
Addresses = Mapping[
    ServiceName, Sequence[tuple[int, Any]]
]  # families and addresses, of the sockets


def listen(services: Sequence[Service], settings: Settings) -> list[Sockets]:
    """Return the listening sockets of each worker. Raises StartRefused if a port is taken."""
    found = {service.name: _listen(service, settings) for service in services}
    return [
        {name: [listeners[number] for listeners in addresses] for name, addresses in found.items()}
        for number in range(settings.process.workers)
    ]


def _listen(service: Service, settings: Settings) -> list[list[socket.socket]]:
    """Return a listening socket per worker for each address of `service`."""
    host, port = settings.addresses.host, service.port(settings)
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return [
            _share(family, address, settings) for family, *_, address in dict.fromkeys(addresses)
        ]
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StartRefused(
                f"Port {port} is taken: set ROWLOCK_{service.name.upper()}_PORT to another one."
            ) from None
        raise StartRefused(f"Can't listen on {host}:{port}: {error}.") from None


def _share(family: int, address: Any, settings: Settings) -> list[socket.socket]:
    """Return a listening socket per worker."""
    backlog = settings.process.backlog
    # The first one is bound without SO_REUSEPORT, so that another program on the port is noticed.
    first = socket.create_server(address, family=family, backlog=backlog)
    if settings.process.workers == 1:
        return [first]
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    others = range(settings.process.workers - 1)
    return [first, *(_create_another(family, address, backlog) for _ in others)]


def close(sockets: Sockets) -> None:
    """Close the sockets: waiting connections are reset, and new ones go to other sockets."""
    for listener in all_of(sockets):
        listener.close()


def bind_again(closed: Addresses) -> Sockets:
    """Return new sockets bound to the addresses of closed ones.

    They get no connections until a worker, which can accept them, lets the sockets listen.
    """
    return {
        name: [_bind(family, address) for family, address in addresses]
        for name, addresses in closed.items()
    }


def addresses_of(sockets: Sockets) -> Addresses:
    """Return the family and the address of each socket."""
    return {
        name: [(listener.family, listener.getsockname()) for listener in group]
        for name, group in sockets.items()
    }


def _create_another(family: int, address: Any, backlog: int) -> socket.socket:
    listener = _bind(family, address)
    listener.listen(backlog)
    return listener


def _bind(family: int, address: Any) -> socket.socket:
    """Return a socket bound to `address`, shared with others, that does not listen yet."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def refuse(sockets: Sockets) -> None:
    """Refuse new connections, but keep those that wait to be accepted.

    Closing a listener would reset them, though their clients may have sent requests already. A
    listener bound to an interface that does not exist keeps them, and gets no new ones.
    """
    if sys.platform == "linux":
        for listener in all_of(sockets):
            with suppress(OSError):  # needs a privilege before Linux 5.7
                listener.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, NO_INTERFACE)


def have_waiting(sockets: Sockets) -> bool:
    """Tell whether any connection waits to be accepted."""
    queues = select.poll()
    for listener in all_of(sockets):
        queues.register(listener, select.POLLIN)
    return bool(queues.poll(0))


def all_of(sockets: Sockets) -> Iterator[socket.socket]:
    """Yield every socket."""
    groups: Iterable[Sequence[socket.socket]] = sockets.values()
    return chain.from_iterable(groups)
