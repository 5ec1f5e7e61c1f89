"""What idle connections cost: `python tests/load/idle.py [--connections N]`.

Each connection makes one request and stays open. The memory is the service's, resident.
"""

import argparse
import resource
import socket
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from harness import Server, free_port, postgres, serving

ROWLOCK = Path(sys.executable).parent / "rowlock"
REQUEST = b"GET /user/1 HTTP/1.1\r\nHost: x\r\n\r\n"
AT_ONCE = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    count = parser.parse_args().connections
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
