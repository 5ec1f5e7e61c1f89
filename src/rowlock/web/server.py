"""Running services: listen, wait for a signal, drain."""

import asyncio
import errno
import gc
import signal
from collections.abc import Callable, Sequence

import structlog
import uvloop
from aiohttp import web

from rowlock.exceptions import StartRefused
from rowlock.settings import Settings
from rowlock.web.app import create_app
from rowlock.web.docs import DOCUMENTS
from rowlock.web.service import Service

GC_THRESHOLDS = (50_000, 20, 20)  # requests leave little behind that only the collector can free

logger = structlog.get_logger("rowlock.server")


def run(
    services: Sequence[Service],
    settings: Settings,
    urls: dict[str, str],
    on_ready: Callable[[], None],
) -> None:
    """Serve until SIGTERM or SIGINT, then let the requests under way finish.

    `urls` are the databases' by their names; `on_ready` is called once all services listen.
    Raises StartRefused if an address is taken.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(services, settings, urls, on_ready))


async def _serve(
    services: Sequence[Service],
    settings: Settings,
    urls: dict[str, str],
    on_ready: Callable[[], None],
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop.set)
    runners: list[web.AppRunner] = []
    try:
        for service in services:
            app = create_app(service, settings, urls[service.database])
            app[DOCUMENTS].make()
            runner = web.AppRunner(
                app,
                access_log=None,
                keepalive_timeout=settings.keepalive_timeout_s,
                shutdown_timeout=settings.drain_timeout_s,
            )
            runners.append(runner)
            await runner.setup()
            await _listen(runner, service, settings)
        # What is there by now stays: the collector need not look at it again, nor so often.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        on_ready()
        await stop.wait()
        logger.info("draining")
    finally:
        await asyncio.gather(*(runner.cleanup() for runner in runners))
    logger.info("stopped")


async def _listen(runner: web.AppRunner, service: Service, settings: Settings) -> None:
    port = service.port(settings)
    try:
        await web.TCPSite(runner, settings.host, port, backlog=settings.backlog).start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StartRefused(
                f"Port {port} is taken: set ROWLOCK_{service.name.upper()}_PORT to another one."
            ) from None
        raise StartRefused(f"Can't listen on {settings.host}:{port}: {error}.") from None
