"""A worker: one process of several that serve the same ports, started by `workers`."""

import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from functools import partial

from prometheus_client import Counter

from rowlock.errors import RowlockError
from rowlock.process import logs, server
from rowlock.process.workers import BEATS, LISTENS
from rowlock.services import SERVICES
from rowlock.settings import Settings
from rowlock.settings.names import ServiceName

# Not registered: a single process has no restarts, and with workers, values are read from files.
RESTARTS = Counter(
    "rowlock_worker_restarts_total",
    "Starts of a worker in place of one that had died.",
    ("service",),
    registry=None,
)


def main() -> None:
    """Serve as a worker."""
    # Signals are the parent's business: a signal to the whole group must not cut its shutdown
    # short.
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    os.set_blocking(sys.stdout.fileno(), False)  # a frozen parent must not block this process
    text = sys.stdin.buffer.readline()
    if not text:
        return  # the parent is gone
    order = json.loads(text)
    try:
        settings = Settings.from_environment()
        logs.configure(settings)
        names = [ServiceName(name) for name in order["services"]]
        for name in names:
            RESTARTS.labels(name).inc(order.get("restart", 0))  # an older parent does not send it
        server.run(
            [SERVICES[name] for name in names],
            settings,
            order["urls"],
            {
                ServiceName(name): [socket.socket(fileno=number) for number in group]
                for name, group in order["sockets"].items()
            },
            partial(_announce, settings.process.worker_silence_s / BEATS),
            lifeline=sys.stdin.fileno(),
        )
    except RowlockError as error:
        sys.exit(f"rowlock: {error}")


def _announce(pause_s: float) -> None:
    with suppress(OSError):  # the parent is gone or frozen
        os.write(sys.stdout.fileno(), 2 * LISTENS)  # the second announces further reports
    asyncio.get_running_loop().call_later(pause_s, _announce, pause_s)


if __name__ == "__main__":
    main()
