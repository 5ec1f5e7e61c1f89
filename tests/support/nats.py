"""Real NATS servers with JetStream, one or a cluster."""

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import nats
import nats.errors
from nats.aio.client import Client
from nats.js.errors import Error as JetStreamError

from tests.support.polling import until
from tests.support.processes import free_port

SERVER = str(Path(sys.executable).with_name("nats-server"))
PROBLEMS = (nats.errors.Error, JetStreamError, OSError, TimeoutError)


class NatsServer:
    """A NATS server in a folder of its own; it can be killed and started again."""

    def __init__(
        self, name: str, folder: Path, more: str = "", scheme: str = "nats", **options: Any
    ) -> None:
        """`more` is of its configuration, `options` are those of clients."""
        self.name = name
        self.port = free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._options = options
        self._folder = folder / name
        self._folder.mkdir(parents=True)
        self._config = self._folder / "server.conf"
        self._config.write_text(
            f'server_name: {name}\nlisten: "127.0.0.1:{self.port}"\n'
            f'jetstream {{ store_dir: "{self._folder}/data" }}\n{more}'
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [SERVER, "-c", str(self._config)], stdout=log, stderr=log
            )

    def kill(self, signal_: signal.Signals = signal.SIGKILL) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(signal_)
            self._process.wait()
            self._process = None

    async def answers(self) -> bool:
        """Whether JetStream can be used."""
        with suppress(*PROBLEMS):
            client = await connect(self.url, **self._options)
            try:
                await client.jetstream(timeout=1).account_info()
            finally:
                await client.close()
            return True
        return False


async def _ignore(_: Exception) -> None: ...


async def connect(*urls: str, **options: Any) -> Client:
    """A connection to one of the servers."""
    return await nats.connect(
        list(urls),
        allow_reconnect=False,
        max_reconnect_attempts=1,
        reconnect_time_wait=0,
        connect_timeout=1,
        error_cb=_ignore,
        **options,
    )


@asynccontextmanager
async def serving(
    folder: Path, more: str = "", scheme: str = "nats", **options: Any
) -> AsyncIterator[NatsServer]:
    """A single server, as NatsServer makes it."""
    server = NatsServer("single", folder, more, scheme, **options)
    server.start()
    try:
        await until(server.answers)
        yield server
    finally:
        server.kill()


@asynccontextmanager
async def clustered(folder: Path, count: int = 3) -> AsyncIterator[list[NatsServer]]:
    """A cluster of servers."""
    ports = [free_port() for _ in range(count)]
    routes = ", ".join(f'"nats-route://127.0.0.1:{port}"' for port in ports)
    servers = [
        NatsServer(
            f"n{number}",
            folder,
            f'cluster {{ name: c, listen: "127.0.0.1:{port}", routes: [{routes}] }}\n',
        )
        for number, port in enumerate(ports)
    ]
    for server in servers:
        server.start()
    try:
        for server in servers:
            await until(server.answers, timeout_s=30)
        yield servers
    finally:
        for server in servers:
            server.kill()


async def leader(servers: list[NatsServer]) -> NatsServer:
    """The server that leads the stream."""
    client = await connect(*(server.url for server in servers))
    try:
        info = await client.jetstream().stream_info("ROWLOCK")
    finally:
        await client.close()
    assert info.cluster is not None
    return next(server for server in servers if server.name == info.cluster.leader)


async def last_sequence(*urls: str, **options: Any) -> int:
    """The sequence number of the stream's last message; 0 if it can't be told."""
    with suppress(*PROBLEMS):
        client = await connect(*urls, **options)
        try:
            info = await client.jetstream(timeout=1).stream_info("ROWLOCK")
            last: int = info.state.last_seq
            return last
        finally:
            await client.close()
    return 0


async def read_stream(*urls: str) -> list[Any]:
    """All messages of the stream, in order."""
    client = await connect(*urls)
    try:
        stream = client.jetstream(timeout=5)
        info = await stream.stream_info("ROWLOCK")
        subscription = await stream.subscribe("rowlock.>", ordered_consumer=True)
        messages = [await subscription.next_msg(10) for _ in range(info.state.messages)]
        await subscription.unsubscribe()
    finally:
        await client.close()
    return messages
