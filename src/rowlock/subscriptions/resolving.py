"""Looking up the names of receivers, which may be slow, and may change."""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from rowlock.subscriptions.addresses import Address, is_refused

RESOLVING = 32  # names at once
PATIENCE_S = 3.0  # with a name that is looked up for a client


class Resolver(AbstractResolver):
    """Looks names up in threads of its own, so that slow ones delay nothing else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVING, thread_name_prefix="resolver")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, look_up, host, port, family)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _type, proto, _name, address in found
        ]

    async def close(self) -> None:
        """Start no more look-ups."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def look_up(
    host: str, port: int, family: socket.AddressFamily
) -> Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]]:
    """Return what the system's resolver finds. Raises OSError."""
    try:
        return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is too long
        raise OSError("not a name") from error


def read_socket_address(address: tuple[Any, ...]) -> Address:
    """Return the address in an address of a socket."""
    return ip_address(str(address[0]).partition("%")[0])


async def leads_inside(host: str, port: int) -> bool:
    """Tell whether a name now has an address to which nothing may be posted.

    A name that can't be looked up has none yet: what it has later is checked when it is dialled.
    """
    loop = asyncio.get_running_loop()
    looking = loop.run_in_executor(None, look_up, host, port, socket.AF_UNSPEC)
    try:
        async with asyncio.timeout(PATIENCE_S):
            found = await looking
    except OSError:  # TimeoutError is one
        return False
    return any(is_refused(read_socket_address(address)) for *_, address in found)
