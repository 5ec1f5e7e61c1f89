"""Running services: listen, wait for the end, drain."""

import asyncio
import ctypes
import errno
import gc
import os
import resource
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any, cast

import structlog
import uvloop
from aiohttp import web

from rowlock.exceptions import StartRefused
from rowlock.settings import Settings
from rowlock.web.app import create_app
from rowlock.web.connections import Connection
from rowlock.web.docs import DOCUMENTS
from rowlock.web.service import DRAINING, SETTINGS, Service

GC_THRESHOLDS = (50_000, 20, 20)  # requests leave little behind that only the collector can free

# From <asm-generic/socket.h>; which interface exists is not looked at.
SO_BINDTOIFINDEX = 62
NO_INTERFACE = 2**31 - 1

# From <asm-generic/socket.h> and <linux/filter.h>.
SO_ATTACH_REUSEPORT_CBPF = 51
LOAD_RANDOM = 0x20, 0, 0, 2**32 - 0x1000 + 56
MODULO, JUMP_IF_EQUAL, RETURN = 0x94, 0x15, 0x06

TICK_S = 0.02  # between two looks at what is left
MOMENT_S = 0.1  # what is over time gets no more than this to notice

logger = structlog.get_logger("rowlock.server")

Sockets = Mapping[str, Sequence[socket.socket]]  # by the names of services


def listen(services: Sequence[Service], settings: Settings) -> list[Sockets]:
    """Return the listening sockets of each worker. Raises StartRefused if a port is taken."""
    found = {service.name: _listen(service, settings) for service in services}
    return [
        {name: [listeners[number] for listeners in addresses] for name, addresses in found.items()}
        for number in range(settings.workers)
    ]


def _listen(service: Service, settings: Settings) -> list[list[socket.socket]]:
    """Return a listening socket per worker for each address of `service`."""
    port = service.port(settings)
    try:
        addresses = socket.getaddrinfo(
            settings.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return [
            _share(family, address, settings) for family, *_, address in dict.fromkeys(addresses)
        ]
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StartRefused(
                f"Port {port} is taken: set ROWLOCK_{service.name.upper()}_PORT to another one."
            ) from None
        raise StartRefused(f"Can't listen on {settings.host}:{port}: {error}.") from None


def _share(family: int, address: Any, settings: Settings) -> list[socket.socket]:
    """Return a listening socket per worker; the kernel spreads connections evenly over them.

    It numbers them in the order in which they are made.
    """
    backlog = settings.backlog
    # The first one is bound for itself alone, so that another program on the port is noticed.
    first = socket.create_server(address, family=family, backlog=backlog)
    if settings.workers == 1:
        return [first]
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    others = range(settings.workers - 1)
    return [first] + [
        socket.create_server(address, family=family, backlog=backlog, reuse_port=True)
        for _ in others
    ]


def run(
    services: Sequence[Service],
    settings: Settings,
    urls: Mapping[str, str],
    sockets: Sockets,
    on_ready: Callable[[], None],
    *,
    lifeline: int | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then let the requests under way finish.

    `urls` are the databases' by their names; `on_ready` is called once all services answer.
    A worker has a `lifeline`, a file descriptor, and serves until that ends.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(services, settings, urls, sockets, on_ready, lifeline=lifeline))


async def _serve(
    services: Sequence[Service],
    settings: Settings,
    urls: Mapping[str, str],
    sockets: Sockets,
    on_ready: Callable[[], None],
    *,
    lifeline: int | None,
) -> None:
    loop = asyncio.get_running_loop()
    stop = _watch_for_end(lifeline)
    runners: list[web.AppRunner] = []
    acceptors: list[asyncio.Server] = []
    deadline = loop.time()
    _allow_many_connections()
    try:
        for service in services:
            app = create_app(service, settings, urls[service.database])
            app[DOCUMENTS].make()
            runners.append(web.AppRunner(app, access_log=None, shutdown_timeout=MOMENT_S))
            await runners[-1].setup()
            acceptors += [await accept(runners[-1], listener) for listener in sockets[service.name]]
        # What is there by now stays: the collector need not look at it again, nor so often.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        on_ready()
        await stop.wait()
        logger.info("draining", pid=os.getpid())
        deadline = loop.time() + settings.drain_timeout_s
        for runner in runners:
            runner.app[DRAINING].set()
        if lifeline is None:
            refuse(sockets)
        await _accept_the_rest(sockets, settings)
        for acceptor in acceptors:
            acceptor.close()
        await _drain(runners, loop.time() + settings.drain_idle_s, deadline)
    finally:
        await _clean_up(runners, max(deadline, loop.time()) + settings.stop_timeout_s)
    logger.info("stopped", pid=os.getpid())


def _watch_for_end(lifeline: int | None) -> asyncio.Event:
    """Return what is set by SIGTERM, SIGINT and SIGHUP, or else by the end of `lifeline`.

    One process alone has nobody who could replace it: for it, a hangup is an end.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if lifeline is None:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(signum) is not signal.SIG_IGN:  # as nohup has it
                loop.add_signal_handler(signum, stop.set)
        return stop

    def end() -> None:
        loop.remove_reader(lifeline)
        stop.set()

    loop.add_reader(lifeline, end)
    return stop


def _allow_many_connections() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError):  # macOS: unlimited is more than it allows
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def accept(runner: web.AppRunner, listener: socket.socket) -> asyncio.Server:
    """Let the application of `runner` serve those who connect to `listener`."""
    loop = asyncio.get_running_loop()
    assert runner.server is not None
    connect = partial(Connection, runner.server, runner.app, loop=loop)
    backlog = runner.app[SETTINGS].backlog
    return await loop.create_server(connect, sock=listener, backlog=backlog)


def refuse(sockets: Sockets) -> None:
    """Refuse new connections, but keep those that wait to be accepted.

    Closing a listener would reset them, each maybe with a request sent already. One that is bound
    to an interface that does not exist keeps them, and gets no new ones.
    """
    if sys.platform == "linux":
        for listener in chain(*sockets.values()):
            with suppress(OSError):  # before Linux 5.7, not everybody may
                listener.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, NO_INTERFACE)


def steer(places: Sequence[Sockets], numbers: Sequence[int]) -> None:
    """Let new connections go to the places of these numbers alone; what waits in others stays.

    Binding the others to no interface would not do: the kernel picks one of all that share the
    port, and then drops the connection. So a program picks: at random, as for its own choice.
    """
    first, *others = numbers
    program = [LOAD_RANDOM, (MODULO, 0, 0, len(numbers))]
    for remainder, number in enumerate(others):
        program += [(JUMP_IF_EQUAL, 0, 1, remainder), (RETURN, 0, 0, number)]
    program.append((RETURN, 0, 0, first))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    order = struct.pack("HP", len(program), ctypes.addressof(code))
    if sys.platform == "linux":
        for listener in chain(*places[0].values()):  # one speaks for all on its port
            with suppress(OSError):  # not every sandbox knows it
                listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, order)


async def _accept_the_rest(sockets: Sockets, settings: Settings) -> None:
    """Return once the connections made by now are accepted."""
    queues = select.poll()
    for listener in chain(*sockets.values()):
        queues.register(listener, select.POLLIN)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + settings.stop_timeout_s
    await asyncio.sleep(settings.handshake_timeout_s)
    while queues.poll(0) and loop.time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(TICK_S)


async def _drain(runners: Sequence[web.AppRunner], idle_until: float, deadline: float) -> None:
    """Return once no connection is left, at `deadline` at the latest.

    A request may be on its way on a connection that is idle here. So idle ones are left open for
    a while: whatever is answered by now says that the connection closes. aiohttp's own shutdown
    would close them at once, and read no more of the bodies that are arriving.
    """
    loop = asyncio.get_running_loop()
    while loop.time() < deadline:
        await asyncio.sleep(TICK_S)
        connections = [
            cast("Connection", each)
            for runner in runners
            if runner.server is not None
            for each in runner.server.connections
        ]
        if not connections:
            return
        if loop.time() >= idle_until:
            for connection in connections:
                if connection.is_idle:
                    connection.force_close()


async def _clean_up(runners: Sequence[web.AppRunner], deadline: float) -> None:
    """End what runs in the background and close the pools, whatever befalls one of them."""
    left_s = deadline - asyncio.get_running_loop().time()
    results = await asyncio.gather(
        *(asyncio.wait_for(runner.cleanup(), left_s) for runner in runners),
        return_exceptions=True,
    )
    for error in filter(None, results):
        logger.error("cleanup_failed", error=repr(error), exc_info=error)
