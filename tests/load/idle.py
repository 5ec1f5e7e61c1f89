"""What an idle installation costs: `python tests/load/idle.py [--rest S] [--connections N]`.

First all services rest, on an embedded PostgreSQL: their processor time, and that of the server,
by the processes' own accounts. Then connections are idle: each makes one request and stays open.
The memory is the service's, resident.
"""

import argparse
import resource
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
from harness import Server, free_port, postgres, serving

ROWLOCK = Path(sys.executable).parent / "rowlock"
REQUEST = b"GET /user/1 HTTP/1.1\r\nHost: x\r\n\r\n"
AT_ONCE = 500
SETTLE_S = 75  # until the pools have closed what they do not need


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rest", type=int, default=60, help="seconds; 0: leave it out")
    parser.add_argument("--connections", type=int, default=10_000, help="0: leave them out")
    arguments = parser.parse_args()
    if arguments.rest:
        rest(arguments.rest)
    if arguments.connections:
        connect(arguments.connections)


def rest(seconds: int) -> None:
    """Say what all services cost while nobody uses them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ports = [free_port() for _ in range(4)]
        environment = {
            "ROWLOCK_DATA_DIR": str(folder / "data"),
            "ROWLOCK_COMMERCE_PORT": str(ports[0]),
            "ROWLOCK_PROJECTS_PORT": str(ports[1]),
            "ROWLOCK_EVENTS_PORT": str(ports[2]),
            "ROWLOCK_CONSOLE_PORT": str(ports[3]),
        }
        command = (ROWLOCK, "serve")
        log = folder / "log"
        with serving("all", command, port=ports[0], environment=environment, log=log) as server:
            time.sleep(SETTLE_S)
            pid = (folder / "data" / "postgres" / "postmaster.pid").read_text().split()[0]
            services, postmaster = psutil.Process(server.process.pid), psutil.Process(int(pid))
            before, started = (used(services), used_by_all(postmaster)), time.monotonic()
            time.sleep(seconds)
            elapsed = time.monotonic() - started
            after = used(services), used_by_all(postmaster)
            backends = sum("idle" in each.cmdline()[0] for each in postmaster.children())
    shares = [100 * (last - first) / elapsed for first, last in zip(before, after, strict=True)]
    print(
        f"all services at rest: {sum(shares):.2f} % of a core, of which PostgreSQL "
        f"{shares[1]:.2f} %, with {backends} backends"
    )


def used(process: psutil.Process) -> float:
    """Return the seconds of processor time that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def used_by_all(postmaster: psutil.Process) -> float:
    """Return those of a PostgreSQL server: its processes, and those that have ended."""
    ended = postmaster.cpu_times()
    running = sum(map(used, (postmaster, *postmaster.children())))
    return float(running + ended.children_user + ended.children_system)


def connect(count: int) -> None:
    """Say what idle connections cost."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = stack.enter_context(postgres(folder / "data"))
        port = free_port()
        environment = {
            "ROWLOCK_DATABASE_URL": database.url,
            "ROWLOCK_COMMERCE_PORT": str(port),
            "ROWLOCK_LOG_REQUESTS": "0",
            "ROWLOCK_CONNECTIONS": "1000000",
            "ROWLOCK_KEEPALIVE_TIMEOUT_S": "3600",
        }
        command = (ROWLOCK, "serve", "commerce")
        server = stack.enter_context(
            serving("rowlock", command, port=port, environment=environment, log=folder / "log")
        )
        warm_up(server)
        before = server.read_rss()
        connections: list[socket.socket] = []
        while len(connections) < count:
            connections += open_some(port, min(AT_ONCE, count - len(connections)))
        assert server.is_alive()
        after = server.read_rss()
        print(
            f"{count:,} idle connections: {(after - before) / 1e6:.0f} MB more than the "
            f"{before / 1e6:.0f} MB before, {(after - before) / count / 1e3:.1f} kB each"
        )
        for connection in connections:
            connection.close()


def warm_up(server: Server) -> None:
    for connection in open_some(server.port, AT_ONCE):
        connection.close()


def open_some(port: int, count: int) -> list[socket.socket]:
    """Return connections that have each made a request and got its answer."""
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    for connection in connections:
        connection.sendall(REQUEST)
    for connection in connections:
        assert connection.recv(4096).startswith(b"HTTP/1.1 404")
    return connections


if __name__ == "__main__":
    main()
