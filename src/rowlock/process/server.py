"""Running services in one process: serve, wait for a signal, drain."""

import asyncio
import gc
import os
import resource
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import cast

import structlog
import uvloop
from aiohttp import web

from rowlock.http.app import create_app
from rowlock.http.intake import CROWD
from rowlock.http.metrics import LOG_LINES_DROPPED
from rowlock.http.service import DRAINING, SETTINGS, Service
from rowlock.process import logs
from rowlock.process.connection import ClientConnection
from rowlock.process.listeners import Sockets, have_waiting, refuse
from rowlock.process.refusal import Refusal
from rowlock.settings import Settings
from rowlock.settings.groups import ProcessSettings
from rowlock.settings.names import server_url

GC_THRESHOLDS = (50_000, 20, 20)  # requests leave few cycles for the collector

TICK_S = 0.02  # pause between two looks at the remaining connections
MOMENT_S = 0.1  # for handlers still running at the deadline to be cancelled

logger = structlog.get_logger(__name__)


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

    `urls` are those of the databases, by name. `on_ready` is called once all services answer.
    A worker has a `lifeline` instead of signals: a file descriptor, and it serves until that ends.
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
    logs.LOSSES += [LOG_LINES_DROPPED.labels(service.name).inc for service in services]
    neighbours = {
        str(service.name): server_url(settings.addresses.host, service.port(settings))
        for service in services
    }
    try:
        for service in services:
            others = {name: urls[name] for name in service.also}
            app = create_app(service, settings, urls[service.database], others, neighbours)
            runners.append(web.AppRunner(app, access_log=None, shutdown_timeout=MOMENT_S))
            await runners[-1].setup()
            acceptors += [await accept(runners[-1], listener) for listener in sockets[service.name]]
        # Exclude what exists now from collection, and collect less often.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        on_ready()
        await stop.wait()
        logger.info("draining", pid=os.getpid())
        deadline = loop.time() + settings.process.drain_timeout_s
        for runner in runners:
            runner.app[DRAINING].set()
        if lifeline is None:
            refuse(sockets)
        await _accept_the_rest(sockets, settings.process)
        for acceptor in acceptors:
            acceptor.close()
        await _drain(runners, loop.time() + settings.process.drain_idle_s, deadline)
    finally:
        await _clean_up(runners, max(deadline, loop.time()) + settings.process.stop_timeout_s)
    logger.info("stopped", pid=os.getpid())


def _watch_for_end(lifeline: int | None) -> asyncio.Event:
    """Return an event that is set at the end of `lifeline`, or else by SIGTERM, SIGINT or SIGHUP.

    A single process has no replacement, so SIGHUP ends it.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if lifeline is None:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(signum) is not signal.SIG_IGN:  # as under nohup
                loop.add_signal_handler(signum, stop.set)
        return stop

    def end() -> None:
        loop.remove_reader(lifeline)
        stop.set()

    loop.add_reader(lifeline, end)
    return stop


def _allow_many_connections() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError):  # macOS reports "unlimited", but refuses it
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def accept(runner: web.AppRunner, listener: socket.socket) -> asyncio.Server:
    """Serve the connections to `listener` with the application of `runner`."""
    loop = asyncio.get_running_loop()
    assert runner.server is not None
    server, app, crowd = runner.server, runner.app, runner.app[CROWD]
    settings = app[SETTINGS]

    def connect() -> asyncio.Protocol:
        if crowd.connections < settings.http.connections:
            return ClientConnection(server, app, loop=loop)
        return Refusal(app)

    return await loop.create_server(connect, sock=listener, backlog=settings.process.backlog)


async def _accept_the_rest(sockets: Sockets, settings: ProcessSettings) -> None:
    """Return once the connections made so far are accepted."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + settings.stop_timeout_s
    await asyncio.sleep(settings.handshake_timeout_s)
    while have_waiting(sockets) and loop.time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(TICK_S)


async def _drain(runners: Sequence[web.AppRunner], idle_until: float, deadline: float) -> None:
    """Return once no connection is left, at `deadline` at the latest.

    A request may be on its way on a connection that is idle here, so idle connections stay open
    until `idle_until`. Each answer now tells the client that the connection closes. aiohttp's own
    shutdown would close idle connections at once, and stop reading bodies that are arriving.
    """
    loop = asyncio.get_running_loop()
    while loop.time() < deadline:
        await asyncio.sleep(TICK_S)
        connections = [
            cast("ClientConnection", each)
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
    """End background work and close the pools; a failure of one does not keep the others."""
    left_s = deadline - asyncio.get_running_loop().time()
    results = await asyncio.gather(
        *(asyncio.wait_for(runner.cleanup(), left_s) for runner in runners),
        return_exceptions=True,
    )
    for error in filter(None, results):
        logger.error("cleanup_failed", error=repr(error), exc_info=error)
